package replay

import (
	"context"
	"errors"
	"sync"
	"time"
)

// How often a replica is asked whether it is attached, and for how long.
const (
	attachEvery = 100 * time.Millisecond
	attachLook  = 500 * time.Millisecond
)

// attachShare is the share of a primary's replication backlog that may be filled before
// its replicas are attached. The rest is for the other clients, and for how far the
// replicas are behind.
const attachShare = 4

// attachment holds a session back while a freshly promoted primary has replicas that are
// yet to be pointed to it. They go on from where they are as long as that is in the
// primary's replication backlog, 1 MiB by default, which a replay fills within
// milliseconds; then each takes a copy of the whole data set. What the backlog has room
// for is sent meanwhile. nil: nothing is held back.
type attachment struct {
	r    *Replayer
	room int           // bytes that may be sent; of the goroutine of Run
	open chan struct{} // closed when nobody is waited for any more
}

// history is one history of a primary's data, and since when it is replayed to. It
// belongs to the goroutine of Run, and to that of an attachment while there is one.
type history struct {
	replID string
	since  time.Time
	whole  bool // its replicas are attached, or were waited for long enough
}

// attach looks after the replicas of a session's primary, until ctx ends. stop waits for
// the end of that.
func (r *Replayer) attach(ctx context.Context, s *session) (held *attachment, stop func()) {
	if r.history.replID != s.node.replID {
		r.history = history{replID: s.node.replID, since: time.Now()}
	}
	if r.history.whole || r.opt.AttachGrace < 0 || s.node.backlog == 0 || len(r.replicasOf(s.addr)) == 0 {
		return nil, func() {}
	}
	held = &attachment{r: r, room: s.node.backlog / attachShare, open: make(chan struct{})}
	ctx, cancel := context.WithDeadline(ctx, r.history.since.Add(r.opt.AttachGrace))
	done := make(chan struct{})
	go func() {
		defer close(done)
		held.run(ctx, s)
	}()
	return held, func() { cancel(); <-done }
}

// run opens the attachment when the replicas are attached, or ctx's deadline has come.
func (h *attachment) run(ctx context.Context, s *session) {
	for h.waiting(ctx, s) {
		if sleep(ctx, attachEvery) != nil {
			break
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the session has ended: the next one goes on
	}
	h.r.history.whole = true
	close(h.open)
}

// waiting reports whether any replica that answers is not attached. The one that is has
// taken the name of the primary's history.
func (h *attachment) waiting(ctx context.Context, s *session) bool {
	ctx, cancel := context.WithTimeout(ctx, attachLook)
	defer cancel()
	addrs := h.r.replicasOf(s.addr)
	absent := make([]bool, len(addrs))
	var looks sync.WaitGroup
	for i, addr := range addrs {
		looks.Go(func() {
			var c *conn
			n, err := h.r.opt.ask(ctx, &c, addr)
			if c != nil {
				c.close()
			}
			absent[i] = err == nil && !n.primary && n.replID != s.node.replID
		})
	}
	looks.Wait()
	for _, a := range absent {
		if a {
			return true
		}
	}
	return false
}

// hold is the channel to wait for before more is sent; nil: none.
func (h *attachment) hold() <-chan struct{} {
	if h == nil || h.room > 0 {
		return nil
	}
	select {
	case <-h.open:
		return nil
	default:
		return h.open
	}
}

// sent notes so many bytes.
func (h *attachment) sent(bytes int) {
	if h != nil {
		h.room -= bytes
	}
}

// replicasOf is who might be promoted, without the primary itself.
func (r *Replayer) replicasOf(primary string) []string {
	var addrs []string
	for _, addr := range r.opt.Replicas() {
		if addr != primary {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
