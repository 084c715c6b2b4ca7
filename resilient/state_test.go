package resilient

import (
	"testing"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// TestOverloadsMatch: the public kinds of overload are those of the topology.
func TestOverloadsMatch(t *testing.T) {
	t.Parallel()
	n := 0
	for o := topology.OverloadNone; o.String() != "invalid"; o++ {
		n++
		if got, ok := overloads[o]; !ok || got.String() != o.String() {
			t.Errorf("overload %s became %s", o, got)
		}
	}
	if n != len(overloadNames) {
		t.Errorf("%d public kinds of overload for %d", len(overloadNames), n)
	}
	if Overload(99).String() != "overload(99)" {
		t.Error("an overload that is none has no name")
	}
}

// TestAdviceOf: the commands are lines in their order.
func TestAdviceOf(t *testing.T) {
	t.Parallel()
	if adviceOf(nil) != nil || (*Advice)(nil).String() != "" {
		t.Error("no advice became one")
	}
	a := adviceOf(&topology.Advice{
		Sentence: "do it", Why: "because", Losses: 7, Candidate: topology.NodeID{Addr: "b:1"},
		Order: topology.Order{Where: "b:1", Command: []string{"REPLICAOF", "NO", "ONE"}},
		Then:  []topology.Order{{Where: "c:2", Command: []string{"REPLICAOF", "b", "1"}}},
	})
	if a.Candidate != "b:1" || a.Reason != "because" || a.LostBytes != 7 || a.String() != "do it" || len(a.Commands) != 2 ||
		a.Commands[0] != "redis-cli -h b -p 1 REPLICAOF NO ONE" || a.Commands[1] != "redis-cli -h c -p 2 REPLICAOF b 1" {
		t.Errorf("%+v", a)
	}
	if wait := adviceOf(&topology.Advice{Sentence: "wait"}); wait.Commands != nil || wait.Candidate != "" {
		t.Errorf("%+v", wait)
	}
}
