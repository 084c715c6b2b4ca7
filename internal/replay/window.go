package replay

import (
	"context"
	"fmt"
	"time"
)

// windowBatches is how many batches' entries are read at a time where entries of
// several lanes stand between each other: of each lane there are some.
const windowBatches = 10

// maxQuery bounds the commands in one write of ours.
const maxQuery = 512

// lanes is the part of a session that replays several lanes. It belongs to the
// goroutine of Run.
type lanes struct {
	before  Progress // of the sessions before
	known   map[uint16]*laneView
	watched uint16 // the lane whose fence is watched and as known, if any
	armed   bool   // there is one
	moved   string // what the server said of a lane that is elsewhere
	gone    uint16 // that lane

	bounds  Bounds // as of the latest reading of fences
	places  []Place
	entries []Entry
	upTo    uint64 // the window's last place
	held    bool   // a lane of the window is or was not here

	partedAt time.Time     // when the entries were read
	parting  time.Duration // for so long

	chunks []chunk
	links  []int32          // from an entry to the next one of its chunk; -1: none
	open   map[uint16]int32 // the chunk of a lane that takes more
	sent   int              // entries since the acker was told
}

// chunk is a batch to be: entries of one lane in order, linked by lanes.links.
type chunk struct {
	lane        uint16
	head, tail  int32
	count, size int
}

// window reads the next places, if there are some. None and true: there was nothing
// alive, and the session has gone on behind it.
func (r *Replayer) window(s *session, a *acker) (bool, error) {
	l := &s.lanes
	last := r.opt.Source.Bounds().Last // before Window, which sees everything up to it
	if last <= s.after {
		return false, nil
	}
	var err error
	l.places, err = r.laned.Window(l.places[:0], s.after, r.pacing.windowful(), windowBatches*r.opt.BatchBytes)
	if err != nil {
		return false, sourceError("read", err)
	}
	if n := len(l.places); n > 0 {
		l.upTo, l.held = l.places[n-1].Seq, false
		return true, nil
	}
	r.passed(s, last)
	notify(a.acked)
	return true, nil
}

// passed notes that everything up to a sequence is in the primary.
func (r *Replayer) passed(s *session, upTo uint64) {
	s.after = upTo
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prog.Acked, r.stats.Acked = upTo, upTo
}

