package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

func (r *rig) waitAcked(rp *Replayer, seq uint64) {
	r.t.Helper()
	redistest.Eventually(r.t, patience, "the acknowledgement", func() bool { return rp.Stats().Acked >= seq })
}

// sever pauses a replica and cuts its link, so that nothing written from now on
// reaches it. Pausing alone would leave the rest in its socket.
func (r *rig) sever(primary, replica int) {
	r.t.Helper()
	r.must(r.g.Node(replica).Pause())
	r.do(primary, "CLIENT", "KILL", "TYPE", "replica")
}

// must fails the test on an error of the servers' handling.
func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestFailoverLosesABatchAndItIsSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	ctx := context.Background()
	const n = 20
	for i := range n {
		r.src.add("INCR", "n")
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	first := r.drain(0)
	r.must(r.g.WaitSynced(ctx))

	// The primary has the rest, the replica has not: the journal keeps it.
	r.sever(0, 1)
	for i := n; i < 2*n; i++ {
		r.src.add("INCR", "n")
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	rp := r.replayer()
	stop, _ := r.run(rp, 0)
	r.waitAcked(rp, 4*n)
	redistest.Eventually(t, patience, "the progress to be saved", func() bool { return r.src.Progress().Covered == 4*n })
	if b := r.src.Bounds(); b.Trimmed != 2*n {
		t.Errorf("trimmed up to %d although the replica has %d", b.Trimmed, 2*n)
	}
	r.want(0, "n", strconv.Itoa(2*n))
	r.must(r.g.Node(0).Kill())
	_ = stop()

	r.must(r.g.Node(1).Resume())
	r.must(r.g.PromoteOnly(ctx, 1))
	r.opt.Replicas = nil
	second := r.drain(1)
	r.want(1, "n", strconv.Itoa(2*n))
	r.want(1, "log", order(2*n))
	if a, b := first.Stats(), second.Stats(); a.Replayed != 2*n || b.Replayed != 2*n || b.Gaps != 0 {
		t.Errorf("stats %+v, then %+v", a, b)
	}
}

func TestLateReplicaIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.opt.AckBound = 100 * time.Millisecond
	r.must(r.g.Node(2).Pause())
	r.src.add("INCR", "n")
	rp := r.replayer()
	_, ended := r.run(rp, 0)
	r.waitDrained(ended)
	if got := r.src.unconfirmedTrims(); len(got) != 1 || rp.Stats().Unconfirmed != 1 {
		t.Fatalf("unconfirmed trims %v, stats %+v", got, rp.Stats())
	}
	// Now waiting for it would take for ever. (The acker is idle: Wake orders
	// this write before its next read.)
	rp.opt.AckBound = time.Hour
	r.src.add("INCR", "n")
	rp.Wake()
	r.waitDrained(ended)
	if got := r.src.unconfirmedTrims(); len(got) != 2 {
		t.Errorf("unconfirmed trims %v", got)
	}
	// Once it has caught up it counts again.
	r.must(r.g.Node(2).Resume())
	redistest.Eventually(t, patience, "a confirmed trim", func() bool {
		before := len(r.src.unconfirmedTrims())
		r.src.add("INCR", "n")
		rp.Wake()
		r.waitDrained(ended)
		return len(r.src.unconfirmedTrims()) == before
	})
}

func TestNothingIsGivenBackForADeadPrimary(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	ctx := context.Background()
	r.opt.AckBound = time.Second
	var dials atomic.Int64 // that the dead primary refused
	r.opt.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil && addr == r.g.Node(0).Addr() {
			dials.Add(1)
		}
		return c, err
	}
	r.sever(0, 1)
	r.src.add("INCR", "n")
	rp := r.replayer()
	stop, _ := r.run(rp, 0)
	redistest.Eventually(t, patience, "the progress to be saved", func() bool { return r.src.Progress().Covered == 1 })
	r.must(r.g.Node(0).Kill())
	killed := time.Now()
	redistest.Eventually(t, patience, "the bound to pass", func() bool {
		return time.Since(killed) > 2*r.opt.AckBound && dials.Load() > 1
	})
	_ = stop()
	if b := r.src.Bounds(); b.Trimmed != 0 {
		t.Fatalf("trimmed up to %d on behalf of a dead primary", b.Trimmed)
	}
	r.must(r.g.Node(1).Resume())
	r.must(r.g.PromoteOnly(ctx, 1))
	r.opt.Replicas = nil
	r.drain(1)
	r.want(1, "n", "1")
}

