package redistest

import (
	"testing"
	"time"
)

// TestSentinel: a Sentinel names the primary, leaves a replication cycle alone,
// and makes a failover when it is told to.
func TestSentinel(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 1, Password: "pass word"})
	s := StartSentinelT(t, g, SentinelOptions{Name: "group"})
	must(t, s.WaitPrimary(ctx, 0))
	must(t, s.Failover(ctx))
	must(t, s.WaitPrimary(ctx, 1))
	must(t, g.Node(1).waitRole(ctx, roleMaster))
}

// TestSentinels: three Sentinels with passwords replace a primary that is killed,
// can't without a quorum, and say so.
func TestSentinels(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 2, User: "app", Password: "pass word"})
	s := StartSentinelsT(t, g, SentinelsOptions{
		DownAfter: time.Second, FailoverTimeout: 4 * time.Second, InfoPeriod: time.Second,
		User: "watcher", Password: "other word",
	})
	if len(s.All()) != 3 || len(s.Addrs()) != 3 || s.Sentinel(1) != s.All()[1] || s.Name() != "primary" {
		t.Fatalf("%d Sentinels at %v", len(s.All()), s.Addrs())
	}
	must(t, s.WaitPrimary(ctx, 0))
	reports := s.Reports(ctx)
	if len(reports) != 3 {
		t.Fatalf("%d reports", len(reports))
	}
	for i, r := range reports {
		if r.Primary != g.Node(0).Addr() || r.Replicas != 2 || r.Usable != 2 || r.Others != 2 || r.Quorum != 2 ||
			r.CKQuorum != nil || r.SDown() || r.ODown() || r.Role != roleMaster {
			t.Errorf("Sentinel %d reports %+v", i, r)
		}
	}

	must(t, s.Kill(1, 2))
	must(t, g.Node(0).Kill())
	must(t, poll(ctx, "the last Sentinel to see it down", func() error {
		r, err := s.Sentinel(0).Report(ctx)
		return want(err, r.SDown() && !r.ODown() && r.CKQuorum != nil, r)
	}))
	if n, ok := s.Primary(ctx); ok {
		t.Errorf("one of three Sentinels is no majority, but %v is named", n)
	}
	must(t, s.Restart(ctx, 1, 2))
	must(t, poll(ctx, "the failover", func() error {
		n, ok := s.Primary(ctx)
		return want(nil, ok && n != g.Node(0), n)
	}))
	promoted, _ := s.Primary(ctx)
	must(t, promoted.waitRole(ctx, roleMaster))

	// Without its memory a Sentinel believes what it is told, and learns the rest.
	must(t, g.Node(0).Restart(ctx))
	must(t, s.Sentinel(2).Forget(ctx, promoted.index))
	must(t, s.WaitPrimary(ctx, promoted.index))
	must(t, s.WaitKnown(ctx))
	must(t, s.Pause())
	if got := s.Reports(ctx); len(got) != 0 {
		t.Errorf("paused Sentinels report %v", got)
	}
	must(t, s.Resume())
	must(t, s.Reset(ctx))
	must(t, s.WaitKnown(ctx))
}

func TestSentinelsErrors(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{})
	if _, err := StartSentinels(ctx, g, SentinelsOptions{Count: -1}); err == nil {
		t.Error("-1 Sentinels")
	}
	if _, err := StartSentinels(ctx, g, SentinelsOptions{Count: 1, User: "watcher"}); err == nil {
		t.Error("a user without a password")
	}
}
