package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// writer writes a key of its own again and again, each time once the reply of the time
// before is there: its numbers to a list, and the newest to a string.
type writer struct {
	list, text string
	sent       int          // the number of the newest write
	acked      map[int]bool // those that were answered with success
	doubted    map[int]bool // those in doubt: applied or not
	text0      int          // the newest that the string is known to have got
	faults     []error
}

// writers are goroutines that write until stop, each to its own keys.
type writers struct {
	quit chan struct{}
	wg   sync.WaitGroup
	all  []*writer

	mu    sync.Mutex // guards total, and the writers while they write
	total int
}

func startWriters(t *testing.T, c *resilient.Client, n int) *writers {
	t.Helper()
	w := &writers{quit: make(chan struct{})}
	for i := range n {
		one := &writer{list: fmt.Sprint("list:", i), text: fmt.Sprint("text:", i), acked: map[int]bool{}, doubted: map[int]bool{}}
		w.all = append(w.all, one)
		w.wg.Go(func() {
			for {
				select { // at the pace of an application
				case <-w.quit:
					return
				case <-time.After(time.Millisecond):
				}
				w.write(c, one)
			}
		})
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("at the end: %v, %+v", c.State(), c.Stats())
		}
	})
	return w
}

// write makes the next write of each kind.
func (w *writers) write(c *resilient.Client, one *writer) {
	ctx := context.Background()
	n := one.sent + 1
	one.sent = n
	listErr := c.RPush(ctx, one.list, n).Err()
	textErr := c.Set(ctx, one.text, n, 0).Err()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case listErr == nil:
		one.acked[n] = true
		w.total++
	case errors.Is(listErr, resilient.ErrInDoubt):
		one.doubted[n] = true
	case !resilient.SafeToRetry(listErr):
		one.faults = append(one.faults, listErr)
	}
	switch {
	case textErr == nil:
		one.text0 = n
	case !errors.Is(textErr, resilient.ErrInDoubt) && !resilient.SafeToRetry(textErr):
		one.faults = append(one.faults, textErr)
	}
}

func (w *writers) stop() { close(w.quit); w.wg.Wait() }

// await waits for so many more answered writes.
func (w *writers) await(t *testing.T, more int) {
	t.Helper()
	count := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.total }
	from := count()
	redistest.Eventually(t, testPatience, fmt.Sprint(more, " more writes"), func() bool { return count() >= from+more })
}

// verify compares what a primary has: every answered write once, in the order of its
// writer, and nothing else but what is in doubt; and never an older value over a newer.
func (w *writers) verify(t *testing.T, primary *redis.Client) {
	t.Helper()
	ctx := context.Background()
	for _, one := range w.all {
		for _, err := range one.faults {
			t.Errorf("%s: %v", one.list, err)
		}
		got, err := primary.LRange(ctx, one.list, 0, -1).Result()
		check(t, err)
		seen, last := map[int]bool{}, 0
		for _, text := range got {
			n, _ := strconv.Atoi(text)
			switch {
			case n == last:
				t.Errorf("%s: %d is there twice", one.list, n)
			case n < last:
				t.Errorf("%s: %d stands behind %d", one.list, n, last)
			case !one.acked[n] && !one.doubted[n]:
				t.Errorf("%s: %d is there, which was refused", one.list, n)
			}
			seen[n], last = true, n
		}
		missing := 0
		for n := range one.acked {
			if !seen[n] {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%s: %d of %d answered writes are missing", one.list, missing, len(one.acked))
		}
		if n, err := primary.Get(ctx, one.text).Int(); err != nil || n < one.text0 {
			t.Errorf("%s is %d (%v): older than %d, which was answered", one.text, n, err, one.text0)
		}
	}
}

// failures is how a primary is lost at the cut-over.
type failures struct {
	t *testing.T
	g *redistest.Group
	c *resilient.Client
	w *writers
}

// loseTail: the primary that returns executes the backlog, and its replica has none of it
// when it succeeds it. So the tail is sent again, while the callers go on writing: a key
// that had been given free at the execution would be overwritten by it.
func (f *failures) loseTail(primary, successor int) {
	t, ctx := f.t, context.Background()
	check(t, f.g.Cycle(ctx))
	f.w.await(t, 100)
	before := f.c.Stats().Replayed
	returnAlone(t, f.g, primary, successor)
	redistest.Eventually(t, testPatience, "the backlog to be executed", func() bool { return f.c.Stats().Replayed >= before+50 })
	f.w.await(t, 20) // they queue, as the successor does not confirm
	check(t, f.g.Node(primary).Kill())
	check(t, f.g.Node(successor).Resume())
	check(t, f.g.PromoteOnly(ctx, successor))
	f.settle("the drain to the successor", func() bool { return f.c.State().Primary == f.g.Node(successor).Addr() })
	check(t, f.g.Node(primary).Restart(ctx))
	check(t, f.g.Promote(ctx, successor)) // the restarted one follows it
	check(t, f.g.WaitSynced(ctx))
}

// returnAlone makes a node the primary, with the other as its replica, which is then cut
// off before anything is replayed: it will not confirm, and does not get it.
func returnAlone(t *testing.T, g *redistest.Group, primary, replica int) {
	t.Helper()
	ctx := context.Background()
	n := g.Node(primary).Client()
	check(t, n.Do(ctx, "CLIENT", "PAUSE", "60000", "WRITE").Err())
	check(t, g.Promote(ctx, primary))
	check(t, g.WaitSynced(ctx))
	check(t, g.Node(replica).Pause())
	check(t, n.Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err())
	check(t, n.Do(ctx, "CLIENT", "UNPAUSE").Err())
}

// handOver: just when the last key is free again, another node becomes the primary, with
// all that was written.
func (f *failures) handOver(from, to int) {
	t, ctx := f.t, context.Background()
	check(t, f.g.Cycle(ctx))
	f.w.await(t, 100)
	check(t, f.g.Promote(ctx, from))
	f.settle("the end of the drain", func() bool { return true })
	old := f.g.Node(from).Client()
	check(t, old.Do(ctx, "CLIENT", "PAUSE", "60000", "WRITE").Err())
	check(t, f.g.WaitSynced(ctx))
	check(t, f.g.PromoteOnly(ctx, to))
	check(t, f.g.Promote(ctx, to))
	check(t, old.Do(ctx, "CLIENT", "UNPAUSE").Err())
	f.w.await(t, 50)
}

// settle waits until nothing is deferred any more, although the callers go on.
func (f *failures) settle(what string, also func() bool) {
	f.t.Helper()
	redistest.Eventually(f.t, testPatience, what, func() bool {
		return f.c.State().State == resilient.StateHealthy && f.c.Stats().Entries == 0 && also()
	})
}

// TestFailoversAtTheCutOver: primaries are lost exactly when the backlog goes over into
// live writes, while callers who wait for their replies write the same keys all the time.
// For each of them its writes stay in order, each once, and a live write is never
// overwritten by a tail that is sent again.
func TestFailoversAtTheCutOver(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), ReplicaAckTimeout: time.Hour, ProbeInterval: 50 * time.Millisecond})
	w := startWriters(t, c, 6)
	f := &failures{t: t, g: g, c: c, w: w}
	w.await(t, 50)
	check(t, pausedSync(ctx, g, 0))
	f.loseTail(0, 1)
	f.handOver(1, 0)
	w.stop()
	flush(t, c)
	w.verify(t, g.Node(0).Client())
	s := c.Stats()
	if s.Unconfirmed != 0 || s.DeadLettered != 0 {
		t.Errorf("stats %+v", s)
	}
	t.Logf("%d writes, %d deferred, %d replayed, %d in doubt", w.total, s.Deferred, s.Replayed, s.InDoubt)
}

