package resilient

import (
	"context"
	"time"
)

// How often a waiting write looks again at what nobody tells it of: the route
// and the replay's progress.
const settleTick = 20 * time.Millisecond

// settle decides a write while the shard is live and some keys have deferred
// writes: the cut-over. A key without any is forwarded. A write to keys that all have
// many queues behind them in the journal. Where they are few, new writes wait until the
// key is released and are then forwarded; and while the journal is added to faster than
// half the speed of its replay, they wait for their share. So every drain ends. A write
// to some keys with and some without any waits too. Only while the replay, or its confirmation by replicas, does not
// move they queue all the same. What can't be deferred waits in any case, bounded by
// its context; but not for a primary that is short of memory or disk, which may be for
// long.
func (r *router) settle(ctx context.Context, q *request) (way, error) {
	deferrable := r.deferrable(q)
	for {
		rt := r.current()
		if rt.write == nil {
			if deferrable {
				return wayLocal, nil
			}
			return wayInvalid, r.refuse(q, ErrNoPrimary, nil)
		}
		key, last, pending := r.pendingOf(q)
		queues := deferrable && r.allPending(q)
		switch {
		case !pending:
			return wayForward, nil
		case queues && !q.barrier() && (!rt.view.Live || r.hasRoom(last)):
			return wayLocal, nil
		}
		if !queues && r.cutover.starved() {
			return wayInvalid, r.refuse(q, errStarved, nil)
		}
		if err := r.awaitRelease(ctx, q, key); err != nil {
			return wayInvalid, r.refuse(q, err, nil)
		}
	}
}

// hasRoom reports whether a write may queue behind a deferred one of its key.
func (r *router) hasRoom(last uint64) bool {
	return !r.cutover.near(last) && !r.cutover.crowded() || r.cutover.stalled()
}

// settleWhole waits until none of a command's keys has deferred writes, or the
// shard is no longer live. It is for what can't be deferred at all.
func (r *router) settleWhole(ctx context.Context, q *request) error {
	for r.current().write != nil {
		key, _, pending := r.pendingOf(q)
		if !pending {
			return nil
		}
		if r.cutover.starved() {
			return r.refuse(q, errStarved, nil)
		}
		if err := r.awaitRelease(ctx, q, key); err != nil {
			return r.refuse(q, err, nil)
		}
	}
	return nil
}

// pendingOf returns the command's key with the newest deferred write, and that
// write. A barrier is pending as long as any key is: FLUSHALL, SWAPDB, a script,
// which may touch keys that it doesn't name, a claim, whose winner goes by what
// other keys say, and a command that is not in the table.
func (r *router) pendingOf(q *request) (key string, last uint64, pending bool) {
	if q.barrier() {
		return "", 0, !r.quiet() && (r.pending == nil || r.pending())
	}
	for _, k := range q.keys {
		if seq, held := r.overlay.Held(r.db, string(k)); held && seq >= last {
			key, last, pending = string(k), seq, true
		}
	}
	return key, last, pending
}

// allPending reports whether all keys that a command names have deferred writes. Where
// some have none, others may be writing these on the primary, and a deferred write would
// pass them.
func (r *router) allPending(q *request) bool {
	for _, k := range q.keys {
		if _, held := r.overlay.Held(r.db, string(k)); !held {
			return false
		}
	}
	return true
}

// barrier reports whether the command must not pass any deferred write.
func (q *request) barrier() bool {
	return !q.malformed && q.spec.Barrier(q.args) // what is malformed the server refuses
}

// awaitRelease waits for a key's release, for a moment at most. The error is the
// context's.
func (r *router) awaitRelease(ctx context.Context, q *request, key string) error {
	tick, cancel := context.WithTimeout(ctx, settleTick)
	defer cancel()
	if q.barrier() {
		<-tick.Done()
	} else {
		_ = r.overlay.Await(tick, r.db, key) // whether it was released is looked at again
	}
	return ctx.Err()
}
