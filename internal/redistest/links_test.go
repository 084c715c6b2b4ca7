package redistest

import (
	"testing"
	"time"
)

// TestLinks: cut links stay down, and come back when they are mended, but not in
// a cycle.
func TestLinks(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 2})
	must(t, g.CutLinks(ctx))
	must(t, g.waitLinksDown(ctx, time.Second))
	if s := states(t, g); s[0].role != roleMaster || s[1].linkUp || s[2].linkUp {
		t.Errorf("with cut links: %+v", s)
	}
	must(t, g.MendLinks(ctx))
	must(t, g.WaitSynced(ctx))

	must(t, g.ColdCycle(ctx))
	must(t, g.waitLinksDown(ctx, 2*time.Second)) // they try once a second
	for i, s := range states(t, g) {
		if s.role != roleReplica || s.linkUp {
			t.Errorf("node %d in a cold cycle: %+v", i, s)
		}
	}
	must(t, g.Promote(ctx, 2))
	must(t, g.WaitSynced(ctx))
}

// TestFreshest: the replica that is ahead is to be promoted, and never a server
// that came back empty, be it one against one.
func TestFreshest(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 2})
	_, err := g.Node(0).Do(ctx, "SET", "first", "v")
	must(t, err)
	must(t, g.WaitSynced(ctx))
	_, err = g.Node(1).Do(ctx, "REPLICAOF", loopback, 1) // where nobody is
	must(t, err)
	_, err = g.Node(0).Do(ctx, "SET", "k", "v")
	must(t, err)
	must(t, poll(ctx, "node 2 to have the write", func() error {
		n, err := g.Node(2).Client().Exists(ctx, "k").Result()
		return want(err, n == 1, n)
	}))
	freshest := func(want int) {
		t.Helper()
		if n, err := g.Freshest(ctx); err != nil || n != g.Node(want) {
			t.Errorf("the freshest is %v, %v, want node %d", n, err, want)
		}
	}
	must(t, g.Node(0).Kill())
	freshest(2)
	must(t, g.Node(0).Restart(ctx))
	must(t, g.Node(2).Kill())
	freshest(1)
	must(t, g.Node(1).Kill())
	must(t, g.Node(0).Kill())
	if n, err := g.Freshest(ctx); err == nil {
		t.Errorf("of no server %v is the freshest", n)
	}
}
