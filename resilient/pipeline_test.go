package resilient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestPipelineInAnOutage: each command of a pipeline is decided by itself, in
// order, and none is left without a value or an error.
func TestPipelineInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	check(t, c.Set(ctx, "n", 10, 0).Err())
	check(t, c.Set(ctx, "free", "replica", 0).Err())
	check(t, c.RPush(ctx, "list", "a", "b").Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))

	// The first pipeline meets the outage itself; the second knows of it.
	for round := range 2 {
		p := c.Pipeline()
		before := p.Get(ctx, "n")
		n := p.Incr(ctx, "n")
		mid := p.Get(ctx, "n")
		pop := p.LPop(ctx, "list")
		list := p.LRange(ctx, "list", 0, -1)
		free := p.Get(ctx, "free")
		hset := p.HSet(ctx, fmt.Sprint("h", round), "f", "v")
		wrong := p.Incr(ctx, fmt.Sprint("h", round))
		all := p.HGetAll(ctx, fmt.Sprint("h", round))
		hidden := p.Dump(ctx, fmt.Sprint("h", round))
		miss := p.Get(ctx, "nothing")
		m := p.MGet(ctx, "n", "free", "nothing")
		last := p.Decr(ctx, "n")
		cmds, err := p.Exec(ctx)
		if !errors.Is(err, pop.Err()) || len(cmds) != 13 {
			t.Errorf("round %d: Exec: %v with %d commands, want the first error, that of LPOP", round, err, len(cmds))
		}
		got := fmt.Sprintln(before.Val(), n.Val(), mid.Val(), list.Val(), free.Val(), hset.Val(), all.Val(), m.Val(), last.Val())
		if want := "10 11 11 [a b] replica 1 map[f:v] [11 replica <nil>] 10\n"; got != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
		refused(t, pop.Err(), "lpop", "claiming write")
		if err := wrong.Err(); err == nil || errors.As(err, new(*resilient.CommandError)) {
			t.Errorf("round %d: INCR of a hash: %v, want WRONGTYPE", round, err)
		}
		if !errors.As(hidden.Err(), new(*resilient.CommandError)) {
			t.Errorf("round %d: DUMP of a key with deferred writes: %v", round, hidden.Err())
		}
		if err := miss.Err(); err != redis.Nil { //nolint:errorlint // the very sentinel
			t.Errorf("round %d: GET of a missing key: %v", round, err)
		}
		for _, cmd := range []redis.Cmder{before, n, mid, list, free, hset, all, m, last} {
			check(t, cmd.Err())
		}
	}
	if s := c.Stats(); s.Deferred != 6 {
		t.Errorf("%d deferred, want 6", s.Deferred)
	}
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	admin := g.Node(1).Client()
	if got := fmt.Sprintln(admin.Get(ctx, "n").Val(), admin.HLen(ctx, "h0").Val(), admin.HLen(ctx, "h1").Val()); got != "10 1 1\n" {
		t.Errorf("in Redis: %s", got)
	}
	if err := pipelined(c.Pipelined(ctx, func(redis.Pipeliner) error { return nil })); err != nil {
		t.Errorf("an empty pipeline: %v", err)
	}
}

// TestPipelineKeepsTheOrderOfAKey: what a server declines in the middle of a
// pipeline must not be made up for behind what it took.
// gatedConn lets no request pass that names the gate, until it is open.
type gatedConn struct {
	net.Conn
	reached func()
	open    <-chan struct{}
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("gate")) {
		c.reached()
		<-c.open
	}
	return c.Conn.Write(b)
}

// TestPipelineReadsBeforeItWrites: a read is answered before a later write of the same pipeline,
// also where the primary returns while that goes on.
func TestPipelineReadsBeforeItWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	check(t, g.Node(0).Client().Set(ctx, "k", "before", 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	opened, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &gatedConn{conn, func() { once.Do(func() { close(reached) }) }, opened}, err
	}
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: g.Addrs()[:1], Dialer: dial},
		&resilient.Options{Nodes: g.Addrs()[1:], Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	defer func() { check(t, c.Close()) }()
	waitState(t, c, resilient.StateNoPrimary)
	p := c.Pipeline()
	get := p.Get(ctx, "k")
	set := p.Set(ctx, "k", "after", 0)
	incr := p.Incr(ctx, "gate") // its base is asked for
	ended := make(chan error, 1)
	go func() {
		_, err := p.Exec(ctx)
		ended <- err
	}()
	<-reached
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "the write to be replayed", func() bool {
		return g.Node(1).Client().Get(ctx, "k").Val() == "after"
	})
	close(opened)
	check(t, <-ended)
	flush(t, c)
	if get.Val() != "before" || set.Val() != "OK" || incr.Val() != 1 {
		t.Errorf("GET %q, SET %q, INCR %d", get.Val(), set.Val(), incr.Val())
	}
}

func TestPipelineKeepsTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	p := c.Pipeline()
	shut := p.ConfigSet(ctx, "min-replicas-to-write", "5")
	first, log := p.Set(ctx, "k", "first", 0), p.Append(ctx, "log", "first,")
	unshut := p.ConfigSet(ctx, "min-replicas-to-write", "0")
	second, more := p.Set(ctx, "k", "second", 0), p.Append(ctx, "log", "second,")
	_, err := p.Exec(ctx)
	check(t, errors.Join(shut.Err(), unshut.Err(), second.Err(), more.Err()))
	refused(t, first.Err(), "set", "blind write")
	refused(t, log.Err(), "append", "accumulating write")
	if !errors.Is(err, first.Err()) {
		t.Errorf("Exec: %v, want the first error", err)
	}
	flush(t, c)
	admin := g.Node(0).Client()
	if got := admin.MGet(ctx, "k", "log").Val(); fmt.Sprint(got) != "[second second,]" {
		t.Errorf("in Redis: %v", got)
	}
	waitState(t, c, resilient.StateHealthy)
	if n, err := c.Append(ctx, "log", "third").Result(); n != 12 || err != nil {
		t.Errorf("APPEND after it: %d, %v", n, err)
	}
}

// TestPipelinesFromManyGoroutines: in the outage, over the return and after it,
// the replies of each key's counter are those of one Redis.
func TestPipelinesFromManyGoroutines(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	w := newCounters(t, c, "a", "b", "c")
	for i := range 6 {
		w.start(func() ([]string, []*redis.IntCmd) {
			p := c.Pipeline()
			keys := []string{"a", "b", "a", "c"}
			cmds := make([]*redis.IntCmd, len(keys))
			for j, key := range keys {
				cmds[j] = p.Incr(ctx, key)
				p.Get(ctx, fmt.Sprint("beside", i))
				p.Set(ctx, fmt.Sprint("beside", i), j, 0)
			}
			_, _ = p.Exec(ctx) // each command's own is looked at
			return keys, cmds
		})
	}
	w.await(t, 50)
	check(t, g.Cycle(ctx))
	w.await(t, 200)
	check(t, g.PromoteOnly(ctx, 1))
	redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
		return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
	})
	w.await(t, 50)
	w.stop()
	flush(t, c)
	w.verify(t, g.Node(1).Client())
}
