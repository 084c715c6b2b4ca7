package resilient_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// leftBehind makes a journal of a process that ended in an outage of g, with SET of
// key.
func leftBehind(t *testing.T, g *redistest.Group, dir, key string) {
	t.Helper()
	ctx := context.Background()
	c := open(t, g, &resilient.Options{Dir: dir, Group: "g"})
	waitState(t, c, resilient.StateHealthy)
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, key, "deferred", 0).Err())
	check(t, c.Close())
}

// adopting are options with which a client looks often.
func adopting(dir string) *resilient.Options {
	o := &resilient.Options{Dir: dir, Group: "g"}
	resilient.SetAdoptEvery(o, 10*time.Millisecond)
	return o
}

func parkedOne(t *testing.T, c *resilient.Client) resilient.ParkedJournal {
	t.Helper()
	redistest.Eventually(t, testPatience, "a parked journal", func() bool { return c.Stats().Parked == 1 })
	return c.Parked()[0]
}

func value(g *redistest.Group, i int, key string) string {
	return g.Node(i).Client().Get(context.Background(), key).Val()
}

// TestParkForeign: a journal that was made for other servers is not replayed by
// itself, neither at the start nor when it appears later, and holds nothing up.
func TestParkForeign(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	theirs := redistest.StartT(t, redistest.Options{Replicas: 1})
	ours := redistest.StartT(t, redistest.Options{})
	for name, later := range map[string]bool{"at the start": false, "later": true} {
		dir, o := t.TempDir(), (*resilient.Options)(nil)
		parked := make(chan resilient.JournalParkedInfo, 4)
		o = adopting(dir)
		o.Listener.JournalParked = func(i resilient.JournalParkedInfo) { parked <- i }
		key := "k " + name
		var c *resilient.Client
		if later {
			c = open(t, ours, o)
		}
		leftBehind(t, theirs, dir, key)
		check(t, theirs.Promote(ctx, 0))
		if !later {
			c = open(t, ours, o)
		}
		p := parkedOne(t, c)
		if p.Reason != resilient.ParkedForeign || p.Entries != 1 || p.Own || p.Newest.IsZero() {
			t.Errorf("%s: %+v", name, p)
		}
		if i := <-parked; i.Journal.ID != p.ID {
			t.Errorf("%s: event %+v", name, i)
		}
		check(t, c.Set(ctx, "own", name, 0).Err())
		if v := value(ours, 0, key); v != "" {
			t.Errorf("%s: %q was replayed", name, v)
		}
		if err := c.ReplayParked(ctx, "0123456789abcdef0123456789abcdef"); !errors.Is(err, resilient.ErrNotParked) {
			t.Errorf("%s: ReplayParked of another id: %v", name, err)
		}
		bounded, cancel := context.WithTimeout(ctx, testPatience)
		check(t, c.ReplayParked(bounded, p.ID))
		cancel()
		if v := value(ours, 0, key); v != "deferred" {
			t.Errorf("%s: after the confirmation: %q", name, v)
		}
		if s := c.Stats(); s.Parked != 0 || s.Adopted != 1 || s.Replayed != 1 || len(s.JournalProblems) != 0 || len(parked) != 0 {
			t.Errorf("%s: afterwards %+v, %d further events", name, s, len(parked))
		}
		check(t, c.Close())
	}
}

// TestParkOld: what is older than Options.MaxReplayAge waits for a decision.
func TestParkOld(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	leftBehind(t, g, dir, "k")
	check(t, g.PromoteOnly(ctx, 1))
	o := adopting(dir)
	o.MaxReplayAge = time.Millisecond
	c := open(t, g, o)
	if p := parkedOne(t, c); p.Reason != resilient.ParkedOld || p.Entries != 1 {
		t.Errorf("%+v", p)
	}
	check(t, c.Close())
	o = adopting(dir)
	o.MaxReplayAge = -1
	c = open(t, g, o)
	redistest.Eventually(t, testPatience, "the replay without a limit", func() bool { return value(g, 1, "k") == "deferred" })
	if s := c.Stats(); s.Parked != 0 {
		t.Errorf("without a limit: %+v", s)
	}
}

// TestLineageFits: a primary that was restarted, and one that was promoted, are
// those that the journal was made for.
func TestLineageFits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("promoted", func(t *testing.T) {
		t.Parallel()
		g := redistest.StartT(t, redistest.Options{Replicas: 2})
		dir := t.TempDir()
		leftBehind(t, g, dir, "k")
		check(t, g.PromoteOnly(ctx, 1))
		c := open(t, g, adopting(dir))
		redistest.Eventually(t, testPatience, "the replay", func() bool { return value(g, 1, "k") == "deferred" })
		if s := c.Stats(); s.Parked != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("restarted", func(t *testing.T) {
		t.Parallel()
		g := redistest.StartT(t, redistest.Options{})
		dir := t.TempDir()
		c := open(t, g, adopting(dir))
		waitState(t, c, resilient.StateHealthy)
		check(t, g.Node(0).Kill())
		redistest.Eventually(t, testPatience, "a deferred write", func() bool {
			return c.Set(ctx, "k", "deferred", 0).Err() == nil && c.Stats().Deferred > 0
		})
		check(t, c.Close())
		check(t, g.Node(0).Restart(ctx))
		c = open(t, g, adopting(dir))
		redistest.Eventually(t, testPatience, "the replay", func() bool { return value(g, 0, "k") == "deferred" })
		if s := c.Stats(); s.Parked != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestParkOwn: no server answers when a client takes over a journal, and the primary
// that comes then is a stranger to it.
func TestParkOwn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	theirs := redistest.StartT(t, redistest.Options{Replicas: 1})
	ours := redistest.StartT(t, redistest.Options{})
	dir := t.TempDir()
	leftBehind(t, theirs, dir, "k")
	check(t, ours.Node(0).Kill())
	c := open(t, ours, adopting(dir))
	if v := c.Get(ctx, "k").Val(); v != "deferred" {
		t.Errorf("before any server answers: %q", v)
	}
	check(t, ours.Node(0).Restart(ctx))
	p := parkedOne(t, c)
	if !p.Own || p.Reason != resilient.ParkedForeign || p.Entries != 1 {
		t.Errorf("%+v", p)
	}
	if v := value(ours, 0, "k"); v != "" {
		t.Errorf("%q was replayed", v)
	}
	bounded, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	check(t, c.ReplayParked(bounded, p.ID))
	if v := value(ours, 0, "k"); v != "deferred" {
		t.Errorf("after the confirmation: %q", v)
	}
	waitState(t, c, resilient.StateHealthy)
}
