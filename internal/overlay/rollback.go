package overlay

import "slices"

// Rollback takes back every write with sequence from or later, newest first,
// except those that Durable has passed: the journal could not make them durable.
// Call it after the journal has begun to refuse new writes; their callers hear
// that the outcome is in doubt. It returns the number of (key, write) pairs that
// were taken back.
func (o *Overlay) Rollback(from uint64) int {
	// All locks at once, so that no reader sees half of a multi-key write.
	for i := range o.shards {
		o.shards[i].mu.Lock()
		defer o.shards[i].mu.Unlock()
	}
	from = max(from, 1)
	if durable := o.durable.Load(); from <= durable {
		if durable+1 == 0 {
			return 0
		}
		from = durable + 1
	}
	records := o.cutRecords(from)
	if len(records) == 0 {
		return 0
	}
	touched := make(map[*entry]bool) // the entry, and whether it was known before
	var broken []*entry
	named := 0
	for i := range records {
		u := &records[i]
		if _, seen := touched[u.entry]; !seen {
			touched[u.entry] = u.entry.is(flagKnown)
		}
		if u.entry.lastSeq == u.seq {
			named++
		}
		ok := u.deep.revert()
		u.restore()
		if !ok {
			broken = append(broken, u.entry)
		}
		if u.entry.knot != nil {
			u.entry.knot.cut(from)
		}
	}
	for _, e := range broken {
		e.lose()
	}
	o.settleRollback(touched)
	return named
}

// cutRecords takes the records from a sequence on out of all shards. The newest
// comes first in all shards together: a write may move a value from a key to
// another, and changes inside the value are taken back in order.
func (o *Overlay) cutRecords(from uint64) []undo {
	var records []undo
	for i := range o.shards {
		s := &o.shards[i]
		first := len(s.undo)
		for first > s.head && s.undo[first-1].seq >= from {
			first--
			o.bytes.Add(-s.undo[first].cost)
		}
		records = append(records, s.undo[first:]...)
		clear(s.undo[first:])
		s.undo = s.undo[:first]
	}
	slices.SortStableFunc(records, func(a, b undo) int {
		switch {
		case a.seq > b.seq:
			return -1
		case a.seq < b.seq:
			return 1
		}
		return 0
	})
	return records
}

// settleRollback brings counts, charges and the shards' order up to date.
func (o *Overlay) settleRollback(touched map[*entry]bool) {
	resort := make(map[*shard]bool)
	for e, known := range touched {
		if e.is(flagGone) {
			continue // it left long ago; only a knot that it was in knew it
		}
		s := o.shard(e.name)
		if !e.held() { // the writes taken back were its only ones
			s.remove(e)
			o.bytes.Add(-e.charged)
			o.held.Add(-1)
			o.countUnresolved(known, true)
			continue
		}
		resort[s] = true
		o.countUnresolved(known, e.is(flagKnown))
		o.recharge(e)
		if e.knot == nil {
			continue
		}
		for _, k := range e.knot.keys { // their shares went down too
			if other := o.shard(k.Name).find(k.DB, k.Name); other != nil {
				o.recharge(other)
			}
		}
	}
	for s := range resort {
		s.resort()
	}
}

// recharge brings what a held entry is charged up to date.
func (o *Overlay) recharge(e *entry) {
	size := e.size()
	if size != e.charged {
		o.bytes.Add(size - e.charged)
		e.charged = size
	}
}
