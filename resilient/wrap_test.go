package resilient_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestWrapAClient: the application's own client carries the commands for its
// server, hooks and all; the clients of the other servers have its options; an outage
// is as with a client of our own, and ends when its server is the primary again.
func TestWrapAClient(t *testing.T) {
	t.Parallel()
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", proto), func(t *testing.T) {
			t.Parallel()
			testWrapAClient(t, proto)
		})
	}
}

func testWrapAClient(t *testing.T, proto int) {
	ctx := context.Background()
	const root, secret = "for the servers", "pass word"
	g := redistest.StartT(t, redistest.Options{Replicas: 2, Password: root})
	for _, n := range g.Nodes() {
		check(t, n.Client().Do(ctx, "acl", "setuser", "app", "on", ">"+secret, "~*", "&*", "+@all").Err())
	}
	// Named as an application would: the servers call each other by address.
	_, port, _ := net.SplitHostPort(g.Node(0).Addr())
	inner := redis.NewClient(&redis.Options{
		Addr: "localhost:" + port, Username: "app", Password: secret, DB: 5, Protocol: proto, PoolSize: 7,
		ReadTimeout: -1, WriteTimeout: -2, MaxRetries: -1, MinRetryBackoff: -1, MaxRetryBackoff: -1,
	})
	log := &journalOfHooks{}
	inner.AddHook(recorder{"inner", log})
	var mu sync.Mutex // guards made
	made := map[string]*redis.Options{}
	c := wrap(t, inner, &resilient.Options{Nodes: g.Addrs()[1:], OnNewNode: func(c *redis.Client) {
		mu.Lock()
		defer mu.Unlock()
		made[c.Options().Addr] = c.Options()
	}})
	waitState(t, c, resilient.StateHealthy)
	log.take() // its handshake
	sees := func(what string, run func()) {
		t.Helper()
		run()
		lines := slices.DeleteFunc(log.take(), func(line string) bool {
			return strings.Contains(line, "dials") || strings.Contains(line, "hello") || strings.Contains(line, " 1") || strings.Contains(line, " 2") ||
				strings.Contains(line, "client")
		})
		if want := []string{"inner in " + what, "inner out " + what}; !slices.Equal(lines, want) {
			t.Errorf("%s: the client's hooks saw %q", what, lines)
		}
	}
	sees("incrby", func() { check(t, c.IncrBy(ctx, "n", 10).Err()) })
	sees("get", func() { check(t, c.Get(ctx, "n").Err()) })
	if p := c.PoolStats(); p.TotalConns == 0 {
		t.Errorf("PoolStats %+v", p)
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	if n, err := c.Incr(ctx, "n").Result(); n != 11 || err != nil {
		t.Errorf("INCR in the outage: %d, %v", n, err)
	}
	waitState(t, c, resilient.StateNoPrimary)
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "the cause pinned", func() bool { return c.State().Cause == resilient.CausePinned })
	if v, err := c.Get(ctx, "other").Result(); err != redis.Nil { //nolint:errorlint // as go-redis gives it
		t.Errorf("a read from another server: %q, %v", v, err)
	}
	check(t, g.Promote(ctx, 0))
	flush(t, c)
	check(t, c.Incr(ctx, "n").Err())
	admin := redis.NewClient(&redis.Options{Addr: g.Node(0).Addr(), DB: 5, Username: "app", Password: secret})
	t.Cleanup(func() { _ = admin.Close() })
	if v := admin.Get(ctx, "n").Val(); v != "12" {
		t.Errorf("n = %q after the replay and one more, want 12", v)
	}
	mu.Lock()
	own := inner.Options()
	var o *redis.Options
	for _, n := range g.Nodes()[1:] {
		o = cmp.Or(made[n.Addr()], o)
	}
	mu.Unlock()
	if o == nil {
		t.Fatalf("no client was made for reads from another server, but for %d others", len(made))
	}
	type carried struct {
		User, Password           string
		DB, Protocol, Pool       int
		Read, Write, Min, Max    time.Duration
		Retries, MaxActive, Dial int
	}
	options := func(o *redis.Options) carried {
		return carried{
			o.Username, o.Password, o.DB, o.Protocol, o.PoolSize, o.ReadTimeout, o.WriteTimeout,
			o.MinRetryBackoff, o.MaxRetryBackoff, o.MaxRetries, o.MaxActiveConns, int(o.DialTimeout),
		}
	}
	if got, want := options(o), options(own); got != want {
		t.Errorf("the other server's client has %+v, the wrapped one %+v", got, want)
	}
	if proto == 3 && o.PushNotificationProcessor == own.PushNotificationProcessor {
		t.Error("two clients share what reads their push notifications")
	}
	check(t, c.Close())
	if err := inner.Ping(ctx).Err(); err == nil {
		t.Error("the wrapped client is not closed")
	}
}

// brokenProvider gives meters that make no gauges.
type brokenProvider struct{ noop.MeterProvider }

type brokenMeter struct{ noop.Meter }

func (brokenProvider) Meter(string, ...metric.MeterOption) metric.Meter { return brokenMeter{} }

func (brokenMeter) Float64ObservableGauge(string, ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errors.New("no gauge today")
}