// A replica that is promoted leaves the list of replicas. It has not confirmed anything by
// that: what it lacks is to be sent to it.
func TestReplicaThatLeavesTheListConfirmsNothing(t *testing.T) {
	t.Parallel()
	for _, acks := range []int{0, 1} {
		r := newRig(t, 1)
		r.opt.ReplicaAcks = acks
		var listed, asked atomic.Int64 // asked counts the questions since nobody is listed
		listed.Store(1)
		r.opt.Replicas = func() []string {
			if listed.Load() == 0 {
				asked.Add(1)
			}
			return r.g.Addrs()[1 : 1+listed.Load()]
		}
		r.sever(0, 1)
		r.src.add("INCR", "n")
		rp := r.replayer()
		stop, _ := r.run(rp, 0)
		r.waitAcked(rp, 1)
		listed.Store(0)
		redistest.Eventually(t, patience, "the list to be looked at", func() bool { return asked.Load() > 3 })
		r.src.add("INCR", "n") // nor what comes later
		rp.Wake()
		r.waitAcked(rp, 2)
		if b := r.src.Bounds(); b.Trimmed != 0 {
			t.Fatalf("ReplicaAcks %d: trimmed up to %d", acks, b.Trimmed)
		}
		r.must(r.g.Node(0).Kill())
		_ = stop()
		r.must(r.g.Node(1).Resume())
		r.must(r.g.PromoteOnly(t.Context(), 1))
		r.opt.Replicas = nil
		r.drain(1)
		r.want(1, "n", "2")
	}
}

// One that is gone for good is waited for once.
func TestReplicaThatIsTakenAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.opt.AckBound = 100 * time.Millisecond
	var listed atomic.Int64
	listed.Store(1)
	r.opt.Replicas = func() []string { return r.g.Addrs()[1 : 1+listed.Load()] }
	r.sever(0, 1)
	r.src.add("INCR", "n")
	rp := r.replayer()
	_, ended := r.run(rp, 0)
	r.waitAcked(rp, 1)
	listed.Store(0)
	r.waitDrained(ended)
	if got := r.src.unconfirmedTrims(); len(got) != 1 {
		t.Errorf("unconfirmed trims %v, want one", got)
	}
	r.src.add("INCR", "n")
	rp.Wake()
	r.waitDrained(ended)
	if got := r.src.unconfirmedTrims(); len(got) != 1 {
		t.Errorf("unconfirmed trims %v: it is waited for still", got)
	}
}

func TestReplicaAcksCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.must(r.g.Node(2).Pause())
	for acks, unconfirmed := range map[int]int{-1: 0, 1: 0, 3: 1} {
		r.opt.ReplicaAcks, r.opt.AckBound = acks, 200*time.Millisecond
		before := len(r.src.unconfirmedTrims())
		r.src.add("INCR", "n")
		r.drain(0)
		if got := len(r.src.unconfirmedTrims()) - before; got != unconfirmed {
			t.Errorf("ReplicaAcks %d: %d unconfirmed trims, want %d", acks, got, unconfirmed)
		}
	}
}

func TestOffsetOfAnotherHistoryConfirmsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.opt.AckBound = 200 * time.Millisecond
	r.must(r.g.PromoteOnly(context.Background(), 1))
	for range 100 { // far beyond the primary's offset
		r.do(1, "SET", "x", "a value that moves the offset on")
	}
	r.src.add("INCR", "n")
	r.drain(0)
	if got := r.src.unconfirmedTrims(); len(got) != 1 {
		t.Errorf("unconfirmed trims %v, want one", got)
	}
}

func TestGapIsReportedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	ctx := context.Background()
	r.opt.ReplicaAcks = -1
	r.src.add("INCR", "n")
	r.drain(0)
	r.must(r.g.WaitSynced(ctx))
	r.sever(0, 1)
	r.src.add("INCR", "n")
	r.src.add("INCR", "n")
	r.drain(0)
	r.must(r.g.Node(0).Kill())
	r.must(r.g.Node(1).Resume())
	r.must(r.g.PromoteOnly(ctx, 1))
	r.want(1, "n", "1")
	for range 2 {
		r.note(func() { r.drained = 0 })
		r.drain(1)
	}
	r.src.add("INCR", "n")
	r.drain(1)
	r.want(1, "n", "2")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.gaps) != 1 || r.gaps[0] != (Gap{From: 2, To: 3}) {
		t.Errorf("gaps %v, want 2 to 3 once", r.gaps)
	}
}

