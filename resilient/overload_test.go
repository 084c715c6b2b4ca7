package resilient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// full is a group whose primary is out of memory, and a client of it.
func full(t *testing.T, o *resilient.Options) (*redistest.Group, *resilient.Client) {
	t.Helper()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, o)
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	check(t, c.Set(ctx, "gone", "soon", 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Node(0).Client().ConfigSet(ctx, "maxmemory", "1").Err())
	return g, c
}

// TestOverloadPasses: a primary out of memory is the primary. Its errors are the
// application's, and the state says why they come.
func TestOverloadPasses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, c := full(t, &resilient.Options{})
	err := c.Incr(ctx, "n").Err()
	if !redis.IsOOMError(err) {
		t.Errorf("INCR: %v", err)
	}
	if s := c.State(); s.State != resilient.StateHealthy || s.Overload != resilient.OverloadMemory || s.Overload.String() != "memory" {
		t.Errorf("%+v", s)
	}
	if s := c.Stats(); s.Deferred != 0 {
		t.Errorf("%d writes were deferred", s.Deferred)
	}
	check(t, c.Del(ctx, "gone").Err()) // takes no memory
}

// TestDeferMemory: by option what the primary refuses for want of memory is deferred,
// in its order, beside writes that it does take, until it takes that too.
func TestDeferMemory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g, c := full(t, &resilient.Options{DeferOverload: true, Dir: t.TempDir()})
	for i := range 5 {
		check(t, c.Set(ctx, "k", i, 0).Err())
	}
	if v, err := c.Get(ctx, "k").Result(); v != "4" || err != nil {
		t.Errorf("GET %q, %v", v, err)
	}
	waitState(t, c, resilient.StateReplaying)
	check(t, c.Del(ctx, "gone").Err()) // takes no memory
	if n := g.Node(0).Client().Exists(ctx, "gone").Val(); n != 0 {
		t.Error("a write that the primary takes was held back")
	}
	if err := c.Incr(ctx, "n").Err(); !redis.IsOOMError(err) {
		t.Errorf("INCR, whose base can't be read: %v", err)
	}
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "list", "a", 0)
		p.Set(ctx, "list", "b", 0)
		p.Del(ctx, "other")
		return nil
	})
	if err != nil {
		t.Errorf("the pipeline: %v, %v", cmds, err)
	}
	// What was declined before something that was taken must not come after it.
	cmds, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "undone", "v", 0)
		p.Del(ctx, "undone")
		return nil
	})
	if err := cmds[0].Err(); !errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("a SET before a DEL that was taken: %v", err)
	}
	// What can't pass the deferred writes is not left waiting for them.
	if err := c.Eval(ctx, "return redis.call('set', KEYS[1], 1)", []string{"script"}).Err(); !errors.Is(err, resilient.ErrPendingWrites) {
		t.Errorf("a script: %v", err)
	}
	if n := c.Stats().Deferred; n != 7 {
		t.Errorf("%d writes were deferred, want 7", n)
	}
	check(t, g.Node(0).Client().ConfigSet(ctx, "maxmemory", "0").Err())
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	r := g.Node(0).Client()
	if k, list, undone := r.Get(ctx, "k").Val(), r.Get(ctx, "list").Val(), r.Exists(ctx, "undone").Val(); k != "4" || list != "b" || undone != 0 {
		t.Errorf("k = %s, list = %s, undone %d", k, list, undone)
	}
}

// TestDeferDisk: a primary that can't keep its data on disk declines every write, and
// what rests on a key's value is deferred, too.
func TestDeferDisk(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	sc, ok := redistest.ScenarioNamed("S10-misconf")
	if !ok {
		t.Fatal("no such scenario")
	}
	s := redistest.SetupT(t, sc, redistest.StageOptions{})
	c := open(t, s.Group, &resilient.Options{DeferOverload: true, Dir: t.TempDir()})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	check(t, s.Group.WaitSynced(ctx))
	check(t, s.Break(ctx))
	check(t, s.Check(ctx))
	for want := int64(2); want <= 5; want++ {
		if n, err := c.Incr(ctx, "n").Result(); n != want || err != nil {
			t.Fatalf("INCR %d, %v, want %d", n, err, want)
		}
	}
	if o := c.State().Overload; o != resilient.OverloadDisk {
		t.Errorf("overload %v", o)
	}
	check(t, s.Mend(ctx))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	if v := s.Group.Node(0).Client().Get(ctx, "n").Val(); v != "5" {
		t.Errorf("n = %q in Redis, want 5", v)
	}
}
