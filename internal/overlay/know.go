package overlay

import "github.com/holdfast-cache/holdfast/internal/engine"

// know tries to make a key of the call known: it gives an unresolved entry its
// seed, with its pending writes on top, or claims the seeds that are missing and
// sets waiting. Afterwards the entry is known, or the call is waiting, or the
// ref's verdict says why not. It needs the locks.
func (x *call) know(at int) {
	r := &x.refs[at]
	if r.e.is(flagKnown) {
		return
	}
	group := []int{at}
	if k := r.e.knot; k != nil && len(k.keys) > 1 {
		group = group[:0]
		for _, key := range k.keys {
			group = append(group, x.find([]byte(key.Name)))
		}
	}
	ready := true
	for _, at := range group {
		if !x.seeded(at) {
			ready = false
		}
		if v := x.refs[at].verdict; v != nil {
			r.verdict = v
			return
		}
	}
	switch {
	case !ready:
		x.waiting = true
	case !x.oneFence(group):
	default:
		x.adopt(r.e.knot, group)
	}
	if r.verdict == nil && !r.e.is(flagKnown) {
		x.waiting = true
	}
}

// seeded reports whether the seed of a key has come and can be used. Otherwise
// it claims one, or the verdict says why there is none.
func (x *call) seeded(at int) bool {
	r := &x.refs[at]
	if r.verdict != nil {
		return false
	}
	if r.f != nil && (r.f.stale || r.f.used) {
		x.o.release(r)
	}
	switch {
	case r.f == nil:
		x.o.claim(r)
		return false
	case !r.f.ended():
		return false
	case r.f.err != nil:
		r.verdict = r.f.err
		x.o.release(r)
		return false
	}
	return true
}

// oneFence reports whether the seeds of keys that pending writes tie together
// contain the same writes. Seeds that don't are read again, together.
func (x *call) oneFence(group []int) bool {
	fence := x.refs[group[0]].f.base.fence
	same := true
	for _, at := range group[1:] {
		same = same && x.refs[at].f.base.fence == fence
	}
	if same {
		return true
	}
	x.fences++
	for _, at := range group {
		r := &x.refs[at]
		r.f.stale = true
		x.o.release(r)
		if x.fences > maxRounds {
			r.verdict = errFence
		} else {
			x.o.claim(r)
		}
	}
	return false
}

// adopt makes the seeds of the group the bases of its entries and applies the
// pending writes that the seeds do not contain. The seeds' bytes become the
// entries': two must not grow one string in place, hence used.
func (x *call) adopt(k *knot, group []int) {
	p := play{o: x.o}
	if k != nil && !x.play(&p, k, group) {
		return
	}
	for _, at := range group {
		r := &x.refs[at]
		if r.e.is(flagKnown) || r.e.knot != k {
			// It was overwritten since; its seed served the others, which may have
			// left it as no server has it.
			r.f.used = r.f.used || p.altered(&r.f.value)
			continue
		}
		r.f.used = true
		x.settle(r.e, r.f.value, r.f.base)
		if p.moved[&r.f.value] {
			r.e.flags |= flagMoved
		}
	}
}

// settle gives an unresolved entry its value.
func (x *call) settle(e *entry, v engine.Object, b *base) {
	lost := e.is(flagLost)
	e.obj, e.base, e.knot = v, b, nil
	e.flags = flagKnown
	switch {
	case lost:
		e.lose()
	case b.existed:
		e.flags |= flagBased
	}
	if e.held() {
		x.o.unresolved.Add(-1)
		x.o.recharge(e)
	}
}

// play runs pending writes on the seeds. It reports false when members must be
// learnt first; the seeds are then as they came.
func (x *call) play(p *play, k *knot, group []int) bool {
	p.objects = make(map[string]*engine.Object, len(group))
	for _, at := range group {
		r := &x.refs[at]
		p.objects[r.e.name] = &r.f.value
	}
	if !p.run(k.ops, x.refs[group[0]].f.base.fence, x.now) {
		p.lost = true
	} else if len(p.misses) > 0 {
		revertChanges(p.changes)
		for _, at := range group {
			if r := &x.refs[at]; len(p.misses[r.e.name]) > 0 {
				x.want(at, r.f.value.Type(), r.f.base, true, "the replay of pending writes", p.misses[r.e.name]...)
			}
		}
		return false
	}
	if p.lost {
		for _, at := range group {
			if e := x.refs[at].e; e.knot == k && !e.is(flagKnown) {
				e.flags |= flagLost
			}
		}
	}
	return true
}
