package engine

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

func zsetCommands() []Command {
	return slices.Concat(zsetMemberCommands(), zsetRangeCommands(), zsetAlgebraCommands())
}

// maxFlat is up to how many members a sorted set is a plain slice; when it
// shrinks, it becomes one again only well below.
const maxFlat = 64

// Up to these limits a server by default keeps a sorted set as a listpack, which
// shows: it holds integral scores as integers, and so no minus zero.
const (
	maxPackedMembers = 128
	maxPackedMember  = 64
)

// zset is the value of a sorted set.
type zset struct {
	// Either flat holds the items, or tree the items and index the score of each.
	flat  []zitem
	tree  *znode
	index map[string]float64

	bytes  int64     // of the members' text
	packed bool      // the server has it as a listpack, as far as can be told
	part   *zsetPart // nil when every member is known
}

// zsetPart is what a partial sorted set has beside the members that it knows.
type zsetPart struct {
	count  int64               // members, known or not
	absent map[string]struct{} // known not to be there
	bytes  int64               // of the text in absent
}

// NewZSet returns a sorted set of these members, which must differ, and their
// scores. Without members it is the zero Object, a key that does not exist. The
// text of the members is copied.
func NewZSet(members [][]byte, scores []float64) Object {
	items := make([]zitem, len(members))
	for i, m := range members {
		items[i] = zitem{scores[i], string(m)}
	}
	if len(items) == 0 {
		return Object{}
	}
	z := buildZSet(items)
	z.packed = z.packed && !z.minusZero() // a listpack could not have it
	return newObject(TypeZSet, z)
}

// NewPartialZSet returns a sorted set of which only the number of members is
// known. Without members it is the zero Object.
func NewPartialZSet(count int64) Object {
	if count <= 0 {
		return Object{}
	}
	z := &zset{packed: count <= maxPackedMembers, part: &zsetPart{count: count, absent: make(map[string]struct{})}}
	return newObject(TypeZSet, z)
}

// buildZSet makes a sorted set of items in any order; it takes the slice. The set
// is packed when the server's own would be.
func buildZSet(items []zitem) *zset {
	if !slices.IsSortedFunc(items, compareItems) {
		slices.SortFunc(items, compareItems)
	}
	z := &zset{packed: len(items) <= maxPackedMembers}
	for i := range items {
		z.bytes += int64(len(items[i].member))
		z.packed = z.packed && len(items[i].member) <= maxPackedMember
	}
	if len(items) <= maxFlat {
		z.flat = items
		return z
	}
	z.grow(items)
	return z
}

// grow makes a tree of sorted items.
func (z *zset) grow(items []zitem) {
	z.index = make(map[string]float64, len(items))
	for i := range items {
		z.index[items[i].member] = items[i].score
	}
	z.flat, z.tree = nil, buildTree(items)
}

// pack does to the scores what the server does where it makes a listpack of a
// sorted set that it has built otherwise.
func (z *zset) pack() {
	if !z.packed {
		return
	}
	for cu := z.at(0); ; {
		it := cu.next()
		if it == nil {
			return
		}
		if it.score == 0 {
			it.score = 0 // minus zero becomes zero
			if z.tree != nil {
				z.index[it.member] = 0
			}
		}
	}
}

// len is the number of members that are known.
func (z *zset) len() int {
	if z.tree != nil {
		return len(z.index)
	}
	return len(z.flat)
}

// card is the number of members.
func (z *zset) card() int64 {
	if z.part != nil {
		return z.part.count
	}
	return int64(z.len())
}

func (z *zset) whole() bool { return z.part == nil || z.part.count == int64(z.len()) }

// What a member takes beside its text, as measured: the item, the entry of the
// index, and what of both is room.
const (
	zsetOverhead     = 128
	flatItemOverhead = 40
	treeItemOverhead = 88
	absentOverhead   = 48
)

func (z *zset) size() int64 {
	n := int64(z.len())
	if n <= maxFlat {
		n *= flatItemOverhead
	} else {
		n *= treeItemOverhead
	}
	n += zsetOverhead + z.bytes
	if z.part != nil {
		n += zsetOverhead + z.part.bytes + absentOverhead*int64(len(z.part.absent))
	}
	return n
}

