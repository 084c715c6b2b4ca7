package resilient

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// Fsync is when a deferred write reaches the disk, as in Redis's appendfsync.
type Fsync uint8

// The choices of Options.Fsync.
const (
	// FsyncAlways answers a deferred write when it is on disk. The default.
	FsyncAlways Fsync = iota
	// FsyncEverySec syncs once a second: a crash of the machine can lose the
	// last second of acknowledged writes, a crash of the process none.
	FsyncEverySec
	// FsyncNo leaves it to the operating system: a crash of the machine can
	// lose some 30 seconds, a crash of the process nothing.
	FsyncNo
)

// Overflow is what becomes of a write for which the journal has no room.
type Overflow uint8

// The choices of Options.OverflowPolicy.
const (
	// OverflowReject refuses the write at once with ErrJournalFull. The default.
	OverflowReject Overflow = iota
	// OverflowBlock lets the write wait for room, or for a primary that takes it
	// itself, until its context ends, and then refuses it with ErrJournalFull. Give
	// contexts a deadline: in an outage there is no room before the primary is back.
	// In a pipeline the writes under way when the disk turns out to be full are
	// refused at once, as later commands of it may have been taken.
	OverflowBlock
)

// Defaults of Options.
const (
	DefaultMaxJournalBytes   = 1 << 30
	DefaultMaxEntries        = 10_000_000
	DefaultMaxOverlayBytes   = 256 << 20
	DefaultMaxSeedBytes      = 1 << 20
	DefaultMaxSeedFields     = 4096
	DefaultProbeInterval     = time.Second
	DefaultProbeTimeout      = 500 * time.Millisecond
	DefaultReplicaAckTimeout = 5 * time.Second
	DefaultLedgerRetention   = 24 * time.Hour
	DefaultMaxReplayAge      = 24 * time.Hour
)

