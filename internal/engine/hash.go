package engine

import (
	"encoding/binary"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// hash is a Redis hash. It keeps the order in which fields came, as Redis's small
// hashes do.
//
// A field has a slot, and keeps it while it exists. Every change to the hash but
// compact is a change to one slot, so that it is taken back, in turn, by putting
// back what the slot held; slots are values and their bytes do not change. Fields
// that end at their deadline are not put back by anyone: the slot that an earlier
// change is taken back to has the whole field, and if its deadline has passed it
// ends again when the hash is next looked at.
type hash struct {
	slots []hashSlot
	index *hashIndex // nil while there are few slots
	bytes int64      // as size counts them

	// soonest is not after the first deadline of a field; 0 when none has one.
	soonest int64

	// Of a partial hash: unknown is the number of fields beyond those in slots.
	// The slots of fields that are known not to exist stay, as slotAbsent.
	unknown int64
	partial bool

	live int32 // slots that hold a field
}

const (
	// hashOverhead is what a hash takes beside its fields.
	hashOverhead = 64
	// hashFieldOverhead is what a field takes beside its bytes, as estimated: its
	// slot and the room to grow, its share of the index, and what allocation
	// rounds up.
	hashFieldOverhead = 24 + 8 + 8 + 8
	// hashSmall slots are looked at one by one; more have an index.
	hashSmall = 16
	// hashPacked bytes of a seed share one allocation. More would be kept by the
	// last field that has not been changed.
	hashPacked = 512
)

// hashSlot holds one field in one piece of memory: its name, its value, and if
// it is timed its deadline. The zero slot is dead: it holds nothing.
type hashSlot struct {
	data string
	n    uint32 // the length of the name
	kind slotKind
}

type slotKind uint8

const (
	slotDead   slotKind = iota
	slotPlain           // a field
	slotTimed           // a field with a deadline, in the last 8 bytes of data
	slotAbsent          // of a partial hash: the name of a field that does not exist
)

const deadlineLen = 8

// newSlot copies a field. The deadline 0 is none.
func newSlot(name, value []byte, deadline int64) hashSlot {
	var b strings.Builder
	size := len(name) + len(value)
	if deadline != 0 {
		size += deadlineLen
	}
	b.Grow(size)
	return packSlot(&b, name, value, deadline)
}

// packSlot is newSlot for a builder that has room: what it builds next may share
// its memory.
func packSlot(b *strings.Builder, name, value []byte, deadline int64) hashSlot {
	start := b.Len()
	b.Write(name)
	b.Write(value)
	s := hashSlot{data: b.String()[start:], n: uint32(len(name)), kind: slotPlain}
	if deadline != 0 {
		room := encodeDeadline(deadline)
		b.Write(room[:])
		s.data, s.kind = b.String()[start:], slotTimed
	}
	return s
}

func encodeDeadline(ms int64) (room [deadlineLen]byte) {
	binary.LittleEndian.PutUint64(room[:], uint64(ms))
	return room
}

// withDeadline is the field with another deadline; 0 is none.
func (s *hashSlot) withDeadline(ms int64) hashSlot {
	body := s.data
	if s.kind == slotTimed {
		body = body[:len(body)-deadlineLen]
	}
	if ms == 0 {
		return hashSlot{data: body, n: s.n, kind: slotPlain}
	}
	room := encodeDeadline(ms)
	return hashSlot{data: body + string(room[:]), n: s.n, kind: slotTimed}
}

func (s *hashSlot) exists() bool { return s.kind == slotPlain || s.kind == slotTimed }
func (s *hashSlot) name() string { return s.data[:s.n] }

func (s *hashSlot) value() string {
	if s.kind == slotTimed {
		return s.data[s.n : len(s.data)-deadlineLen]
	}
	return s.data[s.n:]
}

// deadline is 0 when there is none.
func (s *hashSlot) deadline() int64 {
	if s.kind != slotTimed {
		return 0
	}
	return int64(binary.LittleEndian.Uint64([]byte(s.data[len(s.data)-deadlineLen:])))
}

// NewHash returns a hash of fields and their values, in turn. No pairs are no
// value: the zero Object.
func NewHash(pairs [][]byte) Object { return NewHashExpiring(pairs, nil) }

// NewHashExpiring is NewHash with the deadline of each field, in Unix
// milliseconds; 0 or less is none. deadlines may be shorter than the fields are
// many. Fields whose deadline has passed end when the object is first used.
func NewHashExpiring(pairs [][]byte, deadlines []int64) Object {
	n := len(pairs) / 2
	if n == 0 {
		return Object{}
	}
	h := &hash{slots: make([]hashSlot, 0, n)}
	size := 0
	for _, b := range pairs {
		size += len(b)
	}
	var packed strings.Builder
	if size += deadlineLen * min(len(deadlines), n); size <= hashPacked {
		packed.Grow(size)
	}
	for i := range n {
		var at int64
		if i < len(deadlines) {
			at = max(deadlines[i], 0)
		}
		if size <= hashPacked {
			h.slots = append(h.slots, packSlot(&packed, pairs[2*i], pairs[2*i+1], at))
		} else {
			h.slots = append(h.slots, newSlot(pairs[2*i], pairs[2*i+1], at))
		}
	}
	h.recount()
	return newObject(TypeHash, h)
}

// NewPartialHash returns a hash of so many fields, of which none is known yet. No
// fields are no value: the zero Object.
func NewPartialHash(count int64) Object {
	if count <= 0 {
		return Object{}
	}
	return newObject(TypeHash, &hash{partial: true, unknown: count})
}

func (h *hash) size() int64 {
	return hashOverhead + h.bytes
}

func (h *hash) whole() bool { return !h.partial }

// length is how many fields there are.
func (h *hash) length() int64 { return int64(h.live) + h.unknown }

// find is the slot of a field, or of one that is known not to exist, or -1.
func (h *hash) find(name []byte) int {
	if h.index != nil {
		return h.index.find(h.slots, name)
	}
	for i := range h.slots {
		s := &h.slots[i]
		if int(s.n) == len(name) && s.kind != slotDead && s.data[:s.n] == string(name) {
			return i
		}
	}
	return -1
}

// get is the slot of a field that exists, or nil. It is good until the hash is
// changed. A nil hash has no fields.
func (h *hash) get(name []byte) *hashSlot {
	if h == nil {
		return nil
	}
	if i := h.find(name); i >= 0 && h.slots[i].exists() {
		return &h.slots[i]
	}
	return nil
}

// expire drops the fields whose deadline is not after now.
//
// A pass over all slots each time that a deadline has passed: a heap of deadlines
// would cost every field with one more than such passes cost.
func (h *hash) expire(now int64) {
	if h.soonest == 0 || h.soonest > now {
		return
	}
	h.soonest = 0
	for i := range h.slots {
		s := &h.slots[i]
		at := s.deadline()
		switch {
		case at == 0:
		case at <= now:
			gone := h.removed(s)
			h.count(s, -1)
			h.count(&gone, 1)
			*s = gone
		case h.soonest == 0 || at < h.soonest:
			h.soonest = at
		}
	}
	h.trim()
}

// put makes a slot hold s. Dead slots at the end go, and come back when a change
// in front of which they were is taken back.
func (h *hash) put(at int, s hashSlot) {
	for at >= len(h.slots) {
		h.slots = append(h.slots, hashSlot{})
	}
	old := h.slots[at]
	h.count(&old, -1)
	h.count(&s, 1)
	h.slots[at] = s
	switch {
	case s.kind == slotDead:
		h.trim()
	case old.kind != slotDead && old.name() == s.name(): // it is in the index
	case h.index == nil:
		if len(h.slots) > hashSmall {
			h.index = newHashIndex(h.slots)
		}
	case !h.index.enter(h.slots, at):
		h.index = newHashIndex(h.slots)
	}
}

// count adds a slot to the sums, or with sign -1 takes it out.
func (h *hash) count(s *hashSlot, sign int32) {
	if s.kind == slotDead {
		return
	}
	h.bytes += int64(sign) * (hashFieldOverhead + int64(len(s.data)))
	if s.exists() {
		h.live += sign
	}
	if at := s.deadline(); at != 0 && sign > 0 && (h.soonest == 0 || at < h.soonest) {
		h.soonest = at
	}
}

func (h *hash) trim() {
	n := len(h.slots)
	for n > 0 && h.slots[n-1].kind == slotDead {
		n--
	}
	h.slots = h.slots[:n]
}

// removed is what the slot of a field holds once it has been removed.
func (h *hash) removed(s *hashSlot) hashSlot {
	if !h.partial {
		return hashSlot{}
	}
	return hashSlot{data: strings.Clone(s.name()), n: s.n, kind: slotAbsent}
}

// sparse reports whether most of many slots are dead.
func (h *hash) sparse() bool {
	return !h.partial && len(h.slots) > hashSmall && int(h.live) < len(h.slots)/2
}

// compact moves the fields together. It leaves the old slots as they are and
// returns them: uncompact is the way back.
func (h *hash) compact() []hashSlot {
	old := h.slots
	h.slots = make([]hashSlot, 0, h.live+h.live/4)
	for i := range old {
		if old[i].kind != slotDead {
			h.slots = append(h.slots, old[i])
		}
	}
	h.recount()
	return old
}

func (h *hash) uncompact(old []hashSlot) {
	h.slots = old
	h.recount()
}

// recount makes all that follows from the slots.
func (h *hash) recount() {
	h.bytes, h.live, h.soonest, h.index = 0, 0, 0, nil
	for i := range h.slots {
		h.count(&h.slots[i], 1)
	}
	if len(h.slots) > hashSmall {
		h.index = newHashIndex(h.slots)
	}
}

// learn implements learner.
func (h *hash) learn(f Fact) {
	if h.find(f.Member) >= 0 {
		return
	}
	if !f.Present {
		h.put(len(h.slots), hashSlot{data: string(f.Member), n: uint32(len(f.Member)), kind: slotAbsent})
		return
	}
	h.put(len(h.slots), newSlot(f.Member, f.Value, max(f.ExpireAt, 0)))
	h.unknown = max(h.unknown-1, 0)
}

// hashRestoreFields are in one of the commands that restore a hash.
const hashRestoreFields = 512

func (h *hash) restore(dst []byte, key string) []byte {
	left, room := int(h.live), 0
	for i := range h.slots {
		s := &h.slots[i]
		if !s.exists() {
			continue
		}
		if room == 0 {
			room = min(left, hashRestoreFields)
			left -= room
			dst = resp.AppendArray(dst, 2+2*room)
			dst = resp.AppendBulkString(dst, "HSET")
			dst = resp.AppendBulkString(dst, key)
		}
		dst = resp.AppendBulkString(dst, s.name())
		dst = resp.AppendBulkString(dst, s.value())
		room--
	}
	for i := range h.slots {
		if s := &h.slots[i]; s.kind == slotTimed {
			dst = appendStrings(dst, "HPEXPIREAT", key, formatInt(s.deadline()), "FIELDS", "1", s.name())
		}
	}
	return dst
}
