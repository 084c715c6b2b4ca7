package topology

import (
	"testing"
	"time"
)

// A replica that stayed with the others when c was promoted has the data of before.
func TestSeedsComeFromWhoFollowedTheLastPrimary(t *testing.T) {
	m := NewMachine(Config{})
	at := time.Unix(0, 0)
	round := func(nodes ...NodeReport) *View {
		at = at.Add(time.Second)
		m, _ = Step(m, ProbeRound{At: at, Nodes: nodes})
		return m.View()
	}
	node := func(addr string, role Role, replid, replid2 string) NodeReport {
		return NodeReport{
			Addr: addr, Seed: true, Outcome: OutcomeAnswered, Role: role, RunID: addr, ReplID: replid, ReplID2: replid2,
			Offset: 100, Priority: defaultPriority, LinkUp: true,
		}
	}
	left, behind := node("a:1", RoleReplica, "old", ""), node("b:1", RoleReplica, "old", "")
	primary := node("c:1", RoleMaster, "new", "old")
	down := NodeReport{Addr: "c:1", Seed: true, Outcome: OutcomeRefused}
	for range DefaultConfirmations {
		round(left, behind, primary)
	}
	if v := m.View(); !v.Live || v.SeedFrom != "c:1" {
		t.Fatalf("with its primary: %+v", v)
	}
	var v *View
	for range DefaultLostProbes + 1 {
		v = round(left, behind, down)
	}
	if v.Live || v.ReadFrom != "a:1" || v.SeedFrom != "" {
		t.Errorf("left behind: live %t, reads from %q, seeds from %q", v.Live, v.ReadFrom, v.SeedFrom)
	}
	follower := node("b:1", RoleReplica, "new", "old")
	if v = round(left, follower, down); v.SeedFrom != "b:1" {
		t.Errorf("with a follower: reads from %q, seeds from %q", v.ReadFrom, v.SeedFrom)
	}
	if v = round(down, follower, NodeReport{Addr: "a:1", Outcome: OutcomeRefused}); v.SeedFrom != "b:1" {
		t.Errorf("with a follower only: reads from %q, seeds from %q", v.ReadFrom, v.SeedFrom)
	}
}

// A process that starts in an outage knows of no primary: any replica is as good.
func TestSeedsWithoutAPrimaryEver(t *testing.T) {
	m, _ := Step(NewMachine(Config{}), ProbeRound{At: time.Unix(1, 0), Nodes: []NodeReport{{
		Addr: "a:1", Seed: true, Outcome: OutcomeAnswered, Role: RoleReplica, RunID: "A", ReplID: "x", Master: "a:1", LinkUp: true,
		Priority: defaultPriority,
	}}})
	if v := m.View(); v.SeedFrom != "a:1" {
		t.Errorf("seeds from %q", v.SeedFrom)
	}
}
