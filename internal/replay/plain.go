package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// With Options.Plain, for servers and proxies that execute no transactions, a batch is
// a pipeline in which each write is followed by a mark, the fence's new value:
//
//	SET fence "k m" · write k+1 · SET fence "k+1 m" · … · write m · SET fence "m" · GET fence
//
// The fence is open while it names the batch's last write too. A server executes a
// connection's commands in their order. So what is known of a batch whose outcome was
// lost is that everything up to the mark was executed, and that at most the write
// right behind it was as well: its mark was not reached. That one alone is in doubt. A
// closed fence says that nothing behind it was sent.
//
// What the guard of a transaction gives besides is not to be had: see Options.Plain.

// fenceMark is the fence's value where there are no transactions.
type fenceMark struct {
	after uint64 // everything up to here was executed
	open  uint64 // nothing beyond this was sent; 0: nothing beyond after
}

func (m fenceMark) append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, m.after, 10)
	if m.open > 0 {
		dst = strconv.AppendUint(append(dst, ' '), m.open, 10)
	}
	return dst
}

func parseMark(text string) (m fenceMark, ok bool) {
	after, open, isOpen := strings.Cut(text, " ")
	var err error
	if m.after, err = strconv.ParseUint(after, 10, 64); err != nil {
		return fenceMark{}, false
	}
	if isOpen {
		m.open, err = strconv.ParseUint(open, 10, 64)
	}
	return m, err == nil && (!isOpen || m.open > m.after)
}

// markOf reads the answer to GET fence; found is false where there is none.
func markOf(v resp.Value) (m fenceMark, found bool, err error) {
	switch {
	case v.Kind == resp.KindNull:
		return fenceMark{}, false, nil
	case v.IsError():
		return fenceMark{}, false, answerError("GET of the fence", v)
	}
	m, found = parseMark(v.Text())
	if !found {
		err = refused("GET of the fence", "ERR the fence is not one of ours")
	}
	return m, found, err
}

// plain is what is known over sessions without transactions. It belongs to the
// goroutine of Run.
type plain struct {
	out    plainOutcome // of the latest batch
	flight []flown      // its writes
	lost   bool         // its outcome is not known
	replID string       // of the primary that it was sent to
	// wide: the server took no marks when its outcome was lost, so that each of its
	// writes may have been executed.
	wide  bool
	depth int // the most entries of the next batch
}

// flown is a write that was sent.
type flown struct {
	seq     uint64
	counted bool
}

// openPlain is verify where there are no transactions, and reads the fence.
func (r *Replayer) openPlain(s *session, t Target) error {
	answers, err := s.c.query(append(infoCmds[:len(infoCmds):len(infoCmds)], []string{"GET", r.fence})...)
	if err != nil {
		return err
	}
	if err := s.identify(t, answers[:len(infoCmds)]); err != nil {
		return err
	}
	s.mark, s.fence.found, err = markOf(answers[len(infoCmds)])
	return err
}

// standTime is how long the fence must have stood still before it is believed, where
// the outcome of a batch was lost: a proxy may still hold the rest of it. standMost
// bounds the waiting for that.
const (
	standTime = 100 * time.Millisecond
	standMost = 5 * time.Second
)

// resumePlain decides where to go on and makes it so.
func (r *Replayer) resumePlain(ctx context.Context, s *session) error {
	if err := r.awaitStill(ctx, s); err != nil {
		return err
	}
	r.mu.Lock()
	p := position{found: s.fence.found, fence: s.mark.after, sent: r.sent, reach: r.reach, prog: r.prog, node: s.node}
	r.mu.Unlock()
	p.bounds = r.opt.Source.Bounds()
	if p.found && max(p.fence, s.mark.open) > p.sent {
		return ErrFenceAhead
	}
	if p.found && p.prog.ReplID == p.node.replID {
		// A batch that came late has set the fence back; what was answered stays executed.
		p.fence = max(p.fence, p.prog.Acked)
	}
	to, err := decide(p)
	if err != nil {
		return err
	}
	known := !r.plain.lost && r.plain.replID == s.node.replID
	if p.found && s.mark.open > to.after && !known {
		if err := r.probeMark(s); err != nil {
			return err
		}
		if to.doubtTo, err = r.doubtBehind(to.after, s.mark.open); err != nil {
			return err
		}
	}
	if err := r.settleDoubt(to); err != nil {
		return err
	}
	if err := s.setMark(r.fence, fenceMark{after: to.after}); err != nil {
		return err
	}
	s.fence = fenceValue{found: true, value: to.after}
	r.countFlown(to.after)
	r.plain.lost, r.plain.wide, r.plain.depth, r.plain.replID = false, false, 1, s.node.replID
	s.after = to.after
	r.resumed(s, to, p)
	r.tellResumed(s, to, p)
	return nil
}

