package resilient

import (
	"context"
	"net"

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
		tx.AddHook(&txHook{router: r, route: rt})
		return fn(tx)
	}, keys...)
	if err != nil && !entered {
		return r.afterWatch(rt, err)
	}
	return err
}

// afterWatch judges a WATCH that failed before fn ran: nothing was written.
func (r *router) afterWatch(rt *route, err error) error {
	switch f := faultOf(err); f {
	case faultNotWritable, faultUnsent, faultHung, faultBroken:
		r.signal(rt.view.Primary.Addr, f)
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
type txHook struct {
	router *router
	route  *route // the primary that the keys are watched on
}

func (h *txHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *txHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		spec := command.Lookup(cmd.Name())
		if spec != nil && !spec.MayWrite() || cmd.Name() == "watch" || cmd.Name() == "unwatch" {
			return next(ctx, cmd)
		}
		if err := h.admit(ctx, cmd); err != nil {
			return fail(cmd, err)
		}
		err := next(ctx, &once{cmd})
		return h.judge(cmd.Name(), []redis.Cmder{cmd}, err)
	}
}

func (h *txHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		name, inner := "pipeline", cmds
		if isTx(cmds) {
			name, inner = "multi", cmds[1:len(cmds)-1]
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
		return h.judge(name, cmds, next(ctx, wrapped))
	}
}

// admit refuses a write when the primary that holds the watch is no longer the
// live one, or when its keys have deferred writes.
func (h *txHook) admit(ctx context.Context, cmd redis.Cmder) error {
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

// judge turns the error of an attempt into this package's terms.
func (h *txHook) judge(name string, cmds []redis.Cmder, err error) error {
	if err == nil {
		return nil
	}
	f := faultOf(err)
	if isTx(cmds) {
		f = faultOfTx(cmds[1:len(cmds)-1], err)
	}
	if f == faultNone || f == faultBusy {
		return err
	}
	r := h.router
	r.signal(h.route.view.Primary.Addr, f)
	if f.ambiguous() {
		return failAll(cmds, r.doubt(name, command.ClassTransaction, err))
	}
	return failAll(cmds, r.refuseName(name, command.ClassTransaction, ErrNoPrimary, err))
}
