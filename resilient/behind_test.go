package resilient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// The replicas did not follow when another node was promoted. Then that node is
// lost too. A counter must not go on from where they stand: its values would be
// given a second time.
func TestNoBaseFromReplicasLeftBehind(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, nil)
	incr := func(want int64) {
		t.Helper()
		if n, err := c.Incr(ctx, "n").Result(); err != nil || n != want {
			t.Fatalf("INCR: %d, %v; want %d", n, err, want)
		}
	}
	incr(1)
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	incr(2)
	check(t, g.PromoteOnly(ctx, 2))
	waitState(t, c, resilient.StateHealthy)
	incr(3)
	check(t, g.Node(2).Kill())
	redistest.Eventually(t, testPatience, "the loss to be seen", func() bool {
		s := c.State()
		return s.State == resilient.StateNoPrimary && s.Cause == resilient.CausePrimaryDown
	})
	if n, err := c.Incr(ctx, "n").Result(); !errors.Is(err, resilient.ErrBaseUnknown) {
		t.Errorf("INCR with the replicas left behind: %d, %v; want ErrBaseUnknown", n, err)
	}
	check(t, c.Set(ctx, "s", "v", 0).Err()) // needs no base
}
