package topology

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

func watchCluster(t *testing.T, c *redistest.Cluster, o ClusterOptions) *ClusterMonitor {
	t.Helper()
	p := NewProber(nil)
	o.Seeds, o.Probe = []string{c.Node(1).Addr()}, p.ProbeCluster
	if o.Interval == 0 {
		o.Interval = 200 * time.Millisecond
	}
	o.Timeout = 2 * time.Second
	m := NewClusterMonitor(o)
	t.Cleanup(func() {
		m.Close()
		must(t, p.Close())
	})
	m.Start(t.Context())
	return m
}

// From one server all shards are learned; one loses its primary, and the others don't notice.
func TestClusterShardLosesItsPrimary(t *testing.T) {
	c := redistest.StartClusterT(t, redistest.ClusterOptions{Primaries: 3, Replicas: 1, PartialCoverage: true})
	told := make(chan []ShardFacts, 100)
	m := watchCluster(t, c, ClusterOptions{OnShards: func(f []ShardFacts) { told <- f }})
	if n := len(m.Shards()); n != 3 {
		t.Fatalf("%d shards at start", n)
	}
	if f := <-told; len(f) != 3 || len(f[0].Uncovered) != 0 {
		t.Errorf("told %+v", f)
	}
	for i := range 3 {
		first, last := c.SlotRange(i)
		s := m.ShardOf(first)
		if v := s.View(); s != m.ShardOf(last) || v.State != StateHealthy || v.Primary.Addr != c.Node(i).Addr() || len(v.Nodes) != 2 {
			t.Fatalf("shard %d: %+v", i, v)
		}
	}
	must(t, c.AutoFailover(t.Context(), false))
	first, _ := c.SlotRange(0)
	s, others := m.ShardOf(first), slices.DeleteFunc(slices.Clone(m.Shards()), func(o *Shard) bool { return o == m.ShardOf(first) })
	epochs := []uint64{others[0].View().Epoch, others[1].View().Epoch}
	must(t, c.Node(0).Kill())
	v := await(t, s.Monitor, "the outage", func(v *View) bool { return v.State == StateNoPrimary })
	if v.Candidate.Addr != c.Shard(0)[1].Addr() {
		t.Errorf("candidate: %+v", v)
	}
	v = await(t, s.Monitor, "uncovered slots", func(v *View) bool { return v.Cause == CauseSlotsUncovered })
	if v.Advice == nil || v.Advice.Where != c.Shard(0)[1].Addr() || !slices.Equal(v.Advice.Command, []string{"CLUSTER", "FAILOVER", "FORCE"}) {
		t.Fatalf("advice: %+v", v.Advice)
	}
	obey(t, v.Advice.Order)
	v = await(t, s.Monitor, "the elected one", func(v *View) bool { return v.Live })
	if v.Primary.Addr != c.Shard(0)[1].Addr() || m.ShardOf(first) != s {
		t.Errorf("%+v, shard %s", v.Primary, m.ShardOf(first).ID)
	}
	for i, o := range others {
		if v := o.View(); !v.Live || v.Epoch != epochs[i] {
			t.Errorf("another shard was concerned: %+v", v)
		}
	}
}

// With full coverage the loss of one shard is everybody's: all refuse writes, and it is said why.
func TestClusterWithFullCoverage(t *testing.T) {
	c := redistest.StartClusterT(t, redistest.ClusterOptions{Primaries: 3, Replicas: 0})
	m := watchCluster(t, c, ClusterOptions{})
	must(t, c.Node(0).Kill())
	first, _ := c.SlotRange(1)
	v := await(t, m.ShardOf(first).Monitor, "refusal", func(v *View) bool { return !v.Live })
	if v.State != StateNoPrimary || v.Cause != CauseSlotsUncovered || v.Diagnosis == "" {
		t.Errorf("%+v", v)
	}
	must(t, c.Node(0).Restart(t.Context()))
	await(t, m.ShardOf(first).Monitor, "the return", func(v *View) bool { return v.Live })
}

// Slots that move change their shard; the shards stay what they are.
func TestClusterSlotsMove(t *testing.T) {
	c := redistest.StartClusterT(t, redistest.ClusterOptions{Primaries: 3, Replicas: 0})
	told := make(chan []ShardFacts, 100)
	m := watchCluster(t, c, ClusterOptions{OnShards: func(f []ShardFacts) { told <- f }})
	<-told
	before := m.Shards()
	from, _ := c.SlotRange(0)
	to, _ := c.SlotRange(1)
	must(t, c.MoveSlots(t.Context(), from, from+9, c.Node(1)))
	redistest.Eventually(t, patience, "the move to be seen", func() bool { return m.ShardOf(from+9) == m.ShardOf(to) })
	if m.ShardOf(from+10) == m.ShardOf(to) || !slices.Equal(before, m.Shards()) {
		t.Error("more has changed than the slots")
	}
	<-told
}
