package overlay

// run is the entries of one lane in a shard's order, which stand together.
type run struct{ first, last *entry }

// trimStep is how many keys, and how many undo records, leave under one holding of a
// lock: writers wait for it.
const trimStep = 512

// TrimLanes is Trim for the keys of some lanes, by Options.Lane: all writes up to seq
// on keys for whose lane mine says so are safe in a primary. Keys of other lanes stay.
// mine is called under locks: it must be quick, and not call back. Without
// Options.Lane all keys are of lane 0.
func (o *Overlay) TrimLanes(seq uint64, mine func(lane uint16) bool) int {
	if o.lane == nil {
		if !mine(0) {
			return 0
		}
		return o.Trim(seq)
	}
	o.Durable(seq)
	left := 0
	for i := range o.shards {
		for more := true; more; {
			var n int
			n, more = o.trimSome(&o.shards[i], seq, mine)
			left += n
		}
	}
	return left
}

// trimSome trims a step's worth of a shard, and reports whether there is more.
func (o *Overlay) trimSome(s *shard, seq uint64, mine func(lane uint16) bool) (left int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	durable := o.durable.Load()
	freed := s.forget(durable, trimStep)
	more = s.head < len(s.undo) && s.undo[s.head].seq <= durable
	for lane, r := range s.runs {
		if r.first.lastSeq > seq || !mine(lane) {
			continue
		}
		// The entry behind the lane's last one is another lane's.
		for e, next := r.first, (*entry)(nil); e != nil && e.lane == lane && e.lastSeq <= seq; e = next {
			if left == trimStep {
				more = true
				break
			}
			next = e.next
			freed += o.dismiss(s, e)
			left++
		}
		if more && left == trimStep {
			break
		}
	}
	o.bytes.Add(-freed)
	return left, more
}

// dismiss takes an entry out whose writes are safe in a primary, and returns what it
// was charged.
func (o *Overlay) dismiss(s *shard, e *entry) int64 {
	s.remove(e)
	o.held.Add(-1)
	if !e.is(flagKnown) {
		o.unresolved.Add(-1)
	}
	return e.charged
}

// extend makes e the last one of its lane, and returns what it stands behind: its
// lane's last one, else the last one of all.
func (s *shard) extend(e *entry) (before *entry) {
	r, ok := s.runs[e.lane]
	if !ok {
		s.runs[e.lane] = run{e, e}
		return s.last
	}
	before, r.last = r.last, e
	s.runs[e.lane] = r
	return before
}

// shorten takes e out of its lane, before it leaves its place.
func (s *shard) shorten(e *entry) {
	r := s.runs[e.lane]
	switch {
	case r.first == e && r.last == e:
		delete(s.runs, e.lane)
		return
	case r.first == e:
		r.first = e.next
	case r.last == e:
		r.last = e.prev
	default:
		return
	}
	s.runs[e.lane] = r
}
