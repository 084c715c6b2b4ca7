package redistest

import (
	"context"
	"fmt"
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

// TestSentinel: a Sentinel names the primary, leaves a replication cycle alone,
// and makes a failover when it is told to.
func TestSentinel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	g := StartT(t, Options{Replicas: 1, Password: "pass word"})
	s := StartSentinelT(t, g, SentinelOptions{Name: "group"})
	if err := s.WaitPrimary(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().Failover(ctx, s.Name()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitPrimary(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := g.Node(1).waitRole(ctx, roleMaster); err != nil {
		t.Error(err)
	}
}
