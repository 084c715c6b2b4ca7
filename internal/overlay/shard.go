package overlay

import (
	"math"
	"slices"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/slot"
)

// shardCount divides the 16,384 hash slots evenly.
const shardCount = 64

// shard holds the keys of some hash slots.
type shard struct {
	mu sync.Mutex // guards everything below, and the entries of keys

	keys    index
	flights map[Key]*flight          // seeds under way or just come
	waiters map[*entry]chan struct{} // closed when the entry leaves; nil until somebody waits

	// The entries of keys by lastSeq, oldest first. Sequences are taken under
	// mu, so a write always goes to the end. With Options.Lane it is so within each
	// lane, whose entries stand together: runs has the ends of each.
	first, last *entry
	runs        map[uint16]run // nil without Options.Lane

	// Records of writes that may still be rolled back, by sequence: undo[head:].
	undo []undo
	head int
}

// find returns the entry of a key that is held, else nil.
func (s *shard) find(db int, name string) *entry {
	return lookup(&s.keys, hashOfString(db, name), db, name)
}

// insert adds an entry that is not in the shard.
func (s *shard) insert(e *entry) {
	s.keys.put(hashOfString(int(e.db), e.name), e)
	s.pushBack(e)
}

// wait returns the channel that is closed when the entry leaves.
func (s *shard) wait(e *entry) chan struct{} {
	if s.waiters == nil {
		s.waiters = make(map[*entry]chan struct{})
	}
	gone := s.waiters[e]
	if gone == nil {
		gone = make(chan struct{})
		s.waiters[e] = gone
	}
	return gone
}

// remove takes an entry out and wakes who waits for that.
func (s *shard) remove(e *entry) {
	s.keys.remove(hashOfString(int(e.db), e.name), e)
	s.unlink(e)
	e.flags |= flagGone
	if gone := s.waiters[e]; gone != nil {
		close(gone)
		delete(s.waiters, e)
	}
	// A seed read while the key was here may lack the writes that have just
	// left with it.
	if f := s.flights[e.key()]; f != nil {
		f.stale = true
	}
}

func (s *shard) pushBack(e *entry) {
	before := s.last
	if s.runs != nil {
		before = s.extend(e)
	}
	s.linkBehind(before, e)
}

// linkBehind puts e behind another entry, which is nil for the first one of all.
func (s *shard) linkBehind(before, e *entry) {
	e.prev, e.next = before, s.first
	if before != nil {
		e.next = before.next
		before.next = e
	} else {
		s.first = e
	}
	if e.next != nil {
		e.next.prev = e
	} else {
		s.last = e
	}
}

func (s *shard) unlink(e *entry) {
	if s.runs != nil {
		s.shorten(e)
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		s.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		s.last = e.prev
	}
	e.prev, e.next = nil, nil
}

// resort restores the order after sequences went down.
func (s *shard) resort() {
	all := make([]*entry, 0, s.keys.len())
	for e := s.first; e != nil; e = e.next {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		switch {
		case a.lastSeq < b.lastSeq:
			return -1
		case a.lastSeq > b.lastSeq:
			return 1
		}
		return 0
	})
	s.first, s.last = nil, nil
	clear(s.runs)
	for _, e := range all {
		s.pushBack(e)
	}
}

// forget drops up to limit undo records that durable has passed and returns
// their cost.
func (s *shard) forget(durable uint64, limit int) (freed int64) {
	for ; limit > 0 && s.head < len(s.undo) && s.undo[s.head].seq <= durable; limit-- {
		freed += s.undo[s.head].cost
		s.undo[s.head] = undo{}
		s.head++
	}
	switch {
	case s.head == len(s.undo):
		s.undo, s.head = s.undo[:0], 0
		if cap(s.undo) > 1024 { // a burst's memory is not kept for ever
			s.undo = nil
		}
	case s.head > len(s.undo)/2:
		n := copy(s.undo, s.undo[s.head:])
		clear(s.undo[n:])
		s.undo, s.head = s.undo[:n], 0
	}
	return freed
}

const forgetAll = math.MaxInt

// shardOf is the shard of a key: by hash slot, so that what must be in one slot
// is under one lock.
func shardOf[T string | []byte](name T) uint8 { return uint8(slot.Of(name) % shardCount) }
