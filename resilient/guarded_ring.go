package resilient

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// ringShards is a Ring as shards. Its Process does not repeat a once.
type ringShards struct{ *redis.Ring }

func (r *ringShards) send(ctx context.Context, cmd redis.Cmder) error {
	// The command names no key, and would go to any shard. Ring has a method of its
	// own for it, which takes the shard that Subscribe takes for the channel.
	if cmd.Name() == "publish" && len(cmd.Args()) > 1 {
		if channel, ok := cmd.Args()[1].(string); ok {
			shard, err := r.owner(ctx, channel)
			if err != nil {
				return err
			}
			return shard.Process(ctx, cmd)
		}
	}
	return r.Process(ctx, cmd)
}

func (r *ringShards) sendWide(ctx context.Context, cmd redis.Cmder) error { return r.send(ctx, cmd) }

func (r *ringShards) owner(_ context.Context, key string) (*redis.Client, error) {
	return r.GetShardClientForKey(key)
}

// declined has nothing to do: a Ring looks at its shards by itself.
func (r *ringShards) declined() {}

func (r *ringShards) retries() int { return r.Options().MaxRetries }

func (r *ringShards) onNewNode(fn func(*redis.Client)) { r.OnNewNode(fn) }
