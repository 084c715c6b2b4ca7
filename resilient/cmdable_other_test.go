package resilient_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// otherMethods are those of redis.UniversalClient that don't give a command's result:
// each has a test of its own, in an outage. The list "queue" holds a and b there, the
// counter "n" is 10, and "text" is hello.
var otherMethods = map[string]func(ctx context.Context, t *testing.T, c *resilient.Client, g *redistest.Group){
	"Pipeline":    testPipeline,
	"Pipelined":   testPipelined,
	"TxPipeline":  testTxPipeline,
	"TxPipelined": testTxPipelined,
	"Watch":       testWatch,
	"Do":          testDo,
	"Process":     testProcess,
	"AddHook":     testAddHook,
	"PoolStats":   testPoolStats,
	"Close":       testClose,
	"Subscribe": func(ctx context.Context, t *testing.T, c *resilient.Client, g *redistest.Group) {
		testSubscription(ctx, t, g, c.Subscribe(ctx, "channel"), (*redis.Client).Publish)
	},
	"PSubscribe": func(ctx context.Context, t *testing.T, c *resilient.Client, g *redistest.Group) {
		testSubscription(ctx, t, g, c.PSubscribe(ctx, "chan*"), (*redis.Client).Publish)
	},
	"SSubscribe": func(ctx context.Context, t *testing.T, c *resilient.Client, g *redistest.Group) {
		testSubscription(ctx, t, g, c.SSubscribe(ctx, "channel"), (*redis.Client).SPublish)
	},
	"AutoPipeline": func(_ context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
		testNoPipeliner(t, c.AutoPipeline)
	},
	"AsyncAutoPipeline": func(_ context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
		testNoPipeliner(t, c.AsyncAutoPipeline)
	},
	"AutoPipelineWithOptions": func(_ context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
		testNoPipeliner(t, func() (*redis.AutoPipeliner, error) { return c.AutoPipelineWithOptions(nil) })
	},
	"AsyncAutoPipelineWithOptions": func(_ context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
		testNoPipeliner(t, func() (*redis.AutoPipeliner, error) { return c.AsyncAutoPipelineWithOptions(nil) })
	},
}

// TestUniversalClientInAnOutage: what redis.UniversalClient has beside the methods that
// TestCmdable calls.
func TestUniversalClientInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	all, typed := reflect.TypeFor[redis.UniversalClient](), reflect.TypeFor[redis.Cmdable]()
	for i := range all.NumMethod() {
		name := all.Method(i).Name
		_, tested := otherMethods[name]
		if _, ok := typed.MethodByName(name); !ok && !tested {
			t.Errorf("redis.UniversalClient.%s has no test here", name)
		}
	}
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	check(t, c.RPush(ctx, "queue", "a", "b").Err())
	check(t, c.Set(ctx, "text", "hello", 0).Err())
	check(t, c.Set(ctx, "n", 10, 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	names := sortedKeys(otherMethods)
	slices.SortStableFunc(names, func(a, b string) int { // Close is the last
		return map[string]int{"Close": 1}[a] - map[string]int{"Close": 1}[b]
	})
	for _, name := range names {
		if _, ok := all.MethodByName(name); !ok {
			t.Errorf("redis.UniversalClient has no method %s any more", name)
		}
		if !t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, hangs) // of what none of these may hear
			defer cancel()
			otherMethods[name](ctx, t, c, g)
			check(t, ctx.Err())
		}) {
			return
		}
	}
}

func testPipeline(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	p := c.Pipeline()
	n, text, claim, none, pushed := p.Incr(ctx, "counter"), p.Get(ctx, "text"), p.LPop(ctx, "queue"), p.Get(ctx, "none"), p.RPush(ctx, "list", "c")
	cmds, err := p.Exec(ctx)
	refused(t, err, "lpop", "claiming write")
	refused(t, claim.Err(), "lpop", "claiming write")
	if len(cmds) != 5 || n.Val() != 1 || n.Err() != nil || text.Val() != "hello" || text.Err() != nil {
		t.Errorf("%v", cmds)
	}
	if !errors.Is(none.Err(), redis.Nil) || pushed.Val() != 1 || pushed.Err() != nil {
		t.Errorf("behind a refusal: %v, %v", none, pushed)
	}
}

func testPipelined(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	before := c.LLen(ctx, "queue").Val()
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, "queue", "d")
		p.LRange(ctx, "queue", 0, 1)
		return nil
	})
	if err != nil || len(cmds) != 2 {
		t.Fatalf("%v, %v", cmds, err)
	}
	if n, l := cmds[0].(*redis.IntCmd).Val(), cmds[1].(*redis.StringSliceCmd).Val(); n != before+1 || !slices.Equal(l, []string{"a", "b"}) {
		t.Errorf("%v", cmds)
	}
}

