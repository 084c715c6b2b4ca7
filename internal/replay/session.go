package replay

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// session is one connection to one primary whose fence has been read. It belongs
// to the goroutine of Run; node does not change and may be read by others.
type session struct {
	c     *conn
	addr  string
	node  node
	fence fenceValue // as the WATCH holds it
	after uint64     // the last entry that is in the primary
	mend  bool       // the fence lies before after, across a gap, and must follow
	batch batch
	out   outcome
	// readAt is when batch was read.
	readAt time.Time
	// next is the batch behind it, if queued: its MULTI and its entries were sent, and
	// were read at queuedAt. ready is the one behind that, or behind batch, if isReady: it
	// was read at readyAt, and is encoded. headSent: of batch the first part was sent, as
	// it was queued.
	next, ready       batch
	queued, isReady   bool
	headSent          bool
	queuedAt, readyAt time.Time
	lanes             lanes     // with Options.Fence, in place of fence and mend
	mark              fenceMark // with Options.Plain, in place of fence and mend

	pacing *pacing
}

// open connects to the target, verifies that it is the primary that was meant,
// and reads the fence under WATCH. It decides nothing.
func (r *Replayer) open(ctx context.Context, t Target) (*session, error) {
	c, err := r.opt.dial(ctx, t.Addr)
	if err != nil {
		return nil, err
	}
	s := &session{c: c, addr: t.Addr}
	if r.opt.Plain {
		err = r.openPlain(s, t)
	} else {
		err = s.verify(t, r.opt.Fence == nil, r.fence)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

// verify looks whom it talks to, and reads the fence where there is one for all.
func (s *session) verify(t Target, single bool, fence string) error {
	// An empty transaction shows that MULTI and EXEC are allowed: a batch whose
	// MULTI alone is refused would be executed all the same, command by command.
	cmds := append(infoCmds[:len(infoCmds):len(infoCmds)], []string{"MULTI"}, []string{"EXEC"})
	if single {
		cmds = append(cmds, []string{"WATCH", fence}, []string{"GET", fence})
	}
	answers, err := s.c.query(cmds...)
	if err != nil {
		return err
	}
	if err := s.identify(t, answers[:len(infoCmds)]); err != nil {
		return err
	}
	for i := len(infoCmds); i < len(cmds); i++ {
		if answers[i].IsError() {
			return answerError(cmds[i][0], answers[i])
		}
	}
	if !single {
		return nil
	}
	if s.fence = fenceOf(answers[len(cmds)-1]); s.fence.err != "" {
		return refused("GET of the fence", s.fence.err)
	}
	return nil
}

// identify looks whether it is the primary that was meant, by the answers to infoCmds.
func (s *session) identify(t Target, answers []resp.Value) (err error) {
	if s.node, err = nodeOf(answers); err != nil {
		return err
	}
	switch {
	case !s.node.primary:
		return fmt.Errorf("%w: its role is replica", ErrNotPrimary)
	case t.RunID != "" && t.RunID != s.node.runID:
		return fmt.Errorf("%w: another process answers at its address", ErrNotPrimary)
	}
	return nil
}

// exchange sends the batch, or what is missing of one that is queued, then queues the
// next one, and reads what came of the first. An error means that its outcome is
// unknown.
func (r *Replayer) exchange(s *session) (verdict, error) {
	b := &s.batch
	begun := s.pacing.now()
	var out []byte
	if s.headSent {
		b.tail = b.appendTail(b.tail[:0], r.fence, r.fence)
		out = b.tail
	} else {
		out = b.encode(r.fence, r.fence)
	}
	s.headSent = false
	if err := s.c.send(out); err != nil {
		return verdict{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := r.queueNext(s); err != nil {
		return verdict{}, err
	}
	if err := s.outcome(); err != nil {
		return verdict{}, err
	}
	s.pacing.landed(begun, len(b.entries), len(b.buf))
	r.answered(b, &s.out)
	v := judge(&s.out, b.last, s.fence)
	b.review(&v)
	return v, nil
}

// roundTrip sends the batch and reads the answers into s.out.
func (s *session) roundTrip(fence, next string) error {
	begun := s.pacing.now()
	if err := s.c.send(s.batch.encode(fence, next)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := s.outcome(); err != nil {
		return err
	}
	s.pacing.landed(begun, len(s.batch.entries), len(s.batch.buf))
	return nil
}

// outcome reads the answers to the batch into s.out, as answers to its entries.
func (s *session) outcome() error {
	s.out.parts = s.batch.parts
	if err := s.c.outcome(len(s.batch.parts), &s.out); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s.batch.unplan(&s.out)
	return nil
}

// retire puts the TTL on a fence whose entries are all trimmed, and watches it
// again: EXPIRE too would fail the next EXEC.
func (s *session) retire(fence string, ms int64) error {
	answers, err := s.c.query(
		[]string{"PEXPIRE", fence, strconv.FormatInt(ms, 10)},
		[]string{"UNWATCH"}, []string{"WATCH", fence}, []string{"GET", fence})
	if err != nil {
		return err
	}
	// A refused PEXPIRE leaves the fence for good, which costs its bytes only. But
	// a fence that is no longer ours ends the session.
	if answers[1].IsError() || answers[2].IsError() || fenceOf(answers[3]) != s.fence {
		return errReread
	}
	if v := answers[0]; v.Kind == resp.KindError && kindOf(codeOf(v.Text())) == codeNotPrimary {
		return answerError("PEXPIRE", v)
	}
	return nil
}
