package topology

import (
	"cmp"
	"maps"
	"slices"
)

// Cluster is what is known of a Cluster's shards. It is a value: Merge returns a new one. The zero
// value knows nothing.
//
// A shard is an owner of slots with its replicas. Its ID outlives failovers, restarts and moves of
// slots: it is the shard-id that its servers tell when it is first seen (since Redis 7.2, so that it
// outlives our process, too), else the smallest node id in it; and then it stays with those servers,
// by most of its members, as slots and roles go from one to another.
type Cluster struct {
	// Shards are the shards that own slots, in the order of their IDs.
	Shards []ShardFacts

	members map[string][]string // node ids of each shard, by its ID
}

// Merge judges the views of those servers that answered now, by the rules of Redis: of two claims to a
// slot the higher configuration epoch holds, a server is down when the others have agreed on it, and
// a replica belongs to whom it follows itself. Views may come in any order.
func (c Cluster) Merge(views []ClusterReport) Cluster {
	views = slices.DeleteFunc(slices.Clone(views), func(v ClusterReport) bool { return v.ID == "" })
	slices.SortFunc(views, func(a, b ClusterReport) int { return cmp.Compare(a.ID, b.ID) })
	views = slices.CompactFunc(views, func(a, b ClusterReport) bool { return a.ID == b.ID })
	if len(views) == 0 {
		return c // silence tells nothing
	}
	w := weigh(views)
	groups := w.groups(c.members)
	next := Cluster{members: map[string][]string{}}
	names := c.name(groups, w)
	for owner, ids := range groups {
		id := names[owner]
		next.members[id] = ids
		next.Shards = append(next.Shards, w.facts(id, owner, ids))
	}
	slices.SortFunc(next.Shards, func(a, b ShardFacts) int { return cmp.Compare(a.ID, b.ID) })
	uncovered := w.uncovered()
	for i := range next.Shards {
		next.Shards[i].Uncovered = uncovered
	}
	return next
}

// akin reports whether a view names a server of this Cluster. Every one does while nothing is known.
func (c Cluster) akin(v ClusterReport) bool {
	return len(c.members) == 0 || slices.ContainsFunc(v.Members, func(m ClusterMember) bool {
		for _, ids := range c.members {
			if slices.Contains(ids, m.ID) {
				return true
			}
		}
		return false
	})
}

// weighed is what several views say together.
type weighed struct {
	views  []ClusterReport
	byID   map[string]*ClusterReport // of the servers that gave them
	nodes  map[string]ClusterMember  // all servers: as they see themselves, else as another does
	owners []string                  // node id of each slot's owner; "" where there is none
	slots  map[string][]SlotRange    // of each owner
}

func weigh(views []ClusterReport) *weighed {
	w := &weighed{
		views: views, byID: map[string]*ClusterReport{}, nodes: map[string]ClusterMember{},
		owners: make([]string, slotCount), slots: map[string][]SlotRange{},
	}
	epochs := make([]int64, slotCount)
	for i := range views {
		v := &views[i]
		w.byID[v.ID] = v
		for _, m := range v.Members {
			old, seen := w.nodes[m.ID]
			if !seen || m.ID == v.ID || w.byID[m.ID] == nil && m.Epoch > old.Epoch {
				if m.Addr == "" {
					m.Addr = old.Addr
				}
				w.nodes[m.ID] = m
			}
			for _, s := range m.Slots {
				for slot := s.First; slot <= s.Last; slot++ {
					if w.owners[slot] == "" || m.Epoch > epochs[slot] || m.Epoch == epochs[slot] && m.ID < w.owners[slot] {
						w.owners[slot], epochs[slot] = m.ID, m.Epoch
					}
				}
			}
		}
	}
	for slot := 0; slot < slotCount; {
		first, owner := slot, w.owners[slot]
		for slot < slotCount && w.owners[slot] == owner {
			slot++
		}
		if owner != "" {
			w.slots[owner] = append(w.slots[owner], SlotRange{First: first, Last: slot - 1})
		}
	}
	return w
}

