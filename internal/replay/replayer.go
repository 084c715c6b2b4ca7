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
	Merged       uint64 // of these: they went as part of another one's command
	Diverged     uint64 // of these: they were answered otherwise than promised
	Bytes        uint64 // sent in batches that were answered
	DeadLettered uint64
	Conflicted   uint64 // of these: with ReasonConflicted
	Sessions     uint64 // how often a fence was read and replay began or went on
	// Gaps are entries that are missing from the primary although they were trimmed.
	// Where each lane has a fence, one is counted for each Gap: how many there are in
	// it is not known.
	Gaps        uint64
	Unconfirmed uint64 // entries trimmed without the confirmations asked for
	Acked       uint64 // everything up to this sequence is in the primary
	Paused      string // the error code that replay waits out at present, if it does
}

// Replayer replays one journal. Its methods are safe for concurrent use; one Run
// at a time.
type Replayer struct {
	opt     Options
	fence   string        // where there is one for all
	laned   Laned         // the Source, with Options.Fence; else nil
	partial bool          // the Source is of some lanes: others' entries are between its own
	wake    chan struct{} // of capacity 1
	running atomic.Bool

	// memory is what is known of each lane over sessions. It belongs to the goroutine
	// of Run.
	memory map[uint16]*laneMemory
	pacing *pacing
	// aheadFor is how old a batch that is queued may become, partedFor how old the chunks
	// of a window, and tellEvery how long what has landed may wait for being trimmed while
	// a batch is queued.
	aheadFor, partedFor, tellEvery time.Duration
	plain                          plain  // with Options.Plain
	buried                         uint64 // the latest dead letter; of the goroutine of Run
	// conflicts belongs to the same; nil without Options.Conflicts.
	conflicts *conflicts
	history   history // of the latest session's primary

	mu    sync.Mutex // guards what follows
	sent  uint64     // nothing beyond this was ever sent
	reach uint64     // nothing beyond this was sent since the fence was read last
	prog  Progress
	stats Stats
	// Of the batch whose outcome is unknown, if flightLast is not 0: its fence
	// and its number of entries.
	flightLast uint64
	flightLen  int
	flightLane uint16
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
	if laned := r.opt.laned(); laned != nil {
		// What others replay has moved the journal on, and a slot's fence with it.
		r.sent, r.partial = laned.Highest(), true
		if r.opt.Fence != nil {
			r.laned, r.memory = laned, make(map[uint16]*laneMemory)
		}
	}
	r.reach = r.sent
	r.stats.Acked = r.prog.Acked
	r.pacing, r.aheadFor, r.partedFor, r.tellEvery = newPacing(r), aheadFor, partedFor, tellEvery
	r.conflicts = newConflicts(r.opt.Conflicts)
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
	s.merge(!r.opt.NoCoalescing && !r.opt.Plain && r.conflicts == nil)
	send := r.send
	if r.opt.Plain {
		send = r.sendPlain
		if err := r.resumePlain(ctx, s); err != nil {
			return err
		}
	} else if r.laned != nil {
		send = r.sendLanes
		r.resumeLanes(s)
	} else if err := r.resume(s); err != nil {
		return err
	}
	r.setPaused("")
	ctx, cancel := context.WithCancel(ctx)
	a := newAcker(r, s)
	go a.run(ctx)
	held, unheld := r.attach(ctx, s)
	s.pacing = r.pacing
	r.pacing.begin(held)
	err = send(ctx, s, a)
	// The next session decides by what is trimmed, so nothing may trim meanwhile.
	cancel()
	<-a.done
	unheld()
	r.pacing.end()
	return err
}

// resume decides where to go on and makes it so.
func (r *Replayer) resume(s *session) error {
	src := r.opt.Source
	r.mu.Lock()
	p := position{
		found: s.fence.found, fence: s.fence.value,
		sent: r.sent, reach: r.reach, prog: r.prog, node: s.node,
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
	r.tellResumed(s, to, p)
	return nil
}

// tellResumed calls the hooks of a session's beginning.
func (r *Replayer) tellResumed(s *session, to resumption, p position) {
	if to.gapTo > 0 && r.opt.Hooks.Gap != nil {
		r.opt.Hooks.Gap(Gap{From: p.fence + 1, To: to.gapTo})
	}
	if r.opt.Hooks.Ready != nil {
		r.opt.Hooks.Ready(Ready{
			Addr: s.addr, RunID: s.node.runID, After: to.after,
			Pending: r.opt.Source.Bounds().Last > to.after,
		})
	}
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
	// Of what was sent before, the fence has told; where it is missing, all was weighed.
	r.reach = max(to.after, to.doubtTo)
	r.stats.Acked = to.after
	r.prog = Progress{Acked: to.after, ReplID: s.node.replID}
}

// doubt tells the source which entries may have been applied.
func (r *Replayer) doubt(lane uint16, upTo uint64) {
	if d, ok := r.opt.Source.(Doubter); ok {
		d.Doubt(lane, upTo)
	}
}

// settleDoubt sets aside what can neither be sent again nor be left out safely.
func (r *Replayer) settleDoubt(to resumption) error {
	var entries []Entry
	r.doubt(AllLanes, to.doubtTo)
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

// deadLetter keeps a write aside. One of several commands may come once for each, and
// is one letter.
func (r *Replayer) deadLetter(d DeadLetter) error {
	if d.Seq == r.buried {
		return nil
	}
	if err := r.opt.Source.DeadLetter(d); err != nil {
		return sourceError("keep a dead letter", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buried = d.Seq
	r.stats.DeadLettered++
	if d.Reason == ReasonConflicted {
		r.stats.Conflicted++
	}
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
