package resilient

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// shardedOnlooker is an onlooker over several shards, each of which is watched. Safe for
// concurrent use.
type shardedOnlooker struct {
	*sharded
	tally
	plain redis.UniversalClient
}

var _ backend = (*shardedOnlooker)(nil)

func (o *shardedOnlooker) chain() chain {
	return chain{process: o.process, wide: o.wide, pipeline: o.pipeline}
}

func (o *shardedOnlooker) process(ctx context.Context, cmd redis.Cmder) error {
	err := o.plain.Process(ctx, cmd)
	o.note(ctx, cmd, err)
	return err
}

// wide sends the methods that concern several servers.
func (o *shardedOnlooker) wide(ctx context.Context, cmd redis.Cmder) error {
	err := o.guarded.shards.sendWide(ctx, cmd)
	if err != nil {
		cmd.SetErr(err)
	}
	return err
}

func (o *shardedOnlooker) pipeline(ctx context.Context, cmds []redis.Cmder) error {
	return sendPlain(ctx, o.plain, cmds, o.note)
}

// note counts what would have become of a command, and tells the topology of its error.
func (o *shardedOnlooker) note(ctx context.Context, cmd redis.Cmder, err error) {
	spec := command.Lookup(cmd.Name())
	if f := faultOfShard(err); f == faultNone && (o.layout.live(false) || spec != nil && !spec.MayWrite()) {
		return
	}
	q, encErr := newRequest(ctx, o.side, cmd)
	if encErr != nil {
		return
	}
	defer q.free()
	write := spec == nil || spec.MayWrite() && !spec.Session()
	lane, one := o.slotOf(q)
	if !one {
		o.noteStray(faultOfShard(err), write)
		return
	}
	s := o.layout.shardOf(lane)
	rt, f := s.router.current(), s.router.faultOf(err)
	if rt.closed || f == faultNone && rt.write != nil {
		return
	}
	at := o.layout.addrOf(s, string(q.keys[0]))
	if f != faultNone {
		s.router.signal(at, f, err)
	}
	if write {
		o.count(ctx, s.router, rt, q, f, at)
	}
}

// noteStray counts what would have become of a command that belongs to no shard, or to
// several: nothing of it is ever deferred.
func (o *shardedOnlooker) noteStray(f fault, write bool) {
	switch {
	case !write:
	case f.ambiguous():
		o.inDoubt.Add(1)
	case f == faultNotWritable || f == faultUnsent:
		o.refused.Add(1)
	}
}

// What a backend does otherwise:

func (o *shardedOnlooker) watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	return o.plain.Watch(ctx, fn, keys...)
}

func (o *shardedOnlooker) subscriber() subscriber { return o.guarded.shards }

func (o *shardedOnlooker) poolStats() *redis.PoolStats { return o.plain.PoolStats() }

func (o *shardedOnlooker) flush(context.Context) error { return nil }

func (o *shardedOnlooker) stats() Stats {
	s := o.sharded.stats()
	s.Observed = o.observed()
	return s
}
