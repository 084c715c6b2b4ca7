package resilient_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// open makes a client over the group's first node that knows the others.
func open(tb testing.TB, g *redistest.Group, o *resilient.Options) *resilient.Client {
	tb.Helper()
	if o == nil {
		o = &resilient.Options{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Nodes = g.Addrs()[1:]
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: g.Addrs()[:1]}, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // its error is for the tests that look at it
	return c
}

func waitState(tb testing.TB, c *resilient.Client, want resilient.State) {
	tb.Helper()
	redistest.Eventually(tb, 20*time.Second, "state "+want.String(), func() bool { return c.State().State == want })
}

// TestIncident is the morning: all servers become replicas, writes go on, and
// another node is promoted.
func TestIncident(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	if s := c.State(); s.State != resilient.StateHealthy || s.Primary != g.Node(0).Addr() {
		t.Fatalf("at start: %v", s)
	}
	if err := c.Incr(ctx, "hits").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.HSet(ctx, "user:1", "name", "ada", "age", 36).Err(); err != nil {
		t.Fatal(err)
	}
	if err := g.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Cycle(ctx); err != nil {
		t.Fatal(err)
	}

	// The first failing write is itself deferred.
	if n, err := c.Incr(ctx, "hits").Result(); err != nil || n != 2 {
		t.Fatalf("the first write of the outage: %d, %v; want 2", n, err)
	}
	waitState(t, c, resilient.StateNoPrimary)
	if s := c.State(); s.Cause != resilient.CauseAllReplicas || !s.Certain {
		t.Errorf("state %v, want all-replicas, certain", s)
	}
	if n, err := c.HSet(ctx, "user:1", "age", 37, "mail", "a@b").Result(); err != nil || n != 1 {
		t.Errorf("HSET = %d, %v; want 1 new field", n, err)
	}
	if v, err := c.HGetAll(ctx, "user:1").Result(); err != nil || len(v) != 3 || v["age"] != "37" || v["name"] != "ada" {
		t.Errorf("HGETALL = %v, %v", v, err)
	}
	if err := c.Set(ctx, "session", "s1", time.Hour).Err(); err != nil {
		t.Error(err)
	}
	if ttl, err := c.TTL(ctx, "session").Result(); err != nil || ttl < 59*time.Minute || ttl > time.Hour {
		t.Errorf("TTL = %v, %v", ttl, err)
	}
	if _, err := c.Get(ctx, "missing").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of a missing key: %v, want redis.Nil", err)
	}
	refused(t, c.LPop(ctx, "queue").Err(), "lpop", "claiming write")
	refused(t, c.SetNX(ctx, "lock", 1, time.Minute).Err(), "set", "claiming write")

	if err := g.Promote(ctx, 2); err != nil {
		t.Fatal(err)
	}
	flushed, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := c.Flush(flushed); err != nil {
		t.Fatal(err)
	}
	waitState(t, c, resilient.StateHealthy)
	if s := c.State(); s.Primary != g.Node(2).Addr() {
		t.Errorf("primary %s, want the promoted node %s", s.Primary, g.Node(2).Addr())
	}
	admin := g.Node(2).Client()
	if v := admin.Get(ctx, "hits").Val(); v != "2" {
		t.Errorf("hits = %q in the primary, want 2", v)
	}
	if v := admin.HGetAll(ctx, "user:1").Val(); v["age"] != "37" || v["mail"] != "a@b" || v["name"] != "ada" {
		t.Errorf("user:1 = %v in the primary", v)
	}
	if ttl := admin.TTL(ctx, "session").Val(); ttl < 59*time.Minute || ttl > time.Hour {
		t.Errorf("session's TTL = %v in the primary", ttl)
	}
	if n, err := c.Incr(ctx, "hits").Result(); err != nil || n != 3 {
		t.Errorf("after the return: INCR = %d, %v; want 3", n, err)
	}
	if s := c.Stats(); s.Entries != 0 || s.Deferred != 3 || s.Replayed != 3 || s.DeadLettered != 0 || s.Refused != 2 {
		t.Errorf("stats %+v", s)
	}
}

// refused checks that err is the typed refusal of a command.
func refused(t *testing.T, err error, name, class string) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.As(err, &ce) || !errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("%s: %v, want a CommandError of ErrNoPrimary", name, err)
		return
	}
	if ce.Name != name || ce.Class != class || !resilient.SafeToRetry(err) || errors.Is(err, redis.Nil) {
		t.Errorf("%s: %+v, class %q; want class %q", name, ce, ce.Class, class)
	}
}
