package replay

import (
	"context"
	"fmt"
	"strconv"

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
}

// open connects to the target, verifies that it is the primary that was meant,
// and reads the fence under WATCH. It decides nothing.
func (r *Replayer) open(ctx context.Context, t Target) (*session, error) {
	c, err := r.opt.dial(ctx, t.Addr)
	if err != nil {
		return nil, err
	}
	s := &session{c: c, addr: t.Addr}
	if err := s.verify(t, r.fence); err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

func (s *session) verify(t Target, fence string) error {
	// An empty transaction shows that MULTI and EXEC are allowed: a batch whose
	// MULTI alone is refused would be executed all the same, command by command.
	cmds := append(infoCmds[:len(infoCmds):len(infoCmds)],
		[]string{"MULTI"}, []string{"EXEC"}, []string{"WATCH", fence}, []string{"GET", fence})
	answers, err := s.c.query(cmds...)
	if err != nil {
		return err
	}
	if s.node, err = nodeOf(answers[:len(infoCmds)]); err != nil {
		return err
	}
	switch {
	case !s.node.primary:
		return fmt.Errorf("%w: its role is replica", ErrNotPrimary)
	case t.RunID != "" && t.RunID != s.node.runID:
		return fmt.Errorf("%w: another process answers at its address", ErrNotPrimary)
	}
	for i := len(infoCmds); i < len(cmds); i++ {
		if answers[i].IsError() {
			return answerError(cmds[i][0], answers[i])
		}
	}
	if s.fence = fenceOf(answers[len(cmds)-1]); s.fence.err != "" {
		return refused("GET of the fence", s.fence.err)
	}
	return nil
}

// exchange sends the batch and reads what came of it. An error means that its
// outcome is unknown.
func (s *session) exchange(fence string) (verdict, error) {
	if err := s.c.send(s.batch.encode(fence)); err != nil {
		return verdict{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := s.c.outcome(len(s.batch.entries), &s.out); err != nil {
		return verdict{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return judge(&s.out, s.batch.last, s.fence), nil
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
