package resilient

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// ObservedStats count what Holdfast would have made of writes, with Options.Observe.
type ObservedStats struct {
	// Deferred writes would have been accepted into the journal. Refused ones would
	// have been refused with an error that says why.
	Deferred, Refused uint64
	// Rerouted writes failed, and another server than the one that they went to was the
	// primary and would have taken them.
	Rerouted uint64
	// InDoubt writes came back with an error that leaves open whether they were applied,
	// which go-redis does not say, and may have repeated them.
	InDoubt uint64
}

// onlooker is a replication group that is watched and not acted on: commands go the way
// of plain go-redis, and what would have become of them is counted. Safe for concurrent
// use.
type onlooker struct {
	*lifecycle
	tally
	plain redis.UniversalClient
	own   bool // plain was made here
}

var _ backend = (*onlooker)(nil)

// tally counts what would have become of writes. Safe for concurrent use.
type tally struct{ deferred, refused, rerouted, inDoubt atomic.Uint64 }

func (t *tally) observed() ObservedStats {
	return ObservedStats{
		Deferred: t.deferred.Load(), Refused: t.refused.Load(), Rerouted: t.rerouted.Load(), InDoubt: t.inDoubt.Load(),
	}
}

// newOnlooker makes what stands before a group that is observed.
func newOnlooker(l *lifecycle) *onlooker {
	o := &onlooker{lifecycle: l, own: l.inner == nil}
	if o.own {
		o.plain = redis.NewUniversalClient(l.place.given)
	} else {
		o.plain = l.inner
	}
	return o
}

func (o *onlooker) chain() chain {
	return chain{process: o.process, wide: o.process, pipeline: o.pipeline}
}

func (o *onlooker) process(ctx context.Context, cmd redis.Cmder) error {
	err := o.plain.Process(ctx, cmd)
	o.note(ctx, cmd, err)
	return err
}

func (o *onlooker) pipeline(ctx context.Context, cmds []redis.Cmder) error {
	return sendPlain(ctx, o.plain, cmds, o.note)
}

// sendPlain sends a pipeline or a transaction as go-redis does.
func sendPlain(
	ctx context.Context, c redis.UniversalClient, cmds []redis.Cmder, note func(context.Context, redis.Cmder, error),
) error {
	pipe := c.Pipeline()
	if len(cmds) > 0 && isTx(cmds) {
		pipe, cmds = c.TxPipeline(), cmds[1:len(cmds)-1]
	}
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd) // only queues
	}
	_, err := pipe.Exec(ctx)
	for _, cmd := range cmds {
		note(ctx, cmd, cmd.Err())
	}
	return err
}

// note counts what would have become of a command, and tells the topology of its error.
func (o *onlooker) note(ctx context.Context, cmd redis.Cmder, err error) {
	rt, f := o.router.current(), o.router.faultOf(err)
	if rt.closed || f == faultNone && rt.write != nil {
		return
	}
	at := o.place.fallback(rt.view) // where plain go-redis went, as far as is known
	if f != faultNone {
		o.router.signal(at, f, err)
	}
	spec := command.Lookup(cmd.Name())
	if spec != nil && (!spec.MayWrite() || spec.Session()) {
		return
	}
	q, encErr := newRequest(ctx, o.side, cmd)
	if encErr != nil {
		return
	}
	defer q.free()
	o.count(ctx, o.router, rt, q, f, at)
}

// count counts what would have become of a write that plain go-redis sent to the server at
// an address.
func (t *tally) count(ctx context.Context, r *router, rt *route, q *request, f fault, at string) {
	switch {
	case f.ambiguous():
		t.inDoubt.Add(1)
	case f == faultNone && !r.writes(q):
		// one of the commands that write in other forms
	case rt.write != nil && rt.view.Primary.Addr != at:
		t.rerouted.Add(1)
	case q.spec != nil && r.mayDefer(rt) == nil && r.rule(ctx, q) == nil && r.deferrable(q):
		t.deferred.Add(1) // as far as that can be told without its key's value
	default:
		t.refused.Add(1)
	}
}

// What a backend does otherwise:

func (o *onlooker) watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	return o.plain.Watch(ctx, fn, keys...)
}

func (o *onlooker) subscriber() subscriber { return o.plain }

func (o *onlooker) poolStats() *redis.PoolStats { return o.plain.PoolStats() }

func (o *onlooker) flush(context.Context) error { return nil }

func (o *onlooker) stats() Stats {
	s := o.lifecycle.stats()
	s.Observed = o.observed()
	return s
}

func (o *onlooker) close() error {
	err := o.lifecycle.close()
	if !o.own {
		return err
	}
	if closed := o.plain.Close(); !errors.Is(closed, redis.ErrClosed) {
		err = errors.Join(err, closed)
	}
	return err
}
