package resilient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// once makes go-redis send a command a single time. By itself go-redis repeats
// writes whose connection broke, and so applies them twice.
type once struct{ redis.Cmder }

// NoRetry tells go-redis not to repeat the command.
func (*once) NoRetry() bool { return true }

var onces = sync.Pool{New: func() any { return new(once) }}

// forwardWrite sends a write to the primary, once.
func (r *router) forwardWrite(ctx context.Context, cmd redis.Cmder, rt *route) error {
	if err := ctx.Err(); err != nil {
		return fail(cmd, err) // go-redis would not send it either, but not say so
	}
	w := onces.Get().(*once)
	w.Cmder = cmd
	err := rt.write.Process(ctx, w)
	w.Cmder = nil
	onces.Put(w)
	if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
		if r.tripped.Load() {
			r.recordWrite(nil)
		}
		if r.turn.Load() != rt.since.turn {
			return r.timely(ctx, cmd, rt.since, err)
		}
		return err
	}
	return r.afterWrite(ctx, cmd, rt, err)
}

// attempt is one attempt of a write, off the hot path.
func (r *router) attempt(ctx context.Context, cmd redis.Cmder, rt *route) error {
	cmd.SetErr(nil)
	err := rt.write.Process(ctx, &once{cmd})
	r.recordWrite(err)
	return err
}

// afterWrite decides what becomes of a write that came back with an error. What
// was certainly not applied is deferred, refused or, while the primary stands,
// sent again; what is in doubt is sent again only if repetition changes nothing.
func (r *router) afterWrite(ctx context.Context, cmd redis.Cmder, rt *route, err error) error {
	r.recordWrite(err)
	switch f := r.faultOf(err); {
	case f == faultBusy && r.current().closed:
		return fail(cmd, ErrClosed)
	case f == faultNone || f == faultBusy:
		r.strain(rt.view.Primary.Addr, err)
		return err
	}
	q, encErr := newRequest(ctx, r.side, cmd)
	if encErr != nil {
		return err // go-redis could not encode it either: it was not sent
	}
	defer q.free()
	wait := newRetryBackOff()
	doubtful := false
	for try := 0; ; try++ {
		f := r.faultOf(err)
		if f == faultNone || f == faultBusy {
			return err
		}
		r.signal(rt.view.Primary.Addr, f, err)
		if final := r.judge(ctx, q, f, err); final != nil {
			return fail(cmd, final)
		}
		if f == faultOverload && !doubtful {
			return r.deferStrained(ctx, cmd, q, err)
		}
		doubtful = doubtful || f.ambiguous()
		if rt = r.current(); rt.write != nil && (try >= r.maxRetries || !pause(ctx, wait.NextBackOff())) {
			return fail(cmd, r.giveUp(ctx, q, doubtful, err))
		}
		cmd.SetErr(nil)
		var done bool
		if rt, done, err = r.again(ctx, cmd, q, doubtful, err); done {
			return err
		}
	}
}

func newRetryBackOff() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0),
	)
}

// judge returns the error of a write that must not be tried again; nil if it may.
func (r *router) judge(ctx context.Context, q *request, f fault, err error) error {
	class := q.class()
	switch {
	case f == faultOverload && class == command.ClassScript:
		return err // it may have written before
	case f == faultNotWritable && class == command.ClassScript:
		return r.afterScript(ctx, q, err)
	case f.certainlyNotApplied():
		return nil
	case class == command.ClassPassthrough || class == command.ClassRead:
		return err
	case f != faultContext && r.maxRetries > 0 && q.spec != nil && q.spec.Repeatable(q.args):
		return nil
	}
	return r.doubt(ctx, q.name, class, err)
}

// again lets a write that may be tried again go its way now. If that is a new
// attempt, it is not done, and the attempt's route and error are returned.
func (r *router) again(ctx context.Context, cmd redis.Cmder, q *request, doubtful bool, cause error) (*route, bool, error) {
	for {
		way, err := r.decide(ctx, q, cause)
		if err != nil {
			if doubtful {
				err = r.doubt(ctx, q.name, q.class(), cause)
			}
			return nil, true, fail(cmd, err)
		}
		rt := r.current()
		switch way {
		case wayRead:
			return nil, true, r.readRemote(ctx, cmd, q, rt)
		case wayMerge:
			return nil, true, r.merge(ctx, cmd, q, rt)
		case wayLocal:
			done, err := r.answer(ctx, cmd, q, cause)
			if refused := (*CommandError)(nil); done && doubtful && errors.As(err, &refused) {
				err = fail(cmd, r.doubt(ctx, q.name, q.class(), cause)) // the first attempt may have been applied
			}
			if done {
				return nil, true, err
			}
		case wayForward:
			if rt.write == nil {
				continue // lost again between the decision and here
			}
			err := r.attempt(ctx, cmd, rt)
			f := r.faultOf(err)
			if f == faultNone && (err == nil || err == redis.Nil) { //nolint:errorlint // the bare sentinel is a reply
				err = r.timely(ctx, cmd, rt.since, err)
			}
			return rt, f == faultNone || f == faultBusy, err
		case wayInvalid: // decide gives it only with an error
		}
	}
}

func (r *router) giveUp(ctx context.Context, q *request, doubtful bool, cause error) error {
	if doubtful {
		return r.doubt(ctx, q.name, q.class(), cause)
	}
	if r.faultOf(cause) == faultMoving {
		return cause
	}
	return r.refuse(q, ErrNoPrimary, cause)
}

