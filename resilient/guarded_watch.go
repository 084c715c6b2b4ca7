package resilient

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// watch runs an optimistic transaction on the shard of its keys.
func (g *guarded) watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	if g.over.Load() {
		return ErrClosed
	}
	entered := false
	err := g.shards.Watch(ctx, func(tx *redis.Tx) error {
		entered = true
		tx.AddHook(&txHook{&guardedTx{g}})
		return fn(tx)
	}, keys...)
	if err == nil || entered {
		return err
	}
	switch faultOfShard(err) { // of the WATCH: nothing was written
	case faultNotWritable, faultUnsent, faultHung, faultBroken:
		g.shards.declined()
		return g.refuse("watch", command.ClassTransaction, err)
	default:
		return err
	}
}

// guardedTx judges what is done inside a Watch.
type guardedTx struct{ *guarded }

func (g *guardedTx) admit(context.Context, redis.Cmder) error {
	if g.over.Load() {
		return ErrClosed
	}
	return nil
}

func (g *guardedTx) judgeTx(ctx context.Context, cmds []redis.Cmder, err error) error {
	if err == nil {
		return nil
	}
	return g.guarded.judgeTx(ctx, cmds, err)
}

func (g *guardedTx) judgeEach(ctx context.Context, cmds []redis.Cmder, err error) error {
	if err == nil {
		return nil
	}
	return g.guarded.judgeEach(ctx, cmds)
}
