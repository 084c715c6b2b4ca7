package resilient

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// A write can be on its way when its shard loses its primary: because that hangs, or because
// the write waits for a connection. Others are deferred meanwhile, with replies that know
// nothing of it. When the server goes on by itself it executes the write in front of
// them, and answers as if they were not: two callers of INCR would be told one number. So an
// answer is looked at again that comes when a primary was lost since its write was decided.
// If its key has deferred writes the write is in doubt, as if no answer had come.

// moment is how far the shards and the journal were when a write was decided.
type moment struct {
	turn  uint64 // core.turn
	taken uint64 // core.taken
}

// moment must be taken before what a decision goes by is looked at.
func (c *core) moment() moment { return moment{turn: c.turn.Load(), taken: c.taken.Load()} }

// errBelated is why a write with an answer is in doubt.
var errBelated = errors.New("the answer came when deferred writes of its key, or a whole outage, had passed it")

// timely makes of the answer err to a forwarded write what its caller is told.
func (r *router) timely(ctx context.Context, cmd redis.Cmder, since moment, err error) error {
	if r.turn.Load() == since.turn || !r.passed(ctx, cmd, since) {
		return err
	}
	return r.doubtBelated(ctx, cmd)
}

// timelyTx is timely for a transaction that was executed.
func (r *router) timelyTx(ctx context.Context, cmds []redis.Cmder, since moment, err error) error {
	if len(r.belated(ctx, cmds[1:len(cmds)-1], since)) == 0 {
		return err
	}
	doubt := r.doubt(ctx, "multi", command.ClassTransaction, errBelated)
	for _, cmd := range cmds {
		_ = undeliver(cmd, doubt) // one error for all
	}
	return doubt
}

// belated are the writes of a batch whose answers came too late to be told.
func (r *router) belated(ctx context.Context, cmds []redis.Cmder, since moment) (late []redis.Cmder) {
	if r.turn.Load() == since.turn {
		return nil
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && err != redis.Nil { //nolint:errorlint // the bare sentinel is a reply
			continue
		}
		if spec := command.Lookup(cmd.Name()); (spec == nil || spec.MayWrite()) && r.passed(ctx, cmd, since) {
			late = append(late, cmd)
		}
	}
	return late
}

func (r *router) doubtBelated(ctx context.Context, cmd redis.Cmder) error {
	q, err := newRequest(ctx, r.side, cmd)
	if err != nil {
		return err // it was sent: it can't be
	}
	defer q.free()
	return undeliver(cmd, r.doubt(ctx, q.name, q.class(), errBelated))
}

// passed reports whether deferred writes may have passed a write since it was decided:
// its key has some, or had some that have been replayed since.
func (r *router) passed(ctx context.Context, cmd redis.Cmder, since moment) bool {
	q, err := newRequest(ctx, r.side, cmd)
	if err != nil {
		return false // it was sent: it can't be
	}
	defer q.free()
	switch {
	case q.spec != nil && (q.class() == command.ClassRead || q.class() == command.ClassPassthrough):
		return false
	case q.spec == nil && !r.quiet(), q.spec != nil && len(q.keys) == 0 && !r.quiet(), r.anyPending(q):
		return true
	}
	return r.returned.Load() > since.turn && r.taken.Load() != since.taken
}
