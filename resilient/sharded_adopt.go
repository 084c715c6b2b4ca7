package resilient

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// heirs are the journals of dead processes that a client of several shards has taken
// over. Each is replayed to one shard after the other, under its own client id, as the
// shards can take it, and is kept until the last one has; its records never enter the
// overlay. What is older than the client's own writes goes ahead of them.
//
// One goroutine looks for such journals, until the client's context ends; the replays
// of the shards work on them, too.
type heirs struct {
	c    *sharded
	done chan struct{}
	wake chan struct{} // of capacity 1: look now

	// strangers are journals of other shards, by name. They belong to who looks.
	strangers map[string]bool

	mu      sync.Mutex // guards what follows, and inherited.users
	claimed []*inherited
	sums    Stats  // of what they replayed
	count   uint64 // journals that are done with
}

// inherited is a journal of a dead process.
type inherited struct {
	journal *journal.Journal
	found   *journal.Recovery
	lanes   *backlog.Lanes
	begun   time.Time
	users   int // replays that use it now
}

func newHeirs(c *sharded) *heirs {
	return &heirs{c: c, done: make(chan struct{}), wake: make(chan struct{}, 1), strangers: make(map[string]bool)}
}

// run looks for journals, and replays what waits while nothing of the client's own does.
func (h *heirs) run() {
	defer close(h.done)
	every := h.c.options.adoptEvery
	for h.c.ctx.Err() == nil {
		h.look()
		for _, s := range h.c.layout.watched() {
			if s.monitor.View().State == topology.StateHealthy && s.monitor.View().Live {
				_ = h.replay(h.c.ctx, s, s.monitor.View().Primary, anyOf) // told there; it is tried again
			}
		}
		wait := every - every/10 + rand.N(every/5+1) // jittered: processes of a host don't look in step
		if h.waits() {
			wait = min(wait, waitsFor)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-h.wake:
		case <-h.c.ctx.Done():
		}
		timer.Stop()
	}
}

// waitsFor is the time between two looks at the shards while journals wait for them.
const waitsFor = time.Second

// waits reports whether there are journals to be replayed.
func (h *heirs) waits() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.claimed) > 0
}

func (h *heirs) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// look takes over what nobody has.
func (h *heirs) look() {
	names, err := journal.Siblings(h.c.options.Dir)
	if err != nil {
		h.c.log.Warn("the journal directory can't be read", slog.Any("error", err))
	}
	if err == nil {
		h.forget(names)
	}
	for _, name := range names {
		if name != h.c.core.client && journal.HasSegments(h.c.options.Dir, name) {
			h.claim(name)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortStableFunc(h.claimed, func(x, y *inherited) int { return x.found.Newest.Compare(y.found.Newest) })
}

// anyOf chooses every journal.
func anyOf(*inherited) bool { return true }

// claim takes a journal over, if it is free and may be replayed.
func (h *heirs) claim(name string) {
	o := h.c.keep
	o.Admit, o.Committed = nil, nil
	j, found, err := journal.Adopt(o, name)
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrOtherTarget):
		h.strange(name)
		return
	case errors.Is(err, journal.ErrInUse), errors.Is(err, fs.ErrNotExist):
		return
	default:
		h.c.problems.add("journal " + name + " was left as it is: " + err.Error())
		return
	}
	h.c.problems.damage(name, found)
	h.c.problems.unread(name, found)
	switch {
	case found.Entries == 0:
	case h.c.admit(j, found) != nil: // it is parked
	default:
		in := &inherited{journal: j, found: found, begun: time.Now()}
		if err = h.note(in); err == nil {
			h.c.events.journalAdopted(JournalAdoptedInfo{
				ID: name, Entries: int(found.Entries), Oldest: found.Oldest, Newest: found.Newest,
			})
			h.mu.Lock()
			h.claimed = append(h.claimed, in)
			h.mu.Unlock()
			return
		}
		h.c.log.Warn("an adopted journal can't be read", slog.String("journal", name), slog.Any("error", err))
	}
	h.close(j)
}

// note reads which lanes have entries.
func (h *heirs) note(in *inherited) error {
	in.lanes = backlog.NewLanes(in.journal, h.c.layout.laneOfRecord)
	reader := in.journal.NewReader(1)
	defer func() { _ = reader.Close() }() // it was only read from
	for {
		records, err := reader.Next(h.c.ctx, 1024, 1<<20)
		if err != nil {
			return errors.Join(err, in.lanes.Close())
		}
		if len(records) == 0 {
			return nil
		}
		for _, rec := range records {
			if !in.journal.IsDead(rec.Seq) {
				in.lanes.Note(rec.Seq, h.c.layout.laneOfRecord(rec))
			}
		}
	}
}

// ahead replays to a shard what is older than the client's own writes, which are about
// to be replayed: after them it would undo them. The error ends the own replay, which is
// then begun anew.
func (h *heirs) ahead(ctx context.Context, s *shard, primary topology.NodeID) error {
	oldest := h.c.journal.Stats().Oldest
	if oldest.IsZero() {
		return nil
	}
	return h.replay(ctx, s, primary, func(in *inherited) bool { return !in.found.Newest.After(oldest) })
}

