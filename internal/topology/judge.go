package topology

import "slices"

// verdictKind is what a round says about the primary.
type verdictKind uint8

const (
	verdictUnknown   verdictKind = iota
	verdictUsable                // exactly one primary that can take writes
	verdictNone                  // nodes answer, none is a usable primary
	verdictSilent                // no node answers
	verdictContested             // a contradiction that only time or an operator solves
	verdictStrained              // the primary in use answers that it is too busy to answer
)

// verdict is the judgement of one round.
type verdict struct {
	kind    verdictKind
	primary *NodeReport // of verdictUsable
	cause   Cause
	certain bool
	// primaryLost is how the probe of the present primary ended, when all that speaks against it is
	// that it did not answer; OutcomeAnswered where there is more, which needs no second look.
	primaryLost Outcome
	elsewhere   NodeID // of CausePinned and CausePartitioned: the primary that others use
}

// judge looks at the latest round with what is known of the last primary.
func (m *Machine) judge() verdict {
	masters := m.members(distinct(m.nodes, m.primary.Addr, func(n *NodeReport) bool { return n.Role == RoleMaster }))
	switch len(masters) {
	case 0:
		return m.judgeNone()
	case 1:
		return m.judgeOne(masters[0])
	}
	if n := m.settled(masters); n != nil {
		return m.judgeOne(n)
	}
	return verdict{kind: verdictContested, cause: CauseSplitBrain, primaryLost: OutcomeAnswered}
}

// settled returns the one of several masters that Sentinels or Cluster have settled on: the others are
// about to be made its replicas. It is none that has a successor among the masters, as the word is
// older than the roles.
func (m *Machine) settled(masters []*NodeReport) *NodeReport {
	w := m.word()
	if !w.majority {
		return nil
	}
	var chosen *NodeReport
	for _, n := range masters {
		if m.names(w, n) {
			chosen = n
		}
	}
	for _, n := range masters {
		if chosen == nil || n != chosen && n.ReplID2 != "" && n.ReplID2 == chosen.ReplID {
			return nil
		}
	}
	return chosen
}

// depose remembers that a majority has named another than the last primary, until one names it again.
func (m *Machine) depose() {
	w := m.word()
	if !w.majority || w.addr == "" || m.last.IsZero() {
		return
	}
	m.deposed = NodeID{}
	if n := find(m.nodes, m.last); n == nil || !n.Answered() {
		if w.addr != m.last.Addr && w.runID != m.last.RunID {
			m.deposed = m.last
		}
	} else if !m.names(w, n) {
		m.deposed = m.last
	}
}

// entitled reports whether Sentinels or Cluster let a master be the primary. Without a majority of
// them its lineage alone counts, unless they had named another when they were last heard. Where they disagree, as in the middle of a failover, the primary in
// use stays and no other is taken.
func (m *Machine) entitled(n *NodeReport) bool {
	w := m.word()
	switch {
	case !w.majority:
		return m.deposed.IsZero() || !n.ID().same(m.deposed)
	case w.addr == "":
		return m.state.Live() && n.ID().same(m.primary)
	}
	return m.names(w, n)
}

// reach returns the report of a usable primary by an address that writes can go to.
func (m *Machine) reach(n *NodeReport) *NodeReport {
	if len(m.cfg.Pinned) == 0 || slices.Contains(m.cfg.Pinned, n.Addr) {
		return n
	}
	for i := range m.nodes {
		o := &m.nodes[i]
		if o.Answered() && o.Role == RoleMaster && o.ID().same(n.ID()) && slices.Contains(m.cfg.Pinned, o.Addr) {
			return o
		}
	}
	return nil
}

// members leaves out strangers: discovered addresses (never seeds) that meanwhile belong to a
// master of another dataset, as happens when addresses are reused. It does so only beside our own,
// unchanged primary; without it a stranger is a question for the operator.
func (m *Machine) members(masters []*NodeReport) []*NodeReport {
	ours := false
	for _, n := range masters {
		ours = ours || n.RunID != "" && n.RunID == m.last.RunID && n.of(m.lineage.heads)
	}
	if len(masters) < 2 || !ours {
		return masters
	}
	var kept []*NodeReport
	for _, n := range masters {
		if n.Seed || n.Addr == m.last.Addr || n.of(m.lineage.heads) || n.of(m.lineage.family) {
			kept = append(kept, n)
		}
	}
	return kept
}

func (m *Machine) judgeOne(n *NodeReport) verdict {
	v := verdict{kind: verdictNone, certain: m.complete(), primaryLost: OutcomeAnswered}
	switch {
	case !m.entitled(n):
		v.kind, v.cause, v.certain = verdictContested, CauseUnnamed, false
	case !m.kin(n):
		v.kind, v.cause, v.certain = verdictContested, CauseForeignPrimary, false
	case n.Loading:
		v.cause = CauseLoading
	case !n.enoughReplicas():
		v.cause = CauseMinReplicas
	case n.ClusterDown:
		v.cause = CauseSlotsUncovered
	case m.reach(n) == nil:
		v.cause, v.elsewhere, v.certain = CausePinned, n.ID(), false
	default:
		v.kind, v.primary, v.certain = verdictUsable, m.reach(n), false
	}
	return v
}

