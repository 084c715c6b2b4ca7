package topology

import "testing"

// The names are part of metrics and events: a new constant goes to the end of its list.
func TestNames(t *testing.T) {
	check := func(kind string, names []string, last int, str func(i int) string) {
		if len(names) != last+1 {
			t.Errorf("%s: %d names for %d values", kind, len(names), last+1)
		}
		seen := map[string]bool{}
		for i, name := range names {
			if name == "" || seen[name] || str(i) != name {
				t.Errorf("%s %d is called %q", kind, i, str(i))
			}
			seen[name] = true
		}
		if got := str(len(names)); got != "invalid" {
			t.Errorf("%s %d is called %q", kind, len(names), got)
		}
	}
	check("state", stateNames[:], int(StateReplaying), func(i int) string { return State(i).String() })
	check("cause", causeNames[:], int(CauseUnnamed), func(i int) string { return Cause(i).String() })
	check("role", roleNames[:], int(RoleReplica), func(i int) string { return Role(i).String() })
	check("outcome", outcomeNames[:], int(OutcomeFull), func(i int) string { return Outcome(i).String() })
	check("signal", signalNames[:], int(SignalOverload), func(i int) string { return SignalKind(i).String() })
	check("overload", overloadNames[:], int(OverloadClients), func(i int) string { return Overload(i).String() })
	check("automation", automationNames[:], int(AutomationUnable), func(i int) string { return Automation(i).String() })
	check("stop reason", stopNames[:], int(StopParked), func(i int) string { return StopReason(i).String() })
}

func TestCertainSignals(t *testing.T) {
	for kind, want := range map[SignalKind]Cause{
		SignalNotWritable: CauseWriteRefused, SignalLoading: CauseLoading, SignalMinReplicas: CauseMinReplicas,
		SignalDialRefused: CausePrimaryDown, SignalHung: CauseHung, SignalUncovered: CauseSlotsUncovered, SignalOverload: CauseNone, SignalAmbiguous: CauseNone, SignalUnknown: CauseNone,
		SignalKind(99): CauseNone,
	} {
		if got, certain := kind.cause(); got != want || certain != (want != CauseNone) {
			t.Errorf("%s: %s, %t", kind, got, certain)
		}
	}
}

func TestLineageIsBounded(t *testing.T) {
	var l lineage
	n := NodeReport{Outcome: OutcomeAnswered}
	for i := range 10 * lineageLimit {
		n.ReplID2, n.ReplID = n.ReplID, string(rune('A'+i))
		l = l.accept(&n)
	}
	if len(l.family) != lineageLimit || l.heads[0] != n.ReplID || l.family[lineageLimit-1] != n.ReplID2 {
		t.Errorf("%d ids, newest %q", len(l.family), l.family[len(l.family)-1])
	}
	before := l
	for i := range 10 * lineageLimit {
		head := l.heads[len(l.heads)-1]
		l = l.learn([]NodeReport{{Outcome: OutcomeAnswered, ReplID: string(rune('a' + i)), ReplID2: head}})
	}
	if len(l.heads) != lineageLimit {
		t.Errorf("%d heads", len(l.heads))
	}
	if len(before.heads) != 1 {
		t.Error("an older machine was changed")
	}
}
