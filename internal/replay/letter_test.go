package replay

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// delivery of a letter to the rig's first node.
func (r *rig) deliver(l Letter) (Delivered, error) {
	r.t.Helper()
	addr := r.g.Node(0).Addr()
	if r.via != "" {
		addr = r.via
	}
	return Deliver(context.Background(), r.opt, Target{Addr: addr}, l)
}

func letterOf(seq uint64, cmds ...[]byte) Letter {
	return Letter{Mark: MarkOf("test", seq, []byte("n")), Commands: cmds}
}

func TestLetterIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		r := newRig(t, 1)
		r.opt.Plain = plain
		l := letterOf(1, command("INCR", "n"), command("APPEND", "log", "x"))
		for i := range 3 {
			d, err := r.deliver(l)
			if err != nil || !d.Confirmed || d.Failed > 0 || d.Before != (i > 0) || d.RunID == "" || d.ReplID == "" {
				t.Errorf("delivery %d: %+v, %v", i+1, d, err)
			}
		}
		r.want(0, "n", "1")
		r.want(1, "log", "x") // the replica has it
		if ttl := r.do(0, "PTTL", l.Mark).(int64); ttl <= 0 {
			t.Errorf("the mark's time to live is %d ms", ttl)
		}
	}
}

func TestLetterThatIsRejected(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.do(0, "RPUSH", "list", "x")
	for name, c := range map[string]struct {
		cmds   [][]byte
		failed int
		code   string
		mark   string
	}{
		"wholly":      {[][]byte{command("INCR", "list")}, 1, "WRONGTYPE", "<nil>"},
		"each":        {[][]byte{command("INCR", "list"), command("APPEND", "list", "x")}, 2, "WRONGTYPE", "<nil>"},
		"not queued":  {[][]byte{command("INCR", "m"), command("NOSUCH")}, 2, "ERR", "<nil>"},
		"one of them": {[][]byte{command("INCR", "n"), command("INCR", "list")}, 1, "WRONGTYPE", markTried},
	} {
		l := letterOf(uint64(len(name)), c.cmds...)
		d, err := r.deliver(l)
		if err != nil || d.Failed != c.failed || d.Code != c.code {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		if mark, _ := r.g.Node(0).Do(t.Context(), "GET", l.Mark); fmt.Sprint(mark) != c.mark {
			t.Errorf("%s: the mark is %v, want %s", name, mark, c.mark)
		}
		if c.mark == markTried { // it is not taken for delivered
			if _, err := r.deliver(l); !errors.Is(err, ErrTried) {
				t.Errorf("%s, once more: %v", name, err)
			}
		}
	}
	r.want(0, "n", "1")
	if n := r.do(0, "EXISTS", "m"); n != int64(0) {
		t.Error("a part of what was not queued was applied")
	}
}

// The answer to the transaction is lost, or it never arrives: both look alike, and the
// next attempt tells them apart by the mark alone.
func TestLetterWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at    int // the request that is cut: the transaction, and then the mark
		fate  fate
		again error // of the next attempt
		n     string
	}{
		"not sent":         {1, cutBefore, nil, "1"},
		"executed":         {1, cutAfter, ErrTried, "1"},
		"mark not sent":    {2, cutBefore, ErrTried, "1"},
		"mark is executed": {2, cutAfter, nil, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			sent := 0
			cut := &link{decide: func(int, []byte) fate {
				if sent++; sent == c.at {
					return c.fate
				}
				return forward
			}}
			r.opt.Dial = cut.dial
			l := letterOf(1, command("INCR", "n"))
			if _, err := r.deliver(l); !errors.Is(err, ErrUnreachable) {
				t.Fatalf("the cut: %v", err)
			}
			if _, err := r.deliver(l); !errors.Is(err, c.again) {
				t.Errorf("the next attempt: %v, want %v", err, c.again)
			}
			r.want(0, "n", c.n)
			if c.again != nil {
				l.Again = true
				if d, err := r.deliver(l); err != nil || d.Before {
					t.Errorf("by force: %+v, %v", d, err)
				}
				r.want(0, "n", "2")
			}
		})
	}
}

// A transaction that the network delivers late, after another attempt, is fenced off.
func TestLetterThatComesLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	sent := 0
	late := &link{decide: func(int, []byte) fate {
		if sent++; sent == 1 {
			return hold
		}
		return forward
	}}
	r.opt.Dial, r.opt.Timeout = late.dial, 300*time.Millisecond
	l := letterOf(1, command("INCR", "n"))
	if _, err := r.deliver(l); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("held back: %v", err)
	}
	if _, err := r.deliver(l); err != nil {
		t.Fatal(err)
	}
	late.releaseLetter(t)
	r.want(0, "n", "1")
}

// releaseLetter delivers the transaction that was held back, and wants it to be void.
func (l *link) releaseLetter(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for _, h := range held {
		_ = h.server.SetDeadline(noDeadline)
		if _, err := h.server.Write(h.request); err != nil {
			t.Errorf("late: %v", err)
		}
		answers := newReplies(h.server)
		for range 4 { // MULTI, INCR, SET and EXEC
			if _, err := answers.rd.ReadValue(); err != nil {
				t.Errorf("late: %v", err)
			}
		}
		_ = h.server.Close()
	}
}

