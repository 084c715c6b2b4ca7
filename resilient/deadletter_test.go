package resilient_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestDeadLetter: what the server rejects in the replay is kept aside and
// counted, also by later processes, and holds up nothing behind it.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "before", 1, 0).Err())
	check(t, c.HSet(ctx, secretKey, secretField, secretValue).Err())
	check(t, c.HIncrBy(ctx, secretKey, "n", 1).Err())
	check(t, c.Incr(ctx, "after").Err())
	check(t, c.Incr(ctx, "after").Err())
	check(t, c.Close())
	check(t, g.PromoteOnly(ctx, 1))
	admin := g.Node(1).Client()
	check(t, admin.Set(ctx, secretKey, "another process", 0).Err())

	logged := &lines{}
	ends := make(chan resilient.ReplayEndInfo, 8)
	c = open(t, g, &resilient.Options{
		Dir: dir, Logger: slog.New(slog.NewTextHandler(logged, nil)),
		Listener: resilient.Listener{ReplayEnd: func(i resilient.ReplayEndInfo) { ends <- i }},
	})
	flush(t, c)
	if got := fmt.Sprint(admin.MGet(ctx, "before", secretKey, "after").Val()); got != "[1 another process 2]" {
		t.Errorf("in Redis: %s", got)
	}
	if s := c.Stats(); s.DeadLettered != 2 || s.Replayed != 3 || s.Entries != 0 || s.OverlayKeys != 0 {
		t.Errorf("stats %+v, want 2 dead letters and 3 replayed", s)
	}
	if i := <-ends; i.DeadLettered != 2 || i.Replayed != 3 || i.Remaining != 0 || i.Err != nil {
		t.Errorf("ReplayEnd %+v", i)
	}
	// The key's later writes go to Redis as they are.
	if v, err := c.Get(ctx, secretKey).Result(); v != "another process" || err != nil {
		t.Errorf("GET after the dead letter: %q, %v", v, err)
	}
	check(t, c.Append(ctx, secretKey, "!").Err())
	tellsNoSecret(t, "the log", logged.String())
	for range 2 {
		check(t, c.Close())
		c = open(t, g, &resilient.Options{Dir: dir})
		if s := c.Stats(); s.DeadLettered != 2 || s.Entries != 0 {
			t.Errorf("after a restart: %+v, want 2 dead letters", s)
		}
	}
}
