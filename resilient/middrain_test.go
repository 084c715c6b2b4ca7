package resilient_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestRestartInTheMiddleOfADrain: the journal still holds writes that a primary
// has executed, since a replica has not confirmed them, when the process ends
// and the next outage begins. They must not count twice.
func TestRestartInTheMiddleOfADrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	dir, addrs := t.TempDir(), g.Addrs()
	start := func(seed string) *resilient.Client {
		c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: []string{seed}}, &resilient.Options{
			Nodes: addrs, Dir: dir, Group: "g", ReplicaAckTimeout: time.Hour, Logger: slog.New(slog.DiscardHandler),
		})
		check(t, err)
		t.Cleanup(func() { _ = c.Close() }) // what is left is the test's to judge
		return c
	}
	first := start(addrs[0])
	check(t, first.Set(ctx, "n", 10, 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	for want := int64(11); want <= 12; want++ {
		if n, err := first.Incr(ctx, "n").Result(); n != want || err != nil {
			t.Fatalf("INCR = %d, %v", n, err)
		}
	}
	check(t, g.Node(0).Pause()) // it will not confirm
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, 20*time.Second, "the writes to be executed", func() bool {
		return g.Node(2).Client().Get(ctx, "n").Val() == "12"
	})
	if s := first.Stats(); s.Entries != 2 {
		t.Fatalf("%d entries in the journal, want the 2 that are not confirmed", s.Entries)
	}
	check(t, first.Close())
	check(t, g.Cycle(ctx))

	second := start(addrs[1])
	if s := second.Stats(); s.Entries != 2 {
		t.Fatalf("the successor has %d entries, want 2", s.Entries)
	}
	if v, err := second.Get(ctx, "n").Result(); v != "12" || err != nil {
		t.Errorf("the successor reads %q, %v; want 12", v, err)
	}
	if n, err := second.Incr(ctx, "n").Result(); n != 13 || err != nil {
		t.Errorf("INCR = %d, %v; want 13", n, err)
	}
	check(t, g.Node(0).Resume())
	check(t, g.Promote(ctx, 2))
	flush(t, second)
	if v := g.Node(2).Client().Get(ctx, "n").Val(); v != "13" {
		t.Errorf("in Redis: %q, want 13", v)
	}
}
