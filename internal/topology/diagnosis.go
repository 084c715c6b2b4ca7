package topology

import (
	"fmt"
	"strings"
)

// diagnose says in a sentence what is wrong and what an operator can do; "" when nothing is.
func (m *Machine) diagnose() string {
	switch m.state {
	case StateHealthy, StateReplaying:
		return join(m.parkedText(), m.writableText())
	case StateUnknown:
		return ""
	case StateReturning:
		return join(fmt.Sprintf("%s is a usable primary again and is being verified", m.primary.Addr), m.parkedText())
	case StateUnreachable:
		return m.unreachableText()
	case StateSuspect, StateNoPrimary:
		return m.outageText()
	}
	return ""
}

func (m *Machine) outageText() string {
	return join(m.faultText(), m.sentinelText(), m.adviceText())
}

// faultText says what is wrong.
func (m *Machine) faultText() string {
	switch m.cause {
	case CauseAllReplicas:
		return m.allReplicasText()
	case CausePrimaryDown, CauseQuorumLost:
		return fmt.Sprintf("the primary %s does not answer%s", m.lostName(), m.lostWhy())
	case CauseHung:
		if n := find(m.nodes, m.hung); !m.hung.IsZero() && n != nil && n.Answered() {
			return fmt.Sprintf("the primary %s answers probes and lets writes wait, as under CLIENT PAUSE or with a disk that is stuck; "+
				"it is used again once it has answered a write", n.Addr)
		}
		return fmt.Sprintf("the primary %s accepts connections and does not reply", m.lostName())
	case CauseLoading:
		return "the primary is loading its dataset"
	case CauseMinReplicas:
		return m.minReplicasText()
	case CauseSplitBrain:
		return m.splitBrainText()
	case CauseWritableReplica:
		return join("there is no primary", m.writableText())
	case CauseForeignPrimary:
		return m.foreignText()
	case CauseUnnamed:
		return m.unnamedText()
	case CausePartitioned:
		return m.partitionText()
	case CausePinned:
		return fmt.Sprintf("%s is a usable primary, and this client can write to %s only", m.elsewhere.Addr, strings.Join(m.cfg.Pinned, ", "))
	case CauseSlotsUncovered:
		return m.uncoveredText()
	case CauseDenied:
		return "the primary does not let our user ask ROLE or INFO; grant both"
	case CauseWriteRefused:
		return fmt.Sprintf("%s refused a write as it is not a primary; all nodes are being asked", m.primary.Addr)
	case CauseAmbiguous:
		return fmt.Sprintf("connections to %s fail; all nodes are being asked", m.primary.Addr)
	case CauseNone, CauseNoAnswer, CauseReplayParked:
		return "no usable primary is known"
	}
	return ""
}

func (m *Machine) adviceText() string {
	if a := m.advise(); a != nil {
		return a.Sentence
	}
	return ""
}

// sentinelText says what keeps the Sentinels from ending the outage.
func (m *Machine) sentinelText() string {
	if len(m.sentinels) == 0 {
		return ""
	}
	w := m.word()
	switch m.automation() {
	case AutomationRunning:
		return "the Sentinels are replacing it"
	case AutomationQuorumLost:
		return fmt.Sprintf("%d of %d Sentinels answer, or say that they have no quorum, so they will not replace it", w.heard, w.voters)
	case AutomationUnable:
		return "the Sentinels find no replica that they would promote (NOGOODSLAVE)" + m.rejections()
	case AutomationNone, AutomationReady:
	}
	return ""
}

// rejections lists why the first Sentinel that answers would promote none.
func (m *Machine) rejections() string {
	voters := m.voters()
	if len(voters) == 0 {
		return ""
	}
	var why []string
	for i := range voters[0].Replicas {
		c := &voters[0].Replicas[i]
		if text := voters[0].rejects(c); text != "" {
			why = append(why, c.Addr+" "+text)
		}
	}
	if len(why) == 0 {
		return ": they know of none"
	}
	return ": " + strings.Join(why, ", ")
}

func (m *Machine) unnamedText() string {
	masters := distinct(m.nodes, "", func(n *NodeReport) bool { return n.Role == RoleMaster })
	w := m.word()
	who, named := "Sentinels", w.addr
	if m.shard != nil {
		who = "masters of the Cluster"
	}
	if named == "" {
		return fmt.Sprintf("%s is the only master, and the %s do not agree on the primary yet", addrs(masters), who)
	}
	return fmt.Sprintf("%s is the only master, and %d of %d %s name %s: they would undo what is written there", addrs(masters), w.votes, w.voters, who, named)
}

func (m *Machine) partitionText() string {
	return fmt.Sprintf("the primary %s does not answer us%s, and others hear it: they go on writing", m.last.Addr, m.lostWhy())
}

func (m *Machine) uncoveredText() string {
	if n := m.lostPrimary(); n != nil && m.shard != nil && m.shard.Failed {
		return fmt.Sprintf("the Cluster has marked %s as failed, and nobody serves its %s", n.Addr, m.shard.slotsText())
	}
	for i := range m.nodes {
		if n := &m.nodes[i]; n.Answered() && n.Role == RoleMaster && n.ClusterDown {
			return fmt.Sprintf("%s finds the Cluster down, as slots elsewhere are not served or it sees too few masters, and refuses writes", n.Addr)
		}
	}
	return "nobody serves the slots of this shard"
}

