package resilient_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestObserveCluster: over a Cluster commands have the replies and errors of plain
// go-redis, nothing is deferred, and what would have become of writes is counted for the
// shard that they belong to.
func TestObserveCluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
	check(t, servers.AutoFailover(ctx, false))
	dir := t.TempDir()
	inner := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs(), DialerRetries: 1, MaxRetryBackoff: 20 * time.Millisecond})
	c := wrap(t, inner, &resilient.Options{Observe: true, Dir: dir, ProbeInterval: 50 * time.Millisecond})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	keys, other := keysOfShard(t, servers, 0, 3), keysOfShard(t, servers, 1, 1)[0]
	for _, key := range append(keys, other) {
		check(t, c.Incr(ctx, key).Err())
	}
	check(t, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, other); p.Incr(ctx, other); return nil })))
	check(t, c.Watch(ctx, func(tx *redis.Tx) error { return tx.Get(ctx, other).Err() }, other))
	if n, err := c.DBSize(ctx).Result(); n != 4 || err != nil {
		t.Errorf("DBSIZE: %d, %v", n, err)
	}
	if s := c.Stats(); s.Observed != (resilient.ObservedStats{}) {
		t.Errorf("while healthy: %+v", s.Observed)
	}
	check(t, servers.Shard(0)[0].Kill())
	redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(c, resilient.StateNoPrimary) == 1 })
	failed := func(what string, err error) {
		t.Helper()
		if ours := (*resilient.CommandError)(nil); err == nil || errors.As(err, &ours) {
			t.Errorf("%s: %v, want the error of plain go-redis", what, err)
		}
	}
	failed("INCR", c.Incr(ctx, keys[0]).Err())
	failed("LPOP", c.LPop(ctx, keys[1]).Err())
	cmds, _ := c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, keys[2], 1, 0); p.Incr(ctx, other); return nil })
	failed("SET in a pipeline", cmds[0].Err())
	if err := cmds[1].Err(); err != nil {
		t.Errorf("INCR of another shard in it: %v", err)
	}
	check(t, c.Incr(ctx, other).Err())
	if s := c.Stats(); s.Observed != (resilient.ObservedStats{Deferred: 2, Refused: 1}) || s.Deferred+s.Refused+s.InDoubt != 0 || s.Entries != 0 {
		t.Errorf("in the outage: %+v", s)
	}
	check(t, servers.Failover(ctx, servers.Shard(0)[1], redistest.FailoverTakeover))
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	// go-redis is left to itself, and goes on asking the server that is gone for a minute.
	failed("INCR after the return", c.Incr(ctx, keys[0]).Err())
	if n := c.Stats().Observed.Rerouted; n != 1 {
		t.Errorf("%d writes would have gone elsewhere, want 1", n)
	}
	check(t, c.Close())
	if err := inner.Ping(ctx).Err(); err == nil {
		t.Error("the wrapped client is not closed")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
}

// TestObserveRing is the same over a Ring, which gives the keys of a silent shard to
// another one: what would have been deferred was written there.
func TestObserveRing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startRing(t, 0)
	ring := s.ring()
	keys := s.keys(t, ring, 2)
	c := wrap(t, ring, &resilient.Options{Observe: true, ProbeInterval: 50 * time.Millisecond, Nodes: s.groups[0].Addrs()[1:]})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	for _, part := range keys {
		check(t, c.Set(ctx, part[0], 1, 0).Err())
	}
	check(t, s.groups[0].WaitSynced(ctx))
	check(t, s.groups[0].Cycle(ctx))
	if err := c.Incr(ctx, keys[0][0]).Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("INCR: %v", err)
	}
	redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(c, resilient.StateNoPrimary) == 1 })
	if err := c.LPop(ctx, keys[0][1]).Err(); !redis.IsReadOnlyError(err) {
		t.Errorf("LPOP: %v", err)
	}
	check(t, c.Incr(ctx, keys[1][0]).Err())
	if st := c.Stats(); st.Observed != (resilient.ObservedStats{Deferred: 1, Refused: 1}) || st.Deferred+st.Refused != 0 || st.Entries != 0 {
		t.Errorf("in the outage: %+v", st)
	}
	check(t, s.groups[0].Node(0).Kill())
	redistest.Eventually(t, testPatience, "the Ring to give up its shard", func() bool { return ring.Len() == 2 })
	check(t, c.Set(ctx, keys[0][0], "strayed", 0).Err())
	if st := c.Stats(); st.Observed.Deferred != 2 {
		t.Errorf("a write that went to another shard: %+v", st.Observed)
	}
}
