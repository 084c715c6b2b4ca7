package topology

import (
	"fmt"
	"slices"
	"testing"
)

func (r *roster) addrs() []string {
	var out []string
	for _, e := range r.entries {
		out = append(out, e.addr)
	}
	return out
}

func TestRosterIsBounded(t *testing.T) {
	r := newRoster([]string{"seed:1"})
	var many []string
	for i := range 3 * rosterLimit {
		many = append(many, fmt.Sprintf("n%d:1", i))
	}
	n := fakeMaster("seed:1", "X", "", many...)
	if fresh := r.discover(named(&n)); len(fresh) != rosterLimit-1 {
		t.Fatalf("%d are new", len(fresh))
	}
	if fresh := r.discover(named(&n)); len(fresh) != 0 || len(r.entries) != rosterLimit {
		t.Fatalf("%d are new the second time, %d in all", len(fresh), len(r.entries))
	}
	if r.entries[0].addr != "seed:1" || !r.entries[0].seed || r.entries[1].seed {
		t.Fatalf("%+v", r.entries[:2])
	}
}

func TestRosterForgetsOnlyWhatNobodyNames(t *testing.T) {
	r := newRoster([]string{"vip:1"})
	a := fakeMaster("a:1", "X", "", "b:1", "c:1")
	r.discover(named(&NodeReport{Outcome: OutcomeAnswered, Master: "a:1"}))
	r.discover(named(&a))
	all := []string{"vip:1", "a:1", "b:1", "c:1"}
	if !slices.Equal(r.addrs(), all) {
		t.Fatalf("%v", r.addrs())
	}
	a.Replicas = []string{"c:1"} // b is gone, the primary itself is named by nobody
	settle := func(times int) {
		for range times {
			mentioned := map[string]bool{a.Addr: true}
			mention(mentioned, named(&a))
			mention(mentioned, named(&NodeReport{Addr: "b:1", Outcome: OutcomeRefused, Replicas: []string{"b:1"}}))
			r.settle(mentioned)
		}
	}
	settle(rosterGrace)
	if !slices.Equal(r.addrs(), all) {
		t.Fatalf("forgotten too early: %v", r.addrs())
	}
	a.Replicas = []string{"b:1", "c:1"} // it comes back in the last moment: the count begins anew
	settle(1)
	a.Replicas = []string{"c:1"}
	settle(rosterGrace)
	if !slices.Equal(r.addrs(), all) {
		t.Fatalf("the count was not begun anew: %v", r.addrs())
	}
	settle(1)
	if want := []string{"vip:1", "a:1", "c:1"}; !slices.Equal(r.addrs(), want) {
		t.Fatalf("%v, want %v", r.addrs(), want)
	}
}

func TestRosterOrder(t *testing.T) {
	r := newRoster([]string{"c:1", "a:1"})
	nodes := []NodeReport{{Addr: "a:1"}, {Addr: "c:1"}}
	r.order(nodes)
	if nodes[0].Addr != "c:1" {
		t.Fatalf("%v", nodes)
	}
}
