package overlay

import "github.com/holdfast-cache/holdfast/internal/engine"

// What an entry costs beside its name and value: its struct, and its place in
// the map.
const entryOverhead = 128 + 48

// entry is one key of the overlay. Everything in it is guarded by the lock of
// its shard. There may be very many: it is kept at 128 bytes.
type entry struct {
	obj     engine.Object
	name    string
	lastSeq uint64 // of the last deferred write that names the key; 0 before the first commit
	charged int64  // bytes that count against Options.MaxBytes

	prev, next *entry // the shard's order by lastSeq

	knot  *knot // the pending writes of an unresolved key
	base  *base // of the last seed; nil without one
	db    int32
	flags flags
	lane  uint16 // by Options.Lane, once the entry is in its shard
}

// flags say how good an entry's value is.
type flags uint8

const (
	// flagKnown: the value is what the server would hold. Without it the key is
	// unresolved: the value is an estimate from this process's own writes.
	flagKnown flags = 1 << iota
	// flagBased: the value rests on a seed.
	flagBased
	// flagMoved: the value is partial and came from another key, as by RENAME:
	// the server cannot be asked for its members under this name.
	flagMoved
	// flagLost: nothing can be said of the value until the key's writes are in a
	// primary. It is set together with flagKnown: no seed helps.
	flagLost
	// flagGone: the entry has left the overlay.
	flagGone
)

// base is the state of a key at the server that an entry's value was made from.
// Its address tells one reading from another.
type base struct {
	origin  Origin
	fence   uint64
	existed bool
}

func (e *entry) is(f flags) bool { return e.flags&f != 0 }

func (e *entry) held() bool { return e.lastSeq != 0 }

func (e *entry) key() Key { return Key{DB: int(e.db), Name: e.name} }

// size is the memory that the entry takes, as estimated.
func (e *entry) size() int64 {
	n := entryOverhead + int64(len(e.name)) + e.obj.Size()
	if e.knot != nil {
		n += e.knot.share()
	}
	return n
}

// overwritten says that the value owes nothing to what was there.
func (e *entry) overwritten() {
	e.flags = flagKnown
	e.knot = nil
}

// lose gives up the value.
func (e *entry) lose() {
	e.obj = engine.Object{}
	e.flags = flagKnown | flagLost
	e.knot = nil
}

// undoOverhead is what an undo record costs beside what it keeps alive.
const undoOverhead = 112

// undo takes back one write on one key.
type undo struct {
	seq    uint64
	entry  *entry
	before engine.Object

	// deep is shared by the records of a write that changed more than the fields
	// of its objects; nil for others.
	deep *deep

	lastSeq uint64
	knot    *knot
	cost    int64
	flags   flags
}

// deep is how to take back a write inside its objects.
type deep struct {
	changes          []engine.Change // oldest first
	reverted, failed bool
}

// revert runs once, whichever of the write's records comes first. It reports
// false when a fault left the objects in no known state.
func (d *deep) revert() (ok bool) {
	if d == nil {
		return true
	}
	if !d.reverted {
		d.reverted = true
		d.failed = !revertChanges(d.changes)
	}
	return !d.failed
}

// revertChanges takes changes back, newest first, and contains faults.
func revertChanges(changes []engine.Change) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	for i := len(changes) - 1; i >= 0; i-- {
		changes[i].Revert()
	}
	return true
}

// restore puts the entry back. The write's deep changes must have been taken
// back before.
func (u *undo) restore() {
	gone := u.entry.flags & flagGone
	u.entry.obj = u.before
	u.entry.lastSeq, u.entry.knot, u.entry.flags = u.lastSeq, u.knot, u.flags|gone
}
