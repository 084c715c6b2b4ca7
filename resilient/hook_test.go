package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// recorder is a hook that notes what passes it, on the way in and out.
type recorder struct {
	name string
	log  *journalOfHooks
}

type journalOfHooks struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (j *journalOfHooks) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// take returns the lines since the last call.
func (j *journalOfHooks) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

func (r recorder) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		r.log.add(r.name + " dials")
		return next(ctx, network, addr)
	}
}

func (r recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.log.add(r.name + " in " + cmd.Name())
		err := next(ctx, cmd)
		if !errors.Is(err, cmd.Err()) {
			err = fmt.Errorf("hook got %w, the command has %w", err, cmd.Err())
		}
		r.log.add(r.name + " out " + cmd.Name())
		return err
	}
}

func (r recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.log.add(fmt.Sprint(r.name, " in ", len(cmds)))
		err := next(ctx, cmds)
		r.log.add(fmt.Sprint(r.name, " out ", len(cmds)))
		return err
	}
}

// TestHooks: each command passes each hook once, the first added outermost,
// whatever becomes of it.
func TestHooks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	log := &journalOfHooks{}
	around := func(what string) []string {
		return []string{"outer in " + what, "inner in " + what, "inner out " + what, "outer out " + what}
	}
	expect := func(what string, err error) {
		t.Helper()
		if got := log.take(); !slices.Equal(got, around(what)) {
			t.Errorf("%s (%v): the hooks saw %q", what, err, got)
		}
	}
	check(t, c.Ping(ctx).Err()) // before there are hooks
	c.AddHook(recorder{"outer", log})
	check(t, c.Ping(ctx).Err())
	if got := log.take(); !slices.Equal(got, []string{"outer in ping", "outer out ping"}) {
		t.Errorf("one hook saw %q", got)
	}
	c.AddHook(recorder{"inner", log})
	for _, outage := range []bool{false, true} {
		if outage {
			check(t, g.Cycle(ctx)) // the first write is tried and then deferred
		}
		expect("set", c.Set(ctx, "k", "v", 0).Err())
		expect("get", c.Get(ctx, "k").Err())
		expect("get", c.Get(ctx, "nothing").Err())
		expect("lpush", c.LPush(ctx, "l", 1).Err())
		expect("multi", c.Do(ctx, "multi").Err())
		expect("3", pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "n")
			p.Get(ctx, "n")
			p.LPop(ctx, "l")
			return nil
		})))
		expect("3", pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "n"); return nil })))
	}
}

// brake is a hook that answers or panics by itself.
type brake struct{ err error }

func (brake) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b brake) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		if b.err == nil {
			panic("the application's own")
		}
		cmd.SetErr(b.err)
		return b.err
	}
}

func (b brake) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestHookMayAnswerItself: what a hook holds back is neither sent nor deferred.
func TestHookMayAnswerItself(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	own := errors.New("held back")
	c.AddHook(brake{own})
	check(t, g.Cycle(ctx))
	if err := c.Set(ctx, "k", "v", 0).Err(); !errors.Is(err, own) {
		t.Errorf("SET: %v, want the hook's error", err)
	}
	if s := c.Stats(); s.Entries != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestHookThatPanics: the panic is the caller's, and the client goes on.
func TestHookThatPanics(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{OnNewNode: func(n *redis.Client) { n.AddHook(&fuse{}) }})
	for _, outage := range []bool{false, true} {
		if outage {
			check(t, g.Cycle(ctx))
			check(t, c.Set(ctx, "held", 1, 0).Err())
		}
		for range 3 {
			panics(t, "a hook of a node's client", func() { c.Do(ctx, "echo", "panic") })
			panics(t, "an argument that encodes itself", func() { c.Set(ctx, "k", bomb{}, 0) })
			panics(t, "an argument in a pipeline", func() {
				_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "k", bomb{}, 0); return nil })
			})
			check(t, c.Set(ctx, "held", money{1}, 0).Err())
			if v, err := c.Get(ctx, "held").Result(); v != "1 cents" || err != nil {
				t.Errorf("outage %v: GET after the panics: %q, %v", outage, v, err)
			}
		}
	}
	c.AddHook(brake{})
	panics(t, "a hook of the client", func() { c.Get(ctx, "k") })
	check(t, pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "n"); return nil })))
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
}

// fuse is a hook that panics at the word.
type fuse struct{ brake }

func (fuse) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); cmd.Name() == "echo" && args[1] == "panic" {
			panic("the application's own")
		}
		return next(ctx, cmd)
	}
}

// bomb is an argument that can't be encoded.
type bomb struct{}

func (bomb) MarshalBinary() ([]byte, error) { panic("the application's own") }

func panics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: the panic did not reach the caller", what)
		}
	}()
	f()
}
