package resilient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// enqueue is a script as queue libraries have it: it pushes and answers 1.
var enqueue = redis.NewScript(`redis.call('rpush', KEYS[1], ARGV[1]); redis.call('incr', KEYS[1] .. ':n'); return 1`)

// inOutage opens a client with the options over servers that are all replicas.
func inOutage(t *testing.T, o *resilient.Options) (*redistest.Group, *resilient.Client) {
	t.Helper()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c := open(t, g, o)
	check(t, g.WaitSynced(t.Context()))
	check(t, g.Cycle(t.Context()))
	waitState(t, c, resilient.StateNoPrimary)
	return g, c
}

func TestRules(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g, c := inOutage(t, &resilient.Options{Rules: []resilient.Rule{
		{Commands: []string{"incr"}, Prefixes: []string{"id:vip:"}}, // exempt from what follows
		{Commands: []string{"INCR"}, Prefixes: []string{"id:"}, Then: resilient.Refuse()},
		{Commands: []string{"setnx", "set"}, Prefixes: []string{"once:"}, Then: resilient.Defer()},
		{Sources: []*redis.Script{enqueue}, Then: resilient.DeferWithReply(1)},
		{Commands: []string{"publish"}, Prefixes: nil, Then: resilient.Defer()},
		{Commands: []string{"eval"}, Then: resilient.Forward()},
		{Commands: []string{"lpop"}, Then: resilient.DeferWithReply([]any{"a", nil, 2})},
	}})

	refused(t, c.Incr(ctx, "id:orders").Err(), "incr", "accumulating write")
	if n, err := c.Incr(ctx, "id:vip:orders").Result(); n != 1 || err != nil {
		t.Errorf("INCR of an exempt key: %d, %v", n, err)
	}
	if ok, err := c.SetNX(ctx, "once:a", 1, 0).Result(); !ok || err != nil {
		t.Errorf("a deferred SET NX: %v, %v", ok, err)
	}
	if ok, err := c.SetNX(ctx, "once:a", 2, 0).Result(); ok || err != nil {
		t.Errorf("SET NX of a key that is there: %v, %v", ok, err)
	}
	refused(t, c.Do(ctx, "set", "lock:a", 1, "nx").Err(), "set", "claiming write")

	tracked, receipt := resilient.WithReceipt(ctx)
	if v, err := enqueue.Run(tracked, c, []string{"queue"}, "job").Int(); v != 1 || err != nil {
		t.Errorf("the script that a rule answers: %d, %v", v, err)
	}
	if receipt.Deferred() != 1 || receipt.Exact() || receipt.Durability() != resilient.DurabilityDisk {
		t.Errorf("its receipt: %d entries, exact %v, %v", receipt.Deferred(), receipt.Exact(), receipt.Durability())
	}
	// What the script did nobody knows: no answer is better than a wrong one.
	for name, err := range map[string]error{
		"LLEN": c.LLen(ctx, "queue").Err(), "RPUSH": c.RPush(ctx, "queue", "x").Err(), "EXISTS": c.Exists(ctx, "queue").Err(),
	} {
		if !errors.Is(err, resilient.ErrPendingWrites) || !resilient.SafeToRetry(err) {
			t.Errorf("%s of a key that a deferred script changed: %v", name, err)
		}
	}
	if n, err := c.Publish(ctx, "news", "x").Result(); n != 0 || err != nil {
		t.Errorf("a deferred PUBLISH: %d, %v", n, err)
	}
	if v, err := c.Eval(ctx, "return redis.call('exists', KEYS[1])", []string{"id:none"}).Int(); v != 0 || err != nil {
		t.Errorf("a forwarded script that reads: %d, %v", v, err)
	}
	err := c.Eval(ctx, "return redis.call('set', KEYS[1], 1)", []string{"none"}).Err()
	refused(t, err, "eval", "script")
	// The reply that a rule gives need not suit the command.
	if err := c.LPop(ctx, "other").Err(); err == nil {
		t.Error("LPOP answered by a list has no error")
	}

	check(t, g.Promote(ctx, 0))
	check(t, receipt.Wait(ctx))
	flush(t, c)
	r := g.Node(0).Client()
	if l, n := r.LRange(ctx, "queue", 0, -1).Val(), r.Get(ctx, "queue:n").Val(); strings.Join(l, ",") != "job" || n != "1" {
		t.Errorf("after the replay the queue is %q, its counter %s", l, n)
	}
	if v := r.Get(ctx, "once:a").Val(); v != "1" {
		t.Errorf("once:a = %s", v)
	}
	if n := c.LLen(ctx, "queue").Val(); n != 1 {
		t.Errorf("LLEN after the replay: %d", n)
	}
}

func TestPolicyFunction(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var seen []resilient.Command
	g, c := inOutage(t, &resilient.Options{
		Rules: []resilient.Rule{{Commands: []string{"set"}, Then: resilient.Refuse()}},
		Policy: func(_ context.Context, cmd resilient.Command) resilient.Decision {
			seen = append(seen, cmd)
			switch {
			case len(cmd.Keys) > 0 && cmd.Keys[0] == "panic":
				panic("a fault of the application")
			case cmd.Name == "set" && cmd.Keys[0] == "greeting":
				return resilient.Defer().UsefulFor(time.Millisecond)
			case cmd.Name == "rpush":
				return resilient.Decision{}.UsefulUntil(time.Now().Add(time.Hour))
			}
			return resilient.Decision{}
		},
	})
	refused(t, c.Set(ctx, "a", 1, 0).Err(), "set", "blind write")
	refused(t, c.Incr(ctx, "panic").Err(), "incr", "accumulating write")
	tracked, receipt := resilient.WithReceipt(ctx)
	check(t, c.Set(tracked, "greeting", "happy birthday", 0).Err())
	check(t, c.RPush(ctx, "list", "x").Err())
	if len(seen) != 4 || seen[0].Name != "set" || seen[0].Class != "blind write" || seen[0].Keys[0] != "a" {
		t.Errorf("the policy saw %+v", seen)
	}
	check(t, g.Promote(ctx, 0))
	flush(t, c)
	if err := receipt.Wait(ctx); !errors.Is(err, resilient.ErrDeadLettered) {
		t.Errorf("the fate of a write that came too late: %v", err)
	}
	r := g.Node(0).Client()
	if n := r.Exists(ctx, "greeting").Val(); n != 0 {
		t.Error("a write that was no longer useful was replayed")
	}
	if n := r.LLen(ctx, "list").Val(); n != 1 {
		t.Errorf("the list has %d elements", n)
	}
	if s := c.Stats(); s.DeadLettered != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestWrongRules(t *testing.T) {
	t.Parallel()
	o := resilient.Options{Rules: []resilient.Rule{
		{Scripts: []string{"nosha"}},
		{Commands: []string{"nosuchcommand"}, Then: resilient.Defer()},
		{Then: resilient.DeferWithReply(struct{}{})},
		{Then: resilient.Refuse().UsefulFor(-1)},
		{Sources: []*redis.Script{nil}},
	}}
	err := o.Validate()
	for _, word := range []string{"Rules[0]", "Rules[1]", "Rules[2]", "Rules[3]", "Rules[4]"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not complained of: %v", word, err)
		}
	}
}
