package topology

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// worlds are the answers that the exploration knows; each is one kind of round.
func worlds() map[string][]NodeReport {
	node := func(addr, run, replid, replid2 string) NodeReport {
		return NodeReport{Addr: addr, Seed: true, Outcome: OutcomeAnswered, RunID: run, ReplID: replid, ReplID2: replid2, Offset: 10, Priority: 100}
	}
	master := func(addr, run, replid, replid2 string) NodeReport {
		n := node(addr, run, replid, replid2)
		n.Role = RoleMaster
		return n
	}
	replica := func(addr, run, of string) NodeReport {
		n := node(addr, run, "X", "")
		n.Role, n.Master = RoleReplica, of
		return n
	}
	lost := func(addr string, o Outcome) NodeReport { return NodeReport{Addr: addr, Seed: true, Outcome: o} }
	loading := master("a:1", "A2", "N", "")
	loading.Loading = true
	few := master("a:1", "A", "X", "")
	few.MinReplicas = 1
	writable := replica("b:1", "B", "a:1")
	writable.Writable = true
	b := replica("b:1", "B", "a:1")
	fresh := b
	fresh.LinkUp = true
	return map[string][]NodeReport{
		"good":      {master("a:1", "A", "X", ""), b},
		"cycle":     {replica("a:1", "A", "b:1"), b},
		"refused":   {lost("a:1", OutcomeRefused), b},
		"hung":      {lost("a:1", OutcomeHung), b},
		"silent":    {lost("a:1", OutcomeTimeout), lost("b:1", OutcomeTimeout)},
		"promoted":  {replica("a:1", "A", "b:1"), master("b:1", "B", "Y", "X")},
		"two":       {master("a:1", "A", "X", ""), master("b:1", "B", "Y", "X")},
		"restarted": {master("a:1", "A2", "N", ""), b},
		"loading":   {loading, b},
		"few":       {few, b},
		"foreign":   {lost("a:1", OutcomeRefused), master("b:1", "F", "F", "")},
		"writable":  {replica("a:1", "A", "b:1"), writable},
		"empty":     nil,
		"strained":  {lost("a:1", OutcomeBusy), b},
		"heard":     {lost("a:1", OutcomeTimeout), fresh},
	}
}

// exploration is a kind of shard whose machines are explored.
type exploration struct {
	cfg    Config
	worlds []string // of those without Sentinels; nil for all
	rounds map[string]ProbeRound
}

// named3 are three Sentinels that name some address each; "" for one that does not answer.
func named3(addrs ...string) []SentinelReport {
	var out []SentinelReport
	for i, addr := range addrs {
		id := fmt.Sprintf("s%d:1", i)
		r := SentinelReport{Addr: id, ID: id, Outcome: OutcomeTimeout, LastPing: -1}
		if addr != "" {
			r = SentinelReport{Addr: id, ID: id, Outcome: OutcomeAnswered, Watches: true, Primary: addr, Others: 2, Quorum: 2, LastPing: -1}
		}
		out = append(out, r)
	}
	return out
}

