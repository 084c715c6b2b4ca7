package replay

import "context"

// send is the session's loop: batch after batch, and idle when there is none.
func (r *Replayer) send(ctx context.Context, s *session, a *acker) error {
	notify(a.acked) // what was trimmed or applied before may be all there is
	for {
		if err := a.failed(); err != nil {
			return err
		}
		found, err := r.fill(s)
		if err != nil {
			return err
		}
		if !found {
			if err := r.idle(ctx, s, a); err != nil {
				return err
			}
			continue
		}
		if err := r.deliver(s); err != nil {
			return err
		}
		notify(a.acked)
	}
}

// fill reads the next batch, if there is one. It may be empty of entries: when
// all the rest are dead letters, or behind a gap, the fence alone has to move on.
func (r *Replayer) fill(s *session) (bool, error) {
	// Bounds comes first: what it calls Last is seen by the Read that follows, so
	// an empty Read means that there is nothing alive up to it.
	last := r.opt.Source.Bounds().Last
	if last <= s.after && !s.mend {
		return false, nil
	}
	b := &s.batch
	var err error
	b.entries, err = r.opt.Source.Read(b.entries[:0], s.after, r.opt.BatchEntries, r.opt.BatchBytes)
	if err != nil {
		return false, sourceError("read", err)
	}
	b.last = last
	if n := len(b.entries); n > 0 {
		b.last = b.entries[n-1].Seq
	}
	return true, r.weed(b)
}

// weed takes out what must not be sent.
func (r *Replayer) weed(b *batch) error {
	var faults []fault
	for i, e := range b.entries {
		if b.vet(e.Cmd) {
			continue
		}
		if err := r.deadLetter(DeadLetter{Seq: e.Seq, Reason: ReasonMalformed}); err != nil {
			return err
		}
		faults = append(faults, fault{index: i})
	}
	if len(faults) > 0 {
		b.drop(faults)
	}
	return nil
}

// deliver sends the batch until it is applied, without the entries that keep it
// from being so. An error ends the session.
func (r *Replayer) deliver(s *session) error {
	for {
		r.launch(&s.batch)
		v, err := s.exchange(r.fence)
		if err != nil {
			return err
		}
		for _, f := range v.dead {
			d := DeadLetter{Seq: s.batch.entries[f.index].Seq, Reason: ReasonRejected, Text: f.text}
			if err := r.deadLetter(d); err != nil {
				return err
			}
		}
		if v.err != nil {
			return v.err
		}
		if !v.resend {
			r.landed(s, s.batch.counted(v.dead))
			return nil
		}
		s.batch.drop(v.dead)
	}
}

// launch notes, before a batch is sent, that it may be applied.
func (r *Replayer) launch(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = max(r.sent, b.last)
	r.flightLast, r.flightLen = b.last, b.counted(nil)
}

// landed notes that the batch is in the primary, with so many writes.
func (r *Replayer) landed(s *session, written int) {
	s.after, s.mend = s.batch.last, false
	s.fence = fenceValue{found: true, value: s.batch.last}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flightLast = 0
	r.prog.Acked = s.batch.last
	r.stats.Acked = s.batch.last
	r.stats.Batches++
	r.stats.Replayed += uint64(written)
}

// idle waits for something to do.
func (r *Replayer) idle(ctx context.Context, s *session, a *acker) error {
	select {
	case <-r.wake:
		return nil
	case <-a.done:
		if err := a.failed(); err != nil {
			return err
		}
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case upTo := <-a.drained:
		return r.drained(s, upTo)
	}
}

// drained lets the fence of a journal without pending entries expire.
func (r *Replayer) drained(s *session, upTo uint64) error {
	if upTo == s.after && s.fence.found && r.opt.FenceTTL > 0 && r.opt.Source.Bounds().Last == upTo {
		if err := s.retire(r.fence, r.opt.FenceTTL.Milliseconds()); err != nil {
			return err
		}
	}
	if r.opt.Hooks.Drained != nil {
		r.opt.Hooks.Drained(upTo)
	}
	return nil
}
