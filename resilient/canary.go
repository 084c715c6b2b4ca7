package resilient

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/slot"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

const (
	// canaryRetry is the time between two tries of a write.
	canaryRetry = 250 * time.Millisecond
	// visitBound is how long a visit may last.
	visitBound = time.Second
)

// awaitAnswer tries a harmless write, again and again, on a primary on which writes
// have hung, until it answers or another is the primary: the topology holds it until
// then. One runs at a time; it ends with the client, or with the shard.
func (r *router) awaitAnswer() {
	if !r.trying.CompareAndSwap(false, true) {
		return
	}
	r.errands.start(func() {
		defer func() {
			r.trying.Store(false)
			if r.monitor.View().AwaitsWrite && r.ctx.Err() == nil && !r.retired.Load() {
				r.awaitAnswer() // it was asked for in this very moment
			}
		}()
		for {
			v := r.monitor.View()
			if !v.AwaitsWrite || r.ctx.Err() != nil || r.retired.Load() {
				return
			}
			if r.answers(v.Primary.Addr) {
				r.monitor.WriteAnswered(v.Primary.RunID)
			}
			pause(r.ctx, canaryRetry)
		}
	})
}

// errands are goroutines that end with the client's context. Safe for concurrent use.
type errands struct {
	wg sync.WaitGroup

	mu   sync.Mutex // guards over
	over bool       // none is started any more
}

// start runs f in a goroutine, unless the client is being closed.
func (e *errands) start(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.wg.Go(f)
	}
}

// close waits for all; their context must have ended.
func (e *errands) close() {
	e.mu.Lock()
	e.over = true
	e.mu.Unlock()
	e.wg.Wait()
}

// answers reports whether a server answers a write that changes nothing: the deadline
// of a key that never is. That the user may not do even that is an answer, too.
func (r *router) answers(addr string) bool {
	err := visit(r.ctx, r.dial, addr, func(ctx context.Context, c *redis.Conn) error {
		return c.Do(ctx, "pexpire", r.canaryKey(), 1).Err()
	})
	return err == nil || isReply(err) && overloadOf(err) != topology.OverloadBusy
}

// canaryKey is a key of the shard, beside its fence.
func (r *router) canaryKey() string { return r.fenceKey() + ":canary" }

// fenceKey is the key of a fence of the shard: over several shards that of one of its
// lanes, which over a Ring has the name of a Cluster's.
func (r *router) fenceKey() string {
	if r.mine != nil {
		for lane := range uint16(slot.Count) {
			if r.mine(lane) {
				return replay.FenceKeyOf(r.client, lane)
			}
		}
	}
	return replay.FenceKey(r.client)
}

// visit has something done on a connection of its own to a server, which is closed
// afterwards: that undoes WATCH and MULTI. It lasts visitBound at most.
func visit(ctx context.Context, base *redis.Options, addr string, do func(context.Context, *redis.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, visitBound)
	defer cancel()
	o := singleAttempt(base)
	o.Addr, o.PoolSize, o.MinIdleConns = addr, 1, 0
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }() // nothing is left to lose
	conn := client.Conn()
	defer func() { _ = conn.Close() }()
	return do(ctx, conn)
}
