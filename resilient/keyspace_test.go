package resilient_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
		got = slices.Compact(got) // SCAN may give a key twice
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

// TestKeyspaceAfterARestart: what the overlay can't tell of a key the server tells.
func TestKeyspaceAfterARestart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, c.Set(ctx, "lives", "v", 0).Err())
	check(t, c.HSet(ctx, "hash", "f", 1, "g", 2).Err())
	check(t, c.Set(ctx, "goes", "v", 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	check(t, c.Expire(ctx, "lives", time.Hour).Err())
	check(t, c.HDel(ctx, "hash", "f").Err())
	check(t, c.Del(ctx, "goes").Err())
	check(t, c.Set(ctx, "new", "v", 0).Err())
	check(t, c.Close())
	c = open(t, g, &resilient.Options{Dir: dir})
	want := []string{"hash", "lives", "new"}
	got, err := c.Keys(ctx, "*").Result()
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("KEYS: %q, %v; want %q", got, err, want)
	}
	got, _, err = c.Scan(ctx, 0, "", 100).Result()
	slices.Sort(got)
	if err != nil || !slices.Equal(slices.Compact(got), want) {
		t.Errorf("SCAN: %q, %v; want %q", got, err, want)
	}
	if n, err := c.DBSize(ctx).Result(); n != 3 || err != nil {
		t.Errorf("DBSIZE: %d, %v", n, err)
	}
}

// TestScanAcrossTheReplay: a key that exists all the time is given by SCAN, though it is in
// the journal when the iteration begins and on the server when it ends.
func TestScanAcrossTheReplay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("before:%03d", i))
		check(t, c.Set(ctx, want[i], "v", 0).Err())
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	for i := range 100 {
		want = append(want, fmt.Sprintf("deferred:%03d", i))
		check(t, c.Set(ctx, want[len(want)-1], "v", 0).Err())
		check(t, c.Append(ctx, want[i], "w").Err())
	}
	info, err := c.Info(ctx, "server").Result()
	check(t, err)
	reader := slices.IndexFunc(g.Nodes(), func(n *redistest.Node) bool {
		_, port, ok := strings.Cut(n.Addr(), ":")
		return ok && strings.Contains(info, "tcp_port:"+port+"\r\n")
	})
	got, cursor, err := c.Scan(ctx, 0, "", 100).Result()
	check(t, err)
	check(t, g.Promote(ctx, reader)) // a cursor is of no use to another server
	flush(t, c)
	for cursor != 0 {
		var page []string
		page, cursor, err = c.Scan(ctx, cursor, "", 10).Result()
		check(t, err)
		got = append(got, page...)
	}
	got = slices.DeleteFunc(got, func(name string) bool { return strings.HasPrefix(name, "holdfast:fence:") })
	slices.Sort(got)
	slices.Sort(want)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("SCAN gave %d of %d keys", len(got), len(want))
	}
}
