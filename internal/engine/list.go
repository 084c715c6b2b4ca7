package engine

import "github.com/holdfast-cache/holdfast/internal/resp"

// list is the value of a list: a ring, so that both ends are cheap to push at
// and every index is one step away. Its elements are strings, which never change
// and may be shared between a list and what undoes a change to it.
//
// A partial list has a gap: elements that are there, but not known. Pushes lie
// to its left and right. Nothing is ever learnt of them, but trimming may eat
// into the gap, and close it.
type list struct {
	ring  []string // element i is ring[(head+i) mod len(ring)]; the others are empty
	head  int
	n     int   // elements known
	bytes int64 // in them

	gap  int64 // elements not known; 0 when the list is whole
	left int   // of a list with a gap: the known elements to its left
}

// What a list takes beside the bytes of its elements, as estimated: itself, and
// for each element its place in the ring, with some room, and its allocation.
const (
	listSize        = 64
	listElementSize = 16 + 8 + 8
)

// NewList returns a list of these elements; with none, a key that does not exist.
func NewList(elems [][]byte) Object {
	if len(elems) == 0 {
		return Object{}
	}
	l := &list{ring: make([]string, len(elems)), n: len(elems)}
	for i, e := range elems {
		l.ring[i] = string(e)
		l.bytes += int64(len(e))
	}
	return newObject(TypeList, l)
}

// NewPartialList returns a list of so many elements, none of which is known.
// Pushes to it can be read back, and it can be trimmed; what needs the others is
// refused with ErrTooBig.
func NewPartialList(count int64) Object {
	if count <= 0 {
		return Object{}
	}
	return newObject(TypeList, &list{gap: count})
}

// newListOf takes ownership of the slice, which must not be empty.
func newListOf(elems []string) *list {
	l := &list{ring: elems, n: len(elems)}
	for _, e := range elems {
		l.bytes += int64(len(e))
	}
	return l
}

func (l *list) size() int64 { return listSize + listElementSize*int64(l.n) + l.bytes }

func (l *list) whole() bool { return l.gap == 0 }

// elementChunk is how many elements one restoring command brings.
const elementChunk = 512

func (l *list) restore(dst []byte, key string) []byte {
	for i := 0; i < l.n; i += elementChunk {
		end := min(i+elementChunk, l.n)
		dst = resp.AppendArray(dst, 2+end-i)
		dst = resp.AppendBulkString(dst, "RPUSH")
		dst = resp.AppendBulkString(dst, key)
		for j := i; j < end; j++ {
			dst = resp.AppendBulkString(dst, l.at(j))
		}
	}
	return dst
}

// count is the length of the list as LLEN has it.
func (l *list) count() int64 { return int64(l.n) + l.gap }

// slot is the place in the ring of the i-th known element.
func (l *list) slot(i int) int {
	if i += l.head; i >= len(l.ring) {
		i -= len(l.ring)
	}
	return i
}

// at is the i-th known element.
func (l *list) at(i int) string { return l.ring[l.slot(i)] }

// known turns the index of an element that is in the list into that of a known
// element; false when it lies in the gap.
func (l *list) known(index int64) (int, bool) {
	switch {
	case l.gap == 0 || index < int64(l.left):
		return int(index), true
	case index < int64(l.left)+l.gap:
		return 0, false
	}
	return int(index - l.gap), true
}

// knownRange does the same for the elements from start to end, both included.
func (l *list) knownRange(start, end int64) (from, to int, ok bool) {
	if l.gap > 0 && start < int64(l.left)+l.gap && end >= int64(l.left) {
		return 0, 0, false
	}
	from, _ = l.known(start)
	to, _ = l.known(end)
	return from, to, true
}

// room makes sure that extra elements fit into the ring.
func (l *list) room(extra int) {
	need := l.n + extra
	if need <= len(l.ring) {
		return
	}
	switch {
	case l.n == 0: // a list that is made by one push often stays as it is
	case l.n < 1024:
		need = max(need, 2*l.n)
	default:
		need = max(need, l.n+l.n/2)
	}
	l.resize(need)
}

