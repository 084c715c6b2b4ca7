package redistest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stopError ends a poll: waiting longer won't help.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

func stop(err error) error { return stopError{err} }

// poll calls cond every 5 ms until it returns nil. It gives up when ctx ends,
// and its error then says what was waited for and why it was not so at last, or
// at once with the error that cond wrapped by stop.
func poll(ctx context.Context, what string, cond func() error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		err := cond()
		if err == nil {
			return nil
		}
		if final, ok := errors.AsType[stopError](err); ok {
			return final.error
		}
		// What fails because ctx has just ended says nothing about the condition. A
		// connection can notice the deadline first.
		deadline, bounded := ctx.Deadline()
		ended := ctx.Err() != nil || bounded && !time.Now().Before(deadline)
		if last == nil || !ended {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("redistest: waited for %s: %w (%w)", what, last, context.Cause(ctx))
		}
	}
}
