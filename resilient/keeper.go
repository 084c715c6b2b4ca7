package resilient

import (
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
)

// keeper mends the journal after a failed commit: what never became durable is
// taken back from the overlay, and the journal goes on in a fresh segment as
// soon as the disk lets it.
type keeper struct {
	ctx     context.Context
	journal *journal.Journal
	overlay *overlay.Overlay
	log     *slog.Logger
	wake    chan struct{} // of capacity 1
	done    chan struct{}
}

func newKeeper(ctx context.Context, j *journal.Journal, o *overlay.Overlay, log *slog.Logger) *keeper {
	k := &keeper{
		ctx: ctx, journal: j, overlay: o, log: log,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go k.loop()
	return k
}

// failed tells of a failed commit. It never blocks.
func (k *keeper) failed() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) loop() {
	defer close(k.done)
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.wake:
			k.mend()
		}
	}
}

func (k *keeper) mend() {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	for {
		f := k.journal.Failure()
		if f == nil {
			return
		}
		taken := k.overlay.Rollback(f.First)
		if taken > 0 {
			k.log.Error("the journal could not be written; the writes that were waiting are in doubt and were taken back",
				slog.Int("writes", taken), slog.Any("error", f.Err))
		}
		if k.journal.Resume(k.ctx, nil) == nil {
			k.log.Info("the journal goes on in a fresh segment")
			return
		}
		if !pause(k.ctx, wait.NextBackOff()) {
			return
		}
	}
}

// close waits for the goroutine; its context must have ended.
func (k *keeper) close() { <-k.done }
