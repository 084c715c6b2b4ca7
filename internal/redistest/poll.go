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
	return pollEvery(ctx, pollInterval, what, cond)
}

// pollSlowly is poll for what takes seconds and asks many servers: once in 25 ms.
func pollSlowly(ctx context.Context, what string, cond func() error) error {
	return pollEvery(ctx, 5*pollInterval, what, cond)
}

func pollEvery(ctx context.Context, interval time.Duration, what string, cond func() error) error {
	tick := time.NewTicker(interval)
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

// want is nil if ok, else err, or an error that shows what is there instead.
func want(err error, ok bool, got any) error {
	if err != nil || ok {
		return err
	}
	return fmt.Errorf("it is %+v", got)
}

// answer is the text of an error that is an answer, not a failure.
func answer(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}
