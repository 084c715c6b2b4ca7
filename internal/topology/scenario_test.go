package topology

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios runs the stories in testdata/scenarios. -rewrite writes down what happens now: read
// the difference before committing it.
//
// A world of nodes stands between the rounds; each command prints what Step wants done, and below
// "=" where the shard stands. Every event comes one second after the one before.
//
//	world                 the nodes, one a line (replaces all), see parseNode
//	round                 changes nodes (same lines), then probes all of them
//	sentinels             the Sentinels, one a line (replaces all), see parseSentinel
//	shard                 what the Cluster says of the shard: one line, see parseShard
//	wait D                time passes without an event
//	signal KIND [addr=A] [of=OVERLOAD]  the write path has seen something
//	backlog on|off · ready [run=R] [attempt=N] · drained · stopped REASON · retry
//	view                  everything that is published
//	advice                what an operator is told to do
//	config [confirmations=N] [lost-probes=N] [ambiguous-limit=N] [flap-window=D] [pinned=A]   begins anew
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := newScenario()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
	})
}

type scenario struct {
	m     Machine
	clock time.Time
	world []NodeReport

	sentinels []sentinelLine
	shard     *ShardFacts
}

func newScenario() *scenario {
	return &scenario{m: NewMachine(Config{MasterName: "mymaster"}), clock: time.Date(2024, 5, 6, 7, 0, 0, 0, time.UTC)}
}

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "config":
		c := Config{MasterName: "mymaster"}
		var window, pinned string
		d.MaybeScanArgs(t, "flap-window", &window)
		d.MaybeScanArgs(t, "pinned", &pinned)
		if window != "" {
			c.FlapWindow = duration(t, window)
		}
		if pinned != "" {
			c.Pinned = []string{pinned}
		}
		d.MaybeScanArgs(t, "confirmations", &c.Confirmations)
		d.MaybeScanArgs(t, "lost-probes", &c.LostProbes)
		d.MaybeScanArgs(t, "ambiguous-limit", &c.AmbiguousLimit)
		s.m = NewMachine(c)
		return s.position()
	case "world":
		s.world = nil
		s.change(t, d.Input)
		return fmt.Sprintf("%d nodes", len(s.world))
	case "round":
		s.change(t, d.Input)
		return s.step(ProbeRound{At: s.clock, Nodes: s.reports(), Sentinels: s.sentinelReports(), Cluster: s.shard})
	case "sentinels":
		s.parseSentinels(t, d.Input)
		return fmt.Sprintf("%d Sentinels", len(s.sentinels))
	case "shard":
		s.shard = parseShard(t, d.Input)
		return s.position()
	case "wait":
		s.clock = s.clock.Add(duration(t, d.CmdArgs[0].Key))
		return s.position()
	case "advice":
		return s.advice()
	case "view":
		return s.view()
	}
	return s.step(s.event(t, d))
}

// reports is what probes of the world bring: a node that does not answer tells nothing of itself.
func (s *scenario) reports() []NodeReport {
	out := append([]NodeReport(nil), s.world...)
	for i, n := range out {
		if !n.Answered() {
			out[i] = NodeReport{Addr: n.Addr, Seed: n.Seed, Outcome: n.Outcome}
		}
	}
	return out
}

func (s *scenario) event(t *testing.T, d *datadriven.TestData) Event {
	attempt := s.m.attempt
	d.MaybeScanArgs(t, "attempt", &attempt)
	arg := ""
	if len(d.CmdArgs) > 0 {
		arg = d.CmdArgs[0].Key
	}
	switch d.Cmd {
	case "signal":
		var addr string
		d.MaybeScanArgs(t, "addr", &addr)
		overload := "none"
		d.MaybeScanArgs(t, "of", &overload)
		return Signal{
			At: s.clock, Kind: SignalKind(index(t, signalNames[:], arg)), Addr: addr,
			Overload: Overload(index(t, overloadNames[:], overload)),
		}
	case "backlog":
		return Backlog{At: s.clock, Pending: arg == "on"}
	case "ready":
		run := s.m.primary.RunID
		d.MaybeScanArgs(t, "run", &run)
		return ReplayReady{At: s.clock, Attempt: attempt, RunID: run}
	case "drained":
		return Drained{At: s.clock, Attempt: attempt}
	case "stopped":
		return ReplayStopped{At: s.clock, Attempt: attempt, Reason: StopReason(index(t, stopNames[:], arg))}
	case "retry":
		return RetryReplay{At: s.clock}
	case "answered":
		run := s.m.primary.RunID
		d.MaybeScanArgs(t, "run", &run)
		return WriteAnswered{At: s.clock, RunID: run}
	}
	t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return nil
}

