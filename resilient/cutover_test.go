package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// testPatience bounds what a busy machine may make slow.
const testPatience = 60 * time.Second

// counters are goroutines that increment keys, and the replies they got.
type counters struct {
	quit chan struct{}
	end  sync.Once // closes quit
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	replies map[string][]int64
	doubts  map[string]int // increments in doubt
	faults  []error        // errors that are none of the expected
	total   int
}

// newCounters makes counters that end with the test at the latest.
func newCounters(t *testing.T, c *resilient.Client, keys ...string) *counters {
	t.Helper()
	w := &counters{quit: make(chan struct{}), replies: map[string][]int64{}, doubts: map[string]int{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("at the end: %v, %+v", c.State(), c.Stats())
		}
		w.stop()
	})
	for _, key := range keys {
		w.replies[key] = nil
	}
	return w
}

// start runs incr in a goroutine until stop. It returns its commands by key.
func (w *counters) start(incr func() ([]string, []*redis.IntCmd)) {
	w.wg.Go(func() {
		for {
			select {
			case <-w.quit:
				return
			default:
			}
			if w.note(incr()) {
				continue
			}
			select { // whoever is refused doesn't insist
			case <-w.quit:
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
}

// note enters what became of the commands, and reports whether one was made.
func (w *counters) note(keys []string, cmds []*redis.IntCmd) (made bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil:
			w.replies[keys[i]] = append(w.replies[keys[i]], cmd.Val())
			w.total++
			made = true
		case errors.Is(err, resilient.ErrInDoubt):
			w.doubts[keys[i]]++
		case !resilient.SafeToRetry(err):
			w.faults = append(w.faults, err)
		}
	}
	return made
}

// await waits for so many more acknowledged increments.
func (w *counters) await(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.total
	}
	from := count()
	redistest.Eventually(t, testPatience, fmt.Sprintf("%d more increments", more), func() bool { return count() >= from+more })
}

func (w *counters) stop() {
	w.end.Do(func() { close(w.quit) })
	w.wg.Wait()
}

// verify compares the counters with what was acknowledged.
func (w *counters) verify(t *testing.T, primary *redis.Client) {
	t.Helper()
	for _, err := range w.faults {
		t.Errorf("an increment: %v", err)
	}
	for key, replies := range w.replies {
		seen := make(map[int64]bool, len(replies))
		for _, n := range replies {
			if seen[n] {
				t.Errorf("counter %s: two callers were told %d", key, n)
			}
			seen[n] = true
		}
		n, err := primary.Get(context.Background(), key).Int()
		if err != nil || n < len(replies) || n > len(replies)+w.doubts[key] {
			t.Errorf("counter %s is %d (%v) after %d acknowledged increments and %d in doubt", key, n, err, len(replies), w.doubts[key])
		}
	}
}

// TestCutOverUnderLoad writes the same few keys all the time, through outage,
// promotion and drain. The drain has to end although writes go on, also where
// the other replicas stay in a replication cycle of their own and never confirm.
func TestCutOverUnderLoad(t *testing.T) {
	t.Parallel()
	for _, only := range []bool{false, true} {
		name := "replicas follow"
		if only {
			name = "replicas left behind"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g := redistest.StartT(t, redistest.Options{Replicas: 2})
			c := open(t, g, &resilient.Options{Dir: t.TempDir(), ReplicaAckTimeout: time.Second})
			keys := []string{"hot:0", "hot:1", "hot:2"}
			w := newCounters(t, c, keys...)
			for i := range 8 {
				n := 0
				w.start(func() ([]string, []*redis.IntCmd) {
					n++
					if n%5 == 0 {
						if err := c.HSet(ctx, fmt.Sprint("own:", i, ":", n), "f", n).Err(); err != nil {
							t.Errorf("HSET: %v", err)
						}
					}
					key := keys[(i+n)%len(keys)]
					return []string{key}, []*redis.IntCmd{c.Incr(ctx, key)}
				})
			}
			for _, key := range keys { // and who needs the primary itself
				w.start(func() ([]string, []*redis.IntCmd) {
					cmd := redis.NewIntCmd(ctx)
					err := c.Watch(ctx, func(tx *redis.Tx) error {
						_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
							cmd = p.Incr(ctx, key)
							return nil
						})
						return err
					})
					if err != nil && cmd.Err() == nil {
						cmd.SetErr(err) // refused before it was made
					}
					return []string{key}, []*redis.IntCmd{cmd}
				})
			}
			w.await(t, 50)
			check(t, g.Cycle(ctx))
			w.await(t, 500)
			waitState(t, c, resilient.StateNoPrimary)
			if only { // then the others go on following each other
				check(t, g.PromoteOnly(ctx, 2))
			} else {
				check(t, g.Promote(ctx, 2))
			}
			redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
				return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
			})
			w.await(t, 50)
			w.stop()
			flush(t, c)
			w.verify(t, g.Node(2).Client())
			if s := c.Stats(); s.InDoubt != 0 || s.DeadLettered != 0 {
				t.Errorf("stats %+v: nobody was cut off", s)
			}
		})
	}
}

// TestSecondOutageInTheDrain: the primary is lost again while the backlog is
// being replayed; what was replayed and lost with it comes again, once.
func TestSecondOutageInTheDrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	w := newCounters(t, c, "a", "b")
	for i := range 4 {
		n := 0
		w.start(func() ([]string, []*redis.IntCmd) {
			n++
			key := []string{"a", "b"}[(i+n)%2]
			return []string{key}, []*redis.IntCmd{c.Incr(ctx, key)}
		})
	}
	w.await(t, 50)
	for _, next := range []int{1, 2, 0} {
		check(t, g.Cycle(ctx))
		w.await(t, 100)
		check(t, g.Promote(ctx, next))
		redistest.Eventually(t, testPatience, "a replay to begin", func() bool {
			return c.State().State == resilient.StateReplaying || c.State().State == resilient.StateHealthy
		})
		check(t, g.WaitSynced(ctx))
	}
	redistest.Eventually(t, testPatience, "health", func() bool { return c.State().State == resilient.StateHealthy })
	w.stop()
	flush(t, c)
	w.verify(t, g.Node(0).Client())
}
