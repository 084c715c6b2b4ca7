package topology

import (
	"slices"
	"time"
)

// SentinelReport is what one probe of one Sentinel brought. It is immutable once handed over.
//
// Sentinels tell who the primary is, not whether it works: they name a promoted node 1 to 3 s after
// it took its role, and a demoted one for up to a minute.
type SentinelReport struct {
	// Addr is the address that was probed; Seed tells addresses given by the user from discovered ones.
	Addr string
	Seed bool
	// Outcome is how the probe ended; the fields below are set for OutcomeAnswered only.
	Outcome Outcome
	// Err is the failure of a probe that was not answered, or why the Sentinel tells nothing of the
	// group: it knows no group of that name, or our user may not ask.
	Err error

	// ID is the Sentinel's own id (SENTINEL MYID); "" when unknown.
	ID string
	// Watches tells that it knows the group; the fields below are set only then.
	Watches bool
	// Primary is the address that it hands out as the primary's.
	Primary string
	// PrimaryRunID is the run_id that goes with Primary; "" while the Sentinel has not asked it yet.
	PrimaryRunID string
	// SDown: the Sentinel itself finds the primary down, for DownFor. ODown: a quorum does.
	SDown, ODown bool
	DownFor      time.Duration
	// DownAfter is how long the primary may be silent before SDown.
	DownAfter time.Duration
	// LastPing is how long ago the primary answered this Sentinel; -1 when unknown.
	LastPing time.Duration
	// Failing: a failover is under way, which this Sentinel leads.
	Failing bool
	// Others is how many other Sentinels it knows, running or not; Quorum how many must find the
	// primary down.
	Others, Quorum int
	// NoQuorum is what CKQUORUM says against a failover; "" when nothing.
	NoQuorum string
	// Replicas are those that it knows of.
	Replicas []SentinelReplica
	// Sentinels are the addresses of the others.
	Sentinels []string
}

// SentinelReplica is what a Sentinel knows of one replica.
type SentinelReplica struct {
	Addr, RunID string
	// Down: it does not answer the Sentinel.
	Down bool
	// Priority is its replica-priority, Offset its replication offset when it was last asked.
	Priority int
	Offset   int64
	// LinkDownFor is how long its link to the primary has been down; 0 when it is up.
	LinkDownFor time.Duration
	// Asked is how long ago it answered INFO, Pinged how long ago PING.
	Asked, Pinged time.Duration
}

// Limits of Sentinel when it looks for a replica to promote, as of Redis 6.2 to 8: PING within five
// of its periods; INFO within five PING periods when the primary is down, else three INFO periods; a
// link that was not down for ten times DownAfter longer than the primary has been.
const (
	sentinelPing     = time.Second
	sentinelInfo     = 10 * time.Second
	sentinelLinkDown = 10
)

// answered reports whether the Sentinel told something of the group.
func (r *SentinelReport) answered() bool { return r.Outcome == OutcomeAnswered && r.Watches }

// choice is the replica that this Sentinel would promote: of those that it accepts the one with the
// lowest priority, then the highest offset, then the lowest run_id. nil means that it refuses with
// NOGOODSLAVE.
func (r *SentinelReport) choice() *SentinelReplica {
	var best *SentinelReplica
	for i := range r.Replicas {
		c := &r.Replicas[i]
		if r.rejects(c) == "" && (best == nil || better(c, best)) {
			best = c
		}
	}
	return best
}

func better(a, b *SentinelReplica) bool {
	switch {
	case a.Priority != b.Priority:
		return a.Priority < b.Priority
	case a.Offset != b.Offset:
		return a.Offset > b.Offset
	}
	return a.RunID < b.RunID
}

// rejects says why the Sentinel would not promote a replica; "" when it would.
func (r *SentinelReport) rejects(c *SentinelReplica) string {
	asked := 3 * sentinelInfo
	if r.SDown {
		asked = 5 * sentinelPing
	}
	switch {
	case c.Down, c.Pinged > 5*sentinelPing:
		return "does not answer the Sentinel"
	case c.Priority == 0:
		return "has replica-priority 0"
	case c.Asked > asked:
		return "was not asked lately"
	case c.LinkDownFor > r.DownFor+sentinelLinkDown*r.DownAfter:
		return "had lost its link to the primary too long before"
	}
	return ""
}

