package resilient_test

import (
	"slices"
	"testing"
)

// What Holdfast has to believe before a scenario is mended, or, of one that heals, at
// some time. Of a server that refuses for want of means it has to believe nothing.
var scenarioWant = map[string]belief{
	"S1":             {"no-primary", "all-replicas", true},
	wrappedName:      {"no-primary", "all-replicas", true}, // and pinned, later
	"S1-cold":        {"no-primary", "all-replicas", true},
	"S1-uneven":      {"no-primary", "all-replicas", false}, // one names a primary that nobody is
	"S3":             {"no-primary", "primary-down", false},
	"S3-restart":     {"no-primary", "primary-down", false},
	"S5":             {"no-primary", "hung", false},
	"S7":             {"no-primary", "min-replicas", false},
	"S9":             {"no-primary", "primary-down", false},
	"S12":            {"no-primary", "all-replicas", true},
	"SB":             {"suspect", "split-brain", false},
	"WR":             {"suspect", "writable-replica", false},
	"S8":             {"no-primary", "loading", true},
	"S10-misconf":    {"healthy", "none", false},
	"S10-oom":        {"healthy", "none", false},
	"S10-maxclients": {"healthy", "none", false},
	"S10-busy":       {"healthy", "none", false},
	"S13":            {"suspect", "hung", false},
	"S2":             {"no-primary", "all-replicas", true},
	"S4":             {"no-primary", "quorum-lost", false},
	"S4-all":         {"no-primary", "quorum-lost", false},
	"S11":            {"no-primary", "primary-down", false},
	"S11-planned":    {"suspect", "split-brain", false}, // the old primary is demoted later
	"L1":             {"no-primary", "all-replicas", true},
	"L2":             {"no-primary", "all-replicas", true},
	"L3":             {"no-primary", "primary-down", false},
	"L4":             {"no-primary", "primary-down", false},
	"L5":             {"no-primary", "all-replicas", true},
	"L6":             {"no-primary", "primary-down", false},
	"S6":             {"no-primary", "slots-uncovered", false},
	"S6-coverage":    {"no-primary", "slots-uncovered", false},
	"S6-whole":       {"unreachable", "slots-uncovered", false},
	"S11-cluster":    {"no-primary", "primary-down", false},
	"P1":             {"no-primary", "partitioned", false},
	"P1-refused":     {"no-primary", "partitioned", false},
	"P2":             {"no-primary", "primary-down", false},
	"P2-cycle":       {"no-primary", "all-replicas", true},
}

// losesUnderLoad are scenarios that lose nothing by themselves, but do beside a load.
var losesUnderLoad = map[string]string{
	"S8": "what is written between the last snapshot and the restart is not in the snapshot",
}

// gap is what is not so yet. A fault of its kind does not fail the test; that there
// is none does.
type gap struct {
	kind  string // of a fault
	why   string
	today belief // what is believed instead, where it is that
}

var notYet = map[string][]gap{}

// judgeScenario compares what has become of a scenario with what has to.
func judgeScenario(t *testing.T, r *scenarioResult) {
	if h := r.holdfast; h != nil {
		if h.lostDeferred+h.doubled+h.misordered+h.refusedMade+h.wrong > 0 {
			r.fault("promise", "deferred writes lost: %d, writes doubled: %d, out of order: %d, made although refused: %d, reads that miss a deferred write: %d",
				h.lostDeferred, h.doubled, h.misordered, h.refusedMade, h.wrong)
		}
		if h.lostLive > 0 && !r.sc.Loses && losesUnderLoad[r.sc.Name] == "" {
			r.fault("loss", "%d writes that Redis had acknowledged are lost, and the scenario does not say why", h.lostLive)
		}
		if want := scenarioWant[r.sc.Name]; want.state == "healthy" {
			if len(r.path) > 0 {
				r.fault("cause", "believed %v, want no change", r.path)
			}
		} else if r.reached != want && !(r.sc.Heals && r.reached.alike(want)) {
			r.fault("cause", "believed %v (%v), want %v", r.reached, r.path, want)
		}
		if h.othersFailed > 0 && r.sc.Name != "S6-coverage" {
			r.fault("shard", "%d of %d writes of other shards failed", h.othersFailed, h.others)
		}
	}
	met := make(map[string]bool)
	for _, f := range r.faults {
		if slices.ContainsFunc(notYet[r.sc.Name], func(g gap) bool { return g.kind == f.kind }) {
			met[f.kind] = true
			t.Logf("not yet: %s: %s", f.kind, f.text)
			continue
		}
		t.Errorf("%s: %s", f.kind, f.text)
	}
	for _, g := range notYet[r.sc.Name] {
		if !met[g.kind] {
			t.Errorf("%s passes: take it out of notYet (%s)", g.kind, g.why)
		}
	}
}

// TestScenarioTables: every scenario has an expectation, and notYet no other ones.
func TestScenarioTables(t *testing.T) {
	var names []string
	for _, sc := range scenarios() {
		names = append(names, sc.Name)
		if want, ok := scenarioWant[sc.Name]; !ok || want.state == "" || want.cause == "" {
			t.Errorf("nothing is expected of %v", sc)
		}
	}
	for name := range scenarioWant {
		if !slices.Contains(names, name) {
			t.Errorf("there is no scenario %s", name)
		}
	}
	for name, gaps := range notYet {
		for _, g := range gaps {
			if !slices.Contains(names, name) || g.kind == "" || g.why == "" {
				t.Errorf("notYet has %s: %+v", name, g)
			}
		}
	}
	for _, name := range scenarioSelection {
		if !slices.Contains(names, name) {
			t.Errorf("there is no scenario %s to select", name)
		}
	}
}