func explorations() map[string]exploration {
	all := worlds()
	sentinels := map[string][]SentinelReport{
		"a": named3("a:1", "a:1", "a:1"), "b": named3("b:1", "b:1", "a:1"),
		"apart": named3("a:1", "b:1", ""), "lost": named3("", "", "b:1"),
	}
	with := map[string]ProbeRound{}
	for _, world := range []string{"good", "refused", "promoted", "two"} {
		for who, reports := range sentinels {
			with[world+", named "+who] = ProbeRound{Nodes: all[world], Sentinels: reports}
		}
	}
	shard := map[string]ProbeRound{}
	for name, f := range map[string]ShardFacts{
		"a": {ID: "1", Owner: "a:1", Voters: 3, Heard: 3, Votes: 3}, "b": {ID: "1", Owner: "b:1", Voters: 3, Heard: 3, Votes: 2},
		"failed": {ID: "1", Owner: "a:1", Voters: 3, Heard: 2, Votes: 2, Failed: true}, "minority": {ID: "1", Owner: "a:1", Voters: 3, Heard: 1, Votes: 1},
	} {
		for _, world := range []string{"good", "refused", "hung", "promoted", "two", "silent"} {
			shard[world+", owner "+name] = ProbeRound{Nodes: all[world], Cluster: &f}
		}
	}
	return map[string]exploration{
		"alone": {cfg: Config{AmbiguousLimit: 2, FlapWindow: -1}, worlds: slices.DeleteFunc(
			slices.Collect(maps.Keys(all)), func(name string) bool { return name == "heard" || name == "strained" })},
		"silence":  {cfg: Config{AmbiguousLimit: 1}, worlds: []string{"good", "refused", "hung", "silent", "strained", "heard", "cycle"}},
		"pinned":   {cfg: Config{AmbiguousLimit: 1, Pinned: []string{"a:1"}}, worlds: []string{"good", "cycle", "refused", "promoted", "two", "silent", "strained"}},
		"sentinel": {cfg: Config{AmbiguousLimit: 1, FlapWindow: -1}, worlds: []string{"good", "silent"}, rounds: with},
		"cluster":  {cfg: Config{AmbiguousLimit: 1, FlapWindow: -1}, worlds: []string{"good"}, rounds: shard},
	}
}

// all are the rounds of an exploration.
func (x exploration) all() map[string]ProbeRound {
	out := maps.Clone(x.rounds)
	if out == nil {
		out = map[string]ProbeRound{}
	}
	for name, nodes := range worlds() {
		if x.worlds == nil || slices.Contains(x.worlds, name) {
			out[name] = ProbeRound{Nodes: nodes}
		}
	}
	return out
}

// events are all events in the given state of a machine.
func events(m Machine, rounds map[string]ProbeRound) map[string]Event {
	at := time.Unix(1000, 0)
	if !m.at.IsZero() {
		at = m.at
	}
	out := map[string]Event{
		"nil": nil, "backlog": Backlog{At: at, Pending: true}, "no-backlog": Backlog{At: at},
		"ready":       ReplayReady{At: at, Attempt: m.attempt, RunID: m.primary.RunID},
		"ready-other": ReplayReady{At: at, Attempt: m.attempt, RunID: "?"},
		"drained":     Drained{At: at, Attempt: m.attempt},
		"late-drain":  Drained{At: at, Attempt: m.attempt + 7},
		"late-ready":  ReplayReady{At: at, Attempt: m.attempt + 7, RunID: m.primary.RunID},
		"retry":       RetryReplay{At: at},
		"answered":    WriteAnswered{At: at, RunID: m.hung.RunID}, "answered-other": WriteAnswered{At: at, RunID: "?"},
	}
	for name, round := range rounds {
		round.At = at
		if name == "heard" {
			round.At = at.Add(5 * time.Second)
		}
		out["round "+name] = round
	}
	for kind := range SignalKind(len(signalNames) + 1) {
		out["signal "+kind.String()] = Signal{At: at, Kind: kind, Addr: m.primary.Addr, Overload: OverloadMemory}
	}
	out["far signal"] = Signal{At: at, Kind: SignalNotWritable, Addr: "far:1"}
	for _, reason := range []StopReason{StopNotPrimary, StopBroken, StopParked} {
		out["stopped "+reason.String()] = ReplayStopped{At: at, Attempt: m.attempt, Reason: reason}
	}
	return out
}

// TestEveryStateAndEvent walks through all machines that can be reached, breadth first, gives each
// of them every event, and checks what must always hold.
func TestEveryStateAndEvent(t *testing.T) {
	for name, x := range explorations() {
		t.Run(name, func(t *testing.T) { explore(t, x) })
	}
}