// awaitStill reads the fence until it does not move any more, where a batch may be on
// its way still.
func (r *Replayer) awaitStill(ctx context.Context, s *session) error {
	if !r.plain.lost {
		return nil
	}
	for until := time.Now().Add(standMost); ; {
		if err := sleep(ctx, standTime); err != nil {
			return err
		}
		answers, err := s.c.query([]string{"GET", r.fence})
		if err != nil {
			return err
		}
		now, found, err := markOf(answers[0])
		if err != nil {
			return err
		}
		if now == s.mark && found == s.fence.found || time.Now().After(until) {
			s.mark, s.fence.found = now, found
			return nil
		}
		s.mark, s.fence.found = now, found
	}
}

// probeMark sets the open fence to what it is. A server that declines that may have
// declined marks of the lost batch as well, while it executed what needs no memory.
func (r *Replayer) probeMark(s *session) error {
	err := s.setMark(r.fence, s.mark)
	var pause *pauseError
	if errors.As(err, &pause) {
		r.plain.wide = true
	}
	return err
}

// setMark sets the fence alone.
func (s *session) setMark(fence string, m fenceMark) error {
	answers, err := s.c.query([]string{"SET", fence, string(m.append(nil))})
	switch {
	case err != nil:
		return err
	case answers[0].IsError():
		return answerError("SET of the fence", answers[0])
	}
	s.mark = m
	return nil
}

// doubtBehind is the last write behind a mark that may have been executed, of a batch
// that went as far as open; 0: none.
func (r *Replayer) doubtBehind(after, open uint64) (uint64, error) {
	if r.plain.wide {
		return open, nil
	}
	r.doubt(AllLanes, open)
	entries, err := r.opt.Source.Read(nil, after, 1, 1)
	if err != nil {
		return 0, sourceError("read", err)
	}
	if len(entries) == 0 || entries[0].Seq > open {
		return 0, nil
	}
	return entries[0].Seq, nil
}

// countFlown counts what turned out to have been executed of a batch whose outcome was
// lost.
func (r *Replayer) countFlown(upTo uint64) {
	n := uint64(0)
	for _, f := range r.plain.flight {
		if r.plain.lost && f.counted && f.seq <= upTo {
			n++
		}
	}
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Batches++
	r.stats.Replayed += n
}

// sendPlain is send where there are no transactions.
func (r *Replayer) sendPlain(ctx context.Context, s *session, a *acker) error {
	notify(a.acked)
	for {
		if err := a.failed(); err != nil {
			return err
		}
		if err := r.admit(ctx, s, a, false); err != nil {
			return err
		}
		found, err := r.fillPlain(s)
		if err != nil {
			return err
		}
		if !found {
			if err := r.idle(ctx, s, a); err != nil {
				return err
			}
			continue
		}
		if err := r.deliverPlain(s); err != nil {
			return err
		}
		notify(a.acked)
	}
}

// fillPlain reads the next batch, if there is one. It begins with one entry in each
// session and doubles: a server that declines writes for a time is then met with few.
func (r *Replayer) fillPlain(s *session) (bool, error) {
	last := r.opt.Source.Bounds().Last // before Read, which sees everything up to it
	if last <= s.after {
		return false, nil
	}
	b := &s.batch
	var err error
	most := min(r.plain.depth, r.pacing.entries())
	b.entries, err = r.opt.Source.Read(b.entries[:0], s.after, most, r.opt.BatchBytes)
	if err != nil {
		return false, sourceError("read", err)
	}
	b.last = last
	if n := len(b.entries); n > 0 {
		b.last = b.entries[n-1].Seq
	}
	return true, r.weed(b)
}

// encodePlain builds the bytes to send.
func (b *batch) encodePlain(fence string, after uint64) []byte {
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	buf := b.buf[:0]
	var value [48]byte
	set := func(m fenceMark) {
		buf = resp.AppendArray(buf, 3)
		buf = resp.AppendBulkString(buf, "SET")
		buf = resp.AppendBulkString(buf, fence)
		buf = resp.AppendBulk(buf, m.append(value[:0]))
	}
	if len(b.entries) > 0 {
		set(fenceMark{after: after, open: b.last})
	}
	for i := range b.entries {
		e := &b.entries[i]
		buf = append(buf, e.Cmd...)
		if i+1 < len(b.entries) && b.entries[i+1].Seq != e.Seq { // the write is whole, and not the last
			set(fenceMark{after: e.Seq, open: b.last})
		}
	}
	set(fenceMark{after: b.last})
	b.buf = resp.AppendCommandStrings(buf, "GET", fence)
	return b.buf
}

// plainOutcome is what the server answered to a batch; an empty text is no error.
type plainOutcome struct {
	opening string   // the error of the opening mark
	entries []string // of each entry
	marks   []string // of the mark behind each entry, "" where there is none
	after   fenceMark
	comparison
}

// readPlain reads the answers to a batch. An error means that the outcome is unknown.
func (s *session) readPlain(o *plainOutcome) (err error) {
	*o = plainOutcome{entries: o.entries[:0], marks: o.marks[:0], comparison: o.again()}
	entries := s.batch.entries
	if len(entries) > 0 {
		if o.opening, err = s.c.status(); err != nil {
			return err
		}
	}
	for i := range entries {
		text, err := o.element(s.c.replies, i)
		if err != nil {
			return err
		}
		mark := ""
		if i+1 < len(entries) && entries[i+1].Seq != entries[i].Seq {
			if mark, err = s.c.status(); err != nil {
				return err
			}
		}
		o.entries, o.marks = append(o.entries, text), append(o.marks, mark)
	}
	closing, err := s.c.status()
	if err != nil {
		return err
	}
	if n := len(o.marks); n > 0 {
		o.marks[n-1] = closing
	} else {
		o.opening = closing
	}
	v, err := s.c.rd.ReadValue()
	if err != nil {
		return err
	}
	o.after, _, _ = markOf(v) // one that can't be read is not the one that is expected
	return nil
}

