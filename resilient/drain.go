package resilient

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// drain carries out the topology's replay orders, and tells the router how far
// the replay is. At most one replay runs.
type drain struct {
	ctx context.Context // ends with the client
	// admit says why the journal may not be replayed to the primary now, if so; what
	// has to come before it is there when it returns nil.
	admit   func(context.Context, topology.NodeID) error
	refused func(error) // told that the primary refuses the replay
	settled func()      // told that the journal has been replayed
	monitor *topology.Monitor
	events  *events
	log     *slog.Logger

	// fresh gives the feed of the next replay, where what belongs to a shard may have
	// changed: over a Cluster. nil: there is one for all.
	fresh func() (*feed, error)
	feed  atomic.Pointer[feed] // of the latest replay; never nil

	motion motion
	crowd  crowd

	mu      sync.Mutex   // guards what follows
	past    replay.Stats // of the feeds before the present one
	expired uint64       // likewise
	newest  *drainRun    // the one ordered last
	active  *drainRun    // the one whose events come now; it may have been stopped
	retry   *time.Timer  // of a parked replay
}

// feed is what a replay reads and who sends it.
type feed struct {
	owned    *laneSet // of one shard of several
	source   *journalSource
	replayer *replay.Replayer
}

// parkedRetry is how long a replay rests that can't go on by itself: rights that
// are missing may have been granted meanwhile.
const parkedRetry = 5 * time.Second

// drainRun is one replay.
type drainRun struct {
	attempt uint64
	primary topology.NodeID
	cancel  context.CancelFunc
	done    chan struct{} // closed when it has ended
	begun   time.Time
	before  replay.Stats
	*feed   // set when it begins

	over    bool // it has ended, or is about to; guarded by drain.mu
	told    bool // of its beginning; guarded by drain.mu
	drained bool // guarded by drain.mu
}

// near implements cutover.
func (d *drain) near(seq uint64) bool {
	f := d.feed.Load()
	n := d.within(f)
	return seq <= f.replayer.Stats().Acked+n || d.fresh != nil && f.source.Few(int(n))
}

// wake tells the replay that more is durable.
func (d *drain) wake() { d.feed.Load().replayer.Wake() }

// stalled implements cutover: the replay, or its confirmation by replicas, has
// not moved for a while.
func (d *drain) stalled() bool {
	f := d.feed.Load()
	stats := f.replayer.Stats()
	stalled := d.motion.stalled(time.Now(), stats.Acked+f.source.Trimmed(), stats.Batches)
	if stalled { // what comes meanwhile is not to be made up for
		d.crowd.reset()
	}
	return stalled
}

// order is the monitor's OnReplay.
func (d *drain) order(o topology.ReplayOrder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.newest
	if before != nil && (o.Start || o.Attempt == before.attempt) {
		before.cancel()
	}
	if o.Start && d.ctx.Err() == nil {
		d.launch(o.Attempt, o.Primary)
	}
}

// launch starts a run behind the one before. d.mu is held.
func (d *drain) launch(attempt uint64, primary topology.NodeID) {
	before := d.newest
	ctx, cancel := context.WithCancel(d.ctx)
	d.newest = &drainRun{attempt: attempt, primary: primary, cancel: cancel, done: make(chan struct{})}
	go d.replay(ctx, d.newest, before)
}

// replay runs one replay to its end, once the one before has ended.
func (d *drain) replay(ctx context.Context, run, before *drainRun) {
	defer close(run.done)
	defer run.cancel()
	if before != nil {
		<-before.done
	}
	err := d.begin(run)
	if err == nil {
		err = d.admit(ctx, run.primary)
	}
	if err == nil {
		err = run.replayer.Run(ctx, replay.Target{Addr: run.primary.Addr, RunID: run.primary.RunID})
	}
	d.mu.Lock()
	run.over = true
	drained, told := run.drained, run.told
	d.mu.Unlock()
	if drained {
		err = nil
	}
	if told {
		d.tellEnd(run, err)
	}
	switch {
	case drained:
		d.settled()
		d.monitor.Drained(run.attempt)
	case ctx.Err() == nil && errors.Is(err, replay.ErrMoved):
		d.follow(ctx, run)
	case ctx.Err() == nil:
		d.log.Warn("the replay stopped", slog.String("primary", run.primary.Addr), slog.Any("error", err))
		if isRefusal(err) {
			d.refused(err)
		}
		d.stopped(run.attempt, stopReason(err))
	}
}

// begin readies a run.
func (d *drain) begin(run *drainRun) error {
	f := d.feed.Load()
	if d.fresh != nil {
		next, err := d.fresh()
		if err != nil {
			return err
		}
		if next != f {
			d.turn(f, next)
			f = next
		}
	}
	run.feed, run.begun, run.before = f, time.Now(), f.replayer.Stats()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active = run
	return nil
}