func TestVanishedFence(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.opt.BatchEntries = 1
	ctx := context.Background()
	r.must(r.g.Node(1).Pause()) // so that nothing is trimmed
	r.src.add("INCR", "n")
	rp := r.replayer()
	stop, _ := r.run(rp, 0)
	redistest.Eventually(t, patience, "the progress to be saved", func() bool { return r.src.Progress().Covered == 1 })
	_ = stop()

	// What was acknowledged is not sent again; what may have been sent since, by
	// this or an earlier process, is only if that changes nothing.
	counter := r.src.add("INCR", "n")
	r.src.add("SET", "x", "1")
	r.do(0, "DEL", FenceKey("test"))
	r.opt.AckBound = time.Millisecond
	r.drain(0)
	r.want(0, "n", "1")
	r.want(0, "x", "1")
	letters := r.src.letters()
	if len(letters) != 1 || letters[counter].Reason != ReasonInDoubt {
		t.Errorf("dead letters %+v", letters)
	}
	r.must(r.g.Node(1).Resume())
	r.must(r.g.WaitSynced(ctx))
}

func TestRestartedEmptyPrimaryGetsAllThatIsRetained(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.must(r.g.Node(1).Pause())
	for range 5 {
		r.src.add("INCR", "n")
	}
	rp := r.replayer()
	stop, _ := r.run(rp, 0)
	redistest.Eventually(t, patience, "the progress to be saved", func() bool { return r.src.Progress().Covered == 5 })
	r.must(r.g.Node(0).Kill())
	_ = stop()
	before := r.src.Progress().ReplID
	r.must(r.g.Node(0).Restart(context.Background()))
	_, ended := r.run(rp, 0)
	redistest.Eventually(t, patience, "the batch", func() bool { return r.src.Progress().ReplID != before })
	// The first replica to attach makes the primary renew its replication id.
	r.must(r.g.Node(1).Resume())
	r.waitDrained(ended)
	r.want(0, "n", "5")
	if st := rp.Stats(); st.Unconfirmed > 0 || st.DeadLettered > 0 {
		t.Errorf("stats %+v", st)
	}
}

// Processes die and connections are cut at random points; the primary is killed
// and another promoted now and then. Nothing may be missing, doubled or out of
// order.
func TestRandomCutsAndFailovers(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, 2)
	r.opt.BatchEntries = 5
	ctx := context.Background()
	primary, entries, failovers := 0, 0, 0
	for round := range 30 {
		for range 40 {
			r.src.add("INCR", "n")
			r.src.add("APPEND", "log", strconv.Itoa(entries)+",")
			entries++
		}
		r.opt.Replicas = func() []string {
			addrs := r.g.Addrs()
			return append(addrs[:primary:primary], addrs[primary+1:]...)
		}
		cuts := rand.New(rand.NewPCG(seed, uint64(round)+1))
		r.opt.Rate = -round % 2 // paced, or with queued batches
		l := &link{parts: round%4 < 2, decide: func(int, []byte) fate {
			switch cuts.IntN(8) {
			case 0:
				return cutBefore
			case 1:
				return cutAfter
			}
			return forward
		}}
		r.opt.Dial = l.dial
		rp := r.replayer()
		stop, ended := r.run(rp, primary)
		goal := rp.Stats().Acked + uint64(rng.IntN(80))
		redistest.Eventually(t, patience, "some progress", func() bool {
			select {
			case err := <-ended:
				// Many cuts in a row may make it give up; that is an end like others.
				if !errors.Is(err, ErrUnreachable) {
					t.Fatalf("round %d: Run ended with %v", round, err)
				}
				return true
			default:
			}
			return rp.Stats().Acked >= goal || rp.Stats().Acked == r.src.Bounds().Last
		})
		if round%6 == 5 {
			r.must(r.g.Node(primary).Kill())
			_ = stop()
			dead := primary
			primary = r.furthest(dead)
			r.must(r.g.Promote(ctx, primary))
			r.must(r.g.Node(dead).Restart(ctx))
			r.must(r.g.Promote(ctx, primary)) // the restarted one too
			failovers++
		}
		_ = stop()
	}
	r.opt.Dial = nil
	r.drain(primary)
	r.want(primary, "n", strconv.Itoa(entries))
	r.want(primary, "log", order(entries))
	if len(r.src.letters()) > 0 || len(r.gaps) > 0 {
		t.Errorf("dead letters %v, gaps %v", r.src.letters(), r.gaps)
	}
	t.Logf("%d entries, %d failovers", 2*entries, failovers)
}

// furthest is the replica an operator would promote.
func (r *rig) furthest(without int) int {
	r.t.Helper()
	best, offset := -1, int64(-1)
	for i := range r.g.Nodes() {
		if i == without {
			continue
		}
		info := parseInfo(fmt.Sprint(r.do(i, "INFO", "replication")))
		at, err := strconv.ParseInt(info["slave_repl_offset"], 10, 64)
		r.must(err)
		if at > offset {
			best, offset = i, at
		}
	}
	return best
}
