package resilient

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// adoptEvery is the time between two looks for the journals of dead processes.
const adoptEvery = time.Minute

// How long a journal that holds nothing to replay is left alone, at least, before its
// directory goes: a process may just be about to take it.
const idleFor = 10 * time.Minute

// adopter takes over the journals that dead processes of the same target left below
// the directory, and replays them under their own client ids, one after the other. It
// does so only while a verified primary is there and the client's own journal is
// empty; the records never enter the overlay.
//
// It is one goroutine, which ends with the client.
type adopter struct {
	ctx     context.Context
	life    *lifecycle
	options journal.Options
	replay  replay.Options // without ClientID, Source and Hooks
	wake    chan struct{}  // of capacity 1: look now
	done    chan struct{}

	rest  map[string]rest // by name; of the goroutine alone
	looks atomic.Uint64   // that it has made; tests wait for some

	mu     sync.Mutex // guards what follows
	count  uint64     // journals replayed to their end
	sums   replay.Stats
	active *adoption // the one that is being replayed
	ended  uint64    // expired writes of those before it
}

// rest says when a journal is to be looked at again.
type rest struct {
	until time.Time // not before
	// heir is the data set of the primary for which it was parked: only another one,
	// or a confirmation, changes that. Empty: it is not parked.
	heir string
	// idle: it had no records. A process can have taken it since, and have died.
	idle bool
}

// adoption is the replay of one adopted journal.
type adoption struct {
	journal  *journal.Journal
	source   *journalSource
	replayer *replay.Replayer
}

func newAdopter(l *lifecycle, jo journal.Options, ro replay.Options) *adopter {
	jo.Admit, jo.Committed = nil, nil
	return &adopter{
		ctx: l.ctx, life: l, options: jo, replay: ro,
		wake: make(chan struct{}, 1), done: make(chan struct{}), rest: make(map[string]rest),
	}
}

// look asks for a look at once.
func (a *adopter) look() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// close waits for the goroutine; its context must have ended.
func (a *adopter) close() { <-a.done }

func (a *adopter) run() {
	defer close(a.done)
	every := a.life.options.adoptEvery
	for a.settled(a.ctx) {
		a.scan()
		a.looks.Add(1)
		// Jittered, so that the processes of a host don't look in step.
		timer := time.NewTimer(every - every/10 + rand.N(every/5+1))
		select {
		case <-timer.C:
		case <-a.wake:
		case <-a.ctx.Done():
		}
		timer.Stop()
	}
}

// settled waits until a verified primary is there and nothing of the client's own
// waits; false when the client ends.
func (a *adopter) settled(ctx context.Context) bool {
	_, err := a.life.monitor.Wait(ctx, isSettled)
	return err == nil && ctx.Err() == nil // a view may suit to the end
}

func isSettled(v *topology.View) bool { return v.State == topology.StateHealthy && v.Live }

// scan looks at all journals beside the client's own.
func (a *adopter) scan() {
	names, err := journal.Siblings(a.options.Dir)
	if err != nil {
		a.life.log.Warn("the journal directory can't be read", slog.Any("error", err))
		return
	}
	there := make(map[string]bool, len(names))
	own := a.life.journal.ID().String()
	for _, name := range names {
		there[name] = true
		if name == own || a.rests(name) {
			continue
		}
		if a.ctx.Err() != nil || !isSettled(a.life.monitor.View()) {
			return
		}
		a.visit(name)
	}
	for name := range a.rest {
		if !there[name] { // discarded, or removed by another process
			delete(a.rest, name)
			a.life.parking.remove(name)
		}
	}
}

// rests reports whether nothing can have changed about a journal.
func (a *adopter) rests(name string) bool {
	r, known := a.rest[name]
	if !known {
		return false
	}
	if r.heir != "" {
		return journal.HasSegments(a.options.Dir, name) && // else another process has replayed it
			r.heir == a.life.monitor.View().Primary.ReplID && !journal.IsConfirmed(a.options.Dir, name)
	}
	if r.idle && journal.HasSegments(a.options.Dir, name) {
		return false
	}
	return time.Now().Before(r.until)
}

