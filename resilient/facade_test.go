package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// openOver is open over a network that can be cut, at the group's first server.
func openOver(tb testing.TB, g *redistest.Group, o *resilient.Options) (*resilient.Client, *redistest.Network) {
	tb.Helper()
	way, err := redistest.NewNetwork(g.Addrs()[:1], nil)
	check(tb, err)
	tb.Cleanup(func() { check(tb, way.Close()) })
	return openWith(tb, g, redis.UniversalOptions{Dialer: way.Dial}, o), way
}

// openWith is open with go-redis options of the test's own.
func openWith(tb testing.TB, g *redistest.Group, u redis.UniversalOptions, o *resilient.Options) *resilient.Client {
	tb.Helper()
	if o == nil {
		o = &resilient.Options{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	u.Addrs, o.Nodes = g.Addrs()[:1], g.Addrs()[1:]
	c, err := resilient.NewClient(&u, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // its error is for the tests that look at it
	return c
}

// say is a command's reply in words that two clients can be compared by.
func say(value any, err error) string {
	switch v := value.(type) {
	case error:
		value = "error " + v.Error() // in the array of a pipeline or script
	case time.Duration:
		if v > time.Second {
			v = v.Round(10 * time.Second)
		}
		value = v
	}
	return fmt.Sprintf("%v, %v", value, err)
}

// step is one command, typed or by Do.
type step struct {
	name string
	run  func(ctx context.Context, c redis.UniversalClient) string
}

func do(args ...any) step {
	return step{name: fmt.Sprint(args...), run: func(ctx context.Context, c redis.UniversalClient) string {
		return say(c.Do(ctx, args...).Result())
	}}
}

func typed(name string, run func(ctx context.Context, c redis.UniversalClient) (any, error)) step {
	return step{name: name, run: func(ctx context.Context, c redis.UniversalClient) string { return say(run(ctx, c)) }}
}

// healthySteps are a wide sample of what an application does.
var healthySteps = []step{
	typed("ping", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Ping(ctx).Result() }),
	typed("set", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Set(ctx, "s", "v", time.Hour).Result()
	}),
	typed("get", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Get(ctx, "s").Result() }),
	typed("ttl", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.TTL(ctx, "s").Result() }),
	typed("setnx", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.SetNX(ctx, "s", "w", 0).Result()
	}),
	typed("getset", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.SetArgs(ctx, "s", "x", redis.SetArgs{Get: true}).Result()
	}),
	typed("miss", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Get(ctx, "nothing").Result() }),
	typed("incrbyfloat", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.IncrByFloat(ctx, "f", 1.5).Result()
	}),
	typed("setbit", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.SetBit(ctx, "bits", 7, 1).Result()
	}),
	typed("hset", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.HSet(ctx, "h", "a", 1, "b", 2.5).Result()
	}),
	typed("hgetall", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.HGetAll(ctx, "h").Result() }),
	typed("hscan", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		keys, cursor, err := c.HScan(ctx, "h", 0, "a*", 10).Result()
		return fmt.Sprint(keys, cursor), err
	}),
	typed("rpush", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.RPush(ctx, "l", "a", "b", "c").Result()
	}),
	typed("lrange", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.LRange(ctx, "l", 0, -1).Result()
	}),
	typed("lpop", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.LPop(ctx, "l").Result() }),
	typed("blpop", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.BLPop(ctx, time.Second, "none", "l").Result()
	}),
	typed("blpop in vain", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.BLPop(ctx, time.Second, "none").Result()
	}),
	typed("sadd", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.SAdd(ctx, "set", "m", "n").Result()
	}),
	typed("smembers", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.SIsMember(ctx, "set", "m").Result()
	}),
	typed("zadd", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "a"}, redis.Z{Score: 2, Member: "b"}).Result()
	}),
	typed("zrange", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.ZRangeWithScores(ctx, "z", 0, -1).Result()
	}),
	typed("xadd", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.XAdd(ctx, &redis.XAddArgs{Stream: "x", ID: "1-1", Values: []string{"k", "v"}}).Result()
	}),
	typed("xgroup", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.XGroupCreate(ctx, "x", "g", "0").Result()
	}),
	typed("xreadgroup", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"x", ">"}}).Result()
	}),
	typed("xread in vain", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.XRead(ctx, &redis.XReadArgs{Streams: []string{"x", "$"}, Block: 50 * time.Millisecond}).Result()
	}),
	typed("eval", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Eval(ctx, "return {KEYS[1], ARGV[1], 3}", []string{"s"}, 7).Result()
	}),
	typed("script", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return redis.NewScript("return redis.call('incr', KEYS[1])").Run(ctx, c, []string{"scripted"}).Result()
	}),
	typed("script exists", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.ScriptExists(ctx, redis.NewScript("return redis.call('incr', KEYS[1])").Hash(), "none").Result()
	}),
	typed("geoadd", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.GeoAdd(ctx, "geo", &redis.GeoLocation{Name: "p", Longitude: 13, Latitude: 38}).Result()
	}),
	typed("pfadd", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.PFAdd(ctx, "pf", "a", "b").Result()
	}),
	typed("sort", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Sort(ctx, "set", &redis.Sort{Alpha: true}).Result()
	}),
	typed("scan", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		seen := map[string]bool{}
		it := c.Scan(ctx, 0, "", 3).Iterator()
		for it.Next(ctx) {
			seen[it.Val()] = true
		}
		return seen, it.Err()
	}),
	typed("dbsize", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.DBSize(ctx).Result() }),
	typed("object", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.ObjectEncoding(ctx, "h").Result()
	}),
	typed("wrong type", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Incr(ctx, "h").Result() }),
	typed("pipeline", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		p := c.Pipeline()
		n, miss, all := p.Incr(ctx, "n"), p.Get(ctx, "nothing"), p.HGetAll(ctx, "h")
		_, err := p.Exec(ctx)
		return fmt.Sprint(n.Val(), miss.Err(), all.Val()), err
	}),
	typed("tx", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		p := c.TxPipeline()
		n, wrong, miss := p.Incr(ctx, "n"), p.Incr(ctx, "h"), p.Get(ctx, "nothing")
		_, err := p.Exec(ctx)
		return fmt.Sprint(n.Val(), wrong.Err(), miss.Err()), err
	}),
	typed("tx with a bad command", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		p := c.TxPipeline()
		n, bad := p.Incr(ctx, "n"), p.Do(ctx, "get")
		_, err := p.Exec(ctx)
		return fmt.Sprint(n.Err(), bad.Err()), err
	}),
	typed("watch", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		var seen string
		err := c.Watch(ctx, func(tx *redis.Tx) error {
			seen, _ = tx.Get(ctx, "n").Result()
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "n", seen+"0", 0); return nil })
			return err
		}, "n")
		return seen, err
	}),
	typed("watch in vain", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return nil, c.Watch(ctx, func(tx *redis.Tx) error {
			if err := c.Incr(ctx, "n").Err(); err != nil {
				return err
			}
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "n", "lost", 0); return nil })
			return err
		}, "n")
	}),
	do("get", "n"), do("hgetall", "h"), do("type", "z"), do("zscore", "z", "a"), do("nosuchcommand", "a"),
	do("get"),
	typed("flushdb", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.FlushDB(ctx).Result() }),
}

