package resilient

import (
	"context"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// watch runs an optimistic transaction on the primary.
func (r *router) watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	args := make([]any, 1, 1+len(keys))
	args[0] = "watch"
	for _, key := range keys {
		args = append(args, key)
	}
	rt := r.current()
	switch {
	case rt.closed:
		return ErrClosed
	case rt.write == nil:
		return r.refuseName("watch", command.ClassTransaction, ErrNoPrimary, nil)
	case !r.quiet():
		q, err := newRequest(ctx, r.side, redis.NewStatusCmd(ctx, args...))
		if err != nil {
			return err
		}
		err = r.settleWhole(ctx, q)
		q.free()
		if err != nil {
			return err
		}
		if rt = r.current(); rt.write == nil {
			return r.refuseName("watch", command.ClassTransaction, ErrNoPrimary, nil)
		}
	}
	entered := false
	err := rt.write.Watch(ctx, func(tx *redis.Tx) error {
		entered = true
		tx.AddHook(&txHook{&watched{router: r, route: rt}})
		return fn(tx)
	}, keys...)
	if err != nil && !entered {
		return r.afterWatch(rt, err)
	}
	return err
}

// afterWatch judges a WATCH that failed before fn ran: nothing was written.
func (r *router) afterWatch(rt *route, err error) error {
	switch f := r.faultOf(err); f {
	case faultNotWritable, faultUnsent, faultHung, faultBroken:
		r.signal(rt.view.Primary.Addr, f, err)
		return r.refuseName("watch", command.ClassTransaction, ErrNoPrimary, err)
	default:
		return err
	}
}

// txHook stands between a Tx and its connection: it sends each write once,
// refuses what the shard can't take any more, and names what is in doubt. It
// answers with errors only, never with a nil for something that was not sent:
// go-redis would believe the keys unwatched and put the connection back with
// its WATCH still armed.
type txHook struct{ txJudge }

// txJudge is what a txHook asks.
type txJudge interface {
	// admit says why a write can't be sent any more, if so.
	admit(ctx context.Context, cmd redis.Cmder) error
	// judgeTx turns the error of a transaction into this package's terms.
	judgeTx(ctx context.Context, cmds []redis.Cmder, err error) error
	// judgeEach does the same for commands that each have an outcome of their own.
	judgeEach(ctx context.Context, cmds []redis.Cmder, err error) error
}

func (h *txHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *txHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		spec := command.Lookup(cmd.Name())
		if spec != nil && !spec.MayWrite() || ofConnection(cmd) {
			return next(ctx, cmd)
		}
		if err := h.admit(ctx, cmd); err != nil {
			return fail(cmd, err)
		}
		err := next(ctx, &once{cmd})
		if err != nil {
			cmd.SetErr(err) // as the Tx itself does, after its hooks
		}
		return h.judgeEach(ctx, []redis.Cmder{cmd}, err)
	}
}

func (h *txHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		inner, tx := cmds, isTx(cmds)
		if tx {
			inner = cmds[1 : len(cmds)-1]
		}
		if !slices.ContainsFunc(inner, func(cmd redis.Cmder) bool { return !ofConnection(cmd) }) {
			return next(ctx, cmds)
		}
		for _, cmd := range inner {
			if err := h.admit(ctx, cmd); err != nil {
				return failAll(cmds, err)
			}
		}
		// MULTI and EXEC keep their type, which go-redis relies on.
		wrapped := append([]redis.Cmder(nil), cmds...)
		first := (len(cmds) - len(inner)) / 2
		for i, cmd := range inner {
			wrapped[first+i] = &once{cmd}
		}
		err := next(ctx, wrapped)
		if tx {
			return h.judgeTx(ctx, cmds, err)
		}
		return h.judgeEach(ctx, cmds, err)
	}
}

// ofConnection tells commands about the connection itself: WATCH and UNWATCH, and
// the handshake of a connection that is made inside fn, which passes these hooks
// too.
func ofConnection(cmd redis.Cmder) bool {
	return command.Lookup(cmd.Name()).Session() || cmd.Name() == "client"
}

// watched judges what is done inside a Watch on the primary.
type watched struct {
	router *router
	route  *route // the primary that the keys are watched on
}

// admit refuses a write when the primary that holds the watch is no longer the
// live one, or when its keys have deferred writes.
func (h *watched) admit(ctx context.Context, cmd redis.Cmder) error {
	r := h.router
	rt := r.current()
	if rt.write == nil || rt.view.Primary.RunID != h.route.view.Primary.RunID {
		return r.refuseName("exec", command.ClassTransaction, ErrNoPrimary, nil)
	}
	if r.quiet() {
		return nil
	}
	q, err := newRequest(ctx, r.side, cmd)
	if err != nil {
		return err
	}
	defer q.free()
	if _, _, pending := r.pendingOf(q); pending {
		return r.refuse(q, errPendingKey, nil)
	}
	return nil
}

func (h *watched) judgeTx(ctx context.Context, cmds []redis.Cmder, err error) error {
	if err == nil {
		return h.router.timelyTx(ctx, cmds, h.route.since, nil)
	}
	return h.router.afterWatchedTx(ctx, h.route, cmds, err)
}

// afterWatchedTx judges a watched transaction that came back with an error. It is
// never deferred: what it rests on may have changed.
func (r *router) afterWatchedTx(ctx context.Context, rt *route, cmds []redis.Cmder, err error) error {
	f := faultOfTx(cmds[1:len(cmds)-1], err)
	if f == faultNone || f == faultBusy { // it was executed, but for what has an error
		return r.timelyTx(ctx, cmds, rt.since, err)
	}
	r.signal(rt.view.Primary.Addr, f, err)
	if f.ambiguous() {
		return failAll(cmds, r.doubt(ctx, "multi", command.ClassTransaction, err))
	}
	return failAll(cmds, r.refuseName("multi", command.ClassTransaction, ErrNoPrimary, err))
}

func (h *watched) judgeEach(ctx context.Context, cmds []redis.Cmder, err error) error {
	r := h.router
	late := r.belated(ctx, cmds, h.route.since)
	if err != nil {
		h.judgeFailed(ctx, cmds, err)
	}
	for _, cmd := range late {
		_ = r.doubtBelated(ctx, cmd) // its error is the command's
	}
	return firstError(cmds)
}

func (h *watched) judgeFailed(ctx context.Context, cmds []redis.Cmder, err error) {
	r := h.router
	for _, cmd := range cmds {
		f := r.faultOf(cmd.Err())
		if f == faultNone || f == faultBusy {
			continue
		}
		q, encErr := newRequest(ctx, r.side, cmd)
		if encErr != nil {
			continue // go-redis could not encode it either: it was not sent
		}
		class := q.class()
		q.free()
		switch {
		case class == command.ClassRead || class == command.ClassPassthrough:
		case f == faultNotWritable && class != command.ClassScript, f == faultUnsent:
			r.signal(h.route.view.Primary.Addr, f, err)
			_ = fail(cmd, r.refuseName(cmd.Name(), class, ErrNoPrimary, cmd.Err()))
		default:
			r.signal(h.route.view.Primary.Addr, f, err)
			_ = fail(cmd, r.doubt(ctx, cmd.Name(), class, cmd.Err()))
		}
	}
}
