package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

// clusterRig is a Cluster, a journal with entries of many slots, and what the hooks
// told.
type clusterRig struct {
	t       *testing.T
	c       *redistest.Cluster
	journal *memSource
	opt     Options
	wrote   map[string]int // how often each key was written

	mu      sync.Mutex // guards what follows
	gaps    []Gap
	paused  []string
	drained uint64
}

func newClusterRig(t *testing.T, o redistest.ClusterOptions) *clusterRig {
	t.Helper()
	r := &clusterRig{t: t, c: redistest.StartClusterT(t, o), journal: newSource(), wrote: map[string]int{}}
	r.opt = Options{
		ClientID: "test", Timeout: patience, AckBound: patience, BatchEntries: 20,
		Fence: func(lane uint16) string { return FenceKeyOf("test", lane) },
		Hooks: Hooks{
			Gap:     func(v Gap) { r.note(func() { r.gaps = append(r.gaps, v) }) },
			Paused:  func(code string) { r.note(func() { r.paused = append(r.paused, code) }) },
			Drained: func(upTo uint64) { r.note(func() { r.drained = upTo }) },
		},
	}
	return r
}

func (r *clusterRig) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *clusterRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *clusterRig) do(node *redistest.Node, args ...any) any {
	r.t.Helper()
	v, err := node.Do(context.Background(), args...)
	if err != nil {
		r.t.Fatalf("%v: %v", args[0], err)
	}
	return v
}

// write defers the next write of a key: an INCR and an APPEND of its number.
func (r *clusterRig) write(key string) {
	r.journal.add("INCR", "{"+key+"}n")
	r.journal.add("APPEND", "{"+key+"}log", strconv.Itoa(r.wrote[key])+",")
	r.wrote[key]++
}

// writeAll defers n writes to each of so many keys, in a mixed order.
func (r *clusterRig) writeAll(keys, n int) {
	for range n {
		for _, k := range rand.Perm(keys) {
			r.write("k" + strconv.Itoa(k))
		}
	}
}

// check compares what the owners have with what was written.
func (r *clusterRig) check() {
	r.t.Helper()
	for key, n := range r.wrote {
		owner, ok := r.c.Owner(context.Background(), int(slot.Of(key)))
		if !ok {
			r.t.Fatalf("the slot of %s has no owner", key)
		}
		if got := fmt.Sprint(r.do(owner, "GET", "{"+key+"}n")); got != strconv.Itoa(n) {
			r.t.Errorf("%s: %s increments, want %d", key, got, n)
		}
		if got := fmt.Sprint(r.do(owner, "GET", "{"+key+"}log")); got != order(n) {
			r.t.Errorf("%s: order %s, want %s", key, got, order(n))
		}
	}
}

// replayer makes a new one over the part of the journal that mine is.
func (r *clusterRig) replayer(mine func(lane uint16) bool) (*Replayer, *laneSource) {
	r.t.Helper()
	src := newLaneSource(r.journal, mine)
	o := r.opt
	o.Source = src
	rp, err := New(o)
	r.must(err)
	return rp, src
}

func (r *clusterRig) run(rp *Replayer, node *redistest.Node) (stop func() error, ended <-chan error) {
	r.note(func() { r.drained = 0 })
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = rp.Run(ctx, Target{Addr: node.Addr()})
		result <- err
	}()
	stop = func() error { cancel(); <-done; return err }
	r.t.Cleanup(func() { _ = stop() })
	return stop, result
}

func (r *clusterRig) waitDrained(src *laneSource, ended <-chan error) {
	r.t.Helper()
	redistest.Eventually(r.t, patience, "the drain", func() bool {
		select {
		case err := <-ended:
			r.t.Fatalf("Run ended before the drain: %v", err)
		default:
		}
		b := src.Bounds()
		r.mu.Lock()
		defer r.mu.Unlock()
		return b.Trimmed >= b.Last && r.drained == b.Last
	})
}

