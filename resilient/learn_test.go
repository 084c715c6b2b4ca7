package resilient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// Commands that are not in the table, as those of a module: the server says which
// of them read. Here they are commands of its own under other names.
func TestCommandsThatOnlyTheServerKnows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1, Args: []string{
		"--rename-command", "STRLEN", "MYLENGTH", "--rename-command", "GETSET", "MYSWAP",
	}})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	if v, err := c.Do(ctx, "myswap", "k", "value").Result(); v != nil || err == nil {
		t.Errorf("a write in health: %v, %v", v, err)
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	if n, err := c.Do(ctx, "mylength", "k").Int(); n != 5 || err != nil {
		t.Errorf("a read in the outage: %d, %v", n, err)
	}
	refused(t, c.Do(ctx, "myswap", "k", "other").Err(), "myswap", "unknown")
	check(t, c.Set(ctx, "k", "pending", 0).Err())
	if err := c.Do(ctx, "mylength", "k").Err(); !errors.Is(err, resilient.ErrPendingWrites) || !resilient.SafeToRetry(err) {
		t.Errorf("a read of a pending key: %v", err)
	}
	if n, err := c.Do(ctx, "MyLength", "free").Int(); n != 0 || err != nil {
		t.Errorf("a read of another key: %d, %v", n, err)
	}
	if err := c.Do(ctx, "nosuchcommand", "k").Err(); !errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("a command that no server knows: %v", err)
	}
	check(t, g.Promote(ctx, 0))
	flush(t, c)
	if v, err := c.Do(ctx, "myswap", "k", "last").Text(); v != "pending" || err != nil {
		t.Errorf("a write after the return: %q, %v", v, err)
	}
}
