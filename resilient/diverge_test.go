package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/resilient"
)

// promise is the digest that the journal keeps of a reply.
func promise(t *testing.T, reply string) uint64 {
	t.Helper()
	d, n, err := resp.NewDigest().Add([]byte(reply))
	if err != nil || n != len(reply) {
		t.Fatalf("%q is no reply: %v", reply, err)
	}
	return d.Sum()
}

// TestDivergedWrites: writes that somebody else's come before are told of, exactly
// these, and are replayed all the same.
func TestDivergedWrites(t *testing.T) {
	t.Parallel()
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g := redistest.StartT(t, redistest.Options{Replicas: 2})
			dir, ended := t.TempDir(), make(chan resilient.ReplayEndInfo, 1)
			logs := &lines{}
			o := resilient.Options{
				Dir: dir, Logger: slog.New(slog.NewTextHandler(logs, nil)),
				Listener: resilient.Listener{ReplayEnd: func(i resilient.ReplayEndInfo) { ended <- i }},
			}
			connect := func() *resilient.Client {
				return openWith(t, g, redis.UniversalOptions{Addrs: []string{g.Node(0).Addr()}, Protocol: proto}, &o)
			}
			c := connect()
			check(t, c.ZAdd(ctx, "zset", redis.Z{Score: 1.5, Member: "a"}).Err())
			check(t, c.Set(ctx, "n", 1, 0).Err())
			check(t, c.Set(ctx, "short", 1, time.Minute).Err())
			check(t, g.WaitSynced(ctx))
			check(t, g.Cycle(ctx))
			waitState(t, c, resilient.StateNoPrimary)

			want := map[string]journal.Outcome{}
			deferred := func(outcome journal.Outcome, f func(context.Context) error) {
				t.Helper()
				with, receipt := resilient.WithReceipt(ctx)
				if err := f(with); err != nil && !errors.Is(err, redis.Nil) {
					t.Fatal(err)
				}
				if receipt.Deferred() == 0 {
					t.Fatal("not deferred")
				}
				want[receipt.ID()] = outcome
			}
			same, other := journal.OutcomeReplayed, journal.OutcomeDiverged
			deferred(other, func(ctx context.Context) error { return c.Incr(ctx, "n").Err() })
			deferred(same, func(ctx context.Context) error { return c.Incr(ctx, "m").Err() })
			deferred(same, func(ctx context.Context) error { return c.ZIncrBy(ctx, "zset", 2.25, "a").Err() })
			deferred(same, func(ctx context.Context) error { return c.Set(ctx, "n2", 1, 0).Err() })
			deferred(same, func(ctx context.Context) error { return c.Set(ctx, "short", 2, redis.KeepTTL).Err() })
			deferred(same, func(ctx context.Context) error { return c.Append(ctx, "fresh", "v").Err() })
			deferred(other, func(ctx context.Context) error { return c.RPush(ctx, "list", "a").Err() })
			deferred(same, func(ctx context.Context) error { return c.Del(ctx, "m").Err() })
			deferred(same, func(ctx context.Context) error { // one that reads, one that fails, two that write
				_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Get(ctx, "n2")
					p.Incr(ctx, "u")
					p.LPush(ctx, "n2", "x")
					p.ZAdd(ctx, "uz", redis.Z{Score: 1, Member: "a"})
					return nil
				})
				if err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
					return fmt.Errorf("the LPUSH: %w", err)
				}
				return nil
			})
			deferred(other, func(ctx context.Context) error {
				_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Set(ctx, "us", 1, 0)
					p.Incr(ctx, "n")
					return nil
				})
				return err
			})
			check(t, c.Close())
			check(t, g.PromoteOnly(ctx, 1))
			admin := g.Node(1).Client()
			check(t, admin.Incr(ctx, "n").Err())
			check(t, admin.RPush(ctx, "list", "foreign").Err())

			c = connect()
			flush(t, c)
			if s := c.Stats(); s.Diverged != 3 || s.Replayed != uint64(len(want)) || s.DeadLettered != 0 {
				t.Errorf("stats %+v", s)
			}
			if i := <-ended; i.Diverged != 3 || !strings.HasSuffix(i.String(), "3 answered otherwise") {
				t.Errorf("%+v: %s", i, i)
			}
			if n, err := admin.Get(ctx, "n").Int(); n != 4 || err != nil {
				t.Errorf("n is %d, %v: a write that diverges is replayed", n, err)
			}
			check(t, c.Close())
			checkFates(t, dir, want)
			text := logs.String()
			if !strings.Contains(text, `writes=3 commands="INCR 1, MULTI 1, RPUSH 1"`) {
				t.Errorf("the log does not say what diverged:\n%s", text)
			}
		})
	}
}

// TestEstimatesPromiseNothing: what was estimated, or answered by a rule, does not
// diverge.
func TestEstimatesPromiseNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	addr := g.Node(0).Addr()
	c, way := openOver(t, g, &resilient.Options{
		Dir: t.TempDir(), EstimateCounters: true,
		Rules: []resilient.Rule{{Commands: []string{"HSET"}, Then: resilient.DeferWithReply(int64(7))}},
	})
	check(t, c.Set(ctx, "n", 40, 0).Err())
	check(t, way.Refuse(addr, true))
	redistest.Eventually(t, testPatience, "the server to be missed", func() bool { return c.State().State != resilient.StateHealthy })
	if n, err := c.Incr(ctx, "n").Result(); err != nil || n == 41 {
		t.Fatalf("INCR answered %d, %v", n, err)
	}
	if n, err := c.HSet(ctx, "hash", "f", "v").Result(); err != nil || n != 7 {
		t.Fatalf("HSET answered %d, %v", n, err)
	}
	check(t, way.Refuse(addr, false))
	flush(t, c)
	if s := c.Stats(); s.Replayed != 2 || s.Diverged != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestNoCoalescing: the option reaches the replay.
func TestNoCoalescing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, apart := range []bool{false, true} {
		g := redistest.StartT(t, redistest.Options{Replicas: 2})
		// Without a pace what is in the journal goes in one batch.
		o := resilient.Options{Dir: t.TempDir(), NoCoalescing: apart, ReplayRate: -1}
		c := open(t, g, &o)
		check(t, g.Cycle(ctx))
		waitState(t, c, resilient.StateNoPrimary)
		for range 20 {
			check(t, c.Incr(ctx, "n").Err())
		}
		check(t, c.Close())
		check(t, g.PromoteOnly(ctx, 1))
		c = open(t, g, &o)
		flush(t, c)
		if s := c.Stats(); s.Replayed != 20 || (s.Merged > 0) == apart || s.Diverged != 0 {
			t.Errorf("NoCoalescing %v: %+v", apart, s)
		}
		if n, err := g.Node(1).Client().Get(ctx, "n").Int(); n != 20 || err != nil {
			t.Errorf("n is %d, %v", n, err)
		}
	}
}
