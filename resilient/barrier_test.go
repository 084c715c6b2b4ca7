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

// slowDrain makes a client whose deferred write of the key "pending" has been
// sent to a primary that lives, while the replicas don't confirm it.
func slowDrain(t *testing.T, bound time.Duration) (*redistest.Group, *resilient.Client) {
	t.Helper()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), ReplicaAckTimeout: bound})
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "pending", "deferred", 0).Err())
	check(t, g.PromoteOnly(ctx, 2)) // the others keep following each other
	waitState(t, c, resilient.StateReplaying)
	redistest.Eventually(t, testPatience, "the write to arrive", func() bool {
		return g.Node(2).Client().Get(ctx, "pending").Val() == "deferred"
	})
	return g, c
}

// TestOtherKeysPassADrain: what has no deferred writes goes to the primary.
func TestOtherKeysPassADrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g, c := slowDrain(t, testPatience)
	check(t, c.Set(ctx, "free", "v", 0).Err())
	check(t, c.RPush(ctx, "list", "a").Err())
	check(t, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "tx"); p.RPush(ctx, "list", "b"); return nil })))
	check(t, c.Watch(ctx, func(tx *redis.Tx) error { return tx.Get(ctx, "free").Err() }, "free"))
	check(t, c.Publish(ctx, "news", "x").Err())
	check(t, pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "tx")
		p.Get(ctx, "pending")
		p.SAdd(ctx, "set", "m")
		return nil
	})))
	if got := fmt.Sprint(g.Node(2).Client().MGet(ctx, "free", "tx").Val()); got != "[v 2]" {
		t.Errorf("in Redis: %s", got)
	}
	if v, err := c.MGet(ctx, "pending", "free").Result(); err != nil || fmt.Sprint(v) != "[deferred v]" {
		t.Errorf("MGET over both: %v, %v", v, err)
	}
	if s := c.Stats(); s.Entries != 1 || s.Deferred != 1 {
		t.Errorf("stats %+v: only the first write was to be deferred", s)
	}
	if s := c.State().State; s != resilient.StateReplaying {
		t.Errorf("state %v; the drain ended before its time", s)
	}
}

// TestWritesThatWaitForADrain: what can't be deferred waits for the key, or for
// all keys, as long as its context lets it.
func TestWritesThatWaitForADrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, c := slowDrain(t, testPatience)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	for name, err := range map[string]error{
		"SETNX":   c.SetNX(short, "pending", "x", 0).Err(),
		"RENAME":  c.Rename(short, "pending", "other").Err(),
		"EVAL":    c.Eval(short, "return redis.call('del', KEYS[1])", []string{"pending"}).Err(),
		"FLUSHDB": c.FlushDB(short).Err(),
		"MSET":    c.MSet(short, "free", 1, "pending", 2).Err(),
		"TX":      pipelined(c.TxPipelined(short, func(p redis.Pipeliner) error { p.Set(short, "pending", 1, 0); return nil })),
		"WATCH":   c.Watch(short, func(*redis.Tx) error { return errors.New("called") }, "pending"),
		"PIPE":    pipelined(c.Pipelined(short, func(p redis.Pipeliner) error { p.GetDel(short, "pending"); return nil })),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, new(*resilient.CommandError)) || !resilient.SafeToRetry(err) {
			t.Errorf("%s on a key that drains: %v, want a CommandError of its deadline", name, err)
		}
	}
	if v, err := c.Get(ctx, "pending").Result(); v != "deferred" || err != nil {
		t.Errorf("after the refusals: %q, %v", v, err)
	}
}

// TestBarriersAfterADrain: what waited sees all deferred writes, and none comes
// behind it.
func TestBarriersAfterADrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g, c := slowDrain(t, time.Second)
	if ok, err := c.SetNX(ctx, "pending", "x", 0).Result(); ok || err != nil {
		t.Errorf("SETNX of a key with a deferred write: %v, %v", ok, err)
	}
	if s := c.Stats(); s.Entries != 0 {
		t.Errorf("stats %+v: SETNX was not to pass a deferred write", s)
	}
	redistest.Eventually(t, testPatience, "the entry to count as unconfirmed", func() bool { return c.Stats().Unconfirmed == 1 })
	check(t, g.Promote(ctx, 2))
	check(t, g.WaitSynced(ctx))
	waitState(t, c, resilient.StateHealthy)
	check(t, g.Cycle(ctx))
	for i := range 500 {
		check(t, c.Incr(ctx, fmt.Sprint("n:", i%50)).Err())
	}
	check(t, g.PromoteOnly(ctx, 0))
	waitLive(t, c)
	check(t, c.FlushAll(ctx).Err())
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	for _, key := range g.Node(0).Client().Keys(ctx, "n:*").Val() {
		t.Errorf("%s was written behind FLUSHALL", key)
	}
}

// TestWatchThatDialsInADrain: without keys a Watch has no connection before its
// function needs one, and the handshake is none of the drain's business.
func TestWatchThatDialsInADrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g, c := slowDrain(t, testPatience)
	// Nothing has been sent to the new primary by then.
	err := c.Watch(ctx, func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "free"); return nil })
		return err
	})
	if err != nil {
		t.Errorf("Watch: %v", err)
	}
	if v := g.Node(2).Client().Get(ctx, "free").Val(); v != "1" {
		t.Errorf("free = %q in Redis, want 1", v)
	}
	if s := c.Stats(); s.InDoubt != 0 {
		t.Errorf("stats %+v", s)
	}
}
