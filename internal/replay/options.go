package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Defaults of Options.
const (
	DefaultBatchEntries = 500
	DefaultBatchBytes   = 64 << 10
	DefaultTimeout      = 5 * time.Second
	DefaultAckBound     = 5 * time.Second
	DefaultFenceTTL     = 30 * 24 * time.Hour
)

// Options configures a Replayer. ClientID and Source are required.
type Options struct {
	// ClientID names the journal; the fence key is made of it. Two journals must
	// never share one.
	ClientID string
	// Source is the journal.
	Source Source

	// Dial opens a connection, through TLS if need be. Default: plain TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Credentials gives user name and password, asked for each connection. An
	// empty password means no AUTH; an empty user name the default user.
	Credentials func(ctx context.Context) (username, password string, err error)
	// DB is the database of every entry. Default 0.
	DB int
	// Timeout bounds a connection's set-up, and each batch, from its first byte
	// sent to its last reply. Default 5 s.
	Timeout time.Duration

	// BatchEntries and BatchBytes bound a batch; an entry larger than BatchBytes
	// travels alone. Defaults 500 and 64 KiB: larger ones gain little and hold up
	// the other clients of the primary.
	BatchEntries int
	BatchBytes   int

	// Replicas lists the addresses of the replicas that could be promoted. It
	// must be quick and may be called at any time. nil: none, entries are trimmed
	// as soon as the primary has them.
	Replicas func() []string
	// ReplicaAcks is how many of them must have an entry before it is trimmed.
	// 0: all. -1: none.
	ReplicaAcks int
	// AckBound is how long to wait for them. Then the entries are trimmed as
	// unconfirmed, and a replica that was late is not waited for again until it
	// has caught up. Default 5 s.
	AckBound time.Duration

	// FenceTTL is put on the fence once everything is trimmed; the next batch
	// takes it off. It must exceed the longest outage. Default 30 days; -1: the
	// fence stays for ever (some 100 bytes).
	FenceTTL time.Duration

	// Hooks observe. They are called from the Replayer's goroutines, so they must
	// return soon and must not call Run.
	Hooks Hooks
}

// Hooks are told what happens; each may be nil.
type Hooks struct {
	// Ready: the fence of a verified primary has been read. Called once for each
	// session, before the first batch.
	Ready func(Ready)
	// Gap: entries that had been trimmed are not in the primary.
	Gap func(Gap)
	// Paused: the server is in a passing state, named by its error code, such as
	// OOM. Called once for each; replay tries again by itself.
	Paused func(code string)
	// Drained: everything that was durable is in the primary and trimmed. More
	// may have come since: compare upTo.
	Drained func(upTo uint64)
}

// Ready describes a session at its start.
type Ready struct {
	Addr  string
	RunID string // of the primary
	// After is the last entry that the primary is known to have. Pending is
	// false when it is the last one that is durable.
	After   uint64
	Pending bool
}

// Gap is a range of trimmed entries, From and To included, that a primary does
// not have: a failover went back behind what had been confirmed.
type Gap struct{ From, To uint64 }

// Validate reports every fault at once. New calls it.
func (o *Options) Validate() error {
	var errs []error
	if o.ClientID == "" {
		errs = append(errs, errors.New("replay: ClientID is empty; the fence key needs one"))
	}
	if o.Source == nil {
		errs = append(errs, errors.New("replay: Source is nil; give the journal"))
	}
	for _, f := range []struct {
		name  string
		value int64
		least int64
	}{
		{"DB", int64(o.DB), 0},
		{"Timeout", int64(o.Timeout), 0},
		{"BatchEntries", int64(o.BatchEntries), 0},
		{"BatchBytes", int64(o.BatchBytes), 0},
		{"ReplicaAcks", int64(o.ReplicaAcks), -1},
		{"AckBound", int64(o.AckBound), 0},
		{"FenceTTL", int64(o.FenceTTL), -1},
	} {
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("replay: %s is %d; it must be at least %d", f.name, f.value, f.least))
		}
	}
	if o.FenceTTL > 0 && o.FenceTTL < time.Millisecond {
		errs = append(errs, errors.New("replay: FenceTTL is below a millisecond; use -1 for none"))
	}
	return errors.Join(errs...)
}

// withDefaults fills in what was left zero.
func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Timeout, DefaultTimeout)
	def(&o.AckBound, DefaultAckBound)
	def(&o.FenceTTL, DefaultFenceTTL)
	if o.BatchEntries == 0 {
		o.BatchEntries = DefaultBatchEntries
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
	}
	if o.Replicas == nil {
		o.Replicas = func() []string { return nil }
	}
	return o
}
