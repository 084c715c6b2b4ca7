package replay

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// How long a lane whose slot is on the move is left alone.
const (
	minHold = 10 * time.Millisecond
	maxHold = 500 * time.Millisecond
)

// partedFor is how old the chunks of a window may become. Which form their entries have,
// by their deadlines, is good for a second: see aheadFor. partedWorth is how many times as
// long as the parting took they serve at the least, so that it never takes all the time.
const (
	partedFor   = 300 * time.Millisecond
	partedWorth = 4
)

// aged reports whether the chunks have to be parted anew.
func (l *lanes) aged(limit time.Duration) bool {
	return time.Since(l.partedAt) > max(limit, partedWorth*l.parting)
}

// sendLanes is send where each lane has a fence: window after window.
func (r *Replayer) sendLanes(ctx context.Context, s *session, a *acker) error {
	notify(a.acked)
	for {
		if err := a.failed(); err != nil {
			return err
		}
		found, err := r.window(s, a)
		if err != nil {
			return err
		}
		if found {
			err = r.deliverWindow(ctx, s, a)
		} else {
			err = r.idle(ctx, s, a)
		}
		if err != nil {
			return err
		}
	}
}

// deliverWindow sends the window, round after round: first what can be sent, and then
// the lanes whose slots were on the move.
func (r *Replayer) deliverWindow(ctx context.Context, s *session, a *acker) error {
	l := &s.lanes
	if len(l.places) == 0 {
		return nil
	}
	for wait := minHold; ; wait = min(2*wait, maxHold) {
		for whole := false; !whole; {
			if err := r.learn(s); err != nil {
				return err
			}
			if err := r.part(s); err != nil {
				return err
			}
			var err error
			if whole, err = r.sendChunks(ctx, s, a); err != nil {
				return err
			}
		}
		if l.moved != "" {
			return r.elsewhere(s) // others may be on the move: they are found there
		}
		if !l.forgetMoving() {
			break
		}
		r.setPaused("ASK")
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		if err := alive(ctx, a); err != nil {
			return err
		}
	}
	r.setPaused("")
	r.passed(s, l.upTo)
	l.sent, l.places = 0, l.places[:0]
	notify(a.acked)
	return nil
}

// forgetMoving forgets the lanes whose slots are on the move, so that their fences
// are read again, and reports whether there are any.
func (l *lanes) forgetMoving() bool {
	found := false
	for _, p := range l.places {
		if view := l.known[p.Lane]; view != nil && view.state == laneMoving {
			delete(l.known, p.Lane)
			found = true
		}
	}
	return found
}

// sendChunks sends the chunks whose lanes are here. It reports false when those that are
// left have to be parted anew.
func (r *Replayer) sendChunks(ctx context.Context, s *session, a *acker) (whole bool, err error) {
	l := &s.lanes
	for i := range l.chunks {
		if err := alive(ctx, a); err != nil {
			return false, err
		}
		if err := r.admit(ctx, s, a, true); err != nil {
			return false, err
		}
		if l.aged(r.partedFor) {
			return false, nil
		}
		c := &l.chunks[i]
		switch err := r.deliverChunk(ctx, s, c, l.following(i)); {
		case errors.Is(err, errAged):
			return false, nil
		case err != nil:
			return false, err
		}
		if i+1 < len(l.chunks) && !l.held {
			// What is before all chunks that are left is in the primary.
			r.passed(s, l.entries[l.chunks[i+1].head].Seq-1)
		}
		if l.sent += c.count; l.sent >= r.opt.BatchEntries {
			l.sent = 0
			notify(a.acked)
		}
	}
	return true, nil
}

// following is the lane of the next chunk to be sent behind chunk i; if there is
// none, that chunk's own.
func (l *lanes) following(i int) uint16 {
	for _, c := range l.chunks[i+1:] {
		if l.known[c.lane].state == laneHere {
			return c.lane
		}
	}
	return l.chunks[i].lane
}

// deliverChunk sends a chunk until it is applied, without the entries that keep it
// from being so, unless its lane turns out not to be here. An error ends the session.
func (r *Replayer) deliverChunk(ctx context.Context, s *session, c *chunk, next uint16) error {
	l := &s.lanes
	view := l.known[c.lane]
	if view.state != laneHere {
		return nil
	}
	r.conflicts.begin()
	for s.load(c); len(s.batch.entries) > 0; {
		if !l.armed || l.watched != c.lane {
			if err := r.arm(s, c.lane); err != nil || view.state != laneHere {
				return err
			}
		}
		if err := r.uncontestedLane(ctx, s, c.lane); err != nil || view.state != laneHere {
			return err
		}
		if len(s.batch.entries) == 0 {
			r.follow(&s.batch)
			continue
		}
		if err := r.conflicts.unhurried(l.partedAt, r.partedFor); err != nil {
			l.armed = false
			_, unwatched := s.c.query([]string{"UNWATCH"})
			return cmp.Or(unwatched, err)
		}
		v, err := r.exchangeLane(s, c.lane, next)
		if err != nil {
			return err
		}
		if r.contested(s) {
			l.armed = false // what was watched is so no more
			continue
		}
		if err := r.rejected(&s.batch, v.dead, v.applied); err != nil {
			return err
		}
		r.conflicts.rejected(&s.batch, v.dead)
		if v.applied {
			r.landedLane(s, c.lane, s.batch.counted(v.dead))
		}
		switch {
		case v.err != nil:
			return v.err
		case v.own != laneHere:
			l.put(c.lane, v.own, v.text)
		}
		if v.next != laneHere && next != c.lane {
			l.put(next, v.next, v.text)
		}
		switch {
		case v.resend:
			s.batch.drop(v.dead)
		case !v.applied || !r.follow(&s.batch):
			return nil
		}
	}
	return nil
}

// exchangeLane sends the batch and reads what came of it. An error means that its
// outcome is unknown.
func (r *Replayer) exchangeLane(s *session, lane, next uint16) (laneRuling, error) {
	l := &s.lanes
	m := r.memory[lane]
	m.sent, m.reach = max(m.sent, s.batch.last), max(m.reach, s.batch.last)
	r.mu.Lock()
	r.flightLast, r.flightLen, r.flightLane = s.batch.last, s.batch.counted(nil), lane
	r.mu.Unlock()
	l.armed = false
	if err := s.roundTrip(l.known[lane].key, l.known[next].key); err != nil {
		return laneRuling{}, err
	}
	if s.out.exec != execApplied {
		m.reach = l.known[lane].after
	}
	expected := l.known[next].fence
	if next == lane && s.out.exec == execApplied {
		expected = fenceValue{found: true, value: s.batch.last}
	}
	v := judgeLane(&s.out, expected)
	l.watched, l.armed = next, v.watched
	r.answered(&s.batch, &s.out)
	s.batch.review(&v.verdict)
	return v, nil
}

// landedLane notes that the batch is in the primary, with so many writes.
func (r *Replayer) landedLane(s *session, lane uint16, written int) {
	view := s.lanes.known[lane]
	view.after, view.fence = s.batch.last, fenceValue{found: true, value: s.batch.last}
	r.memory[lane].landed(s.batch.last, s.lanes.bounds.Trimmed)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flightLast = 0
	r.stats.Batches++
	r.stats.Replayed += uint64(written)
}
