package resilient

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Client is a redis.UniversalClient that keeps working while Redis has no
// primary. Make one with [NewClient] and share it: it is safe for concurrent
// use and owns connections, goroutines and a journal until it is closed.
//
// Every method of redis.UniversalClient works as in go-redis while the shard is
// healthy, with these differences:
//
//   - a write is sent once; where a broken connection leaves open whether it
//     was applied, the error is [ErrInDoubt] around the original one, unless
//     repeating it changes nothing;
//   - AutoPipeline, AsyncAutoPipeline, HImport and the commands that bind to
//     one connection (WATCH, MULTI, EXEC, DISCARD, SELECT, AUTH, HELLO, RESET
//     by Do or in a Pipeline) answer [ErrNotSupported]; Watch and TxPipeline
//     are there for transactions.
//
// While there is no primary, writes that can be deferred are answered from the
// overlay when the journal has them, reads of keys with deferred writes come
// from the overlay and other reads from a replica; every other write is refused
// with a [*CommandError].
type Client struct {
	// UniversalClient is the facade: a go-redis client that never dials and
	// hands every command to the router.
	redis.UniversalClient

	front  *front
	router *router
	life   *lifecycle
}

var _ redis.UniversalClient = (*Client)(nil)

// AddHook adds a hook around the client. As in go-redis the hook that was added
// first is the outermost. Hooks see each command of the application once,
// whether it is forwarded, deferred or refused; DialHook is never called,
// because connections belong to the clients that Options.OnNewNode sees.
func (c *Client) AddHook(hook redis.Hook) { c.front.add(hook) }

// Subscribe subscribes to channels, on the primary or, while there is none, on
// a replica. The subscription follows the topology when its connection breaks.
func (c *Client) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.life.pubsub.Subscribe(ctx, channels...)
}

// PSubscribe is Subscribe for patterns.
func (c *Client) PSubscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.life.pubsub.PSubscribe(ctx, channels...)
}

// SSubscribe is Subscribe for sharded channels.
func (c *Client) SSubscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.life.pubsub.SSubscribe(ctx, channels...)
}

// PoolStats adds up the connection pools of all servers.
func (c *Client) PoolStats() *redis.PoolStats {
	sum := c.life.nodes.poolStats()
	sum.PubSubStats = c.life.pubsub.PoolStats().PubSubStats
	return sum
}

// Watch runs fn in an optimistic transaction, as redis.Client.Watch does. While
// there is no primary, or while a watched key has deferred writes that cannot
// be awaited, it is refused with a [*CommandError] before fn runs; when the
// outage begins in between, the transaction's EXEC is refused.
func (c *Client) Watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	return c.router.watch(ctx, fn, keys...)
}

func errAutoPipeline() error {
	return &CommandError{
		Name:   "autopipeline",
		Reason: "an AutoPipeliner would pass by the router; use Pipeline, or one on a go-redis client of your own",
		Err:    ErrNotSupported,
	}
}

// AutoPipeline is not supported and returns an error that matches ErrNotSupported.
func (c *Client) AutoPipeline() (*redis.AutoPipeliner, error) { return nil, errAutoPipeline() }

// AutoPipelineWithOptions is not supported; see AutoPipeline.
func (c *Client) AutoPipelineWithOptions(*redis.AutoPipelineOptions) (*redis.AutoPipeliner, error) {
	return nil, errAutoPipeline()
}

// AsyncAutoPipeline is not supported; see AutoPipeline.
func (c *Client) AsyncAutoPipeline() (*redis.AutoPipeliner, error) { return nil, errAutoPipeline() }

// AsyncAutoPipelineWithOptions is not supported; see AutoPipeline.
func (c *Client) AsyncAutoPipelineWithOptions(*redis.AutoPipelineOptions) (*redis.AutoPipeliner, error) {
	return nil, errAutoPipeline()
}

func errHImport() error {
	return &CommandError{
		Name:   "himport",
		Reason: "a fieldset is kept for each connection; use HSet",
		Err:    ErrNotSupported,
	}
}

// HImportPrepare is not supported and fails with ErrNotSupported.
func (c *Client) HImportPrepare(ctx context.Context, _ string, _ ...string) *redis.StatusCmd {
	cmd := redis.NewStatusCmd(ctx, "himport", "prepare")
	cmd.SetErr(errHImport())
	return cmd
}

// HImportSet is not supported and fails with ErrNotSupported.
func (c *Client) HImportSet(ctx context.Context, _, _ string, _ ...any) *redis.StatusCmd {
	cmd := redis.NewStatusCmd(ctx, "himport", "set")
	cmd.SetErr(errHImport())
	return cmd
}

// HImportDiscard is not supported and fails with ErrNotSupported.
func (c *Client) HImportDiscard(ctx context.Context, _ string) *redis.IntCmd {
	cmd := redis.NewIntCmd(ctx, "himport", "discard")
	cmd.SetErr(errHImport())
	return cmd
}

// HImportDiscardAll is not supported and fails with ErrNotSupported.
func (c *Client) HImportDiscardAll(ctx context.Context) *redis.IntCmd {
	cmd := redis.NewIntCmd(ctx, "himport", "discardall")
	cmd.SetErr(errHImport())
	return cmd
}

// front is the facade's only hook. It never calls the next one, so it must be
// the last; hooks of the application are therefore composed around the router
// in here, and never added to the facade itself, where they would not run.
type front struct {
	router *router
	chain  atomic.Pointer[chain]

	mu    sync.Mutex // guards hooks
	hooks []redis.Hook
}

type chain struct {
	process  redis.ProcessHook
	pipeline redis.ProcessPipelineHook
}

func newFront(r *router) *front {
	f := &front{router: r}
	f.chain.Store(&chain{process: r.process, pipeline: r.pipeline})
	return f
}

func (f *front) add(hook redis.Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = append(f.hooks, hook)
	c := &chain{process: f.router.process, pipeline: f.router.pipeline}
	for i := len(f.hooks) - 1; i >= 0; i-- {
		if h := f.hooks[i].ProcessHook(c.process); h != nil {
			c.process = h
		}
		if h := f.hooks[i].ProcessPipelineHook(c.pipeline); h != nil {
			c.pipeline = h
		}
	}
	f.chain.Store(c)
}

var errFacadeDial = errors.New("resilient: the facade has no connection of its own")

func (f *front) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errFacadeDial }
}

func (f *front) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return f.chain.Load().process(ctx, cmd) }
}

func (f *front) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return f.chain.Load().pipeline(ctx, cmds) }
}

// newFacade makes the go-redis client that the application's commands enter.
func newFacade(f *front, proto int) *redis.Client {
	facade := redis.NewClient(&redis.Options{
		Addr:                     "holdfast:0",
		Protocol:                 proto,
		PoolSize:                 1,
		MaxRetries:               -1,
		Dialer:                   f.DialHook(nil),
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	facade.AddHook(f)
	return facade
}

// simpleOptions are the options of one server, with the default protocol named.
func simpleOptions(u *redis.UniversalOptions) *redis.Options {
	o := u.Simple()
	if o.Protocol == 0 {
		o.Protocol = 3
	}
	return o
}
