package topology

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// failoverGrace is how long Sentinels that could replace a primary are given to do so before an operator
// is told to order it.
const failoverGrace = 30 * time.Second

// Order is one command for one server.
type Order struct {
	// Where is the address of the server, host:port: a node or a Sentinel.
	Where string
	// Command has the words of the command.
	Command []string
}

// String is the order as it is typed; TLS and credentials are the operator's to add.
func (o Order) String() string {
	host, port, err := net.SplitHostPort(o.Where)
	if err != nil {
		return fmt.Sprintf("redis-cli -s %s %s", o.Where, strings.Join(o.Command, " "))
	}
	return fmt.Sprintf("redis-cli -h %s -p %s %s", host, port, strings.Join(o.Command, " "))
}

// Advice is what an operator can do to end an outage. It never acts by itself. It is immutable.
type Advice struct {
	// Sentence is all of it, for people.
	Sentence string
	// Order is what to do; without a Command the advice is to wait, or to mend what Sentence names.
	Order
	// Candidate is the node that becomes the primary by it; zero when none does.
	Candidate NodeID
	// Why says why this node and this command.
	Why string
	// Losses is by how many bytes of replication Candidate is behind the freshest node that answers
	// and has the same replication id. What only a node has that does not answer is not known.
	Losses int64
	// Then is what to do afterwards, in order.
	Then []Order
}

// advise looks at the present offsets: a candidate that was chosen early stays the source of seeds,
// but the advice must not lose data.
func (m *Machine) advise() *Advice {
	if m.state != StateSuspect && m.state != StateNoPrimary && m.state != StateUnreachable {
		return nil
	}
	switch m.cause {
	case CauseLoading:
		return waiting("wait: it takes writes when its dataset is loaded")
	case CauseHung:
		return waiting("wait, or resume it: a promotion would make two primaries once it goes on; only if it is stopped for good promote another")
	case CausePartitioned:
		return waiting("mend the network from here to it; there is nothing to do at the servers")
	case CausePinned:
		return waiting(fmt.Sprintf("let the address lead to %s, or make the node behind it the primary again", m.elsewhere.Addr))
	case CauseUnnamed:
		return waiting("wait for them to settle on one; if the one they name is up, mend the network from here to it")
	case CauseAllReplicas, CausePrimaryDown, CauseQuorumLost, CauseSlotsUncovered:
		if m.shard != nil {
			return m.adviseCluster()
		}
		return m.advisePromotion()
	case CauseNone, CauseMinReplicas, CauseSplitBrain, CauseWritableReplica, CauseForeignPrimary,
		CauseNoAnswer, CauseDenied, CauseWriteRefused, CauseAmbiguous, CauseReplayParked:
	}
	return nil
}

func waiting(text string) *Advice { return &Advice{Sentence: text} }

// advisePromotion chooses a node and the way to promote it.
func (m *Machine) advisePromotion() *Advice {
	auto := m.automation()
	if auto == AutomationRunning {
		return waiting("wait for it")
	}
	n := m.best()
	if n == nil || n.Role != RoleReplica {
		return nil
	}
	if !m.last.IsZero() && m.kinship([]*NodeReport{n}) == 0 {
		return waiting("restart a server with its data: none that answers has those of the last primary, and a promoted one would not be taken for its successor")
	}
	voters := m.voters()
	if m.cause != CauseAllReplicas && m.doubted() {
		return waiting(fmt.Sprintf("wait: replicas say that their link to it is up, and within %s it will be known whether they hear it or it is gone", heardFresh))
	}
	if len(voters) == 0 {
		return m.promote(n, "")
	}
	if m.namedByAny(voters, n) {
		return m.promote(n, "; it is the one that the Sentinels name, so they adopt it at once")
	}
	if auto == AutomationReady && m.cause == CausePrimaryDown {
		if !overdue(voters) {
			return waiting(fmt.Sprintf("wait for the Sentinels: they find it down after %s and replace it", voters[0].DownAfter))
		}
		return m.insist(n, voters[0])
	}
	for _, r := range voters {
		c := m.chosen(r)
		if c != nil && c.ReplID == n.ReplID && c.Offset >= n.Offset && r.Quorum > 0 {
			a := m.plan(c, Order{Where: r.Addr, Command: []string{"SENTINEL", "FAILOVER", m.masterName()}})
			a.Why = fmt.Sprintf("the Sentinel would promote %s, which has the highest offset (%d) of replication id %s", c.Addr, c.Offset, short(c.ReplID))
			return a.tell("to end the outage order a failover")
		}
	}
	return m.persuade(n, voters[0])
}

