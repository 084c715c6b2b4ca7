package resilient

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"
)

// A Cluster client dials again and again for a pipeline whose server is gone, whatever
// NoRetry says, and in the end sends it to whoever has the slots by then. That may be a
// second later and behind a whole outage, in front of what others have deferred meanwhile.
// So a pipeline that writes remembers at what turn of the shards it was decided, and where
// that is over it is not sent, but decided anew.

// timelyPipe is a pipeline of a Cluster client.
type timelyPipe struct {
	redis.Pipeliner
	ctx timelyContext
}

// timelyContext is the context of one pipeline's execution.
type timelyContext struct {
	context.Context
	shards *clusterShards
	turn   uint64
}

// timelyKey is the key under which a timelyContext is found below others.
type timelyKey struct{}

// Value implements context.Context.
func (c *timelyContext) Value(key any) any {
	if key == (timelyKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// late reports whether writes of some shard have been deferred, or refused, since.
func (c *timelyContext) late() bool { return c.shards.turn.Load() != c.turn }

// Pipeline implements redis.UniversalClient.
func (c *clusterShards) Pipeline() redis.Pipeliner {
	return &timelyPipe{Pipeliner: c.ClusterClient.Pipeline(), ctx: timelyContext{shards: c, turn: c.turn.Load()}}
}

// Exec implements redis.Pipeliner.
func (p *timelyPipe) Exec(ctx context.Context) ([]redis.Cmder, error) {
	p.ctx.Context = ctx
	return p.Pipeliner.Exec(&p.ctx)
}

// keepTimely has every server's client of the Cluster client asked before a pipeline is
// sent. Clients that it has already, because it was used before it was wrapped, are not.
func (c *clusterShards) keepTimely() {
	c.OnNewNode(func(node *redis.Client) { node.AddHook(timelyHook{}) })
}

type timelyHook struct{}

// DialHook implements redis.Hook.
func (timelyHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (timelyHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements redis.Hook. After the error of a hook a Cluster client
// does not try again.
func (timelyHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c, ok := ctx.Value(timelyKey{}).(*timelyContext)
		if ok && c.late() && slices.ContainsFunc(cmds, isOnce) {
			return errLate
		}
		return next(ctx, cmds)
	}
}

func isOnce(cmd redis.Cmder) bool {
	_, is := cmd.(*once)
	return is
}

// errLate says that a write was not sent, and nothing of any server.
var errLate = &net.OpError{Op: "dial", Net: "tcp", Addr: nobody{}, Err: errors.New("the shards have changed since it was decided")}

// nobody is the address of no server.
type nobody struct{}

// Network implements net.Addr.
func (nobody) Network() string { return "none" }

// String implements net.Addr.
func (nobody) String() string { return "no server" }