// Options are what this package adds to those of go-redis. The zero value, and
// nil, mean every default. Set them before NewClient and don't change them
// after.
type Options struct {
	// Nodes are further addresses (host:port) of the same replication group,
	// beside the seed address. Those that a server names are found by
	// themselves; list the rest here, above all when the client may start while
	// there is no primary. Default: none.
	Nodes []string

	// Dir is the directory below which the journal of deferred writes is kept.
	// It may be shared by several processes: each locks its own subdirectory.
	// It is made, with its parents, if it is missing. Default: empty, which keeps deferred
	// writes in memory only, so that a crash or restart of the process loses
	// them.
	//
	// Journals of dead processes are replayed in the order of their newest writes,
	// and those that are older than the client's own writes before these, as far as
	// the processes' clocks agree. Where two processes wrote a key in turn, in one
	// outage or one of them after it, the journal that is replayed later wins, as
	// if its process had come to write then: one that is found, confirmed or let go
	// only when others have written since overwrites what they wrote.
	Dir string

	// Group names the replication group in Dir: a process takes over the
	// journal that a dead one left only if group and database are the same.
	// Default: the seed address. Set it where that may change, and where
	// several groups share one Dir through one address.
	Group string

	// Fsync is when a deferred write reaches the disk. Default: FsyncAlways.
	// Without Dir it has no meaning.
	Fsync Fsync

	// MaxJournalBytes bounds the deferred writes that wait, and what is kept of those
	// that don't: see LedgerRetention. A write beyond it meets OverflowPolicy. The
	// files can take more: the replayed part of a segment of 16 MiB, and dead
	// letters, which stay until somebody has seen to them. Default: 1 GiB.
	MaxJournalBytes int64

	// MaxEntries bounds the number of deferred writes. A write beyond it meets
	// OverflowPolicy. Default: 10 million.
	MaxEntries int

	// OverflowPolicy is what becomes of a write for which the journal or its disk
	// has no room; nothing is ever dropped to make some. Default: OverflowReject.
	OverflowPolicy Overflow

	// LedgerRetention is how long the account of a deferred write and its bytes are
	// kept on disk after its end, within MaxJournalBytes: for journalctl, which tells
	// what became of it. Room that new writes need is taken from them first.
	// Default: 24 h; -1: not at all. Without Dir it has no meaning.
	LedgerRetention time.Duration

	// MaxReplayAge is the age of the newest write from which on the journal of an
	// earlier process is not replayed by itself but parked: see Client.Parked.
	// Default: 24 h; -1: no limit. Without Dir it has no meaning.
	MaxReplayAge time.Duration

	// MaxOverlayBytes bounds the memory for keys with deferred writes. A write
	// beyond it is refused with ErrOverlayFull. Default: 256 MiB; -1: no bound.
	MaxOverlayBytes int64

	// MaxSeedBytes is the longest string, and MaxSeedFields the largest hash,
	// list, set, sorted set or stream, that is read whole from a replica because
	// a deferred write needs its current value. Of larger ones only the members
	// that commands name are read, so that no replica is stalled; commands that
	// need the whole are refused with ErrKeyTooBig. Defaults: 1 MiB, 4096
	// elements.
	MaxSeedBytes  int64
	MaxSeedFields int64

	// Rules say, each in a line, what becomes of commands while there is no
	// primary, where that is not what the command table says. The first that
	// matches counts. Default: none.
	Rules []Rule

	// Policy is asked before Rules; its zero Decision leaves it to them. It costs
	// its own time for every write in an outage. Default: none.
	Policy Policy

	// EstimateCounters lets INCR, DECR, HINCRBY and their like be deferred when no
	// server can tell the counter's value: the reply is then counted from this
	// process's writes alone, and the receipt says that it is an estimate. Default:
	// off, which refuses them with ErrBaseUnknown, because such replies are often
	// used as identities.
	EstimateCounters bool

	// ProbeInterval is the time between two looks at every server while
	// healthy, jittered by a tenth; in an outage they come more often.
	// Default: 1 s.
	ProbeInterval time.Duration

	// ProbeTimeout bounds one look at one server. Default: 500 ms.
	ProbeTimeout time.Duration

	// ReplicaAcks is how many replicas must have a replayed write before it
	// leaves the journal. Default: 0, every replica known that could be
	// promoted; -1: none, so that a failover right after a replay can lose it.
	ReplicaAcks int

	// ReplicaAckTimeout bounds that wait; afterwards the write counts as
	// Stats.Unconfirmed and leaves the journal. Default: 5 s.
	ReplicaAckTimeout time.Duration

	// OnNewNode, if set, is called with each go-redis client made for a server,
	// before its first use: the place for instrumentation that demands a
	// concrete *redis.Client. Hooks added there see the single attempts, whose
	// write commands are wrapped.
	OnNewNode func(*redis.Client)

	// Listener receives the client's events. Default: none.
	Listener Listener

	// Logger receives state changes, replays and problems. Keys and values are
	// never logged. Default: slog.Default().
	Logger *slog.Logger

	// MeterProvider makes the metrics listed in docs/metrics.md. Default: the
	// global one of OpenTelemetry, which does nothing until it is set.
	MeterProvider metric.MeterProvider

	// clock is where deadlines count from. Tests stop a write there, after its
	// decision.
	clock func() time.Time
	// adoptEvery is the time between two looks for the journals of dead processes.
	adoptEvery time.Duration
}

