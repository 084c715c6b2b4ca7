package topology

import (
	"slices"
	"time"
)

// Defaults of Config.
const (
	// DefaultConfirmations is how many good rounds in a row a primary needs to be used again.
	DefaultConfirmations = 2
	// DefaultLostProbes is how many rounds in a row must miss the primary's answer.
	DefaultLostProbes = 2
	// DefaultAmbiguousLimit is how many ambiguous failures ask for a probe round.
	DefaultAmbiguousLimit = 3
	// DefaultFlapWindow is how soon a primary that is lost again counts as flapping.
	DefaultFlapWindow = 30 * time.Second
)

// Config holds the numbers of the machine, and what it can't learn from servers. The zero value means
// the defaults; so do counts below 1.
type Config struct {
	// Confirmations is how many good rounds in a row a returning primary needs. Default 2.
	Confirmations int
	// LostProbes is how many rounds in a row must miss the answer of a live primary. Default 2.
	LostProbes int
	// AmbiguousLimit is how many ambiguous failures without a good round between them ask for a
	// probe round, and then make one lost probe enough for Suspect. Default 3.
	AmbiguousLimit int
	// FlapWindow is how soon after its return a primary must be lost to count as flapping. Each such
	// loss doubles the rounds that its next return takes, up to 16 or Confirmations, and those beyond
	// Confirmations come at the interval's pace; a loss after a longer time ends that. Default 30 s,
	// of a [Monitor] 30 of its intervals; negative switches it off.
	FlapWindow time.Duration
	// Pinned are the addresses that writes can go to, of which one at least must lead to the primary:
	// those of a client that can't be told another. Empty means that any will do.
	Pinned []string
	// MasterName is the group's name at the Sentinels, for the commands that are recommended.
	MasterName string
}

func (c Config) withDefaults() Config {
	if c.Confirmations < 1 {
		c.Confirmations = DefaultConfirmations
	}
	if c.LostProbes < 1 {
		c.LostProbes = DefaultLostProbes
	}
	if c.AmbiguousLimit < 1 {
		c.AmbiguousLimit = DefaultAmbiguousLimit
	}
	if c.FlapWindow == 0 {
		c.FlapWindow = DefaultFlapWindow
	}
	return c
}

// Machine is everything that is known of one shard. It is a value: Step returns a new one and
// leaves the old one as it was. The zero value is StateUnknown with the default Config.
type Machine struct {
	cfg     Config
	state   State
	cause   Cause
	certain bool
	since   time.Time
	epoch   uint64

	primary   NodeID // in use or returning; otherwise the last one
	last      NodeID // the last verified one
	candidate NodeID // fixed while not Healthy, unless it stops answering
	lineage   lineage
	elsewhere NodeID // the primary that writes can't reach, with CausePinned and CausePartitioned

	// Of the latest round.
	nodes     []NodeReport
	sentinels []SentinelReport
	shard     *ShardFacts
	at        time.Time

	deposed    NodeID // the last primary, once most Sentinels have named another
	silence    silence
	flap       flap
	hung       NodeID // the primary that writes have hung on, until one is answered
	overload   Overload
	overloadAt time.Time

	good      int  // rounds in a row with the same usable primary, in Returning
	lost      int  // rounds in a row without an answer of the primary, while live
	ambiguous int  // ambiguous signals since the last good round, while live
	backlog   bool // the journal holds entries

	attempt uint64 // the number of the latest replay
	running bool   // it was started and has not ended
	parked  bool   // it has ended as StopParked
}

// NewMachine returns a machine in StateUnknown.
func NewMachine(cfg Config) Machine { return Machine{cfg: cfg.withDefaults()} }

// Step takes one event and returns the machine after it and what is to be done, in order. It is a
// pure function; it never panics and ignores what has no meaning in the present state, such as the
// events of a replay that was stopped.
func Step(m Machine, ev Event) (Machine, []Action) {
	if ev == nil {
		return m, nil
	}
	m.cfg = m.cfg.withDefaults()
	t := turn{m: m, before: m}
	switch ev := ev.(type) {
	case ProbeRound:
		t.round(ev)
	case Signal:
		t.signal(ev)
	case Backlog:
		t.m.backlog = ev.Pending
		if ev.Pending && t.m.state == StateHealthy {
			// A late deferred write: the primary is the verified one, so the live path stays open.
			t.to(StateReplaying, CauseNone, false)
			t.start()
		}
	case ReplayReady:
		t.replayReady(ev)
	case Drained:
		t.drained(ev)
	case ReplayStopped:
		t.replayStopped(ev)
	case RetryReplay:
		t.retryReplay()
	case WriteAnswered:
		if !t.m.hung.IsZero() && ev.RunID == t.m.hung.RunID {
			t.m.hung, t.probe = NodeID{}, true
		}
	}
	return t.finish(ev.when())
}

