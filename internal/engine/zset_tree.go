package engine

import (
	"cmp"
	"slices"
	"strings"
)

// zitem is a member of a sorted set and its score. Scores are never NaN.
type zitem struct {
	score  float64
	member string
}

// compare orders items as a sorted set does: by score, then by the member's
// bytes. Zero and minus zero are one score.
func (it *zitem) compare(other *zitem) int {
	switch {
	case it.score < other.score:
		return -1
	case it.score > other.score:
		return 1
	}
	return strings.Compare(it.member, other.member)
}

func compareItems(a, b zitem) int { return a.compare(&b) }

// The room of nodes. A full leaf is one allocation of 1536 bytes, a size class of
// Go's. Nodes that have less than a quarter are merged with a neighbour where
// both together leave some room.
const (
	maxLeaf = 64
	maxKids = 32
)

// znode is a node of a B+tree of items that counts, so that a rank is found in as
// many steps as a score. A leaf has items, and is linked to its neighbours; an
// inner node has kids.
type znode struct {
	items      []zitem
	prev, next *znode

	kids  []*znode
	sizes []int // items below each kid
	// seps lie between the kids: seps[i] is after all of kids[i], and not after any
	// of kids[i+1].
	seps []zitem
}

func (nd *znode) leaf() bool { return nd.kids == nil }

func (nd *znode) width() int {
	if nd.leaf() {
		return len(nd.items)
	}
	return len(nd.kids)
}

func (nd *znode) size() int {
	if nd.leaf() {
		return len(nd.items)
	}
	n := 0
	for _, s := range nd.sizes {
		n += s
	}
	return n
}

