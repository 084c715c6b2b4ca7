package resilient_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// seldomWrites matches about one in so many requests that write, replayed batches too, and so
// many in all: each one that is cut can be in doubt, and histories with many of those take
// long to judge.
func seldomWrites(one int, limit int64) redistest.Match {
	var cut atomic.Int64
	verbs := []string{"set", "getset", "del", "incrby", "rpush", "hset", "hincrby", "hdel", "exec"}
	return func(request []byte) bool {
		head := bytes.ToLower(request[:min(len(request), 24)])
		if !slices.ContainsFunc(verbs, func(v string) bool { return bytes.Contains(head, []byte("\r\n"+v+"\r\n")) }) {
			return false
		}
		return rand.IntN(one) == 0 && cut.Add(1) <= limit
	}
}

// TestLinearizableCuts: connections break before a write was sent, after it, and in the
// middle of its reply, and the server is out of reach now and then. There is one server, so
// nothing can be said of a value that only it knows: such writes are answered with an
// estimate, and reads are refused. What was made is made once all the same.
func TestLinearizableCuts(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	addr := g.Node(0).Addr()
	c, way := openOver(t, g, &resilient.Options{Dir: t.TempDir(), EstimateCounters: true})
	l := startCallers(t, c, 6, "a", "b", "c")
	proxy := way.Proxy(addr)
	rules := []*redistest.Rule{
		proxy.CutBeforeSend(seldomWrites(50, 6)), proxy.CutAfterSend(seldomWrites(50, 6)), proxy.CutMidReply(seldomWrites(50, 6)),
	}
	for range 2 {
		l.await(300)
		check(t, way.Refuse(addr, true))
		l.awaitDeferred(60)
		check(t, way.Refuse(addr, false))
		redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
			return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
		})
	}
	l.await(200)
	hits := 0
	for _, r := range rules {
		r.Disarm()
		hits += r.Hits()
	}
	if hits < 6 {
		t.Errorf("only %d connections were cut", hits)
	}
	l.judge(g.Node(0).Client())
}

// TestTwoProcessesInAnOutage: what several clients defer on the same keys reaches the
// primary once, and each one's writes in its order. Their replies are estimates: each
// knows its own writes only, and the replay tells of those that turned out otherwise. On
// keys that one of them has to itself they are exact.
func TestTwoProcessesInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	dir := t.TempDir()
	clients := make([]*resilient.Client, 3)
	own := make([]*callers, len(clients))
	pushed := make([][]string, len(clients))
	quit := make(chan struct{})
	var stop sync.Once
	var wg sync.WaitGroup
	end := func() { stop.Do(func() { close(quit) }); wg.Wait() }
	t.Cleanup(end)
	for id := range clients {
		c := open(t, g, &resilient.Options{Dir: dir})
		clients[id], own[id] = c, startCallers(t, c, 2, fmt.Sprint("own", id))
		own[id].shared = true
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-quit:
					return
				default:
				}
				element := fmt.Sprintf("%d:%d", id, n)
				if err := c.RPush(ctx, "shared", element).Err(); err != nil {
					t.Errorf("client %d: RPUSH: %v", id, err)
					return
				}
				pushed[id] = append(pushed[id], element)
				own[id].await(3) // its own pace
			}
		})
	}
	all := func(f func(l *callers)) {
		for _, l := range own {
			f(l)
		}
	}
	all(func(l *callers) { l.await(100) })
	for _, next := range []int{1, 0} {
		check(t, g.Cycle(ctx))
		all(func(l *callers) { l.awaitDeferred(80) })
		check(t, g.Promote(ctx, next))
		redistest.Eventually(t, testPatience, "all drains to end under load", func() bool {
			return !slices.ContainsFunc(clients, func(c *resilient.Client) bool {
				return c.State().State != resilient.StateHealthy || c.Stats().Entries != 0
			})
		})
		check(t, g.WaitSynced(ctx))
	}
	end()
	all(func(l *callers) { l.judge(g.Node(0).Client()) })
	diverged := uint64(0)
	for _, c := range clients {
		diverged += c.Stats().Diverged
	}
	if diverged == 0 {
		t.Error("no reply to a push in the outage turned out to be an estimate")
	}
	there, err := g.Node(0).Client().LRange(ctx, "shared", 0, -1).Result()
	check(t, err)
	for id := range clients {
		mine := slices.DeleteFunc(slices.Clone(there), func(e string) bool { return !strings.HasPrefix(e, fmt.Sprint(id, ":")) })
		if !slices.Equal(mine, pushed[id]) {
			t.Errorf("client %d pushed %d elements, of which %d are there, in its order: %v", id, len(pushed[id]), len(mine), slices.Equal(mine, pushed[id]))
		}
	}
}
