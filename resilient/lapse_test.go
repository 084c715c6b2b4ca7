package resilient_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestDeadlineOfADeferredWriteEndsTheFormerValue: a key that was there before
// the outage for good gets a deadline in it, which passes before the replay.
// Redis would have let the key go by then, so its former value must not stay.
func TestDeadlineOfADeferredWriteEndsTheFormerValue(t *testing.T) {
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
			keys := []string{"set", "setex", "expire", "hash", "xx", "getex", "again"}
			for _, key := range []string{"set", "setex", "expire", "xx", "getex", "again"} {
				check(t, c.Set(ctx, key, "former", 0).Err())
			}
			check(t, c.HSet(ctx, "hash", "f", "former").Err())
			check(t, g.WaitSynced(ctx))
			check(t, g.Cycle(ctx))

			const life = 1500 * time.Millisecond
			check(t, c.Set(ctx, "set", "brief", life).Err())
			check(t, c.Do(ctx, "psetex", "setex", life.Milliseconds(), "brief").Err())
			check(t, c.PExpire(ctx, "expire", life).Err())
			check(t, c.PExpire(ctx, "hash", life).Err())
			check(t, c.SetXX(ctx, "xx", "brief", life).Err())
			check(t, c.GetEx(ctx, "getex", life).Err())
			check(t, c.Set(ctx, "again", "brief", life).Err())
			redistest.Eventually(t, 20*time.Second, "the deadlines to pass", func() bool {
				return c.Exists(ctx, keys...).Val() == 0
			})
			// What is written after the deadline begins from nothing.
			if n, err := c.Append(ctx, "again", "x").Result(); n != 1 || err != nil {
				t.Errorf("APPEND after the deadline = %d, %v; want 1", n, err)
			}
			if restart {
				check(t, c.Close())
				c = open(t, g, &resilient.Options{Dir: dir})
			}
			see := func(who string, r redis.Cmdable) {
				t.Helper()
				for _, key := range keys[:6] {
					if typ, err := r.Type(ctx, key).Result(); typ != "none" || err != nil {
						t.Errorf("%s: %s is a %s again, %v; its deadline has passed", who, key, typ, err)
					}
				}
				if v, err := r.Get(ctx, "again").Result(); v != "x" || err != nil {
					t.Errorf("%s: again = %q, %v; want x", who, v, err)
				}
				if ttl, err := r.TTL(ctx, "again").Result(); ttl != -1 || err != nil {
					t.Errorf("%s: TTL of again = %v, %v; want none", who, ttl, err)
				}
			}
			see("before the flush", c)
			check(t, g.Promote(ctx, 1))
			flush(t, c)
			see("after the flush", c)
			see("in Redis", g.Node(1).Client())
		})
	}
}
