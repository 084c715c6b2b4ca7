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
	ctx    context.Context // ends with the client
	source *journalSource
	// admit says why the journal may not be replayed to the primary now, if so; what
	// has to come before it is there when it returns nil.
	admit    func(context.Context, topology.NodeID) error
	refused  func(error) // told that the primary refuses the replay
	settled  func()      // told that the journal has been replayed
	replayer *replay.Replayer
	monitor  *topology.Monitor
	events   *events
	log      *slog.Logger
	batch    uint64

	moved   atomic.Uint64 // how far the replay was when somebody looked
	movedAt atomic.Int64  // when it was seen to have moved, in Unix nanoseconds

	mu     sync.Mutex  // guards what follows
	newest *drainRun   // the one ordered last
	active *drainRun   // the one whose events come now; it may have been stopped
	retry  *time.Timer // of a parked replay
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

	told    bool // of its beginning; guarded by drain.mu
	drained bool // guarded by drain.mu
}

// When nothing has moved for this long (a replica that does not confirm, a
// server out of memory), writers don't wait for it.
const stallAfter = 250 * time.Millisecond

// near implements cutover.
func (d *drain) near(seq uint64) bool { return seq <= d.replayer.Stats().Acked+2*d.batch }

// stalled implements cutover: the replay, or its confirmation by replicas, has
// not moved for a while.
func (d *drain) stalled() bool {
	moved := d.replayer.Stats().Acked + d.source.Bounds().Trimmed
	now := time.Now().UnixNano()
	if d.moved.Swap(moved) != moved {
		d.movedAt.Store(now)
		return false
	}
	return now-d.movedAt.Load() > int64(stallAfter)
}

// order is the monitor's OnReplay.
func (d *drain) order(o topology.ReplayOrder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.newest
	if before != nil && (o.Start || o.Attempt == before.attempt) {
		before.cancel()
	}
	if !o.Start || d.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.newest = &drainRun{attempt: o.Attempt, primary: o.Primary, cancel: cancel, done: make(chan struct{})}
	go d.replay(ctx, d.newest, before)
}

// replay runs one replay to its end, once the one before has ended.
func (d *drain) replay(ctx context.Context, run, before *drainRun) {
	defer close(run.done)
	defer run.cancel()
	if before != nil {
		<-before.done
	}
	run.begun, run.before = time.Now(), d.replayer.Stats()
	d.mu.Lock()
	d.active = run
	d.mu.Unlock()
	err := d.admit(ctx, run.primary)
	if err == nil {
		err = d.replayer.Run(ctx, replay.Target{Addr: run.primary.Addr, RunID: run.primary.RunID})
	}
	d.mu.Lock()
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
	case ctx.Err() == nil:
		d.log.Warn("the replay stopped", slog.String("primary", run.primary.Addr), slog.Any("error", err))
		if isRefusal(err) {
			d.refused(err)
		}
		d.stopped(run.attempt, stopReason(err))
	}
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
	d.movedAt.Store(time.Now().UnixNano())
	d.source.Met(info.RunID)
	d.mu.Lock()
	run := d.active
	tell := info.Pending && !run.told
	run.told = run.told || tell
	d.mu.Unlock()
	d.monitor.ReplayReady(run.attempt, info.RunID)
	if tell {
		stats := d.source.journal.Stats()
		d.events.replayBegin(ReplayBeginInfo{
			Primary: run.primary.Addr, Entries: int(stats.Entries), Bytes: stats.Bytes,
		})
	}
}

// drained is the replayer's hook: everything durable is in the primary and
// trimmed. Unless more has come since, the replay is over.
func (d *drain) drainedUpTo(upTo uint64) {
	if d.source.Bounds().Last > upTo {
		d.replayer.Wake()
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
	stats := d.replayer.Stats()
	d.events.replayEnd(ReplayEndInfo{
		Primary:      run.primary.Addr,
		Replayed:     stats.Replayed - run.before.Replayed,
		DeadLettered: stats.DeadLettered - run.before.DeadLettered,
		Remaining:    int(d.source.journal.Stats().Entries),
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