func testTxPipeline(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	tracked, receipt := resilient.WithReceipt(ctx)
	p := c.TxPipeline()
	set, added, text := p.Set(tracked, "tx", "value", time.Hour), p.ZIncrBy(tracked, "scores", 1.5, "ada"), p.Get(tracked, "tx")
	if _, err := p.Exec(tracked); err != nil {
		t.Fatal(err)
	}
	if set.Val() != "OK" || added.Val() != 1.5 || text.Val() != "value" {
		t.Errorf("%v, %v, %v", set, added, text)
	}
	if receipt.Outcome() != resilient.OutcomeDeferred || receipt.Deferred() != 1 {
		t.Errorf("%v, %d entries", receipt.Outcome(), receipt.Deferred())
	}
}

func testTxPipelined(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "never", "value", 0)
		p.LPop(ctx, "queue")
		return nil
	})
	refused(t, err, "multi", "transaction")
	for _, cmd := range cmds {
		refused(t, cmd.Err(), "multi", "transaction")
	}
	if n, err := c.Exists(ctx, "never").Result(); n != 0 || err != nil || len(cmds) != 2 {
		t.Errorf("a part of a refused transaction was executed: %d, %v", n, err)
	}
}

func testWatch(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	err := c.Watch(ctx, func(*redis.Tx) error {
		t.Error("the function ran")
		return nil
	}, "n")
	refused(t, err, "watch", "transaction")
}

func testDo(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	before, err := c.Do(ctx, "GET", "n").Int64()
	check(t, err)
	if n, err := c.Do(ctx, "incrby", "n", 4).Result(); n != before+4 || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	refused(t, c.Do(ctx, "lpop", "queue").Err(), "lpop", "claiming write")
}

func testProcess(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	before := c.LLen(ctx, "queue").Val()
	pushed, popped := redis.NewIntCmd(ctx, "rpush", "queue", "x"), redis.NewStringCmd(ctx, "lpop", "queue")
	if err := c.Process(ctx, pushed); err != nil || pushed.Val() != before+1 {
		t.Errorf("%v, %v", pushed, err)
	}
	refused(t, c.Process(ctx, popped), "lpop", "claiming write")
	refused(t, popped.Err(), "lpop", "claiming write")
}

// countHook counts what passes it.
type countHook struct{ commands, pipelines int }

func (*countHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *countHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.commands++
		return next(ctx, cmd)
	}
}

func (h *countHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.pipelines++
		return next(ctx, cmds)
	}
}

func testAddHook(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	h := &countHook{}
	c.AddHook(h)
	check(t, c.Append(ctx, "appended", "!").Err()) // deferred
	check(t, c.Get(ctx, "appended").Err())
	refused(t, c.SPop(ctx, "set").Err(), "spop", "claiming write")
	check(t, pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
		return p.Append(ctx, "appended", "!").Err()
	})))
	if h.commands != 3 || h.pipelines != 1 {
		t.Errorf("a hook has seen %d commands and %d pipelines, want 3 and 1", h.commands, h.pipelines)
	}
}

func testPoolStats(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	check(t, c.Ping(ctx).Err())
	if s := c.PoolStats(); s == nil || s.TotalConns == 0 {
		t.Errorf("%+v", s)
	}
}

func testNoPipeliner(t *testing.T, method func() (*redis.AutoPipeliner, error)) {
	p, err := method()
	notSupported(t, "it", err)
	if p != nil {
		t.Errorf("beside its error it gives %v", p)
	}
}

// testSubscription: in an outage messages come from whichever server is subscribed to.
func testSubscription(ctx context.Context, t *testing.T, g *redistest.Group, s *redis.PubSub,
	publish func(*redis.Client, context.Context, string, any) *redis.IntCmd,
) {
	defer func() { check(t, s.Close()) }()
	if first, err := s.Receive(ctx); err != nil {
		t.Fatal(err)
	} else if _, ok := first.(*redis.Subscription); !ok {
		t.Fatalf("%T, want a redis.Subscription", first)
	}
	receivers := int64(0)
	for _, n := range g.Nodes() {
		count, err := publish(n.Client(), ctx, "channel", "message").Result()
		check(t, err)
		receivers += count
	}
	if m, err := s.ReceiveMessage(ctx); err != nil || m.Payload != "message" || receivers != 1 {
		t.Errorf("%v, %v; %d servers have this subscriber", m, err, receivers)
	}
}

func testClose(ctx context.Context, t *testing.T, c *resilient.Client, _ *redistest.Group) {
	check(t, c.Close())
	if err := c.Get(ctx, "text").Err(); !errors.Is(err, resilient.ErrClosed) || !errors.Is(err, redis.ErrClosed) {
		t.Errorf("GET afterwards: %v", err)
	}
	check(t, c.Close())
}
