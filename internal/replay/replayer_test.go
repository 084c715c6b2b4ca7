package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

const patience = 30 * time.Second

var noDeadline time.Time

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server group, a journal, and what the hooks told.
type rig struct {
	t   *testing.T
	g   *redistest.Group
	src *memSource
	opt Options
	via string // the address to replay to, in place of a node's own

	mu      sync.Mutex // guards what follows
	ready   []Ready
	gaps    []Gap
	paused  []string
	drained uint64
}

func newRig(t *testing.T, replicas int) *rig {
	t.Helper()
	return newRigWith(t, redistest.Options{Replicas: replicas})
}

func newRigWith(t *testing.T, o redistest.Options) *rig {
	t.Helper()
	r := &rig{t: t, g: redistest.StartT(t, o), src: newSource()}
	r.opt = Options{
		ClientID: "test", Source: r.src, Rate: -1, Timeout: patience, AckBound: patience,
		Replicas: func() []string { return r.g.Addrs()[1:] },
		Hooks: Hooks{
			Ready:   func(v Ready) { r.note(func() { r.ready = append(r.ready, v) }) },
			Gap:     func(v Gap) { r.note(func() { r.gaps = append(r.gaps, v) }) },
			Paused:  func(code string) { r.note(func() { r.paused = append(r.paused, code) }) },
			Drained: func(upTo uint64) { r.note(func() { r.drained = upTo }) },
		},
	}
	return r
}

func (r *rig) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) replayer() *Replayer {
	r.t.Helper()
	rp, err := New(r.opt)
	if err != nil {
		r.t.Fatal(err)
	}
	return rp
}

// run starts a Run; stop ends it and returns its error.
func (r *rig) run(rp *Replayer, node int) (stop func() error, ended <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	errc := make(chan error, 1)
	result := make(chan error, 1)
	addr := r.g.Node(node).Addr()
	if r.via != "" {
		addr = r.via
	}
	go func() {
		err := rp.Run(ctx, Target{Addr: addr})
		result <- err
		errc <- err
	}()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-errc })
		return err
	}
	r.t.Cleanup(func() { _ = stop() })
	return stop, result
}

// drain replays everything to a node with a new Replayer.
func (r *rig) drain(node int) *Replayer {
	r.t.Helper()
	rp := r.replayer()
	stop, ended := r.run(rp, node)
	r.waitDrained(ended)
	if err := stop(); !errors.Is(err, context.Canceled) {
		r.t.Fatalf("Run ended with %v", err)
	}
	return rp
}

