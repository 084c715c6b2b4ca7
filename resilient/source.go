package resilient

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
)

// journalSource is a journal, or the part of it that belongs to one shard, as the
// replay reads it, with those who wait for its entries. Trimming an entry releases its
// keys from the overlay: there is no other way for them to leave.
type journalSource struct {
	*backlog.Source
	ctx     context.Context // ends with the client
	journal *journal.Journal
	fates   *fates
	now     func() time.Time
	divergences
}

// sourceOptions are what a journalSource is made of.
type sourceOptions struct {
	journal *journal.Journal
	now     func() time.Time // the server's clock
	log     *slog.Logger
	fates   *fates
	release func(upTo uint64) // takes trimmed keys out of the overlay; nil where there are none

	conflicts bool // keys are compared: see Options.Conflicts

	// Of one shard of several:
	lanes *backlog.Lanes
	mine  func(lane uint16) bool
}

// newJournalSource makes the source of a whole journal; o is nil for an adopted one,
// whose records never enter an overlay.
func newJournalSource(
	ctx context.Context, j *journal.Journal, o *overlay.Overlay, now func() time.Time, log *slog.Logger, conflicts bool,
) *journalSource {
	so := sourceOptions{journal: j, now: now, log: log, fates: newFates(), conflicts: conflicts}
	if o != nil {
		so.release = func(upTo uint64) { o.Trim(upTo) }
	}
	return newSource(ctx, so)
}

func newSource(ctx context.Context, o sourceOptions) *journalSource {
	s := &journalSource{ctx: ctx, journal: o.journal, fates: o.fates, now: o.now}
	s.Source = backlog.New(ctx, backlog.Options{
		Journal: o.journal, Now: o.now, Lanes: o.lanes, Mine: o.mine, Conflicts: o.conflicts,
		Hooks: backlog.Hooks{
			Dead: func(seq uint64, reason string) {
				s.fates.bury(seq)
				o.log.Warn("a deferred write is kept as a dead letter", slog.Uint64("seq", seq), slog.String("reason", reason))
			},
			Trimmed: func(upTo uint64) {
				if o.release != nil {
					o.release(upTo)
				}
				s.fates.progressed()
			},
			Problem: func(what string, err error) { o.log.Warn(what, slog.Any("error", err)) },
		},
	})
	return s
}

// await waits for the fate of entries of the whole journal.
func (s *journalSource) await(ctx context.Context, seqs []uint64) error {
	return s.fates.await(ctx, s.ctx, seqs, func(seq uint64) bool { return seq <= s.Bounds().Trimmed })
}
