package resilient_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestDeadlinesPassInTheOutage: time goes on while there is no primary. What was
// promised to be gone by then must not come back, and a key whose life was
// prolonged in time must not be lost, although the primary has let it go.
func TestDeadlinesPassInTheOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, restart := range []bool{false, true} {
		name := "same process"
		if restart {
			name = "restarted process"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := redistest.StartT(t, redistest.Options{Replicas: 2})
			dir := t.TempDir()
			c := open(t, g, &resilient.Options{Dir: dir})
			// Long enough for what follows to be done before, on a slow machine too.
			const life = 4 * time.Second
			born := time.Now()
			check(t, c.Set(ctx, "limiter", 5, life).Err())
			check(t, c.Set(ctx, "session", "ada", life).Err())
			check(t, c.HSet(ctx, "cart", "apples", 1, "pears", 2).Err())
			check(t, c.PExpire(ctx, "cart", life).Err())
			check(t, c.RPush(ctx, "list", 1).Err())
			check(t, g.WaitSynced(ctx))
			check(t, g.Cycle(ctx))

			if n, err := c.Incr(ctx, "limiter").Result(); n != 6 || err != nil {
				t.Fatalf("INCR = %d, %v", n, err)
			}
			check(t, c.Append(ctx, "limiter", "0").Err())
			if ok, err := c.Expire(ctx, "session", time.Hour).Result(); !ok || err != nil {
				t.Fatalf("EXPIRE = %v, %v", ok, err)
			}
			check(t, c.Append(ctx, "session", "!").Err())
			check(t, c.HIncrBy(ctx, "cart", "apples", 1).Err())
			if ok, err := c.Persist(ctx, "cart").Result(); !ok || err != nil {
				t.Fatalf("PERSIST = %v, %v", ok, err)
			}
			check(t, c.HDel(ctx, "cart", "pears").Err())
			check(t, c.Set(ctx, "brief", "v", time.Second).Err())
			if took := time.Since(born); took >= life {
				t.Fatalf("the machine was too slow for this test: %v", took)
			}

			redistest.Eventually(t, 20*time.Second, "the keys to expire", func() bool {
				return g.Node(1).Client().Exists(ctx, "limiter", "session", "cart").Val() == 0
			})
			if restart {
				check(t, c.Close())
				c = open(t, g, &resilient.Options{Dir: dir})
			}
			// The overlay's idea of the server's clock is good to a part of a round trip.
			redistest.Eventually(t, 20*time.Second, "the deadlines to pass here too", func() bool {
				return c.Exists(ctx, "limiter", "brief").Val() == 0
			})
			see := func(who string, r redis.Cmdable) {
				t.Helper()
				if n, err := r.Exists(ctx, "limiter", "brief").Result(); n != 0 || err != nil {
					t.Errorf("%s: %d expired keys are back, %v", who, n, err)
				}
				if v, err := r.Get(ctx, "session").Result(); v != "ada!" || err != nil {
					t.Errorf("%s: the prolonged session is %q, %v", who, v, err)
				}
				if ttl, err := r.TTL(ctx, "session").Result(); ttl < 59*time.Minute || ttl > time.Hour || err != nil {
					t.Errorf("%s: the session's TTL is %v, %v", who, ttl, err)
				}
				if v, err := r.HGetAll(ctx, "cart").Result(); len(v) != 1 || v["apples"] != "2" || err != nil {
					t.Errorf("%s: the persisted cart is %v, %v", who, v, err)
				}
				if ttl, err := r.TTL(ctx, "cart").Result(); ttl != -1 || err != nil {
					t.Errorf("%s: the cart's TTL is %v, %v", who, ttl, err)
				}
			}
			see("before the flush", c)
			check(t, g.Promote(ctx, 2))
			flush(t, c)
			see("after the flush", c)
			see("in Redis", g.Node(2).Client())
			if s := c.Stats(); s.Expired != 4 || s.Replayed != 4 || s.DeadLettered != 0 {
				t.Errorf("stats %+v, want 4 expired (one of them restored by PERSIST) and 4 replayed", s)
			}
		})
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func flush(t testing.TB, c *resilient.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}
