package resilient

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// chain is the way of commands over several shards.
func (c *sharded) chain() chain {
	guarded := c.guarded.chain()
	return chain{process: c.process, wide: guarded.wide, pipeline: c.pipeline}
}

// calm reports whether every shard takes writes and no key has any deferred, and the
// Cluster client is known to find the way by itself.
func (c *sharded) calm() bool { return c.well(true) }

// well is calm, but for the last if that is not asked.
func (c *sharded) well(found bool) bool {
	return c.layout.live(found) && c.core.quiet() && !c.guarded.over.Load()
}

// process is the way of one command.
func (c *sharded) process(ctx context.Context, cmd redis.Cmder) error {
	spec, since := command.Lookup(cmd.Name()), c.core.moment()
	if spec == nil || spec.Session() || spec.Container() || !c.layout.strict() || !c.calm() {
		return c.processSlow(ctx, cmd, spec)
	}
	if !spec.MayWrite() {
		err := c.guarded.shards.send(ctx, cmd)
		if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
			return err
		}
		return c.afterRead(ctx, cmd, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(cmd, err) // go-redis would not send it either, but not say so
	}
	w := onces.Get().(*once)
	w.Cmder = cmd
	err := c.guarded.shards.send(ctx, w)
	w.Cmder = nil
	onces.Put(w)
	if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
		if c.core.turn.Load() != since.turn {
			return c.timely(ctx, cmd, since, err)
		}
		return err
	}
	return c.afterWrite(ctx, cmd, err)
}

// afterRead is a router's, of the shard that the command belongs to.
func (c *sharded) afterRead(ctx context.Context, cmd redis.Cmder, err error) error {
	s := c.shardOfCmd(ctx, cmd)
	if s == nil {
		return c.guarded.afterRead(cmd, err)
	}
	rt := s.router.current()
	if w, over := rt.read.(clusterWriter); over {
		if direct := w.instead(ctx, err, isScript(cmd)); direct != nil {
			cmd.SetErr(nil)
			return direct.Process(ctx, cmd)
		}
	}
	return s.router.afterRead(ctx, cmd, rt, err)
}

// timely is a router's, of the shard that the command belongs to.
func (c *sharded) timely(ctx context.Context, cmd redis.Cmder, since moment, err error) error {
	if s := c.shardOfCmd(ctx, cmd); s != nil {
		return s.router.timely(ctx, cmd, since, err)
	}
	return err
}

// afterWrite is a router's, of the shard that the command belongs to.
func (c *sharded) afterWrite(ctx context.Context, cmd redis.Cmder, err error) error {
	if s := c.shardOfCmd(ctx, cmd); s != nil {
		if err = s.router.afterWrite(ctx, cmd, s.router.current(), err); !errors.Is(err, errElsewhere) {
			return err
		}
		c.unrefuse(cmd)
		return c.processSlow(ctx, cmd, command.Lookup(cmd.Name()))
	}
	return c.guarded.afterWrite(ctx, cmd, c.guarded.shards.send, err)
}

// shardOfCmd is the shard of a command's keys; nil when it names none, or names keys
// of several slots, which no server takes.
func (c *sharded) shardOfCmd(ctx context.Context, cmd redis.Cmder) *shard {
	q, err := newRequest(ctx, c.side, cmd)
	if err != nil {
		return nil
	}
	defer q.free()
	lane, one := c.slotOf(q)
	if !one {
		return nil
	}
	return c.layout.shardOf(lane)
}

// slotOf is the slot of a command's keys; false when there is none, or more.
func (c *sharded) slotOf(q *request) (lane uint16, one bool) {
	for i, key := range q.keys {
		at := c.core.laneOf(key)
		if i > 0 && at != lane {
			return 0, false
		}
		lane = at
	}
	return lane, len(q.keys) > 0
}

// processSlow is process where something stands in the way.
func (c *sharded) processSlow(ctx context.Context, cmd redis.Cmder, spec *command.Spec) error {
	if err := c.guarded.barred(ctx, cmd, spec); err != nil {
		return fail(cmd, err)
	}
	q, err := newRequest(ctx, c.side, cmd)
	if err != nil {
		return fail(cmd, err)
	}
	defer q.free()
	lane, one := c.slotOf(q)
	switch {
	case one:
		err := c.layout.shardOf(lane).router.processRequest(ctx, cmd, q, nil)
		for try := 0; try < movesFollowed && errors.Is(err, errElsewhere); try++ {
			c.unrefuse(cmd)
			err = c.layout.shardOf(lane).router.processRequest(ctx, cmd, q, nil)
		}
		return err
	case len(q.keys) > 0 && c.layout.strict() && q.class() != command.ClassRead && !c.well(false):
		return c.side.deliver(ctx, cmd, crossSlot)
	case len(q.keys) > 0 && !c.layout.strict():
		return c.astride(ctx, cmd, q)
	}
	if err := c.passBarrier(ctx, q); err != nil {
		return fail(cmd, err)
	}
	return c.guarded.process(ctx, cmd, c.guarded.shards.send)
}