// knowledge is what a sorted set can say of a member.
type knowledge uint8

const (
	absent knowledge = iota
	present
	unknown
)

// lookup finds the score of a member.
func (z *zset) lookup(member []byte) (score float64, k knowledge) {
	if z.tree != nil {
		if s, ok := z.index[string(member)]; ok {
			return s, present
		}
	} else {
		for i := range z.flat {
			if z.flat[i].member == string(member) {
				return z.flat[i].score, present
			}
		}
	}
	if z.whole() {
		return 0, absent
	}
	if _, ok := z.part.absent[string(member)]; ok {
		return 0, absent
	}
	return 0, unknown
}

// find is lookup in a whole set.
func (z *zset) find(member string) (score float64, ok bool) {
	if z.tree != nil {
		score, ok = z.index[member]
		return score, ok
	}
	for i := range z.flat {
		if z.flat[i].member == member {
			return z.flat[i].score, true
		}
	}
	return 0, false
}

// insert adds a member that is not there, and remove takes one out. For a partial
// sorted set both are changes of the value, not of the knowledge of it.
func (z *zset) insert(member string, score float64) {
	z.link(zitem{score, member})
	if z.part != nil {
		z.part.count++
		if _, ok := z.part.absent[member]; ok {
			delete(z.part.absent, member)
			z.part.bytes -= int64(len(member))
		}
	}
}

func (z *zset) remove(it zitem) {
	z.unlink(it)
	if z.part != nil {
		z.part.count--
		z.part.absent[it.member] = struct{}{}
		z.part.bytes += int64(len(it.member))
	}
}

// move gives a member, whose item is given, another score.
func (z *zset) move(it zitem, score float64) {
	if z.tree == nil {
		z.unlink(it)
		z.link(zitem{score, it.member})
		return
	}
	if z.packed && score == 0 {
		score = 0
	}
	z.index[it.member] = score
	if !z.tree.rescore(&it, score) {
		z.tree.remove(&it)
		z.shrinkRoot()
		z.addToTree(zitem{score, it.member})
	}
}

// link adds an item to the structure.
func (z *zset) link(it zitem) {
	if z.packed {
		if z.card() >= maxPackedMembers || len(it.member) > maxPackedMember {
			z.packed = false
		} else if it.score == 0 {
			it.score = 0
		}
	}
	z.bytes += int64(len(it.member))
	if z.tree == nil && len(z.flat) >= maxFlat {
		z.grow(z.flat)
	}
	if z.tree == nil {
		i, _ := findItem(z.flat, &it)
		z.flat = slices.Insert(z.flat, i, it)
		return
	}
	z.index[it.member] = it.score
	z.addToTree(it)
}

func (z *zset) addToTree(it zitem) {
	right, sep := z.tree.insert(it)
	if right != nil {
		z.tree = &znode{
			kids: []*znode{z.tree, right}, sizes: []int{z.tree.size(), right.size()}, seps: []zitem{sep},
		}
	}
}

// unlink takes an item out of the structure.
func (z *zset) unlink(it zitem) {
	z.bytes -= int64(len(it.member))
	if z.tree == nil {
		if i, ok := findItem(z.flat, &it); ok {
			z.flat = slices.Delete(z.flat, i, i+1)
		}
		return
	}
	z.tree.remove(&it)
	z.shrinkRoot()
	delete(z.index, it.member)
	if len(z.index) <= maxFlat/4 {
		z.flat, z.tree, z.index = z.items(), nil, nil
	}
}

func (z *zset) shrinkRoot() {
	for len(z.tree.kids) == 1 {
		z.tree = z.tree.kids[0]
	}
}

// rank is the number of items before a bound.
func (z *zset) rank(b *zbound) int {
	if z.tree != nil {
		return z.tree.rank(b)
	}
	return rankIn(z.flat, b)
}

// zcursor goes over the items of a sorted set that does not change meanwhile.
type zcursor struct {
	items []zitem
	leaf  *znode // nil when the items are all
	i     int
}

