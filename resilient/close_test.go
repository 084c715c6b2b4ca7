package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestCloseUnderWrites closes a client while many goroutines defer writes. What
// was answered with OK is in the journal, and what may be sent again is not.
func TestCloseUnderWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	check(t, g.Cycle(ctx))
	const rounds, writers = 12, 16
	var ok, doubtful [rounds]int64
	for round := range rounds {
		c := open(t, g, &resilient.Options{Dir: dir})
		key := fmt.Sprintf("counter:%d", round)
		var wg sync.WaitGroup
		var written, unknown atomic.Int64
		begun := make(chan struct{}, writers)
		for w := range writers {
			wg.Go(func() {
				for n := 0; ; n++ {
					var err error
					if w%4 == 3 {
						var cmds []redis.Cmder
						cmds, err = c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil })
						if len(cmds) == 1 && !errors.Is(err, cmds[0].Err()) {
							t.Errorf("a pipeline of one: %v, its command: %v", err, cmds[0].Err())
						}
					} else {
						err = c.Incr(ctx, key).Err()
					}
					switch {
					case err == nil:
						written.Add(1)
					case !resilient.SafeToRetry(err):
						unknown.Add(1)
					}
					if n == 3 {
						begun <- struct{}{}
					}
					if err != nil {
						if n <= 3 {
							begun <- struct{}{}
						}
						if !errors.Is(err, resilient.ErrClosed) && !errors.Is(err, resilient.ErrInDoubt) {
							t.Errorf("a write at the time of Close: %v", err)
						}
						return
					}
				}
			})
		}
		for range writers {
			<-begun
		}
		check(t, c.Close())
		wg.Wait()
		ok[round], doubtful[round] = written.Load(), unknown.Load()
	}
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	for round := range rounds {
		n, err := g.Node(1).Client().Get(ctx, fmt.Sprintf("counter:%d", round)).Int64()
		if err != nil || n < ok[round] || n > ok[round]+doubtful[round] {
			t.Errorf("round %d: the counter is %d (%v) after %d acknowledged INCR and %d in doubt", round, n, err, ok[round], doubtful[round])
		}
	}
}

// TestCloseUnderReads closes a client in the middle of reads and pipelines, with
// and without a primary.
func TestCloseUnderReads(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	for round := range 40 {
		if round == 20 {
			check(t, g.Cycle(ctx))
		}
		c := open(t, g, nil)
		var wg sync.WaitGroup
		var reads atomic.Int64
		for w := range 8 {
			wg.Go(func() {
				for {
					var err error
					switch w % 3 {
					case 0:
						err = c.Get(ctx, "k").Err()
					case 1:
						err = pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
							p.Get(ctx, "nothing")
							p.Set(ctx, "k", 1, 0)
							p.Get(ctx, "k")
							return nil
						}))
					default:
						err = c.MGet(ctx, "k", "nothing").Err()
					}
					reads.Add(1)
					switch {
					case errors.Is(err, redis.ErrClosed):
						return
					case err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, resilient.ErrInDoubt) && !errors.Is(err, net.ErrClosed):
						t.Errorf("at the time of Close: %v", err)
						return
					}
				}
			})
		}
		redistest.Eventually(t, testPatience, "some reads", func() bool { return reads.Load() > 20 })
		if err := c.Close(); err != nil && !errors.Is(err, resilient.ErrBacklogLost) {
			t.Error(err)
		}
		wg.Wait()
	}
}

// TestCloseFreesWhoWaits closes a client while callers wait for what only a
// primary could give them.
func TestCloseFreesWhoWaits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "k", "v", 0).Err())
	flushed := make(chan error, 1)
	go func() { flushed <- c.Flush(ctx) }()
	if err := c.Close(); !errors.Is(err, resilient.ErrBacklogLost) {
		t.Errorf("Close of a client in memory with a backlog: %v, want ErrBacklogLost", err)
	}
	if err := c.Close(); !errors.Is(err, resilient.ErrBacklogLost) {
		t.Errorf("the second Close: %v, want what the first said", err)
	}
	select {
	case err := <-flushed:
		if !errors.Is(err, resilient.ErrClosed) {
			t.Errorf("Flush across Close: %v, want ErrClosed", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Flush still waits after Close")
	}
}

// TestUseAfterClose: everything answers ErrClosed, and nothing hangs or panics.
func TestUseAfterClose(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	for _, outage := range []bool{false, true} {
		c := open(t, g, &resilient.Options{Dir: t.TempDir()})
		if outage {
			check(t, g.Cycle(ctx))
			check(t, c.Set(ctx, "held", "v", 0).Err())
		}
		check(t, c.Close())
		for name, err := range map[string]error{
			"get":      c.Get(ctx, "k").Err(),
			"get held": c.Get(ctx, "held").Err(),
			"set":      c.Set(ctx, "k", "v", 0).Err(),
			"incr":     c.Incr(ctx, "held").Err(),
			"lpush":    c.LPush(ctx, "l", 1).Err(),
			"unknown":  c.Do(ctx, "nosuchcommand").Err(),
			"ping":     c.Ping(ctx).Err(),
			"watch":    c.Watch(ctx, func(*redis.Tx) error { return nil }, "k"),
			"pipeline": pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "k"); p.Set(ctx, "k", 1, 0); return nil })),
			"tx":       pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "k", 1, 0); return nil })),
		} {
			if !errors.Is(err, resilient.ErrClosed) || !errors.Is(err, redis.ErrClosed) || errors.Is(err, redis.Nil) {
				t.Errorf("outage %v: %s after Close: %v, want ErrClosed", outage, name, err)
			}
		}
		if _, err := c.Subscribe(ctx, "ch").Receive(ctx); err == nil {
			t.Errorf("outage %v: SUBSCRIBE after Close has no error", outage)
		}
		_, _, _ = c.State(), c.Stats(), c.PoolStats() // must not panic
	}
}

func pipelined(_ []redis.Cmder, err error) error { return err }

// TestShutdownFlushes: what was deferred is in Redis when it returns.
func TestShutdownFlushes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "k", "v", 0).Err())
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush without a primary: %v, want its deadline", err)
	}
	done := make(chan error, 1)
	go func() {
		bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		done <- c.Shutdown(bounded).Err()
	}()
	check(t, g.PromoteOnly(ctx, 1))
	check(t, <-done)
	if v := g.Node(1).Client().Get(ctx, "k").Val(); v != "v" {
		t.Errorf("in Redis after Shutdown: %q", v)
	}
	if err := c.Set(ctx, "k", "w", 0).Err(); !errors.Is(err, resilient.ErrClosed) {
		t.Errorf("SET after Shutdown: %v", err)
	}
}

// TestListenerMayCloseAndPanic: the application's own functions harm nobody.
func TestListenerMayCloseAndPanic(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	var c *resilient.Client
	ready, closed := make(chan struct{}), make(chan error, 1)
	var told atomic.Int64
	c = open(t, g, &resilient.Options{
		Logger: slog.New(slog.DiscardHandler),
		Listener: resilient.Listener{StateChanged: func(i resilient.StateInfo) {
			<-ready
			told.Add(1)
			if i.To.State == resilient.StateNoPrimary {
				closed <- c.Close()
			}
			panic("the application's own")
		}},
	})
	close(ready)
	check(t, g.Cycle(ctx))
	if err := c.LPop(ctx, "l").Err(); err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("LPOP in an outage: %v", err) // refused, or the client is closed by now
	}
	select {
	case err := <-closed:
		check(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the listener could not close the client")
	}
	if told.Load() < 2 {
		t.Errorf("%d changes told; a panic in one must not end the rest", told.Load())
	}
}
