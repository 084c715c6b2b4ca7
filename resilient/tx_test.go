package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// addOne is a transaction on the key n.
func addOne(ctx context.Context) func(redis.Pipeliner) error {
	return func(p redis.Pipeliner) error {
		p.Get(ctx, "n")
		p.Incr(ctx, "n")
		return nil
	}
}

// TestTransactionInAnOutage: a transaction of commands that can be deferred is one
// entry of the journal, and answered as by EXEC; one with any other command is
// refused whole.
func TestTransactionInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	check(t, c.Set(ctx, "n", 1, 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	// The first one meets the outage itself.
	for i := range 2 {
		tracked, receipt := resilient.WithReceipt(ctx)
		cmds, err := c.TxPipelined(tracked, addOne(ctx))
		check(t, err)
		before, after := cmds[0].(*redis.StringCmd).Val(), cmds[1].(*redis.IntCmd).Val()
		if before != strconv.Itoa(i+1) || after != int64(i+2) || receipt.Deferred() != 1 || !receipt.Exact() {
			t.Errorf("transaction %d: %q, %d; %d entries", i, before, after, receipt.Deferred())
		}
	}
	cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "n")
		p.LPop(ctx, "l")
		return nil
	})
	refused(t, err, "multi", "transaction")
	for _, cmd := range cmds {
		refused(t, cmd.Err(), "multi", "transaction")
	}
	// A command that fails does not take the others with it.
	cmds, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.LPush(ctx, "n", "x")
		p.Incr(ctx, "n")
		p.RPush(ctx, "l", "a", "b")
		return nil
	})
	if !redis.HasErrorPrefix(err, "WRONGTYPE") || cmds[1].(*redis.IntCmd).Val() != 4 || cmds[2].(*redis.IntCmd).Val() != 2 {
		t.Errorf("a transaction with a command that fails: %v, %v", err, cmds)
	}
	ran := false
	refused(t, c.Watch(ctx, func(*redis.Tx) error { ran = true; return nil }, "n"), "watch", "transaction")
	if ran {
		t.Error("the function of a Watch that was refused was called")
	}
	if s := c.Stats(); s.Deferred != 3 || s.Entries != 3 {
		t.Errorf("stats %+v", s)
	}
	check(t, g.PromoteOnly(ctx, 1))
	// A transaction on keys with deferred writes waits for them.
	waitLive(t, c)
	cmds, err = c.TxPipelined(ctx, addOne(ctx))
	check(t, err)
	if got := cmds[0].(*redis.StringCmd).Val(); got != "4" {
		t.Errorf("the transaction saw %q, not the deferred writes", got)
	}
	flush(t, c)
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "5" {
		t.Errorf("n = %s in Redis, want 5", v)
	}
	if s := c.Stats(); s.DeadLettered != 0 || s.Replayed != 3 {
		t.Errorf("stats %+v", s)
	}
}

func waitLive(t *testing.T, c *resilient.Client) {
	t.Helper()
	redistest.Eventually(t, testPatience, "a live primary", func() bool {
		s := c.State().State
		return s == resilient.StateReplaying || s == resilient.StateHealthy
	})
}

