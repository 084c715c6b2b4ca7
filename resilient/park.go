package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// ParkReason is why a journal is parked. The zero value is invalid.
type ParkReason uint8

// The reasons.
const (
	// ParkedOld: its newest write is older than Options.MaxReplayAge.
	ParkedOld ParkReason = iota + 1
	// ParkedForeign: the primary does not descend from the servers that its writes
	// were meant for.
	ParkedForeign
	// ParkedRefused: the primary does not let it be replayed, for want of a right; or
	// its own mark in the primary says that another copy of it has gone further. Then
	// no confirmation helps: it can only be discarded, with journalctl.
	ParkedRefused
	// ParkedOtherShards: it was written over a Ring of other shards, so that its keys have
	// other places here. No confirmation helps: a client of that Ring replays it, or it can
	// be discarded, with journalctl. Only a client of a Ring lists such journals.
	ParkedOtherShards
)

// String is the reason in logs, such as "too old".
func (r ParkReason) String() string {
	switch r {
	case ParkedOld:
		return "too old"
	case ParkedForeign:
		return "another data set"
	case ParkedRefused:
		return "replay refused"
	case ParkedOtherShards:
		return "other shards"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// ParkedJournal is the journal of an earlier process that is kept and not replayed
// by itself, because its writes could do harm by now.
type ParkedJournal struct {
	// ID is the name of its directory below Options.Dir.
	ID     string
	Reason ParkReason
	// Entries are its deferred writes; Oldest and Newest tell when the first and the
	// last of them were accepted.
	Entries        int
	Oldest, Newest time.Time
	// Own says that it is this client's own journal: no server answered when the
	// client started, and writes deferred since then wait in it too.
	Own bool
}

// String is one line for logs.
func (p ParkedJournal) String() string {
	return fmt.Sprintf("journal %s parked (%s): %d entries from %s to %s", p.ID, p.Reason, p.Entries,
		p.Oldest.UTC().Format(time.RFC3339), p.Newest.UTC().Format(time.RFC3339))
}

// ErrNotParked says that no journal of that id is parked.
var ErrNotParked = errors.New("resilient: no such journal is parked")

// ErrReplayRefused says that the primary refuses the replay of a parked journal that
// was confirmed: see ParkedRefused.
var ErrReplayRefused = errors.New("resilient: the primary refuses the replay of the parked journal; " +
	"grant the rights that are missing, or discard it with journalctl")

// Parked lists the journals below Options.Dir that wait for a decision, by their
// ids: ReplayParked replays one, journalctl shows, exports and discards them. Those
// of earlier processes are looked at when the client starts, and about once a minute
// while the shard is healthy.
func (c *Client) Parked() []ParkedJournal { return c.backend.parked() }

// ReplayParked confirms that the parked journal id is to be replayed to the present
// primary, whatever its age and origin, and waits until that is done. The end of ctx
// ends the waiting only: the confirmation is on disk and stands, for other processes
// too. The error is ErrNotParked, ErrReplayRefused with the reason, the context's,
// ErrClosed, or of the file system. A journal that was refused is tried again with
// another primary, by another confirmation, and by another call.
func (c *Client) ReplayParked(ctx context.Context, id string) error {
	return c.backend.replayParked(ctx, id)
}

// errParked stops the replay of the client's own journal.
var errParked = errors.New("resilient: the journal is parked until it is confirmed: see Client.Parked")

// parking is the list of the parked journals. It is safe for concurrent use.
type parking struct {
	events *events

	mu       sync.Mutex // guards what follows
	journals map[string]parkedEntry
	changed  chan struct{} // closed and replaced when a journal leaves the list, or is refused
}

// parkedEntry is a parked journal, and how often and why a primary has refused it.
type parkedEntry struct {
	ParkedJournal
	refusals uint64
	cause    error // of the last refusal
}

func newParking(e *events) *parking {
	return &parking{events: e, journals: make(map[string]parkedEntry), changed: make(chan struct{})}
}

// add lists a journal, and tells of it once. refusal is what the primary said, if it
// was asked.
func (p *parking) add(j ParkedJournal, refusal error) {
	p.mu.Lock()
	old, known := p.journals[j.ID]
	entry := parkedEntry{ParkedJournal: j, refusals: old.refusals, cause: old.cause}
	if refusal != nil {
		entry.refusals, entry.cause = old.refusals+1, refusal
		p.changedLocked()
	}
	p.journals[j.ID] = entry
	p.mu.Unlock()
	if !known || old.Reason != j.Reason {
		p.events.journalParked(JournalParkedInfo{Journal: j})
	}
}

func (p *parking) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.journals[id]; known {
		delete(p.journals, id)
		p.changedLocked()
	}
}

func (p *parking) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *parking) find(id string) (parkedEntry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j, known := p.journals[id]
	return j, known
}