// persuade makes Sentinels promote a node that they would not: another one is behind it, or they
// refuse with NOGOODSLAVE.
func (m *Machine) persuade(n *NodeReport, r *SentinelReport) *Advice {
	failover := Order{Where: r.Addr, Command: []string{"SENTINEL", "FAILOVER", m.masterName()}}
	if c := m.known(r, n); c != nil && (c.Priority == 0 || r.rejects(c) == "") {
		a := m.plan(n, Order{Where: n.Addr, Command: []string{"CONFIG", "SET", "replica-priority", "1"}})
		a.Why = fmt.Sprintf("it has the highest offset (%d) of replication id %s, and Sentinels promote the lowest priority that is not 0", n.Offset, short(n.ReplID))
		a.Then = []Order{failover}
		return a.tell(fmt.Sprintf("to end the outage make %s the one that the Sentinels prefer, and order a failover 10 s later", n.Addr))
	} else if c != nil {
		a := m.promote(n, "; the Sentinels take it as the primary once it is one, and a failover is ordered")
		a.Then = []Order{failover}
		return a.tell(fmt.Sprintf("to end the outage promote %s, and order a failover 10 s later", n.Addr))
	}
	a := m.promote(n, "; the Sentinels don't know it, so each of them has to be told anew where the primary is")
	host, port, err := net.SplitHostPort(n.Addr)
	if err != nil {
		return a
	}
	for _, s := range m.voters() {
		a.Then = append(a.Then,
			Order{Where: s.Addr, Command: []string{"SENTINEL", "REMOVE", m.masterName()}},
			Order{Where: s.Addr, Command: []string{"SENTINEL", "MONITOR", m.masterName(), host, port, strconv.Itoa(max(1, s.Quorum))}},
		)
	}
	return a.tell("to end the outage promote " + n.Addr)
}

// insist is the advice where Sentinels could have replaced the primary long ago and have not: servers may
// refuse their orders. One that was promoted by hand, and is preferred, needs none.
func (m *Machine) insist(n *NodeReport, r *SentinelReport) *Advice {
	a := m.promote(n, "; the Sentinels have had the time and did not, as servers may refuse their orders: see their logs")
	a.Then = []Order{
		{Where: n.Addr, Command: []string{"CONFIG", "SET", "replica-priority", "1"}},
		{Where: r.Addr, Command: []string{"SENTINEL", "FAILOVER", m.masterName()}},
	}
	return a.tell(fmt.Sprintf("to end the outage promote %s, and order a failover 10 s later", n.Addr))
}

// known is what a Sentinel knows of a node; nil when nothing.
func (m *Machine) known(r *SentinelReport, n *NodeReport) *SentinelReplica {
	for i := range r.Replicas {
		if at := findAddr(m.nodes, r.Replicas[i].Addr); at != nil && at.Answered() && at.ID().same(n.ID()) {
			return &r.Replicas[i]
		}
	}
	return nil
}

