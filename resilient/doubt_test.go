package resilient_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// openBehind makes a client that reaches the group's primary through a proxy.
func openBehind(t *testing.T, g *redistest.Group, nodes ...string) (*resilient.Client, *redistest.Proxy) {
	t.Helper()
	p, err := redistest.NewProxy(g.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // nothing depends on it any more
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: []string{p.Addr()}}, &resilient.Options{
		Nodes: nodes, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the tests leave no backlog that matters
	return c, p
}

// inDoubt checks that err is the typed news of a write in doubt.
func inDoubt(t *testing.T, err error, name string) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.Is(err, resilient.ErrInDoubt) || !errors.As(err, &ce) || ce.Name != name {
		t.Errorf("%s: %v, want ErrInDoubt", name, err)
	}
	if resilient.SafeToRetry(err) || errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("%s: in doubt and yet safe to retry: %v", name, err)
	}
}

func TestWriteWhoseReplyIsLost(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c, p := openBehind(t, g)
	admin := g.Node(0).Client()

	for _, cut := range []struct {
		name string
		arm  func(redistest.Match) *redistest.Rule
		want string // the counter in Redis
	}{
		{"before the request is sent", p.CutBeforeSend, ""},
		{"after the request is sent", p.CutAfterSend, "1"},
		{"in the middle of the reply", p.CutMidReply, "1"},
	} {
		t.Run(cut.name, func(t *testing.T) {
			rule := cut.arm(redistest.Contains("cut:counter"))
			inDoubt(t, c.Incr(ctx, "cut:counter").Err(), "incr")
			if rule.Hits() != 1 {
				t.Errorf("the command was sent %d times, want once", rule.Hits())
			}
			rule.Disarm()
			if got := admin.Get(ctx, "cut:counter").Val(); got != cut.want {
				t.Errorf("the counter is %q, want %q", got, cut.want)
			}
			admin.Del(ctx, "cut:counter")

			rule = cut.arm(redistest.Contains("cut:piped"))
			pipe := c.Pipeline()
			get, incr, again := pipe.Get(ctx, "free"), pipe.Incr(ctx, "cut:piped"), pipe.Incr(ctx, "cut:piped")
			if _, err := pipe.Exec(ctx); err == nil {
				t.Error("the pipeline whose connection was cut has no error")
			}
			rule.Disarm()
			inDoubt(t, incr.Err(), "incr")
			inDoubt(t, again.Err(), "incr")
			_ = get // read or not, by the place of the cut
			if got, _ := admin.Get(ctx, "cut:piped").Int(); got > 2 {
				t.Errorf("two INCR in a pipeline were applied %d times", got)
			}
			admin.Del(ctx, "cut:piped")

			rule = cut.arm(redistest.Contains("cut:tx"))
			_, err := c.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Incr(ctx, "cut:tx")
				return nil
			})
			rule.Disarm()
			inDoubt(t, err, "multi")
			if got, _ := admin.Get(ctx, "cut:tx").Int(); got > 1 {
				t.Errorf("an INCR in a transaction was applied %d times", got)
			}
			admin.Del(ctx, "cut:tx")

			rule = cut.arm(redistest.Once(redistest.Contains("cut:set")))
			if err := c.Set(ctx, "cut:set", "v", 0).Err(); err != nil {
				t.Errorf("SET, whose repetition changes nothing: %v", err)
			}
			rule.Disarm()
			if got := admin.Get(ctx, "cut:set").Val(); got != "v" {
				t.Errorf("SET left %q", got)
			}
		})
	}
	if s := c.State(); s.State == resilient.StateNoPrimary || s.State == resilient.StateUnreachable {
		t.Errorf("single cut connections made an outage: %v", s)
	}
}

func TestSetWhoseDialIsRefusedIsDeferred(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c, p := openBehind(t, g)
	if err := c.Set(ctx, "k", "before", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	p.Drop() // the pool's connections too: the next write has to dial
	// The first write may still meet a connection that broke under it. SET may
	// be repeated, and is deferred when the repetition can't be sent.
	if err := c.Set(ctx, "k", "deferred", 0).Err(); err != nil {
		t.Fatalf("SET whose dial is refused: %v", err)
	}
	if v, err := c.Get(ctx, "k").Result(); err != nil || v != "deferred" {
		t.Errorf("GET = %q, %v; want the deferred value", v, err)
	}
	// Without a base an INCR's answer would be made up.
	err := c.Incr(ctx, "n").Err()
	if !errors.Is(err, resilient.ErrBaseUnknown) || !resilient.SafeToRetry(err) {
		t.Errorf("INCR with no server: %v, want ErrBaseUnknown", err)
	}
	if s := c.Stats(); s.Deferred != 1 {
		t.Errorf("%d deferred, want 1", s.Deferred)
	}
	if v := g.Node(0).Client().Get(ctx, "k").Val(); v != "before" {
		t.Errorf("in Redis: %q", v)
	}
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	flushed, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := c.Flush(flushed); err != nil {
		t.Fatal(err)
	}
	if v := g.Node(0).Client().Get(ctx, "k").Val(); v != "deferred" {
		t.Errorf("after the flush: %q in Redis", v)
	}
}

// TestScriptErrorIsNoProof: a script may write and then return any error text.
func TestScriptErrorIsNoProof(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c := open(t, g, nil)
	const script = `redis.call('INCR', KEYS[1]) return redis.error_reply("READONLY You can't write against a read only replica.")`
	err := c.Eval(ctx, script, []string{"n"}).Err()
	if !redis.IsReadOnlyError(err) || errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("the script's error became %v", err)
	}
	if v := g.Node(0).Client().Get(ctx, "n").Val(); v != "1" {
		t.Errorf("the script ran %s times", v)
	}
	waitState(t, c, resilient.StateHealthy)
}
