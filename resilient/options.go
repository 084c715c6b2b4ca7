package resilient

import (
	"context"
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

	// Sentinels are the addresses of the Sentinels that watch the group of a client
	// given to Wrap, and MasterName is its name there; SentinelUsername and
	// SentinelPassword are for them alone. NewClient takes all of these from
	// redis.UniversalOptions. Default: none.
	Sentinels        []string
	MasterName       string
	SentinelUsername string
	SentinelPassword string

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
	// Default: MasterName with Sentinels, else the seed address. Set it where that
	// may change, and where several groups of one name or address share one Dir: a
	// journal meant for other servers would be parked there.
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

	// DeferPartitioned lets writes be deferred, too, while the primary doesn't answer
	// this client but others reach it (CausePartitioned): they go on writing, so the
	// replay may overwrite what they wrote meanwhile, and every reply is an estimate,
	// which receipts say. Default: off, which refuses such writes with ErrNoPrimary.
	// What was deferred before that was known stays deferred in any case.
	DeferPartitioned bool

	// DeferOverload lets writes be deferred that the primary refuses for want of
	// means: OOM, MISCONF, BUSY. Each costs a round trip before, and its key is then
	// held until the primary takes it; later writes to that key queue behind it, those
	// to others go on to the primary. While such writes wait, the state is
	// StateReplaying. Excepted are scripts, transactions, and, with OOM and BUSY, what
	// needs a key's current value (INCR, HSET): a primary out of memory declines the
	// transaction by which it is read. Default: off, which leaves these errors to the
	// application.
	DeferOverload bool

	// Observe only watches and counts: commands go where plain go-redis sends them, as it
	// sends them, Listener.StateChanged and State tell what is believed of the servers,
	// and Stats.Observed what would have been deferred, refused or sent elsewhere. Dir
	// is not touched and nothing is ever replayed. It is for a trial beside the load.
	// Default: off.
	Observe bool

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

	// ReplayWithoutTransactions lets writes be replayed to a server, or through a proxy,
	// that executes no transactions: MULTI, EXEC and WATCH, by which a replay is exactly
	// once. It is a weaker promise and never chosen by itself: of each connection that
	// breaks in a replay one write at most may be left in doubt, which then becomes a dead
	// letter, unless repeating it changes nothing; deferred transactions are no longer
	// executed at once; and what a proxy delivers long after its connection was given up
	// can be executed twice. docs/replay.md has all of it. The proxy must stand before one
	// server, and pass ROLE and INFO on to it. It is not for a Cluster, and can't be had
	// with Conflicts or ResolveConflict. Values of keys are still read in transactions, so that writes
	// which need them, such as INCR, are refused with ErrBaseUnknown where replicas
	// can't be read without the proxy. Default: off, where such a server's replay is
	// refused, and everything deferred waits.
	ReplayWithoutTransactions bool

	// ReplayRate bounds how many deferred writes are sent in a second, to each shard, when
	// its primary is back. Writes that are deferred meanwhile, to keys with a backlog, come
	// on top: the primary would get them at that rate anyway, and the replay would not end
	// else. Default: 0, no bound but the pace, which begins at some 5,000 writes per second,
	// rises as long as the primary answers as quickly as before, and falls, to 1,000 at
	// least, when it does not: its other clients hardly notice, and the replay of a large
	// backlog takes longer than it could (docs/benchmarks.md has both). A bound holds
	// beside the pace. -1: no pace, as fast as the primary takes it.
	ReplayRate int

	// NoCoalescing has each deferred write replayed as it is. By default writes to one key
	// that travel in one transaction, up to 500, or 1,000 without a pace, are merged into
	// one command where that leaves the same, deadlines included: SET and DEL over what
	// comes before, INCRs into an INCRBY, HSETs, LPUSHes and the like into one with all
	// members; never across a write of several keys, a transaction, a script or a
	// condition. Nobody can see it but those who count: keyspace notifications and
	// MONITOR show the merged command. If the primary rejects that, all of its writes
	// become dead letters: an INCR that overflows takes those merged with it along.
	// Default: off, so writes are merged, which makes a replay to few hot keys about twice
	// as fast and costs others nothing to speak of. With Conflicts, ResolveConflict or
	// ReplayWithoutTransactions none are.
	NoCoalescing bool

	// Conflicts is what becomes of deferred writes to a key that somebody else has written
	// since the first of them was accepted. Default: ResolutionOverwrite, which replays
	// them and looks at nothing. ResolutionKeepServer has each key compared, before the
	// first write to it, with what it held when that was accepted, and leaves it to the
	// server where it differs: type and content, not the deadline. Compared by their number
	// of elements alone are values above MaxSeedBytes or MaxSeedFields; longer strings,
	// values of modules, and keys of which no replica could tell the value, count as
	// changed if they exist. A primary without replicas tells nobody, so that there every
	// deferred write to an existing key becomes a dead letter. What others write after the
	// first write of ours has been replayed is not looked for.
	//
	// It costs: a deferred write to a new key reads its value from a replica, also where
	// the command needs none; the journal keeps 36 bytes more for such a write; and the
	// replay reads every key again, with a round trip more for each batch.
	Conflicts Resolution

	// ResolveConflict, if set, is asked for each key that is not what it was, and decides
	// in the place of Conflicts, at the same costs. The replay waits for it, a second at
	// most: a call that takes longer, or panics, keeps the server's value, and so does
	// every conflict until it has returned. It may be called again for the same key, when
	// the replay was interrupted, and for several shards at a time. Default: none.
	ResolveConflict func(context.Context, Conflict) Resolution

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
	if out.Observe {
		out.Dir = ""
	}
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
	faults = append(faults, o.validateSentinels()...)
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
	if o.ReplayRate < -1 {
		fault("Options.ReplayRate is negative; use -1 for no pace, 0 for the one that adapts")
	}
	faults = append(faults, o.validateConflicts()...)
	if o.ReplayWithoutTransactions && o.watchesConflicts() {
		fault("Options.ReplayWithoutTransactions can't be had with Conflicts or ResolveConflict, which need transactions")
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
// served: a standalone group by one of its addresses, or a group by its Sentinels.
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
		faults = append(faults, validateFailover(u)...)
	case ofCluster(u) && u.DB != 0:
		fault("UniversalOptions.DB is %d, and a Cluster has only database 0; leave it 0. "+
			"Several Addrs mean a Cluster: for a group give one, and its other servers in Options.Nodes", u.DB)
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
