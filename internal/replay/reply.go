package replay

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// fault is the error that the entry at an index was answered with.
type fault struct {
	index int
	text  string
}

// execKind is how EXEC was answered. The zero value is invalid.
type execKind uint8

const (
	execApplied execKind = iota + 1 // with an array: applied
	execNil                         // with nil: the watched fence had moved
	execError                       // with an error: not applied
)

// outcome is what the server answered to a batch. An empty text is no error.
type outcome struct {
	multi  string  // MULTI's error
	queue  []fault // entries that were not queued
	fenceQ string  // the error of queueing the fence
	exec   execKind
	execE  string
	failed []fault // entries that were executed and failed
	fenceE string  // the error of executing the fence
	watch  string
	after  fenceValue
	comparison
}

// fenceValue is the answer to GET fence.
type fenceValue struct {
	found bool
	value uint64
	err   string
}

// replies decodes answers. Plain ones, nearly all, are skipped in the buffer
// without an allocation.
type replies struct {
	br *bufio.Reader
	rd *resp.Reader
}

func newReplies(r io.Reader) replies {
	// bufio hands back a reader that is large enough already, so both decode
	// from one buffer.
	br := bufio.NewReaderSize(r, 64<<10)
	return replies{br: br, rd: resp.NewReader(br)}
}

// status reads one reply and returns its text if it is an error, else "".
func (r replies) status() (string, error) {
	if here := r.here(); len(here) > 0 && (here[0] == '+' || here[0] == ':') {
		if end := bytes.IndexByte(here, '\n'); end > 1 && here[end-1] == '\r' {
			_, err := r.br.Discard(end + 1)
			return "", err
		}
	}
	// A digest of what is not an error takes no memory, its value would.
	_, v, err := r.digest(resp.NewDigest())
	if err != nil || !v.IsError() {
		return "", err
	}
	return errorText(v), nil
}

// digest reads one reply and adds it to d, or returns it if it is an error.
func (r replies) digest(d resp.Digest) (_ resp.Digest, fault resp.Value, err error) {
	if here := r.here(); len(here) > 0 && here[0] != '-' && here[0] != '!' {
		if next, n, err := d.Add(here); err == nil {
			_, err = r.br.Discard(n)
			return next, resp.Value{}, err
		}
	}
	return r.rd.ReadDigest(d)
}

// here is what has come and is not read; at least one byte, unless the stream ends.
func (r replies) here() []byte {
	if r.br.Buffered() == 0 {
		_, _ = r.br.Peek(1) // its error comes again with the next reading
	}
	here, _ := r.br.Peek(r.br.Buffered())
	return here
}

// queued is how a server answers what it has queued.
const queued = "+QUEUED\r\n"

// passQueued skips as many answers that are queued as are here, at most n, and returns
// how many.
func (r replies) passQueued(n int) int {
	here := r.here()
	skipped := 0
	for skipped < n && len(here) >= len(queued) && string(here[:len(queued)]) == queued {
		here = here[len(queued):]
		skipped++
	}
	_, _ = r.br.Discard(skipped * len(queued)) // they are here
	return skipped
}

// errorText is never empty, so that "" can stand for 'no error'.
func errorText(v resp.Value) string {
	if len(v.Str) == 0 {
		return "ERR"
	}
	return v.Text()
}

