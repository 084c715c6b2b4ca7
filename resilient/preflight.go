package resilient

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// preflight looks, once at the start and after each return, whether the client's user
// has the rights that deferral and replay need at a shard's servers; while some are
// missing it looks again and again. It changes nothing in Redis. It is one goroutine for
// each shard, since every server has its own list of users; it ends with the shard.
type preflight struct {
	ctx    context.Context
	cancel context.CancelFunc
	shard  *shard
	base   *redis.Options
	fence  func() string // a key that the replay to the shard writes
	plain  bool          // it does so without transactions
	events *events
	done   chan struct{}

	looked  bool
	checked topology.NodeID // the primary that was looked at last
}

// preflightRetry is how long a look rests that failed, or found rights missing: they
// may be granted meanwhile.
const preflightRetry = 2 * time.Second

func newPreflight(f *foundation, s *shard, base *redis.Options, fence func() string) *preflight {
	p := &preflight{
		shard: s, base: base, fence: fence, plain: f.options.ReplayWithoutTransactions, events: f.events,
		done: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(f.ctx)
	return p
}

// run looks whenever there is something to look at, until the client ends.
func (p *preflight) run() {
	defer close(p.done)
	for p.ctx.Err() == nil {
		changed := p.shard.monitor.Changed()
		wait := p.look(p.shard.monitor.View())
		if wait == 0 {
			select {
			case <-p.ctx.Done():
			case <-changed:
			}
			continue
		}
		pause(p.ctx, wait)
	}
}

// look does what a view calls for, and returns when to look again without a change; 0
// for never.
func (p *preflight) look(v *topology.View) time.Duration {
	lacking := p.shard.router.lacking.Load() != nil
	switch {
	case v.Live && (lacking || p.fresh(v)):
		if p.check(v.Primary.Addr) {
			p.looked, p.checked = true, v.Primary
		}
	case lacking && v.ReadFrom != "":
		p.check(v.ReadFrom) // a replica knows the rights, too
	}
	if p.shard.router.lacking.Load() != nil || v.Live && p.fresh(v) {
		return preflightRetry
	}
	return 0
}

// fresh reports whether the primary has not been looked at yet.
func (p *preflight) fresh(v *topology.View) bool {
	return !p.looked || v.Primary.Addr != p.checked.Addr || v.Primary.RunID != p.checked.RunID
}

// check looks for missing rights, and switches deferral off or on again. It is false
// when that could not be told.
func (p *preflight) check(addr string) bool {
	var missing []string
	err := visit(p.ctx, p.base, addr, func(ctx context.Context, c *redis.Conn) (err error) {
		missing, err = missingRights(ctx, c, p.fence(), p.plain)
		return err
	})
	if err != nil {
		return false
	}
	r := p.shard.router
	before := r.rights()
	if slices.Equal(before, missing) {
		return true
	}
	if missing == nil {
		r.lacking.Store(nil)
	} else {
		r.lacking.Store(&missing)
	}
	p.events.rightsChanged(RightsInfo{Missing: missing, Shard: r.shard})
	return true
}

// missingRights asks for each right that a replay needs by what has no effect: outside
// a transaction EXEC is an error, and within one that is never executed SET is only
// queued. The rights are looked at before either. Without transactions there is no such
// way, and the replay itself finds out.
func missingRights(ctx context.Context, c *redis.Conn, fence string, plain bool) (missing []string, err error) {
	ask := func(right string, words ...any) (done bool) {
		if err != nil {
			return false
		}
		switch e := c.Do(ctx, words...).Err(); {
		case redis.IsPermissionError(e), redis.IsExecAbortError(e) && strings.Contains(e.Error(), "NOPERM"):
			missing = append(missing, right)
			return false
		case e != nil && !isReply(e) && !errors.Is(e, redis.Nil):
			err = e
			return false
		default:
			return e == nil // a proxy may decline MULTI, and would execute what follows
		}
	}
	ask("INFO", "info", "server")
	if !plain {
		ask("EXEC", "exec")
		ask("WATCH of "+fencePattern, "watch", fence)
	}
	ask("GET of "+fencePattern, "get", fence)
	if !plain && ask("MULTI", "multi") {
		ask("SET of "+fencePattern, "set", fence, 0)
	}
	return missing, err
}

// fencePattern are the keys that a user must be allowed to use for the replay.
const fencePattern = "holdfast:fence:*"

// rights are those that are known to be missing.
func (r *router) rights() []string {
	if missing := r.lacking.Load(); missing != nil {
		return *missing
	}
	return nil
}

// close ends the goroutine.
func (p *preflight) close() {
	p.cancel()
	<-p.done
}
