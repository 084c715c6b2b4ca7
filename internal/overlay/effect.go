package overlay

import (
	"errors"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// judge sets the effect of a write that was executed and not yet committed.
func (x *call) judge() {
	f := &x.effect
	*f = Effect{At: x.now}
	if x.alone {
		x.judgeOne()
		return
	}
	if len(x.steps) > 1 {
		f.Failed = x.failed
	}
	f.Until = earlier(x.until, x.depends)
	if f.Until != 0 {
		f.Restore = x.restore()
	}
}

// judgeOne is judge for one command on one key.
func (x *call) judgeOne() {
	f := &x.effect
	e := x.refs[0].e
	if !e.is(flagKnown) || e.is(flagLost) || !e.obj.Exists() {
		return
	}
	if len(x.changes) > 0 {
		f.deadlines(&e.obj, &x.changes[0])
	} else {
		f.Lapses = e.obj.ExpireAt()
	}
	f.Until = earlier(f.Until, x.depends)
	if f.Until != 0 {
		f.Restore = x.restore()
	}
}

// deadlines says what a change did to the deadline of its object.
func (f *Effect) deadlines(obj *engine.Object, ch *engine.Change) {
	before := ch.Before().ExpireAt()
	f.Lapses = obj.ExpireAt()
	f.Sets = f.Lapses != 0 && f.Lapses != before
	if !ch.Replaced() && before != 0 && (f.Lapses == 0 || f.Lapses > before) {
		f.Until = before
	}
}

// restore encodes the commands that bring all changed keys to their state.
func (x *call) restore() (b []byte) {
	for i := range x.refs {
		r := &x.refs[i]
		if !r.altered {
			continue
		}
		ok := r.e.is(flagKnown) && !r.e.is(flagLost)
		if ok {
			b, ok = r.e.obj.AppendRestore(b, r.e.name)
		}
		if !ok {
			return nil // a part of it would be worse than none
		}
	}
	return b
}

// unprotected refuses a write whose result rests on a deadline and cannot be kept
// as commands, because a key of it is not wholly known: replayed after that
// deadline it would do something else. The one exception is a single command that
// moves the deadline of a big key; that its former deadline may pass first is a
// limit of its own.
func (x *call) unprotected() error {
	f := &x.effect
	if f.Until == 0 || len(f.Restore) > 0 || (x.alone && x.depends == 0) {
		return nil
	}
	s := &x.steps[0]
	for i := range x.refs {
		if e := x.refs[i].e; x.refs[i].altered && (!e.is(flagKnown) || e.is(flagLost)) {
			return baseUnknown(s, errLost)
		}
	}
	return tooBig(s, errDeadline)
}

var errDeadline = errors.New("overlay: a deadline has to be kept together with a value that is not wholly known")
