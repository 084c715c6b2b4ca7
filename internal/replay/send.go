package replay

import (
	"context"
	"errors"
	"time"
)

// send is the session's loop: batch after batch, and idle when there is none.
func (r *Replayer) send(ctx context.Context, s *session, a *acker) error {
	notify(a.acked) // what was trimmed or applied before may be all there is
	told := time.Now()
	for {
		if err := a.failed(); err != nil {
			return err
		}
		found, err := r.takeQueued(s)
		if err != nil {
			return err
		}
		if !found {
			if err := r.admit(ctx, s, a, false); err != nil {
				return err
			}
			s.readAt = time.Now()
			if found, err = r.fill(&s.batch, s.after, s.mend); err != nil {
				return err
			}
		}
		if !found {
			if err := r.idle(ctx, s, a); err != nil {
				return err
			}
			continue
		}
		switch err := r.deliver(ctx, s); {
		case errors.Is(err, errAged):
			if err := s.unwatch(r.fence); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		// While one batch is on the server behind the other, trimming after each would
		// take the processor that the next one is made ready by. Behind the last of them
		// none is queued.
		if !s.queued || time.Since(told) >= r.tellEvery {
			told = time.Now()
			notify(a.acked)
		}
	}
}

// tellEvery is how long what has landed may wait for being trimmed while more is queued.
const tellEvery = 5 * time.Millisecond

// fill reads the batch behind a sequence, if there is one. It may be empty of entries:
// when all the rest are dead letters, or behind a gap, the fence alone has to move on;
// mend says that it has to in any case.
func (r *Replayer) fill(b *batch, after uint64, mend bool) (bool, error) {
	// Bounds comes first: what it calls Last is seen by the Read that follows, so
	// an empty Read means that there is nothing alive up to it.
	last := r.opt.Source.Bounds().Last
	if last <= after && !mend {
		return false, nil
	}
	var err error
	b.held, b.settled = false, false
	b.entries, err = r.opt.Source.Read(b.entries[:0], after, r.pacing.entries(), r.opt.BatchBytes)
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
	for i := range b.entries {
		e := &b.entries[i]
		if vet(e.Cmd) {
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
func (r *Replayer) deliver(ctx context.Context, s *session) error {
	r.conflicts.begin()
	for {
		if _, _, err := r.uncontested(ctx, s, r.fence, s.fence); err != nil {
			return err
		}
		if err := r.conflicts.unhurried(s.readAt, r.aheadFor); err != nil {
			return err
		}
		r.launch(&s.batch)
		v, err := r.exchange(s)
		if err != nil {
			return err
		}
		if s.out.exec != execApplied {
			r.missed(s.after)
		}
		if s.out.watch == "" && s.out.after == s.fence && r.contested(s) {
			continue
		}
		if err := r.rejected(&s.batch, v.dead, s.out.exec == execApplied); err != nil {
			return err
		}
		r.conflicts.rejected(&s.batch, v.dead)
		if v.err != nil {
			return v.err
		}
		if !v.resend {
			r.landed(s, s.batch.counted(v.dead))
			if r.follow(&s.batch) {
				continue
			}
			return nil
		}
		if s.queued { // in its place, what is left of the batch comes first
			if err := s.withdraw(r.fence); err != nil {
				return err
			}
		}
		s.batch.drop(v.dead)
	}
}

// rejected keeps the entries of a batch aside that the server declined. passed says that
// the fence has gone past them.
func (r *Replayer) rejected(b *batch, dead []fault, passed bool) error {
	var failed error
	for _, f := range dead {
		d := DeadLetter{Seq: b.entries[f.index].Seq, Reason: ReasonRejected, Text: f.text, Passed: passed}
		failed = errors.Join(failed, r.deadLetter(d)) // each is told of, also where one can't be kept
	}
	return failed
}

// launch notes, before a batch is sent, that it may be applied.
func (r *Replayer) launch(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent, r.reach = max(r.sent, b.last), max(r.reach, b.last)
	r.flightLast, r.flightLen = b.last, b.counted(nil)
}

// missed notes that the batch was not applied, so that nothing is behind after.
func (r *Replayer) missed(after uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reach = after
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
	if r.laned != nil {
		return r.drainedLanes(s, upTo)
	}
	if upTo == s.after && s.fence.found && r.opt.FenceTTL > 0 && r.opt.Source.Bounds().Last == upTo {
		retire := func() error { return s.retire(r.fence, r.opt.FenceTTL.Milliseconds()) }
		if r.opt.Plain {
			retire = func() error { return r.retirePlain(s) }
		}
		if err := retire(); err != nil {
			return err
		}
	}
	r.conflicts.trimmed(upTo)
	if r.opt.Hooks.Drained != nil {
		r.opt.Hooks.Drained(upTo)
	}
	return nil
}