// drain replays what is mine to a node.
func (r *clusterRig) drain(node *redistest.Node, mine func(lane uint16) bool) *Replayer {
	r.t.Helper()
	rp, src := r.replayer(mine)
	stop, ended := r.run(rp, node)
	r.waitDrained(src, ended)
	_ = stop()
	return rp
}

// of is the lanes that shard i has at the start.
func (r *clusterRig) of(i int) func(lane uint16) bool {
	from, to := r.c.SlotRange(i)
	return func(lane uint16) bool { return int(lane) >= from && int(lane) <= to }
}

func TestLanesOnceInOrder(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	const keys, n = 50, 30
	r.writeAll(keys, n)
	rp := r.drain(r.c.Node(0), everyLane)
	r.check()
	if st := rp.Stats(); st.Replayed != 2*keys*n || st.Sessions != 1 || st.Gaps+st.DeadLettered+st.Unconfirmed != 0 || st.Acked != 2*keys*n {
		t.Errorf("stats %+v", st)
	}
	for key := range r.wrote {
		ttl := r.do(r.c.Node(0), "PTTL", FenceKeyOf("test", slot.Of(key))).(int64)
		if ttl <= 0 || ttl > DefaultFenceTTL.Milliseconds() {
			t.Errorf("the fence of %s lives for %d ms once all is trimmed", key, ttl)
		}
	}
	// A second process finds the fences, and a batch takes their end off again.
	rp, src := r.replayer(everyLane)
	r.write("k0")
	stop, ended := r.run(rp, r.c.Node(0))
	r.waitDrained(src, ended)
	r.write("k1")
	rp.Wake()
	r.waitDrained(src, ended)
	_ = stop()
	r.check()
}

// One shard's replay leaves the entries of the others alone.
func TestLanesOfShards(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 3})
	r.writeAll(60, 5)
	for i := range 3 {
		rp := r.drain(r.c.Node(i), r.of(i))
		if st := rp.Stats(); st.Replayed == 0 || st.DeadLettered > 0 {
			t.Errorf("shard %d: stats %+v", i, st)
		}
	}
	r.check()
}

func TestLanesCutAtEveryPoint(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	r.opt.BatchEntries = 3
	for _, f := range []fate{cutBefore, cutAfter} {
		for batch := 1; batch <= 9; batch += 2 {
			sent := 0
			l := &link{decide: func(int, []byte) fate {
				if sent++; sent == batch || sent == batch+2 {
					return f
				}
				return forward
			}}
			r.opt.Dial = l.dial
			before := len(r.journal.entries)
			r.writeAll(5, 3)
			rp := r.drain(r.c.Node(0), everyLane)
			if st := rp.Stats(); before != 0 || st.Replayed != 30 || st.Sessions < 2 {
				t.Errorf("fate %d of batch %d: stats %+v, %d entries before", f, batch, st, before)
			}
		}
	}
	r.check()
}

// A batch that was given up is delivered once its successor was applied, whichever
// lane's fence had been watched before it.
func TestLanesLateBatchIsFencedOff(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	r.opt.Timeout = 300 * time.Millisecond
	for late := 1; late <= 4; late++ {
		l, batches := &link{}, 0
		l.decide = func(int, []byte) fate {
			if batches++; batches == late {
				return hold
			}
			return forward
		}
		r.opt.Dial = l.dial
		r.writeAll(4, 3)
		r.drain(r.c.Node(0), everyLane)
		l.release(t)
	}
	r.check()
}

