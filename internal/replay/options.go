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
	DefaultBatchEntries = 1000
	DefaultBatchBytes   = 64 << 10
	DefaultTimeout      = 5 * time.Second
	DefaultAckBound     = 5 * time.Second
	DefaultFenceTTL     = 30 * 24 * time.Hour
	DefaultAttachGrace  = 5 * time.Second
)

// Options configures a Replayer. ClientID and Source are required.
type Options struct {
	// ClientID names the journal; the fence key is made of it. Two journals must
	// never share one.
	ClientID string
	// Source is the journal. With Fence it must be a Laned.
	Source Source
	// Fence names the fence of a lane: a key that no other lane has, and that can
	// stand in one transaction with the lane's entries. A batch then holds entries of
	// one lane only, and tells by its own fence how far that lane is. nil: all entries
	// are of one lane, whose fence is FenceKey(ClientID). For the shard of a Cluster
	// it is FenceKeyOf of the slot.
	Fence func(lane uint16) string

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
	// travels alone. Defaults 1000 and 64 KiB: larger ones gain nothing and hold up
	// the other clients of the primary, for whose sake a pace makes do with less.
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

	// Rate bounds the entries sent in a second. What arrives while the replay goes on
	// comes on top of it, so that the replay ends. 0: the pace adapts to the time that
	// the primary takes; with a bound too. -1: no pace, as fast as the primary takes it,
	// which its other clients feel.
	Rate int
	// AttachGrace is how long a primary's replicas that answer and are not attached to
	// it are waited for, from the first session of its replication id on. Until then no
	// more is sent than a quarter of its replication backlog: replicas that the backlog
	// does not reach back to take a copy of everything. Default 5 s; -1: they are not
	// waited for.
	AttachGrace time.Duration

	// Plain replays to a server, or through a proxy, that executes no transactions
	// (MULTI, EXEC, WATCH). It promises less, so it is never chosen by itself:
	//
	//   - A write whose outcome was lost with a connection, one for each loss at most, is
	//     sent again if it is Repeatable, else it becomes a dead letter, ReasonInDoubt.
	//   - The entries of one sequence are not executed at once: others see some of them
	//     before the rest, and a cut can leave them in part; then they are in doubt.
	//   - What a network or a proxy delivers after its connection was given up is not
	//     fenced off: if it comes later than a tenth of a second after the fence was
	//     seen to stand still, it is executed twice, or out of its order.
	//   - An entry that the server declines for its own state's sake, such as OOM, while
	//     it executes one behind it becomes a dead letter, since the order has gone past
	//     it. If the connection is cut at just that moment, it is lost, like any error
	//     whose answer was lost.
	//   - Two processes with the same ClientID are noticed when they meet, not kept apart.
	//   - Behind the address must be one server, which executes a connection's commands
	//     in their order, and answers INFO itself.
	//
	// It can't be had with Fence. A journal that was replayed in part so can't be
	// replayed otherwise while its fence is open; the error is ErrRefused.
	Plain bool

	// NoCoalescing sends each entry as it is. By default entries of a batch on one key,
	// where they are Free, are merged into one command that leaves the same: see package
	// coalesce. With Plain or Conflicts none are.
	NoCoalescing bool

	// FenceTTL is put on the fence once everything is trimmed; the next batch
	// takes it off. It must exceed the longest outage. Default 30 days; -1: the
	// fence stays for ever (some 100 bytes).
	FenceTTL time.Duration

	// Conflicts makes the replay look, before a key's first entry is applied, whether the
	// key is still what it was when that was accepted. It costs a round trip for each
	// batch that has such entries, and reads their keys' values. nil: entries are applied
	// whatever their keys hold by now.
	Conflicts *Conflicts

	// Hooks observe. They are called from the Replayer's goroutines, so they must
	// return soon and must not call Run.
	Hooks Hooks
}

// Hooks are told what happens; each may be nil.
type Hooks struct {
	// Ready: the fence of a verified primary has been read. Called once for each
	// session, before the first batch. Where each lane has a fence, they are read
	// later, each before the first entry of its lane.
	Ready func(Ready)
	// Gap: entries that had been trimmed are not in the primary.
	Gap func(Gap)
	// Paused: the server is in a passing state, named by its error code, such as
	// OOM. Called once for each; replay tries again by itself.
	Paused func(code string)
	// Advanced: entries were sent, at rate writes per second since the call before, or
	// the session's beginning. Called once in a second at most; Stats has the sums.
	Advanced func(rate float64)
	// Conflict: somebody else has written a key, which was then left to the server, or
	// overwritten after all.
	Conflict func(Conflict)
	// Diverged: an entry was answered otherwise than Entry.Reply says.
	Diverged func(Divergence)
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
// Where each lane has a fence it is of one lane, To is an entry of it, and the
// entries of other lanes in between are not meant.
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
	if o.Fence != nil && o.Source != nil && o.laned() == nil {
		errs = append(errs, errors.New("replay: Source knows no lanes; one fence for each lane needs a Laned"))
	}
	if o.Plain && o.Fence != nil {
		errs = append(errs, errors.New("replay: Plain is not for the lanes of a Cluster, which executes transactions"))
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
		{"Rate", int64(o.Rate), -1},
		{"AttachGrace", int64(o.AttachGrace), -1},
	} {
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("replay: %s is %d; it must be at least %d", f.name, f.value, f.least))
		}
	}
	if o.Plain && o.Conflicts != nil {
		errs = append(errs, errors.New("replay: Conflicts needs transactions, which Plain does without; leave one of them out"))
	}
	if o.FenceTTL > 0 && o.FenceTTL < time.Millisecond {
		errs = append(errs, errors.New("replay: FenceTTL is below a millisecond; use -1 for none"))
	}
	return errors.Join(errs...)
}

// laned is the Source if it has lanes, else nil.
func (o *Options) laned() Laned {
	if l, ok := o.Source.(Laned); ok && l.HasLanes() {
		return l
	}
	return nil
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
	def(&o.AttachGrace, DefaultAttachGrace)
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