// visit takes a journal over, if nobody has it, and does what is to be done with it.
func (a *adopter) visit(name string) {
	if journal.HasSegments(a.options.Dir, name) {
		// An outage that nobody has noticed yet is one all the same: its dead process
		// may be about to start again, and to show its writes.
		if err := a.life.monitor.WaitRound(a.ctx); err != nil || !isSettled(a.life.monitor.View()) {
			return
		}
	}
	j, found, err := journal.Adopt(a.options, name)
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrInUse):
		return
	case errors.Is(err, fs.ErrNotExist):
		a.life.parking.remove(name)
		return
	default:
		if !errors.Is(err, journal.ErrOtherTarget) {
			a.life.problems.add("journal " + name + " was left as it is: " + err.Error())
		}
		a.rest[name] = rest{until: time.Now().Add(time.Hour)}
		return
	}
	if found.Entries == 0 {
		a.leave(j, name)
		return
	}
	a.life.problems.damage(name, found)
	reason, err := a.judge(j, found)
	switch {
	case err != nil:
		a.life.log.Warn("it can't be told whether a journal belongs to the primary; it is tried again",
			slog.String("journal", name), slog.Any("error", err))
	case reason != 0:
		a.park(parkedFrom(j, found, reason))
	default:
		a.adopt(j, found)
		return // closed by then
	}
	a.closeJournal(j)
}

func (a *adopter) park(p ParkedJournal) {
	view := a.life.monitor.View()
	a.rest[p.ID] = rest{heir: view.Primary.ReplID}
	a.life.parking.add(p)
}

// leave gives back a journal that holds nothing to replay, and removes its directory
// when nothing else is kept there either.
func (a *adopter) leave(j *journal.Journal, name string) {
	a.life.parking.remove(name)
	empty := j.Empty()
	a.closeJournal(j)
	a.rest[name] = rest{until: time.Now().Add(idleFor), idle: true}
	if !empty {
		return
	}
	if _, err := journal.RemoveIdle(a.options.Dir, name, time.Now().Add(-idleFor)); err != nil {
		a.life.log.Warn("the directory of a finished journal could not be removed",
			slog.String("journal", name), slog.Any("error", err))
	}
}

// judge says why a journal is not to be replayed to the present primary; 0: it is.
func (a *adopter) judge(j *journal.Journal, found *journal.Recovery) (ParkReason, error) {
	if j.Confirmed() {
		return 0, nil
	}
	if a.life.options.tooOld(found) {
		return ParkedOld, nil
	}
	h, ok := heirOf(a.life.monitor.View())
	if !ok {
		return 0, errors.New("resilient: the primary did not answer the last probe")
	}
	fits, err := h.descends(j.Lineage(), fenceAt(a.ctx, a.life.seeds.get(h.node.Addr), j.ID().String()))
	if err != nil || fits {
		return 0, err
	}
	return ParkedForeign, nil
}

// adopt replays a journal to its end, and closes it.
func (a *adopter) adopt(j *journal.Journal, found *journal.Recovery) {
	id := j.ID().String()
	begun := time.Now()
	a.life.events.journalAdopted(JournalAdoptedInfo{
		ID: id, Entries: int(found.Entries), Oldest: found.Oldest, Newest: found.Newest,
	})
	source := newJournalSource(a.ctx, j, nil, a.life.router.now, a.life.log)
	ended := make(chan struct{}, 1)
	o := a.replay
	o.ClientID, o.Source = id, source
	o.Hooks = replay.Hooks{
		Ready: func(r replay.Ready) { source.setPrimary(r.RunID) },
		Gap:   a.life.drain.gap, Paused: a.life.drain.paused,
		Drained: func(uint64) {
			select {
			case ended <- struct{}{}:
			default:
			}
		},
	}
	r, err := replay.New(o)
	if err == nil {
		run := &adoption{journal: j, source: source, replayer: r}
		a.begin(run)
		err = a.drain(run, ended)
		a.end(run, err == nil)
	}
	switch {
	case a.ctx.Err() != nil:
	case err == nil:
		if err := j.Unconfirm(a.ctx); err != nil {
			a.life.log.Warn("the confirmation of a replayed journal could not be removed", slog.Any("error", err))
		}
		a.life.parking.remove(id)
		delete(a.rest, id)
		stats := r.Stats()
		a.life.events.journalDrained(JournalDrainedInfo{
			ID: id, Replayed: stats.Replayed, DeadLettered: stats.DeadLettered, Took: time.Since(begun),
		})
	default:
		a.life.log.Warn("an adopted journal could not be replayed", slog.String("journal", id), slog.Any("error", err))
		p := parkedFrom(j, found, ParkedRefused)
		p.Entries = int(j.Stats().Entries)
		a.park(p)
	}
	if err := source.close(); err != nil {
		a.life.log.Warn("an adopted journal's reader could not be closed", slog.Any("error", err))
	}
	a.closeJournal(j)
}