// What a server refuses of an entry stops neither its lane nor another.
func TestLanesFaultyEntries(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	r.do(r.c.Node(0), "ACL", "SETUSER", "default", "-lpush")
	want := map[uint64]Reason{}
	for i := range 5 {
		key := "{k" + strconv.Itoa(i) + "}"
		r.write("k" + strconv.Itoa(i))
		want[r.journal.add("INCR", key+"log")] = ReasonRejected // not a number
		want[r.journal.add("LPUSH", key+"list", "x")] = ReasonRejected
		want[r.journal.addRaw([]byte("*1\r\n$3\r\n"), true)] = ReasonMalformed
		r.write("k" + strconv.Itoa(i))
	}
	want[r.journal.add("LPUSH", "alone", "x")] = ReasonRejected // nothing of its lane is left
	rp := r.drain(r.c.Node(0), everyLane)
	for i := range 5 {
		key := "k" + strconv.Itoa(i)
		if got := fmt.Sprint(r.do(r.c.Node(0), "GET", "{"+key+"}n")); got != "2" {
			t.Errorf("%s is %s, want 2", key, got)
		}
	}
	letters := r.journal.letters()
	for seq, reason := range want {
		if d := letters[seq]; d.Reason != reason {
			t.Errorf("entry %d: %+v, want it %v", seq, d, reason)
		}
	}
	if len(letters) != len(want) || rp.Stats().Replayed != 20 {
		t.Errorf("%d dead letters, want %d; stats %+v", len(letters), len(want), rp.Stats())
	}
}

// A slot on the move is left alone until it has arrived, others are not held up, and
// its new owner's replay goes on where it was.
func TestLanesSlotMoves(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 2})
	ctx := context.Background()
	const key = "k1"
	lane := slot.Of(key)
	from, ok := r.c.Owner(ctx, int(lane))
	if !ok {
		t.Fatal("no owner")
	}
	old := 0
	if from == r.c.Node(1) {
		old = 1
	}
	to := r.c.Node(1 - old)
	r.writeAll(40, 2)
	r.drain(from, r.of(old))

	r.must(r.c.BeginMove(ctx, int(lane), to))
	moved, err := r.c.MoveKeys(ctx, int(lane), 1, to) // part of it is there
	r.must(err)
	if moved != 1 {
		t.Fatalf("%d keys moved", moved)
	}
	r.writeAll(40, 2)
	rp, _ := r.replayer(r.of(old))
	_, ended := r.run(rp, from)
	redistest.Eventually(t, patience, "the other slots", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("Run ended while the slot was on the move: %v", err)
		default:
		}
		for k, n := range r.wrote {
			if s := slot.Of(k); r.of(old)(s) && s != lane && fmt.Sprint(r.do(from, "GET", "{"+k+"}n")) != strconv.Itoa(n) {
				return false
			}
		}
		return rp.Stats().Paused == "ASK"
	})
	for moved > 0 {
		moved, err = r.c.MoveKeys(ctx, int(lane), 100, to)
		r.must(err)
	}
	r.must(r.c.FinishMove(ctx, int(lane), to))
	wantError(t, ended, ErrMoved)
	var e *MovedError
	if err := rp.Run(ctx, Target{Addr: from.Addr()}); !errors.As(err, &e) || e.Lane != lane || e.Addr != to.Addr() {
		t.Errorf("Run at the old owner: %v, %+v; want lane %d at %s", err, e, lane, to.Addr())
	}
	r.drain(from, func(l uint16) bool { return r.of(old)(l) && l != lane })
	r.drain(to, func(l uint16) bool { return r.of(1-old)(l) || l == lane })
	r.check()
}

// A replica answers as if its slots had moved: it is no primary.
func TestLanesOfAReplica(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1, Replicas: 1})
	ctx := context.Background()
	r.opt.Replicas = func() []string { return nil }
	r.writeAll(10, 1)
	rp, _ := r.replayer(everyLane)
	_, ended := r.run(rp, r.c.Node(1))
	wantError(t, ended, ErrNotPrimary)

	rp, src := r.replayer(everyLane)
	_, ended = r.run(rp, r.c.Node(0))
	r.waitDrained(src, ended)
	r.must(r.c.WaitComplete(ctx))
	r.must(r.c.Failover(ctx, r.c.Node(1), redistest.FailoverPlanned))
	r.must(r.c.WaitComplete(ctx))
	r.writeAll(10, 1)
	rp.Wake()
	wantError(t, ended, ErrNotPrimary)
	r.drain(r.c.Node(1), everyLane)
	r.check()
}

