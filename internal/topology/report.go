package topology

import (
	"slices"
	"strings"
	"time"
)

// NodeID names a node. The zero value means none.
type NodeID struct {
	// Addr is host:port, as it is dialled.
	Addr string
	// RunID is the identity: it changes with each start of the server. Empty when INFO is denied;
	// the address stands for it then.
	RunID string
	// ReplID is the replication id (master_replid) when the node was chosen.
	ReplID string
}

// IsZero reports whether no node is named.
func (n NodeID) IsZero() bool { return n == NodeID{} }

// same reports whether both name one running server; its replication id may have changed.
func (n NodeID) same(o NodeID) bool {
	if n.RunID != "" && o.RunID != "" {
		return n.RunID == o.RunID
	}
	return n.Addr != "" && n.Addr == o.Addr
}

// NodeReport is what one probe of one node brought. It is immutable once handed over.
type NodeReport struct {
	// Addr is the address that was probed.
	Addr string
	// Seed tells addresses given by the user from discovered ones.
	Seed bool
	// Outcome is how the probe ended; the fields below are set for OutcomeAnswered only.
	Outcome Outcome
	// Err is the failure of a probe that was not answered. It never holds keys or values.
	Err error

	Role    Role
	RunID   string
	Version string
	// ReplID and ReplID2 are master_replid and master_replid2; an unset second id is "".
	ReplID, ReplID2 string
	// Offset is the replication offset: slave_repl_offset of a replica, master_repl_offset of a master.
	Offset int64
	// Loading: the dataset is being loaded.
	Loading bool
	// Writable: a replica that accepts writes (replica-read-only no).
	Writable bool
	// Priority is a replica's replica-priority; 0 means never to be promoted.
	Priority int
	// Master is host:port of a replica's master.
	Master string
	// LinkUp is a replica's master_link_status. In a replication cycle it is up and proves nothing.
	LinkUp bool
	// LastIO is the time since the replica heard its master, in whole seconds; -1 s when unknown.
	LastIO time.Duration
	// Replicas are the addresses of the attached replicas (slaveN lines).
	Replicas []string
	// MinReplicas is min-replicas-to-write, 0 when not set; GoodReplicas how many are good.
	MinReplicas, GoodReplicas int
	// ClusterDown: the node is in a Cluster and finds it down (cluster_state:fail), so it refuses.
	ClusterDown bool
	// Cluster is the node's view of its Cluster; nil where there is none, or it was not asked.
	Cluster *ClusterReport
	// RTT is how long the answer took.
	RTT time.Duration
	// Skew is the server's TIME minus ours at the middle of the round trip; SkewKnown is false when
	// TIME is denied.
	Skew      time.Duration
	SkewKnown bool
}

// ID returns the node's identity.
func (n *NodeReport) ID() NodeID {
	return NodeID{Addr: n.Addr, RunID: n.RunID, ReplID: n.ReplID}
}

// Answered reports whether the node told its role.
func (n *NodeReport) Answered() bool { return n.Outcome == OutcomeAnswered }

// enoughReplicas reports whether a master with min-replicas-to-write accepts writes.
func (n *NodeReport) enoughReplicas() bool { return n.GoodReplicas >= n.MinReplicas }

// of reports whether the node's replication id, or the one before it, is among ids.
func (n *NodeReport) of(ids []string) bool {
	return n.ReplID != "" && slices.Contains(ids, n.ReplID) || n.ReplID2 != "" && slices.Contains(ids, n.ReplID2)
}

// find returns the report of a node: the one that answers with its run_id, whatever its address,
// else the one of its address; nil if there is neither.
func find(nodes []NodeReport, id NodeID) *NodeReport {
	if id.IsZero() {
		return nil
	}
	if id.RunID != "" {
		for i := range nodes {
			if nodes[i].Answered() && nodes[i].RunID == id.RunID {
				return &nodes[i]
			}
		}
	}
	return findAddr(nodes, id.Addr)
}

func findAddr(nodes []NodeReport, addr string) *NodeReport {
	for i := range nodes {
		if nodes[i].Addr == addr {
			return &nodes[i]
		}
	}
	return nil
}

// distinct returns the nodes that satisfy keep, each server once: one server may answer at several
// addresses (a proxy, a virtual IP, a host name). The preferred address wins, else the first.
func distinct(nodes []NodeReport, prefer string, keep func(*NodeReport) bool) []*NodeReport {
	var out []*NodeReport
	for i := range nodes {
		n := &nodes[i]
		if !n.Answered() || !keep(n) {
			continue
		}
		at := slices.IndexFunc(out, func(o *NodeReport) bool { return o.ID().same(n.ID()) })
		switch {
		case at < 0:
			out = append(out, n)
		case n.Addr == prefer:
			out[at] = n
		}
	}
	return out
}

// short cuts an id for people to read.
func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

// addrs lists the nodes' addresses.
func addrs(nodes []*NodeReport) string {
	var b strings.Builder
	for i, n := range nodes {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(n.Addr)
	}
	return b.String()
}