// turn goes on to the next feed, and adds the figures of the one that is done with to
// those of the ones before.
func (d *drain) turn(f, next *feed) {
	stats, counts := f.replayer.Stats(), f.source.Counts()
	if err := f.source.Close(); err != nil {
		d.log.Warn("a replay's reader could not be closed", slog.Any("error", err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.past.Replayed += stats.Replayed
	d.past.Unconfirmed += stats.Unconfirmed
	d.past.Conflicted += stats.Conflicted
	d.past.Merged += stats.Merged
	d.past.Diverged += stats.Diverged
	d.expired += counts.Expired
	d.feed.Store(next)
}

// stats adds the figures of all replays.
func (d *drain) stats(s *Stats) {
	d.mu.Lock()
	f, past, expired := d.feed.Load(), d.past, d.expired
	d.mu.Unlock()
	now := f.replayer.Stats()
	s.ReplayPace += f.replayer.Pace()
	s.Replayed += past.Replayed + now.Replayed
	s.Unconfirmed += past.Unconfirmed + now.Unconfirmed
	s.Conflicted += past.Conflicted + now.Conflicted
	s.Merged += past.Merged + now.Merged
	s.Diverged += past.Diverged + now.Diverged
	s.Expired += expired + f.source.Counts().Expired
}

// follow begins a run again that has met a slot which has gone elsewhere, as soon as
// the servers have been asked where it is.
func (d *drain) follow(ctx context.Context, run *drainRun) {
	if d.monitor.WaitRound(ctx) != nil || !pause(ctx, movedRetry) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest == run && d.ctx.Err() == nil && ctx.Err() == nil {
		d.launch(run.attempt, run.primary)
	}
}

// movedRetry is the least time between two runs that meet a slot on the move.
const movedRetry = 100 * time.Millisecond

// renew begins the replay that is under way anew, if there is one: what it has to
// replay is not what it was.
func (d *drain) renew() {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.newest
	if before == nil || before.over || d.ctx.Err() != nil {
		return
	}
	before.cancel()
	d.launch(before.attempt, before.primary)
}

func (d *drain) stopped(attempt uint64, reason topology.StopReason) {
	d.monitor.ReplayStopped(attempt, reason)
	if reason != topology.StopParked {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() == nil {
		d.retry = time.AfterFunc(parkedRetry, d.monitor.RetryReplay)
	}
}

func stopReason(err error) topology.StopReason {
	switch {
	case errors.Is(err, replay.ErrNotPrimary):
		return topology.StopNotPrimary
	case isRefusal(err), errors.Is(err, errParked):
		return topology.StopParked
	}
	return topology.StopBroken
}

// isRefusal reports whether a replay ended with what trying again does not change.
func isRefusal(err error) bool {
	return errors.Is(err, replay.ErrFenceAhead) || errors.Is(err, replay.ErrRefused)
}

// ready is the replayer's hook: the fence of the primary has been read.
func (d *drain) ready(info replay.Ready) {
	d.motion.begin(time.Now())
	d.mu.Lock()
	run := d.active
	tell := info.Pending && !run.told
	run.told = run.told || tell
	d.mu.Unlock()
	run.source.Met(info.RunID)
	d.monitor.ReplayReady(run.attempt, info.RunID)
	if tell {
		stats := run.source.journal.Stats()
		d.events.replayBegin(ReplayBeginInfo{
			Primary: run.primary.Addr, Entries: int(stats.Entries), Bytes: stats.Bytes,
		})
	}
}

// drained is the replayer's hook: everything durable is in the primary and
// trimmed. Unless more has come since, the replay is over.
func (d *drain) drainedUpTo(upTo uint64) {
	if f := d.feed.Load(); f.source.Bounds().Last > upTo {
		f.replayer.Wake()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active.drained = true
	d.active.cancel()
}

// gap is the replayer's hook: entries that had been confirmed are gone.
func (d *drain) gap(g replay.Gap) {
	d.log.Error("a failover lost writes that had been replayed and confirmed",
		slog.Uint64("from", g.From), slog.Uint64("to", g.To))
}

// paused is the replayer's hook: the server is willing but not able.
func (d *drain) paused(code string) {
	d.log.Warn("the replay waits for the server", slog.String("code", code))
}

func (d *drain) tellEnd(run *drainRun, err error) {
	stats := run.replayer.Stats()
	run.source.report(d.log)
	d.events.replayEnd(ReplayEndInfo{
		Primary:      run.primary.Addr,
		Replayed:     stats.Replayed - run.before.Replayed,
		DeadLettered: stats.DeadLettered - run.before.DeadLettered,
		Diverged:     stats.Diverged - run.before.Diverged,
		Remaining:    int(run.source.journal.Stats().Entries),
		Took:         time.Since(run.begun),
		Err:          err,
	})
}

// close ends the running replay and waits for it.
func (d *drain) close() {
	d.mu.Lock()
	run := d.newest
	if d.retry != nil {
		d.retry.Stop()
	}
	d.mu.Unlock()
	if run != nil {
		run.cancel()
		<-run.done
	}
}