// TestHealthyIsAsGoRedis runs a wide sample of commands through a plain client
// and through ours and compares every reply.
func TestHealthyIsAsGoRedis(t *testing.T) {
	t.Parallel()
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", proto), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g, alone := redistest.StartT(t, redistest.Options{Replicas: 1}), redistest.StartT(t, redistest.Options{})
			c := openWith(t, g, redis.UniversalOptions{Protocol: proto}, nil)
			plain := redis.NewClient(&redis.Options{Addr: alone.Node(0).Addr(), Protocol: proto})
			t.Cleanup(func() { _ = plain.Close() })
			for _, s := range healthySteps {
				got, want := s.run(ctx, c), s.run(ctx, plain)
				if got != want {
					t.Errorf("%s: %s, plain go-redis says %s", s.name, got, want)
				}
			}
			if st := c.Stats(); st.Deferred != 0 || st.Refused != 0 || st.InDoubt != 0 {
				t.Errorf("a healthy shard: %+v", st)
			}
			if p := c.PoolStats(); p.TotalConns == 0 || p.Hits == 0 {
				t.Errorf("PoolStats %+v after all that", p)
			}
		})
	}
}

// TestDatabaseAndUser: a database other than 0, behind a user with a password,
// before, in and after an outage.
func TestDatabaseAndUser(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const root, secret = "for the servers", "pass word"
	g := redistest.StartT(t, redistest.Options{Replicas: 2, Password: root})
	for _, n := range g.Nodes() {
		check(t, n.Client().Do(ctx, "acl", "setuser", "app", "on", ">"+secret, "~*", "&*", "+@all").Err())
	}
	dir := t.TempDir()
	u := redis.UniversalOptions{DB: 5, Username: "app", Password: secret}
	c := openWith(t, g, u, &resilient.Options{Dir: dir})
	check(t, c.Set(ctx, "n", 10, 0).Err())
	check(t, g.Node(0).Client().Set(ctx, "n", 99, 0).Err()) // of database 0
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	if n, err := c.Incr(ctx, "n").Result(); n != 11 || err != nil {
		t.Errorf("INCR in database 5: %d, %v; want 11", n, err)
	}
	check(t, c.HSet(ctx, "h", "f", "v").Err())
	if v, err := c.Get(ctx, "n").Result(); v != "11" || err != nil {
		t.Errorf("GET = %q, %v", v, err)
	}
	check(t, c.Close())
	c = openWith(t, g, u, &resilient.Options{Dir: dir})
	if v, err := c.Get(ctx, "n").Result(); v != "11" || err != nil {
		t.Errorf("GET after a restart = %q, %v", v, err)
	}
	check(t, g.Promote(ctx, 1))
	flush(t, c)
	admin := redis.NewClient(&redis.Options{Addr: g.Node(1).Addr(), DB: 5, Username: "app", Password: secret})
	t.Cleanup(func() { _ = admin.Close() })
	if v := admin.Get(ctx, "n").Val(); v != "11" {
		t.Errorf("n = %q in database 5, want 11", v)
	}
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "99" {
		t.Errorf("n = %q in database 0, which nobody wrote, want 99", v)
	}
	if n := g.Node(1).Client().Exists(ctx, "h").Val(); n != 0 {
		t.Error("the hash was written to database 0")
	}
}

