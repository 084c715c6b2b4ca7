package topology

import "time"

// View is what the rest of the library sees of a shard: a snapshot that never changes. Whoever
// reads it shares Nodes with others and must not write to it.
type View struct {
	State State
	Cause Cause
	// Certain is meant for StateNoPrimary: all known nodes, and every master that any of them names,
	// answer, and none is a usable primary. The data are frozen then.
	Certain bool
	// Primary is the primary in use (when Live) or returning; otherwise the last one. Zero when none
	// was ever seen.
	Primary NodeID
	// Candidate is the one node from which an outage is seeded; zero when Healthy, and when no node
	// qualifies or no round has been made since the doubt arose.
	Candidate NodeID
	// ReadFrom is the address to read from; "" when no node answers.
	ReadFrom string
	// SeedFrom is the address to read base values of writes from: ReadFrom, unless that node is
	// known not to have followed the last primary, so that it lacks writes that others were told
	// are done. "" when no node qualifies.
	SeedFrom string
	// Live tells that writes may go to the network, to Primary.
	Live bool
	// Epoch is raised at each change of state, primary or candidate.
	Epoch uint64
	// Since is when the state was entered.
	Since time.Time
	// Nodes and Sentinels are the reports of the latest round, Shard what the Cluster said in it.
	Nodes     []NodeReport
	Sentinels []SentinelReport
	Shard     *ShardFacts
	// Lineage is the replication id of the last verified primary, "" before there was one; Ancestors
	// are older ids of the same data, and those that descend from it unverified. A fence that carries
	// Lineage lets a drain to a node of other data be found.
	Lineage   string
	Ancestors []string
	// Elsewhere is a primary that others write to and our writes can't reach: with CausePinned it is at
	// another address than ours, with CausePartitioned it does not answer us. Zero otherwise.
	Elsewhere NodeID
	// Overload is set for some seconds after the primary has refused for want of means. The state does
	// not heed it: by default the server's error is the application's.
	Overload   Overload
	overloadAt time.Time
	// AwaitsWrite tells that writes have hung on Primary: it is not used again, well as it may look,
	// before it has answered one. Whoever reads this tries a harmless one: see Monitor.WriteAnswered.
	AwaitsWrite bool
	// Automation tells whether Redis is going to end the outage by itself, and what keeps it.
	Automation Automation
	// Advice is what an operator can do; nil when nothing is wrong or nothing is known.
	Advice *Advice
	// ClockSkew is the server's clock minus ours: the primary's when it is in use or returning, else
	// the candidate's. 0 when unknown.
	ClockSkew time.Duration
	// Diagnosis says in a sentence what is wrong and what ends it; "" when nothing is.
	Diagnosis string
}

// View returns a snapshot of the machine.
func (m *Machine) View() *View {
	v := &View{
		State: m.state, Cause: m.cause, Certain: m.certain,
		Primary: m.primary, Candidate: m.candidate, ReadFrom: m.readFrom(),
		Live: m.state.Live(), Epoch: m.epoch, Since: m.since, Nodes: m.nodes,
		Diagnosis: m.diagnose(), Sentinels: m.sentinels, Shard: m.shard, Elsewhere: m.elsewhere,
		Lineage: m.last.ReplID, Ancestors: m.lineage.others(m.last.ReplID),
		AwaitsWrite: !m.hung.IsZero() && m.state == StateSuspect,
		Overload:    m.overload, overloadAt: m.overloadAt, Automation: m.automation(), Advice: m.advise(),
	}
	v.SeedFrom = m.seedFrom(v.ReadFrom)
	if n := find(m.nodes, m.clockNode()); n != nil {
		v.ClockSkew = n.Skew
	}
	return v
}

func (m *Machine) clockNode() NodeID {
	if m.state.Live() || m.state == StateReturning || m.candidate.IsZero() {
		return m.primary
	}
	return m.candidate
}

// seedFrom is where seeds are read, given where reads go. A replica that was left behind when
// another node was promoted still serves reads, of a time that is over: a counter that went on from
// there would give its values a second time.
func (m *Machine) seedFrom(addr string) string {
	if m.state.Live() {
		return addr
	}
	for i := range m.nodes {
		if n := &m.nodes[i]; n.Answered() && n.Addr == addr && !m.follows(n) {
			return ""
		}
	}
	return addr
}

// follows reports whether a node that answers has been with the last primary, if there ever was one.
func (m *Machine) follows(n *NodeReport) bool {
	return len(m.lineage.heads) == 0 || n.of(m.lineage.heads)
}

// readFrom prefers the primary in use, then the candidate. Between a signal and the round after it
// there is no candidate: a node that merely refused the write still serves reads, one that can't be
// reached does not, so another of the latest round is taken.
func (m *Machine) readFrom() string {
	if m.state.Live() {
		return m.primary.Addr
	}
	if !m.candidate.IsZero() {
		return m.candidate.Addr
	}
	if m.cause == CauseWriteRefused || m.cause == CauseMinReplicas {
		return m.primary.Addr
	}
	for i := range m.nodes {
		if n := &m.nodes[i]; n.Answered() && !n.Loading && !n.ID().same(m.primary) && n.of(m.lineage.heads) {
			return n.Addr
		}
	}
	if n := find(m.nodes, m.primary); n != nil && n.Answered() {
		return m.primary.Addr
	}
	return ""
}
