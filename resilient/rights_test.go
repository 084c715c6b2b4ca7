package resilient_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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

// TestUserWithoutFence: what could not be replayed is not deferred. It is said which
// right is missing, and deferral is on again when that has been granted, be it in the
// middle of an outage.
func TestUserWithoutFence(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	grant(t, g, "app", "on", ">pw", "~app:*", "+@all")
	told := make(chan resilient.RightsInfo, 8)
	c := openAs(t, g, "app", &resilient.Options{Listener: resilient.Listener{
		RightsChanged: func(i resilient.RightsInfo) { told <- i },
	}})
	if i := <-told; len(i.Missing) != 3 || !strings.Contains(i.String(), "deferral is off: the user lacks the rights to WATCH of holdfast:fence:*") {
		t.Errorf("told %v", i)
	}
	if s := c.Stats(); len(s.MissingRights) != 3 || !strings.HasPrefix(c.State().Diagnosis, "deferral is off") {
		t.Errorf("missing %q, diagnosis %q", s.MissingRights, c.State().Diagnosis)
	}
	check(t, c.Set(ctx, "app:k", "live", 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	err := c.Set(ctx, "app:k", "v", 0).Err()
	if !errors.Is(err, resilient.ErrNoPrimary) || !strings.Contains(err.Error(), "lacks rights") {
		t.Errorf("SET: %v", err)
	}
	if v, err := c.Get(ctx, "app:k").Result(); v != "live" || err != nil {
		t.Errorf("meanwhile: %q, %v", v, err)
	}
	grant(t, g, "app", "~holdfast:fence:*")
	if i := <-told; len(i.Missing) != 0 {
		t.Errorf("told %v", i)
	}
	check(t, c.Set(ctx, "app:k", "v", 0).Err())
	check(t, g.Promote(ctx, 1))
	flush(t, c)
	if v := g.Node(1).Client().Get(ctx, "app:k").Val(); v != "v" {
		t.Errorf("in Redis: %q", v)
	}
	waitState(t, c, resilient.StateHealthy)
	if s := c.State(); s.Diagnosis != "" {
		t.Errorf("diagnosis %q", s.Diagnosis)
	}
}

// TestRightsTakenAway: the replay waits for a right that was taken away meanwhile, says
// so, and goes on when it has been granted again.
func TestRightsTakenAway(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	grant(t, g, "app", "on", ">pw", "~app:*", "~holdfast:fence:*", "+@all")
	c := openAs(t, g, "app", &resilient.Options{})
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "app:k", "v", 0).Err())
	grant(t, g, "app", "resetkeys", "~app:*")
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

// TestMissingCommands: each command that the replay needs is asked for, and asking
// changes nothing.
func TestMissingCommands(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"info", "exec", "watch", "multi"} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			g := redistest.StartT(t, redistest.Options{})
			grant(t, g, "app", "on", ">pw", "~*", "+@all", "-"+right)
			c := openAs(t, g, "app", &resilient.Options{})
			redistest.Eventually(t, testPatience, "the right to be missed", func() bool { return len(c.Stats().MissingRights) > 0 })
			if missing := c.Stats().MissingRights; len(missing) != 1 || !strings.HasPrefix(missing[0], strings.ToUpper(right)) {
				t.Errorf("missing %q", missing)
			}
			if n := g.Node(0).Client().DBSize(context.Background()).Val(); n != 0 {
				t.Errorf("%d keys were made", n)
			}
		})
	}
}
