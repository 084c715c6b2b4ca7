package replay

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// aheadRig has a journal of n APPENDs of their own number and as many INCRs, in batches
// of four, of which all but the first are queued.
func aheadRig(t *testing.T, n int) *rig {
	t.Helper()
	r := newRig(t, 0)
	r.opt.BatchEntries = 4
	for i := range n {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
		r.src.add("INCR", "n")
	}
	return r
}

// tapped is a connection of which everything is kept.
type tapped struct {
	net.Conn
	onWrite func(read, b []byte)

	mu   sync.Mutex // guards read
	read []byte
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = append(c.read, b[:n]...)
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.onWrite(c.read, b)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// TestNoEXECBeforeTheRepliesOfTheLast holds what the fence rests on.
func TestNoEXECBeforeTheRepliesOfTheLast(t *testing.T) {
	t.Parallel()
	r := aheadRig(t, 20)
	heads, execs := 0, 0
	r.opt.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		return &tapped{Conn: c, onWrite: func(read, b []byte) {
			exec := bytes.Count(b, []byte("\nEXEC\r\n"))
			queues := bytes.Contains(b, []byte("\nINCR\r\n"))
			switch {
			case queues && exec == 0:
				heads++
			case exec > 0 && bytes.Contains(b, []byte(FenceKey("test"))) && bytes.Contains(b, []byte("\nSET\r\n")):
				if last := strconv.Itoa(4 * execs); execs > 0 && !bytes.Contains(read, fmt.Appendf(nil, "\r\n$%d\r\n%s\r\n", len(last), last)) {
					t.Errorf("EXEC %d was sent before the fence stood at %s", execs+1, last)
				}
				execs++
			}
		}}, err
	}
	r.drain(0)
	r.want(0, "log", order(20))
	r.want(0, "n", "20")
	if execs != 10 || heads != 9 {
		t.Errorf("%d batches, of which %d were queued; want 10 and 9", execs, heads)
	}
}

func TestQueuedBatchIsTakenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.BatchEntries = 4
	r.do(0, "RPUSH", "list", "x")
	var bad []uint64
	for i := range 20 {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
		switch i % 5 {
		case 1, 2:
			bad = append(bad, r.src.add("NOSUCH"))
		case 3:
			bad = append(bad, r.src.add("INCR", "list"))
		}
		r.src.add("INCR", "n")
	}
	rp := r.drain(0)
	r.want(0, "log", order(20))
	r.want(0, "n", "20")
	letters := r.src.letters()
	for _, seq := range bad {
		if letters[seq].Reason != ReasonRejected {
			t.Errorf("entry %d: %+v", seq, letters[seq])
		}
	}
	if st := rp.Stats(); len(letters) != len(bad) || st.Sessions != 1 || st.Batches != 13 || st.Replayed != 40 {
		t.Errorf("%d dead letters, want %d; stats %+v", len(letters), len(bad), st)
	}
}

