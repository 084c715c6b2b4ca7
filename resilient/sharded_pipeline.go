package resilient

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// pipeline is the way of a pipeline or a transaction.
func (c *sharded) pipeline(ctx context.Context, cmds []redis.Cmder) error {
	if len(cmds) == 0 {
		return nil
	}
	if c.guarded.over.Load() {
		return failAll(cmds, ErrClosed)
	}
	if isTx(cmds) {
		return c.transaction(ctx, cmds)
	}
	if err := c.guarded.barredAny(ctx, cmds); err != nil {
		return failAll(cmds, err)
	}
	since := c.core.moment()
	if !c.layout.strict() || !c.calm() {
		c.sendEach(ctx, cmds)
		return firstError(cmds)
	}
	if err := ctx.Err(); err != nil {
		return failAll(cmds, err) // go-redis would not send it either, but not say so
	}
	batch, writes := make([]redis.Cmder, len(cmds)), make([]once, len(cmds))
	for i, cmd := range cmds {
		batch[i] = cmd
		if spec := command.Lookup(cmd.Name()); spec == nil || spec.MayWrite() {
			writes[i].Cmder = cmd // one of them keeps go-redis from repeating what goes to its server
			batch[i] = &writes[i]
		}
	}
	pipe := c.guarded.shards.Pipeline()
	_ = pipe.BatchProcess(ctx, batch...) // only queues
	_, err := pipe.Exec(ctx)
	if err == nil && c.core.turn.Load() == since.turn {
		return nil
	}
	// All of it has been sent: from here on it is only judged, and each command of a
	// shard that declined it goes its way.
	c.each(ctx, cmds, func(s *shard, cmds []redis.Cmder) {
		if s == nil {
			_ = c.guarded.judgeEach(ctx, cmds) // its errors are the commands'
			return
		}
		s.router.afterExec(ctx, s.router.current(), cmds, since, err)
		c.followEach(ctx, cmds)
	})
	return firstError(cmds)
}

// sendEach sends commands to their shards, and what belongs to none as it can be sent. A
// command whose keys belong to several shards keeps its place: what is before it in the
// pipeline is done before it, and what is behind it after it.
func (c *sharded) sendEach(ctx context.Context, cmds []redis.Cmder) {
	send := func(s *shard, cmds []redis.Cmder) {
		if s == nil {
			c.sendStray(ctx, cmds)
			return
		}
		_ = s.router.pipelineSlow(ctx, cmds) // its errors are the commands'
		c.followEach(ctx, cmds)
	}
	from := 0
	for i, cmd := range cmds {
		if c.standsAstride(ctx, cmd) {
			c.each(ctx, cmds[from:i], send)
			send(nil, cmds[i:i+1])
			from = i + 1
		}
	}
	c.each(ctx, cmds[from:], send)
}

// standsAstride reports whether a command's keys belong to several shards.
func (c *sharded) standsAstride(ctx context.Context, cmd redis.Cmder) bool {
	q, err := newRequest(ctx, c.side, cmd)
	if err != nil {
		return false
	}
	defer q.free()
	_, one := c.slotOf(q)
	return len(q.keys) > 1 && !one
}

// followEach sends those commands of a shard's part of a pipeline again whose slots turned
// out to be another shard's, and the reads of these slots that come behind them.
func (c *sharded) followEach(ctx context.Context, cmds []redis.Cmder) {
	for range movesFollowed {
		again := c.elsewhere(ctx, cmds)
		if len(again) == 0 {
			return
		}
		for _, cmd := range again {
			if errors.Is(cmd.Err(), errElsewhere) {
				c.unrefuse(cmd)
			}
			cmd.SetErr(nil)
		}
		c.each(ctx, again, func(s *shard, cmds []redis.Cmder) {
			_ = s.router.pipelineSlow(ctx, cmds) // its errors are the commands'
		})
	}
}

// elsewhere are the commands that have to follow their slots. A write that was taken, or
// may have been, must not be overtaken by one that stood before it: that stays refused.
func (c *sharded) elsewhere(ctx context.Context, cmds []redis.Cmder) (again []redis.Cmder) {
	if !slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return errors.Is(cmd.Err(), errElsewhere) }) {
		return nil
	}
	moved := make(map[uint16][]redis.Cmder) // by lane
	for _, cmd := range cmds {
		q, err := newRequest(ctx, c.side, cmd)
		if err != nil {
			continue // it could not be sent either
		}
		lane, _ := c.slotOf(q)
		class := q.class()
		q.free()
		refused := (*CommandError)(nil)
		switch err := cmd.Err(); {
		case errors.Is(err, errElsewhere):
			moved[lane] = append(moved[lane], cmd)
		case moved[lane] == nil:
		case class == command.ClassRead:
			moved[lane] = append(moved[lane], cmd)
		case errors.As(err, &refused) && !errors.Is(err, ErrInDoubt): // it has not been executed
		default:
			delete(moved, lane)
		}
	}
	for _, cmd := range cmds {
		for _, part := range moved {
			if slices.Contains(part, cmd) {
				again = append(again, cmd)
			}
		}
	}
	return again
}

// each hands every shard the commands that are its own, in their order, and all shards
// at once; what belongs to none goes by the shard nil.
func (c *sharded) each(ctx context.Context, cmds []redis.Cmder, do func(*shard, []redis.Cmder)) {
	var order []*shard
	parts := make(map[*shard][]redis.Cmder)
	for _, cmd := range cmds {
		s := c.shardOfCmd(ctx, cmd)
		if parts[s] == nil {
			order = append(order, s)
		}
		parts[s] = append(parts[s], cmd)
	}
	var wg sync.WaitGroup
	for _, s := range order {
		wg.Go(func() { do(s, parts[s]) })
	}
	wg.Wait()
}

// sendStray sends commands that belong to no shard, or to several, one after the other.
func (c *sharded) sendStray(ctx context.Context, cmds []redis.Cmder) {
	for _, cmd := range cmds {
		cmd.SetErr(c.processSlow(ctx, cmd, command.Lookup(cmd.Name())))
	}
}
