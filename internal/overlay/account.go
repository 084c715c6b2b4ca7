package overlay

import "github.com/holdfast-cache/holdfast/internal/engine"

// account takes the changes of a write that has run into the call, and what
// follows from it for what is known of its keys.
func (o *Overlay) account(x *call, s *step, exact bool, before []byte, lapses int64) {
	x.depends = earlier(x.depends, x.run.Depends())
	x.dirty = x.dirty || x.run.Dirty()
	changes := x.run.Changes()
	x.run.Settle()
	if len(x.steps) == 1 {
		x.changes = changes
	} else {
		from := len(x.several)
		x.several = append(x.several, changes...)
		x.changes, changes = x.several, x.several[from:]
	}
	x.running = false

	refs := s.refs(x)
	hint := 0
	for i := range changes {
		at := x.owner(refs, changes[i].Object(), &hint)
		if at < 0 {
			continue
		}
		x.changed(at, &changes[i], s, exact)
	}
	switch {
	case s.erases():
		for _, at := range refs {
			e := x.refs[at].e
			if !e.is(flagKnown) || e.is(flagLost) || !e.held() && !e.obj.Exists() {
				// The key may exist at the server: the deletion must be journaled
				// although nothing is known of it here, or a replica lacks it, which
				// may not have had what the primary that returns still has.
				x.dirty = true
				x.refs[at].altered = true
				e.obj = engine.Object{}
				e.overwritten()
			}
		}
	case !x.allKnown(refs):
		x.dirty = true
		o.tie(x, s, before, lapses)
	}
}

// owner finds the key of an object, going round from where the last one was.
func (x *call) owner(refs []int, obj *engine.Object, hint *int) int {
	if x.alone {
		return 0
	}
	for range refs {
		if at := refs[*hint]; &x.refs[at].e.obj == obj {
			return at
		}
		if *hint++; *hint == len(refs) {
			*hint = 0
		}
	}
	return -1
}

func (x *call) basedOn(refs []int) bool {
	for _, at := range refs {
		if x.refs[at].e.is(flagBased) {
			return true
		}
	}
	return false
}

func (x *call) anyLost(refs []int) bool {
	for _, at := range refs {
		if x.refs[at].e.is(flagLost) {
			return true
		}
	}
	return false
}

func (x *call) allKnown(refs []int) bool {
	for _, at := range refs {
		if !x.refs[at].e.is(flagKnown) {
			return false
		}
	}
	return true
}

// changed notes what a change means for what is known of the key.
func (x *call) changed(at int, ch *engine.Change, s *step, exact bool) {
	r := &x.refs[at]
	e := r.e
	r.altered = true
	switch {
	case !ch.Replaced():
		if !e.obj.Partial() {
			e.flags &^= flagMoved
		}
	case s.need == engine.NeedNothing || s.erases():
		e.overwritten()
	case exact:
		// Its value came from the command's other keys.
		based := x.basedOn(s.refs(x))
		e.flags = flagKnown
		if based {
			e.flags |= flagBased
		}
		if e.obj.Partial() {
			e.flags |= flagMoved
		}
	}
}