// TestSessionCommandsAreRefused: what would change one connection of the pool
// is refused in every state and in every form, and leaves the pool usable.
func TestSessionCommandsAreRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := openWith(t, g, redis.UniversalOptions{PoolSize: 1}, nil)
	commands := [][]any{
		{"watch", "k"},
		{"unwatch"},
		{"multi"},
		{"exec"},
		{"discard"},
		{"select", 1},
		{"auth", "x"},
		{"hello", 2},
		{"reset"},
		{"quit"},
		{"MULTI"},
		{[]byte("Multi")},
		{"subscribe", "ch"},
		{"monitor"},
		{"client", "reply", "off"},
		{"CLIENT", "REPLY", "SKIP"},
		{"client", []byte("REPLY"), "off"},
		{"client", "tracking", "on"},
		{"readonly"},
		{"asking"},
		{"himport", "prepare", "f"},
	}
	for _, outage := range []bool{false, true} {
		if outage {
			check(t, g.Cycle(ctx))
			check(t, c.Set(ctx, "k", "held", 0).Err())
		}
		for _, args := range commands {
			notSupported(t, fmt.Sprint(args...), c.Do(ctx, args...).Err())
			p := c.Pipeline()
			before, bad, after := p.Set(ctx, "other", 1, 0), p.Do(ctx, args...), p.Get(ctx, "k")
			_, err := p.Exec(ctx)
			notSupported(t, fmt.Sprint("pipelined ", args), err)
			for _, cmd := range []redis.Cmder{before, bad, after} {
				notSupported(t, fmt.Sprint("pipelined with ", args), cmd.Err())
			}
			notSupported(t, fmt.Sprint("in a transaction ", args), pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Do(ctx, args...)
				return nil
			})))
		}
		if n := c.Exists(ctx, "other").Val(); n != 0 {
			t.Error("a pipeline that was refused as a whole has written")
		}
		check(t, c.Ping(ctx).Err())
	}
}

func notSupported(t *testing.T, what string, err error) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.Is(err, resilient.ErrNotSupported) || !errors.As(err, &ce) || !resilient.SafeToRetry(err) {
		t.Errorf("%s: %v, want ErrNotSupported", what, err)
	}
}

// TestUnsupportedMethods: the methods that would pass by the router.
func TestUnsupportedMethods(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c := open(t, g, nil)
	for name, made := range map[string]func() (*redis.AutoPipeliner, error){
		"AutoPipeline":      c.AutoPipeline,
		"AsyncAutoPipeline": c.AsyncAutoPipeline,
		"AutoPipelineWithOptions": func() (*redis.AutoPipeliner, error) {
			return c.AutoPipelineWithOptions(&redis.AutoPipelineOptions{})
		},
		"AsyncAutoPipelineWithOptions": func() (*redis.AutoPipeliner, error) {
			return c.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{})
		},
	} {
		p, err := made()
		if p != nil {
			t.Errorf("%s gave something", name)
		}
		notSupported(t, name, err)
	}
	notSupported(t, "HImportPrepare", c.HImportPrepare(ctx, "f", "a").Err())
	notSupported(t, "HImportSet", c.HImportSet(ctx, "k", "f", 1).Err())
	notSupported(t, "HImportDiscard", c.HImportDiscard(ctx, "f").Err())
	notSupported(t, "HImportDiscardAll", c.HImportDiscardAll(ctx).Err())
	// Go-redis may grow more of them; each must be looked at.
	seen := map[string]bool{}
	for i := range reflect.TypeFor[redis.UniversalClient]().NumMethod() {
		name := reflect.TypeFor[redis.UniversalClient]().Method(i).Name
		if len(name) > 7 && (name[:7] == "HImport" || name[:8] == "AutoPipe" || name[:8] == "AsyncAut") {
			seen[name] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("go-redis has %v; this test knows 8 of them", seen)
	}
}