// A failover that lost a tail lost its fences too; what was not given back is sent
// again.
func TestLanesFailoverLosesTheTail(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1, Replicas: 1})
	ctx := context.Background()
	primary, replica := r.c.Node(0), r.c.Node(1)
	r.opt.Replicas = func() []string { return []string{replica.Addr()} }
	r.writeAll(20, 3)
	rp, src := r.replayer(everyLane)
	stop, ended := r.run(rp, primary)
	r.waitDrained(src, ended)
	r.must(replica.Pause())
	r.do(primary, "CLIENT", "KILL", "TYPE", "replica")
	trimmed := src.Bounds().Trimmed
	r.writeAll(20, 3)
	last := src.Bounds().Last
	rp.Wake()
	redistest.Eventually(t, patience, "the acknowledgement", func() bool { return rp.Stats().Acked == last })
	if got := src.Bounds().Trimmed; got != trimmed {
		t.Errorf("trimmed up to %d although the replica has %d", got, trimmed)
	}
	r.must(primary.Kill())
	_ = stop()
	r.must(replica.Resume())
	r.must(r.c.Failover(ctx, replica, redistest.FailoverTakeover))
	r.opt.Replicas = nil
	rp.opt.Replicas = func() []string { return nil }
	_, ended = r.run(rp, replica)
	r.waitDrained(src, ended)
	for key, n := range r.wrote {
		if got := fmt.Sprint(r.do(replica, "GET", "{"+key+"}log")); got != order(n) {
			t.Errorf("%s: %s, want %s", key, got, order(n))
		}
	}
	if st := rp.Stats(); st.Gaps > 0 || st.DeadLettered > 0 {
		t.Errorf("stats %+v", st)
	}
}

// Of a lane whose fence has vanished is sent what certainly was not applied.
func TestLanesVanishedFence(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1, Replicas: 1})
	node := r.c.Node(0)
	r.opt.BatchEntries, r.opt.Timeout = 2, time.Second
	r.must(r.c.Node(1).Pause()) // so that nothing is trimmed
	r.opt.Replicas = func() []string { return []string{r.c.Node(1).Addr()} }
	r.journal.add("INCR", "a")
	r.journal.add("INCR", "b")
	var late atomic.Bool
	l := &link{decide: func(int, []byte) fate {
		if late.Load() {
			return hold
		}
		return forward
	}}
	r.opt.Dial = l.dial
	rp, src := r.replayer(everyLane)
	_, ended := r.run(rp, node)
	redistest.Eventually(t, patience, "the batches", func() bool { return rp.Stats().Acked == 2 })
	late.Store(true)
	counter := r.journal.add("INCR", "a")
	r.journal.add("SET", "{a}x", "7")
	rp.Wake()
	wantError(t, ended, ErrUnreachable) // it has sent the batch, and never learnt what came of it
	late.Store(false)
	for _, key := range []string{"a", "b"} {
		r.do(node, "DEL", FenceKeyOf("test", slot.Of(key)))
	}
	behind := r.journal.add("INCR", "b")
	r.opt.Replicas = nil
	rp.opt.Replicas = func() []string { return nil }
	_, ended = r.run(rp, node)
	r.waitDrained(src, ended)
	l.release(t)
	for key, want := range map[string]string{"a": "1", "{a}x": "7", "b": "2"} {
		if got := r.do(node, "GET", key); got != want {
			t.Errorf("%s is %v, want %s", key, got, want)
		}
	}
	letters := r.journal.letters()
	if len(letters) != 1 || letters[counter].Reason != ReasonInDoubt {
		t.Errorf("dead letters %+v, want that of %d and none of %d", letters, counter, behind)
	}
	r.must(r.c.Node(1).Resume())
}

