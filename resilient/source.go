package resilient

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
)

// journalSource is a journal as the replay reads it, with those who wait for its
// entries. Trimming an entry releases its keys from the overlay: there is no other
// way for them to leave. An adopted journal has none there, and no overlay.
type journalSource struct {
	*backlog.Source
	ctx     context.Context // ends with the client
	journal *journal.Journal
	fates   fates
}

// newJournalSource makes the source of a journal; o is nil for an adopted one, and
// now the server's clock.
func newJournalSource(
	ctx context.Context, j *journal.Journal, o *overlay.Overlay, now func() time.Time, log *slog.Logger,
) *journalSource {
	s := &journalSource{ctx: ctx, journal: j, fates: fates{trimmed: make(chan struct{})}}
	s.Source = backlog.New(ctx, backlog.Options{Journal: j, Now: now, Hooks: backlog.Hooks{
		Dead: func(seq uint64, reason string) {
			s.fates.bury(seq)
			log.Warn("a deferred write is kept as a dead letter", slog.Uint64("seq", seq), slog.String("reason", reason))
		},
		Trimmed: func(upTo uint64) {
			if o != nil {
				o.Trim(upTo)
			}
			s.fates.progressed()
		},
		Problem: func(what string, err error) { log.Warn(what, slog.Any("error", err)) },
	}})
	return s
}