// TestFailedWrapLeavesTheClient: after an error the client is its owner's.
func TestFailedWrapLeavesTheClient(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	for _, inner := range []redis.UniversalClient{redis.NewClient(&redis.Options{Addr: g.Node(0).Addr()}), ringOf(g.Addrs()...)} {
		_, err := resilient.Wrap(inner, &resilient.Options{MeterProvider: brokenProvider{}, Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "no gauge today") {
			t.Errorf("%T: %v", inner, err)
		}
		check(t, inner.Ping(ctx).Err())
		check(t, inner.Close())
	}
}

// TestWrappedAttempts: a hook of the wrapped client sees each attempt, and a write
// whose answer is lost is one.
func TestWrappedAttempts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	p, err := redistest.NewProxy(g.Node(0).Addr())
	check(t, err)
	t.Cleanup(func() { _ = p.Close() }) // has nothing to fail
	inner := redis.NewClient(&redis.Options{Addr: p.Addr()})
	log := &journalOfHooks{}
	inner.AddHook(recorder{"inner", log})
	c := wrap(t, inner, nil)
	check(t, c.Ping(ctx).Err())
	attempts := func(name string) (n int) {
		for _, line := range log.take() {
			if line == "inner in "+name {
				n++
			}
		}
		return n
	}
	p.CutAfterSend(redistest.Once(redistest.Contains("cut:n")))
	wantDoubt(t, "INCR", c.Incr(ctx, "cut:n").Err())
	if n := attempts("incr"); n != 1 {
		t.Errorf("INCR took %d attempts", n)
	}
	p.CutAfterSend(redistest.Once(redistest.Contains("cut:s")))
	check(t, c.Set(ctx, "cut:s", "v", 0).Err())
	if n := attempts("set"); n != 2 {
		t.Errorf("SET took %d attempts, want another after the lost answer", n)
	}
	if v := g.Node(0).Client().Get(ctx, "cut:n").Val(); v != "1" {
		t.Errorf("INCR was applied %s times", v)
	}
}

// TestWrapAFailoverClient: Sentinel names the primary, before an outage of
// replicas only and after the failover that ends it. What was deferred in between
// is there once.
func TestWrapAFailoverClient(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testPatience)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 2, Password: "pass word"})
	sentinel := redistest.StartSentinelT(t, g, redistest.SentinelOptions{})
	inner := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: sentinel.Name(), SentinelAddrs: []string{sentinel.Addr()}, Password: "pass word",
	})
	log := &journalOfHooks{}
	inner.AddHook(recorder{"inner", log})
	c := wrap(t, inner, &resilient.Options{Nodes: g.Addrs(), Dir: t.TempDir()})
	waitState(t, c, resilient.StateHealthy)
	saw := func(line string) bool { return slices.Contains(log.take(), line) }

	check(t, c.RPush(ctx, "list", "healthy").Err())
	if !saw("inner in rpush") {
		t.Error("a write did not take the failover client")
	}
	if v, err := c.LLen(ctx, "list").Result(); v != 1 || err != nil || !saw("inner in llen") {
		t.Errorf("a read: %d, %v, or it did not take the failover client", v, err)
	}
	check(t, c.Incr(ctx, "n").Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	if n, err := c.Incr(ctx, "n").Result(); n != 2 || err != nil {
		t.Errorf("INCR in the outage: %d, %v", n, err)
	}
	for i := range 20 {
		check(t, c.RPush(ctx, "list", fmt.Sprint("deferred ", i)).Err())
	}
	waitState(t, c, resilient.StateNoPrimary)
	log.take()

	check(t, sentinel.Client().Failover(ctx, sentinel.Name()).Err())
	flush(t, c)
	primary, ok := g.Primary(ctx)
	if !ok {
		t.Fatal("no primary after the failover")
	}
	if n, v := primary.Client().LLen(ctx, "list").Val(), primary.Client().Get(ctx, "n").Val(); n != 21 || v != "2" {
		t.Errorf("after the replay: %d in the list, want 21; n = %s, want 2", n, v)
	}
	// Until the Sentinel has noticed its own failover, commands go by themselves.
	redistest.Eventually(t, testPatience, "the failover client to carry commands again", func() bool {
		return c.RPush(ctx, "list", "after").Err() == nil && saw("inner in rpush")
	})
	check(t, c.Close())
	if err := inner.Ping(ctx).Err(); err == nil {
		t.Error("the failover client is not closed")
	}
}

// TestSentinelThatLeadsAstray: an operator promotes a server without telling the
// Sentinel, which goes on naming the old one. Writes go to the real primary.
func TestSentinelThatLeadsAstray(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	sentinel := redistest.StartSentinelT(t, g, redistest.SentinelOptions{})
	inner := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinel.Name(), SentinelAddrs: []string{sentinel.Addr()}})
	c := wrap(t, inner, &resilient.Options{Nodes: g.Addrs()})
	waitState(t, c, resilient.StateHealthy)
	check(t, c.Incr(ctx, "n").Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	check(t, c.Incr(ctx, "n").Err())
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	check(t, sentinel.WaitPrimary(ctx, 0)) // it has not noticed
	// What only a live primary answers: deferred it would be refused.
	redistest.Eventually(t, testPatience, "a write that can't be deferred", func() bool {
		return c.SetNX(ctx, "lock", "mine", 0).Err() == nil
	})
	deferred := c.Stats().Deferred
	for range 50 {
		check(t, c.Incr(ctx, "n").Err())
	}
	if n := c.Stats().Deferred - deferred; n != 0 {
		t.Errorf("%d writes were deferred while there is a primary", n)
	}
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "52" {
		t.Errorf("n = %s, want 52", v)
	}
}