// pausedSync lets the replicas catch up with live writes that were answered.
func pausedSync(ctx context.Context, g *redistest.Group, primary int) error {
	old := g.Node(primary).Client()
	return errors.Join(
		old.Do(ctx, "CLIENT", "PAUSE", "60000", "WRITE").Err(), g.WaitSynced(ctx), old.Do(ctx, "CLIENT", "UNPAUSE").Err())
}

// TestGivenUpTailIsNotSentAgain: what no replica confirmed in time was given back, and
// its key free for live writes. A failover then loses it, as Redis loses what it has not
// replicated; what it must not do is come again, over what was written since.
func TestGivenUpTailIsNotSentAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), ReplicaAckTimeout: 200 * time.Millisecond, ProbeInterval: 50 * time.Millisecond})
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "k", "deferred", 0).Err())
	returnAlone(t, g, 0, 1)
	flush(t, c)
	if s := c.Stats(); s.Unconfirmed != 1 {
		t.Fatalf("stats %+v, want one that was not confirmed", s)
	}
	check(t, c.Set(ctx, "k", "live", 0).Err())
	check(t, g.Node(0).Kill())
	check(t, g.Node(1).Resume())
	check(t, g.PromoteOnly(ctx, 1))
	redistest.Eventually(t, testPatience, "the new primary", func() bool {
		return c.State().State == resilient.StateHealthy && c.State().Primary == g.Node(1).Addr()
	})
	check(t, c.Set(ctx, "k", "newer", 0).Err())
	check(t, c.Set(ctx, "other", "x", 0).Err())
	flush(t, c)
	if v := g.Node(1).Client().Get(ctx, "k").Val(); v != "newer" {
		t.Errorf("k is %q", v)
	}
	if s := c.Stats(); s.Replayed != 1 {
		t.Errorf("stats %+v: it was sent again", s)
	}
}

// TestLiveWriteIsNotOverwrittenByATail: keys were executed by a primary that is lost
// before its replica had them. The successor gets them again, slowly, while callers write
// them anew: the later write stays, whether it comes before or behind the key's own turn.
func TestLiveWriteIsNotOverwrittenByATail(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const n = 600
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{
		Dir: t.TempDir(), ReplicaAckTimeout: time.Hour, ReplayRate: 400, ProbeInterval: 50 * time.Millisecond,
	})
	check(t, g.Cycle(ctx))
	key := func(i int) string { return fmt.Sprint("cold:", i) }
	for i := range n {
		check(t, c.Set(ctx, key(i), "old", 0).Err())
	}
	returnAlone(t, g, 0, 1)
	redistest.Eventually(t, testPatience, "all to be executed", func() bool { return c.Stats().Replayed >= n })
	check(t, g.Node(0).Kill())
	check(t, g.Node(1).Resume())
	check(t, g.PromoteOnly(ctx, 1))
	redistest.Eventually(t, testPatience, "the replay to the successor", func() bool {
		s := c.State()
		return s.Primary == g.Node(1).Addr() && (s.State == resilient.StateReplaying || s.State == resilient.StateHealthy)
	})
	// From both ends: keys whose turn has been, and keys whose turn is to come.
	for i := range n / 2 {
		check(t, c.Set(ctx, key(i), "new", 0).Err())
		check(t, c.Set(ctx, key(n-1-i), "new", 0).Err())
	}
	flush(t, c)
	admin := g.Node(1).Client()
	old := 0
	for i := range n {
		if v := admin.Get(ctx, key(i)).Val(); v != "new" {
			old++
		}
	}
	if old > 0 {
		t.Errorf("%d of %d live writes were overwritten by the tail", old, n)
	}
	if s := c.Stats(); s.Replayed < 2*n {
		t.Errorf("stats %+v: the tail was not sent again", s)
	}
}