// promote is the advice to promote a node by hand and let the others follow it.
func (m *Machine) promote(n *NodeReport, why string) *Advice {
	host, port, err := net.SplitHostPort(n.Addr)
	if err != nil {
		host, port = "", "" // a socket: others can't follow it by that address
	}
	a := m.plan(n, Order{Where: n.Addr, Command: []string{"REPLICAOF", "NO", "ONE"}})
	a.Why = fmt.Sprintf("it has the highest offset (%d) of replication id %s%s", n.Offset, short(n.ReplID), why)
	if n.Priority == 0 {
		a.Why += " (its replica-priority is 0: it was not meant to be promoted)"
	}
	if len(m.sentinels) == 0 && host != "" {
		others := distinct(m.nodes, "", func(o *NodeReport) bool { return o.Role == RoleReplica && !o.ID().same(n.ID()) })
		for _, o := range others {
			if o.Master != n.Addr {
				a.Then = append(a.Then, Order{Where: o.Addr, Command: []string{"REPLICAOF", host, port}})
			}
		}
	}
	verb := "promote"
	if m.cause != CauseAllReplicas {
		verb = "restart it with its data, or promote"
	}
	return a.tell(fmt.Sprintf("to end the outage %s %s", verb, n.Addr))
}

// adviseCluster is the advice for a shard of a Cluster.
func (m *Machine) adviseCluster() *Advice {
	if lost := m.lostPrimary(); lost == nil || !m.shard.Failed {
		if m.cause == CauseSlotsUncovered {
			return waiting("bring back the servers of the slots that nobody serves")
		}
		return waiting("wait: the Cluster marks a server as failed after its cluster-node-timeout and elects a replica; only its word counts")
	}
	n := m.best()
	if n == nil || n.Role != RoleReplica {
		return waiting("restart a server of this shard with its data: none answers that could be promoted")
	}
	how, why := "FORCE", "most masters answer, so they can vote for it"
	if !m.word().majority {
		how, why = "TAKEOVER", "too few masters answer to vote for it"
	}
	a := m.plan(n, Order{Where: n.Addr, Command: []string{"CLUSTER", "FAILOVER", how}})
	a.Why = fmt.Sprintf("it has the highest offset (%d) of replication id %s, and %s", n.Offset, short(n.ReplID), why)
	return a.tell(fmt.Sprintf("if no replica was elected by now, promote %s", n.Addr))
}

// plan fills in what is lost by the promotion of a node.
func (m *Machine) plan(n *NodeReport, o Order) *Advice {
	a := &Advice{Order: o, Candidate: n.ID()}
	for i := range m.nodes {
		if f := &m.nodes[i]; f.Answered() && !f.Loading && f.ReplID == n.ReplID {
			a.Losses = max(a.Losses, f.Offset-n.Offset)
		}
	}
	return a
}

// tell makes the sentence.
func (a *Advice) tell(what string) *Advice {
	a.Sentence = fmt.Sprintf("%s (%s): %s", what, a.Why, a.Order)
	for _, o := range a.Then {
		a.Sentence += ", then " + o.String()
	}
	if a.Losses > 0 {
		a.Sentence += fmt.Sprintf("; %d bytes of writes that another node has are lost by it", a.Losses)
	}
	return a
}

// chosen is the node that a Sentinel would promote, as far as we can ask it ourselves.
func (m *Machine) chosen(r *SentinelReport) *NodeReport {
	c := r.choice()
	if c == nil {
		return nil
	}
	n := findAddr(m.nodes, c.Addr)
	if n == nil || !n.Answered() || n.Role != RoleReplica {
		return nil
	}
	return n
}

// namedByAny reports whether most of the Sentinels that answer name the node, be they a majority or not.
func (m *Machine) namedByAny(voters []*SentinelReport, n *NodeReport) bool {
	votes := 0
	for _, r := range voters {
		if m.names(word{addr: r.Primary, runID: r.PrimaryRunID}, n) {
			votes++
		}
	}
	return 2*votes > len(voters)
}

// overdue reports whether the Sentinels have known for long that the primary is down.
func overdue(voters []*SentinelReport) bool {
	for _, r := range voters {
		if r.DownFor >= failoverGrace {
			return true
		}
	}
	return false
}

func (m *Machine) masterName() string {
	if m.cfg.MasterName == "" {
		return "<name>"
	}
	return m.cfg.MasterName
}