func TestLetterNeedsAPrimary(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	l := letterOf(1, command("INCR", "n"))
	for name, target := range map[string]Target{
		"a replica":       {Addr: r.g.Node(1).Addr()},
		"another process": {Addr: r.g.Node(0).Addr(), RunID: "another"},
	} {
		if _, err := Deliver(t.Context(), r.opt, target, l); !errors.Is(err, ErrNotPrimary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.do(0, "CONFIG", "SET", "maxmemory", "1")
	for _, r.opt.Plain = range []bool{false, true} {
		if _, err := r.deliver(l); !errors.Is(err, ErrDeclined) {
			t.Errorf("out of memory: %v", err)
		}
	}
	r.do(0, "CONFIG", "SET", "maxmemory", "0")
	r.opt.Plain = false
	r.do(0, "ACL", "SETUSER", "app", "on", ">geheim", "~n", "+@all")
	r.opt.Credentials = func(context.Context) (string, string, error) { return "app", "geheim", nil }
	if _, err := r.deliver(l); !errors.Is(err, ErrRefused) {
		t.Errorf("no right to the mark: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Deliver(gone, r.opt, Target{Addr: r.g.Node(0).Addr()}, l); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if n := r.do(0, "EXISTS", "n"); n != int64(0) {
		t.Error("it was applied")
	}
}

func TestLetterIsConfirmedByReplicas(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.opt.AckBound = 100 * time.Millisecond
	r.must(r.g.Node(1).Pause())
	l := letterOf(1, command("INCR", "n"))
	if d, err := r.deliver(l); err != nil || d.Confirmed {
		t.Errorf("without its replica: %+v, %v", d, err)
	}
	r.opt.ReplicaAcks = -1
	if d, err := r.deliver(l); err != nil || !d.Confirmed || !d.Before {
		t.Errorf("where none is asked for: %+v, %v", d, err)
	}
	r.must(r.g.Node(1).Resume())
	r.opt.ReplicaAcks, r.opt.AckBound = 0, patience
	if d, err := r.deliver(l); err != nil || !d.Confirmed {
		t.Errorf("with its replica: %+v, %v", d, err)
	}
}

// Without transactions a cut at any command leaves the letter tried, not sent, or done.
func TestPlainLetterCutAtEveryPoint(t *testing.T) {
	t.Parallel()
	r, p := plainRig(t)
	for at := 1; at <= 3; at++ { // the mark, the command, the mark
		for _, fate := range []redistest.Pass{redistest.PassNot, redistest.PassNoReply} {
			key := fmt.Sprint("n", at, fate)
			l := Letter{Mark: "mark:" + key, Commands: [][]byte{command("INCR", key)}}
			p.Decide(writes(func(nth int, _ [][]byte) redistest.Pass {
				if nth == at {
					return fate
				}
				return redistest.PassOn
			}))
			if _, err := r.deliver(l); !errors.Is(err, ErrUnreachable) {
				t.Errorf("cut at %d: %v", at, err)
			}
			p.Decide(nil)
			d, err := r.deliver(l)
			n := fmt.Sprint(r.do(0, "INCRBY", key, "0"))
			switch {
			case errors.Is(err, ErrTried): // in doubt: applied once or not at all
				if n != "0" && n != "1" {
					t.Errorf("cut at %d: %s is %s", at, key, n)
				}
			case err != nil || n != "1":
				t.Errorf("cut at %d: %+v, %v, %s is %s", at, d, err, key, n)
			}
		}
	}
}

// A script that fails has written what it wrote before.
func TestLetterThatFailsHalfway(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		r := newRig(t, 0)
		r.opt.Plain = plain
		r.do(0, "RPUSH", "list", "x")
		script := "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"
		l := letterOf(1, command("EVAL", script, "2", "n", "list"))
		l.Halfway = true
		if d, err := r.deliver(l); err != nil || d.Failed != 1 || !d.Halfway {
			t.Errorf("%+v, %v", d, err)
		}
		if _, err := r.deliver(l); !errors.Is(err, ErrTried) {
			t.Errorf("once more: %v", err)
		}
		r.want(0, "n", "1")
		if ttl := r.do(0, "PTTL", l.Mark); ttl != int64(-1) {
			t.Errorf("the mark of a letter that may have been applied ends after %v ms", ttl)
		}
		l = letterOf(2, command("NOSUCH"))
		l.Halfway = true
		if d, err := r.deliver(l); err != nil || d.Failed != 1 || d.Halfway != plain {
			t.Errorf("what was not even queued: %+v, %v", d, err)
		}
	}
}

// What is known of an earlier attempt is not forgotten for another one that is rejected.
func TestLetterThatWasTriedBefore(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		r := newRig(t, 0)
		r.opt.Plain = plain
		r.do(0, "RPUSH", "list", "x")
		l := letterOf(1, command("INCR", "list"))
		r.do(0, "SET", l.Mark, markTried)
		l.Again = true
		if d, err := r.deliver(l); err != nil || d.Failed != 1 {
			t.Errorf("by force: %+v, %v", d, err)
		}
		r.do(0, "CONFIG", "SET", "maxmemory", "1")
		if _, err := r.deliver(l); !errors.Is(err, ErrDeclined) {
			t.Errorf("by force, out of memory: %v", err)
		}
		r.do(0, "CONFIG", "SET", "maxmemory", "0")
		l.Again = false
		if _, err := r.deliver(l); !errors.Is(err, ErrTried) {
			t.Errorf("then: %v", err)
		}
	}
}