// TestQueuedBatchFallsWithTheFence has another one apply the second batch, while it is
// queued here and the first one is answered.
func TestQueuedBatchFallsWithTheFence(t *testing.T) {
	t.Parallel()
	r := aheadRig(t, 6)
	l := &link{parts: true}
	moved := false
	l.decide = func(_ int, b []byte) fate {
		if !moved && bytes.Contains(b, []byte("\nEXEC\r\n")) && !bytes.HasPrefix(b, multi) {
			moved = true
			r.do(0, "SET", FenceKey("test"), "8")
		}
		return forward
	}
	r.opt.Dial = l.dial
	rp := r.drain(0)
	r.want(0, "log", "0,1,4,5,")
	r.want(0, "n", "4")
	if st := rp.Stats(); !moved || st.Sessions != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestCutWithAQueuedBatch(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fate{"before": cutBefore, "after": cutAfter} {
		for at := 2; at <= 7; at++ { // heads of batches, and what follows them
			t.Run(fmt.Sprintf("%s write %d", name, at), func(t *testing.T) {
				t.Parallel()
				r := aheadRig(t, 10)
				writes := 0
				l := &link{parts: true, decide: func(int, []byte) fate {
					if writes++; writes == at {
						return f
					}
					return forward
				}}
				r.opt.Dial = l.dial
				rp := r.drain(0)
				r.want(0, "log", order(10))
				r.want(0, "n", "10")
				if st := rp.Stats(); st.Replayed != 20 || st.Sessions != 2 || st.Batches != 5 {
					t.Errorf("stats %+v", st)
				}
			})
		}
	}
}

// TestTrimmedWhileMoreIsQueued: a long drain gives back what it has done, but not after
// each of its batches.
func TestTrimmedWhileMoreIsQueued(t *testing.T) {
	t.Parallel()
	for _, often := range []bool{true, false} {
		t.Run(fmt.Sprint("often ", often), func(t *testing.T) {
			t.Parallel()
			r := aheadRig(t, 40) // 20 batches
			src := &trimmedSource{memSource: r.src, begun: make(chan struct{})}
			r.opt.Source = src
			execs := 0
			r.opt.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				return &tapped{Conn: c, onWrite: func(_, b []byte) {
					if execs += bytes.Count(b, []byte("\nEXEC\r\n")); execs != 12 || !often {
						return
					}
					select {
					case <-src.begun:
					case <-time.After(10 * time.Second):
						t.Error("nothing was trimmed in mid-drain")
					}
				}}, err
			}
			rp := r.replayer()
			rp.aheadFor, rp.tellEvery = time.Hour, time.Hour
			if often {
				rp.tellEvery = 0
			}
			stop, ended := r.run(rp, 0)
			r.waitDrained(ended)
			_ = stop()
			r.want(0, "log", order(40))
			// Once at the session's beginning, and once at its end.
			if upTo := src.taken(); !often && len(upTo) > 2 {
				t.Errorf("trimmed up to %v", upTo)
			}
		})
	}
}

// trimmedSource remembers what was trimmed.
type trimmedSource struct {
	*memSource
	begun chan struct{} // closed by the first Trim

	mu   sync.Mutex // guards upTo
	upTo []uint64
}

func (s *trimmedSource) Trim(upTo uint64, confirmed bool) error {
	s.mu.Lock()
	if s.upTo = append(s.upTo, upTo); len(s.upTo) == 1 {
		close(s.begun)
	}
	s.mu.Unlock()
	return s.memSource.Trim(upTo, confirmed)
}

func (s *trimmedSource) taken() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.upTo)
}

// TestEntriesStayWhenTheJournalReadsOn: the journal's bytes are good until the next Read
// only, which is that of the queued batch.
func TestEntriesStayWhenTheJournalReadsOn(t *testing.T) {
	t.Parallel()
	for _, coalescing := range []bool{false, true} {
		t.Run(fmt.Sprint("coalescing ", coalescing), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.opt.BatchEntries, r.opt.NoCoalescing = 4, !coalescing
			for i := range 12 {
				r.src.add("APPEND", "log", strconv.Itoa(i)+",")
				r.src.add("RPUSH", "list", strconv.Itoa(i))
				r.src.add("NOSUCH") // has the rest of its batch sent again
			}
			r.opt.Source = &fleetingSource{memSource: r.src}
			r.drain(0)
			r.want(0, "log", order(12))
			if n := r.do(0, "LLEN", "list"); n != int64(12) {
				t.Errorf("%v elements, want 12", n)
			}
		})
	}
}

// fleetingSource spoils what it has handed out at the next Read.
type fleetingSource struct {
	*memSource
	lent [][]byte
}

func (s *fleetingSource) Read(dst []Entry, after uint64, maxEntries, maxBytes int) ([]Entry, error) {
	for _, b := range s.lent {
		for i := range b {
			b[i] = '!'
		}
	}
	s.lent = s.lent[:0]
	start := len(dst)
	dst, err := s.memSource.Read(dst, after, maxEntries, maxBytes)
	for i := range dst[start:] {
		e := &dst[start+i]
		e.Cmd = bytes.Clone(e.Cmd)
		s.lent = append(s.lent, e.Cmd)
	}
	return dst, err
}