func (r replies) line() ([]byte, error) {
	line, err := r.br.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// outcome reads the answers to a batch of n entries into o, which is reused. An
// error means that the outcome is unknown.
func (r replies) outcome(n int, o *outcome) (err error) {
	*o = outcome{queue: o.queue[:0], failed: o.failed[:0], comparison: o.again()}
	if o.multi, err = r.status(); err != nil {
		return err
	}
	for i := 0; i < n; i++ {
		if i += r.passQueued(n - i); i == n {
			break
		}
		text, err := r.status()
		if err != nil {
			return err
		}
		if text != "" {
			o.queue = append(o.queue, fault{i, text})
		}
	}
	if o.fenceQ, err = r.status(); err != nil {
		return err
	}
	if err = r.exec(n, o); err != nil {
		return err
	}
	if o.watch, err = r.status(); err != nil {
		return err
	}
	o.after, err = r.fence()
	return err
}

// exec reads the answer to EXEC: an element for each entry and one for the fence.
func (r replies) exec(n int, o *outcome) error {
	first, err := r.br.Peek(1)
	if err != nil {
		return err
	}
	if first[0] != '*' {
		v, err := r.rd.ReadValue()
		switch {
		case err != nil:
			return err
		case v.IsError():
			o.exec, o.execE = execError, errorText(v)
			return nil
		case v.Kind == resp.KindNull:
			o.exec = execNil
			return nil
		}
		return fmt.Errorf("%w: EXEC was not answered with an array", resp.ErrProtocol)
	}
	line, err := r.line()
	if err != nil {
		return err
	}
	switch string(line[1:]) {
	case "-1":
		o.exec = execNil
		return nil
	case strconv.Itoa(n + 1):
	default:
		return fmt.Errorf("%w: EXEC answered another number of elements", resp.ErrProtocol)
	}
	o.exec = execApplied
	for i := 0; i < n; i++ {
		if i += o.elements(r, i, n); i == n {
			break
		}
		text, err := o.element(r, i)
		if err != nil {
			return err
		}
		if text != "" {
			o.failed = append(o.failed, fault{i, text})
		}
	}
	o.fenceE, err = r.status()
	return err
}

// fence reads the answer to GET fence.
func (r replies) fence() (fenceValue, error) {
	v, err := r.rd.ReadValue()
	if err != nil {
		return fenceValue{}, err
	}
	return fenceOf(v), nil
}

func fenceOf(v resp.Value) fenceValue {
	switch v.Kind {
	case resp.KindNull:
		return fenceValue{}
	case resp.KindError:
		return fenceValue{err: errorText(v)}
	default:
	}
	n, err := strconv.ParseUint(v.Text(), 10, 64)
	if err != nil {
		return fenceValue{found: true, err: "ERR the fence is not a number"}
	}
	return fenceValue{found: true, value: n}
}

// verdict is what to do about a batch's outcome.
type verdict struct {
	// err ends the session. nil: the batch was applied, or, with resend, it was
	// not and the session is good.
	err    error
	resend bool
	// dead are the entries at fault. They are to be kept aside also when err is
	// set: in that case they were executed and failed.
	dead []fault
}

// judge reads an outcome: last is the fence's value with the batch applied, before
// what the session knows it to be without.
func judge(o *outcome, last uint64, before fenceValue) verdict {
	if o.multi != "" {
		return verdict{err: refused("MULTI", o.multi)}
	}
	switch o.exec {
	case execApplied:
		v := verdict{dead: o.failed}
		switch {
		case o.fenceE != "":
			v.err = refused("SET of the fence", o.fenceE)
		case o.watch != "" || o.after != fenceValue{found: true, value: last}:
			v.err = errReread
		}
		return v
	case execError:
		return judgeAborted(o, before)
	case execNil:
	}
	return verdict{err: errReread}
}

// judgeAborted finds the reason of a transaction that was not executed. The
// node's own state comes first: while it lasts, errors of entries say nothing
// about them.
func judgeAborted(o *outcome, before fenceValue) verdict {
	worst, code := codeOther, ""
	weigh := func(c string) {
		if k := kindOf(c); k != codeOther && (worst == codeOther || k == codeNotPrimary) {
			worst, code = k, c
		}
	}
	for _, f := range o.queue {
		weigh(codeOf(f.text))
	}
	weigh(codeOf(o.fenceQ))
	weigh(codeOf(o.execE))
	weigh(abortCause(o.execE))
	switch {
	case worst == codeNotPrimary:
		return verdict{err: fmt.Errorf("%w: it answers %s", ErrNotPrimary, code)}
	case worst == codePassing:
		return verdict{err: &pauseError{code}}
	case o.fenceQ != "":
		return verdict{err: refused("SET of the fence", o.fenceQ)}
	case codeOf(o.execE) != "EXECABORT":
		return verdict{err: refused("EXEC", o.execE)}
	case len(o.queue) == 0 || o.watch != "" || o.after != before:
		return verdict{err: errReread}
	}
	return verdict{resend: true, dead: o.queue}
}

func refused(what, text string) error {
	return fmt.Errorf("%w: %s answered with %s", ErrRefused, what, codeOf(text))
}
