package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// keepsData makes servers that have their last snapshot again after a restart.
var keepsData = []string{"--save", "3600 1", "--dbfilename", "kept.rdb", "--rdb-del-sync-files", "no"}

// TestRestartInTheOutage: a process that ends in the outage leaves its writes to
// the next, which goes on from them.
func TestRestartInTheOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, c.Set(ctx, "n", 100, 0).Err())
	check(t, c.HSet(ctx, "h", "base", 1).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	for life := range int64(4) {
		if n, err := c.Incr(ctx, "n").Result(); n != 101+life || err != nil {
			t.Errorf("life %d: INCR = %d, %v", life, n, err)
		}
		if n, err := c.HSet(ctx, "h", fmt.Sprint("f", life), life).Result(); n != 1 || err != nil {
			t.Errorf("life %d: HSET = %d, %v; want 1 new field", life, n, err)
		}
		if n, err := c.HLen(ctx, "h").Result(); n != life+2 || err != nil {
			t.Errorf("life %d: HLEN = %d, %v", life, n, err)
		}
		if n, err := c.Append(ctx, "log", fmt.Sprint(life)).Result(); n != life+1 || err != nil {
			t.Errorf("life %d: APPEND = %d, %v", life, n, err)
		}
		check(t, c.Close())
		c = open(t, g, &resilient.Options{Dir: dir})
		if s := c.Stats(); s.Entries != int(3*(life+1)) || len(s.JournalProblems) != 0 {
			t.Errorf("life %d left %+v", life, s)
		}
	}
	check(t, g.Promote(ctx, 2))
	flush(t, c)
	admin := g.Node(2).Client()
	if got := fmt.Sprintln(admin.Get(ctx, "n").Val(), admin.HLen(ctx, "h").Val(), admin.Get(ctx, "log").Val()); got != "104 5 0123\n" {
		t.Errorf("in Redis: %s", got)
	}
}

// TestPrimaryKilled: the primary dies and comes back with its data, or one of
// its replicas is promoted instead. What was deferred is applied once.
func TestPrimaryKilled(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{true, false} {
		name := "another is promoted"
		if same {
			name = "the same comes back"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g := redistest.StartT(t, redistest.Options{Replicas: 2, Args: keepsData})
			c := open(t, g, &resilient.Options{Dir: t.TempDir()})
			check(t, c.Set(ctx, "n", 10, 0).Err())
			check(t, c.HSet(ctx, "h", "f", 5).Err())
			check(t, c.RPush(ctx, "list", "a").Err())
			check(t, g.WaitSynced(ctx))
			check(t, g.Node(0).Client().Save(ctx).Err())
			check(t, g.Node(0).Kill())

			// A write on a connection that breaks under it is in doubt, but was not made.
			var n int64
			redistest.Eventually(t, testPatience, "a deferred INCR", func() bool {
				var err error
				n, err = c.Incr(ctx, "n").Result()
				if err != nil && !errors.Is(err, resilient.ErrInDoubt) {
					t.Errorf("INCR: %v", err)
				}
				return err == nil
			})
			if n != 11 {
				t.Errorf("INCR = %d, want 11", n)
			}
			waitState(t, c, resilient.StateNoPrimary)
			if s := c.State(); s.Cause != resilient.CausePrimaryDown {
				t.Errorf("state %v, want primary-down", s)
			}
			if n, err := c.HIncrBy(ctx, "h", "f", 1).Result(); n != 6 || err != nil {
				t.Errorf("HINCRBY = %d, %v", n, err)
			}
			if v, err := c.LRange(ctx, "list", 0, -1).Result(); len(v) != 1 || err != nil {
				t.Errorf("LRANGE by a replica = %v, %v", v, err)
			}
			if n, err := c.RPush(ctx, "list", "b").Result(); n != 2 || err != nil {
				t.Errorf("RPUSH = %d, %v", n, err)
			}
			refused(t, c.LPop(ctx, "list").Err(), "lpop", "claiming write")
			primary := 0
			if same {
				check(t, g.Node(0).Restart(ctx))
			} else {
				primary = 1
				check(t, g.Promote(ctx, 1))
			}
			flush(t, c)
			waitState(t, c, resilient.StateHealthy)
			if s := c.State(); s.Primary != g.Node(primary).Addr() {
				t.Errorf("primary %s, want node %d", s.Primary, primary)
			}
			admin := g.Node(primary).Client()
			if got := fmt.Sprintln(admin.Get(ctx, "n").Val(), admin.HGetAll(ctx, "h").Val(), admin.LLen(ctx, "list").Val()); got != "11 map[f:6] 2\n" {
				t.Errorf("in Redis: %s", got)
			}
			check(t, g.WaitSynced(ctx))
			if v := g.Node(2).Client().Get(ctx, "n").Val(); v != "11" {
				t.Errorf("n = %s in a replica", v)
			}
		})
	}
}

