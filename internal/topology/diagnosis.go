package topology

import (
	"fmt"
	"net"
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
	switch m.cause {
	case CauseAllReplicas:
		return join(m.allReplicasText(), m.adviceText("promote"))
	case CausePrimaryDown:
		return join(fmt.Sprintf("the primary %s does not answer%s", m.lostName(), m.lostWhy()), m.adviceText("restart it, or promote"))
	case CauseHung:
		return join(fmt.Sprintf("the primary %s accepts connections and does not reply", m.lostName()), m.adviceText("resume it, or stop it for good and promote"))
	case CauseLoading:
		return "the primary is loading its dataset; it takes writes when that is done"
	case CauseMinReplicas:
		return m.minReplicasText()
	case CauseSplitBrain:
		return m.splitBrainText()
	case CauseWritableReplica:
		return join("there is no primary", m.writableText())
	case CauseForeignPrimary:
		return m.foreignText()
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

// adviceText recommends a promotion. It looks at the present offsets: a candidate that was chosen
// early stays the source of seeds, but the advice must not lose data.
func (m *Machine) adviceText(verb string) string {
	n := m.best()
	if n == nil || n.Role != RoleReplica {
		return ""
	}
	host, port, err := net.SplitHostPort(n.Addr)
	if err != nil {
		return ""
	}
	text := fmt.Sprintf("to end the outage %s %s, which has the highest offset (%d) of replication id %s: redis-cli -h %s -p %s REPLICAOF NO ONE",
		verb, n.Addr, n.Offset, short(n.ReplID), host, port)
	if n.Priority == 0 {
		text += " (its replica-priority is 0: it was not meant to be promoted)"
	}
	return text
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
	return fmt.Sprintf("the only master, %s, does not hold the data of the last primary %s (replication id %s): deferred writes are not sent there; if it is the right one, make the other nodes its replicas",
		addrs(masters), m.last.Addr, short(m.last.ReplID))
}

func (m *Machine) unreachableText() string {
	switch m.cause {
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
	return "replay is parked and waits to be retried"
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