// turn is one Step under way.
type turn struct {
	m, before Machine
	actions   []Action
	probe     bool
}

// to moves to a state. Leaving the states in which a replay may run stops it.
func (t *turn) to(s State, c Cause, certain bool) {
	m := &t.m
	if s != StateReturning && s != StateReplaying {
		t.stop()
		m.parked = false
	}
	if s != StateReturning {
		m.good = 0
	}
	if !s.Live() && s != StateReturning {
		m.primary = m.last
	}
	if !s.Live() {
		m.lost, m.ambiguous = 0, 0
	}
	m.state, m.cause, m.certain = s, c, certain
}

// suspect closes the live path and has the doubt looked into.
func (t *turn) suspect(c Cause) {
	t.to(StateSuspect, c, false)
	t.probe = true
}

func (t *turn) start() {
	t.m.attempt++
	t.m.running, t.m.parked = true, false
	t.actions = append(t.actions, StartReplay{Attempt: t.m.attempt, Primary: t.m.primary})
}

func (t *turn) stop() {
	if t.m.running {
		t.m.running = false
		t.actions = append(t.actions, StopReplay{Attempt: t.m.attempt})
	}
}

// round judges a probe round.
func (t *turn) round(ev ProbeRound) {
	m := &t.m
	before, last := m.nodes, m.at
	m.nodes, m.sentinels, m.shard, m.at = ev.Nodes, ev.Sentinels, ev.Cluster, ev.At
	m.lineage = m.lineage.learn(ev.Nodes)
	m.relieve(ev.At)
	m.depose()
	m.listen(before, ev.At, last)
	v := m.judge()
	m.elsewhere = v.elsewhere
	switch v.kind {
	case verdictUsable:
		t.usable(v.primary)
	case verdictStrained:
		m.overloaded(v.primaryLost.strained(), ev.At)
		m.lost = 0
	case verdictUnknown, verdictNone, verdictSilent, verdictContested:
		t.unusable(v)
	}
	t.chooseCandidate()
}

// usable is a round with exactly one primary that could take writes.
func (t *turn) usable(n *NodeReport) {
	m := &t.m
	id := n.ID()
	if !m.hung.IsZero() && id.same(m.hung) {
		t.holdHung()
		return
	}
	m.hung = NodeID{}
	// The replication id is part of it: one run_id with another replid went through a time as a
	// replica (or lost its backlog) between two rounds, so its data may be others.
	same := id.same(m.primary) && (id.ReplID == m.primary.ReplID)
	m.lost, m.ambiguous = 0, 0
	switch {
	case m.state == StateUnknown:
		m.good = m.needed()
		t.to(StateReturning, CauseNone, false)
	case m.state.Live() && same:
		m.accept(id, n)
		return
	case m.state == StateReturning && same:
		m.good++
	default:
		if m.state.Live() {
			m.lose()
		}
		t.stop()
		m.parked = false
		m.good = 1
		t.to(StateReturning, CauseNone, false)
	}
	m.primary = id
	t.confirm(n)
}

// holdHung keeps a primary away from writes that looks well and has let writes hang: CLIENT PAUSE
// WRITE and a stuck disk leave no trace in what a server tells. Only an answered write does.
func (t *turn) holdHung() {
	m := &t.m
	if m.state != StateSuspect || m.cause != CauseHung {
		t.to(StateSuspect, CauseHung, false)
	}
}

// confirm ends Returning, or begins the replay that will, once the primary has been seen often
// enough.
func (t *turn) confirm(n *NodeReport) {
	m := &t.m
	switch {
	case m.good < m.needed():
		t.probe = m.good < m.cfg.Confirmations
	case m.running || m.parked:
	case m.backlog:
		m.accept(n.ID(), n)
		t.start()
	default:
		m.accept(n.ID(), n)
		t.to(StateHealthy, CauseNone, false)
	}
}

// accept makes a node the verified primary.
func (m *Machine) accept(id NodeID, n *NodeReport) {
	m.primary, m.last = id, id
	m.lineage = m.lineage.accept(n)
}

