package resilient_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// calmFor is how long TestCalm disturbs the servers: HOLDFAST_CALM, or a moment.
func calmFor(t *testing.T) time.Duration {
	text := os.Getenv("HOLDFAST_CALM")
	if text == "" {
		return 12 * time.Second
	}
	d, err := time.ParseDuration(text)
	check(t, err)
	return d
}

// calmLog is what a client has said of its state.
type calmLog struct {
	mu      sync.Mutex // guards what follows
	changes []string
	since   time.Time     // of the outage under way; zero: there is none
	longest time.Duration // outage, but for the failover's
	excused bool          // a failover is under way, or was during this outage
}

func (l *calmLog) changed(i resilient.StateInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, time.Now().Format("04:05.000 ")+i.To.String())
	live := i.To.State == resilient.StateHealthy || i.To.State == resilient.StateReplaying
	switch {
	case !live && l.since.IsZero():
		l.since = time.Now()
	case live && !l.since.IsZero():
		if !l.excused {
			l.longest = max(l.longest, time.Since(l.since))
		}
		l.since = time.Time{}
	}
}

func (l *calmLog) excuse(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.excused = on
}

// TestCalm: a group under load, whose primary has spikes of latency, stops for 300 ms at
// a time and drops connections, and is replaced in between as planned. No outage is
// believed in that lasts longer than that failover; each write is there once.
func TestCalm(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	sentinels := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{})
	log := &calmLog{}
	c, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: sentinels.Addrs(), MasterName: sentinels.Name()},
		&resilient.Options{Logger: slog.New(slog.DiscardHandler), Listener: resilient.Listener{StateChanged: log.changed}},
	)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() }) // its error is for the tests that look at it
	waitState(t, c, resilient.StateHealthy)

	var sums [4]atomic.Int64
	var doubts atomic.Int64
	load, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for load.Err() == nil {
				<-tick.C
				switch err := c.Incr(ctx, "n").Err(); {
				case err == nil:
					sums[i].Add(1)
				default:
					doubts.Add(1)
				}
			}
		})
	}
	length := calmFor(t)
	took := time.Duration(0)
	for begun := time.Now(); time.Since(begun) < length; {
		if took == 0 && time.Since(begun) > length/2 {
			log.excuse(true)
			at := time.Now()
			check(t, sentinels.Failover(ctx))
			redistest.Eventually(t, testPatience, "the failover's end", func() bool {
				n, ok := sentinels.Primary(ctx)
				return ok && n.Client().Set(ctx, "probe", 1, 0).Err() == nil && n != g.Node(0)
			})
			took = time.Since(at)
			waitState(t, c, resilient.StateHealthy)
			check(t, g.WaitSynced(ctx))
			log.excuse(false)
		}
		if n, ok := sentinels.Primary(ctx); ok {
			disturb(ctx, t, n)
		}
		<-time.After(200*time.Millisecond + rand.N(time.Second)) // calm in between is part of it
	}
	stop()
	wg.Wait()
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	var sum int64
	for i := range sums {
		sum += sums[i].Load()
	}
	n, err := c.Get(ctx, "n").Int64()
	check(t, err)
	log.mu.Lock()
	defer log.mu.Unlock()
	t.Logf("%v, %d writes, %d errors; failover %v, longest other outage %v, %d changes of state:\n%s",
		length, sum, doubts.Load(), took.Round(time.Millisecond), log.longest.Round(time.Millisecond),
		len(log.changes), strings.Join(log.changes, "\n"))
	if log.longest > took {
		t.Errorf("an outage of %v was believed in, longer than the failover's %v", log.longest, took)
	}
	// A planned failover of Redis itself can lose what was acknowledged; nothing adds any.
	if n > sum+doubts.Load() {
		t.Errorf("the counter is %d after %d writes and %d without an answer", n, sum, doubts.Load())
	}
}

// disturb does to a server what happens on a bad day.
func disturb(ctx context.Context, t *testing.T, n *redistest.Node) {
	switch rand.N(3) {
	case 0: // a spike of latency
		_, err := n.Do(ctx, "CLIENT", "PAUSE", 20+rand.N(180), "ALL")
		check(t, err)
	case 1: // a stop
		check(t, n.Pause())
		<-time.After(300 * time.Millisecond)
		check(t, n.Resume())
	case 2: // a connection that drops
		list, err := n.Client().ClientList(ctx).Result()
		check(t, err)
		lines := strings.Split(strings.TrimSpace(list), "\n")
		line := lines[rand.N(len(lines))]
		if id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " "); !strings.Contains(line, "flags=S") && !strings.Contains(line, "flags=M") {
			_, _ = n.Do(ctx, "CLIENT", "KILL", "ID", id) // it may have gone by itself
		}
	}
}