func (p *parking) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.journals)
}

func (p *parking) list() []ParkedJournal {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]ParkedJournal, 0, len(p.journals))
	for _, j := range p.journals {
		list = append(list, j.ParkedJournal)
	}
	slices.SortFunc(list, func(a, b ParkedJournal) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// gone waits until the journal has left the list. It gives up when it is refused, once
// more than before.
func (p *parking) gone(ctx, life context.Context, id string, before uint64) error {
	for {
		p.mu.Lock()
		j, known := p.journals[id]
		changed := p.changed
		p.mu.Unlock()
		switch {
		case !known:
			return nil
		case j.refusals > before:
			return fmt.Errorf("%w: %w", ErrReplayRefused, j.cause)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("resilient: the parked journal is confirmed and not replayed yet: %w", ctx.Err())
		case <-life.Done():
			return ErrClosed
		}
	}
}

// parkedFrom describes a journal that was recovered.
func parkedFrom(j *journal.Journal, found *journal.Recovery, reason ParkReason) ParkedJournal {
	return ParkedJournal{
		ID: j.ID().String(), Reason: reason, Entries: int(found.Entries), Oldest: found.Oldest, Newest: found.Newest,
	}
}

// tooOld reports whether the writes of a recovered journal are beyond Options.MaxReplayAge.
func (o *Options) tooOld(found *journal.Recovery) bool {
	return o.MaxReplayAge > 0 && time.Since(found.Newest) > o.MaxReplayAge
}

func (l *lifecycle) parked() []ParkedJournal { return l.parking.list() }

func (l *lifecycle) replayParked(ctx context.Context, id string) error {
	entry, known := l.parking.find(id)
	if !known {
		return fmt.Errorf("%w: %s", ErrNotParked, id)
	}
	// Where nothing waits any more, another process has seen to it.
	if err := journal.Confirm(l.options.Dir, id); err != nil && !errors.Is(err, journal.ErrNothingWaits) {
		return fmt.Errorf("resilient: %w", err)
	}
	l.log.Info("a parked journal was confirmed for replay", slog.String("journal", id))
	if id == l.journal.ID().String() {
		l.monitor.RetryReplay()
	} else {
		l.adopter.lookAt(id)
	}
	return l.parking.gone(ctx, l.ctx, id, entry.refusals)
}

// admitReplay is the gate of the client's own journal, asked before each replay. It
// lets journals go ahead that must not come after it.
func (l *lifecycle) admitReplay(ctx context.Context, primary topology.NodeID) error {
	if err := l.admitOwn(ctx); err != nil || l.adopter == nil {
		return err
	}
	return l.adopter.goAhead(ctx, primary)
}

// admitOwn says why the client's own journal is not to be replayed to the primary, if
// so.
func (l *lifecycle) admitOwn(ctx context.Context) error {
	if l.lineage.fits.Load() {
		return nil
	}
	id := l.journal.ID().String()
	fits := l.journal.Confirmed()
	if !fits {
		h, ok := heirOf(l.monitor.View())
		if !ok {
			return errors.New("resilient: the primary did not answer the last probe")
		}
		var err error
		if fits, err = h.descends(l.journal.Lineage(), fenceAt(ctx, l.seeds.get(h.node.Addr), id)); err != nil {
			return fmt.Errorf("resilient: asking the primary for the fence: %w", err)
		}
	}
	if !fits {
		p := l.found
		p.Own, p.Entries = true, int(l.journal.Stats().Entries)
		l.parking.add(p, nil)
		return errParked
	}
	l.lineage.fits.Store(true)
	return nil
}

// refused tells those who wait for the client's own journal, parked until they
// confirmed it, that the primary refuses its replay.
func (l *lifecycle) refused(err error) {
	entry, known := l.parking.find(l.journal.ID().String())
	if !known {
		return
	}
	p := entry.ParkedJournal
	p.Reason, p.Entries = ParkedRefused, int(l.journal.Stats().Entries)
	l.parking.add(p, err)
}

// settled takes the client's own journal off the list when it is empty. The
// confirmation that it bore has ended with what it was given for.
func (l *lifecycle) settled() { l.parking.remove(l.journal.ID().String()) }
