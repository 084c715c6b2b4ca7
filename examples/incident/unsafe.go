package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/resilient"
)

const (
	unsafeInterval = 400 * time.Millisecond
	queueLength    = 10_000
)

// claims makes, now and then, the two writes through Holdfast that nobody can
// answer without a primary: taking a lock (SET NX) and taking work off a queue
// (LPOP). Granted during an outage they would have two owners. Its counts are
// safe for concurrent use.
type claims struct {
	answered     atomic.Uint64 // by a primary, or wrongly
	refused      atomic.Uint64 // with a *resilient.CommandError that is ErrNoPrimary
	failed       atomic.Uint64 // with any other error
	wrongGrants  atomic.Uint64 // answered without an error in the certain outage
	wrongErrors  atomic.Uint64 // those of failed that lay in the certain outage
	firstRefusal atomic.Pointer[resilient.CommandError]
	firstFailure atomic.Pointer[error]
}

// fillQueue gives the claims work to take.
func fillQueue(ctx context.Context, client redis.Cmdable, prefix string) error {
	work := make([]any, queueLength)
	for i := range work {
		work[i] = i
	}
	if err := client.RPush(ctx, prefix+"queue", work...).Err(); err != nil {
		return fmt.Errorf("the queue can't be filled: %w", err)
	}
	return nil
}

// run claims until ctx ends or the workload has been stopped.
func (c *claims) run(ctx context.Context, l *workload, client redis.UniversalClient, prefix string) {
	lock, queue := prefix+"lock", prefix+"queue"
	timer := time.NewTimer(0)
	defer timer.Stop()
	first := time.Now()
	for n := 0; l.await(ctx, timer, first.Add(time.Duration(n)*unsafeInterval)); n++ {
		began := l.clock.phase()
		_, err := timed(ctx, func(ctx context.Context) error {
			if n%2 == 0 {
				return client.SetArgs(ctx, lock, n, redis.SetArgs{Mode: "NX", TTL: time.Second}).Err()
			}
			return client.LPop(ctx, queue).Err()
		})
		c.note(err, began == phaseOutage && l.clock.phase() == phaseOutage)
	}
}

func (c *claims) note(err error, inOutage bool) {
	var refusal *resilient.CommandError
	switch {
	case err == nil, errors.Is(err, redis.Nil): // redis.Nil: the lock is taken, the queue is empty
		c.answered.Add(1)
		if inOutage {
			c.wrongGrants.Add(1)
		}
	case errors.Is(err, resilient.ErrNoPrimary) && errors.As(err, &refusal):
		c.refused.Add(1)
		c.firstRefusal.CompareAndSwap(nil, refusal)
	default:
		c.failed.Add(1)
		if inOutage {
			c.wrongErrors.Add(1)
		}
		c.firstFailure.CompareAndSwap(nil, &err)
	}
}

// summary is the account of the claims in a sentence or two.
func (c *claims) summary() string {
	text := fmt.Sprintf("Unsafe writes (SET NX, LPOP) through Holdfast: %d answered by a primary, %d refused, as they should be",
		c.answered.Load(), c.refused.Load())
	if n := c.failed.Load(); n > 0 {
		text += fmt.Sprintf(", %d failed otherwise (the first: %v)", n, *c.firstFailure.Load())
	}
	if n := c.wrongGrants.Load(); n > 0 {
		text += fmt.Sprintf(", %d ANSWERED WITHOUT A PRIMARY", n)
	}
	if first := c.firstRefusal.Load(); first != nil {
		text += fmt.Sprintf(".\nThe first refusal: %v", first)
	}
	return text + "."
}
