package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// wrap wraps a client for the length of a test.
func wrap(tb testing.TB, inner redis.UniversalClient, o *resilient.Options) *resilient.Client {
	tb.Helper()
	if o == nil {
		o = &resilient.Options{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := resilient.Wrap(inner, o)
	if err != nil {
		_ = inner.Close() // it is nobody's
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // its error is for the tests that look at it
	return c
}

// ringOf is a Ring whose shards are the addresses, which are not looked at while
// the test runs: a Ring gives the keys of a shard that is down to others.
func ringOf(addrs ...string) *redis.Ring {
	shards := map[string]string{}
	for i, addr := range addrs {
		shards[fmt.Sprint("shard", i)] = addr
	}
	return redis.NewRing(&redis.RingOptions{Addrs: shards, HeartbeatFrequency: time.Hour, DialerRetries: 1, MaxRetryBackoff: 20 * time.Millisecond})
}

// mapped dials what is in the map instead of the address itself: so a Cluster's
// servers, which name each other, stand behind proxies.
func mapped(instead map[string]string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if other, ok := instead[addr]; ok {
			addr = other
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.Is(err, resilient.ErrNoPrimary) || !errors.As(err, &ce) || ce.Reason == "" || !resilient.SafeToRetry(err) || errors.Is(err, redis.Nil) {
		t.Errorf("%s: %v, want ErrNoPrimary", what, err)
	}
}

func wantDoubt(t *testing.T, what string, err error) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.Is(err, resilient.ErrInDoubt) || !errors.As(err, &ce) || resilient.SafeToRetry(err) {
		t.Errorf("%s: %v, want ErrInDoubt", what, err)
	}
}

// shardedSteps are what an application does over several shards, beside the
// healthySteps. Keys in braces share a slot.
var shardedSteps = []step{
	do("mset", "a", "1", "b", "2", "c", "3"), do("mset", "{t}a", "1", "{t}b", "2"), do("mget", "a", "b", "c"), do("mget", "{t}b", "{t}a", "{t}x"),
	typed("mset", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.MSet(ctx, "a", "1", "b", "2", "d", "4").Result()
	}),
	typed("mget", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.MGet(ctx, "b", "a", "none", "d").Result()
	}),
	typed("exists", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Exists(ctx, "a", "b", "none").Result()
	}),
	typed("touch", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Touch(ctx, "a", "b").Result()
	}),
	typed("del one", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Del(ctx, "{t}a").Result() }),
	typed("del some", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Del(ctx, "{t}a", "{t}b").Result()
	}),
	typed("sets", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		for i := range 30 {
			if err := c.Set(ctx, fmt.Sprint("key:", i), i, 0).Err(); err != nil {
				return nil, err
			}
		}
		return c.Get(ctx, "key:17").Result()
	}),
	typed("load a script everywhere", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		sha, err := c.ScriptLoad(ctx, "return redis.call('incrby', KEYS[1], 2)").Result()
		if err != nil {
			return nil, err
		}
		sum := int64(0)
		for i := range 9 {
			n, err := c.EvalSha(ctx, sha, []string{fmt.Sprint("key:", i)}).Int64()
			if err != nil {
				return nil, err
			}
			sum += n
		}
		loaded, err := c.ScriptExists(ctx, sha, "none").Result()
		return fmt.Sprint(sha, sum, loaded), err
	}),
	typed("pipeline over shards", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		p := c.Pipeline()
		var all []redis.Cmder
		for i := range 12 {
			all = append(all, p.Incr(ctx, fmt.Sprint("key:", i)), p.Get(ctx, fmt.Sprint("key:", i)), p.Get(ctx, fmt.Sprint("none:", i)))
		}
		_, err := p.Exec(ctx)
		return fmt.Sprint(all), err
	}),
	typed("tx in a slot", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		p := c.TxPipeline()
		n, m := p.Incr(ctx, "{t}n"), p.IncrBy(ctx, "{t}m", 5)
		_, err := p.Exec(ctx)
		return fmt.Sprint(n.Val(), m.Val()), err
	}),
	typed("publish to subscribers", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		var heard []string
		for i := range 8 {
			channel := fmt.Sprint("news:", i)
			text, err := hear(ctx, c, channel)
			if err != nil {
				return nil, err
			}
			heard = append(heard, text)
		}
		return heard, nil
	}),
	do("cluster", "keyslot", "a"), do("xadd", "{t}x", "1-1", "k", "v"), do("xread", "streams", "{t}x", "0"), do("object", "encoding", "{t}x"),
	typed("bitop", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.BitOpAnd(ctx, "{t}d", "{t}n", "{t}m").Result()
	}),
}

// hear publishes to a channel and returns what a subscriber of it got.
func hear(ctx context.Context, c redis.UniversalClient, channel string) (string, error) {
	sub := c.Subscribe(ctx, channel)
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		return "", err
	}
	if err := c.Publish(ctx, channel, "to "+channel).Err(); err != nil {
		return "", err
	}
	m, err := sub.ReceiveTimeout(ctx, 10*time.Second)
	return fmt.Sprint(m), err
}

