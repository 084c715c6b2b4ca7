package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// writeAndRead is one round of a session that owns its keys: each write is read
// back at once, in several ways.
func writeAndRead(ctx context.Context, c *resilient.Client, id, n int) error {
	str, hash, gone := fmt.Sprint("str:", id), fmt.Sprint("hash:", id), fmt.Sprint("gone:", id)
	if err := c.Set(ctx, str, n, time.Hour).Err(); err != nil {
		return fmt.Errorf("SET: %w", err)
	}
	if v, err := c.Get(ctx, str).Int(); v != n || err != nil {
		return fmt.Errorf("GET after SET %d: %d, %w", n, v, err)
	}
	if v, err := c.Incr(ctx, str).Result(); v != int64(n+1) || err != nil {
		return fmt.Errorf("INCR after SET %d: %d, %w", n, v, err)
	}
	if err := c.HSet(ctx, hash, "n", n, fmt.Sprint("f", n%7), "v").Err(); err != nil {
		return fmt.Errorf("HSET: %w", err)
	}
	if v, err := c.HGetAll(ctx, hash).Result(); v["n"] != fmt.Sprint(n) || err != nil {
		return fmt.Errorf("HGETALL after HSET %d: %v, %w", n, v, err)
	}
	p := c.Pipeline()
	p.Set(ctx, gone, n, 0)
	there := p.MGet(ctx, gone, str, "nothing")
	p.Del(ctx, gone)
	left := p.Exists(ctx, gone, str)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	if got, want := fmt.Sprint(there.Val()), fmt.Sprintf("[%d %d <nil>]", n, n+1); got != want || left.Val() != 1 {
		return fmt.Errorf("pipeline: MGET %s, want %s; EXISTS %d", got, want, left.Val())
	}
	if ttl, err := c.TTL(ctx, str).Result(); ttl < 50*time.Minute || err != nil {
		return fmt.Errorf("TTL: %v, %w", ttl, err)
	}
	return nil
}

// TestReadYourWrites: no session misses a write of its own, through outage,
// return and cut-over, with a journal on disk or in memory.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	for _, o := range []resilient.Options{{}, {Dir: "disk"}, {ReplicaAcks: -1}} {
		t.Run(fmt.Sprintf("dir %q, acks %d", o.Dir, o.ReplicaAcks), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g := redistest.StartT(t, redistest.Options{Replicas: 2})
			if o.Dir != "" {
				o.Dir = t.TempDir()
			}
			c := open(t, g, &o)
			var rounds atomic.Int64
			quit := make(chan struct{})
			var wg sync.WaitGroup
			for id := range 6 {
				wg.Go(func() {
					for n := 1; ; n++ {
						select {
						case <-quit:
							return
						default:
						}
						if err := writeAndRead(ctx, c, id, n); err != nil {
							t.Errorf("session %d, round %d, %v: %v", id, n, c.State(), err)
							return
						}
						rounds.Add(1)
					}
				})
			}
			await := func(more int64) {
				t.Helper()
				from := rounds.Load()
				redistest.Eventually(t, testPatience, "the sessions to go on", func() bool { return t.Failed() || rounds.Load() >= from+more })
			}
			await(20)
			for _, next := range []int{1, 0} {
				check(t, g.Cycle(ctx))
				await(60)
				check(t, g.Promote(ctx, next))
				redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
					return t.Failed() || c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
				})
				check(t, g.WaitSynced(ctx))
				await(20)
			}
			close(quit)
			wg.Wait()
			flush(t, c)
		})
	}
}

// TestContextsThatEndAnywhere: contexts end at random moments of deferred
// writes. What is said to be safe to retry was not made.
func TestContextsThatEndAnywhere(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	check(t, g.Cycle(ctx))
	const keys, workers, each = 4, 8, 60
	var ok, unknown [keys]atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := range each {
				short, cancel := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(3*time.Millisecond))))
				key := n % keys
				err := c.Incr(short, fmt.Sprint("n:", key)).Err()
				switch {
				case err == nil:
					ok[key].Add(1)
				case errors.Is(err, resilient.ErrInDoubt) || !resilient.SafeToRetry(err):
					unknown[key].Add(1)
				}
				if err != nil && short.Err() == nil {
					t.Errorf("INCR with a context that has not ended: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	for key := range keys {
		n, err := g.Node(1).Client().Get(ctx, fmt.Sprint("n:", key)).Int64()
		low, high := ok[key].Load(), ok[key].Load()+unknown[key].Load()
		if err != nil && !errors.Is(err, redis.Nil) || n < low || n > high {
			t.Errorf("counter %d is %d (%v), want %d to %d", key, n, err, low, high)
		}
	}
}

// TestSeedOfACallerThatGaveUp: callers of one key share the reading of its base.
// That the one who asked first had little time must not be the others' error.
func TestSeedOfACallerThatGaveUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "first", 1, 0).Err())
	waitState(t, c, resilient.StateNoPrimary)
	var wg sync.WaitGroup
	const keys = 400
	for n := range keys {
		key := fmt.Sprint("n:", n)
		for who := range 4 {
			wg.Go(func() {
				if who == 0 {
					if err := c.Incr(ctx, key).Err(); err != nil {
						t.Errorf("INCR of a caller with all the time: %v", err)
					}
					return
				}
				short, cancel := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(2*time.Millisecond))))
				defer cancel()
				err := c.Incr(short, key).Err()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, resilient.ErrBaseUnknown) {
					t.Errorf("INCR of a caller with little time: %v", err)
				}
			})
		}
		if n%8 == 7 {
			wg.Wait()
		}
	}
	wg.Wait()
}

// TestCallersMayReuseTheirBuffers: the arguments of a deferred write are the
// caller's again when it returns.
func TestCallersMayReuseTheirBuffers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	const count = 3000
	buf, field := make([]byte, 8), make([]byte, 4)
	args := []any{"set", nil, buf}
	p := c.Pipeline()
	for i := range count {
		copy(buf, fmt.Sprintf("%08d", i))
		copy(field, fmt.Sprintf("%04d", i))
		args[1] = fmt.Sprint("k:", i)
		check(t, c.Do(ctx, args...).Err())
		check(t, c.HSet(ctx, "h", field, buf).Err())
		p.Append(ctx, "log", "x")
	}
	cmds, err := p.Exec(ctx) // a large one
	check(t, err)
	if n := cmds[count-1].(*redis.IntCmd).Val(); n != count {
		t.Errorf("the last APPEND of the pipeline = %d", n)
	}
	clear(buf)
	clear(field)
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	admin := g.Node(1).Client()
	if v := admin.Get(ctx, "log").Val(); v != strings.Repeat("x", count) {
		t.Errorf("the log has %d bytes", len(v))
	}
	h := admin.HGetAll(ctx, "h").Val()
	for i := range count {
		want := fmt.Sprintf("%08d", i)
		if v := admin.Get(ctx, fmt.Sprint("k:", i)).Val(); v != want || h[fmt.Sprintf("%04d", i)] != want {
			t.Fatalf("write %d: %q and %q in Redis", i, v, h[fmt.Sprintf("%04d", i)])
		}
	}
}
