package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// How often sending may fail in a row, without an entry getting through, before
// Run gives up, and the waits between.
const (
	maxFruitless = 5
	minWait      = 50 * time.Millisecond
	maxWait      = time.Second
)

// Target is the primary to replay to, as the topology has verified it.
type Target struct {
	Addr string
	// RunID must be the node's run id. Empty: whichever it has.
	RunID string
}

// Stats counts since New.
type Stats struct {
	Batches      uint64 // that were applied
	Replayed     uint64 // entries that were applied; one sent again after a failover counts again
	DeadLettered uint64
	Sessions     uint64 // how often a fence was read and replay began or went on
	Gaps         uint64 // entries that are missing from the primary although they were trimmed
	Unconfirmed  uint64 // entries trimmed without the confirmations asked for
	Acked        uint64 // the last sequence that is in the primary
	Paused       string // the error code that replay waits out at present, if it does
}

// Replayer replays one journal. Its methods are safe for concurrent use; one Run
// at a time.
type Replayer struct {
	opt     Options
	fence   string
	wake    chan struct{} // of capacity 1
	running atomic.Bool

	mu    sync.Mutex // guards what follows
	sent  uint64     // nothing beyond this was ever sent
	prog  Progress
	stats Stats
	// Of the batch whose outcome is unknown, if flightLast is not 0: its fence
	// and its number of entries.
	flightLast uint64
	flightLen  int
}

// New makes a Replayer. Everything that the journal holds by now counts as
// possibly sent by an earlier process.
func New(o Options) (*Replayer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &Replayer{
		opt: o.withDefaults(), fence: FenceKey(o.ClientID), wake: make(chan struct{}, 1),
		sent: o.Source.Bounds().Last, prog: o.Source.Progress(),
	}
	r.stats.Acked = r.prog.Acked
	return r, nil
}

// Wake says that more entries are durable. It never blocks.
func (r *Replayer) Wake() { notify(r.wake) }

// Stats is a consistent snapshot.
func (r *Replayer) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Run replays to t, and goes on with what Wake announces, until ctx ends or it
// must stop. It never returns nil: the error is ctx's, one of this package, or
// the Source's. A batch in flight at the end is resolved by the next Run.
func (r *Replayer) Run(ctx context.Context, t Target) error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer r.running.Store(false)
	defer r.setPaused("")
	fruitless := 0
	for {
		before := r.Stats().Batches
		err := r.session(ctx, t)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Stats().Batches != before {
			fruitless = 0
		}
		var pause *pauseError
		switch {
		case errors.As(err, &pause):
			// The server is there and will be willing: wait as long as it takes.
			r.setPaused(pause.code)
			fruitless = min(fruitless+1, maxFruitless)
		case errors.Is(err, ErrUnreachable), errors.Is(err, errReread):
			if fruitless++; fruitless >= maxFruitless {
				return gaveUp(err)
			}
		default:
			return err
		}
		if err := sleep(ctx, waitAfter(fruitless)); err != nil {
			return err
		}
	}
}

// gaveUp keeps errReread inside the package.
func gaveUp(err error) error {
	if errors.Is(err, errReread) {
		return fmt.Errorf("%w: the fence moved %d times in a row without a batch of ours", ErrUnreachable, maxFruitless)
	}
	return err
}

// waitAfter doubles, jittered: the clients of one primary must not come back in
// step.
func waitAfter(fruitless int) time.Duration {
	wait := min(minWait<<max(fruitless-1, 0), maxWait)
	return wait/2 + rand.N(wait/2)
}

// session opens one and replays in it. It returns when the session is over, with
// the goroutines it started.
func (r *Replayer) session(ctx context.Context, t Target) error {
	s, err := r.open(ctx, t)
	if err != nil {
		return err
	}
	defer s.c.close()
	if err := r.resume(s); err != nil {
		return err
	}
	r.setPaused("")
	ctx, cancel := context.WithCancel(ctx)
	a := newAcker(r, s)
	go a.run(ctx)
	err = r.send(ctx, s, a)
	// The next session decides by what is trimmed, so nothing may trim meanwhile.
	cancel()
	<-a.done
	return err
}

// resume decides where to go on and makes it so.
func (r *Replayer) resume(s *session) error {
	src := r.opt.Source
	r.mu.Lock()
	p := position{
		found: s.fence.found, fence: s.fence.value,
		sent: r.sent, prog: r.prog, node: s.node,
	}
	r.mu.Unlock()
	p.bounds = src.Bounds()
	to, err := decide(p)
	if err != nil {
		return err
	}
	if err := r.settleDoubt(to); err != nil {
		return err
	}
	// A fence left behind the gap would report it again in each session.
	s.after, s.mend = to.after, to.gapTo > 0
	r.resumed(s, to, p)
	if to.gapTo > 0 && r.opt.Hooks.Gap != nil {
		r.opt.Hooks.Gap(Gap{From: p.fence + 1, To: to.gapTo})
	}
	if r.opt.Hooks.Ready != nil {
		r.opt.Hooks.Ready(Ready{
			Addr: s.addr, RunID: s.node.runID, After: to.after,
			Pending: src.Bounds().Last > to.after,
		})
	}
	return nil
}

// resumed notes what the fence has told.
func (r *Replayer) resumed(s *session, to resumption, p position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Sessions++
	if to.gapTo > 0 {
		r.stats.Gaps += to.gapTo - p.fence
	}
	if r.flightLast > 0 && p.found && p.fence == r.flightLast {
		r.stats.Batches++
		r.stats.Replayed += uint64(r.flightLen)
	}
	r.flightLast = 0
	r.stats.Acked = to.after
	r.prog = Progress{Acked: to.after, ReplID: s.node.replID}
}

// settleDoubt sets aside what can neither be sent again nor be left out safely.
func (r *Replayer) settleDoubt(to resumption) error {
	var entries []Entry
	for after := to.after; after < to.doubtTo; {
		var err error
		entries, err = r.opt.Source.Read(entries[:0], after, r.opt.BatchEntries, r.opt.BatchBytes)
		if err != nil {
			return sourceError("read", err)
		}
		if len(entries) == 0 {
			return nil
		}
		for _, e := range entries {
			if after = e.Seq; after > to.doubtTo {
				return nil
			}
			if e.Repeatable {
				continue
			}
			if err := r.deadLetter(DeadLetter{Seq: e.Seq, Reason: ReasonInDoubt}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Replayer) deadLetter(d DeadLetter) error {
	if err := r.opt.Source.DeadLetter(d); err != nil {
		return sourceError("keep a dead letter", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.DeadLettered++
	return nil
}

// setPaused notes and announces a passing state of the server; "" ends it.
func (r *Replayer) setPaused(code string) {
	r.mu.Lock()
	changed := r.stats.Paused != code
	r.stats.Paused = code
	r.mu.Unlock()
	if changed && code != "" && r.opt.Hooks.Paused != nil {
		r.opt.Hooks.Paused(code)
	}
}

func sourceError(what string, err error) error {
	return fmt.Errorf("replay: the journal cannot %s: %w", what, err)
}

// notify fills a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits, or returns ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
