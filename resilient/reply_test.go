package resilient_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// money is an argument that encodes itself.
type money struct{ cents int }

func (m money) MarshalBinary() ([]byte, error) { return fmt.Appendf(nil, "%d cents", m.cents), nil }

// number is a pointer argument, as go-redis takes them.
var number = 7

// baseSteps are the data at the beginning of the outage.
var baseSteps = []step{
	do("set", "str", "abc"), do("set", "int", "10"), do("set", "free", "served by a replica"),
	do("set", "max", "9223372036854775806"), do("set", "mortal", "x", "ex", 5000),
	do("hset", "hash", "a", "1", "b", "text", "max", "9223372036854775807"),
	do("rpush", "list", "a", "b"), do("sadd", "sset", "m"), do("zadd", "zset", 1, "m"), do("xadd", "stream", "1-1", "f", "v"),
	do("set", "doomed", "x"), do("set", "doomed2", "x"), do("hset", "emptied", "f", "v"),
	do("set", "empty", ""), do("set", "notnum", " 1"), do("hset", "one", "f", "v"),
}

// outageSteps are answered without a primary, each as a Redis would that has
// one: in their order, since they build on each other.
var outageSteps = []step{
	// strings
	do("get", "str"), do("append", "str", "def"), do("get", "str"), do("strlen", "str"),
	do("incr", "str"), do("incr", "int"), do("incrby", "int", 5), do("decr", "int"), do("decrby", "int", 20), do("get", "int"),
	do("incr", "max"), do("incr", "max"), do("incrby", "max", "1"), do("decrby", "int", "-9223372036854775808"),
	do("incrby", "int", "x"), do("incrby", "int", "1.5"), do("incrby", "int", "99999999999999999999"), do("incr", "notnum"),
	do("incr", "new"), do("append", "new2", ""), do("exists", "new2"), do("get", "new2"), do("append", "empty", "e"),
	do("incr", "hash"), do("append", "list", "x"), do("incr", "list"), do("get", "list"), do("strlen", "list"), do("get", "hash"),
	do("set", "list", "now a string"), do("get", "list"), do("type", "list"),
	// expiry
	do("ttl", "str"), do("pttl", "nothing"), do("ttl", "nothing"), do("ttl", "mortal"), do("expire", "str", 1000), do("ttl", "str"),
	do("append", "str", "!"), do("ttl", "str"), do("set", "str", "kept", "keepttl"), do("ttl", "str"),
	do("set", "str", "plain"), do("ttl", "str"), do("persist", "mortal"), do("ttl", "mortal"), do("persist", "mortal"),
	do("persist", "nothing"), do("expire", "nothing", 10), do("expire", "str", "x"), do("expire", "str", "9223372036854775807"),
	do("expire", "str", 0), do("exists", "str"), do("expire", "doomed", -1), do("get", "doomed"),
	do("pexpireat", "doomed2", 1), do("type", "doomed2"), do("set", "past", "v", "exat", 1), do("get", "past"), do("exists", "past"),
	do("set", "t1", "v", "ex", 100), do("ttl", "t1"), do("set", "t1", "v", "px", 200000), do("ttl", "t1"),
	do("setex", "t2", 300, "v"), do("ttl", "t2"), do("psetex", "t2", 400000, "v"), do("ttl", "t2"), do("expireat", "t2", 4102444800),
	do("set", "t1", "v", "ex", 0), do("set", "t1", "v", "ex", -5), do("setex", "t1", 0, "v"), do("setex", "t1", "x", "v"),
	do("set", "t1", "v", "ex"), do("set", "t1", "v", "ex", 10, "px", 10), do("set", "t1", "v", "ex", 10, "keepttl"), do("get", "t1"),
	do("expire", "list", 100), do("expire", "zset", 3000), do("ttl", "zset"), do("persist", "zset"),
	// hashes
	do("hset", "hash", "a", 2, "c", "new"), do("hget", "hash", "a"), do("hget", "hash", "nothing"), do("hmget", "hash", "a", "nothing", "c"),
	do("hlen", "hash"), do("hexists", "hash", "b"), do("hexists", "hash", "z"), do("hdel", "hash", "b", "z", "b"), do("hgetall", "hash"),
	do("hincrby", "hash", "a", 40), do("hincrby", "hash", "fresh", -3), do("hincrby", "hash", "c", 1), do("hincrby", "hash", "max", 1),
	do("hincrby", "hash", "a", "x"), do("hset", "hash", "a"), do("hset", "hash", "a", 1, "b"), do("hmset", "hash", "m", "1"),
	do("hset", "newhash", "f", "v", "f", "w"), do("hgetall", "newhash"), do("hdel", "emptied", "f"), do("exists", "emptied"),
	do("type", "emptied"), do("hset", "emptied", "g", "again"), do("hgetall", "emptied"), do("hget", "int", "f"), do("hset", "int", "f", "v"),
	do("hgetall", "sset"), do("hdel", "sset", "x"), do("hlen", "nothing"), do("hgetall", "nothing"), do("hincrby", "one", "f", 1),
	// several keys, with and without deferred writes
	do("mget", "int", "free", "nothing", "hash", "list"), do("exists", "int", "free", "nothing", "int", "zset"),
	do("del", "new", "free", "nothing", "new", "stream"), do("get", "free"), do("exists", "free", "stream"), do("type", "stream"),
	do("del", "sset"), do("type", "sset"), do("del", "nothing"), do("set", "sset", "v"), do("type", "zset"), do("del", "zset"),
	// arguments of odd types, and wrong ones
	do("set", 17, 4), do("get", 17), do("set", []byte("bytes"), []byte{0, 255, '\r', '\n'}), do("get", "bytes"),
	do("set", "float", 1.5), do("set", "float32", float32(0.1)), do("get", "float32"), do("set", "bool", true), do("get", "bool"),
	do("set", "money", money{1999}), do("get", "money"), do("set", "ptr", &number), do("get", "ptr"), do("set", "dur", 3*time.Second), do("get", "dur"),
	do("set", "when", time.Unix(1e9, 0).UTC()), do("get", "when"), do("set", "uint", uint8(200)), do("get", "uint"), do("set", "nil", nil), do("get", "nil"),
	do("set", "int64", int64(-1<<63)), do("incr", "int64"), do("set", "", "the empty key"), do("get", ""),
	do("SET", "upper", "v"), do("GeT", "upper"), do("get"), do("get", "a", "b"), do("incr"), do("set", "k"), do("hset", "k"), do("mget"), do("hgetall"),
	do("set", "bad", struct{}{}),
	typed("float", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Get(ctx, "float").Float64() }),
	typed("bool", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.Get(ctx, "bool").Bool() }),
	typed("hset struct", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.HSet(ctx, "scan", struct {
			N int     `redis:"n"`
			F float32 `redis:"f"`
			B bool    `redis:"b"`
		}{3, 2.5, true}).Result()
	}),
	typed("scan struct", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		var v struct {
			N int     `redis:"n"`
			F float32 `redis:"f"`
			B bool    `redis:"b"`
		}
		err := c.HGetAll(ctx, "scan").Scan(&v)
		return v, err
	}),
	typed("hset map", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.HSet(ctx, "map", map[string]any{"a": []byte("x"), "b": 2 * time.Second}).Result()
	}),
	typed("hmget", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.HMGet(ctx, "map", "b", "a").Result()
	}),
	typed("expire", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.Expire(ctx, "map", time.Hour).Result()
	}),
	typed("ttl", func(ctx context.Context, c redis.UniversalClient) (any, error) { return c.TTL(ctx, "map").Result() }),
	typed("pttl", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.PTTL(ctx, "nothing").Result()
	}),
	typed("hgetall of a string", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.HGetAll(ctx, "int").Result()
	}),
	typed("set args", func(ctx context.Context, c redis.UniversalClient) (any, error) {
		return c.SetArgs(ctx, "args", 1, redis.SetArgs{ExpireAt: time.Unix(4102444800, 0)}).Result()
	}),
}