func (m *Machine) allReplicasText() string {
	replicas := distinct(m.nodes, "", func(n *NodeReport) bool { return n.Role == RoleReplica })
	var b strings.Builder
	if len(replicas) == 1 {
		b.WriteString("the server that answers is a replica, and there is no primary")
	} else {
		fmt.Fprintf(&b, "all %d servers that answer are replicas, and none is a primary", len(replicas))
	}
	if ring := m.cycle(); len(ring) > 0 {
		fmt.Fprintf(&b, ", as they replicate from each other (%s)", strings.Join(ring, " <- "))
	}
	if silent := m.silent(); silent > 0 {
		fmt.Fprintf(&b, "; %d known node(s) do not answer", silent)
	}
	return b.String()
}

func (m *Machine) minReplicasText() string {
	for i := range m.nodes {
		if n := &m.nodes[i]; n.Answered() && n.Role == RoleMaster && !n.enoughReplicas() {
			return fmt.Sprintf("the primary %s has %d good replica(s) and min-replicas-to-write is %d; bring replicas back or lower it", n.Addr, n.GoodReplicas, n.MinReplicas)
		}
	}
	return "the primary refuses writes as it has too few good replicas"
}

func (m *Machine) splitBrainText() string {
	masters := distinct(m.nodes, m.primary.Addr, func(n *NodeReport) bool { return n.Role == RoleMaster })
	for _, n := range masters {
		for _, o := range masters {
			if n != o && n.ReplID2 != "" && n.ReplID2 == o.ReplID {
				return fmt.Sprintf("%s are all masters; %s is the successor of %s: make the others its replicas", addrs(masters), n.Addr, o.Addr)
			}
		}
	}
	return fmt.Sprintf("%s are all masters, and none is the successor of another: decide which data count and make the others its replicas", addrs(masters))
}

func (m *Machine) foreignText() string {
	masters := distinct(m.nodes, "", func(n *NodeReport) bool { return n.Role == RoleMaster })
	if len(masters) == 1 && m.succeeded(masters[0]) {
		return fmt.Sprintf("the only master that answers, %s, was restarted, and a replica has gone on with a successor of it that does not answer: deferred writes are not sent there; if it is the right one, make the other nodes its replicas", addrs(masters))
	}
	return fmt.Sprintf("the only master, %s, does not hold the data of the last primary %s (replication id %s): deferred writes are not sent there; if it is the right one, make the other nodes its replicas",
		addrs(masters), m.last.Addr, short(m.last.ReplID))
}

func (m *Machine) unreachableText() string {
	switch m.cause {
	case CausePartitioned:
		return join(m.partitionText(), m.adviceText())
	case CauseSlotsUncovered:
		return join(m.uncoveredText(), "none of its nodes answers us", m.adviceText())
	case CauseDenied:
		return "nodes answer, but do not let our user ask ROLE or INFO; check the credentials and grant both"
	case CauseHung:
		return fmt.Sprintf("no node answers; %s accepts connections and does not reply", m.lostName())
	case CausePrimaryDown:
		return fmt.Sprintf("no node answers; %s refuses connections", m.lostName())
	default:
		return fmt.Sprintf("none of %d known node(s) answers; the network from here may be at fault", len(m.nodes))
	}
}

// writableText warns of replicas that accept writes: others may write there, and lose it.
func (m *Machine) writableText() string {
	writable := distinct(m.nodes, "", func(n *NodeReport) bool { return n.Role == RoleReplica && n.Writable })
	if len(writable) == 0 {
		return ""
	}
	return fmt.Sprintf("replica(s) %s accept writes, which are lost at the next resync: set replica-read-only yes", addrs(writable))
}

func (m *Machine) parkedText() string {
	if !m.parked {
		return ""
	}
	return "the replay is parked, as it can't go on by itself: see the log, and journalctl confirm where the data are not those that the journal was written over; it is tried again every few seconds"
}

func (m *Machine) lostName() string {
	if n := m.lostPrimary(); n != nil {
		return n.Addr
	}
	return m.primary.Addr
}

func (m *Machine) lostWhy() string {
	if n := m.lostPrimary(); n != nil && n.Outcome != OutcomeUnknown {
		return " (" + n.Outcome.String() + ")"
	}
	return ""
}

func (m *Machine) silent() int {
	count := 0
	for i := range m.nodes {
		if !m.nodes[i].Answered() {
			count++
		}
	}
	return count
}

// cycle follows each replica to its master, and returns the first replication cycle found, its
// first node repeated at the end; nil when there is none.
func (m *Machine) cycle() []string {
	for i := range m.nodes {
		if !m.nodes[i].Answered() {
			continue
		}
		path := []string{m.nodes[i].Addr}
		for n := &m.nodes[i]; len(path) <= len(m.nodes); {
			n = findAddr(m.nodes, n.Master)
			if n == nil || !n.Answered() || n.Role != RoleReplica {
				break
			}
			path = append(path, n.Addr)
			if n.Addr == path[0] {
				return path
			}
		}
	}
	return nil
}

func join(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "; ")
}