// drain replays until nothing is left: over outages, during which it waits with the
// journal in its hands. The error is that it can't go on by itself, or the end.
func (a *adopter) drain(run *adoption, ended <-chan struct{}) error {
	for wait := time.Second; a.settled(a.ctx); wait = min(2*wait, time.Minute) {
		primary := a.life.monitor.View().Primary
		err := a.drainTo(run, primary, ended)
		switch {
		case err == nil:
			return nil
		case a.ctx.Err() != nil:
		case errors.Is(err, replay.ErrFenceAhead), errors.Is(err, replay.ErrRefused):
			return err
		default:
			a.life.log.Info("the replay of an adopted journal was interrupted; it goes on with the next primary",
				slog.String("journal", run.journal.ID().String()), slog.Any("error", err))
			pause(a.ctx, wait)
			_ = a.life.monitor.WaitRound(a.ctx) // what comes of it is in the view
		}
	}
	return ErrClosed
}

// drainTo is one replay to one primary, while that is in use. nil: all is there.
func (a *adopter) drainTo(run *adoption, primary topology.NodeID, ended <-chan struct{}) error {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	var stopped error // why the replay ended, once done is closed
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		stopped = run.replayer.Run(ctx, replay.Target{Addr: primary.Addr, RunID: primary.RunID})
	}()
	go func() {
		defer close(watched)
		_, _ = a.life.monitor.Wait(ctx, func(v *topology.View) bool { return !v.Live || v.Primary.RunID != primary.RunID })
		cancel()
	}()
	defer func() { cancel(); <-watched }()
	select {
	case <-done:
		return stopped
	case <-ended: // nobody adds to this journal
		cancel()
		<-done
		return nil
	}
}

func (a *adopter) closeJournal(j *journal.Journal) {
	if err := j.Close(); err != nil {
		a.life.log.Warn("an adopted journal was not closed in order", slog.Any("error", err))
	}
}

func (a *adopter) begin(run *adoption) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active = run
}

func (a *adopter) end(run *adoption, drained bool) {
	stats := run.replayer.Stats()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active = nil
	a.ended += run.source.expired.Load()
	a.sums.Replayed += stats.Replayed
	a.sums.DeadLettered += stats.DeadLettered
	a.sums.Unconfirmed += stats.Unconfirmed
	if drained {
		a.count++
	}
}

// stats adds the figures of the adopted journals to those of the client.
func (a *adopter) stats(s *Stats) {
	a.mu.Lock()
	count, sums, expired, active := a.count, a.sums, a.ended, a.active
	a.mu.Unlock()
	if active != nil {
		now := active.replayer.Stats()
		sums.Replayed += now.Replayed
		sums.DeadLettered += now.DeadLettered
		sums.Unconfirmed += now.Unconfirmed
		expired += active.source.expired.Load()
		s.AdoptedEntries = int(active.journal.Stats().Entries)
	}
	s.Adopted = count
	s.Replayed += sums.Replayed
	s.DeadLettered += sums.DeadLettered
	s.Unconfirmed += sums.Unconfirmed
	s.Expired += expired
}