// at is a cursor that begins with the item of a rank.
func (z *zset) at(rank int) zcursor {
	if z.tree == nil {
		return zcursor{items: z.flat, i: rank}
	}
	leaf, i := z.tree.at(rank)
	return zcursor{items: leaf.items, leaf: leaf, i: i}
}

// next is the item at the cursor, which goes on to the one after it; nil at the
// end.
func (cu *zcursor) next() *zitem {
	for cu.i >= len(cu.items) {
		if cu.leaf == nil || cu.leaf.next == nil {
			return nil
		}
		cu.leaf = cu.leaf.next
		cu.items, cu.i = cu.leaf.items, 0
	}
	cu.i++
	return &cu.items[cu.i-1]
}

// prev is the item at the cursor, which goes back to the one before it; nil at the
// end.
func (cu *zcursor) prev() *zitem {
	for cu.i < 0 {
		if cu.leaf == nil || cu.leaf.prev == nil {
			return nil
		}
		cu.leaf = cu.leaf.prev
		cu.items, cu.i = cu.leaf.items, len(cu.leaf.items)-1
	}
	cu.i--
	return &cu.items[cu.i+1]
}

// each calls f for the known members in order until it reports false. f must not
// keep or change the member.
func (z *zset) each(f func(member []byte, score float64) bool) {
	var room []byte
	for cu := z.at(0); ; {
		it := cu.next()
		if it == nil {
			return
		}
		room = append(room[:0], it.member...)
		if !f(room, it.score) {
			return
		}
	}
}

// learn takes what the server said, unless the member is known already.
func (z *zset) learn(f Fact) {
	if _, k := z.lookup(f.Member); k != unknown {
		return
	}
	member := string(f.Member)
	if f.Present {
		z.link(zitem{f.Score, member})
		return
	}
	z.part.absent[member] = struct{}{}
	z.part.bytes += int64(len(member))
}

// minusZero reports whether a score is minus zero.
func (z *zset) minusZero() bool {
	b := zbound{by: zByScore}
	for cu := z.at(z.rank(&b)); ; {
		it := cu.next()
		if it == nil || it.score != 0 {
			return false
		}
		if math.Signbit(it.score) {
			return true
		}
	}
}

// restoreChunk is how many members one restoring command names.
const restoreChunk = 128

// restore appends ZADDs. Where the server would make a listpack of what is none,
// a member too long for one is there until the others are.
func (z *zset) restore(dst []byte, key string) []byte {
	items := z.items()
	long := ""
	if !z.packed && (z.minusZero() || len(items) <= maxPackedMembers) {
		long = strings.Repeat("-", maxPackedMember+1)
		for _, taken := z.find(long); taken; _, taken = z.find(long) {
			long += "-"
		}
		dst = appendStrings(dst, "ZADD", key, "0", long)
	}
	var number [32]byte
	for part := range slices.Chunk(items, restoreChunk) {
		dst = resp.AppendArray(dst, 2+2*len(part))
		dst = resp.AppendBulkString(dst, "ZADD")
		dst = resp.AppendBulkString(dst, key)
		for i := range part {
			dst = resp.AppendBulk(dst, appendScore(number[:0], part[i].score))
			dst = resp.AppendBulkString(dst, part[i].member)
		}
	}
	if long != "" {
		dst = appendStrings(dst, "ZREM", key, long)
	}
	return dst
}

// copyOf is a copy that shares nothing that may change.
func (z *zset) copyOf() container {
	v := &zset{packed: z.packed, bytes: z.bytes}
	if items := z.items(); len(items) > maxFlat {
		v.grow(items)
	} else {
		v.flat = items
	}
	return v
}

// items are the known members in order.
func (z *zset) items() []zitem {
	items := make([]zitem, 0, z.len())
	for cu := z.at(0); ; {
		it := cu.next()
		if it == nil {
			return items
		}
		items = append(items, *it)
	}
}

// appendScore writes a score so that a server reads the same number.
func appendScore(dst []byte, f float64) []byte {
	if math.IsInf(f, 0) {
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "inf"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}