// resize moves the elements to a ring of that size.
func (l *list) resize(size int) {
	ring := make([]string, size)
	k := copy(ring[:l.n], l.ring[min(l.head, len(l.ring)):])
	copy(ring[k:l.n], l.ring)
	l.ring, l.head = ring, 0
}

func (l *list) pushBack(s string) {
	l.room(1)
	l.n++
	l.ring[l.slot(l.n-1)] = s
	l.bytes += int64(len(s))
}

func (l *list) pushFront(s string) {
	l.room(1)
	if l.head--; l.head < 0 {
		l.head = len(l.ring) - 1
	}
	l.n++
	if l.gap > 0 {
		l.left++
	}
	l.ring[l.head] = s
	l.bytes += int64(len(s))
}

// dropFront removes the first k known elements, all of them left of a gap.
func (l *list) dropFront(k int) {
	for range k {
		l.bytes -= int64(len(l.ring[l.head]))
		l.ring[l.head] = ""
		l.head = l.slot(1)
		l.n--
	}
	if l.gap > 0 {
		l.left -= k
	}
}

// dropBack removes the last k known elements, all of them right of a gap.
func (l *list) dropBack(k int) {
	for range k {
		at := l.slot(l.n - 1)
		l.bytes -= int64(len(l.ring[at]))
		l.ring[at] = ""
		l.n--
	}
}

// shrink gives back room of which little is used.
func (l *list) shrink() {
	if len(l.ring) > 64 && l.n < len(l.ring)/4 {
		l.resize(max(2*l.n, 1))
	}
}

// replace puts s in the place of the i-th known element, which it returns.
func (l *list) replace(i int, s string) string {
	at := l.slot(i)
	old := l.ring[at]
	l.ring[at] = s
	l.bytes += int64(len(s)) - int64(len(old))
	return old
}

// insert puts s before element i of a whole list; i may be its length.
func (l *list) insert(i int, s string) {
	if i < l.n/2 {
		l.pushFront("")
		for j := range i {
			l.ring[l.slot(j)] = l.at(j + 1)
		}
	} else {
		l.pushBack("")
		for j := l.n - 1; j > i; j-- {
			l.ring[l.slot(j)] = l.at(j - 1)
		}
	}
	l.ring[l.slot(i)] = s
	l.bytes += int64(len(s))
}

// remove takes element i out of a whole list.
func (l *list) remove(i int) {
	l.bytes -= int64(len(l.at(i)))
	if i < l.n/2 {
		for j := i; j > 0; j-- {
			l.ring[l.slot(j)] = l.at(j - 1)
		}
		l.ring[l.head] = ""
		l.dropFront(1)
		return
	}
	for j := i; j < l.n-1; j++ {
		l.ring[l.slot(j)] = l.at(j + 1)
	}
	l.ring[l.slot(l.n-1)] = ""
	l.dropBack(1)
}

// removeAll takes the elements at these indexes, ascending, out of a whole list.
func (l *list) removeAll(at []int) {
	to, next := at[0], 0
	for from := at[0]; from < l.n; from++ {
		if next < len(at) && from == at[next] {
			next++
			l.bytes -= int64(len(l.at(from)))
			continue
		}
		l.ring[l.slot(to)] = l.at(from)
		to++
	}
	for i := to; i < l.n; i++ {
		l.ring[l.slot(i)] = ""
	}
	l.n = to
}

// insertAll puts s back at these indexes: it takes removeAll back.
func (l *list) insertAll(at []int, s string) {
	l.room(len(at))
	from := l.n - 1
	l.n += len(at)
	last := len(at) - 1
	for to := l.n - 1; last >= 0; to-- {
		if to == at[last] {
			l.ring[l.slot(to)] = s
			l.bytes += int64(len(s))
			last--
			continue
		}
		l.ring[l.slot(to)] = l.at(from)
		from--
	}
}

// slice copies the known elements from one index up to another into a slice.
func (l *list) slice(from, to int) []string {
	out := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, l.at(i))
	}
	return out
}