func explore(t *testing.T, x exploration) {
	const limit = 20000 // all are reached well before; more means that something counts without end
	seen := map[fingerprint]bool{}
	queue := []Machine{NewMachine(x.cfg)}
	stepped := map[State]int{}
	rounds := x.all()
	var names []string
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		evs := events(m, rounds)
		if names == nil {
			names = slices.Sorted(maps.Keys(evs)) // the same ones each time
		}
		for _, name := range names {
			next, actions := Step(m, evs[name])
			stepped[m.state]++
			if err := checkStep(m, next, evs[name], actions); err != nil {
				t.Fatalf("%s\nevent %q\nbefore %+v\nafter %+v\nactions %v", err, name, m, next, actions)
			}
			if len(seen)%8 == 0 { // a part will do: comparing is slow
				again, sameActions := Step(m, evs[name])
				if !reflect.DeepEqual(next, again) || !reflect.DeepEqual(actions, sameActions) {
					t.Fatalf("event %q gives two results from one machine: not pure\n%+v\n%+v", name, next, again)
				}
			}
			if key := fingerprintOf(next); !seen[key] {
				seen[key] = true
				queue = append(queue, next)
			}
		}
		if len(seen) > limit {
			t.Fatalf("more than %d machines can be reached", limit)
		}
	}
	for s := range State(len(stateNames)) {
		if stepped[s] == 0 {
			t.Errorf("state %s was never reached", s)
		}
	}
	t.Logf("%d machines", len(seen))
}

// fingerprint is all of a machine but what only counts or is only told, and the latest round: what
// mattered of that is in the rest.
type fingerprint struct {
	state                    State
	cause                    Cause
	certain                  bool
	primary, last, candidate NodeID
	heads, family            string
	good, lost, ambiguous    int
	backlog, running, parked bool
	deposed, elsewhere, hung NodeID
	flaps                    int
	out, returned            bool
	quiet, heard             bool
}

func fingerprintOf(m Machine) fingerprint {
	return fingerprint{
		state: m.state, cause: m.cause, certain: m.certain,
		primary: m.primary, last: m.last, candidate: m.candidate,
		heads: sorted(m.lineage.heads), family: sorted(m.lineage.family),
		deposed: m.deposed, elsewhere: m.elsewhere, hung: m.hung,
		flaps: m.flap.times, out: m.flap.out, returned: !m.flap.returned.IsZero(),
		quiet: !m.silence.since.IsZero(), heard: m.heard(m.at),
		good: min(m.good, m.needed()), lost: m.lost, ambiguous: m.ambiguous,
		backlog: m.backlog, running: m.running, parked: m.parked,
	}
}

func sorted(ids []string) string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func checkStep(m, next Machine, ev Event, actions []Action) error {
	v := next.View()
	moved := next.state != m.state || next.primary != m.primary || next.candidate != m.candidate
	switch {
	case int(next.state) >= len(stateNames) || int(next.cause) >= len(causeNames):
		return fmt.Errorf("no such state or cause")
	case v.Live != (next.state == StateHealthy || next.state == StateReplaying):
		return fmt.Errorf("live in the wrong state")
	case v.Live && (v.Primary.IsZero() || v.Primary != next.last || v.ReadFrom != v.Primary.Addr):
		return fmt.Errorf("live without a verified primary")
	case next.epoch < m.epoch || moved != (next.epoch == m.epoch+1) || !moved && next.epoch != m.epoch:
		return fmt.Errorf("epoch is not raised by one at each change")
	case next.running && next.state != StateReturning && next.state != StateReplaying:
		return fmt.Errorf("a replay runs in the wrong state")
	case next.running && next.primary != next.last:
		return fmt.Errorf("a replay runs to a node that was not verified")
	case !next.hung.IsZero() && (v.Live || next.running) && next.hung.same(next.primary):
		return fmt.Errorf("live, or replayed to, where writes hang")
	case v.AwaitsWrite && (next.hung.IsZero() || !next.hung.same(next.last)):
		return fmt.Errorf("awaits an answer of another than the last primary")
	case next.parked && next.running:
		return fmt.Errorf("parked and running")
	case next.state == StateHealthy && (next.backlog || next.candidate != NodeID{}):
		return fmt.Errorf("healthy with a backlog or a candidate")
	case next.state == StateReplaying && !next.running && !next.parked:
		return fmt.Errorf("replaying without a replay")
	case next.certain && next.state != StateNoPrimary:
		return fmt.Errorf("certain in a state without meaning for it")
	case (next.state == StateSuspect || next.state == StateNoPrimary || next.state == StateUnreachable) && v.Diagnosis == "":
		return fmt.Errorf("an outage without a diagnosis")
	}
	if err := checkEntry(m, next, ev); err != nil {
		return err
	}
	if err := checkNaming(next, ev); err != nil {
		return err
	}
	return checkActions(m, next, actions)
}