// deliverPlain sends the batch once, and sees to what became of each entry. An error
// ends the session.
func (r *Replayer) deliverPlain(s *session) error {
	b := &s.batch
	r.launchPlain(b)
	begun := s.pacing.now()
	if err := s.c.send(b.encodePlain(r.fence, s.after)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	o := &r.plain.out
	o.parts = b.plan()
	if err := s.readPlain(o); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s.pacing.landed(begun, len(b.entries), len(b.buf))
	r.plain.lost = false
	r.compared(b, &o.comparison, 0)
	v := judgePlain(b, o)
	if err := r.rejected(b, v.dead, true); err != nil {
		return err
	}
	r.landedPlain(s, &v)
	if v.err == nil {
		s.mark = o.after
		r.plain.depth = min(2*r.plain.depth, r.opt.BatchEntries)
	}
	return v.err
}

// launchPlain notes, before a batch is sent, that it may be executed.
func (r *Replayer) launchPlain(b *batch) {
	f := r.plain.flight[:0]
	for i := range b.entries {
		f = append(f, flown{b.entries[i].Seq, !b.entries[i].Uncounted})
	}
	r.plain.flight, r.plain.lost = f, true
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent, r.reach = max(r.sent, b.last), max(r.reach, b.last)
}

// landedPlain notes what of the batch is in the primary.
func (r *Replayer) landedPlain(s *session, v *plainVerdict) {
	if v.passed == 0 {
		return
	}
	passed := s.batch
	passed.entries = passed.entries[:v.entries]
	s.after = v.passed
	s.fence = fenceValue{found: true, value: v.passed}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prog.Acked, r.stats.Acked = v.passed, v.passed
	r.stats.Batches++
	r.stats.Replayed += uint64(passed.counted(v.dead))
}

// plainVerdict is what to do about a batch's outcome.
type plainVerdict struct {
	passed  uint64  // everything up to here is executed or dead; 0: nothing of the batch
	entries int     // so many entries of the batch
	dead    []fault // of these: they were declined
	err     error   // ends the session
}

// judgePlain reads an outcome. What the server declined for its own state's sake is
// tried again, unless something behind it was executed, or a mark set: the order has
// gone past it, and it is a dead letter.
func judgePlain(b *batch, o *plainOutcome) (v plainVerdict) {
	worst, code := codeOther, ""
	weigh := func(text string) codeKind {
		c := codeOf(text)
		k := kindOf(c)
		if text != "" && k != codeOther && worst != codeNotPrimary {
			worst, code = k, c
		}
		return k
	}
	weigh(o.opening)
	for i, text := range o.entries {
		reached := text == "" || weigh(text) == codeOther
		marked := o.marks[i] == "" && (i+1 == len(b.entries) || b.entries[i+1].Seq != b.entries[i].Seq)
		if o.marks[i] != "" {
			weigh(o.marks[i])
		}
		if reached || marked {
			v.entries = i + 1
		}
	}
	for v.entries > 0 && v.entries < len(b.entries) && b.entries[v.entries].Seq == b.entries[v.entries-1].Seq {
		v.entries++ // a write is passed as a whole
	}
	for i, text := range o.entries[:v.entries] {
		if text != "" {
			v.dead = append(v.dead, fault{i, text})
		}
	}
	if v.entries > 0 {
		v.passed = b.entries[v.entries-1].Seq
	}
	if v.entries == len(b.entries) && worst == codeOther {
		v.passed = b.last
	}
	switch refusal := o.refusal(); {
	case worst == codeNotPrimary:
		v.err = fmt.Errorf("%w: it answers %s", ErrNotPrimary, code)
	case worst == codePassing:
		v.err = &pauseError{code}
	case refusal != "":
		v.err = refused("SET of the fence", refusal)
	case o.after != fenceMark{after: b.last}:
		v.err = errReread
	}
	return v
}

// refusal is why the server did not take a mark; "" if it took all.
func (o *plainOutcome) refusal() string {
	if o.opening != "" {
		return o.opening
	}
	for _, text := range o.marks {
		if text != "" {
			return text
		}
	}
	return ""
}

// retirePlain puts the TTL on a fence whose entries are all trimmed.
func (r *Replayer) retirePlain(s *session) error {
	answers, err := s.c.query([]string{"PEXPIRE", r.fence, r.opt.expiry()})
	if err != nil {
		return err
	}
	if v := answers[0]; v.IsError() && kindOf(codeOf(errorText(v))) == codeNotPrimary {
		return answerError("PEXPIRE", v)
	}
	return nil // refused, the fence stays for good, which costs its bytes only
}