// withDefaults returns a copy in which every zero value is its default.
func (o *Options) withDefaults() *Options {
	out := Options{}
	if o != nil {
		out = *o
	}
	orDefault(&out.MaxJournalBytes, DefaultMaxJournalBytes)
	orDefault(&out.MaxEntries, DefaultMaxEntries)
	orDefault(&out.MaxOverlayBytes, DefaultMaxOverlayBytes)
	orDefault(&out.MaxSeedBytes, DefaultMaxSeedBytes)
	orDefault(&out.MaxSeedFields, DefaultMaxSeedFields)
	orDefault(&out.ProbeInterval, DefaultProbeInterval)
	orDefault(&out.ProbeTimeout, DefaultProbeTimeout)
	orDefault(&out.ReplicaAckTimeout, DefaultReplicaAckTimeout)
	orDefault(&out.LedgerRetention, DefaultLedgerRetention)
	orDefault(&out.MaxReplayAge, DefaultMaxReplayAge)
	orDefault(&out.adoptEvery, adoptEvery)
	if out.clock == nil {
		out.clock = time.Now
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	return &out
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every fault of the options at once, joined; nil if there is
// none. NewClient calls it; the directory is tried only there.
func (o *Options) Validate() error {
	if o == nil {
		return nil
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("resilient: "+format, args...))
	}
	for i, addr := range o.Nodes {
		if err := checkAddr(addr); err != nil {
			fault("Options.Nodes[%d]: %v", i, err)
		}
	}
	if o.Fsync > FsyncNo {
		fault("Options.Fsync %d is none of FsyncAlways, FsyncEverySec, FsyncNo", o.Fsync)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxJournalBytes", o.MaxJournalBytes},
		{"MaxEntries", int64(o.MaxEntries)},
		{"MaxSeedBytes", o.MaxSeedBytes},
		{"MaxSeedFields", o.MaxSeedFields},
		{"ProbeInterval", int64(o.ProbeInterval)},
		{"ProbeTimeout", int64(o.ProbeTimeout)},
		{"ReplicaAckTimeout", int64(o.ReplicaAckTimeout)},
	} {
		if f.value < 0 {
			fault("Options.%s is negative; leave it 0 for the default", f.name)
		}
	}
	if err := validateRules(o.Rules); err != nil {
		faults = append(faults, err)
	}
	if o.OverflowPolicy > OverflowBlock {
		fault("Options.OverflowPolicy %d is none of OverflowReject, OverflowBlock", o.OverflowPolicy)
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"LedgerRetention", o.LedgerRetention},
		{"MaxReplayAge", o.MaxReplayAge},
	} {
		if f.value < -1 || f.value > 0 && f.value < time.Millisecond {
			fault("Options.%s is %d ns; use -1 for none, 0 for the default, or a millisecond and more", f.name, int64(f.value))
		}
	}
	if o.MaxOverlayBytes < -1 {
		fault("Options.MaxOverlayBytes is negative; use -1 for no bound, 0 for the default")
	}
	if o.ReplicaAcks < -1 {
		fault("Options.ReplicaAcks is negative; use -1 for none, 0 for every known replica")
	}
	return errors.Join(faults...)
}

// checkDir reports a directory that can't be used, beside other faults of the
// options; it leaves nothing behind. What it overlooks, opening the journal finds.
func (o *Options) checkDir() error {
	if o == nil || o.Dir == "" {
		return nil
	}
	info, err := os.Stat(o.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // made when the journal is opened
	case err != nil:
		return fmt.Errorf("resilient: Options.Dir can't be used: %w", err)
	case !info.IsDir():
		return fmt.Errorf("resilient: Options.Dir %s is a file; name a directory", o.Dir)
	}
	f, err := os.CreateTemp(o.Dir, ".probe-*")
	if journal.IsPassing(err) {
		return nil // a full disk keeps no service from starting
	}
	if err != nil {
		return fmt.Errorf("resilient: Options.Dir is not writable; give the process the right to write there: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// validateUniversal reports every reason why the go-redis options can't be
// served: at this time one seed address of a standalone group.
func validateUniversal(u *redis.UniversalOptions) error {
	if u == nil {
		return errors.New("resilient: redis.UniversalOptions is nil; give at least Addrs")
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("resilient: "+format, args...))
	}
	switch {
	case u.MasterName != "":
		fault("UniversalOptions.MasterName: Sentinel is not supported yet; give one server's address and Options.Nodes")
	case u.IsClusterMode:
		fault("UniversalOptions.IsClusterMode: Cluster is not supported yet")
	case len(u.Addrs) > 1:
		fault("UniversalOptions.Addrs has %d addresses, which means a Cluster; give one and put the other servers of the group into Options.Nodes", len(u.Addrs))
	}
	for i, addr := range u.Addrs {
		if err := checkAddr(addr); err != nil {
			fault("UniversalOptions.Addrs[%d]: %v", i, err)
		}
	}
	if u.DB < 0 {
		fault("UniversalOptions.DB is negative")
	}
	if u.StreamingCredentialsProvider != nil {
		fault("UniversalOptions.StreamingCredentialsProvider is not supported yet; use CredentialsProviderContext")
	}
	return errors.Join(faults...)
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if port == "" {
		return fmt.Errorf("%q has no port", addr)
	}
	return nil
}
