package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// states are those of all shards, in the order of their names.
func (c *sharded) states() []ShardState {
	watched := c.layout.watched()
	states := make([]ShardState, 0, len(watched))
	for _, s := range watched {
		states = append(states, s.state())
	}
	return states
}

// state is that of the shard that is off worst; of those, the one that has been longest.
func (c *sharded) state() ShardState {
	states := c.states()
	if len(states) == 0 {
		return c.stray.state()
	}
	worst := states[0]
	for _, s := range states[1:] {
		if d := s.State.severity() - worst.State.severity(); d > 0 || d == 0 && s.Since.Before(worst.Since) {
			worst = s
		}
	}
	return worst
}

func (c *sharded) stats() Stats {
	s := c.foundation.stats()
	g := c.guarded.stats()
	s.Refused += g.Refused
	s.InDoubt += g.InDoubt
	c.mu.Lock()
	s.Replayed += c.past.Replayed
	s.Unconfirmed += c.past.Unconfirmed
	s.Conflicted += c.past.Conflicted
	s.Merged += c.past.Merged
	s.Diverged += c.past.Diverged
	s.Expired += c.past.Expired
	c.mu.Unlock()
	for _, sh := range c.shards() {
		sh.drain.stats(&s)
		for _, right := range sh.router.rights() {
			if !slices.Contains(s.MissingRights, right) {
				s.MissingRights = append(s.MissingRights, right)
			}
		}
	}
	if c.heirs != nil {
		c.heirs.stats(&s)
	}
	return s
}

func (c *sharded) flush(ctx context.Context) error { return c.foundation.flush(ctx) }

func (c *sharded) parked() []ParkedJournal { return c.parking.list() }

// replayParked confirms a journal, and waits until it has been replayed.
func (c *sharded) replayParked(ctx context.Context, id string) error {
	entry, known := c.parking.find(id)
	if !known {
		return fmt.Errorf("%w: %s", ErrNotParked, id)
	}
	if entry.Reason == ParkedOtherShards {
		return fmt.Errorf("%w: %w", ErrReplayRefused, errOtherShards)
	}
	if err := journal.Confirm(c.options.Dir, id); err != nil && !errors.Is(err, journal.ErrNothingWaits) {
		return fmt.Errorf("resilient: %w", err)
	}
	c.log.Info("a parked journal was confirmed for replay", slog.String("journal", id))
	c.heirs.wakeUp()
	return c.parking.gone(ctx, c.ctx, id, entry.refusals)
}

func (c *sharded) close() error {
	c.closing.Do(func() { c.closed = c.teardown(true) })
	return c.closed
}

// teardown takes down what has been built, in the reverse order.
func (c *sharded) teardown(closeInner bool) error {
	var faults []error
	keep := func(err error) {
		if err != nil && !errors.Is(err, redis.ErrClosed) {
			faults = append(faults, err)
		}
	}
	if c.metrics != nil {
		keep(c.metrics.Unregister())
	}
	if c.guarded != nil {
		c.guarded.over.Store(true)
	}
	for _, s := range c.shards() {
		if s.monitor != nil {
			s.router.close()
		}
	}
	c.layout.unwatch()
	if c.stray != nil && c.stray.monitor != nil {
		c.stray.monitor.Close()
	}
	c.cancel()
	for _, s := range c.shards() {
		keep(s.end())
	}
	if c.heirs != nil {
		c.heirs.end()
	}
	if c.lanes != nil {
		keep(c.lanes.Close())
	}
	keep(c.closeJournal())
	if c.facade != nil {
		keep(c.facade.Close())
	}
	if closeInner && c.guarded != nil {
		keep(c.guarded.shards.Close())
	}
	if c.side != nil {
		c.side.close()
	}
	if c.prober != nil {
		keep(c.prober.Close())
	}
	for _, n := range []*nodeClients{c.seeds, c.nodes} {
		if n != nil {
			keep(n.close())
		}
	}
	c.events.close()
	return errors.Join(faults...)
}

// closeJournal ends what looks after the journal, and the journal.
func (f *foundation) closeJournal() error {
	if f.core != nil {
		f.core.errands.close()
	}
	if f.keeper != nil {
		f.keeper.close()
	}
	if f.journal == nil {
		return nil
	}
	s := f.journal.Stats()
	err := f.journal.Close()
	if !f.journal.Durable() && s.Entries > 0 {
		err = errors.Join(err, backlogLost(int(s.Entries)))
	}
	return err
}

// flush waits until nothing is deferred any more.
func (f *foundation) flush(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s := f.journal.Stats()
		if s.Entries == 0 && f.overlay.Empty() {
			return nil
		}
		select {
		case <-f.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("resilient: flush ended with %d deferred writes waiting: %w", s.Entries, ctx.Err())
		case <-tick.C:
		}
	}
}