// replay replays to a shard those of the journals that are chosen.
func (h *heirs) replay(ctx context.Context, s *shard, primary topology.NodeID, chosen func(*inherited) bool) error {
	mine := h.c.owned(s).has
	picked := h.pick(func(in *inherited) bool { return chosen(in) && in.lanes.Pending(mine) })
	if len(picked) == 0 {
		return nil
	}
	defer h.putBack(picked)
	select {
	case s.adopting <- struct{}{}: // one replay of them to a shard at a time
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.adopting }()
	for _, in := range picked {
		if !in.lanes.Pending(mine) {
			continue
		}
		if err := h.replayOne(ctx, in, s, primary, mine); err != nil {
			if ctx.Err() == nil {
				h.c.log.Info("the replay of an adopted journal was interrupted", slog.Any("error", err))
			}
			return err
		}
	}
	return nil
}

// pick takes journals into use, so that they stay open.
func (h *heirs) pick(wanted func(*inherited) bool) (picked []*inherited) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, in := range h.claimed {
		if wanted(in) {
			in.users++
			picked = append(picked, in)
		}
	}
	return picked
}

// putBack ends the use of journals, and gives up those that are done with.
func (h *heirs) putBack(picked []*inherited) {
	h.mu.Lock()
	var over []*inherited
	for _, in := range picked {
		if in.users--; in.users == 0 && !in.lanes.Pending(anyLane) {
			over = append(over, in)
			h.count++
		}
	}
	h.claimed = slices.DeleteFunc(h.claimed, func(in *inherited) bool { return slices.Contains(over, in) })
	h.mu.Unlock()
	for _, in := range over {
		h.finish(in)
	}
}

// anyLane are all lanes.
func anyLane(uint16) bool { return true }

// replayOne replays the part of a journal that is a shard's.
func (h *heirs) replayOne(
	ctx context.Context, in *inherited, s *shard, primary topology.NodeID, mine func(uint16) bool,
) error {
	source := newSource(h.c.ctx, sourceOptions{
		journal: in.journal, fates: newFates(), now: s.now, log: h.c.log, lanes: in.lanes, mine: mine,
		conflicts: h.c.options.watchesConflicts(),
	})
	defer func() { _ = source.Close() }() // it was only read from
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := false
	o := h.c.replayOptions(h.c.base, func() []string { return h.c.replicas.promotable(s.monitor.View()) })
	o.ClientID, o.Source, o.Fence = in.journal.ID().String(), source, h.c.layout.fenceOf(in.journal.ID().String())
	o.Hooks = replay.Hooks{
		Ready: func(r replay.Ready) { source.Met(r.RunID) },
		Gap:   s.drain.gap, Paused: s.drain.paused,
		Drained: func(uint64) { ended = true; cancel() },
	}
	h.c.guard(&o, source)
	source.watch(&o)
	r, err := replay.New(o)
	if err != nil {
		return err
	}
	watched := make(chan struct{})
	go func() { // a primary that is lost ends the replay
		defer close(watched)
		_, _ = s.monitor.Wait(run, func(v *topology.View) bool { return !v.Live && v.State != topology.StateReturning })
		cancel()
	}()
	err = r.Run(run, replay.Target{Addr: primary.Addr, RunID: primary.RunID})
	cancel()
	<-watched
	source.report(h.c.log)
	stats, counts := r.Stats(), source.Counts()
	h.mu.Lock()
	h.sums.Replayed += stats.Replayed
	h.sums.Unconfirmed += stats.Unconfirmed
	h.sums.Conflicted += stats.Conflicted
	h.sums.Merged += stats.Merged
	h.sums.Diverged += stats.Diverged
	h.sums.DeadLettered += stats.DeadLettered + counts.SetAside
	h.sums.Expired += counts.Expired
	h.mu.Unlock()
	if ended {
		return nil
	}
	if isRefusal(err) {
		p := parkedFrom(in.journal, in.found, ParkedRefused)
		p.Entries = int(in.journal.Stats().Entries)
		h.c.parking.add(p, err)
		return nil // it waits for a decision, and holds up nothing
	}
	return err
}

// finish gives back a journal that no shard has to take anything of.
func (h *heirs) finish(in *inherited) {
	id := in.journal.ID().String()
	h.c.parking.remove(id)
	if err := in.lanes.Close(); err != nil {
		h.c.log.Warn("an adopted journal's reader could not be closed", slog.Any("error", err))
	}
	h.close(in.journal)
	h.c.events.journalDrained(JournalDrainedInfo{ID: id, Replayed: uint64(in.found.Entries), Took: time.Since(in.begun)})
}

// stats adds the figures of the journals to those of the client.
func (h *heirs) stats(s *Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Adopted += h.count
	s.Replayed += h.sums.Replayed
	s.DeadLettered += h.sums.DeadLettered
	s.Unconfirmed += h.sums.Unconfirmed
	s.Conflicted += h.sums.Conflicted
	s.Merged += h.sums.Merged
	s.Diverged += h.sums.Diverged
	s.Expired += h.sums.Expired
}

// end gives everything back; the client's context has ended, and so have the replays.
func (h *heirs) end() {
	<-h.done
	for _, in := range h.claimed {
		_ = in.lanes.Close() // it was only read from
		h.close(in.journal)
	}
}

func (h *heirs) close(j *journal.Journal) {
	if err := j.Close(); err != nil {
		h.c.log.Warn("an adopted journal was not closed in order", slog.Any("error", err))
	}
}
