package resilient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// overloadOf tells the want of means in a server's reply. Such a reply comes before
// anything is executed, but for that of a script.
func overloadOf(err error) topology.Overload {
	switch {
	case err == nil:
	case redis.IsOOMError(err):
		return topology.OverloadMemory
	case redis.HasErrorPrefix(err, "MISCONF "):
		return topology.OverloadDisk
	case redis.HasErrorPrefix(err, "BUSY "):
		return topology.OverloadBusy
	case redis.IsMaxClientsError(err):
		return topology.OverloadClients
	}
	return topology.OverloadNone
}

// strain tells the topology of a server that is short of means. It moves no state.
func (r *router) strain(addr string, err error) {
	if kind := overloadOf(err); kind != topology.OverloadNone {
		r.monitor.Signal(topology.Signal{Kind: topology.SignalOverload, Overload: kind, Addr: addr, At: time.Now()})
	}
}

// deferStrained defers a write that the primary has refused for want of means, if the
// options say so. What can't be deferred keeps the server's error.
func (r *router) deferStrained(ctx context.Context, cmd redis.Cmder, q *request, cause error) error {
	if q.spec == nil || q.class() == command.ClassScript {
		return cause
	}
	if err := r.rule(ctx, q); err != nil {
		return fail(cmd, r.refuse(q, err, cause))
	}
	if !r.deferrable(q) {
		return cause
	}
	cmd.SetErr(nil)
	q.strained = true
	for {
		done, err := r.answer(ctx, cmd, q, cause)
		if done && errors.Is(err, ErrBaseUnknown) {
			return fail(cmd, cause)
		}
		if done {
			return err
		}
	}
}

// errStarved refuses a command that would have to wait for a primary that is short of
// means.
var errStarved = fmt.Errorf("%w: the primary is short of means", ErrPendingWrites)

// starving are the codes of errors by which a server says so.
var starving = []string{"OOM", "MISCONF", "BUSY"}

// starved implements cutover.
func (d *drain) starved() bool {
	return slices.Contains(starving, d.feed.Load().replayer.Stats().Paused)
}
