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
// primary. Make one with [NewClient] or [Wrap] and share it: it is safe for
// concurrent use and owns connections, goroutines and a journal until it is
// closed.
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
// with a [*CommandError]. Over a Cluster or a Ring that holds for each shard by itself;
// commands there that name no keys are sent as go-redis sends them: see [Wrap].
type Client struct {
	// UniversalClient is the facade: a go-redis client that never dials and
	// hands every command to the backend.
	redis.UniversalClient

	front   *front
	backend backend
	mending chan struct{} // of capacity 1: whose value is in it sees to dead letters
}

var _ redis.UniversalClient = (*Client)(nil)

// AddHook adds a hook around the client. As in go-redis the hook that was added
// first is the outermost. Hooks see each command of the application once,
// whether it is forwarded, deferred or refused; DialHook is never called,
// because connections belong to a wrapped client and to those that
// Options.OnNewNode sees.
func (c *Client) AddHook(hook redis.Hook) { c.front.add(hook) }

// Subscribe subscribes to channels, on the primary or, while there is none, on
// a replica. The subscription follows the topology when its connection breaks.
func (c *Client) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.backend.subscriber().Subscribe(ctx, channels...)
}

// PSubscribe is Subscribe for patterns.
func (c *Client) PSubscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.backend.subscriber().PSubscribe(ctx, channels...)
}

// SSubscribe is Subscribe for sharded channels.
func (c *Client) SSubscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.backend.subscriber().SSubscribe(ctx, channels...)
}

// PoolStats adds up the connection pools of all servers.
func (c *Client) PoolStats() *redis.PoolStats { return c.backend.poolStats() }

// Watch runs fn in an optimistic transaction, as redis.Client.Watch does. While
// there is no primary, or while a watched key has deferred writes that cannot
// be awaited, it is refused with a [*CommandError] before fn runs; when the
// outage begins in between, the transaction's EXEC is refused.
func (c *Client) Watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	return c.backend.watch(ctx, fn, keys...)
}

// The methods that follow are those that go-redis's clients of several servers
// have of their own: the command alone does not say which server is meant.

// DBSize counts the keys: of all shards over a Cluster client, as its own method
// does, else as the command DBSIZE.
func (c *Client) DBSize(ctx context.Context) *redis.IntCmd {
	cmd := redis.NewIntCmd(ctx, "dbsize")
	c.front.wide(ctx, cmd)
	return cmd
}

// ScriptLoad loads a script: into all servers over a Cluster client, as its own
// method does, else as the command SCRIPT LOAD.
func (c *Client) ScriptLoad(ctx context.Context, script string) *redis.StringCmd {
	cmd := redis.NewStringCmd(ctx, "script", "load", script)
	c.front.wide(ctx, cmd)
	return cmd
}

// ScriptFlush forgets all scripts: of all servers over a Cluster client, as its
// own method does, else as the command SCRIPT FLUSH.
func (c *Client) ScriptFlush(ctx context.Context) *redis.StatusCmd {
	cmd := redis.NewStatusCmd(ctx, "script", "flush")
	c.front.wide(ctx, cmd)
	return cmd
}

// ScriptExists tells which scripts are loaded: in all servers over a Cluster
// client, as its own method does, else as the command SCRIPT EXISTS.
func (c *Client) ScriptExists(ctx context.Context, hashes ...string) *redis.BoolSliceCmd {
	args := make([]any, 2, 2+len(hashes))
	args[0], args[1] = "script", "exists"
	for _, hash := range hashes {
		args = append(args, hash)
	}
	cmd := redis.NewBoolSliceCmd(ctx, args...)
	c.front.wide(ctx, cmd)
	return cmd
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
// the last; hooks of the application are therefore composed around the backend
// in here, and never added to the facade itself, where they would not run.
type front struct {
	inmost chain
	now    atomic.Pointer[chain]

	mu    sync.Mutex // guards hooks
	hooks []redis.Hook
}

// chain is the way of commands: the backend's part, or that with the
// application's hooks around it.
type chain struct {
	process  redis.ProcessHook
	wide     redis.ProcessHook // process, for the methods that concern several servers
	pipeline redis.ProcessPipelineHook
}

func newFront(inmost chain) *front {
	f := &front{inmost: inmost}
	f.now.Store(&inmost)
	return f
}

func (f *front) add(hook redis.Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = append(f.hooks, hook)
	c := f.inmost
	for i := len(f.hooks) - 1; i >= 0; i-- {
		if h := f.hooks[i].ProcessHook(c.process); h != nil {
			c.process = h
		}
		if h := f.hooks[i].ProcessHook(c.wide); h != nil {
			c.wide = h
		}
		if h := f.hooks[i].ProcessPipelineHook(c.pipeline); h != nil {
			c.pipeline = h
		}
	}
	f.now.Store(&c)
}

// wide runs a command of a method that concerns several servers.
func (f *front) wide(ctx context.Context, cmd redis.Cmder) {
	cmd.SetErr(f.now.Load().wide(ctx, cmd))
}

var errFacadeDial = errors.New("resilient: the facade has no connection of its own")

func (f *front) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errFacadeDial }
}

func (f *front) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return f.now.Load().process(ctx, cmd) }
}

func (f *front) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return f.now.Load().pipeline(ctx, cmds) }
}

// newClientOver puts a facade before a backend.
func newClientOver(b backend, inmost chain, proto int) (c *Client, facade *redis.Client) {
	f := newFront(inmost)
	facade = newFacade(f, proto)
	return &Client{UniversalClient: facade, front: f, backend: b, mending: make(chan struct{}, 1)}, facade
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
