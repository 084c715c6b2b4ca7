package engine

// Change takes back what one call did to one object.
type Change struct {
	obj    *Object
	before Object
	undo   []func() // changes inside containers, oldest first

	// replaced says that the value owes nothing to what was there.
	replaced bool
	cost     int64 // what undo keeps alive, in bytes, as estimated
}

// undoOverhead is what a function that undoes costs beside what it keeps.
const undoOverhead = 64

// Undo leaves a function that takes back a change inside the object's container
// or its string. They run newest first, before the object's own fields are put
// back. cost is the memory that the function keeps alive.
func (ch *Change) Undo(cost int64, f func()) {
	ch.undo = append(ch.undo, f)
	ch.cost += undoOverhead + cost
}

// Object is the object that was changed.
func (ch *Change) Object() *Object { return ch.obj }

// Before is the object as it was. Only its fields are: a container in it is
// changed until Revert.
func (ch *Change) Before() *Object { return &ch.before }

// Replaced reports whether the value after the change owes nothing to the one
// before, as after SET or DEL.
func (ch *Change) Replaced() bool { return ch.replaced }

// Cost is the memory that the record keeps alive, beside itself.
func (ch *Change) Cost() int64 {
	n := ch.cost
	if cap(ch.before.str) > 0 && !sameArray(ch.before.str, ch.obj.str) {
		n += int64(cap(ch.before.str))
	}
	if ch.before.data != nil && ch.before.data != ch.obj.data {
		n += ch.before.data.size()
	}
	return n
}

// sameArray reports whether two slices begin in the same memory.
func sameArray(a, b []byte) bool {
	return cap(a) > 0 && cap(b) > 0 && &a[:1][0] == &b[:1][0]
}

// Revert takes the change back. Later changes to the same object must have been
// taken back before.
func (ch *Change) Revert() {
	for i := len(ch.undo) - 1; i >= 0; i-- {
		ch.undo[i]()
	}
	*ch.obj = ch.before
	ch.obj.mark = 0
}

// Plain reports whether the object's own fields are all that Revert puts back.
func (ch *Change) Plain() bool { return len(ch.undo) == 0 }
