package resilient

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// backend is what a Client stands on: a replication group ([lifecycle]), or the shards of
// a Cluster or a Ring ([clustered], [ringed]), which are watched and whose writes can be
// deferred. The way of its commands is a [chain].
type backend interface {
	watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error
	subscriber() subscriber
	poolStats() *redis.PoolStats
	state() ShardState
	states() []ShardState
	stats() Stats
	flush(ctx context.Context) error
	parked() []ParkedJournal
	replayParked(ctx context.Context, id string) error
	deadLetters() letterHome
	close() error
}

// subscriber is the go-redis client of all subscriptions.
type subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
	PSubscribe(ctx context.Context, channels ...string) *redis.PubSub
	SSubscribe(ctx context.Context, channels ...string) *redis.PubSub
}

var (
	_ backend = (*lifecycle)(nil)
	_ backend = (*clustered)(nil)
	_ backend = (*ringed)(nil)
)

// chain is the way of commands in a group. All of it is one shard, so a command
// means the same as a method and in a pipeline.
func (r *router) chain() chain {
	return chain{process: r.process, wide: r.process, pipeline: r.pipeline}
}

func (l *lifecycle) watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	return l.router.watch(ctx, fn, keys...)
}

func (l *lifecycle) subscriber() subscriber { return l.pubsub }

func (l *lifecycle) poolStats() *redis.PoolStats {
	sum := l.nodes.poolStats()
	sum.PubSubStats = l.pubsub.PoolStats().PubSubStats
	return sum
}
