package resilient

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// clusterShards is a Cluster client as shards.
type clusterShards struct {
	*redis.ClusterClient

	reloaded atomic.Int64  // when declined last had the slots read again, in ms
	turn     atomic.Uint64 // counts the routes of shards that take no writes
	observed bool          // it is left to itself
}

func (c *clusterShards) send(ctx context.Context, cmd redis.Cmder) error {
	o, write := cmd.(*once)
	if !write {
		return c.Process(ctx, cmd)
	}
	spec := command.Lookup(cmd.Name())
	switch {
	case c.spreads(ctx, cmd):
		return c.spread(ctx, o, spec)
	case spec.Class(nil) == command.ClassScript:
		// Process repeats whatever was answered with READONLY, which a script can say
		// after it has written; a pipeline follows redirections only.
		return c.alone(ctx, c.Pipeline(), cmd)
	}
	return c.Process(ctx, cmd)
}

// spreads reports whether the client's resolver splits a command over several
// servers. That of NewClusterClient does so for no command of Redis itself.
func (c *clusterShards) spreads(ctx context.Context, cmd redis.Cmder) bool {
	if c.Options().DisableRoutingPolicies {
		return false
	}
	resolver := c.GetResolver()
	if resolver == nil {
		return false
	}
	policy := resolver.GetCommandPolicy(ctx, cmd)
	return policy != nil && !policy.CanBeUsedInPipeline()
}

// spread sends a write that the resolver splits over several servers. go-redis
// puts the answers together by the command's type, which a once hides, and
// repeats the whole. So as itself goes only what may be repeated; what has keys
// goes to the shard of the first, for which a transaction takes it as it is.
func (c *clusterShards) spread(ctx context.Context, o *once, spec *command.Spec) error {
	args, texts := make([][]byte, len(o.Args())), true
	for i, arg := range o.Args() {
		text, ok := arg.(string)
		args[i], texts = []byte(text), texts && ok
	}
	if texts && spec.Repeatable(args) { // go-redis panics on what is no string
		err := c.Process(ctx, o.Cmder)
		if faultOf(err) != faultNone {
			return &partError{err}
		}
		return err
	}
	keys, err := spec.AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
	if err != nil || len(keys) == 0 {
		return &CommandError{
			Name: o.Name(), Class: spec.Class(args).String(),
			Reason: "the Cluster client's command resolver sends it to several servers, which go-redis repeats by itself; " +
				"send it to each of them with ForEachMaster of the Cluster client",
			Err: ErrNotSupported,
		}
	}
	return c.alone(ctx, c.TxPipeline(), o)
}

// alone sends a command as the only one of a pipeline.
func (c *clusterShards) alone(ctx context.Context, pipe redis.Pipeliner, cmd redis.Cmder) error {
	_ = pipe.Process(ctx, cmd) // only queues
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	return cmd.Err()
}

// sendWide takes the methods that a Cluster client has of its own.
func (c *clusterShards) sendWide(ctx context.Context, cmd redis.Cmder) error {
	if o, ok := cmd.(*once); ok {
		cmd = o.Cmder // what follows loads or forgets scripts, as often as one likes
	}
	switch cmd := cmd.(type) {
	case *redis.IntCmd:
		n, err := c.DBSize(ctx).Result()
		cmd.SetVal(n)
		return err
	case *redis.StringCmd:
		sha, err := c.ScriptLoad(ctx, cmd.Args()[2].(string)).Result()
		cmd.SetVal(sha)
		return err
	case *redis.StatusCmd:
		text, err := c.ScriptFlush(ctx).Result()
		cmd.SetVal(text)
		return err
	case *redis.BoolSliceCmd:
		hashes := make([]string, 0, len(cmd.Args()))
		for _, hash := range cmd.Args()[2:] {
			hashes = append(hashes, hash.(string))
		}
		loaded, err := c.ScriptExists(ctx, hashes...).Result()
		cmd.SetVal(loaded)
		return err
	}
	return c.Process(ctx, cmd)
}

func (c *clusterShards) owner(ctx context.Context, key string) (*redis.Client, error) {
	return c.MasterForKey(ctx, key)
}

// reloadEvery is how often at most a declined write has the slots read again.
const reloadEvery = 100 * time.Millisecond

// declined has the slots read again: another server may have them by now.
func (c *clusterShards) declined() {
	now, last := time.Now().UnixMilli(), c.reloaded.Load()
	if !c.observed && now-last >= reloadEvery.Milliseconds() && c.reloaded.CompareAndSwap(last, now) {
		c.ReloadState(context.Background())
	}
}

func (c *clusterShards) retries() int { return c.Options().MaxRedirects }

func (c *clusterShards) onNewNode(fn func(*redis.Client)) { c.OnNewNode(fn) }
