package redistest

import (
	"context"
	"testing"
	"time"
)

// startTimeout bounds StartT. Starting takes well under a second on an idle
// machine; a busy one may need much more.
const startTimeout = 60 * time.Second

// pollInterval is the pause between two looks at a condition that is waited for.
const pollInterval = 5 * time.Millisecond

// logTail is how much of each server's log a failed test or start shows.
const logTail = 2 << 10

// StartT is Start for a test: the group is closed when tb ends, and if tb has
// failed by then the ends of the servers' logs are printed. Without a server
// program tb fails; it is never skipped.
func StartT(tb testing.TB, o Options) *Group {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	g, err := Start(ctx, o)
	if err != nil {
		tb.Fatalf("redistest: no servers for the test: %v", err)
	}
	tb.Cleanup(func() { closeT(tb, g) })
	return g
}

// closeT closes g at the end of a test.
func closeT(tb testing.TB, g *Group) {
	if tb.Failed() {
		for _, n := range g.Nodes() {
			tb.Logf("%v, end of its log:\n%s", n, n.LogTail(logTail))
		}
	}
	if err := g.Close(); err != nil {
		tb.Errorf("redistest: closing the servers: %v", err)
	}
}

// Eventually waits until cond is true, and fails tb at once if it isn't within
// timeout. what completes the sentence "waited for …". cond is called every 5 ms
// from the caller's goroutine, which must be the test's.
func Eventually(tb testing.TB, timeout time.Duration, what string, cond func() bool) {
	tb.Helper()
	if cond() {
		return
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if cond() {
				return
			}
		case <-deadline.C:
			if cond() { // on a stalled machine the last look may be long ago
				return
			}
			tb.Fatalf("waited for %s: not so after %v", what, timeout)
			return // a tb whose Fatalf returns would loop on
		}
	}
}