// onClusterOnly are steps whose meaning a Ring leaves open.
var onClusterOnly = []step{
	typed("dbsize", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.DBSize(ctx).Result() }),
	typed("forget the scripts", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		if err := c.ScriptFlush(ctx).Err(); err != nil {
			return nil, err
		}
		return c.ScriptExists(ctx, redis.NewScript("return redis.call('incrby', KEYS[1], 2)").Hash()).Result()
	}),
	typed("tx over slots", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return nil, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "a")
			p.Incr(ctx, "b")
			return nil
		}))
	}),
	typed("watch over slots", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return nil, c.Watch(ctx, func(*redis.Tx) error { return errors.New("fn ran") }, "a", "b")
	}),
	typed("watch of nothing", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return nil, c.Watch(ctx, func(*redis.Tx) error { return errors.New("fn ran") })
	}),
}

// random are healthySteps that go to any shard, so that two runs differ.
var random = []string{"scan", "dbsize", "flushdb"}

// compareSharded runs steps through a plain client and then through ours.
func compareSharded(t *testing.T, nodes []*redistest.Node, plain redis.UniversalClient, c *resilient.Client, steps []step) {
	t.Helper()
	ctx := context.Background()
	run := func(c redis.UniversalClient) []string {
		for _, n := range nodes {
			check(t, n.Client().FlushAll(ctx).Err())
			check(t, n.Client().ScriptFlush(ctx).Err())
		}
		var replies []string
		for _, s := range steps {
			replies = append(replies, s.run(ctx, c))
		}
		return replies
	}
	want, got := run(plain), run(c)
	for i, s := range steps {
		if got[i] != want[i] {
			t.Errorf("%s: %s, plain go-redis says %s", s.name, got[i], want[i])
		}
	}
	if st := c.Stats(); st.Refused != 0 || st.InDoubt != 0 {
		t.Errorf("healthy shards: %+v", st)
	}
}

func stepsOverShards(more ...step) []step {
	var steps []step
	for _, s := range healthySteps {
		if !slices.Contains(random, s.name) {
			steps = append(steps, s)
		}
	}
	return slices.Concat(steps, shardedSteps, more)
}

// TestClusterIsAsGoRedis: commands through a wrapped Cluster client give
// what they give without us, with either resolver.
func TestClusterIsAsGoRedis(t *testing.T) {
	t.Parallel()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{})
	for _, proto := range []int{2, 3} {
		for _, dynamic := range []bool{false, true} {
			t.Run(fmt.Sprintf("RESP%d, dynamic resolver %t", proto, dynamic), func(t *testing.T) {
				newClient := func() *redis.ClusterClient {
					c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()[:1], Protocol: proto})
					if dynamic {
						c.SetCommandInfoResolver(c.NewDynamicResolver())
					}
					return c
				}
				plain := newClient()
				t.Cleanup(func() { _ = plain.Close() })
				steps := stepsOverShards(onClusterOnly...)
				if dynamic { // with which plain go-redis counts a slot's answer once for each key
					steps = slices.DeleteFunc(steps, func(s step) bool { return s.name == "del some" })
				}
				compareSharded(t, servers.Nodes(), plain, wrap(t, newClient(), nil), steps)
			})
		}
	}
}

// TestRingIsAsGoRedis is the same over a Ring of two shards.
func TestRingIsAsGoRedis(t *testing.T) {
	t.Parallel()
	a, b := redistest.StartT(t, redistest.Options{}), redistest.StartT(t, redistest.Options{})
	plain := ringOf(a.Node(0).Addr(), b.Node(0).Addr())
	t.Cleanup(func() { _ = plain.Close() })
	c := wrap(t, ringOf(a.Node(0).Addr(), b.Node(0).Addr()), nil)
	// These go to any shard, or give the error of any.
	vague := []string{"script exists", "load a script everywhere", "pipeline", "tx", "tx with a bad command"}
	compareSharded(t, []*redistest.Node{a.Node(0), b.Node(0)}, plain, c, slices.DeleteFunc(stepsOverShards(), func(s step) bool {
		return slices.Contains(vague, s.name)
	}))
}

// TestSpreadWrites: with a resolver that splits commands over servers, a write
// that may not be repeated goes to one shard, or is refused.
func TestSpreadWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{})
	inner := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	inner.SetCommandInfoResolver(inner.NewDynamicResolver())
	c := wrap(t, inner, nil)
	check(t, c.MSet(ctx, "a", "1", "b", "2", "c", "3").Err())
	if v, err := c.MGet(ctx, "a", "b", "c").Result(); fmt.Sprint(v) != "[1 2 3]" || err != nil {
		t.Errorf("MGET = %v, %v", v, err)
	}
	check(t, c.MSet(ctx, "{t}a", 1, "{t}b", 2).Err()) // not strings: go-redis itself would panic
	if n, err := c.Del(ctx, "{t}a", "{t}b", "{t}c").Result(); n != 2 || err != nil {
		t.Errorf("DEL in a slot = %d, %v", n, err)
	}
	if _, err := c.Del(ctx, "a", "b", "c").Result(); !redis.HasErrorPrefix(err, "CROSSSLOT") {
		t.Errorf("DEL of several slots: %v", err)
	}
	if n, err := c.Unlink(ctx, "a").Result(); n != 1 || err != nil {
		t.Errorf("UNLINK = %d, %v", n, err)
	}
	notSupported(t, "FLUSHALL", c.FlushAll(ctx).Err())
	if n, err := c.DBSize(ctx).Result(); n != 2 || err != nil {
		t.Errorf("DBSIZE = %d, %v; want b and c", n, err)
	}
}