// unusable is a round without a usable primary, or with too many masters.
func (t *turn) unusable(v verdict) {
	m := &t.m
	if m.state.Live() && v.primaryLost != OutcomeAnswered {
		m.lost++
		if m.lost < m.cfg.LostProbes {
			// A lost probe is not an outage; a second witness makes it a suspicion.
			if v.primaryLost == OutcomeRefused || m.ambiguous >= m.cfg.AmbiguousLimit {
				t.suspect(v.primaryLost.cause())
			}
			t.probe = true
			return
		}
	}
	m.lose()
	switch v.kind {
	case verdictContested:
		// Asked again at once, but only on entry: a held state goes on at the driver's interval.
		t.probe = m.state != StateSuspect
		t.to(StateSuspect, v.cause, false)
	case verdictSilent:
		t.to(StateUnreachable, v.cause, false)
	case verdictNone:
		t.to(StateNoPrimary, v.cause, v.certain)
	case verdictUsable, verdictStrained, verdictUnknown:
	}
}

// signal is what the write path has seen.
func (t *turn) signal(ev Signal) {
	m := &t.m
	if ev.Addr != "" && m.primary.Addr != "" && ev.Addr != m.primary.Addr {
		// A straggler from a connection to another node: no reason to doubt this one.
		t.probe = m.state.Live()
		return
	}
	cause, certain := ev.Kind.cause()
	switch {
	case ev.Kind == SignalOverload:
		m.overloaded(ev.Overload, ev.At)
	case m.state == StateUnknown:
		t.probe = ev.Kind != SignalUnknown
	case !m.state.Live() && m.state != StateReturning:
		// Nothing is sent there; rounds are under way.
	case certain:
		if ev.Kind == SignalHung && m.state.Live() {
			m.hung = m.primary
		}
		t.suspect(cause)
	case ev.Kind == SignalAmbiguous && m.state.Live():
		// Counted, no proof: the rounds decide, and one lost probe is then enough for Suspect.
		if m.ambiguous < m.cfg.AmbiguousLimit {
			m.ambiguous++
			t.probe = m.ambiguous == m.cfg.AmbiguousLimit
		}
	}
}

func (t *turn) replayReady(ev ReplayReady) {
	m := &t.m
	if !m.running || ev.Attempt != m.attempt {
		return
	}
	if ev.RunID != m.primary.RunID {
		// The server behind the address has changed since the round that verified it.
		t.suspect(CauseAmbiguous)
		return
	}
	if m.state == StateReturning {
		t.to(StateReplaying, CauseNone, false)
	}
}

func (t *turn) drained(ev Drained) {
	m := &t.m
	if !m.running || ev.Attempt != m.attempt {
		return
	}
	m.running, m.backlog = false, false
	t.to(StateHealthy, CauseNone, false)
	t.chooseCandidate()
}

func (t *turn) replayStopped(ev ReplayStopped) {
	m := &t.m
	if !m.running || ev.Attempt != m.attempt {
		return
	}
	m.running = false
	switch ev.Reason {
	case StopNotPrimary:
		t.suspect(CauseWriteRefused)
	case StopParked:
		m.parked, m.cause = true, CauseReplayParked
	case StopUnknown, StopBroken:
		t.suspect(CauseAmbiguous)
	default:
		t.suspect(CauseAmbiguous)
	}
}

func (t *turn) retryReplay() {
	if !t.m.parked {
		return
	}
	t.m.cause = CauseNone
	t.start()
}

// finish orders the actions and raises the epoch where state, primary or candidate have changed.
func (t *turn) finish(at time.Time) (Machine, []Action) {
	m, was := &t.m, &t.before
	if m.cause != CausePinned && m.cause != CausePartitioned {
		m.elsewhere = NodeID{}
	}
	moved := m.state != was.state
	if moved {
		m.since = at
		m.settle(was.state, at)
	}
	// A primary that gained a new replid was made to return, so identities are compared wholly.
	if moved || m.primary != was.primary || m.candidate != was.candidate {
		m.epoch++
	}
	var out []Action
	if m.epoch != was.epoch || m.cause != was.cause || m.certain != was.certain || m.elsewhere != was.elsewhere {
		out = append(out, Announce{Change{
			At: at, From: was.state, To: m.state, Cause: m.cause, Certain: m.certain,
			Primary: m.primary, Candidate: m.candidate, Epoch: m.epoch, Diagnosis: m.diagnose(),
			Elsewhere: m.elsewhere, Automation: m.automation(), Advice: m.advise(),
		}})
	}
	out = append(out, t.actions...)
	if t.probe {
		out = append(out, ProbeNow{})
	}
	return t.m, slices.Clip(out)
}
