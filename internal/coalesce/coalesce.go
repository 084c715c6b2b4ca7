// Package coalesce finds, among commands that are executed as one transaction, those
// that can be sent as one. What is sent instead leaves the keyspace as it would be
// otherwise: nobody can look in between.
//
// # What is merged
//
// Commands on one key, with nothing else on that key between them:
//
//	SET, DEL           take the place of everything before them; not SET with KEEPTTL,
//	                   GET or a condition
//	INCR, DECR, …BY    become one INCRBY, where all go the same way
//	HINCRBY            likewise, of the same field
//	HSET, ZADD, GEOADD become one with all members, without those that the next one sets
//	                   again; not ZADD and GEOADD with flags
//	LPUSH, RPUSH, SADD, SREM, HDEL, ZREM, PFADD
//	                   become one of the same name with all members
//	PEXPIREAT          the last one counts; behind SET it becomes its PXAT, behind DEL
//	                   nothing
//
// # What is not
//
// A counter whose parts go up and down could pass a bound in between that their sum
// does not pass. INCRBYFLOAT rounds at each step. A member that is taken out may be a
// key's last, so that the key loses its deadline: commands that put in are not merged
// over such. Nothing is merged over a command of several keys on one of them, over a
// condition, nor over a command that is not known here, which may touch any key.
//
// So what a merged command does, where it succeeds, is what all of its parts would have
// done. Where the server rejects it, none of them is done.
//
// The package is pure.
package coalesce