// checkNaming checks that nothing is written to a node that is not the primary by the word of those who
// decide, or that can't be reached, or beside another master.
func checkNaming(next Machine, ev Event) error {
	round, ok := ev.(ProbeRound)
	if !ok || !next.state.Live() {
		return nil
	}
	n := find(round.Nodes, next.primary)
	if n == nil || !n.Answered() {
		return nil // a first lost probe
	}
	w, masters := next.word(), 0
	for i := range round.Nodes {
		if o := &round.Nodes[i]; o.Answered() && o.Role == RoleMaster {
			masters++
		}
	}
	switch {
	case w.majority && w.addr != "" && !next.names(w, n):
		return fmt.Errorf("live on %s, and the word is for %s", n.Addr, w.addr)
	case masters > 1 && !(w.majority && next.names(w, n)):
		return fmt.Errorf("live on one of two masters")
	case len(next.cfg.Pinned) > 0 && !slices.Contains(next.cfg.Pinned, next.primary.Addr):
		return fmt.Errorf("live at an address that can't be written to")
	}
	return nil
}

// checkEntry checks how the live path opens and closes.
func checkEntry(m, next Machine, ev Event) error {
	live, was := next.state.Live(), m.state.Live()
	switch ev := ev.(type) {
	case ProbeRound:
		if live && !was && m.state != StateUnknown && m.state != StateReturning {
			return fmt.Errorf("one round opened the live path")
		}
		if live && !was && next.backlog {
			return fmt.Errorf("a round opened the live path before the fence was read")
		}
	case Signal:
		if live && !was {
			return fmt.Errorf("a signal opened the live path")
		}
		if _, certain := ev.Kind.cause(); certain && live && ev.Addr == m.primary.Addr {
			return fmt.Errorf("live after a certain signal")
		}
	case ReplayReady, Drained:
		if live && !was && !m.running {
			return fmt.Errorf("an event of no replay opened the live path")
		}
	default:
		if live && !was {
			return fmt.Errorf("event opened the live path")
		}
	}
	return nil
}

func checkActions(m, next Machine, actions []Action) error {
	announced, running := 0, m.running
	for i, a := range actions {
		switch a := a.(type) {
		case Announce:
			announced++
			if c := a.Change; i != 0 || c.From != m.state || c.To != next.state || c.Epoch != next.epoch || c.Cause != next.cause {
				return fmt.Errorf("announcement does not come first or is wrong: %s", c)
			}
		case StopReplay:
			if !running || a.Attempt != m.attempt {
				return fmt.Errorf("stops a replay that does not run")
			}
			running = false
		case StartReplay:
			if running || a.Attempt != m.attempt+1 || a.Primary != next.primary {
				return fmt.Errorf("starts a replay while one runs, or a wrong one")
			}
			running = true
		}
	}
	changed := next.epoch != m.epoch || next.cause != m.cause || next.certain != m.certain || next.elsewhere != m.elsewhere
	if changed != (announced == 1) || announced > 1 {
		return fmt.Errorf("%d announcements, changed %t", announced, changed)
	}
	return nil
}