// astride sends a command whose keys belong to several shards of a Ring to the shard of
// the first, as a Ring does, while none of them has deferred writes.
func (c *sharded) astride(ctx context.Context, cmd redis.Cmder, q *request) error {
	s := c.layout.shardOf(c.core.laneOf(q.keys[0]))
	rt := s.router.current()
	if _, _, pending := s.router.pendingOf(q); pending || rt.write == nil {
		return fail(cmd, s.router.refuse(q, errAstride, nil))
	}
	if !q.spec.MayWrite() {
		return s.router.forwardRead(ctx, cmd, rt)
	}
	return s.router.forwardWrite(ctx, cmd, rt)
}

// unrefuse takes back that a unit of commands was refused: its slot has moved, and it goes
// after that.
func (c *sharded) unrefuse(cmds ...redis.Cmder) {
	c.core.stats.refused.Add(^uint64(0))
	for _, cmd := range cmds {
		cmd.SetErr(nil)
	}
}

// movesFollowed is how often a write goes after a slot that moves under it.
const movesFollowed = 3

var crossSlot = resp.AppendError(nil, "CROSSSLOT Keys in request don't hash to the same slot")

// passBarrier lets a command without keys that must not pass any deferred write wait
// for all of them.
func (c *sharded) passBarrier(ctx context.Context, q *request) error {
	for q.spec.MayWrite() && q.barrier() && !c.core.quiet() {
		for _, s := range c.layout.watched() {
			if s.router.current().write == nil {
				return s.router.refuse(q, ErrNoPrimary, nil)
			}
		}
		if err := c.stray.router.awaitRelease(ctx, q, ""); err != nil {
			return c.stray.router.refuse(q, err, nil)
		}
	}
	return nil
}

// transaction goes to the shard of its keys, which all stand in one slot.
func (c *sharded) transaction(ctx context.Context, cmds []redis.Cmder) error {
	var s *shard
	lane, keyed := uint16(0), false
	for _, cmd := range cmds[1 : len(cmds)-1] {
		q, err := newRequest(ctx, c.side, cmd)
		if err != nil {
			return failAll(cmds, err)
		}
		at, one := c.slotOf(q)
		keys := len(q.keys)
		q.free()
		if keys > 0 && (!one || keyed && at != lane) {
			if c.layout.strict() {
				return failAll(cmds, redis.ErrCrossSlot)
			}
			return c.astrideTx(ctx, cmds)
		}
		if one {
			lane, keyed = at, true
		}
	}
	if !keyed {
		return c.guarded.pipeline(ctx, cmds)
	}
	for try := 0; ; try++ {
		s = c.layout.shardOf(lane)
		err := s.router.transaction(ctx, s.router.current(), cmds)
		if try == movesFollowed || !errors.Is(err, errElsewhere) {
			return err
		}
		c.unrefuse(cmds...)
	}
}

// astrideTx lets a Ring make of a transaction one for each shard, while all is well.
func (c *sharded) astrideTx(ctx context.Context, cmds []redis.Cmder) error {
	if !c.calm() {
		return failAll(cmds, c.ailing().router.refuseName("multi", command.ClassTransaction, errAstride, nil))
	}
	return c.guarded.pipeline(ctx, cmds)
}

// ailing is a shard that takes no writes or has some deferred, to be named in an error.
func (c *sharded) ailing() *shard {
	waits := c.stray
	for _, s := range c.layout.watched() {
		if !s.live() {
			return s
		}
		if s.router.pending() {
			waits = s
		}
	}
	return waits
}

func (c *sharded) watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	if len(keys) == 0 || c.guarded.over.Load() {
		return c.guarded.watch(ctx, fn, keys...)
	}
	lane := c.core.laneOf([]byte(keys[0]))
	for _, key := range keys[1:] {
		if c.core.laneOf([]byte(key)) != lane {
			return c.guarded.watch(ctx, fn, keys...) // which says that it can't be
		}
	}
	return c.layout.shardOf(lane).router.watch(ctx, fn, keys...)
}