// TestWatchAcrossTheOutage: an outage begins between WATCH and EXEC. EXEC is
// refused, and the connection goes back to its pool without a watch.
func TestWatchAcrossTheOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, known := range []bool{false, true} {
		name := "met by EXEC"
		if known {
			name = "known before EXEC"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := redistest.StartT(t, redistest.Options{Replicas: 1})
			c := openWith(t, g, redis.UniversalOptions{PoolSize: 1}, nil)
			check(t, c.Set(ctx, "n", 1, 0).Err())
			check(t, g.WaitSynced(ctx))
			err := c.Watch(ctx, func(tx *redis.Tx) error {
				if v, err := tx.Get(ctx, "n").Result(); v != "1" || err != nil {
					t.Errorf("GET in Watch: %q, %v", v, err)
				}
				check(t, g.Cycle(ctx))
				if known {
					redistest.Eventually(t, testPatience, "no primary", func() bool {
						return c.State().State == resilient.StateNoPrimary
					})
				}
				cmds, err := tx.TxPipelined(ctx, addOne(ctx))
				for _, cmd := range cmds {
					if !errors.Is(cmd.Err(), resilient.ErrNoPrimary) {
						t.Errorf("%s in the refused EXEC: %v", cmd.Name(), cmd.Err())
					}
				}
				return err
			}, "n")
			var ce *resilient.CommandError
			if !errors.Is(err, resilient.ErrNoPrimary) || !errors.As(err, &ce) || ce.Class != "transaction" || errors.Is(err, redis.TxFailedErr) {
				t.Errorf("Watch: %v, want the refusal of a transaction", err)
			}
			if !resilient.SafeToRetry(err) {
				t.Errorf("nothing was applied and yet it is not safe to retry: %v", err)
			}
			check(t, g.PromoteOnly(ctx, 0)) // the node that the connection is to
			waitState(t, c, resilient.StateHealthy)
			// Were the connection of the pool still watching n, this would make its
			// next transaction fail.
			check(t, g.Node(0).Client().Incr(ctx, "n").Err())
			cmds, err := c.TxPipelined(ctx, addOne(ctx))
			check(t, err)
			if got := cmds[1].(*redis.IntCmd).Val(); got != 3 {
				t.Errorf("n = %d, want 3", got)
			}
		})
	}
}

// TestScriptInATransactionIsNoProof: EXEC was executed, whatever error a script
// in it makes up.
func TestScriptInATransactionIsNoProof(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c := open(t, g, nil)
	const script = `redis.call('INCR', KEYS[1]) return redis.error_reply("READONLY You can't write against a read only replica.")`
	body := func(p redis.Pipeliner) error {
		p.Incr(ctx, "n")
		p.Eval(ctx, script, []string{"m"})
		p.Incr(ctx, "n")
		return nil
	}
	for name, run := range map[string]func() ([]redis.Cmder, error){
		"TxPipeline": func() ([]redis.Cmder, error) { return c.TxPipelined(ctx, body) },
		"Watch": func() (cmds []redis.Cmder, err error) {
			err = c.Watch(ctx, func(tx *redis.Tx) error {
				cmds, err = tx.TxPipelined(ctx, body)
				return err
			}, "n")
			return cmds, err
		},
		"Pipeline": func() ([]redis.Cmder, error) { return c.Pipelined(ctx, body) },
		"Pipeline in Watch": func() (cmds []redis.Cmder, err error) {
			err = c.Watch(ctx, func(tx *redis.Tx) error {
				cmds, err = tx.Pipelined(ctx, body)
				return err
			}, "n")
			return cmds, err
		},
	} {
		waitState(t, c, resilient.StateHealthy)
		check(t, g.Node(0).Client().Set(ctx, "n", 0, 0).Err())
		check(t, g.Node(0).Client().Del(ctx, "m").Err())
		cmds, err := run()
		if err == nil || errors.Is(err, resilient.ErrNoPrimary) || resilient.SafeToRetry(err) {
			t.Errorf("%s: %v, safe to retry: %v", name, err, resilient.SafeToRetry(err))
		}
		if !redis.IsReadOnlyError(cmds[1].Err()) && !errors.Is(cmds[1].Err(), resilient.ErrInDoubt) {
			t.Errorf("%s: the script's error became %v", name, cmds[1].Err())
		}
		if cmds[0].Err() == nil && cmds[0].(*redis.IntCmd).Val() != 1 {
			t.Errorf("%s: the first INCR is %d", name, cmds[0].(*redis.IntCmd).Val())
		}
		// Deferred or not, each INCR was made once.
		flush(t, c)
		if v := g.Node(0).Client().MGet(ctx, "n", "m").Val(); v[0] != "2" || v[1] != "1" {
			t.Errorf("%s: n, m = %v, want 2, 1", name, v)
		}
	}
}