// groups returns the node ids of each shard by its owner. Former members that nobody follows or
// serves any more, such as a primary that was replaced while it is down, stay where they were.
func (w *weighed) groups(before map[string][]string) map[string][]string {
	groups, home := map[string][]string{}, map[string]string{}
	for owner := range w.slots {
		home[owner] = owner
	}
	for id, n := range w.nodes {
		if home[n.MasterID] == n.MasterID && n.MasterID != "" && len(w.slots[id]) == 0 {
			home[id] = n.MasterID
		}
	}
	for _, ids := range before {
		votes := map[string]int{}
		for _, id := range ids {
			if owner := home[id]; owner != "" {
				votes[owner]++
			}
		}
		stay := ""
		for owner, n := range votes {
			if stay == "" || n > votes[stay] || n == votes[stay] && owner < stay {
				stay = owner
			}
		}
		for _, id := range ids {
			if _, known := w.nodes[id]; known && home[id] == "" && stay != "" {
				home[id] = stay
			}
		}
	}
	for id, owner := range home {
		groups[owner] = append(groups[owner], id)
	}
	for _, ids := range groups {
		slices.Sort(ids)
	}
	return groups
}

// name gives each group, by its owner, the ID of the shard that most of its members were in, and a new
// one where there was none.
func (c Cluster) name(groups map[string][]string, w *weighed) map[string]string {
	type claim struct {
		owner, id string
		shared    int
		heir      bool // the owner was a member of the shard
	}
	var claims []claim
	for owner, ids := range groups {
		for id, members := range c.members {
			one := claim{owner: owner, id: id, heir: slices.Contains(members, owner)}
			for _, node := range ids {
				if slices.Contains(members, node) {
					one.shared++
				}
			}
			if one.shared > 0 {
				claims = append(claims, one)
			}
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(-compareBool(a.heir, b.heir), cmp.Compare(b.shared, a.shared), cmp.Compare(a.id, b.id), cmp.Compare(a.owner, b.owner))
	})
	names, taken := map[string]string{}, map[string]bool{}
	for _, one := range claims {
		if names[one.owner] == "" && !taken[one.id] {
			names[one.owner], taken[one.id] = one.id, true
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(groups)) {
		for _, id := range append(w.shardIDs(groups[owner]), groups[owner]...) {
			if names[owner] == "" && !taken[id] {
				names[owner], taken[id] = id, true
			}
		}
		if names[owner] == "" {
			names[owner] = owner + "+" // every id of it names another shard that it was split from
		}
	}
	return names
}

// shardIDs are the shard-ids that servers tell of themselves.
func (w *weighed) shardIDs(ids []string) []string {
	var out []string
	for _, id := range ids {
		if v := w.byID[id]; v != nil && v.ShardID != "" && !slices.Contains(out, v.ShardID) {
			out = append(out, v.ShardID)
		}
	}
	return out
}

func (w *weighed) facts(id, owner string, ids []string) ShardFacts {
	f := ShardFacts{
		ID: id, OwnerID: owner, Owner: w.nodes[owner].Addr, Slots: w.slots[owner], Failed: w.failed(owner),
		Voters: len(w.slots),
	}
	for voter := range w.slots {
		v := w.byID[voter]
		if v == nil {
			continue
		}
		f.Heard++
		if o := v.ownerOf(f.Slots[0].First); o != nil && o.ID == owner {
			f.Votes++
		}
	}
	for _, node := range ids {
		if addr := w.nodes[node].Addr; addr != "" {
			f.Members = append(f.Members, addr)
		}
	}
	return f
}

// failed reports whether most of the masters that answered, or of all where none did, hold a server to
// be down. What it says of itself does not count.
func (w *weighed) failed(id string) bool {
	yes, no := 0, 0
	for _, voting := range []bool{true, false} {
		for i := range w.views {
			v := &w.views[i]
			m := v.member(id)
			if m == nil || v.ID == id || voting && len(w.slots[v.ID]) == 0 {
				continue
			}
			if m.Failed {
				yes++
			} else {
				no++
			}
		}
		if yes+no > 0 {
			break
		}
	}
	return yes > no
}

// uncovered are the slots that nobody serves.
func (w *weighed) uncovered() []SlotRange {
	failed := map[string]bool{"": true}
	for owner := range w.slots {
		failed[owner] = w.failed(owner)
	}
	var out []SlotRange
	for slot := 0; slot < slotCount; slot++ {
		if !failed[w.owners[slot]] {
			continue
		}
		if n := len(out); n > 0 && out[n-1].Last == slot-1 {
			out[n-1].Last = slot
		} else {
			out = append(out, SlotRange{First: slot, Last: slot})
		}
	}
	return out
}
