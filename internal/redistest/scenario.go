package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Topology is how servers are arranged and how clients find them.
type Topology int

// The topologies. The zero value is none.
const (
	TopologyUnknown    Topology = iota
	TopologyStandalone          // a primary with two replicas; clients know addresses
	TopologySentinel            // the same under three Sentinels, which clients ask
	TopologyCluster             // three shards of a primary and a replica
)

var topologyNames = [...]string{"unknown", "standalone", "sentinel", "cluster"}

// String is the name in lower case.
func (t Topology) String() string {
	if t < 0 || int(t) >= len(topologyNames) {
		return fmt.Sprintf("topology %d", int(t))
	}
	return topologyNames[t]
}

// What a write meets at the server that took writes before, apart from the
// beginning of an error's text.
const (
	RefusalNone   = ""       // it is accepted
	RefusalHang   = "hang"   // there is no answer
	RefusalClosed = "closed" // the connection ends without an answer: EOF, reset, broken pipe
)

// Scenario is one way for Redis to have no primary, or to seem so. Its Stage has
// the verbs. It is a value; the scenarios that exist are those of Scenarios.
type Scenario struct {
	// Name is short and unique: S1 to S13 are the scenarios, L1 to L6 the ways to a
	// lasting lack of a primary under Sentinels; others have names of their own. A
	// variant has a word behind it: S10-oom.
	Name string

	// Title says what happens, in a few words.
	Title string

	// Topology is what it happens to.
	Topology Topology

	// Refusal is a part of the error of a write that is tried once, at the server
	// that was the primary, after Break; or RefusalNone, RefusalHang, RefusalClosed.
	Refusal string

	// Reads says whether any server answers reads of the keys that are concerned.
	Reads bool

	// Heals says that it ends without Mend, after a few seconds.
	Heals bool

	// Loses says that the servers by themselves lose writes that they had
	// acknowledged before Break, or between Break and Mend.
	Loses bool

	writer int // number of the node that takes writes in the end, or anyNode
	build  func(ctx context.Context, s *Stage, o StageOptions) error
	breaks func(ctx context.Context, s *Stage) error
	check  func(ctx context.Context, s *Stage) error // one look
	mends  func(ctx context.Context, s *Stage) error // nil if there is nothing to do
}

const anyNode = -1

// Scenarios returns all scenarios, in the order in which a table lists them.
func Scenarios() []Scenario {
	return slices.Concat(
		replicationScenarios(),
		roleScenarios(),
		loadScenarios(),
		sentinelScenarios(),
		lastingScenarios(),
		clusterScenarios(),
		networkScenarios(),
	)
}

// ScenarioNamed returns the scenario with the name.
func ScenarioNamed(name string) (Scenario, bool) {
	all := Scenarios()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return all[i], true
}

// String is the name and the title.
func (s Scenario) String() string { return s.Name + ": " + s.Title }

// Setup starts the servers of the scenario, which all are well when it returns.
// ctx bounds the start only. The zero value of a Scenario can't be set up.
func (s Scenario) Setup(ctx context.Context, o StageOptions) (*Stage, error) {
	if s.build == nil {
		return nil, errors.New("redistest: not one of the scenarios: take it from Scenarios")
	}
	stage := &Stage{Scenario: s}
	stage.life, stage.end = context.WithCancel(context.Background())
	err := stage.setup(ctx, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("redistest: scenario %s: %w", s.Name, err), stage.Close())
	}
	return stage, nil
}
