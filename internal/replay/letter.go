package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

// Letter is a dead letter that is to be delivered after all.
type Letter struct {
	// Mark is a key that tells whether it was delivered: see MarkOf.
	Mark string
	// Commands are the encoded commands. They are executed at once, or with
	// Options.Plain one after the other.
	Commands [][]byte
	// Again sends it although an earlier attempt may have executed it, in part or whole.
	Again bool
	// Halfway says that a command which ends with an error may have written before: a
	// script's writes stay.
	Halfway bool
}

// MarkOf is the key of the mark of a journal's dead letter, in the hash slot of a key
// that its commands name; key may be nil where they name none.
func MarkOf(clientID string, seq uint64, key []byte) string {
	return FenceKeyOf(clientID, slot.Of(string(key))) + ":dead:" + strconv.FormatUint(seq, 10)
}

// The values of a mark.
const (
	markTried = "tried" // it was executed; how its commands ended, nobody has seen
	markDone  = "done"  // all of its commands were executed without an error
)

// letterTTL is how long the mark of a delivered letter stays: a process that dies before it
// has noted the delivery has so long to try again. A mark that says "tried" stays, as the
// letter may: nothing else tells that it was sent.
const letterTTL = DefaultFenceTTL

var (
	// ErrTried says that an earlier attempt to deliver a dead letter executed it, in
	// part or whole, or was rejected with it: its answer was lost. Nothing was sent.
	ErrTried = errors.New("replay: an earlier attempt may have executed the dead letter")
	// ErrDeclined says that the primary takes no writes for now, out of memory for
	// instance. Nothing was applied.
	ErrDeclined = errors.New("replay: the primary declines writes for now; try again later")
	// ErrContested says that another process delivered the dead letter at this moment.
	ErrContested = errors.New("replay: somebody else is delivering the dead letter")
)

// Delivered is how the delivery of a Letter ended.
type Delivered struct {
	RunID, ReplID string // of the primary
	// Before: an earlier attempt had delivered it, and nothing was sent.
	Before bool
	// Failed commands were rejected, with the error code Code. If these are all, nothing
	// was applied, unless Halfway is set; the rest of several was.
	Failed int
	Code   string
	// Halfway: the commands were executed, and may have written before they failed.
	Halfway bool
	// Confirmed: the replicas asked for have it.
	Confirmed bool
}

// Deliver sends a dead letter to a primary, exactly once: its mark is set by the
// transaction that executes it, and watched from before. Of o it uses what concerns
// connections, replicas and Plain.
//
// The mark says "tried" until the answers have been seen, and then "done": an answer
// that is lost leaves open whether a command was rejected, and another Deliver ends with
// ErrTried. The other errors are ErrNotPrimary, ErrUnreachable, ErrRefused, ErrDeclined,
// ErrContested and ctx's. After each of them Deliver may be called again.
func Deliver(ctx context.Context, o Options, t Target, l Letter) (Delivered, error) {
	o = o.withDefaults()
	c, err := o.dial(ctx, t.Addr)
	if err != nil {
		return Delivered{}, err
	}
	defer c.close()
	d := delivery{o: &o, s: &session{c: c, addr: t.Addr}, l: &l}
	err = d.run(ctx, t)
	var pause *pauseError
	if errors.As(err, &pause) {
		err = fmt.Errorf("%w: it answers %s", ErrDeclined, pause.code)
	}
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	return d.out, err
}

// delivery is one Deliver.
type delivery struct {
	o   *Options
	s   *session
	l   *Letter
	out Delivered

	tried    bool // an earlier attempt was, and its mark says so
	executed bool // the commands were, and have been answered one by one
}

func (d *delivery) run(ctx context.Context, t Target) error {
	mark, err := d.look(t)
	if err != nil {
		return err
	}
	d.out.RunID, d.out.ReplID = d.s.node.runID, d.s.node.replID
	switch {
	case mark == markDone:
		d.out.Before = true
		return d.confirm(ctx)
	case mark != "" && !d.l.Again:
		return ErrTried
	}
	d.tried = mark != ""
	failed, err := d.send()
	if err != nil {
		return err
	}
	d.out.Failed, d.out.Halfway = len(failed), d.executed && d.l.Halfway && len(failed) > 0
	switch {
	case len(failed) == 0:
		if err := d.setMark("SET", d.l.Mark, markDone, "PX", strconv.FormatInt(letterTTL.Milliseconds(), 10)); err != nil {
			return err
		}
		return d.confirm(ctx)
	case len(failed) == len(d.l.Commands) && !d.out.Halfway:
		d.out.Code = codeOf(failed[0])
		return d.unmark()
	}
	d.out.Code = codeOf(failed[0])
	return nil
}

// look verifies the primary and reads the mark, which is watched from then on.
func (d *delivery) look(t Target) (mark string, err error) {
	cmds := infoCmds[:len(infoCmds):len(infoCmds)]
	if !d.o.Plain {
		cmds = append(cmds, []string{"MULTI"}, []string{"EXEC"}, []string{"WATCH", d.l.Mark})
	}
	cmds = append(cmds, []string{"GET", d.l.Mark})
	answers, err := d.s.c.query(cmds...)
	if err != nil {
		return "", err
	}
	if err := d.s.identify(t, answers[:len(infoCmds)]); err != nil {
		return "", err
	}
	for i := len(infoCmds); i < len(cmds); i++ {
		if answers[i].IsError() {
			return "", answerError(cmds[i][0], answers[i])
		}
	}
	if v := answers[len(cmds)-1]; v.Kind != resp.KindNull {
		mark = v.Text()
	}
	return mark, nil
}

