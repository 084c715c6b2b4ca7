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

func openAs(t *testing.T, g *redistest.Group, user string, o *resilient.Options) *resilient.Client {
	t.Helper()
	o.Nodes, o.Logger = g.Addrs()[1:], slog.New(slog.DiscardHandler)
	c, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: g.Addrs()[:1], Username: user, Password: "pw"}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // what is left is the test's to judge
	return c
}

func grant(t *testing.T, g *redistest.Group, rules ...any) {
	t.Helper()
	for _, n := range g.Nodes() {
		if _, err := n.Do(context.Background(), append([]any{"ACL", "SETUSER"}, rules...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUserWithoutRole: who may not ask for roles still has his Redis.
func TestUserWithoutRole(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	grant(t, g, "app", "on", ">pw", "~*", "+@all", "-role", "-info")
	c := openAs(t, g, "app", &resilient.Options{})
	if s := c.State(); s.Cause != resilient.CauseDenied || s.Diagnosis == "" {
		t.Errorf("state %v, diagnosis %q", s, s.Diagnosis)
	}
	if n, err := c.Incr(ctx, "n").Result(); n != 1 || err != nil {
		t.Errorf("INCR = %d, %v", n, err)
	}
	if v := g.Node(0).Client().Get(ctx, "n").Val(); v != "1" {
		t.Errorf("in Redis: %q", v)
	}
	if s := c.Stats(); s.Deferred != 0 {
		t.Errorf("%d writes were deferred", s.Deferred)
	}
	check(t, g.Cycle(ctx))
	refused(t, c.Incr(ctx, "n").Err(), "incr", "accumulating write")
}

// TestUserWithoutFence: the replay waits for the right, says so, and goes on
// when it has been granted.
func TestUserWithoutFence(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	grant(t, g, "app", "on", ">pw", "~app:*", "+@all")
	c := openAs(t, g, "app", &resilient.Options{})
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "app:k", "v", 0).Err())
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, 20*time.Second, "the replay to be parked", func() bool {
		return c.State().Cause == resilient.CauseReplayParked
	})
	if v, err := c.Get(ctx, "app:k").Result(); v != "v" || err != nil {
		t.Errorf("meanwhile: %q, %v", v, err)
	}
	grant(t, g, "app", "~holdfast:fence:*")
	flush(t, c)
	if v := g.Node(1).Client().Get(ctx, "app:k").Val(); v != "v" {
		t.Errorf("in Redis: %q", v)
	}
	waitState(t, c, resilient.StateHealthy)
}
