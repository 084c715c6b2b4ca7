package resilient_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestPacedDrainEndsUnderLoad replays much more slowly than writers add to the backlog:
// what they add comes on top of the bound, so that the drain ends all the same.
func TestPacedDrainEndsUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{
		Dir: t.TempDir(), ReplayRate: 300, NoCoalescing: true, // merged they would take no time
	})
	w := newCounters(t, c, "hot")
	for range 2 {
		w.start(func() ([]string, []*redis.IntCmd) {
			return []string{"hot"}, []*redis.IntCmd{c.Incr(ctx, "hot")}
		})
	}
	w.await(t, 10)
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	w.await(t, 1000) // more than three seconds' worth
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "a pace", func() bool { return c.Stats().ReplayPace > 0 })
	redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
		return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
	})
	w.await(t, 50)
	w.stop()
	flush(t, c)
	w.verify(t, g.Node(1).Client())
	if pace := c.Stats().ReplayPace; pace != 0 {
		t.Errorf("the pace is %v after the drain", pace)
	}
}

// TestProgressIsTold: of a replay that takes three seconds, several times.
func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	var mu sync.Mutex
	var told []resilient.ReplayProgressInfo
	c := open(t, g, &resilient.Options{
		ReplayRate: 300, NoCoalescing: true, // merged they would take no time
		Listener: resilient.Listener{ReplayProgress: func(i resilient.ReplayProgressInfo) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, i)
		}},
	})
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	for range 1000 {
		check(t, c.Incr(ctx, "n").Err())
	}
	check(t, g.Promote(ctx, 1))
	flush(t, c)
	mu.Lock()
	defer mu.Unlock()
	if len(told) == 0 {
		t.Fatal("no progress was told of")
	}
	before := resilient.ReplayProgressInfo{}
	for _, i := range told {
		if i.Primary != g.Node(1).Addr() || i.Entries < before.Entries || i.Bytes <= before.Bytes || i.Rate <= 0 ||
			i.Remaining < 0 || i.ETA > 0 && i.Remaining == 0 {
			t.Errorf("%+v came behind %+v", i, before)
		}
		before = i
	}
	if text := before.String(); !strings.Contains(text, " to go at ") {
		t.Errorf("progress reads %q", text)
	}
}

// TestCutOverWaitsNoLongerThanThePaceTakes: with a bound of a few writes per second, a
// writer to a key with a backlog is not made to wait for two batches of it.
func TestCutOverWaitsNoLongerThanThePaceTakes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{ReplayRate: 1})
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	for range 50 { // a minute's worth nearly
		check(t, c.Incr(ctx, "n").Err())
	}
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "the replay", func() bool { return c.State().State == resilient.StateReplaying })
	deferred := c.Stats().Deferred
	check(t, c.Incr(ctx, "n").Err())
	if s := c.Stats(); s.Deferred != deferred+1 {
		t.Errorf("the write was not deferred but waited for %d entries at one per second", s.Entries)
	}
}

// TestCutOverKeepsFreshKeysOut: while a replay goes on, a write of a key with a backlog and
// one without does not queue behind the first: others write the second on the primary.
func TestCutOverKeepsFreshKeysOut(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{ReplayRate: 1, NoCoalescing: true})
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	for range 50 {
		check(t, c.Incr(ctx, "n").Err())
	}
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "the replay", func() bool { return c.State().State == resilient.StateReplaying })
	deferred := c.Stats().Deferred
	for _, keys := range [][]string{{"fresh", "n"}, {"n", "fresh"}} {
		bounded, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		if n, err := c.Del(bounded, keys...).Result(); err == nil {
			t.Errorf("DEL %v = %d in the middle of the replay", keys, n)
		}
		cancel()
	}
	check(t, c.Set(ctx, "fresh", "live", 0).Err())
	if n := c.Stats().Deferred - deferred; n != 0 {
		t.Errorf("%d writes were deferred", n)
	}
	if v := g.Node(1).Client().Get(ctx, "fresh").Val(); v != "live" {
		t.Errorf("the primary has %q", v)
	}
	if n, err := c.Del(ctx, "n", "n").Result(); n != 1 || err != nil {
		t.Errorf("DEL of what has a backlog: %d, %v", n, err)
	}
}

// farConn is a connection to a server that is far away.
type farConn struct {
	net.Conn
	way time.Duration
}

func (c farConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	<-time.After(c.way)
	return n, err
}

// TestDrainOfAFarPrimaryEndsUnderLoad: writers add to the backlog in memory many times
// faster than the replay to a primary far away can take it off, paced or not.
func TestDrainOfAFarPrimaryEndsUnderLoad(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{0, -1} {
		t.Run(fmt.Sprintf("rate %d", rate), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g := redistest.StartT(t, redistest.Options{Replicas: 1})
			c := openWith(t, g, redis.UniversalOptions{Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return farConn{conn, 50 * time.Millisecond}, err
			}}, &resilient.Options{ReplayRate: rate, NoCoalescing: true})
			keys := []string{"hot:0", "hot:1", "hot:2"}
			w := newCounters(t, c, keys...)
			check(t, g.Cycle(ctx))
			waitState(t, c, resilient.StateNoPrimary)
			start := func(writers int) {
				for i := range writers {
					w.start(func() ([]string, []*redis.IntCmd) {
						key := keys[i%len(keys)]
						return []string{key}, []*redis.IntCmd{c.Incr(ctx, key)}
					})
				}
			}
			start(1)
			w.await(t, 2000)
			check(t, g.Promote(ctx, 1))
			waitState(t, c, resilient.StateReplaying)
			start(7)
			redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
				return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
			})
			w.stop()
			flush(t, c)
			w.verify(t, g.Node(1).Client())
		})
	}
}
