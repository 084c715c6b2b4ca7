package resilient

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// gate is a clock that can stop one of its readers. A write reads it when its
// deadlines are made absolute, before it takes the locks of its keys.
type gate struct {
	countdown atomic.Int32  // who brings it to 0 is stopped
	stopped   chan struct{} // gets one then
	release   chan struct{}
}

func newGate() *gate {
	return &gate{stopped: make(chan struct{}, 1), release: make(chan struct{})}
}

func (g *gate) pass() {
	if g.countdown.Add(-1) == 0 {
		g.stopped <- struct{}{}
		<-g.release
	}
}

func (g *gate) now() time.Time {
	g.pass()
	return time.Now()
}

func openGated(t *testing.T, g *redistest.Group, o Options) (*Client, *gate) {
	t.Helper()
	clock := newGate()
	o.clock = clock.now
	c, err := NewClient(&redis.UniversalOptions{Addrs: g.Addrs()[:1]}, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, clock
}

func awaitState(t *testing.T, c *Client, want State) {
	t.Helper()
	redistest.Eventually(t, 30*time.Second, "the state "+want.String(), func() bool { return c.State().State == want })
}

// A write that was on its way into the journal when the primary came back goes to
// the primary: deferred, it could be overtaken by a later one that is forwarded.
func TestWriteIsNotDeferredPastTheReturn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c, _ := openGated(t, g, Options{Nodes: g.Addrs()})
	if err := g.Cycle(ctx); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, StateNoPrimary)
	tracked, receipt := WithReceipt(ctx)
	held := newGate()
	c.backend.(*lifecycle).router.committing = held.pass
	held.countdown.Store(1)
	answer := make(chan error, 1)
	go func() { answer <- c.Set(tracked, "k", "v", 0).Err() }()
	select {
	case <-held.stopped:
	case <-ctx.Done():
		t.Fatal("the write did not reach its commit")
	}
	if err := g.Promote(ctx, 0); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, StateHealthy)
	close(held.release)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if receipt.Outcome() != OutcomeDirect || c.Stats().Deferred != 0 {
		t.Errorf("the write was %v, %d deferred", receipt.Outcome(), c.Stats().Deferred)
	}
	if v := g.Node(0).Client().Get(ctx, "k").Val(); v != "v" {
		t.Errorf("the primary has %q", v)
	}
}

// A write that was to queue behind its key's deferred writes is forwarded when
// these have left meanwhile: the key has been released, and others write it live.
func TestWriteIsNotDeferredPastTheRelease(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c, clock := openGated(t, g, Options{Nodes: g.Addrs(), ReplicaAckTimeout: time.Minute})
	if err := g.Cycle(ctx); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, StateNoPrimary)
	if err := c.Set(ctx, "k", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// The replica does not confirm: the key stays pending on a live shard.
	if err := g.Node(1).Pause(); err != nil {
		t.Fatal(err)
	}
	if err := g.PromoteOnly(ctx, 0); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 30*time.Second, "a stalled replay", func() bool {
		return g.Node(0).Client().Get(ctx, "k").Val() == "1" && c.backend.(*lifecycle).drain.stalled() && c.backend.(*lifecycle).router.current().write != nil
	})
	tracked, receipt := WithReceipt(ctx)
	clock.countdown.Store(1)
	answer := make(chan error, 1)
	go func() { answer <- c.Set(tracked, "k", "2", 0).Err() }()
	select {
	case <-clock.stopped:
	case <-ctx.Done():
		t.Fatal("the write did not read the clock")
	}
	if err := g.Node(1).Resume(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 30*time.Second, "the key's release", func() bool { return c.backend.(*lifecycle).overlay.Empty() })
	close(clock.release)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if receipt.Outcome() != OutcomeDirect || c.Stats().Deferred != 1 {
		t.Errorf("the write was %v, %d deferred", receipt.Outcome(), c.Stats().Deferred)
	}
}
