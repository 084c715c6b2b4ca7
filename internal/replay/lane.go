package replay

import "strconv"

// laneMemory is what is known of a lane over sessions. It is for the cases in which
// the lane's fence is missing or lies back; the fence is the truth.
type laneMemory struct {
	sent    uint64 // nothing of the lane beyond this was sent by this Replayer
	reach   uint64 // nor, once met, beyond this since its fence was read last
	met     bool   // its fence was read
	acked   uint64 // its last entry that was in a primary; 0: not known
	replID  string // of that primary
	given   uint64 // its last entry that is known to be trimmed; 0: not known
	doubtTo uint64 // its entries up to here may have been applied; 0: none
	retired bool   // its fence has been given its end
}

// laneView is what a session knows of a lane.
type laneView struct {
	key   string     // of its fence
	fence fenceValue // as the session has read or set it
	after uint64     // its last entry that is in the primary
	state laneState
}

// laneState is whether the node takes writes of a lane. The zero value is that it
// does.
type laneState uint8

const (
	laneHere   laneState = iota
	laneMoving           // the slot is on its way: part of it is here, part elsewhere
	laneMoved            // the slot is elsewhere
)

// laneStateOf reads an error code; "" is none. ok false: it says nothing of the lane.
func laneStateOf(code string) (state laneState, ok bool) {
	switch code {
	case "":
		return laneHere, true
	case "ASK", "TRYAGAIN":
		return laneMoving, true
	case "MOVED":
		return laneMoved, true
	}
	return laneHere, false
}

// movedTo is the address in "MOVED <slot> <address>", or "".
func movedTo(text string) string {
	for range 2 {
		i := 0
		for i < len(text) && text[i] != ' ' {
			i++
		}
		if i == len(text) {
			return ""
		}
		text = text[i+1:]
	}
	return text
}

// decideLane is decide for one lane: given is its own last entry that is known to be
// trimmed, as p.bounds.Trimmed is a sequence of whichever lane.
func decideLane(p position, given uint64) (resumption, error) {
	if p.found {
		p.bounds.Trimmed = given
	}
	return decide(p)
}

// position is what the choice for the lane rests on, by its fence.
func (m *laneMemory) position(f fenceValue, s *session, b Bounds, sent uint64) position {
	p := position{
		found: f.found, fence: f.value, bounds: b, sent: max(sent, m.sent), node: s.node,
		prog: Progress{Acked: m.acked, ReplID: m.replID},
	}
	if p.reach = p.sent; m.met {
		p.reach = m.reach
	}
	if before := &s.lanes.before; before.ReplID == m.replID {
		// Everything of ours up to Covered is covered, so this lane's share is.
		p.prog.Covered, p.prog.Offset = min(before.Covered, m.acked), before.Offset
	}
	return p
}

// settled is the lane's last entry that is known to be trimmed.
func (m *laneMemory) settled(trimmed uint64) uint64 {
	if m.acked <= trimmed {
		return m.acked
	}
	return m.given
}

// resumed notes what a fence has told; p is the position before.
func (m *laneMemory) resumed(p position, to resumption) {
	switch {
	case to.gapTo > 0:
		// It has been told of: the same fence is no gap from now on.
		*m = laneMemory{sent: m.sent, acked: p.fence, given: p.fence}
	case p.found:
		m.given, m.acked = m.settled(p.bounds.Trimmed), p.fence
	case to.doubtTo > 0:
		m.given, m.acked = m.settled(p.bounds.Trimmed), to.after
		m.doubtTo = max(m.doubtTo, to.doubtTo)
	default: // nothing that is here is in the primary
		*m = laneMemory{sent: m.sent}
	}
	m.replID = p.node.replID
	m.met, m.reach = true, max(to.after, to.doubtTo)
}

// landed notes that the lane's entries up to last are in the primary.
func (m *laneMemory) landed(last, trimmed uint64) {
	m.given = m.settled(trimmed)
	m.acked, m.retired = last, false
	if last >= m.doubtTo {
		m.doubtTo = 0
	}
}

// laneRuling is what to do about the outcome of a batch, where the fence watched
// behind it is that of the next one.
type laneRuling struct {
	verdict
	applied bool
	own     laneState // of the batch's lane, by which it was not applied
	next    laneState // of the lane that was to be watched
	watched bool      // its fence is as known, and watched
	text    string    // a redirection
}

// judgeLane reads an outcome: expected is what the fence that is watched behind the
// batch must be.
func judgeLane(o *outcome, expected fenceValue) laneRuling {
	var v laneRuling
	if o.multi != "" {
		v.err = refused("MULTI", o.multi)
		return v
	}
	switch o.exec {
	case execApplied:
		v.applied, v.dead = true, o.failed
		if o.fenceE != "" {
			v.err = refused("SET of the fence", o.fenceE)
			return v
		}
	case execError:
		if v.judgeAbort(o); v.err != nil {
			return v
		}
	case execNil:
		v.err = errReread
		return v
	}
	v.judgeNext(o, expected)
	return v
}

// judgeAbort finds the reason of a transaction that was not executed.
func (v *laneRuling) judgeAbort(o *outcome) {
	redirect := func(text string) {
		state, _ := laneStateOf(codeOf(text))
		if state > v.own {
			v.own, v.text = state, text
		}
	}
	for _, f := range o.queue {
		redirect(f.text)
	}
	redirect(o.fenceQ)
	redirect(o.execE)
	if v.own != laneHere {
		return
	}
	// The rest is as with one lane, but for the fence behind the batch.
	alone := *o
	alone.watch, alone.after = "", fenceValue{}
	v.verdict = judgeAborted(&alone, fenceValue{})
}

// judgeNext looks at the fence that is to be watched.
func (v *laneRuling) judgeNext(o *outcome, expected fenceValue) {
	for _, text := range [...]string{o.watch, o.after.err} {
		if text == "" {
			continue
		}
		state, ok := laneStateOf(codeOf(text))
		if !ok {
			v.err = errReread // which runs into it, and says what it is
			return
		}
		v.next = max(v.next, state)
		if state == laneMoved {
			v.text = text
		}
	}
	switch {
	case v.next != laneHere:
	case o.after != expected:
		v.err = errReread
	default:
		v.watched = true
	}
}

// expiry is FenceTTL as PEXPIRE takes it.
func (o *Options) expiry() string { return strconv.FormatInt(o.FenceTTL.Milliseconds(), 10) }