// word is what those who decide who the primary is say in the latest round: most Sentinels, or the
// masters of a Cluster.
type word struct {
	asked    bool   // there are such, and one at least was asked
	majority bool   // more than half of them answered
	addr     string // the address that more than half name; "" when there is none
	runID    string // the run_id that goes with it; "" when unknown
	voters   int    // how many there are
	votes    int    // how many name addr
	heard    int    // how many answered
}

// names reports whether the word is for the server n, which may answer at several addresses.
func (m *Machine) names(w word, n *NodeReport) bool {
	if w.addr == "" {
		return false
	}
	if w.runID != "" && n.RunID != "" {
		return w.runID == n.RunID
	}
	named := findAddr(m.nodes, w.addr)
	return w.addr == n.Addr || named != nil && named.Answered() && named.ID().same(n.ID())
}

// word returns what was said in the latest round.
func (m *Machine) word() word {
	if m.shard != nil {
		return m.shard.word()
	}
	w := word{asked: len(m.sentinels) > 0}
	type ballot struct{ addr, runID string }
	tally := map[ballot]int{}
	for _, r := range m.voters() {
		w.voters = max(w.voters, r.Others+1)
		w.heard++
		if r.Primary == "" {
			continue
		}
		b := ballot{addr: r.Primary, runID: r.PrimaryRunID}
		// What the node itself says of its identity is newer, and one server has several addresses.
		if n := findAddr(m.nodes, r.Primary); n != nil && n.Answered() && n.RunID != "" {
			b.runID = n.RunID
		}
		if b.runID != "" {
			b.addr = m.oneAddr(b.runID, b.addr)
		}
		tally[b]++
	}
	w.voters = max(w.voters, len(distinctSentinels(m.sentinels)))
	w.majority = 2*w.heard > w.voters
	for b, votes := range tally {
		if 2*votes > w.voters {
			w.addr, w.runID, w.votes = b.addr, b.runID, votes
		}
	}
	return w
}

// oneAddr is one address of a server for all that name it, so that their votes count together.
func (m *Machine) oneAddr(runID, addr string) string {
	for i := range m.nodes {
		if n := &m.nodes[i]; n.Answered() && n.RunID == runID {
			return n.Addr
		}
	}
	return addr
}

// voters are the Sentinels that told something of the group, each once.
func (m *Machine) voters() []*SentinelReport {
	return slices.DeleteFunc(distinctSentinels(m.sentinels), func(r *SentinelReport) bool { return !r.answered() })
}

// distinctSentinels lists each Sentinel once, though it answer at several addresses.
func distinctSentinels(reports []SentinelReport) []*SentinelReport {
	var out []*SentinelReport
	for i := range reports {
		r := &reports[i]
		if r.ID == "" || !slices.ContainsFunc(out, func(o *SentinelReport) bool { return o.ID == r.ID }) {
			out = append(out, r)
		}
	}
	return out
}

// Automation tells whether Redis is going to end an outage by itself. The zero value,
// AutomationNone, means that nobody is there who would.
type Automation uint8

// The kinds of automation.
const (
	AutomationNone Automation = iota
	// AutomationReady: the Sentinels, or the Cluster, could replace the primary.
	AutomationReady
	// AutomationRunning: they are doing it.
	AutomationRunning
	// AutomationQuorumLost: too few of them answer.
	AutomationQuorumLost
	// AutomationUnable: there are enough, but no replica that they would promote.
	AutomationUnable
)

var automationNames = [...]string{
	AutomationNone: "none", AutomationReady: "ready", AutomationRunning: "running",
	AutomationQuorumLost: "quorum-lost", AutomationUnable: "unable",
}

// String returns the stable lower-case name of the automation.
func (a Automation) String() string { return nameOf(automationNames[:], a) }

// automation looks at what the Sentinels, or the Cluster, could do.
func (m *Machine) automation() Automation {
	if m.shard != nil {
		return m.shard.automation(m)
	}
	if len(m.sentinels) == 0 {
		return AutomationNone
	}
	w, able, willing := m.word(), 0, false
	for _, r := range m.voters() {
		if r.Failing {
			return AutomationRunning
		}
		if r.NoQuorum == "" {
			able++
		}
		willing = willing || r.choice() != nil
	}
	switch {
	case !w.majority, able == 0:
		return AutomationQuorumLost
	case !willing:
		return AutomationUnable
	}
	return AutomationReady
}
