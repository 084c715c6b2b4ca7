package topology

import "time"

const (
	// heardMargin is what times of replicas, told in whole seconds and a little before the round was
	// stepped, may be wrong by.
	heardMargin = 2 * time.Second
	// heardFresh is for how long it counts that somebody heard the primary: longer than the 10 s
	// between two pings of a primary that nobody writes to.
	heardFresh = 15 * time.Second
)

// silence is what is known of a primary that has stopped answering us. A primary that hangs or is
// gone falls silent for everybody; one that others still hear is only out of our sight.
type silence struct {
	since time.Time // the first of the rounds in a row without its answer
	heard time.Time // when somebody else heard it last, as far as is known
}

// listen looks for those who hear a primary that we don't. before are the reports of the round
// before this one.
func (m *Machine) listen(before []NodeReport, at, last time.Time) {
	lost := m.lostPrimary()
	if lost == nil || lost.Outcome.strained() != OverloadNone || lost.Outcome == OutcomeDenied {
		m.silence = silence{}
		return
	}
	if m.silence.since.IsZero() {
		m.silence.since = at
		return
	}
	for i := range m.nodes {
		n := &m.nodes[i]
		if !n.Answered() || n.Role != RoleReplica || !n.LinkUp || !m.follower(n, lost) {
			continue
		}
		if n.LastIO >= 0 {
			m.hear(at.Add(-n.LastIO-heardMargin), at)
		}
		// The first silent round is left out: its primary may have been well until its end.
		if o := findAddr(before, n.Addr); last.After(m.silence.since) && o != nil && o.Answered() &&
			o.ID() == n.ID() && o.Offset < n.Offset {
			m.hear(at, at)
		}
	}
	for _, r := range m.voters() {
		// One that was started since, and never heard it, counts from its start and has no run id.
		if r.Primary == lost.Addr && r.PrimaryRunID != "" && r.LastPing >= 0 && !r.SDown {
			m.hear(at.Add(-r.LastPing-heardMargin), at)
		}
	}
}

// follower reports whether a replica's master is the lost one, by whatever address it knows it.
func (m *Machine) follower(n, lost *NodeReport) bool {
	if n.Master == lost.Addr {
		return true
	}
	named := findAddr(m.nodes, n.Master)
	return named == nil || !named.Answered()
}

func (m *Machine) hear(heard, now time.Time) {
	if heard.After(m.silence.since) && heard.After(m.silence.heard) && !heard.After(now) {
		m.silence.heard = heard
	}
}

// heard reports whether others hear the primary at present.
func (m *Machine) heard(at time.Time) bool {
	return !m.silence.heard.IsZero() && at.Sub(m.silence.heard) <= heardFresh
}

// doubted reports whether it is too early to tell if others hear a primary that does not answer us: a
// replica says that its link is up, which it says for a minute after its primary's machine has vanished.
func (m *Machine) doubted() bool {
	lost := m.lostPrimary()
	if lost == nil || m.at.Sub(m.silence.since) >= heardFresh {
		return false
	}
	for i := range m.nodes {
		n := &m.nodes[i]
		if n.Answered() && n.Role == RoleReplica && n.LinkUp && m.follower(n, lost) {
			return true
		}
	}
	return false
}
