package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestScenarios plays each scenario: it is what it says, and ends as it says.
func TestScenarios(t *testing.T) {
	for _, sc := range Scenarios() {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			play(t, sc, StageOptions{})
		})
	}
}

// play sets a scenario up, breaks it, looks at it and mends it.
func play(t *testing.T, sc Scenario, o StageOptions) {
	ctx := testContext(t)
	s := SetupT(t, sc, o)
	if n, ok := s.Writable(ctx); !ok || n != s.Nodes()[0] {
		t.Fatalf("at the start %v takes writes (%t), want node 0", n, ok)
	}
	// As an application is told, it finds the primary, and the keys are where they
	// are said to be.
	client := redis.NewUniversalClient(s.ClientOptions())
	defer client.Close()
	must(t, client.Set(ctx, s.Key(0), "before", 0).Err())
	if key, ok := s.OtherKey(0); ok != (sc.Topology == TopologyCluster) {
		t.Errorf("there is another shard's key: %t", ok)
	} else if ok {
		must(t, client.Set(ctx, key, "before", 0).Err())
	}
	if got, err := s.Nodes()[0].Do(ctx, "GET", s.Key(0)); got != "before" {
		t.Fatalf("node 0 has %v, %v of a write by ClientOptions", got, err)
	}

	must(t, s.Break(ctx))
	must(t, s.Check(ctx))
	if !sc.Heals {
		if got := s.readable(ctx); got != sc.Reads {
			t.Errorf("some server answers a read: %t, the scenario says %t", got, sc.Reads)
		}
		if _, ok := s.Writable(ctx); ok && sc.Refusal != RefusalNone && s.Network == nil {
			t.Error("a primary takes writes before the end")
		}
	}
	must(t, s.Mend(ctx))
	n, err := s.WaitWritable(ctx)
	must(t, err)
	must(t, s.accepts(ctx, n.client))
	if got, err := n.Do(ctx, "GET", MissedKey); sc.Name == "S1-uneven" && got != "20" {
		t.Errorf("the new primary has %v, %v of what one replica missed, want 20", got, err)
	}
	if sc.writer != anyNode && n != s.Nodes()[sc.writer] {
		t.Errorf("%v takes writes, want node %d", n, sc.writer)
	}
	if !slices.Contains(s.Addrs(), n.Addr()) {
		t.Errorf("%v is not among %v", n, s.Addrs())
	}
}

// TestScenariosSecure plays one scenario of each kind with TLS, ACL users and
// passwords.
func TestScenariosSecure(t *testing.T) {
	for _, name := range []string{"S1", "S8", "S10-maxclients", "L5", "L6", "S6", "P1", "P2"} {
		t.Run(name, func(t *testing.T) {
			sc, ok := ScenarioNamed(name)
			if !ok {
				t.Fatal("no such scenario")
			}
			t.Parallel()
			play(t, sc, StageOptions{Secure: true})
		})
	}
}

// readable reports whether a server answers a read of a key.
func (s *Stage) readable(ctx context.Context) bool {
	for _, n := range s.Nodes() {
		if !n.Running() || s.Cluster != nil && !slices.Contains(s.Cluster.Shard(0), n) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		if s.Cluster != nil {
			if s.readsFrom(ctx, n) == nil {
				return true
			}
		} else if n.Client().Exists(ctx, s.Key(0)).Err() == nil {
			return true
		}
	}
	return false
}

// TestScenarioList: the scenarios that were measured are all there, by name.
func TestScenarioList(t *testing.T) {
	names := make(map[string]int)
	for _, sc := range Scenarios() {
		base, _, _ := strings.Cut(sc.Name, "-")
		names[base]++
		if again, ok := ScenarioNamed(sc.Name); !ok || again.Title != sc.Title {
			t.Errorf("the scenario named %s is %v, %t", sc.Name, again, ok)
		}
		if sc.Title == "" || sc.Topology == TopologyUnknown || sc.breaks == nil || sc.check == nil || (sc.mends == nil) != sc.Heals {
			t.Errorf("%s is not complete", sc.Name)
		}
		if want := sc.Name + ": " + sc.Title; sc.String() != want {
			t.Errorf("String() = %q, want %q", sc.String(), want)
		}
	}
	var want []string
	for i := 1; i <= 13; i++ {
		want = append(want, fmt.Sprint("S", i))
	}
	for i := 1; i <= 6; i++ {
		want = append(want, fmt.Sprint("L", i))
	}
	for _, name := range append(want, "SB", "WR", "P1", "P2") {
		if names[name] == 0 {
			t.Errorf("no scenario %s", name)
		}
	}
	if _, ok := ScenarioNamed("S0"); ok {
		t.Error("there is a scenario S0")
	}
	if _, err := (Scenario{}).Setup(testContext(t), StageOptions{}); err == nil {
		t.Error("no scenario can be set up")
	}
	if got := fmt.Sprint(TopologyUnknown, TopologySentinel, Topology(9), Topology(-1)); got != "unknown sentinel topology 9 topology -1" {
		t.Errorf("topologies are called %s", got)
	}
}

// TestStageTells: a stage that is not what it should be says so, by the
// scenario's name.
func TestStageTells(t *testing.T) {
	t.Parallel()
	sc, _ := ScenarioNamed("S1")
	s := SetupT(t, sc, StageOptions{})
	ctx, cancel := context.WithTimeout(testContext(t), lookTimeout)
	defer cancel()
	err := s.Check(ctx) // without Break
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "S1") || !strings.Contains(err.Error(), "no error") {
		t.Errorf("a scenario that has not begun: %v", err)
	}
	ended, end := context.WithCancel(testContext(t))
	end()
	if _, err := s.WaitWritable(ended); err == nil { // at the wrong node: S1 ends at node 1
		t.Error("the first primary passes for the last one")
	}
	if _, err := sc.Setup(ended, StageOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a start without time: %v", err)
	}
}