// readable are the keys of the two lists, and how each is read whole.
func contents(ctx context.Context, c redis.UniversalClient) map[string]string {
	out := map[string]string{}
	for _, key := range c.Keys(ctx, "*").Val() {
		typ := c.Type(ctx, key).Val()
		value := ""
		switch typ {
		case "string":
			value = say(c.Get(ctx, key).Result())
		case "hash":
			value = say(c.HGetAll(ctx, key).Result())
		case "list":
			value = say(c.LRange(ctx, key, 0, -1).Result())
		}
		out[key] = typ + " " + value + " " + say(c.TTL(ctx, key).Result())
	}
	return out
}

// TestOutageRepliesAreThoseOfRedis runs the same sequence in an outage and on a
// Redis that has none, and compares each reply, then the data after the replay.
func TestOutageRepliesAreThoseOfRedis(t *testing.T) {
	t.Parallel()
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", proto), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g, alone := redistest.StartT(t, redistest.Options{Replicas: 2}), redistest.StartT(t, redistest.Options{})
			c := openWith(t, g, redis.UniversalOptions{Protocol: proto}, &resilient.Options{Dir: t.TempDir()})
			plain := redis.NewClient(&redis.Options{Addr: alone.Node(0).Addr(), Protocol: proto})
			t.Cleanup(func() { _ = plain.Close() })
			for _, s := range baseSteps {
				if got, want := s.run(ctx, c), s.run(ctx, plain); got != want {
					t.Fatalf("before the outage: %s: %s, plain Redis says %s", s.name, got, want)
				}
			}
			check(t, g.WaitSynced(ctx))
			check(t, g.Cycle(ctx))
			for _, s := range outageSteps {
				if got, want := s.run(ctx, c), s.run(ctx, plain); got != want {
					t.Errorf("%s: %s, plain Redis says %s", s.name, got, want)
				}
			}
			st := c.Stats()
			if st.Deferred == 0 || st.Refused != 0 {
				t.Errorf("stats %+v: nothing was to be refused", st)
			}
			check(t, g.Promote(ctx, 1))
			flush(t, c)
			got, want := contents(ctx, c), contents(ctx, plain)
			for key, value := range want {
				if got[key] != value {
					t.Errorf("after the replay %q is %s, in plain Redis %s", key, got[key], value)
				}
				delete(got, key)
			}
			for key, value := range got {
				if key != fenceOf(c) {
					t.Errorf("after the replay there is also %q: %s", key, value)
				}
			}
			if s := c.Stats(); s.DeadLettered != 0 || s.Replayed+s.Expired != s.Deferred {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// fenceOf is the name of the client's own key in Redis.
func fenceOf(c *resilient.Client) string {
	keys := c.Keys(context.Background(), "holdfast:fence:*").Val()
	if len(keys) != 1 {
		return ""
	}
	return keys[0]
}