// kidFor is the index of the kid below which an item is, or belongs.
func (nd *znode) kidFor(it *zitem) int {
	lo, hi := 0, len(nd.seps)
	for lo < hi {
		if mid := (lo + hi) / 2; nd.seps[mid].compare(it) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// find is the place of an item among sorted ones.
func findItem(items []zitem, it *zitem) (int, bool) {
	lo, hi := 0, len(items)
	for lo < hi {
		if mid := (lo + hi) / 2; items[mid].compare(it) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(items) && items[lo].compare(it) == 0
}

// insert adds an item that is not there. When the node had to be split, its right
// half is returned, with what separates them.
func (nd *znode) insert(it zitem) (right *znode, sep zitem) {
	if nd.leaf() {
		i, _ := findItem(nd.items, &it)
		if len(nd.items) < maxLeaf {
			nd.items = slices.Insert(nd.items, i, it)
			return nil, zitem{}
		}
		right = nd.splitLeaf(i)
		if i > len(nd.items) || len(nd.items) == maxLeaf {
			right.items = slices.Insert(right.items, i-len(nd.items), it)
		} else {
			nd.items = slices.Insert(nd.items, i, it)
		}
		return right, right.items[0]
	}
	k := nd.kidFor(&it)
	kid, between := nd.kids[k].insert(it)
	nd.sizes[k]++
	if kid == nil {
		return nil, zitem{}
	}
	n := kid.size()
	nd.sizes[k] -= n
	nd.kids = slices.Insert(nd.kids, k+1, kid)
	nd.sizes = slices.Insert(nd.sizes, k+1, n)
	nd.seps = slices.Insert(nd.seps, k, between)
	if len(nd.kids) <= maxKids {
		return nil, zitem{}
	}
	cut := len(nd.kids) / 2
	right = &znode{
		kids: slices.Clone(nd.kids[cut:]), sizes: slices.Clone(nd.sizes[cut:]), seps: slices.Clone(nd.seps[cut:]),
	}
	sep = nd.seps[cut-1]
	nd.kids = slices.Delete(nd.kids, cut, len(nd.kids))
	nd.sizes = nd.sizes[:cut]
	nd.seps = slices.Delete(nd.seps, cut-1, len(nd.seps))
	return right, sep
}

// splitLeaf moves the upper half of a full leaf, before an item goes to place i,
// to a new one. At the end of all it moves nothing, as scores that only grow
// would leave every leaf half empty.
func (nd *znode) splitLeaf(i int) *znode {
	cut := maxLeaf / 2
	if i == maxLeaf && nd.next == nil {
		cut = maxLeaf
	}
	right := &znode{items: append(make([]zitem, 0, maxLeaf), nd.items[cut:]...), prev: nd, next: nd.next}
	nd.items = slices.Delete(nd.items, cut, maxLeaf)
	if nd.next != nil {
		nd.next.prev = right
	}
	nd.next = right
	return right
}

// remove takes out an item and reports whether it was there.
func (nd *znode) remove(it *zitem) bool {
	if nd.leaf() {
		i, ok := findItem(nd.items, it)
		if ok {
			nd.items = slices.Delete(nd.items, i, i+1)
		}
		return ok
	}
	k := nd.kidFor(it)
	if !nd.kids[k].remove(it) {
		return false
	}
	nd.sizes[k]--
	room := maxLeaf
	if !nd.kids[k].leaf() {
		room = maxKids
	}
	if w := nd.kids[k].width(); w < room/4 && len(nd.kids) > 1 {
		k = min(k, len(nd.kids)-2)
		if nd.kids[k].width()+nd.kids[k+1].width() <= room*3/4 || w == 0 {
			nd.merge(k)
		}
	}
	return true
}

// rescore gives an item another score where it is, if it would stay there between
// its neighbours in the leaf: what a small increment mostly comes to.
func (nd *znode) rescore(it *zitem, score float64) bool {
	for !nd.leaf() {
		nd = nd.kids[nd.kidFor(it)]
	}
	i, ok := findItem(nd.items, it)
	if !ok {
		return false
	}
	moved := zitem{score, it.member}
	if score < it.score {
		ok = i > 0 && nd.items[i-1].compare(&moved) < 0
	} else {
		ok = i+1 < len(nd.items) && moved.compare(&nd.items[i+1]) < 0
	}
	if ok {
		nd.items[i].score = score
	}
	return ok
}

// merge puts the kid after k into kid k. A kid that has become empty may meet a
// full one: they fit, too.
func (nd *znode) merge(k int) {
	left, right := nd.kids[k], nd.kids[k+1]
	if left.leaf() {
		left.items = append(left.items, right.items...)
		if left.next = right.next; left.next != nil {
			left.next.prev = left
		}
	} else {
		left.seps = append(append(left.seps, nd.seps[k]), right.seps...)
		left.kids = append(left.kids, right.kids...)
		left.sizes = append(left.sizes, right.sizes...)
	}
	nd.sizes[k] += nd.sizes[k+1]
	nd.kids = slices.Delete(nd.kids, k+1, k+2)
	nd.sizes = slices.Delete(nd.sizes, k+1, k+2)
	nd.seps = slices.Delete(nd.seps, k, k+1)
}

// rank is the number of items before a bound.
func (nd *znode) rank(b *zbound) int {
	n := 0
	for !nd.leaf() {
		lo, hi := 0, len(nd.seps)
		for lo < hi {
			if mid := (lo + hi) / 2; b.after(&nd.seps[mid]) {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		for _, s := range nd.sizes[:lo] {
			n += s
		}
		nd = nd.kids[lo]
	}
	return n + rankIn(nd.items, b)
}

// rankIn is rank among sorted items.
func rankIn(items []zitem, b *zbound) int {
	lo, hi := 0, len(items)
	for lo < hi {
		if mid := (lo + hi) / 2; b.after(&items[mid]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// at is the leaf that has the item of this rank, and its place there.
func (nd *znode) at(rank int) (*znode, int) {
	for !nd.leaf() {
		k := 0
		for k < len(nd.kids)-1 && rank >= nd.sizes[k] {
			rank -= nd.sizes[k]
			k++
		}
		nd = nd.kids[k]
	}
	return nd, rank
}

// buildTree makes a tree of sorted items, with some room in its leaves.
func buildTree(items []zitem) *znode {
	const fill = maxLeaf * 3 / 4
	var level []*znode
	var prev *znode
	for part := range slices.Chunk(items, fill) {
		leaf := &znode{items: append(make([]zitem, 0, maxLeaf), part...), prev: prev}
		if prev != nil {
			prev.next = leaf
		}
		prev = leaf
		level = append(level, leaf)
	}
	firsts := make([]zitem, len(level)) // the least item below each node
	for i, nd := range level {
		firsts[i] = nd.items[0]
	}
	for len(level) > 1 {
		var upper []*znode
		var upperFirsts []zitem
		for start := 0; start < len(level); start += maxKids * 3 / 4 {
			end := min(start+maxKids*3/4, len(level))
			nd := &znode{kids: slices.Clone(level[start:end]), seps: slices.Clone(firsts[start+1 : end])}
			for _, kid := range nd.kids {
				nd.sizes = append(nd.sizes, kid.size())
			}
			upper, upperFirsts = append(upper, nd), append(upperFirsts, firsts[start])
		}
		level, firsts = upper, upperFirsts
	}
	return level[0]
}

// zbound is a place between items: the end of a range.
type zbound struct {
	by     zorder
	score  float64
	member string
	past   bool // the place is after what equals the bound, not before it
}

// zorder is what a bound looks at.
type zorder uint8

const (
	zByScore  zorder = iota
	zByMember        // as if all scores were the same
	zByItem
	zLeast    // before everything
	zGreatest // after everything
)

// after reports whether the bound is after an item.
func (b *zbound) after(it *zitem) bool {
	var order int
	switch b.by {
	case zByScore:
		order = cmp.Compare(it.score, b.score)
	case zByMember:
		order = strings.Compare(it.member, b.member)
	case zByItem:
		order = it.compare(&zitem{b.score, b.member})
	case zLeast:
		return false
	case zGreatest:
		return true
	}
	return order < 0 || (order == 0 && b.past)
}