// pause waits, and reports false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// afterScript judges a no-primary reply of a script. A script can make up any
// error text after it has written, so the reply counts only if a look at the
// servers agrees with it; else what the script did is in doubt.
func (r *router) afterScript(ctx context.Context, q *request, err error) error {
	if r.monitor.WaitRound(ctx) == nil {
		switch r.current().view.State {
		case topology.StateNoPrimary, topology.StateUnreachable:
			return r.refuse(q, ErrNoPrimary, err)
		default:
		}
	}
	return r.doubt(ctx, q.name, q.class(), err)
}

// doubt makes the error of a write whose outcome is not known, and counts it.
func (r *router) doubt(ctx context.Context, name string, class command.Class, cause error) error {
	r.stats.inDoubt.Add(1)
	receiptOf(ctx).inDoubt()
	return r.commandError(name, class, ErrInDoubt, cause)
}

// forwardRead sends a command that changes nothing. go-redis may repeat it.
func (r *router) forwardRead(ctx context.Context, cmd redis.Cmder, rt *route) error {
	err := rt.read.Process(ctx, cmd)
	if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
		return err
	}
	return r.afterRead(ctx, cmd, rt, err)
}

// readRemote is forwardRead for a command whose arguments are known: while no
// server takes writes it goes in a form that a replica accepts, and what comes
// back refused all the same is refused.
func (r *router) readRemote(ctx context.Context, cmd redis.Cmder, q *request, rt *route) error {
	class := q.class()
	switch {
	case !q.spec.MayWrite(), rt.write != nil && class == command.ClassRead:
		return r.forwardRead(ctx, cmd, rt)
	case rt.write != nil:
		return r.forwardWrite(ctx, cmd, rt) // CLIENT KILL and its like: once
	}
	var sent redis.Cmder = &once{cmd}
	if name := q.spec.ReplicaName(); name != q.name && class == command.ClassRead && !q.malformed {
		sent = newRenamed(cmd, name)
	}
	err := rt.read.Process(ctx, sent)
	if class == command.ClassRead && err != nil {
		if next, final := r.nextReader(ctx, rt, err); final == nil {
			cmd.SetErr(nil)
			err = next.read.Process(ctx, sent)
		} else {
			err = fail(cmd, final)
		}
	}
	if err != nil && r.faultOf(err) == faultNotWritable {
		return fail(cmd, r.refuse(q, ErrNoPrimary, err))
	}
	if err != nil && r.faultOf(err).ambiguous() && class != command.ClassRead && class != command.ClassPassthrough {
		return fail(cmd, r.doubt(ctx, q.name, class, err))
	}
	return err
}

// renamed sends a command under another name: a replica declines SORT in every
// form, and takes SORT_RO. The reply is the command's own.
type renamed struct {
	redis.Cmder
	args []any
}

func newRenamed(cmd redis.Cmder, name string) *renamed {
	args := append([]any{name}, cmd.Args()[1:]...)
	return &renamed{Cmder: cmd, args: args}
}

// Args are the arguments that go-redis sends.
func (c *renamed) Args() []any { return c.args }

// Name is the name under which go-redis sends the command.
func (c *renamed) Name() string { return c.args[0].(string) }

// NoRetry tells go-redis not to repeat the command.
func (*renamed) NoRetry() bool { return true }

// afterRead sends a read that no server answered to the next one, once the
// topology has had a look.
func (r *router) afterRead(ctx context.Context, cmd redis.Cmder, rt *route, err error) error {
	next, err := r.nextReader(ctx, rt, err)
	if err != nil {
		return fail(cmd, err)
	}
	cmd.SetErr(nil)
	return next.read.Process(ctx, cmd)
}

// nextReader returns the route to another server for a read that came back with
// an error, once the topology has had a look; or the error that is final.
func (r *router) nextReader(ctx context.Context, rt *route, err error) (*route, error) {
	f := r.faultOf(err)
	if f != faultNone && r.current().closed {
		return nil, ErrClosed // a connection that is closed under a read has many errors
	}
	if f == faultNone || f == faultBusy || f == faultContext || ctx.Err() != nil {
		return nil, err
	}
	r.signal(rt.view.ReadFrom, f, err)
	if r.monitor.WaitRound(ctx) != nil {
		return nil, err
	}
	next := r.current()
	switch {
	case next.closed:
		return nil, ErrClosed
	case next.read == rt.read:
		return nil, err
	}
	return next, nil
}

// newBreaker makes the guard of the way to the primary: a row of writes without
// an answer closes the live path, so that callers stop queueing on a server that
// hangs. When to open it again is the topology's to say.
func (r *router) newBreaker() {
	r.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:        "holdfast write path",
		Timeout:     time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 3 },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				r.monitor.Signal(topology.Signal{
					Kind: topology.SignalHung, Addr: r.current().view.Primary.Addr, At: time.Now(),
				})
				r.awaitAnswer()
			}
		},
	})
}

// recordWrite feeds the breaker. While it has nothing on record, successes are
// not counted, so that a healthy write pays one atomic load for it.
func (r *router) recordWrite(err error) {
	f := r.faultOf(err)
	hung := f == faultHung || errors.Is(err, redis.ErrPoolTimeout)
	if !hung && !r.tripped.Load() {
		return
	}
	done, refused := r.breaker.Allow()
	if refused != nil {
		return // open: the topology has been told
	}
	if hung {
		done(err)
	} else {
		done(nil)
	}
	r.tripped.Store(hung || r.breaker.State() != gobreaker.StateClosed)
}
