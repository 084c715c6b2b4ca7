package resilient_test

import (
	"context"
	"slices"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// What the server has and what waits are one keyspace: no key twice, none that a
// deferred write has deleted.
func TestKeyspaceInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	for _, key := range []string{"a", "b", "c", "d", "list"} {
		check(t, c.RPush(ctx, key, "of before").Err())
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	check(t, c.Del(ctx, "b", "never").Err())
	check(t, c.Set(ctx, "a", "anew", 0).Err())
	check(t, c.Set(ctx, "e", "new", 0).Err())
	check(t, c.Rename(ctx, "c", "f").Err())
	want := []string{"a", "d", "e", "f", "list"}

	if n, err := c.DBSize(ctx).Result(); n != int64(len(want)) || err != nil {
		t.Errorf("DBSIZE: %d, %v", n, err)
	}
	same := func(what string, got []string, err error) {
		t.Helper()
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", what, got, err, want)
		}
	}
	got, err := c.Keys(ctx, "*").Result()
	same("KEYS", got, err)
	var scanned []string
	it := c.Scan(ctx, 0, "", 1).Iterator()
	for it.Next(ctx) {
		scanned = append(scanned, it.Val())
	}
	same("SCAN", scanned, it.Err())
	drawn := map[string]bool{}
	redistest.Eventually(t, testPatience, "RANDOMKEY to have drawn every key", func() bool {
		key, err := c.RandomKey(ctx).Result()
		check(t, err)
		drawn[key] = true
		return len(drawn) >= len(want)
	})
	for key := range drawn {
		if !slices.Contains(want, key) {
			t.Errorf("RANDOMKEY drew %q", key)
		}
	}
}