// learn reads the fences of the window's lanes that the session does not know.
func (r *Replayer) learn(s *session) error {
	l := &s.lanes
	l.bounds = r.opt.Source.Bounds()
	var unknown []uint16
	for _, p := range l.places {
		if l.known[p.Lane] == nil {
			l.known[p.Lane] = &laneView{key: r.opt.Fence(p.Lane)}
			unknown = append(unknown, p.Lane)
		}
	}
	for len(unknown) > 0 {
		some := unknown[:min(len(unknown), maxQuery)]
		unknown = unknown[len(some):]
		cmds := make([][]string, len(some))
		for i, lane := range some {
			cmds[i] = []string{"GET", l.known[lane].key}
		}
		answers, err := s.c.query(cmds...)
		if err != nil {
			return err
		}
		for i, lane := range some {
			if answers[i].IsError() {
				text := errorText(answers[i])
				state, ok := laneStateOf(codeOf(text))
				if !ok {
					return answerError("GET of the fence", answers[i])
				}
				l.put(lane, state, text)
				continue
			}
			f := fenceOf(answers[i])
			if f.err != "" {
				return refused("GET of the fence", f.err)
			}
			if err := r.resumeLane(s, lane, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// put notes that a lane is not here, or not wholly.
func (l *lanes) put(lane uint16, state laneState, text string) {
	l.known[lane].state, l.held = state, true
	if state == laneMoved {
		l.gone, l.moved = lane, text
	}
}

// resumeLane decides where to go on in a lane and makes it so.
func (r *Replayer) resumeLane(s *session, lane uint16, f fenceValue) error {
	m := r.memory[lane]
	if m == nil {
		m = &laneMemory{}
		r.memory[lane] = m
	}
	p := m.position(f, s, s.lanes.bounds, r.sent)
	to, err := decideLane(p, m.settled(p.bounds.Trimmed))
	if err != nil {
		return err
	}
	m.resumed(p, to)
	r.doubt(lane, m.doubtTo)
	view := s.lanes.known[lane]
	view.fence, view.after = f, to.after
	r.mu.Lock()
	if to.gapTo > 0 {
		r.stats.Gaps++
	}
	if r.flightLast > 0 && r.flightLane == lane {
		if f.found && f.value == r.flightLast {
			r.stats.Batches++
			r.stats.Replayed += uint64(r.flightLen)
		}
		r.flightLast = 0
	}
	r.mu.Unlock()
	if to.gapTo > 0 && r.opt.Hooks.Gap != nil {
		r.opt.Hooks.Gap(Gap{From: f.value + 1, To: to.gapTo})
	}
	return nil
}

// part makes chunks of the window's entries that are to be sent now, ordered by
// their first entries. Those of a lane have its order.
func (r *Replayer) part(s *session) error {
	l := &s.lanes
	l.partedAt = time.Now()
	defer func() { l.parting = time.Since(l.partedAt) }()
	var err error
	l.entries, err = r.laned.Entries(l.entries[:0], func(lane uint16) (uint64, bool) {
		view := l.known[lane]
		return view.after, view.state == laneHere
	})
	if err != nil {
		return sourceError("read", err)
	}
	l.chunks, l.links = l.chunks[:0], l.links[:0]
	clear(l.open)
	most := r.pacing.entries()
	for i := range l.entries {
		e := &l.entries[i]
		l.links = append(l.links, -1)
		fit, err := r.fit(e)
		if err != nil {
			return err
		}
		if !fit {
			continue
		}
		at, ok := l.open[e.Lane]
		if ok {
			// Entries of one sequence are one write, whose fence tells of all.
			c := &l.chunks[at]
			ok = l.entries[c.tail].Seq == e.Seq || c.count < most && c.size+len(e.Cmd) <= r.opt.BatchBytes
		}
		if !ok {
			at = int32(len(l.chunks))
			l.open[e.Lane] = at
			l.chunks = append(l.chunks, chunk{lane: e.Lane, head: int32(i), tail: -1})
		}
		c := &l.chunks[at]
		if c.tail >= 0 {
			l.links[c.tail] = int32(i)
		}
		c.tail = int32(i)
		c.count++
		c.size += len(e.Cmd)
	}
	return nil
}

// fit reports whether an entry may be sent. One that may not becomes a dead letter.
func (r *Replayer) fit(e *Entry) (bool, error) {
	reason := ReasonMalformed
	switch {
	case e.Seq <= r.memory[e.Lane].doubtTo && !e.Repeatable:
		reason = ReasonInDoubt
	case vet(e.Cmd):
		return true, nil
	}
	return false, r.deadLetter(DeadLetter{Seq: e.Seq, Reason: reason})
}

// load makes the batch of a chunk.
func (s *session) load(c *chunk) {
	b, l := &s.batch, &s.lanes
	b.entries = b.entries[:0]
	for i := c.head; i >= 0; i = l.links[i] {
		b.entries = append(b.entries, l.entries[i])
	}
	b.last = l.entries[c.tail].Seq
}

// arm watches a lane's fence. The lane is put where the server says it is; a fence
// that is not as known ends the session.
func (r *Replayer) arm(s *session, lane uint16) error {
	l := &s.lanes
	l.armed = false
	fence := l.known[lane].key
	answers, err := s.c.query([]string{"WATCH", fence}, []string{"GET", fence})
	if err != nil {
		return err
	}
	for i, what := range [...]string{"WATCH", "GET of the fence"} {
		if !answers[i].IsError() {
			continue
		}
		text := errorText(answers[i])
		state, ok := laneStateOf(codeOf(text))
		if !ok {
			return answerError(what, answers[i])
		}
		l.put(lane, state, text)
		return nil
	}
	if fenceOf(answers[1]) != l.known[lane].fence {
		return errReread
	}
	l.watched, l.armed = lane, true
	return nil
}

// resumeLanes begins a session without a fence of its own: they come with the lanes.
func (r *Replayer) resumeLanes(s *session) {
	b := r.opt.Source.Bounds()
	s.after = b.Trimmed
	s.lanes.known = make(map[uint16]*laneView)
	s.lanes.open = make(map[uint16]int32)
	r.mu.Lock()
	s.lanes.before = r.prog
	r.stats.Sessions++
	r.stats.Acked, r.prog.Acked = b.Trimmed, b.Trimmed
	if r.prog.ReplID != s.node.replID {
		r.prog = Progress{Acked: b.Trimmed, ReplID: s.node.replID}
	}
	r.mu.Unlock()
	if r.opt.Hooks.Ready != nil {
		r.opt.Hooks.Ready(Ready{Addr: s.addr, RunID: s.node.runID, After: b.Trimmed, Pending: b.Last > b.Trimmed})
	}
}

// retireLanes puts the TTL on the fences of this Replayer's lanes, which are all
// trimmed.
func (r *Replayer) retireLanes(s *session) error {
	s.lanes.armed = false // the expiry is a change to a watched key
	var due []uint16
	for lane, m := range r.memory {
		if m.acked > 0 && !m.retired {
			due = append(due, lane)
		}
	}
	ttl := r.opt.expiry()
	for len(due) > 0 {
		some := due[:min(len(due), maxQuery)]
		due = due[len(some):]
		cmds := make([][]string, 0, len(some)+1)
		for _, lane := range some {
			cmds = append(cmds, []string{"PEXPIRE", r.opt.Fence(lane), ttl})
		}
		answers, err := s.c.query(append(cmds, []string{"UNWATCH"})...)
		if err != nil {
			return err
		}
		for i, lane := range some {
			// What is refused leaves the fence for good, which costs its bytes only.
			r.memory[lane].retired = true
			if answers[i].IsError() && codeOf(errorText(answers[i])) == "READONLY" {
				return answerError("PEXPIRE", answers[i])
			}
		}
	}
	return nil
}

// drainedLanes lets the fences of a source without pending entries expire.
func (r *Replayer) drainedLanes(s *session, upTo uint64) error {
	if b := r.opt.Source.Bounds(); b.Last == upTo && b.Trimmed >= upTo && r.opt.FenceTTL > 0 {
		if err := r.retireLanes(s); err != nil {
			return err
		}
	}
	r.conflicts.trimmed(upTo)
	if r.opt.Hooks.Drained != nil {
		r.opt.Hooks.Drained(upTo)
	}
	return nil
}

// elsewhere is the error for a lane that has moved. A server of a Cluster that was
// replaced answers as if all its slots had moved, so its role is looked at first.
func (r *Replayer) elsewhere(s *session) error {
	answers, err := s.c.query(infoCmds...)
	if err != nil {
		return err
	}
	n, err := nodeOf(answers)
	switch {
	case err != nil:
		return err
	case !n.primary:
		return fmt.Errorf("%w: its role is replica", ErrNotPrimary)
	}
	return &MovedError{Lane: s.lanes.gone, Addr: movedTo(s.lanes.moved)}
}

// alive is the reason not to go on in the middle of a window, if there is one.
func alive(ctx context.Context, a *acker) error {
	if err := a.failed(); err != nil {
		return err
	}
	return ctx.Err()
}
