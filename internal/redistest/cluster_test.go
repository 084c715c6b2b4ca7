package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestCluster: a Cluster client finds all servers from one of them and spreads
// keys over them.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := StartClusterT(t, ClusterOptions{})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()[:1]})
	defer client.Close()
	const keys = 60
	for i := range keys {
		if err := client.Set(ctx, fmt.Sprint("k", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0
	for i, n := range c.Nodes() {
		size, err := n.Client().DBSize(ctx).Result()
		if err != nil || size == 0 {
			t.Errorf("node %d has %d keys (%v)", i, size, err)
		}
		sum += int(size)
	}
	if sum != keys {
		t.Errorf("%d keys, want %d", sum, keys)
	}
	if _, err := StartCluster(ctx, ClusterOptions{Primaries: -1}); err == nil {
		t.Error("a Cluster of -1 servers")
	}
}

// TestClusterShard: a shard without automatic failover stays without a primary,
// alone, until it is told to replace it; the old primary comes back as a replica.
func TestClusterShard(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	c := StartClusterT(t, ClusterOptions{Primaries: 3, Replicas: 1, PartialCoverage: true})
	shard := c.Shard(1)
	if len(shard) != 2 || shard[0] != c.Node(1) || shard[1] != c.Node(4) || c.Shards() != 3 {
		t.Fatalf("shard 1 is %v", shard)
	}
	first, last := c.SlotRange(1)
	for _, slot := range []int{first, last} {
		if n, _ := c.Owner(ctx, slot); n != shard[0] {
			t.Errorf("slot %d is owned by %v", slot, n)
		}
	}
	must(t, c.AutoFailover(ctx, false))
	if got, err := shard[1].Client().ConfigGet(ctx, "cluster-replica-no-failover").Result(); got["cluster-replica-no-failover"] != "yes" {
		t.Errorf("the replica may still act by itself: %v, %v", got, err)
	}
	must(t, shard[0].Kill())
	must(t, poll(ctx, "the others to see it fail", func() error {
		view, err := c.Node(0).clusterView(ctx)
		if err != nil {
			return err
		}
		for _, m := range view {
			if m.addr == shard[0].Addr() && m.is("fail") {
				return nil
			}
		}
		return fmt.Errorf("not failed in %v", view)
	}))
	if n, ok := c.Primary(ctx, 1); ok {
		t.Errorf("the shard has the primary %v", n)
	}
	if n, ok := c.Primary(ctx, 2); !ok || n != c.Node(2) {
		t.Errorf("shard 2 has the primary %v, %t", n, ok)
	}
	must(t, c.Failover(ctx, shard[1], FailoverForce))
	if n, _ := c.Owner(ctx, first); n != shard[1] {
		t.Errorf("slot %d is owned by %v after the failover", first, n)
	}
	must(t, shard[0].Restart(ctx))
	must(t, c.WaitComplete(ctx))
	if s, err := shard[0].status(ctx); err != nil || s.source != shard[1].Addr() {
		t.Errorf("the old primary replicates from %q, %v", s.source, err)
	}
	must(t, c.Failover(ctx, shard[0], FailoverPlanned))
	must(t, c.WaitComplete(ctx))
	must(t, c.Failover(ctx, shard[1], FailoverTakeover))
	must(t, c.WaitComplete(ctx))

	must(t, c.PauseShard(2))
	for _, n := range c.Shard(2) {
		if n.Running() {
			t.Errorf("%v runs", n)
		}
	}
	must(t, c.ResumeShard(2))
	must(t, c.WaitComplete(ctx))
	must(t, c.KillShard(0))
	if n, ok := c.Primary(ctx, 0); ok {
		t.Errorf("a killed shard has the primary %v", n)
	}
}

// TestClusterMove: a slot on the move is asked after at both ends; a moved range
// has taken its keys along.
func TestClusterMove(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	ca, err := NewAuthority()
	must(t, err)
	c := StartClusterT(t, ClusterOptions{User: "app", Password: "pass word", TLS: ca})
	from, to := c.Node(0), c.Node(2)
	tag := ""
	for i := range 1000 {
		key := fmt.Sprintf("{%d}", i)
		slot, err := c.Slot(ctx, key)
		must(t, err)
		if slot < SlotCount/3-1 {
			tag = key
			break
		}
	}
	slot, err := c.Slot(ctx, tag)
	must(t, err)
	const keys = 5
	for i := range keys {
		_, err := from.Do(ctx, "SET", fmt.Sprint(tag, i), i)
		must(t, err)
	}
	must(t, c.BeginMove(ctx, slot, to))
	moved, err := c.MoveKeys(ctx, slot, 2, to)
	if err != nil || moved != 2 {
		t.Fatalf("%d keys moved, %v", moved, err)
	}
	_, err = from.Do(ctx, "GET", tag+"none")
	if err == nil || !strings.HasPrefix(err.Error(), "ASK ") {
		t.Errorf("a key that is not there any more: %v, want ASK", err)
	}
	if n, _ := c.Owner(ctx, slot); n != from {
		t.Errorf("the owner in the middle of the move: %v", n)
	}
	must(t, c.CancelMove(ctx, slot, to))
	_, err = from.Do(ctx, "GET", tag+"none")
	if !errors.Is(err, redis.Nil) {
		t.Errorf("after a move that was called off: %v", err)
	}
	must(t, c.MoveSlots(ctx, slot, slot+1, to))
	must(t, c.WaitComplete(ctx))
	for _, s := range []int{slot, slot + 1} {
		if n, _ := c.Owner(ctx, s); n != to {
			t.Errorf("slot %d is owned by %v after its move", s, n)
		}
	}
	if n, err := to.Client().DBSize(ctx).Result(); n != keys || err != nil {
		t.Errorf("%d keys at the new owner, want %d (%v)", n, keys, err)
	}
	_, err = from.Do(ctx, "GET", tag)
	if err == nil || !strings.HasPrefix(err.Error(), "MOVED ") {
		t.Errorf("a key of a moved slot: %v, want MOVED", err)
	}
}

func TestParseClusterNodes(t *testing.T) {
	view, err := parseClusterNodes("a 127.0.0.1:1@10001,host myself,master - 0 0 7 connected 0-5 9 [3->-b] [4-<-b]\n" +
		"b 127.0.0.1:2@10002 slave,fail a 0 0 8 disconnected\n")
	must(t, err)
	self, ok := view.myself()
	if !ok || self.addr != "127.0.0.1:1" || self.epoch != 7 || !self.owns(5) || self.owns(6) || !self.owns(9) {
		t.Errorf("myself = %+v, %t", self, ok)
	}
	if other := view[1]; !other.is("fail") || other.source != "a" {
		t.Errorf("the other = %+v", other)
	}
	for _, bad := range []string{"short line", "a b c d e f notanumber h", "a b c d e f 1 h x-y", "a b c d e f 1 h 1-y"} {
		if _, err := parseClusterNodes(bad); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}
