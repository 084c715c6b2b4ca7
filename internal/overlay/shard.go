package overlay

import (
	"math"
	"slices"
	"strings"
	"sync"
)

// shardCount divides the 16,384 hash slots evenly.
const shardCount = 64

// shard holds the keys of some hash slots.
type shard struct {
	mu sync.Mutex // guards everything below, and the entries of keys

	keys    map[Key]*entry
	flights map[Key]*flight // seeds under way or just come

	// The entries of keys by lastSeq, oldest first. Sequences are taken under
	// mu, so a write always goes to the end.
	first, last *entry

	// Records of writes that may still be rolled back, by sequence: undo[head:].
	undo []undo
	head int
}

// insert adds an entry that is not in the shard.
func (s *shard) insert(e *entry) {
	s.keys[e.key] = e
	s.pushBack(e)
}

// remove takes an entry out and wakes who waits for that.
func (s *shard) remove(e *entry) {
	delete(s.keys, e.key)
	s.unlink(e)
	if e.gone != nil {
		close(e.gone)
		e.gone = nil
	}
	// A seed read while the key was here may lack the writes that have just
	// left with it.
	if f := s.flights[e.key]; f != nil {
		f.stale = true
	}
}

func (s *shard) pushBack(e *entry) {
	e.prev, e.next = s.last, nil
	if s.last != nil {
		s.last.next = e
	} else {
		s.first = e
	}
	s.last = e
}

func (s *shard) unlink(e *entry) {
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
	all := make([]*entry, 0, len(s.keys))
	for _, e := range s.keys {
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
func shardOf(name string) int { return int(slot(name) % shardCount) }

// slot is the hash slot of a key in Redis Cluster.
func slot(name string) uint16 {
	if open := strings.IndexByte(name, '{'); open >= 0 {
		if length := strings.IndexByte(name[open+1:], '}'); length > 0 {
			name = name[open+1 : open+1+length]
		}
	}
	var crc uint16
	for i := range len(name) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^name[i]]
	}
	return crc % 16384
}

// crcTable is that of CRC16-CCITT (XMODEM), the one of Redis Cluster.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