func (r *rig) waitDrained(ended <-chan error) {
	r.t.Helper()
	last := r.src.Bounds().Last
	redistest.Eventually(r.t, patience, "the drain", func() bool {
		select {
		case err := <-ended:
			r.t.Fatalf("Run ended before the drain: %v", err)
		default:
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.drained >= last
	})
}

func wantError(t *testing.T, ended <-chan error, want error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Fatalf("Run ended with %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatalf("Run goes on, want %v", want)
	}
}

func (r *rig) do(node int, args ...any) any {
	r.t.Helper()
	v, err := r.g.Node(node).Do(context.Background(), args...)
	if err != nil {
		r.t.Fatalf("%v: %v", args[0], err)
	}
	return v
}

func (r *rig) want(node int, key, value string) {
	r.t.Helper()
	if got := fmt.Sprint(r.do(node, "GET", key)); got != value {
		r.t.Errorf("%s = %q on node %d, want %q", key, got, node, value)
	}
}

// order is what n APPENDs of their own number make.
func order(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()
}

func TestReplaysAllOnceInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.opt.BatchEntries = 7
	const n = 200
	for i := range n {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
		r.src.add("INCR", "n")
	}
	rp := r.replayer()
	stop, ended := r.run(rp, 0)
	r.waitDrained(ended)
	r.want(0, "log", order(n))
	r.want(0, "n", strconv.Itoa(n))
	if ttl := r.do(0, "PTTL", FenceKey("test")).(int64); ttl <= 0 || ttl > DefaultFenceTTL.Milliseconds() {
		t.Errorf("the fence's time to live is %d ms once all is trimmed", ttl)
	}

	// What comes later goes the same way, on the same session.
	r.src.add("INCR", "n")
	rp.Wake()
	r.waitDrained(ended)
	r.want(0, "n", strconv.Itoa(n+1))
	st := rp.Stats()
	if st.Sessions != 1 || st.Replayed != 2*n+1 || st.DeadLettered != 0 || st.Unconfirmed != 0 || st.Acked != 2*n+1 {
		t.Errorf("stats %+v", st)
	}
	if err := rp.Run(context.Background(), Target{}); !errors.Is(err, ErrRunning) {
		t.Errorf("a second Run: %v, want %v", err, ErrRunning)
	}
	_ = stop()
	if b := r.src.Bounds(); b.Trimmed != b.Last {
		t.Errorf("not trimmed: %+v", b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) != 1 || r.ready[0].RunID == "" || r.ready[0].After != 0 || !r.ready[0].Pending {
		t.Errorf("ready %+v", r.ready)
	}
}

func TestFaultyEntriesDoNotStopTheRest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.do(0, "RPUSH", "list", "x")
	r.do(0, "ACL", "SETUSER", "default", "-@all", "+@all", "-lpush")
	want := map[uint64]Reason{
		r.src.add("INCR", "list"):                  ReasonRejected,
		r.src.add("NOSUCH", "secret"):              ReasonRejected,
		r.src.add("LPUSH", "list", "y"):            ReasonRejected,
		r.src.add("MULTI"):                         ReasonMalformed,
		r.src.addRaw([]byte("*1\r\n$3\r\n"), true): ReasonMalformed,
	}
	r.src.add("INCR", "n")
	want[r.src.add("EXEC")] = ReasonMalformed
	r.src.add("INCR", "n")
	want[r.src.add("NOSUCH")] = ReasonRejected // as the last
	rp := r.drain(0)
	r.want(0, "n", "2")
	letters := r.src.letters()
	if len(letters) != len(want) || rp.Stats().DeadLettered != uint64(len(want)) || rp.Stats().Replayed != 2 {
		t.Fatalf("dead letters %+v, stats %+v", letters, rp.Stats())
	}
	for seq, reason := range want {
		if d := letters[seq]; d.Reason != reason || (reason == ReasonRejected) != (d.Text != "") {
			t.Errorf("entry %d: %+v, want it %v", seq, d, reason)
		}
	}
	// Sent again to an empty primary, the dead stay dead, though they are all
	// that is left.
	if b := r.src.Bounds(); b.Trimmed != b.Last {
		t.Errorf("not trimmed: %+v", b)
	}
}

func TestOnlyDeadLettersLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for range 3 {
		if err := r.src.DeadLetter(DeadLetter{Seq: r.src.add("INCR", "n"), Reason: ReasonRejected}); err != nil {
			t.Fatal(err)
		}
	}
	r.drain(0)
	r.want(0, FenceKey("test"), "3")
	if n := r.do(0, "EXISTS", "n"); n != int64(0) {
		t.Error("a dead letter was sent")
	}
}

func TestCutAtEveryPoint(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fate{"before": cutBefore, "after": cutAfter} {
		for batch := 1; batch <= 3; batch++ {
			for _, rate := range rates {
				t.Run(fmt.Sprintf("%s batch %d, rate %d", name, batch, rate), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 0)
					r.opt.BatchEntries, r.opt.Rate = 4, rate
					sent := 0
					l := &link{decide: func(int, []byte) fate {
						if sent++; sent == batch {
							return f
						}
						return forward
					}}
					r.opt.Dial = l.dial
					for i := range 10 {
						r.src.add("INCR", "n")
						r.src.add("APPEND", "log", strconv.Itoa(i)+",")
					}
					rp := r.drain(0)
					r.want(0, "n", "10")
					r.want(0, "log", order(10))
					if st := rp.Stats(); st.Replayed != 20 || st.Sessions != 2 || st.Batches != 5 {
						t.Errorf("stats %+v", st)
					}
				})
			}
		}
	}
}

// rates are those by which the ways differ: batches one by one, and queued ones.
var rates = []int{0, -1}

// A batch that was given up is delivered after its successor was applied, or
// between the successor's reading of the fence and its batch.
func TestLateBatchIsFencedOff(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"after the successor": false, "before the successor's batch": true} {
		for _, second := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, second batch %v", name, second), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 0)
				const n = 5
				for range n {
					r.src.add("INCR", "n")
				}
				if second {
					r.opt.BatchEntries = 3 // guarded by the WATCH of the first batch
				}
				l, batches, late := &link{}, 0, 1
				if second {
					late = 2
				}
				l.decide = func(int, []byte) fate {
					batches++
					if batches == late {
						return hold
					}
					if batches == late+1 && before {
						l.releaseApplied(t)
					}
					return forward
				}
				r.opt.Dial = l.dial
				r.opt.Timeout = 300 * time.Millisecond
				r.drain(0)
				if !before {
					l.release(t)
				}
				r.want(0, "n", strconv.Itoa(n))
			})
		}
	}
}