// TestShardedSessionCommands: what binds to a connection is refused, and what
// would pass by is not there.
func TestShardedSessionCommands(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c := wrap(t, ringOf(g.Addrs()...), nil)
	for _, args := range [][]any{{"multi"}, {"watch", "k"}, {"select", 1}, {"client", "reply", "off"}, {"himport", "prepare", "f"}} {
		notSupported(t, fmt.Sprint(args...), c.Do(ctx, args...).Err())
		p := c.Pipeline()
		set := p.Set(ctx, "k", 1, 0)
		p.Do(ctx, args...)
		_, err := p.Exec(ctx)
		notSupported(t, fmt.Sprint("pipelined ", args), err)
		notSupported(t, fmt.Sprint("pipelined with ", args), set.Err())
		notSupported(t, fmt.Sprint("in a transaction ", args), pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "k", 1, 0)
			p.Do(ctx, args...)
			return nil
		})))
	}
	if n := c.Exists(ctx, "k").Val(); n != 0 {
		t.Error("a pipeline that was refused as a whole has written")
	}
	_, err := c.AutoPipeline()
	notSupported(t, "AutoPipeline", err)
	notSupported(t, "HImportPrepare", c.HImportPrepare(ctx, "f", "a").Err())
}

// TestShardedClient: what a wrapped Ring says of itself, and its end.
func TestShardedClient(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	inner := ringOf(g.Addrs()...)
	made := 0
	inner.OnNewNode(func(*redis.Client) { made++ })
	c := wrap(t, inner, &resilient.Options{OnNewNode: func(*redis.Client) { made++ }})
	log := &journalOfHooks{}
	c.AddHook(recorder{"outer", log})
	inner.AddHook(recorder{"inner", log})
	check(t, c.Set(ctx, "k", "v", 0).Err())
	check(t, c.DBSize(ctx).Err())
	want := []string{"outer in set", "inner in set", "inner out set", "outer out set", "outer in dbsize", "inner in dbsize", "inner out dbsize", "outer out dbsize"}
	if got := log.take(); !slices.Equal(got, want) {
		t.Errorf("hooks saw %q, want %q", got, want)
	}
	if p := c.PoolStats(); p.TotalConns == 0 {
		t.Errorf("PoolStats %+v", p)
	}
	if s := c.State(); s.State != resilient.StateHealthy || s.Cause != resilient.CauseNone || s.Primary == "" || s.Since.IsZero() {
		t.Errorf("state %+v", s)
	}
	check(t, c.Flush(ctx))
	check(t, c.Shutdown(ctx).Err())
	check(t, c.Close())
	if err := inner.Get(ctx, "k").Err(); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("the Ring is not closed: %v", err)
	}
	for what, err := range map[string]error{
		"SET": c.Set(ctx, "k", 1, 0).Err(), "GET": c.Get(ctx, "k").Err(), "DBSIZE": c.DBSize(ctx).Err(),
		"pipeline": pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "k"); return nil })),
		"tx":       pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "k"); return nil })),
		"Watch":    c.Watch(ctx, func(*redis.Tx) error { return nil }, "k"),
	} {
		if !errors.Is(err, resilient.ErrClosed) {
			t.Errorf("%s on a closed client: %v", what, err)
		}
	}
}

// TestWrapRefuses: what can't be wrapped is left to its owner.
func TestWrapRefuses(t *testing.T) {
	t.Parallel()
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}})
	t.Cleanup(func() { _ = failover.Close() })
	ours := wrap(t, ringOf("127.0.0.1:1"), nil)
	inner := map[string]redis.UniversalClient{
		"nil": nil, "a nil Client": (*redis.Client)(nil), "a nil Ring": (*redis.Ring)(nil), "a nil ClusterClient": (*redis.ClusterClient)(nil),
		"a failover client without Nodes": failover, "ours": ours,
	}
	names := make([]string, 0, len(inner))
	for name := range inner {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if c, err := resilient.Wrap(inner[name], nil); err == nil {
			t.Errorf("%s was wrapped", name)
			_ = c.Close() // the test has failed
		}
	}
	ring := ringOf("127.0.0.1:1")
	if _, err := resilient.Wrap(ring, &resilient.Options{MaxSeedBytes: -1}); err == nil {
		t.Error("wrong options were taken")
	}
	check(t, ring.Close())
	unix := redis.NewClient(&redis.Options{Network: "unix", Addr: "/nowhere/redis.sock"})
	if _, err := resilient.Wrap(unix, nil); err == nil {
		t.Error("a unix socket was wrapped")
	}
	check(t, unix.Close())
}
