package resilient_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// clusterOf starts a Cluster and a client of it, made as an application does.
func clusterOf(t *testing.T, co redistest.ClusterOptions, o *resilient.Options) (*redistest.Cluster, *resilient.Client) {
	t.Helper()
	servers := redistest.StartClusterT(t, co)
	if o == nil {
		o = &resilient.Options{}
	}
	if o.ProbeInterval == 0 {
		o.ProbeInterval = 100 * time.Millisecond
	}
	c := newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, o)
	return servers, c
}

// keysOfShard are keys of one shard, each in another slot.
func keysOfShard(t *testing.T, servers *redistest.Cluster, shard, n int) []string {
	t.Helper()
	first, last := servers.SlotRange(shard)
	var keys []string
	for i := 0; len(keys) < n; i++ {
		key := fmt.Sprintf("k%d", i)
		slot, err := servers.Slot(context.Background(), key)
		check(t, err)
		if slot >= first && slot <= last {
			keys = append(keys, key)
		}
	}
	return keys
}

// newClientFor makes a client that is closed with the test.
func newClientFor(t *testing.T, u *redis.UniversalOptions, o *resilient.Options) *resilient.Client {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	c, err := resilient.NewClient(u, o)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() }) // its error is for the tests that look at it
	return c
}

func shardStates(c *resilient.Client, state resilient.State) (n int) {
	for _, s := range c.Shards() {
		if s.State == state {
			n++
		}
	}
	return n
}

// TestClusterShardInAnOutage: one shard of a Cluster loses its primary for good. Its
// writes are deferred and answered exactly, the other shards' go straight through, and
// after a takeover by the replica everything is there once.
func TestClusterShardInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	bad, good := keysOfShard(t, servers, 0, 50), append(keysOfShard(t, servers, 1, 20), keysOfShard(t, servers, 2, 20)...)
	for _, key := range append(append([]string(nil), bad...), good...) {
		check(t, c.Incr(ctx, key).Err())
	}
	check(t, c.Flush(ctx))
	primary, _ := servers.Primary(ctx, 0)
	replica := servers.Shard(0)[1]
	redistest.Eventually(t, testPatience, "the replica to have it", func() bool {
		return replica.Client().DBSize(ctx).Val() == primary.Client().DBSize(ctx).Val()
	})
	check(t, primary.Kill())

	for round := 2; round <= 4; round++ {
		for _, key := range bad {
			if n, err := c.Incr(ctx, key).Result(); err != nil || n != int64(round) {
				t.Fatalf("INCR in the outage: %d, %v, want %d", n, err, round)
			}
		}
		for _, key := range good {
			if n, err := c.Incr(ctx, key).Result(); err != nil || n != int64(round) {
				t.Fatalf("INCR on a healthy shard: %d, %v, want %d", n, err, round)
			}
		}
	}
	if s := c.Stats(); s.Deferred != uint64(3*len(bad)) || s.Refused != 0 || s.InDoubt != 0 {
		t.Errorf("%+v, want %d deferred", s, 3*len(bad))
	}
	if got := c.Get(ctx, bad[0]).Val(); got != "4" {
		t.Errorf("GET of a pending key: %s", got)
	}
	if s := c.State(); s.State != resilient.StateNoPrimary && s.State != resilient.StateUnreachable || s.Shard == "" {
		t.Errorf("state %v of %q", s, s.Shard)
	}
	if n := shardStates(c, resilient.StateHealthy); n != 2 {
		t.Errorf("%d healthy shards: %v", n, c.Shards())
	}
	// A pipeline over all shards, and a transaction in the sick one.
	p := c.Pipeline()
	var all []*redis.IntCmd
	for _, key := range []string{bad[0], good[0], bad[1], good[len(good)-1]} {
		all = append(all, p.Incr(ctx, key))
	}
	if _, err := p.Exec(ctx); err != nil {
		t.Errorf("the pipeline: %v", err)
	}
	for _, cmd := range all {
		if cmd.Val() != 5 {
			t.Errorf("%v, want 5", cmd)
		}
	}
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, bad[2])
		p.RPush(ctx, "{"+bad[2]+"}list", "a", "b")
		return nil
	})
	check(t, err)
	if err := c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{good[0]}).Err(); err != nil {
		t.Errorf("a script on a healthy shard: %v", err)
	}
	if _, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, bad[0]); p.Incr(ctx, good[0]); return nil }); err != redis.ErrCrossSlot { //nolint:errorlint // go-redis's own
		t.Errorf("a transaction over slots: %v", err)
	}

	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	for i, key := range bad {
		want := 4
		if i < 3 {
			want = 5
		}
		if got := replica.Client().Get(ctx, key).Val(); got != strconv.Itoa(want) {
			t.Errorf("key %d of the shard is %s, want %d", i, got, want)
		}
	}
	if got := replica.Client().LRange(ctx, "{"+bad[2]+"}list", 0, -1).Val(); len(got) != 2 {
		t.Errorf("the list: %v", got)
	}
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	if s := c.Stats(); s.Entries != 0 || s.OverlayKeys != 0 || s.Unconfirmed != 0 && s.Replayed == 0 {
		t.Errorf("%+v", s)
	}
}

// TestClusterRestartInAnOutage: the process ends in the outage, the next one shows its
// writes, and replays them.
func TestClusterRestartInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, &resilient.Options{Dir: dir})
	check(t, servers.AutoFailover(ctx, false))
	keys := keysOfShard(t, servers, 1, 20)
	primary, _ := servers.Primary(ctx, 1)
	check(t, primary.Kill())
	for _, key := range keys {
		check(t, c.Set(ctx, key, "v", 0).Err())
		check(t, c.Append(ctx, key, "w").Err())
	}
	check(t, c.Close())
	c = newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, &resilient.Options{Dir: dir, ProbeInterval: 100 * time.Millisecond})
	for _, key := range keys {
		if got, err := c.Get(ctx, key).Result(); got != "vw" || err != nil {
			t.Fatalf("after the restart: %q, %v", got, err)
		}
	}
	replica := servers.Shard(1)[1]
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	for _, key := range keys {
		if got := replica.Client().Get(ctx, key).Val(); got != "vw" {
			t.Errorf("%q in the primary", got)
		}
	}
}

// TestClusterSlotsMoveBeforeReplay: the slots of a shard that is lost for good are given
// to another one. What was deferred for it goes there.
func TestClusterSlotsMoveBeforeReplay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	keys := keysOfShard(t, servers, 0, 30)
	primary, _ := servers.Primary(ctx, 0)
	check(t, primary.Kill())
	for i, key := range keys {
		check(t, c.Set(ctx, key, i, 0).Err())
	}
	heir, _ := servers.Primary(ctx, 1)
	first, last := servers.SlotRange(0)
	check(t, servers.TakeSlots(ctx, first, last, heir))
	eventuallyFlushed(t, c)
	for i, key := range keys {
		if got := heir.Client().Get(ctx, key).Val(); got != strconv.Itoa(i) {
			t.Errorf("key %d is %q at the heir", i, got)
		}
	}
}

func eventuallyFlushed(t *testing.T, c *resilient.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("%v; shards %v", err, c.Shards())
	}
}