// releaseApplied delivers what was held back, where nothing fences it off yet.
func (l *link) releaseApplied(t *testing.T) {
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for _, h := range held {
		_ = h.server.SetDeadline(noDeadline)
		if _, err := h.server.Write(h.request); err != nil {
			t.Errorf("late batch: %v", err)
			return
		}
		var o outcome
		err := newReplies(h.server).outcome(bytes.Count(h.request, []byte("\nINCR\r\n")), &o)
		if err != nil || o.exec != execApplied {
			t.Errorf("late batch: EXEC answered %d, %v; want it applied", o.exec, err)
		}
		_ = h.server.Close()
	}
}

func TestStopsWhereThereIsNoPrimary(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	_, ended := r.run(r.replayer(), 1) // even with nothing to send
	wantError(t, ended, ErrNotPrimary)
	r.src.add("INCR", "n")
	_, ended = r.run(r.replayer(), 1)
	wantError(t, ended, ErrNotPrimary)

	err := r.replayer().Run(context.Background(), Target{Addr: r.g.Node(0).Addr(), RunID: "another"})
	if !errors.Is(err, ErrNotPrimary) {
		t.Errorf("another run id: %v, want %v", err, ErrNotPrimary)
	}
	if n := r.do(0, "EXISTS", "n"); n != int64(0) {
		t.Error("sent to a node that was not verified")
	}

	rp := r.replayer()
	_, ended = r.run(rp, 0)
	r.waitDrained(ended)
	if err := r.g.Cycle(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.src.add("INCR", "n")
	rp.Wake()
	wantError(t, ended, ErrNotPrimary)

	// The incident's end: another node is promoted.
	if err := r.g.Promote(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	r.opt.Replicas = func() []string { return r.g.Addrs()[:1] }
	_, ended = r.run(rp, 1)
	r.waitDrained(ended)
	r.want(1, "n", "2")
	if b := r.src.Bounds(); b.Trimmed != b.Last {
		t.Errorf("not trimmed: %+v", b)
	}
}

func TestUnreachableIsSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	rp := r.replayer()
	if err := r.g.Node(0).Kill(); err != nil {
		t.Fatal(err)
	}
	_, ended := r.run(rp, 0)
	wantError(t, ended, ErrUnreachable)
}

func TestMemoryRunsOutAndComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.do(0, "CONFIG", "SET", "maxmemory", "1")
	r.src.add("INCR", "n")
	rp := r.replayer()
	_, ended := r.run(rp, 0)
	redistest.Eventually(t, patience, "the pause", func() bool { return rp.Stats().Paused == "OOM" })
	r.do(0, "CONFIG", "SET", "maxmemory", "0")
	r.waitDrained(ended)
	r.want(0, "n", "1")
	if st := rp.Stats(); st.Paused != "" || st.DeadLettered != 0 {
		t.Errorf("stats %+v", st)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.paused) == 0 || r.paused[0] != "OOM" {
		t.Errorf("paused %q", r.paused)
	}
}

func TestSourceErrorsEndTheRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.src.add("INCR", "n")
	r.src.fail(true, false)
	_, ended := r.run(r.replayer(), 0)
	wantError(t, ended, errJournal)
	r.src.fail(false, true)
	_, ended = r.run(r.replayer(), 0)
	wantError(t, ended, errJournal)
	r.src.fail(false, false)
	r.drain(0)
	r.want(0, "n", "1")
}

// TestLettersThatCannotBeKept: of what the server declined in a batch that it executed the
// source is told once, and all of it: no fence makes it come again.
func TestLettersThatCannotBeKept(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		r := newRig(t, 0)
		r.opt.Plain = plain
		r.do(0, "RPUSH", "list", "x")
		r.src.add("INCR", "n")
		r.src.add("INCR", "list")
		r.src.add("APPEND", "list", "x")
		r.src.failDead = true
		_, ended := r.run(r.replayer(), 0)
		err := <-ended
		r.want(0, "n", "1")
		if len(r.src.owed) != 2 || !errors.Is(err, errJournal) {
			t.Errorf("plain %v: told of %+v, %v", plain, r.src.owed, err)
		}
	}
}
