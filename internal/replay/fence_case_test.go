package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// atBatch does something just before the batch of a number is sent, and returns how often
// one was.
func (r *rig) atBatch(number int64, do func()) *atomic.Int64 {
	sent := new(atomic.Int64)
	l := &link{decide: func(int, []byte) fate {
		if sent.Add(1) == number {
			do()
		}
		return forward
	}}
	r.opt.Dial = l.dial
	return sent
}

// A fence that expired, once everything was trimmed, says nothing; and nothing is sent
// twice for it, by this process or the next.
func TestFenceExpires(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.FenceTTL = 5 * time.Millisecond
	for i := range 3 {
		for range 10 {
			r.src.add("INCR", "n")
		}
		rp := r.replayer()
		stop, ended := r.run(rp, 0)
		r.waitDrained(ended)
		redistest.Eventually(t, patience, "the fence to expire", func() bool {
			return r.do(0, "EXISTS", FenceKey("test")) == int64(0)
		})
		r.src.add("INCR", "n") // on the session that watches what has expired
		rp.Wake()
		r.waitDrained(ended)
		_ = stop()
		r.want(0, "n", strconv.Itoa(11*(i+1)))
	}
	if letters := r.src.letters(); len(letters) > 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

// The primary evicts the fence in mid-drain, for want of memory: by a policy that takes
// keys with a TTL the fence is safe, as it has none; by one that takes all it goes like
// others, and then what was acknowledged is not sent again.
func TestFenceIsEvicted(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"volatile-lru", "volatile-ttl", "allkeys-random"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.opt.BatchEntries = 5
			const n = 50
			for range n {
				r.src.add("INCR", "n")
			}
			evicted := false
			r.atBatch(5, func() {
				r.do(0, "CONFIG", "SET", "maxmemory-policy", policy)
				for i := range 50 {
					r.do(0, "SET", fmt.Sprint("ballast:", i), strings.Repeat("x", 10000), "EX", "1000")
				}
				evicted = strings.HasPrefix(policy, "allkeys")
				if evicted {
					// Which keys go is chance, so that all but one are given up.
					r.do(0, "COPY", "n", "kept")
					r.evictAll("kept")
					r.do(0, "COPY", "kept", "n")
					return
				}
				r.do(0, "CONFIG", "SET", "maxmemory", "1")
				redistest.Eventually(t, patience, "the eviction", func() bool {
					_, _ = r.g.Node(0).Do(t.Context(), "SET", "wants", "memory") // declined in the end
					return r.do(0, "EXISTS", "ballast:0", "ballast:1", "ballast:49") == int64(0)
				})
				r.do(0, "CONFIG", "SET", "maxmemory", "0")
			})
			rp := r.drain(0)
			if exists := r.do(0, "EXISTS", "ballast:0", "ballast:49"); exists != int64(0) {
				t.Fatal("nothing was evicted")
			}
			r.want(0, "n", strconv.Itoa(n))
			if letters := r.src.letters(); len(letters) > 0 {
				t.Errorf("dead letters %+v", letters)
			}
			if st := rp.Stats(); evicted != (st.Sessions > 1) {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// evictAll gives up every key but one, as an eviction in the order of chance may.
func (r *rig) evictAll(kept string) {
	for _, key := range r.do(0, "KEYS", "*").([]any) {
		if key != kept {
			r.do(0, "DEL", key)
		}
	}
}

// FLUSHALL in mid-drain takes what was replayed and the fence. What was acknowledged
// went with everybody else's data, and is not sent again; the rest is, in its order. What
// a replica had not confirmed yet neither.
func TestFlushInMidDrain(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{0, 1} {
		r := newRig(t, replicas)
		r.opt.BatchEntries = 5
		const n = 50
		for i := range n {
			r.src.add("APPEND", "log", strconv.Itoa(i)+",")
		}
		if replicas > 0 {
			r.must(r.g.Node(1).Pause()) // so that nothing is trimmed
		}
		r.atBatch(5, func() { r.do(0, "FLUSHALL") })
		rp := r.replayer()
		_, ended := r.run(rp, 0)
		r.waitAcked(rp, n)
		if replicas > 0 {
			r.must(r.g.Node(1).Resume())
		}
		r.waitDrained(ended)
		r.want(0, "log", strings.TrimPrefix(order(n), order(20)))
		if letters := r.src.letters(); len(letters) > 0 || rp.Stats().Sessions != 2 {
			t.Errorf("dead letters %+v, stats %+v", letters, rp.Stats())
		}
	}
}

// A deferred FLUSHALL or FLUSHDB, which a rule may let in, does not take the fence of its
// own batch, which comes last.
func TestFlushInABatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.src.add("INCR", "n")
	r.src.add("FLUSHALL")
	r.src.add("INCR", "n")
	rp := r.drain(0)
	r.want(0, "n", "1")
	r.want(0, FenceKey("test"), "3")
	if st := rp.Stats(); st.Sessions != 1 {
		t.Errorf("stats %+v", st)
	}
}

// copyOf is a journal as a copied directory holds it.
func copyOf(m *memSource) *memSource {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newSource()
	c.entries = append(c.entries, m.entries...)
	c.trimmed, c.last, c.prog = m.trimmed, m.last, m.prog
	return c
}

// A journal directory was copied, so that two processes have the same client id and the
// same entries. Run at once, they send each entry once between them.
func TestCopiedJournalAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.BatchEntries = 3
	const n = 200
	for i := range n {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	twin := &rig{t: t, g: r.g, src: copyOf(r.src), opt: r.opt}
	twin.opt.Source = twin.src
	twin.opt.Hooks = Hooks{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	replay := func(g *rig) <-chan error {
		ended := make(chan error, 1)
		rp := g.replayer()
		go func() {
			for {
				// Both moving the fence may make either give up for a moment.
				err := rp.Run(ctx, Target{Addr: g.g.Node(0).Addr()})
				if !errors.Is(err, ErrUnreachable) {
					ended <- err
					return
				}
			}
		}()
		return ended
	}
	first, second := replay(r), replay(twin)
	redistest.Eventually(t, patience, "both to have everything", func() bool {
		return r.src.Bounds().Trimmed == n && twin.src.Bounds().Trimmed == n
	})
	cancel()
	for _, ended := range []<-chan error{first, second} {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
	r.want(0, "log", order(n))
}

// Later, the copy and the original go different ways: who comes second is fenced off, and
// nothing of it is sent.
func TestCopiedJournalThatDiverged(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for range 5 {
		r.src.add("INCR", "n")
	}
	original := r.src
	first := r.replayer()
	copied := copyOf(original)
	stop, ended := r.run(first, 0)
	r.waitDrained(ended)
	_ = stop()

	r.src = copied // knows of nothing
	r.opt.Source = copied
	for range 3 {
		copied.add("INCR", "n")
	}
	r.note(func() { r.drained = 0 })
	r.drain(0)
	r.want(0, "n", "8")

	r.src = original
	original.add("APPEND", "log", "lost?")
	stop, ended = r.run(first, 0)
	wantError(t, ended, ErrFenceAhead)
	_ = stop()
	if n := r.do(0, "EXISTS", "log"); n != int64(0) {
		t.Error("an entry of the second was sent")
	}
	if b := original.Bounds(); b.Trimmed != 5 || b.Last != 6 {
		t.Errorf("the second's journal has %+v: its entry must stay", b)
	}
}

// A right is taken away in mid-drain: the batch is refused as a whole, Run says so, and
// goes on from there when it is granted again.
func TestRightsTakenInMidDrain(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string][2]string{
		"fence key": {"%R~holdfast*", "~holdfast*"},
		"set":       {"-set", "+set"},
		"watch":     {"-watch", "+watch"},
		"exec":      {"-exec", "+exec"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.opt.BatchEntries = 5
			r.do(0, "ACL", "SETUSER", "app", "on", ">geheim", "~n", "~holdfast*", "+@all")
			r.opt.Credentials = func(context.Context) (string, string, error) { return "app", "geheim", nil }
			for range 30 {
				r.src.add("INCR", "n")
			}
			r.atBatch(3, func() {
				if strings.HasPrefix(rule[0], "%") {
					r.do(0, "ACL", "SETUSER", "app", "resetkeys", "~n", rule[0])
					return
				}
				r.do(0, "ACL", "SETUSER", "app", rule[0])
			})
			rp := r.replayer()
			_, ended := r.run(rp, 0)
			wantError(t, ended, ErrRefused)
			r.do(0, "ACL", "SETUSER", "app", "resetkeys", "~n", "~holdfast*", rule[1])
			_, ended = r.run(rp, 0)
			r.waitDrained(ended)
			r.want(0, "n", "30")
			if letters := r.src.letters(); len(letters) > 0 {
				t.Errorf("dead letters %+v", letters)
			}
		})
	}
}
