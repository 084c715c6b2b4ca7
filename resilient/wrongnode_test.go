package resilient_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestDrainToTheWrongNode: what was replayed to a server that is then made a replica of
// another, and so loses it with its fence, is replayed again to that other one. It is
// known by the fence, which is not there, and kept until the replicas have it.
func TestDrainToTheWrongNode(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), ReplicaAckTimeout: time.Minute})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	check(t, g.WaitSynced(ctx))
	follow := func(i, primary int) {
		t.Helper()
		host, port := "NO", "ONE"
		if primary >= 0 {
			host, port, _ = net.SplitHostPort(g.Node(primary).Addr())
		}
		_, err := g.Node(i).Do(ctx, "REPLICAOF", host, port)
		check(t, err)
	}
	value := func(i int) string { return g.Node(i).Client().Get(ctx, "n").Val() }
	follow(0, 1)
	follow(1, 0)
	for want := int64(2); want <= 10; want++ {
		if n, err := c.Incr(ctx, "n").Result(); n != want || err != nil {
			t.Fatalf("INCR %d, %v, want %d", n, err, want)
		}
	}
	follow(2, -1) // nobody follows it
	redistest.Eventually(t, testPatience, "a replay to the wrong server", func() bool { return value(2) == "10" })
	if n := c.Stats().Entries; n != 9 {
		t.Errorf("%d entries are kept until replicas have them, want 9", n)
	}
	if v := value(1); v != "1" {
		t.Fatalf("n = %s at the right server already", v)
	}
	follow(2, 1)
	follow(1, -1)
	follow(0, 1)
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	if at := c.State().Primary; at != g.Node(1).Addr() {
		t.Errorf("the primary is %s", at)
	}
	if v := value(1); v != "10" {
		t.Errorf("n = %s, want 10", v)
	}
	if s := c.Stats(); s.Unconfirmed != 0 || s.DeadLettered != 0 {
		t.Errorf("%+v", s)
	}
}