import (
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// none is no index.
const none = -1

// keepBuffer bounds the memory that a Merger keeps for the next commands.
const keepBuffer = 1 << 20

// Merger merges the commands of one transaction after the other. The zero value is
// ready for Start. It is not safe for concurrent use, and allocates nothing once it has
// grown to the size of its transactions.
type Merger struct {
	pxat   bool
	writes []write
	merged int
	out    []Command
	buf    []byte
	table  table
}

// Command is one that is to be sent.
type Command struct {
	// Bytes is its encoding: that of one of the commands given, or one of the
	// Merger's own, good until the next Start.
	Bytes []byte
	// First and Last are the indexes of the commands it stands for, in the order of
	// their addition; Next leads from one to the other. Count is how many there are.
	First, Last, Count int
	// Exact says that it is answered with what the last of them would have been
	// answered with. What changes no key has no place among those that are merged.
	Exact bool
}

// write is one of the commands given; where it is the last of those that became one,
// also what is known of that one.
type write struct {
	cmd   []byte
	key   []byte
	num   int64 // of a counter: of its item
	argc  int32
	name  int32 // where in cmd the name begins, behind the header
	start int32 // where the key does, with its length
	rest  int32 // where the arguments behind the key do
	end   int32 // of SET and HINCRBY: where those behind the next one do
	next  int32 // the next one of its key, unless something stands between

	// Of the item:
	first int32
	count int32
	set   int32 // the one that gives SET's or DEL's key and value
	until int32 // the one that gives its deadline; none: it has its own or none
	prev  int32 // the last of the item of its key before this; none: there is none, or not next to it

	verb verb
	kept bool // it is the last of its item
	void bool // what it sets is set again by the next
}

// Start begins a transaction. pxat says that the server knows SET's option PXAT, as
// Redis does from 6.2 on.
func (m *Merger) Start(pxat bool) {
	m.pxat, m.merged = pxat, 0
	m.writes, m.out, m.buf = m.writes[:0], m.out[:0], m.buf[:0]
	if cap(m.buf) > keepBuffer {
		m.buf = nil
	}
	m.table.clear()
}

// Add adds a command, encoded as RESP. It is merged with others only where free says
// so: it stands for itself, and a deadline that it sets is ahead. cmd must stay as it
// is for as long as the Commands are used.
func (m *Merger) Add(cmd []byte, free bool) {
	i := int32(len(m.writes))
	if len(m.writes) == cap(m.writes) {
		m.writes = slices.Grow(m.writes, 1)
	}
	m.writes = m.writes[:i+1]
	w := &m.writes[i]
	*w = write{cmd: cmd, first: i, count: 1, set: i, until: none, next: none, prev: none, kept: true}
	if len(cmd) <= math.MaxInt32 {
		w.parse()
	}
	if !free {
		w.verb = w.verb.apart()
	}
	switch w.verb {
	case verbAny:
		m.table.clear()
	case verbIdle:
	case verbKeys:
		m.each(w, func(key []byte) { m.table.forget(m.writes, key) })
	case verbApart:
		m.table.forget(m.writes, w.key)
	default:
		m.join(i)
	}
}

// each calls f with the keys of a command of several.
func (m *Merger) each(w *write, f func(key []byte)) {
	c := cursor{cmd: w.cmd, at: int(w.start)}
	for range w.argc - 1 {
		key, ok := c.arg()
		if !ok {
			m.table.clear() // it is malformed
			return
		}
		f(key)
	}
}

// join puts a command behind what its key has.
func (m *Merger) join(i int32) {
	s := m.table.slot(m.writes, m.writes[i].key)
	w := &m.writes[i]
	last := s.last
	if last == none {
		s.first, s.last = i, i
		return
	}
	before := &m.writes[last]
	before.next = i
	s.last = i
	switch {
	case w.verb == verbSet || w.verb == verbDel:
		for at := last; at != none; at = m.writes[at].prev {
			m.writes[at].kept = false
			w.count += m.writes[at].count
			m.merged++
		}
		w.first = s.first
	case m.fits(before, w, i):
		before.kept = false
		w.first, w.count, w.prev = before.first, before.count+1, before.prev
		m.merged++
	default:
		w.prev = last
	}
}

// fits makes w the last of the item that before is the last of, if it can be.
func (m *Merger) fits(before, w *write, i int32) bool {
	switch {
	case w.verb == verbDeadline:
		switch before.verb {
		case verbDeadline:
		case verbDel:
			w.verb = verbDel
		case verbSet:
			if !m.pxat {
				return false
			}
			w.verb, w.until = verbSet, i
		default:
			return false
		}
		w.set = before.set
		return true
	case w.verb != before.verb:
		return false
	case w.verb == verbCount:
		return w.add(before)
	case w.verb == verbFieldCount:
		return w.sameMember(before, 0) && w.add(before)
	case w.verb == verbHSet, w.verb == verbHMSet:
		before.void = w.argc == 4 && before.argc == 4 && w.sameMember(before, 0)
		return true
	case w.verb == verbZAdd:
		before.void = w.argc == 4 && before.argc == 4 && w.sameMember(before, 1)
		return true
	}
	return w.verb.run()
}

// add sums two counts that go the same way, if that has a sum.
func (w *write) add(before *write) bool {
	sum := before.num + w.num
	if before.num > 0 && w.num < 0 || before.num < 0 && w.num > 0 || (sum < before.num) != (w.num < 0) {
		return false
	}
	w.num = sum
	return true
}

// sameMember reports whether the arguments at an index behind the key are the same.
func (w *write) sameMember(before *write, index int) bool {
	a, b := cursor{cmd: w.cmd, at: int(w.rest)}, cursor{cmd: before.cmd, at: int(before.rest)}
	for range index {
		a.arg()
		b.arg()
	}
	x, ok := a.arg()
	y, also := b.arg()
	return ok && also && string(x) == string(y)
}

// Next is the one behind a command among those that became one.
func (m *Merger) Next(i int) int { return int(m.writes[i].next) }

// Merged is how many of the commands given need not be sent.
func (m *Merger) Merged() int { return m.merged }

// Commands are what is to be sent for the commands added, good until the next Start. It
// is called once.
func (m *Merger) Commands() []Command {
	for i := range m.writes {
		w := &m.writes[i]
		if !w.kept {
			continue
		}
		c := Command{Bytes: w.cmd, First: int(w.first), Last: i, Count: int(w.count), Exact: w.verb != verbIdle}
		if w.count > 1 {
			c.Bytes, c.Exact = m.bytes(w, i)
		}
		m.out = append(m.out, c)
	}
	return m.out
}

// bytes makes the command of an item of several.
func (m *Merger) bytes(w *write, i int) (cmd []byte, exact bool) {
	switch {
	case w.verb == verbSet && w.until == none:
		return w.cmd, true
	case w.verb == verbDel:
		return m.writes[w.set].cmd, false
	case w.verb == verbDeadline:
		return w.cmd, true
	}
	start := len(m.buf)
	switch {
	case w.verb == verbSet:
		set, until := &m.writes[w.set], &m.writes[w.until]
		m.buf = resp.AppendArray(m.buf, 5)
		m.buf = append(m.buf, set.cmd[set.name:set.end]...)
		m.buf = resp.AppendBulkString(m.buf, "PXAT")
		m.buf = append(m.buf, until.cmd[until.rest:]...)
	case w.verb == verbCount:
		m.buf = resp.AppendArray(m.buf, 3)
		m.buf = resp.AppendBulkString(m.buf, "INCRBY")
		m.buf = append(m.buf, w.cmd[w.start:w.rest]...)
		m.appendInt(w.num)
		exact = true
	case w.verb == verbFieldCount:
		m.buf = resp.AppendArray(m.buf, 4)
		m.buf = append(m.buf, w.cmd[w.name:w.end]...)
		m.appendInt(w.num)
		exact = true
	default:
		m.appendRun(w, int32(i))
		exact = w.verb.told()
	}
	return m.buf[start:len(m.buf):len(m.buf)], exact
}

func (m *Merger) appendInt(n int64) {
	var digits [20]byte
	m.buf = resp.AppendBulk(m.buf, strconv.AppendInt(digits[:0], n, 10))
}

// appendRun appends a command with the members of all.
func (m *Merger) appendRun(w *write, last int32) {
	argc := int32(2)
	for i := w.first; ; i = m.writes[i].next {
		if each := &m.writes[i]; !each.void {
			argc += each.argc - 2
		}
		if i == last {
			break
		}
	}
	m.buf = resp.AppendArray(m.buf, int(argc))
	m.buf = append(m.buf, w.cmd[w.name:w.rest]...)
	for i := w.first; ; i = m.writes[i].next {
		if each := &m.writes[i]; !each.void {
			m.buf = append(m.buf, each.cmd[each.rest:]...)
		}
		if i == last {
			return
		}
	}
}

// table finds the last command of each key. A slot that is not of the present
// generation is empty.
type table struct {
	seed  maphash.Seed
	slots []slot // a power of two of them
	gen   uint32
	used  int
}

// slot is a key.
type slot struct {
	gen   uint32
	hash  uint32
	key   int32 // a command on the key, for its name
	first int32 // since anything stood between
	last  int32 // none: something has
}

const minSlots = 1 << 10

func (t *table) clear() {
	t.gen++
	t.used = 0
	if t.gen == 0 || t.slots == nil { // the generations have come round
		clear(t.slots)
		t.gen = 1
	}
	if t.slots == nil {
		t.seed, t.slots = maphash.MakeSeed(), make([]slot, minSlots)
	}
}

// find is the slot of a key, or the empty one where it would be.
func (t *table) find(writes []write, key []byte) (s *slot, hash uint32) {
	hash = uint32(maphash.Bytes(t.seed, key))
	mask := uint32(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		s = &t.slots[at]
		if s.gen != t.gen || s.hash == hash && string(writes[s.key].key) == string(key) {
			return s, hash
		}
	}
}

// slot is the slot of the key of the latest command.
func (t *table) slot(writes []write, key []byte) *slot {
	s, hash := t.find(writes, key)
	if s.gen == t.gen {
		return s
	}
	if 2*t.used >= len(t.slots) {
		t.grow()
		s, hash = t.find(writes, key)
	}
	t.used++
	*s = slot{gen: t.gen, hash: hash, key: int32(len(writes)) - 1, first: none, last: none}
	return s
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.gen != t.gen {
			continue
		}
		at := s.hash & mask
		for t.slots[at].gen == t.gen {
			at = (at + 1) & mask
		}
		t.slots[at] = s
	}
}

// forget says that what comes of a key is not to be merged with what it has.
func (t *table) forget(writes []write, key []byte) {
	if s, _ := t.find(writes, key); s.gen == t.gen {
		s.first, s.last = none, none
	}
}
