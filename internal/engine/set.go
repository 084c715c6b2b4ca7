package engine

import (
	"hash/maphash"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// memberTable is a set of strings with an order: a slice of them and, once there
// are more than a few, an index over it. Removing one moves the last one to its
// place, so that taking changes back in turn restores the order too.
type memberTable struct {
	list  []string
	index []uint32 // 1 + place in list, hashed, with linear probing; 0 is empty
	bytes int64    // in the members
}

const (
	tableSmall = 8 // up to so many members are found by looking at each

	// What a member takes beside its bytes, as estimated: its place in the slice
	// with some room, in the index, and its allocation.
	tableMemberSize = 16 + 6 + 12 + 8
)

var tableSeed = maphash.MakeSeed()

func (t *memberTable) size() int64 { return tableMemberSize*int64(len(t.list)) + t.bytes }

// find is the place of a member, or -1.
func (t *memberTable) find(m []byte) int {
	if t.index == nil {
		for i, s := range t.list {
			if s == string(m) {
				return i
			}
		}
		return -1
	}
	mask := uint64(len(t.index) - 1)
	for at := maphash.Bytes(tableSeed, m) & mask; t.index[at] != 0; at = (at + 1) & mask {
		if i := int(t.index[at] - 1); t.list[i] == string(m) {
			return i
		}
	}
	return -1
}

// findString is find for a string.
func (t *memberTable) findString(m string) int {
	if t.index == nil {
		for i, s := range t.list {
			if s == m {
				return i
			}
		}
		return -1
	}
	mask := uint64(len(t.index) - 1)
	for at := maphash.String(tableSeed, m) & mask; t.index[at] != 0; at = (at + 1) & mask {
		if i := int(t.index[at] - 1); t.list[i] == m {
			return i
		}
	}
	return -1
}

// slot is where in the index the place i stands.
func (t *memberTable) slot(i int) uint64 {
	mask := uint64(len(t.index) - 1)
	at := maphash.String(tableSeed, t.list[i]) & mask
	for t.index[at] != uint32(i+1) {
		at = (at + 1) & mask
	}
	return at
}

// enter puts the place i into the index.
func (t *memberTable) enter(i int) {
	mask := uint64(len(t.index) - 1)
	at := maphash.String(tableSeed, t.list[i]) & mask
	for t.index[at] != 0 {
		at = (at + 1) & mask
	}
	t.index[at] = uint32(i + 1)
}

// reindex makes the index fit for n members: at most half full.
func (t *memberTable) reindex(n int) {
	if n <= tableSmall {
		t.index = nil
		return
	}
	size := 4 * tableSmall
	for size < 2*n {
		size *= 2
	}
	t.index = make([]uint32, size)
	for i := range t.list {
		t.enter(i)
	}
}

// add appends a member that is not there.
func (t *memberTable) add(m string) {
	t.list = append(t.list, m)
	t.bytes += int64(len(m))
	switch n := len(t.list); {
	case n <= tableSmall && t.index == nil:
	case 2*n > len(t.index):
		t.reindex(n)
	default:
		t.enter(n - 1)
	}
}

// removeAt takes the member at a place away; the last one moves there.
func (t *memberTable) removeAt(i int) string {
	m, last := t.list[i], len(t.list)-1
	var at uint64
	if t.index != nil {
		at = t.slot(i)
		t.index[t.slot(last)] = uint32(i + 1)
	}
	t.list[i] = t.list[last]
	t.list[last] = ""
	t.list = t.list[:last]
	t.bytes -= int64(len(m))
	switch {
	case cap(t.list) > 64 && last < cap(t.list)/4:
		t.list = append(make([]string, 0, 2*last), t.list...)
		t.reindex(last)
	case t.index != nil:
		t.vacate(at)
	}
	return m
}

// vacate empties a slot of the index and closes the gap in its run.
func (t *memberTable) vacate(at uint64) {
	mask := uint64(len(t.index) - 1)
	for next := (at + 1) & mask; t.index[next] != 0; next = (next + 1) & mask {
		home := maphash.String(tableSeed, t.list[t.index[next]-1]) & mask
		// It may move to the gap unless its home lies behind it.
		if (next-home)&mask >= (next-at)&mask {
			t.index[at] = t.index[next]
			at = next
		}
	}
	t.index[at] = 0
}

// insertAt takes removeAt back: it appends the member and lets it change places
// with the one that had moved.
func (t *memberTable) insertAt(i int, m string) {
	t.add(m)
	last := len(t.list) - 1
	if i == last {
		return
	}
	if t.index != nil {
		a, b := t.slot(i), t.slot(last)
		t.index[a], t.index[b] = t.index[b], t.index[a]
	}
	t.list[i], t.list[last] = t.list[last], t.list[i]
}

// set is the value of a set. Its members never change and may be shared.
type set struct {
	memberTable
	part *partialSet // nil when the set is whole
}

// partialSet is what a set whose members are not all known has beside them.
type partialSet struct {
	count  int64 // of all members
	absent memberTable
}

const (
	setSize        = 64
	partialSetSize = 64
)

// NewSet returns a set of these members, which must be distinct; with none, a
// key that does not exist.
func NewSet(members [][]byte) Object {
	if len(members) == 0 {
		return Object{}
	}
	s := &set{}
	s.list = make([]string, len(members))
	for i, m := range members {
		s.list[i] = string(m)
		s.bytes += int64(len(m))
	}
	s.reindex(len(members))
	return newObject(TypeSet, s)
}

// newSetOf returns a set of distinct members; it takes ownership of the slice.
func newSetOf(members []string) Object {
	if len(members) == 0 {
		return Object{}
	}
	s := &set{}
	s.list = members
	for _, m := range members {
		s.bytes += int64(len(m))
	}
	s.reindex(len(members))
	return newObject(TypeSet, s)
}

// NewPartialSet returns a set of so many members, none of which is known yet.
func NewPartialSet(count int64) Object {
	if count <= 0 {
		return Object{}
	}
	return newObject(TypeSet, &set{part: &partialSet{count: count}})
}

func (s *set) size() int64 {
	n := setSize + s.memberTable.size()
	if s.part != nil {
		n += partialSetSize + s.part.absent.size()
	}
	return n
}

// count is the number of members, known or not.
func (s *set) count() int64 {
	if s.part != nil {
		return s.part.count
	}
	return int64(len(s.list))
}

func (s *set) whole() bool { return s.part == nil || s.part.count == int64(len(s.list)) }

func (s *set) restore(dst []byte, key string) []byte {
	for i := 0; i < len(s.list); i += elementChunk {
		chunk := s.list[i:min(i+elementChunk, len(s.list))]
		dst = resp.AppendArray(dst, 2+len(chunk))
		dst = resp.AppendBulkString(dst, "SADD")
		dst = resp.AppendBulkString(dst, key)
		for _, m := range chunk {
			dst = resp.AppendBulkString(dst, m)
		}
	}
	return dst
}

// learn takes note of a member that was not known either way.
func (s *set) learn(f Fact) {
	if s.part == nil || s.find(f.Member) >= 0 || s.part.absent.find(f.Member) >= 0 {
		return
	}
	if f.Present {
		s.add(string(f.Member))
	} else {
		s.part.absent.add(string(f.Member))
	}
}

// unknown reports whether it cannot be told if a member that was not found is
// there all the same.
func (s *set) unknown(m []byte) bool {
	return !s.whole() && s.part.absent.find(m) < 0
}

// setStep is a change to one member, and how to take it back.
type setStep struct {
	member string
	at     int32 // of one dropped: its place
	absent int32 // of one put: its place among those known to be absent, or -1
}

const setStepSize = 24

// put adds a member that is not there.
func (s *set) put(m string) setStep {
	s.add(m)
	step := setStep{member: m, absent: -1}
	if s.part != nil {
		s.part.count++
		if i := s.part.absent.findString(m); i >= 0 {
			s.part.absent.removeAt(i)
			step.absent = int32(i)
		}
	}
	return step
}

// unput takes put back. Members that were learnt since stay.
func (s *set) unput(step setStep) {
	s.removeAt(s.findString(step.member))
	if s.part != nil {
		s.part.count--
		if step.absent >= 0 {
			s.part.absent.insertAt(int(step.absent), step.member)
		}
	}
}

// drop takes the member at a place away.
func (s *set) drop(i int) setStep {
	m := s.removeAt(i)
	if s.part != nil {
		s.part.count--
		s.part.absent.add(m)
	}
	return setStep{member: m, at: int32(i)}
}

// undrop takes drop back.
func (s *set) undrop(step setStep) {
	s.insertAt(int(step.at), step.member)
	if s.part != nil {
		s.part.count++
		s.part.absent.removeAt(s.part.absent.findString(step.member))
	}
}
