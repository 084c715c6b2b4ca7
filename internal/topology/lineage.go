package topology

import "slices"

// lineageLimit bounds the ids that are remembered; the oldest go first.
const lineageLimit = 16

// lineage is what is known of the chain of replication ids. Its slices are never changed in place,
// as machines are values that may share them.
type lineage struct {
	// heads are the id of the last verified primary and those that descend from it.
	heads []string
	// family are older ids of the same dataset.
	family []string
}

// learn adds ids that descend from a head: those of nodes whose second id is one. A primary that
// came and went between two rounds is known by this through the replicas that had followed it.
func (l lineage) learn(nodes []NodeReport) lineage {
	for range nodes { // a chain is at most as long as the list of nodes
		grown := false
		for i := range nodes {
			n := &nodes[i]
			if n.Answered() && n.ReplID != "" && n.ReplID2 != "" &&
				slices.Contains(l.heads, n.ReplID2) && !slices.Contains(l.heads, n.ReplID) {
				l.heads, grown = remember(l.heads, n.ReplID), true
			}
		}
		if !grown {
			break
		}
	}
	return l
}

// accept makes a node's id the head; what was known before becomes the family.
func (l lineage) accept(n *NodeReport) lineage {
	family := l.family
	for _, id := range l.heads {
		if id != n.ReplID {
			family = remember(family, id)
		}
	}
	if n.ReplID2 != "" {
		family = remember(family, n.ReplID2)
	}
	l.family = family
	if n.ReplID != "" && (len(l.heads) != 1 || l.heads[0] != n.ReplID) {
		l.heads = []string{n.ReplID}
	}
	return l
}

func remember(ids []string, id string) []string {
	if slices.Contains(ids, id) {
		return ids
	}
	if len(ids) >= lineageLimit {
		ids = ids[len(ids)-lineageLimit+1:]
	}
	return append(slices.Clone(ids), id)
}

// others are all known ids but one.
func (l lineage) others(id string) []string {
	var out []string
	for _, known := range slices.Concat(l.heads, l.family) {
		if known != id && !slices.Contains(out, known) {
			out = append(out, known)
		}
	}
	return out
}
