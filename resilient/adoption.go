package resilient

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// adoption is the replay of one adopted journal.
type adoption struct {
	journal  *journal.Journal
	source   *journalSource
	replayer *replay.Replayer
}

// adoptAll replays claimed journals in their order, and closes all of them.
func (a *adopter) adoptAll(r *round, claims []claim) error {
	for i, c := range claims {
		err := errInterrupted
		if r.begins(a.life.monitor.View()) {
			err = a.adopt(r, c)
		}
		if err != nil {
			a.release(claims[i+1:])
			return err
		}
	}
	return nil
}

// adopt replays a journal, and closes it. The error is that the round can't go on.
func (a *adopter) adopt(r *round, c claim) error {
	j, id, begun := c.journal, c.journal.ID().String(), time.Now()
	defer a.closeJournal(j)
	a.life.events.journalAdopted(JournalAdoptedInfo{
		ID: id, Entries: int(c.found.Entries), Oldest: c.found.Oldest, Newest: c.found.Newest,
	})
	source := newJournalSource(a.ctx, j, nil, a.life.router.now, a.life.log, a.life.options.watchesConflicts())
	defer func() {
		if err := source.Close(); err != nil {
			a.life.log.Warn("an adopted journal's reader could not be closed", slog.Any("error", err))
		}
	}()
	replayed, err := a.replayTo(r, j, source)
	switch {
	case a.ctx.Err() != nil:
		return ErrClosed
	case err == nil:
		a.life.parking.remove(id)
		delete(a.rest, id)
		delete(a.tries, id)
		a.life.events.journalDrained(JournalDrainedInfo{
			ID: id, Replayed: replayed.Replayed, DeadLettered: replayed.DeadLettered, Diverged: replayed.Diverged, Took: time.Since(begun),
		})
		return nil
	case isRefusal(err):
		a.life.log.Warn("an adopted journal could not be replayed", slog.String("journal", id), slog.Any("error", err))
		p := parkedFrom(j, c.found, ParkedRefused)
		p.Entries = int(j.Stats().Entries)
		a.park(p, j.Confirmed(), err)
		return nil
	}
	a.life.log.Info("the replay of an adopted journal was interrupted", slog.String("journal", id), slog.Any("error", err))
	if r.ahead {
		return a.failed(r, id, err)
	}
	return errInterrupted
}

// replayTo replays a journal to its end. The error is why it is not there.
func (a *adopter) replayTo(r *round, j *journal.Journal, source *journalSource) (replay.Stats, error) {
	ended := make(chan struct{}, 1)
	o := a.replay
	o.ClientID, o.Source = j.ID().String(), source
	o.Hooks = replay.Hooks{
		Ready: func(ready replay.Ready) { source.Met(ready.RunID) },
		Gap:   a.life.drain.gap, Paused: a.life.drain.paused,
		Drained: func(uint64) {
			select {
			case ended <- struct{}{}:
			default:
			}
		},
	}
	a.life.guard(&o, source)
	source.watch(&o)
	p, err := replay.New(o)
	if err != nil {
		return replay.Stats{}, err
	}
	run := &adoption{journal: j, source: source, replayer: p}
	a.begin(run)
	err = a.drain(r, run, ended)
	a.end(run, err == nil)
	source.report(a.life.log)
	return p.Stats(), err
}

// drain replays until nothing is left. An outage ends it, and so does, with nothing
// to wait for, any failure ahead of the client's own replay: who comes next goes on
// by the fence.
func (a *adopter) drain(r *round, run *adoption, ended <-chan struct{}) error {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := a.drainTo(r, run, ended)
		switch {
		case err == nil:
			return nil
		case r.ahead, r.ctx.Err() != nil, isRefusal(err):
			return err
		}
		a.life.log.Info("the replay of an adopted journal was interrupted; it goes on in a moment",
			slog.String("journal", run.journal.ID().String()), slog.Any("error", err))
		a.calm(r, wait)
		if !r.begins(a.life.monitor.View()) {
			return err
		}
	}
}

// calm waits for so long, or until the round is over, and for a fresh look then.
func (a *adopter) calm(r *round, wait time.Duration) {
	bounded, cancel := context.WithTimeout(r.ctx, wait)
	defer cancel()
	_, _ = a.life.monitor.Wait(bounded, func(v *topology.View) bool { return !r.begins(v) }) // or the time
	_ = a.life.monitor.WaitRound(r.ctx)                                                      // what comes of it is in the view
}

// drainTo is one replay to the primary, while that is in use. nil: all is there.
func (a *adopter) drainTo(r *round, run *adoption, ended <-chan struct{}) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	primary := r.target(a.life.monitor.View())
	var stopped error // why the replay ended, once done is closed
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		stopped = run.replayer.Run(ctx, replay.Target{Addr: primary.Addr, RunID: primary.RunID})
	}()
	go func() {
		defer close(watched)
		_, _ = a.life.monitor.Wait(ctx, func(v *topology.View) bool {
			return !r.holds(v) || v.Primary.RunID != primary.RunID
		})
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

func (a *adopter) begin(run *adoption) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active = run
}

func (a *adopter) end(run *adoption, drained bool) {
	stats, counts := run.replayer.Stats(), run.source.Counts()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active = nil
	a.ended += counts.Expired
	a.sums.Replayed += stats.Replayed
	a.sums.DeadLettered += stats.DeadLettered + counts.SetAside
	a.sums.Unconfirmed += stats.Unconfirmed
	a.sums.Conflicted += stats.Conflicted
	a.sums.Merged += stats.Merged
	a.sums.Diverged += stats.Diverged
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
		now, counts := active.replayer.Stats(), active.source.Counts()
		sums.Replayed += now.Replayed
		sums.DeadLettered += now.DeadLettered + counts.SetAside
		sums.Unconfirmed += now.Unconfirmed
		sums.Conflicted += now.Conflicted
		sums.Merged += now.Merged
		sums.Diverged += now.Diverged
		expired += counts.Expired
		s.AdoptedEntries = int(active.journal.Stats().Entries)
	}
	s.Adopted = count
	s.Replayed += sums.Replayed
	s.DeadLettered += sums.DeadLettered
	s.Unconfirmed += sums.Unconfirmed
	s.Conflicted += sums.Conflicted
	s.Merged += sums.Merged
	s.Diverged += sums.Diverged
	s.Expired += expired
}