// TestAllServersKilled: with nobody left, writes that need nothing are deferred
// and everything else is refused, and soon.
func TestAllServersKilled(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1, Args: keepsData})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	check(t, c.Set(ctx, "n", 10, 0).Err())
	check(t, g.WaitSynced(ctx))
	for _, n := range g.Nodes() {
		check(t, n.Client().Save(ctx).Err())
		check(t, n.Kill())
	}
	begun := time.Now()
	check(t, c.Set(ctx, "k", "v", 0).Err())
	check(t, c.Append(ctx, "k", "w").Err())
	if v, err := c.Get(ctx, "k").Result(); v != "vw" || err != nil {
		t.Errorf("GET = %q, %v", v, err)
	}
	waitState(t, c, resilient.StateUnreachable)
	for name, err := range map[string]error{
		"INCR": c.Incr(ctx, "n").Err(), "HINCRBY": c.HIncrBy(ctx, "h", "f", 1).Err(),
	} {
		if !errors.Is(err, resilient.ErrBaseUnknown) || !resilient.SafeToRetry(err) {
			t.Errorf("%s with no server: %v, want ErrBaseUnknown", name, err)
		}
	}
	if err := c.Get(ctx, "n").Err(); err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("GET with no server: %v, which looks like a miss", err)
	}
	if err := c.MGet(ctx, "k", "n").Err(); err == nil {
		t.Error("MGET of a held and an unreadable key has no error")
	}
	// A push is accepted with the length that this process knows of.
	tracked, receipt := resilient.WithReceipt(ctx)
	if n, err := c.LPush(tracked, "l", 1).Result(); n != 1 || err != nil || receipt.Exact() {
		t.Errorf("LPUSH with no server: %d, %v, exact %v", n, err, receipt.Exact())
	}
	refused(t, c.LPop(ctx, "l").Err(), "lpop", "claiming write")
	if took := time.Since(begun); took > testPatience {
		t.Errorf("all of that took %v", took)
	}
	for _, n := range g.Nodes() {
		check(t, n.Restart(ctx))
	}
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	check(t, receipt.Wait(ctx))
	if n := g.Node(0).Client().LLen(ctx, "l").Val(); n != 1 {
		t.Errorf("the list has %d elements", n)
	}
	if got := fmt.Sprint(g.Node(0).Client().MGet(ctx, "n", "k").Val()); got != "[10 vw]" {
		t.Errorf("in Redis: %s", got)
	}
}

// TestPrimaryHangs: it accepts connections and doesn't answer. Callers get an
// answer all the same, and no write is made twice.
func TestPrimaryHangs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := openWith(t, g, redis.UniversalOptions{ReadTimeout: time.Second, WriteTimeout: time.Second}, &resilient.Options{Dir: t.TempDir()})
	check(t, c.Set(ctx, "n", 0, 0).Err())
	check(t, g.WaitSynced(ctx))
	w := newCounters(t, c, "n")
	for range 8 {
		w.start(func() ([]string, []*redis.IntCmd) { return []string{"n"}, []*redis.IntCmd{c.Incr(ctx, "n")} })
	}
	w.await(t, 50)
	check(t, g.Node(0).Pause())
	w.await(t, 200) // deferred ones
	check(t, c.Set(ctx, "k", "v", 0).Err())
	if s := c.State(); s.State == resilient.StateHealthy {
		t.Errorf("state %v with a primary that hangs", s)
	}
	check(t, g.Node(0).Resume())
	redistest.Eventually(t, testPatience, "health under load", func() bool {
		return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
	})
	w.await(t, 50)
	w.stop()
	flush(t, c)
	n, err := g.Node(0).Client().Get(ctx, "n").Int()
	if ok := len(w.replies["n"]); err != nil || n < ok || n > ok+w.doubts["n"] {
		t.Errorf("n is %d (%v) after %d acknowledged increments and %d in doubt", n, err, ok, w.doubts["n"])
	}
	for _, err := range w.faults {
		t.Errorf("an increment: %v", err)
	}
	if v := g.Node(0).Client().Get(ctx, "k").Val(); v != "v" {
		t.Errorf("k = %q", v)
	}
}

// TestFormerPrimaryComesBack as a second primary, empty-handed: nothing is
// written to it, and what is deferred while there are two goes to the right one.
func TestFormerPrimaryComesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	w := newCounters(t, c, "n")
	for range 4 {
		w.start(func() ([]string, []*redis.IntCmd) { return []string{"n"}, []*redis.IntCmd{c.Incr(ctx, "n")} })
	}
	w.await(t, 50)
	check(t, g.Cycle(ctx)) // so that the replicas have everything when the primary dies
	check(t, g.Promote(ctx, 0))
	w.await(t, 50)
	check(t, g.Cycle(ctx))
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "health", func() bool { return c.State().State == resilient.StateHealthy })
	check(t, g.PromoteOnly(ctx, 0))
	redistest.Eventually(t, testPatience, "doubt", func() bool { return c.State().State != resilient.StateHealthy })
	if s := c.State(); s.Cause != resilient.CauseSplitBrain && s.State == resilient.StateSuspect {
		t.Logf("state %v", s)
	}
	w.await(t, 50)
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "health", func() bool {
		return c.State().State == resilient.StateHealthy && c.State().Primary == g.Node(1).Addr()
	})
	w.await(t, 50)
	w.stop()
	flush(t, c)
	w.verify(t, g.Node(1).Client())
}
