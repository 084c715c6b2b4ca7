package topology

import (
	"cmp"
	"slices"
)

// chooseCandidate keeps the node from which an outage is seeded: none while Healthy, otherwise the
// one chosen first, as all seeds of an outage come from one node, until it stops answering; one that
// was left behind gives way as soon as there is a better one. While Replaying none is chosen anew, as
// the primary can be read.
func (t *turn) chooseCandidate() {
	m := &t.m
	if m.state == StateHealthy {
		m.candidate = NodeID{}
		return
	}
	if !m.candidate.IsZero() {
		n := find(m.nodes, m.candidate)
		if n != nil && n.Answered() && n.ID().same(m.candidate) && !n.Loading &&
			(m.follows(n) || m.state == StateReturning) {
			return
		}
	}
	m.candidate = NodeID{}
	if m.state.Live() {
		return
	}
	if best := m.best(); best != nil {
		m.candidate = best.ID()
	}
}

// best returns the node to promote and to read from: of those that hold our dataset a master (it
// may refuse writes, or be one of two), else the one with the highest offset that may be promoted;
// one with priority 0 only when there is no other, then for reading. Ties go to the one that Sentinels
// name, as they adopt it at once, and then by address. nil when no node qualifies.
func (m *Machine) best() *NodeReport {
	w := m.word()
	nodes := distinct(m.nodes, "", func(n *NodeReport) bool { return !n.Loading && n.Role != RoleUnknown })
	nodes = m.ofDataset(nodes)
	if len(nodes) == 0 {
		return nil
	}
	return slices.MinFunc(nodes, func(a, b *NodeReport) int {
		return cmp.Or(
			cmp.Compare(b.promotionRank(), a.promotionRank()),
			cmp.Compare(b.Offset, a.Offset),
			-compareBool(m.names(w, a), m.names(w, b)),
			cmp.Compare(a.Addr, b.Addr),
		)
	})
}

func (n *NodeReport) promotionRank() int {
	switch {
	case n.Role == RoleMaster:
		return 2
	case n.Priority != 0:
		return 1
	}
	return 0
}

// ofDataset narrows nodes down to one replication id, since offsets of different ids can't be
// compared: ids that descend from the last primary first, then those that share an older one, then
// the id that most nodes have, then the higher offset.
func (m *Machine) ofDataset(nodes []*NodeReport) []*NodeReport {
	groups := map[string][]*NodeReport{}
	for _, n := range nodes {
		groups[n.ReplID] = append(groups[n.ReplID], n)
	}
	ids := make([]string, 0, len(groups))
	for id := range groups {
		ids = append(ids, id)
	}
	slices.Sort(ids) // map order must not show
	if len(ids) == 0 {
		return nil
	}
	id := slices.MinFunc(ids, func(a, b string) int {
		return cmp.Or(
			cmp.Compare(m.kinship(groups[b]), m.kinship(groups[a])),
			cmp.Compare(len(groups[b]), len(groups[a])),
			cmp.Compare(maxOffset(groups[b]), maxOffset(groups[a])),
		)
	})
	return groups[id]
}

// kinship ranks a group of nodes with one replication id by its nearness to the last primary.
func (m *Machine) kinship(group []*NodeReport) int {
	rank := 0
	for _, n := range group {
		switch {
		case n.ReplID != "" && n.ReplID == m.last.ReplID:
			return 3
		case n.of(m.lineage.heads):
			rank = max(rank, 2)
		case n.of(m.lineage.family):
			rank = max(rank, 1)
		}
	}
	return rank
}

func maxOffset(group []*NodeReport) int64 {
	return slices.MaxFunc(group, func(a, b *NodeReport) int { return cmp.Compare(a.Offset, b.Offset) }).Offset
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
