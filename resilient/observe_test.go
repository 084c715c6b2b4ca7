package resilient_test

import (
	"context"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestObserve: commands have the replies and errors of plain go-redis, the state is
// that of the servers, and what would have become of writes is counted.
func TestObserve(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Observe: true, Dir: dir})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "n"); p.Incr(ctx, "n"); return nil })
	check(t, err)
	check(t, c.Watch(ctx, func(tx *redis.Tx) error { return tx.Get(ctx, "n").Err() }, "n"))
	if s := c.Stats(); s.Observed != (resilient.ObservedStats{}) {
		t.Errorf("while healthy: %+v", s.Observed)
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	if err := c.Incr(ctx, "n").Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("INCR: %v", err)
	}
	waitState(t, c, resilient.StateNoPrimary)
	if err := c.LPop(ctx, "list").Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("LPOP: %v", err)
	}
	cmds, _ := c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "k", 1, 0); p.Get(ctx, "n"); return nil })
	if v := cmds[1].(*redis.StringCmd).Val(); v != "3" || !redis.IsReadOnlyError(cmds[0].Err()) {
		t.Errorf("a pipeline: %v", cmds)
	}
	if s := c.Stats(); s.Observed != (resilient.ObservedStats{Deferred: 2, Refused: 1}) || s.Deferred+s.Refused != 0 || s.Entries != 0 {
		t.Errorf("in the outage: %+v", s)
	}
	check(t, g.Promote(ctx, 1))
	waitState(t, c, resilient.StateHealthy)
	if err := c.Incr(ctx, "n").Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("INCR at the former primary: %v", err)
	}
	if n := c.Stats().Observed.Rerouted; n != 1 {
		t.Errorf("%d writes would have gone elsewhere, want 1", n)
	}
	check(t, g.Promote(ctx, 0))
	redistest.Eventually(t, testPatience, "a write", func() bool { return c.Incr(ctx, "n").Err() == nil })
	check(t, c.Close())
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
}

// TestObserveSentinels: with Sentinels commands go to the server that they name.
func TestObserveSentinels(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	sentinels := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{})
	c := openAt(t, &redis.UniversalOptions{Addrs: sentinels.Addrs(), MasterName: sentinels.Name()}, &resilient.Options{Observe: true})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Set(ctx, "k", "v", 0).Err())
	if v := g.Node(0).Client().Get(ctx, "k").Val(); v != "v" {
		t.Errorf("k = %q", v)
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	if err := c.Set(ctx, "k", "w", 0).Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("SET: %v", err)
	}
	waitState(t, c, resilient.StateNoPrimary)
	if n := c.Stats().Observed.Deferred; n != 1 {
		t.Errorf("%d writes would have been deferred, want 1", n)
	}
}

// TestObserveWrapped: a wrapped client goes on as it is, and is closed with its wrapper.
func TestObserveWrapped(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	inner := redis.NewClient(&redis.Options{Addr: g.Addrs()[0]})
	c := wrap(t, inner, &resilient.Options{Observe: true})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Set(ctx, "k", "v", 0).Err())
	check(t, g.Cycle(ctx))
	if err := c.Set(ctx, "k", "w", 0).Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("SET: %v", err)
	}
	check(t, c.Close())
	if err := inner.Ping(ctx).Err(); err == nil {
		t.Error("the wrapped client is not closed")
	}
}
