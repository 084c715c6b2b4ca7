package resilient_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestReplayWithoutTransactions: behind a proxy that executes no transactions everything
// deferred waits, and says so, until the weaker replay is chosen.
func TestReplayWithoutTransactions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	proxy, err := redistest.NewSimpleProxy(g.Node(0).Addr())
	check(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	dir, logged := t.TempDir(), &lines{}
	start := func(weaker bool) *resilient.Client {
		c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: []string{proxy.Addr()}}, &resilient.Options{
			Dir: dir, ReplayWithoutTransactions: weaker, ProbeInterval: 50 * time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(logged, nil)),
		})
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := start(false)
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Set(ctx, "live", 1, 0).Err())
	check(t, g.Node(0).Kill())
	waitNot(t, c, resilient.StateHealthy)
	for i := range 20 {
		check(t, c.Set(ctx, "text", i, 0).Err())
		check(t, c.RPush(ctx, "list", i).Err())
	}
	check(t, g.Node(0).Restart(ctx))
	redistest.Eventually(t, testPatience, "the replay to be refused", func() bool {
		return strings.Contains(logged.String(), "refuses a command that replay needs")
	})
	admin := g.Node(0).Client()
	// Not the fence either: a question about rights must not set it where MULTI is declined.
	if keys := admin.Keys(ctx, "*").Val(); len(keys) != 1 || c.Stats().Entries != 40 {
		t.Errorf("%v were written, %d entries wait", keys, c.Stats().Entries)
	}
	check(t, c.Close())

	c = start(true)
	flush(t, c)
	if text, list := admin.Get(ctx, "text").Val(), admin.LRange(ctx, "list", 0, -1).Val(); text != "19" || len(list) != 20 || list[0] != "0" || list[19] != "19" {
		t.Errorf("text is %q, the list %v", text, list)
	}
	if s := c.Stats(); s.Replayed != 40 || s.DeadLettered != 0 {
		t.Errorf("stats %+v", s)
	}
}

// waitNot waits until a client's state is another one.
func waitNot(t *testing.T, c *resilient.Client, not resilient.State) {
	t.Helper()
	redistest.Eventually(t, testPatience, "another state than "+not.String(), func() bool { return c.State().State != not })
}

// TestWithoutTransactionsIsForGroups: what needs transactions can't be had beside it, and
// says so at once.
func TestWithoutTransactionsIsForGroups(t *testing.T) {
	t.Parallel()
	o := &resilient.Options{ReplayWithoutTransactions: true, Conflicts: resilient.ResolutionKeepServer}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "ReplayWithoutTransactions") {
		t.Errorf("with conflicts: %v", err)
	}
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1", "127.0.0.1:2"}},
		&resilient.Options{ReplayWithoutTransactions: true})
	if err == nil {
		_ = c.Close()
		t.Error("a client of a Cluster was made, which would replay nothing")
	}
}
