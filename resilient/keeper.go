package resilient

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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
	// rollback, if set, is told what is taken back.
	rollback func(from uint64)
	events   *events
	log      *slog.Logger
	wake     chan struct{} // of capacity 1
	done     chan struct{}

	// mu keeps the moment at which the journal goes on apart from taking back, and
	// guards told.
	mu   sync.Mutex
	told bool // of the present failure
}

func newKeeper(
	ctx context.Context, j *journal.Journal, o *overlay.Overlay, rollback func(uint64), e *events, log *slog.Logger,
) *keeper {
	k := &keeper{
		rollback: rollback, ctx: ctx, journal: j, overlay: o, events: e, log: log,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go k.loop()
	return k
}

// failed tells of a failed commit. When it returns, what never became durable is
// out of the overlay: a caller who hears a refusal must not read his write back.
func (k *keeper) failed() {
	k.takeBack()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// takeBack takes back what the failed journal could not keep, if it still is
// failed: once it goes on, there are newer writes, which must stay.
func (k *keeper) takeBack() {
	k.mu.Lock()
	f := k.journal.Failure()
	if f == nil {
		k.mu.Unlock()
		return
	}
	taken := k.overlay.Rollback(f.First)
	if k.rollback != nil {
		k.rollback(f.First)
	}
	tell := !k.told
	k.told = true
	k.mu.Unlock()
	if taken > 0 {
		k.log.Error("the journal could not be written; the writes that were waiting were taken back",
			slog.Int("writes", taken), slog.Any("error", f.Err))
	}
	if tell {
		k.events.journalProblem(JournalProblemInfo{Problem: failureText(f)})
	}
}

// failureText tells of a journal that has stopped.
func failureText(f *journal.Failure) string {
	return fmt.Sprintf("the disk does not take the journal, and writes can't be deferred before it does: %v", f.Err)
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
		k.takeBack()
		locked := false
		err := k.journal.Resume(k.ctx, func() error {
			// From here on Resume does no I/O. Whoever comes to take back finds a
			// journal that has failed, or one that goes on.
			k.mu.Lock()
			k.told = false
			locked = true
			return nil
		})
		if locked {
			k.mu.Unlock()
		}
		if err == nil {
			if locked {
				k.log.Info("the journal goes on in a fresh segment")
			}
			return
		}
		if !pause(k.ctx, wait.NextBackOff()) {
			return
		}
	}
}

// close waits for the goroutine; its context must have ended.
func (k *keeper) close() { <-k.done }
