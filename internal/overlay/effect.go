package overlay

// effect looks at a write that was executed and not yet committed.
func (x *call) effect() Effect {
	f := Effect{At: x.now}
	if x.alone {
		x.effectOnOne(&f)
		return f
	}
	if len(x.steps) > 1 {
		f.Failed = x.failed
	}
	f.Until = earlier(x.until, x.depends)
	if f.Until != 0 {
		f.Restore = x.restore()
	}
	return f
}

// effectOnOne is the effect of one command on one key.
func (x *call) effectOnOne(f *Effect) {
	e := x.refs[0].e
	if !e.is(flagKnown) || e.is(flagLost) || !e.obj.Exists() {
		return
	}
	f.Lapses = e.obj.ExpireAt()
	if len(x.changes) > 0 && !x.changes[0].Replaced() {
		before := x.changes[0].Before().ExpireAt()
		if before != 0 && (f.Lapses == 0 || f.Lapses > before) {
			f.Until = before
		}
	}
	f.Until = earlier(f.Until, x.depends)
	if f.Until != 0 {
		f.Restore = x.restore()
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