// kin reports whether the only master may take over: see the package comment on lineage.
func (m *Machine) kin(n *NodeReport) bool {
	switch {
	case m.last.IsZero():
		return true // nothing known that could contradict
	case m.succeeded(n):
		return m.complete()
	case n.of(m.lineage.heads), n.ID().same(m.last), n.Addr == m.last.Addr:
		return true
	}
	if w := m.word(); w.majority && m.names(w, n) {
		return true // those who decide have decided
	}
	if n.of(m.lineage.family) {
		return m.complete()
	}
	return m.followed(n)
}

// succeeded reports whether a server that was restarted has a successor: another one that answers
// has gone on from its data, with a primary of which nothing else may be known.
func (m *Machine) succeeded(n *NodeReport) bool {
	if n.ID().same(m.last) {
		return false
	}
	for i := range m.nodes {
		o := &m.nodes[i]
		if o.Answered() && o.ReplID2 != "" && o.ReplID2 == n.ReplID && slices.Contains(m.lineage.heads, o.ReplID) {
			return true
		}
	}
	return false
}

// followed reports whether more than half of the known addresses have the
// master's own data: then it is the primary of this group, although its lineage
// is not known to us, as after two failovers between two rounds.
func (m *Machine) followed(n *NodeReport) bool {
	agree := 0
	for i := range m.nodes {
		if o := &m.nodes[i]; o.Answered() && n.ReplID != "" && o.ReplID == n.ReplID {
			agree++
		}
	}
	return agree > 1 && 2*agree > len(m.nodes)
}

func (m *Machine) judgeNone() verdict {
	v := verdict{kind: verdictNone, certain: m.complete(), primaryLost: OutcomeAnswered}
	answered, writable := 0, false
	for i := range m.nodes {
		if m.nodes[i].Answered() {
			answered++
			writable = writable || m.nodes[i].Writable
		}
	}
	lost := m.lostPrimary()
	switch {
	case lost != nil:
		v.primaryLost, v.cause = lost.Outcome, lost.Outcome.cause()
		if m.state.Live() && lost.Outcome.strained() != OverloadNone {
			v.kind, v.certain = verdictStrained, false
			return v
		}
	case answered == 0:
		v.primaryLost, v.cause = OutcomeUnknown, CauseNoAnswer
	default:
		v.cause = CauseAllReplicas
	}
	switch {
	case answered == 0:
		v.kind, v.certain = verdictSilent, false
		if v.cause == CausePrimaryDown && lost.Outcome != OutcomeRefused {
			// With nobody answering the fault may well be ours: only a refusal is the server's word.
			v.cause = CauseNoAnswer
		}
	case writable:
		v.kind, v.cause, v.certain = verdictContested, CauseWritableReplica, false
		return v
	}
	m.refine(&v)
	return v
}

// refine looks whether others know more of a primary that does not answer us.
func (m *Machine) refine(v *verdict) {
	if m.heard(m.at) && !m.last.IsZero() {
		v.cause, v.certain, v.elsewhere = CausePartitioned, false, m.last
		return
	}
	switch v.cause {
	case CausePrimaryDown, CauseHung, CauseNoAnswer:
		if m.shard != nil && m.shard.Failed {
			v.cause = CauseSlotsUncovered
			return
		}
	case CauseAllReplicas:
		if m.shard != nil {
			v.cause = CauseSlotsUncovered // a Cluster's servers can't be told to follow each other
		}
		return
	default:
		return
	}
	if v.cause == CausePrimaryDown && m.automation() == AutomationQuorumLost {
		v.cause = CauseQuorumLost
	}
}

// lostPrimary returns the report of the node that should be the primary and does not answer: the
// last primary, or, when none was ever seen, a master that a replica names (and with no answers at
// all, the first node). nil when that node answers.
func (m *Machine) lostPrimary() *NodeReport {
	if !m.last.IsZero() {
		n := find(m.nodes, m.last)
		if n == nil {
			return &NodeReport{Addr: m.last.Addr} // not probed: as good as not answered
		}
		if n.Answered() {
			return nil
		}
		return n
	}
	answered := false
	for i := range m.nodes {
		n := &m.nodes[i]
		if !n.Answered() {
			continue
		}
		answered = true
		if named := findAddr(m.nodes, n.Master); named != nil && !named.Answered() {
			return named
		}
	}
	if !answered && len(m.nodes) > 0 {
		return &m.nodes[0]
	}
	return nil
}

// complete reports whether nothing is hidden: every known node answers, the last primary's address
// is among them, and so is every master that any of them names.
func (m *Machine) complete() bool {
	for i := range m.nodes {
		n := &m.nodes[i]
		if !n.Answered() {
			return false
		}
		if n.Role == RoleReplica && n.Master != "" {
			if named := findAddr(m.nodes, n.Master); named == nil || !named.Answered() {
				return false
			}
		}
	}
	if m.last.IsZero() {
		return len(m.nodes) > 0
	}
	n := find(m.nodes, m.last)
	return n != nil && n.Answered()
}