// TestWatchSeesDeferredWrites: Watch waits for the deferred writes of its keys,
// bounded by its context.
func TestWatchSeesDeferredWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	for range 100 {
		check(t, c.Incr(ctx, "n").Err())
	}
	check(t, g.PromoteOnly(ctx, 1))
	waitLive(t, c)
	bounded, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	err := c.Watch(bounded, func(tx *redis.Tx) error {
		if v, err := tx.Get(ctx, "n").Result(); v != "100" || err != nil {
			t.Errorf("Watch read %q, %v; want the deferred 100", v, err)
		}
		_, err := tx.TxPipelined(ctx, addOne(ctx))
		return err
	}, "n")
	check(t, err)
	flush(t, c)
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "101" {
		t.Errorf("n = %s", v)
	}
}

// TestBlockedCallerIsFreed: a caller that blocks on the primary hears of its
// demotion at once.
func TestBlockedCallerIsFreed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	errs := make(chan error, 1)
	go func() { errs <- c.BLPop(ctx, 0, "queue").Err() }()
	redistest.Eventually(t, testPatience, "a blocked client", func() bool {
		info, err := g.Node(0).Client().InfoMap(ctx, "clients").Result()
		return err == nil && info["Clients"]["blocked_clients"] == "1"
	})
	check(t, g.Cycle(ctx))
	select {
	case err := <-errs:
		refused(t, err, "blpop", "claiming write")
	case <-time.After(testPatience):
		t.Fatal("BLPOP still waits on a server that is no primary")
	}
}

// A transaction that rests on a deadline is kept with the state that it left; one
// for which that can't be, because a key of it is too big, is refused.
func TestTransactionOnADyingKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), MaxSeedFields: 10})
	for i := range 11 {
		check(t, c.HSet(ctx, "big", i, "v").Err())
	}
	const life = 3 * time.Second
	check(t, c.Set(ctx, "limiter", 5, life).Err())
	check(t, c.Set(ctx, "session", "ada", life).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	prolong := func(p redis.Pipeliner) error {
		p.Incr(ctx, "limiter")
		p.Expire(ctx, "session", time.Hour)
		return nil
	}
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, "big", "new", "v")
		return prolong(p)
	})
	if !errors.Is(err, resilient.ErrKeyTooBig) || !resilient.SafeToRetry(err) {
		t.Errorf("a transaction that can't be kept: %v, want ErrKeyTooBig", err)
	}
	check(t, pipelined(c.TxPipelined(ctx, prolong)))
	redistest.Eventually(t, testPatience, "the deadline to pass", func() bool { return c.Exists(ctx, "limiter").Val() == 0 })
	if v := c.Get(ctx, "session").Val(); v != "ada" {
		t.Errorf("the session whose life was prolonged is %q", v)
	}
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	r := g.Node(1).Client()
	if n, v, ttl := r.Exists(ctx, "limiter").Val(), r.Get(ctx, "session").Val(), r.TTL(ctx, "session").Val(); n != 0 || v != "ada" || ttl < time.Minute {
		t.Errorf("after the replay: limiter exists %d, session %q with %v left", n, v, ttl)
	}
}

// A transaction with a command that Redis doesn't queue is discarded whole, in an
// outage too, and each command hears what it would hear of a server.
func TestTransactionThatIsDiscarded(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, c := inOutage(t, &resilient.Options{})
	twin := redistest.StartT(t, redistest.Options{}).Node(0).Client()
	run := func(c redis.Cmdable) string {
		cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "n")
			p.SAdd(ctx, "s")
			p.Set(ctx, "k", "v", 0)
			return nil
		})
		said := fmt.Sprintf("%v, %v", err, redis.IsExecAbortError(err))
		for _, cmd := range cmds {
			said += fmt.Sprintf("; %v, %v", cmd.Err(), redis.IsExecAbortError(cmd.Err()))
		}
		return said
	}
	if want, got := run(twin), run(c); want != got {
		t.Errorf("a server: %s\nin the outage: %s", want, got)
	}
	if n := c.Exists(ctx, "n", "k").Val(); n != 0 || c.Stats().Deferred != 0 {
		t.Errorf("%d keys exist, %d writes were deferred", n, c.Stats().Deferred)
	}
}