// A gap is that of the lane which lost something, and is told of once.
func TestLanesGap(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	node := r.c.Node(0)
	r.journal.add("INCR", "a") // 1
	r.journal.add("INCR", "b") // 2
	r.journal.add("INCR", "a") // 3
	rp, src := r.replayer(everyLane)
	drain := func() {
		t.Helper()
		stop, ended := r.run(rp, node)
		r.waitDrained(src, ended)
		_ = stop()
	}
	drain()
	r.journal.add("INCR", "b") // 4
	drain()
	fence := FenceKeyOf("test", slot.Of("a"))
	r.do(node, "SET", fence, "1") // as a failover would have left it
	for range 2 {
		r.journal.add("INCR", "b")
		r.journal.add("SET", "{a}x", "1") // 6, 8
		drain()
		r.do(node, "SET", fence, "1")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.gaps) != 2 || r.gaps[0] != (Gap{From: 2, To: 3}) || r.gaps[1] != (Gap{From: 2, To: 6}) {
		t.Errorf("gaps %v, want 2 to 3 and 2 to 6", r.gaps)
	}
	if rp.Stats().Gaps != 2 {
		t.Errorf("stats %+v", rp.Stats())
	}
}

func TestLanesFenceOfAnother(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	r.writeAll(5, 1)
	fence := FenceKeyOf("test", slot.Of("k3"))
	for value, want := range map[string]error{"11": ErrFenceAhead, "eleven": ErrRefused} {
		r.do(r.c.Node(0), "SET", fence, value)
		rp, _ := r.replayer(everyLane)
		_, ended := r.run(rp, r.c.Node(0))
		wantError(t, ended, want)
	}
	if n := r.do(r.c.Node(0), "DBSIZE"); n != int64(1) {
		t.Errorf("%v keys: something was sent", n)
	}
	o := r.opt
	o.Source = r.journal
	if _, err := New(o); err == nil {
		t.Error("a fence for each lane of a Source that knows none")
	}
}

// Processes die, connections are cut at random points and slots move. Nothing may be
// missing, doubled or out of order.
func TestLanesRandomCutsAndMoves(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 2})
	ctx := context.Background()
	r.opt.BatchEntries = 4
	owner := make(map[uint16]int)
	for lane := range uint16(slot.Count) {
		if r.of(1)(lane) {
			owner[lane] = 1
		}
	}
	moves := 0
	for round := range 16 {
		r.writeAll(30, 2)
		cuts := rand.New(rand.NewPCG(seed, uint64(round)+1))
		l := &link{decide: func(int, []byte) fate {
			switch cuts.IntN(12) {
			case 0:
				return cutBefore
			case 1:
				return cutAfter
			}
			return forward
		}}
		r.opt.Dial = l.dial
		node := round % 2
		rp, _ := r.replayer(func(lane uint16) bool { return owner[lane] == node })
		stop, ended := r.run(rp, r.c.Node(node))
		batches := uint64(rng.IntN(15))
		redistest.Eventually(t, patience, "some progress", func() bool {
			select {
			case err := <-ended:
				if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrMoved) {
					t.Fatalf("round %d: Run ended with %v", round, err)
				}
				return true
			default:
			}
			return rp.Stats().Batches >= batches
		})
		lane := slot.Of("k" + strconv.Itoa(rng.IntN(30)))
		r.must(r.c.MoveSlots(ctx, int(lane), int(lane), r.c.Node(1-owner[lane])))
		_ = stop() // the owners change for the next one
		owner[lane] = 1 - owner[lane]
		moves++
	}
	r.opt.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	for node := range 2 {
		r.drain(r.c.Node(node), func(lane uint16) bool { return owner[lane] == node })
	}
	r.check()
	if len(r.journal.letters()) > 0 || len(r.gaps) > 0 {
		t.Errorf("dead letters %v, gaps %v", r.journal.letters(), r.gaps)
	}
	t.Logf("%d moves", moves)
}
