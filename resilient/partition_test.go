package resilient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// partition cuts a client off from a primary that others use, and returns when the
// client knows.
func partition(t *testing.T, o *resilient.Options) (*redistest.Stage, *resilient.Client) {
	t.Helper()
	ctx := context.Background()
	sc, ok := redistest.ScenarioNamed("P1-refused")
	if !ok {
		t.Fatal("no such scenario")
	}
	s := redistest.SetupT(t, sc, redistest.StageOptions{})
	o.Nodes = s.Addrs()[1:]
	c := openAt(t, s.ClientOptions(), o)
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Set(ctx, "read", "live", 0).Err())
	check(t, s.Group.WaitSynced(ctx))
	check(t, s.Break(ctx))
	// Until it is known, writes are deferred.
	for c.State().Cause != resilient.CausePartitioned {
		err := c.Incr(ctx, "early").Err()
		if err != nil && c.State().Cause != resilient.CausePartitioned {
			t.Fatalf("INCR before it was known: %v", err)
		}
		check(t, s.Group.Node(0).Client().Incr(ctx, "others").Err())
	}
	return s, c
}

// TestPartitionRefuses: beside a primary that others write to, writes are refused.
// What was deferred before stays, and reads go on.
func TestPartitionRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, c := partition(t, &resilient.Options{Dir: t.TempDir()})
	if at := c.State().Elsewhere; at != s.Group.Node(0).Addr() {
		t.Errorf("elsewhere is %q", at)
	}
	for what, err := range map[string]error{
		"SET": c.Set(ctx, "k", 1, 0).Err(), "INCR of a key with deferred writes": c.Incr(ctx, "early").Err(),
		"a pipeline":    pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "k", 1, 0); return nil })),
		"a transaction": pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "k", 1, 0); return nil })),
	} {
		var refused *resilient.CommandError
		if !errors.As(err, &refused) || !errors.Is(err, resilient.ErrNoPrimary) || refused.Cause != resilient.CausePartitioned ||
			!resilient.SafeToRetry(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if v, err := c.Get(ctx, "read").Result(); v != "live" || err != nil {
		t.Errorf("a read: %q, %v", v, err)
	}
	early, err := c.Get(ctx, "early").Int64()
	if early == 0 || err != nil {
		t.Errorf("what was deferred before: %d, %v", early, err)
	}
	check(t, s.Mend(ctx))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	if n, err := s.Group.Node(0).Client().Get(ctx, "early").Int64(); n != early || err != nil {
		t.Errorf("early = %d, %v in Redis, want %d", n, err, early)
	}
	if n := s.Group.Node(0).Client().Exists(ctx, "k").Val(); n != 0 {
		t.Error("a refused write was made")
	}
}

// TestPartitionDefers: by option writes are deferred, and their replies are said to
// be estimates.
func TestPartitionDefers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, c := partition(t, &resilient.Options{Dir: t.TempDir(), DeferPartitioned: true})
	with, receipt := resilient.WithReceipt(ctx)
	check(t, c.Incr(with, "n").Err())
	if receipt.Outcome() != resilient.OutcomeDeferred || receipt.Exact() {
		t.Errorf("%v, exact %t", receipt.Outcome(), receipt.Exact())
	}
	check(t, s.Mend(ctx))
	flush(t, c)
	if v := s.Group.Node(0).Client().Get(ctx, "n").Val(); v != "1" {
		t.Errorf("n = %q in Redis", v)
	}
}