func (s *scenario) step(ev Event) string {
	var actions []Action
	s.m, actions = Step(s.m, ev)
	s.clock = s.clock.Add(time.Second)
	var b strings.Builder
	for _, a := range actions {
		fmt.Fprintln(&b, a)
	}
	return b.String() + s.position()
}

func (s *scenario) position() string {
	v := s.m.View()
	return fmt.Sprintf("= %s live=%t read=%s", v.State, v.Live, orNone(v.ReadFrom))
}

func (s *scenario) view() string {
	v := s.m.View()
	var b strings.Builder
	fmt.Fprintf(&b, "state=%s cause=%s certain=%t live=%t epoch=%d since=%s\n",
		v.State, v.Cause, v.Certain, v.Live, v.Epoch, v.Since.Format(time.TimeOnly))
	fmt.Fprintf(&b, "primary=%s run=%s replid=%s candidate=%s read=%s skew=%s\n",
		orNone(v.Primary.Addr), orNone(v.Primary.RunID), orNone(v.Primary.ReplID), orNone(v.Candidate.Addr), orNone(v.ReadFrom), v.ClockSkew)
	if v.Elsewhere.Addr != "" || v.Automation != AutomationNone || v.Overload != OverloadNone {
		fmt.Fprintf(&b, "elsewhere=%s automation=%s overload=%s\n", orNone(v.Elsewhere.Addr), v.Automation, v.Overload)
	}
	fmt.Fprintf(&b, "diagnosis: %s\n", orNone(v.Diagnosis))
	return b.String()
}

// change applies lines such as "b:6379 replica of=a:6379 run=B replid=X offset=100" to the world. A
// line replaces what the node was, except that what it leaves out of run, replid and offset stays.
func (s *scenario) change(t *testing.T, input string) {
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] == "#" {
			continue
		}
		n := findAddr(s.world, words[0])
		if n == nil {
			s.world = append(s.world, NodeReport{Addr: words[0], Seed: true})
			n = &s.world[len(s.world)-1]
		}
		*n = parseNode(t, *n, words[1:])
	}
}

func parseNode(t *testing.T, old NodeReport, words []string) NodeReport {
	n := NodeReport{
		Addr: old.Addr, Seed: old.Seed, Outcome: OutcomeAnswered, Priority: defaultPriority,
		RunID: old.RunID, ReplID: old.ReplID, ReplID2: old.ReplID2, Offset: old.Offset, LastIO: -time.Second,
	}
	switch words[0] {
	case "master":
		n.Role = RoleMaster
	case "replica":
		n.Role, n.LinkUp = RoleReplica, true
	default:
		n.Outcome = Outcome(index(t, outcomeNames[:], words[0]))
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "of":
			n.Master = value
		case "run":
			n.RunID = value
		case "replid":
			n.ReplID = value
		case "replid2":
			n.ReplID2 = value
		case "offset":
			n.Offset = int64(atoi(t, value))
		case "priority":
			n.Priority = atoi(t, value)
		case "good":
			n.GoodReplicas = atoi(t, value)
		case "min":
			n.MinReplicas = atoi(t, value)
		case "skew":
			n.Skew, n.SkewKnown = time.Duration(atoi(t, value))*time.Millisecond, true
		case "loading":
			n.Loading = true
		case "writable":
			n.Writable = true
		case "discovered":
			n.Seed = false
		case "linkdown":
			n.LinkUp = false
		case "lastio":
			n.LastIO = duration(t, value)
		case "clusterdown":
			n.ClusterDown = true
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return n
}
