package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// clusterScenarios are those in which shard 0 has no primary.
func clusterScenarios() []Scenario {
	build := func(o ClusterOptions) func(context.Context, *Stage, StageOptions) error {
		return func(ctx context.Context, s *Stage, so StageOptions) error {
			o.Primaries, o.Replicas = 3, 1
			o.User, o.Password, o.TLS, o.LogTo = s.user, s.password, s.authority, so.LogTo
			var err error
			s.Cluster, err = StartCluster(ctx, o)
			return err
		}
	}
	return []Scenario{
		{
			Name: "S6", Title: "a shard without a primary, the others go on", Topology: TopologyCluster,
			Refusal: refusedDial, Reads: true, Loses: true, writer: 3,
			build: build(ClusterOptions{PartialCoverage: true}), check: checkOthersServe,
			breaks: orphanShard, mends: forceFailover,
		},
		{
			Name: "S6-coverage", Title: "a shard without a primary, the others refuse writes", Topology: TopologyCluster,
			Refusal: refusedDial, Reads: true, Loses: true, writer: 3,
			build: build(ClusterOptions{AllowReadsWhenDown: true}), check: checkOthersRefuse,
			breaks: orphanShard, mends: forceFailover,
		},
		{
			Name: "S6-whole", Title: "a whole shard hangs", Topology: TopologyCluster,
			Refusal: RefusalHang, writer: 0,
			build: build(ClusterOptions{PartialCoverage: true}), check: checkOthersServe,
			breaks: func(_ context.Context, s *Stage) error { return s.Cluster.PauseShard(0) },
			mends:  func(_ context.Context, s *Stage) error { return s.Cluster.ResumeShard(0) },
		},
		{
			Name: "S11-cluster", Title: "failover: the primary of a shard is killed, its replica takes over", Topology: TopologyCluster,
			Refusal: refusedDial, Reads: true, Heals: true, Loses: true, writer: 3,
			build: build(ClusterOptions{PartialCoverage: true}), breaks: killPrimary,
			check: func(_ context.Context, s *Stage) error { return want(nil, !s.Cluster.Node(0).Running(), "running") },
		},
	}
}

// orphanShard kills a primary whose replica may not take its place by itself.
func orphanShard(ctx context.Context, s *Stage) error {
	if err := s.Cluster.AutoFailover(ctx, false); err != nil {
		return err
	}
	return s.Cluster.Node(0).Kill()
}

func forceFailover(ctx context.Context, s *Stage) error {
	if err := s.Cluster.Failover(ctx, s.Cluster.Shard(0)[1], FailoverForce); err != nil {
		return err
	}
	return s.Cluster.AutoFailover(ctx, true)
}

// checkLost: the other shards see that the slots of shard 0 are not served, and
// an orphan replica says that it looks for its primary.
func (s *Stage) checkLost(ctx context.Context) error {
	first, last := s.Cluster.SlotRange(0)
	slots := strconv.Itoa(last - first + 1)
	for _, n := range s.Cluster.group.running() {
		text, err := n.client.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		if info := parseInfo(text); info["cluster_slots_fail"] != slots {
			return fmt.Errorf("%v says that %s slots fail, not %s", n, info["cluster_slots_fail"], slots)
		}
	}
	if orphan := s.Cluster.Shard(0)[1]; orphan.Running() {
		if err := roleConnects(ctx, orphan); err != nil {
			return err
		}
		return s.readsFrom(ctx, orphan)
	}
	return nil
}

// readsFrom is nil if a replica answers reads of clients that said READONLY.
func (s *Stage) readsFrom(ctx context.Context, n *Node) error {
	conn := n.client.Conn()
	defer conn.Close()
	if err := conn.ReadOnly(ctx).Err(); err != nil {
		return err
	}
	defer conn.ReadWrite(ctx) // the connection goes back to the pool
	return conn.Exists(ctx, s.Key(0)).Err()
}

// other sends a write to a primary of another shard.
func (s *Stage) other(ctx context.Context) error {
	key, _ := s.OtherKey(0)
	slot, err := s.Cluster.Slot(ctx, key)
	if err != nil {
		return err
	}
	n, ok := s.Cluster.Owner(ctx, slot)
	if !ok {
		return errors.New("the other shard has no primary")
	}
	_, err = n.Do(ctx, "DEL", key+":absent")
	return err
}

func checkOthersServe(ctx context.Context, s *Stage) error {
	if err := s.checkLost(ctx); err != nil {
		return err
	}
	return s.other(ctx)
}

func checkOthersRefuse(ctx context.Context, s *Stage) error {
	if err := s.checkLost(ctx); err != nil {
		return err
	}
	if err := s.other(ctx); err == nil || !strings.HasPrefix(err.Error(), "CLUSTERDOWN") {
		return fmt.Errorf("a write of another shard meets %s", answer(err))
	}
	return nil
}
