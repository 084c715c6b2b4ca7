package resilient_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// openAt is NewClient for a test, without a log.
func openAt(t *testing.T, u *redis.UniversalOptions, o *resilient.Options) *resilient.Client {
	t.Helper()
	if o == nil {
		o = &resilient.Options{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := resilient.NewClient(u, o)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() }) // its error is for the tests that look at it
	return c
}

// TestSentinelGroup: a group is found by its Sentinels alone, with TLS, a user and a
// password of each kind and a database. What is deferred while every server is a
// replica is there once after the failover, in the right database.
func TestSentinelGroup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	sc, ok := redistest.ScenarioNamed("S2")
	if !ok {
		t.Fatal("no such scenario")
	}
	s := redistest.SetupT(t, sc, redistest.StageOptions{Secure: true})
	u := s.ClientOptions()
	u.DB = 3
	c := openAt(t, u, &resilient.Options{Dir: t.TempDir()})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	check(t, s.Group.WaitSynced(ctx))
	check(t, s.Group.Cycle(ctx))
	for want := int64(2); want <= 30; want++ {
		if n, err := c.Incr(ctx, "n").Result(); n != want || err != nil {
			t.Fatalf("INCR in the outage: %d, %v, want %d", n, err, want)
		}
	}
	waitState(t, c, resilient.StateNoPrimary)
	if v := c.State(); v.Cause != resilient.CauseAllReplicas || !v.Certain {
		t.Errorf("state %v", v)
	}
	check(t, s.Sentinels.Failover(ctx))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	n, err := s.WaitWritable(ctx)
	check(t, err)
	conn := n.Client().Conn()
	t.Cleanup(func() { _ = conn.Close() }) // was only asked
	check(t, conn.Select(ctx, 3).Err())
	if v := conn.Get(ctx, "n").Val(); v != "31" {
		t.Errorf("n = %q in Redis, want 31", v)
	}
	if stats := c.Stats(); stats.Deferred == 0 || stats.Entries != 0 || stats.DeadLettered != 0 {
		t.Errorf("%+v", stats)
	}
}

// TestStartWithoutSentinels: a client starts and goes on while neither a Sentinel nor
// a server is known, says so by errors of the right kind, and finds them later.
func TestStartWithoutSentinels(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	sentinels := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{})
	check(t, g.Node(0).Client().RPush(ctx, "list", "first").Err())
	check(t, g.WaitSynced(ctx))
	check(t, sentinels.Kill(0, 1, 2))
	c := openAt(t, &redis.UniversalOptions{Addrs: sentinels.Addrs(), MasterName: sentinels.Name()}, &resilient.Options{Dir: t.TempDir()})
	if s := c.State(); s.State != resilient.StateUnreachable {
		t.Errorf("state %v", s)
	}
	check(t, c.Set(ctx, "blind", "deferred", 0).Err())
	if v, err := c.Get(ctx, "blind").Result(); v != "deferred" || err != nil {
		t.Errorf("what was deferred: %q, %v", v, err)
	}
	for what, err := range map[string]error{
		"LPOP": c.LPop(ctx, "list").Err(), "LLEN": c.LLen(ctx, "list").Err(), "GET": c.Get(ctx, "other").Err(),
		"a pipeline": pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "other"); return nil })),
		"SETNX":      c.SetNX(ctx, "lock", 1, 0).Err(),
		"Watch":      c.Watch(ctx, func(*redis.Tx) error { return nil }, "k"),
	} {
		if !errors.Is(err, resilient.ErrNoPrimary) || errors.Is(err, redis.Nil) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, sentinels.Restart(ctx, 0, 1, 2))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	if v := g.Node(0).Client().Get(ctx, "blind").Val(); v != "deferred" {
		t.Errorf("after the replay: %q", v)
	}
	if v, err := c.LPop(ctx, "list").Result(); v != "first" || err != nil {
		t.Errorf("LPOP: %q, %v", v, err)
	}
}

// TestUnknownMasterName: Sentinels that don't know the group answer with a null,
// which must not look like a missing key.
func TestUnknownMasterName(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	sentinels := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{Count: 1})
	c := openAt(t, &redis.UniversalOptions{Addrs: sentinels.Addrs(), MasterName: "another"}, nil)
	for what, err := range map[string]error{"LPOP": c.LPop(ctx, "k").Err(), "GET": c.Get(ctx, "k").Err()} {
		if !errors.Is(err, resilient.ErrNoPrimary) || errors.Is(err, redis.Nil) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWrapByItsSentinels: the servers of a failover client are found by the
// Sentinels that the options name.
func TestWrapByItsSentinels(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2, Password: "pass word"})
	sentinels := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{Password: "of sentinels"})
	inner := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: sentinels.Name(), SentinelAddrs: sentinels.Addrs(), SentinelPassword: "of sentinels", Password: "pass word",
	})
	log := &journalOfHooks{}
	inner.AddHook(recorder{"inner", log})
	c := wrap(t, inner, &resilient.Options{
		Sentinels: sentinels.Addrs(), MasterName: sentinels.Name(), SentinelPassword: "of sentinels", Dir: t.TempDir(),
	})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	if !slices.Contains(log.take(), "inner in incr") {
		t.Error("a write did not take the failover client")
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	if n, err := c.Incr(ctx, "n").Result(); n != 2 || err != nil {
		t.Errorf("INCR in the outage: %d, %v", n, err)
	}
	waitState(t, c, resilient.StateNoPrimary)
	check(t, sentinels.Failover(ctx))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	primary, ok := g.Primary(ctx)
	if !ok {
		t.Fatal("no primary after the failover")
	}
	if v := primary.Client().Get(ctx, "n").Val(); v != "2" {
		t.Errorf("n = %s, want 2", v)
	}
}

// TestPinned: another server is promoted than the one address of a wrapped client.
// It stays without a primary, says where that is, and defers until its address is
// the primary's again.
func TestPinned(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := wrap(t, redis.NewClient(&redis.Options{Addr: g.Addrs()[0]}), &resilient.Options{Nodes: g.Addrs()[1:], Dir: t.TempDir()})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	check(t, c.Incr(ctx, "n").Err())
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "the cause pinned", func() bool {
		s := c.State()
		return s.State == resilient.StateNoPrimary && s.Cause == resilient.CausePinned
	})
	if s := c.State(); s.Elsewhere != g.Node(1).Addr() || s.Primary != "" {
		t.Errorf("state %+v", s)
	}
	if n, err := c.Incr(ctx, "n").Result(); n != 3 || err != nil {
		t.Errorf("INCR while pinned: %d, %v", n, err)
	}
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "1" {
		t.Errorf("n = %s at the server that was promoted, want 1", v)
	}
	check(t, g.Promote(ctx, 0))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	if v := g.Node(0).Client().Get(ctx, "n").Val(); v != "3" {
		t.Errorf("n = %s, want 3", v)
	}
}
