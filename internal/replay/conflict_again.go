package replay

import (
	"errors"
	"time"
)

// contested takes the outcome of a batch that was not applied as somebody else wrote a
// key of it, and reports whether it is to be compared and sent anew.
func (r *Replayer) contested(s *session) bool {
	c := r.conflicts
	if c == nil || !c.watching || s.out.exec != execNil {
		return false
	}
	c.watching = false
	if c.tries++; c.tries >= maxContested && c.halve(&s.batch) {
		c.tries = 0
	}
	return true
}

// behind is the first entry behind those of the write that the entry at i is of.
func (b *batch) behind(i int) int {
	seq := b.entries[i].Seq
	for i < len(b.entries) && b.entries[i].Seq == seq {
		i++
	}
	return i
}

// halve leaves the first half in the batch. false: it is one write.
func (c *conflicts) halve(b *batch) bool {
	at := len(b.entries) / 2
	for at > 0 && b.entries[at].Seq == b.entries[at-1].Seq {
		at--
	}
	if at == 0 {
		at = b.behind(0)
	}
	if at >= len(b.entries) {
		return false
	}
	if c.restLast == 0 {
		c.restLast = b.last
	}
	c.rest = append(append([]Entry(nil), b.entries[at:]...), c.rest...)
	b.entries = b.entries[:at]
	b.last = b.entries[at-1].Seq
	return true
}

// follow is called when the batch is done with. It reports whether its second half has
// taken its place.
func (r *Replayer) follow(b *batch) bool {
	c := r.conflicts
	if c == nil {
		return false
	}
	c.tries, c.aged, c.watching = 0, 0, false
	clear(c.answers)
	if c.restLast == 0 || len(c.rest) == 0 {
		return false
	}
	b.entries = append(b.entries[:0], c.rest...)
	b.last, c.rest, c.restLast = c.restLast, nil, 0
	return true
}

// begin forgets the batch of the session before.
func (c *conflicts) begin() {
	if c == nil {
		return
	}
	c.watching, c.asked = false, false
	c.rest, c.restLast = nil, 0
	if c.again {
		c.again = false
		return
	}
	c.tries, c.aged = 0, 0
	clear(c.answers)
}

// errAged says that a batch has become so old, while Overwrite was asked about it, that
// what its entries are sent as has to be found out again. Nothing was sent.
var errAged = errors.New("replay: a batch has to be read again")

// unhurried is errAged for a batch that was read at a time, once for each answer. Keys that
// somebody writes without a pause do not keep it from being sent: see maxContested.
func (c *conflicts) unhurried(read time.Time, limit time.Duration) error {
	if c == nil || !c.asked {
		return nil
	}
	c.asked = false
	if time.Since(read) <= limit || c.aged >= maxContested {
		return nil
	}
	c.aged++
	c.again = true
	return errAged
}

// unwatch forgets the keys that are watched, and watches the fence alone again.
func (s *session) unwatch(fence string) error {
	answers, err := s.c.query([]string{"UNWATCH"}, []string{"WATCH", fence}, []string{"GET", fence})
	if err != nil {
		return err
	}
	if answers[0].IsError() || answers[1].IsError() || fenceOf(answers[2]) != s.fence {
		return errReread
	}
	return nil
}
