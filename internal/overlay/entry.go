package overlay

// What an entry and an undo record cost beside the bytes they hold: their
// structs, and an entry's place in the map.
const (
	entryOverhead = 272
	undoOverhead  = 192
	opOverhead    = 56
	argOverhead   = 24
)

// value is what a key holds.
type value struct {
	kind     Kind
	str      []byte // never changed below its length: replies share it
	hash     *hash
	typ      string // of an opaque value: what TYPE answers
	expireAt int64  // Unix milliseconds of the server's clock; 0 is none
}

// expire drops the value if its deadline has passed.
func (v *value) expire(now int64) {
	if v.expireAt != 0 && v.expireAt <= now {
		*v = value{}
	}
}

func (v *value) size() int64 {
	n := int64(cap(v.str))
	if v.hash != nil {
		n += int64(v.hash.bytes)
	}
	return n
}

// op is a deferred write that an unresolved key keeps until a seed comes.
type op struct {
	seq    uint64
	args   [][]byte
	at     int64 // when it was executed
	lapses int64 // nothing is left of it from this time on; 0: always
}

// state is the part of an entry that a write changes and an undo restores.
type state struct {
	val     value
	lastSeq uint64 // of the last deferred write that names the key; 0 before the first commit
	known   bool   // val is what the server would hold; else the key is unresolved
	based   bool   // val rests on a seed
	ops     []op   // the writes of an unresolved key, oldest first
	opBytes int64
}

// entry is one key of the overlay. Everything in it is guarded by the lock of
// its shard.
type entry struct {
	key Key
	state
	origin  *Origin // of the last seed; nil without one
	touched int     // during a call: 1 + index of its undo record
	charged int64   // bytes that count against Options.MaxBytes

	prev, next *entry        // the shard's order by lastSeq
	gone       chan struct{} // closed when the entry leaves; made by the first waiter
}

// snapshot copies the state so that later appends to its slices cannot reach
// into the copy.
func (e *entry) snapshot() state {
	s := e.state
	s.val.str = s.val.str[:len(s.val.str):len(s.val.str)]
	s.ops = s.ops[:len(s.ops):len(s.ops)]
	return s
}

func (e *entry) size() int64 {
	return entryOverhead + int64(len(e.key.Name)) + e.val.size() + e.opBytes
}

// keep stores the call's arguments as a pending write of an unresolved key.
func (e *entry) keep(x *call, lapses int64) {
	args := x.args
	if x.cmd.many { // each key keeps its own part
		args = [][]byte{x.args[0], []byte(e.key.Name)}
	}
	o := op{args: make([][]byte, len(args)), at: x.now, lapses: lapses}
	size := int64(opOverhead)
	for i, arg := range args {
		o.args[i] = append([]byte(nil), arg...)
		size += argOverhead + int64(len(arg))
	}
	e.ops = append(e.ops, o)
	e.opBytes += size
}

// adopt makes a seed the base of an entry and applies the pending writes that
// the seed does not contain.
func (e *entry) adopt(s *Seed, now int64) {
	ops := e.ops
	e.val = s.value()
	e.known, e.based = true, s.Kind != KindNone
	e.ops, e.opBytes = nil, 0
	origin := s.Origin
	e.origin = &origin
	for _, o := range ops {
		if o.seq <= s.Fence {
			continue
		}
		if o.lapses != 0 && o.lapses <= now {
			e.val = value{}
			continue
		}
		x := call{cmd: lookup(o.args), args: o.args, now: o.at, keyOf: []int{0}, entries: []*entry{e}}
		// Its reply was given long ago. An error, of the write or of the
		// overlay, leaves the value as it was, as it will at the server.
		x.cmd.exec(&x)
		x.settle()
	}
}

// value turns a seed into a value. The seed's bytes become the value's.
func (s *Seed) value() value {
	v := value{kind: s.Kind, expireAt: s.ExpireAt}
	switch s.Kind {
	case KindString:
		v.str = s.Str[:len(s.Str):len(s.Str)]
	case KindHash:
		v.hash = &hash{}
		for i := 0; i+1 < len(s.Fields); i += 2 {
			v.hash.set(s.Fields[i], s.Fields[i+1])
		}
		if v.hash.live == 0 {
			return value{}
		}
	case KindOpaque:
		v.typ = s.Type
	default:
		return value{}
	}
	return v
}

// undo takes back one write on one key.
type undo struct {
	seq    uint64
	entry  *entry
	before state
	fields []fieldChange // changes inside before.val.hash, oldest first
	cost   int64
}

func (u *undo) revert() {
	u.entry.state = u.before
	for i := len(u.fields) - 1; i >= 0; i-- {
		u.before.val.hash.undo(u.fields[i])
	}
}

// measure sets what the record costs: what it keeps alive that the entry does
// not.
func (u *undo) measure() {
	u.cost = undoOverhead
	if len(u.before.val.str) > 0 {
		u.cost += int64(len(u.before.val.str))
	}
	if h := u.before.val.hash; h != nil && h != u.entry.val.hash {
		u.cost += int64(h.bytes)
	}
	for _, f := range u.fields {
		u.cost += fieldOverhead + int64(len(f.name)+len(f.old))
	}
	if len(u.entry.ops) == 0 {
		u.cost += u.before.opBytes
	}
}