// send executes the letter and sets the mark. It returns the errors of commands; an
// error of its own says that nothing was applied, or that it is not known.
func (d *delivery) send() (failed []string, err error) {
	var buf []byte
	set := []string{"SET", d.l.Mark, markTried}
	if d.o.Plain {
		// Seen to be set before anything is sent, it is there whatever comes.
		if err := d.setMark(set...); err != nil {
			return nil, err
		}
	} else {
		buf = resp.AppendCommandStrings(buf, "MULTI")
	}
	for _, cmd := range d.l.Commands {
		buf = append(buf, cmd...)
	}
	n := len(d.l.Commands)
	if !d.o.Plain {
		buf = resp.AppendCommandStrings(buf, set...)
		buf = resp.AppendCommandStrings(buf, "EXEC")
		n += 3
	}
	c := d.s.c
	if err := c.send(buf); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	answers := make([]resp.Value, 0, n)
	for range n {
		v, err := c.rd.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		answers = append(answers, v)
	}
	if d.o.Plain {
		return d.rejected(answers)
	}
	return d.judge(answers)
}

// judge reads the answers to a transaction.
func (d *delivery) judge(answers []resp.Value) (failed []string, err error) {
	n := len(d.l.Commands)
	multi, queued, set, exec := answers[0], answers[1:n+1], answers[n+1], answers[n+2]
	switch {
	case multi.IsError():
		return nil, answerError("MULTI", multi)
	case exec.IsError():
		return d.aborted(queued, set, exec)
	case exec.Kind == resp.KindNull:
		return nil, ErrContested
	case len(exec.Elems) != n+1:
		return nil, fmt.Errorf("%w: EXEC answered another number of elements", ErrUnreachable)
	}
	if v := exec.Elems[n]; v.IsError() {
		return nil, answerError("SET of the mark", v)
	}
	return d.rejected(exec.Elems[:n])
}

// aborted reads why a transaction was not executed.
func (d *delivery) aborted(queued []resp.Value, set, exec resp.Value) (failed []string, err error) {
	for _, v := range append(queued[:len(queued):len(queued)], set, exec) {
		if !v.IsError() {
			continue
		}
		text := errorText(v)
		code := codeOf(text)
		if cause := abortCause(text); cause != "" {
			code = cause
		}
		switch kindOf(code) {
		case codeNotPrimary:
			return nil, fmt.Errorf("%w: it answers %s", ErrNotPrimary, code)
		case codePassing:
			return nil, &pauseError{code}
		case codeOther:
		}
	}
	if set.IsError() {
		return nil, answerError("SET of the mark", set)
	}
	for _, v := range queued {
		if v.IsError() { // nothing of it was applied
			for range queued {
				failed = append(failed, errorText(v))
			}
			return failed, nil
		}
	}
	return nil, answerError("EXEC", exec)
}

// rejected are the errors among the answers to the commands. Those by which a server
// declines to write are no rejection, if they are all.
func (d *delivery) rejected(answers []resp.Value) (failed []string, err error) {
	var declined error
	d.executed = true
	for _, v := range answers {
		if !v.IsError() {
			continue
		}
		failed = append(failed, errorText(v))
		if kindOf(codeOf(errorText(v))) != codeOther {
			declined = answerError("the commands", v)
		}
	}
	if declined != nil && len(failed) == len(answers) && !d.l.Halfway {
		if err := d.unmark(); err != nil {
			return nil, err
		}
		return nil, declined
	}
	return failed, nil
}

// unmark takes the mark back, as nothing was applied by this attempt. Of an earlier one it
// goes on to tell.
func (d *delivery) unmark() error {
	if d.tried {
		return nil
	}
	return d.setMark("DEL", d.l.Mark)
}

// setMark is a command of ours about the mark.
func (d *delivery) setMark(cmd ...string) error {
	answers, err := d.s.c.query(cmd)
	switch {
	case err != nil:
		return err
	case answers[0].IsError():
		return answerError(cmd[0]+" of the mark", answers[0])
	}
	return nil
}

// confirm waits until the replicas asked for have the letter, or for the bound.
func (d *delivery) confirm(ctx context.Context) error {
	var addrs []string
	for _, addr := range d.o.Replicas() {
		if addr != d.s.addr {
			addrs = append(addrs, addr)
		}
	}
	need := len(addrs)
	if d.o.ReplicaAcks != 0 {
		need = max(d.o.ReplicaAcks, 0)
	}
	if need == 0 {
		d.out.Confirmed = true
		return nil
	}
	answers, err := d.s.c.query(infoCmds...)
	if err != nil {
		return err
	}
	now, err := nodeOf(answers)
	if err != nil {
		return err
	}
	if !now.primary || now.runID != d.s.node.runID {
		return fmt.Errorf("%w: it has been replaced", ErrNotPrimary)
	}
	bounded, cancel := context.WithTimeout(ctx, d.o.AckBound)
	defer cancel()
	have := make(chan bool, len(addrs))
	for _, addr := range addrs {
		go func() { have <- d.o.reaches(bounded, addr, now) }()
	}
	for range addrs {
		if <-have {
			need--
		}
		if need == 0 {
			cancel() // the others need not go on
		}
	}
	d.out.Confirmed = need <= 0
	return ctx.Err()
}

// reaches waits until a replica has a primary's offset; false when ctx ended before.
func (o *Options) reaches(ctx context.Context, addr string, primary node) bool {
	var c *conn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for wait := minPoll; ; wait = min(2*wait, maxPoll) {
		n, err := o.ask(ctx, &c, addr)
		if err == nil && n.replID == primary.replID && n.offset >= primary.offset {
			return true
		}
		if sleep(ctx, wait) != nil {
			return false
		}
	}
}
