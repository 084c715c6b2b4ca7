package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// A disturbed measurement stays in the file, behind this.
const disturbed = "# disturbed: "

// quietFor is how long the others must have been quiet before a measurement.
const quietFor = 500 * time.Millisecond

// quiet lets measurements be made while others leave the machine alone. Whether they do
// is seen from what they take of the processors, never from the figures.
type quiet struct {
	company  float64       // what others may take of a processor
	patience time.Duration // to spend on waiting for them and on measuring again; then they count
	spent    time.Duration
}

// measure calls do, which returns its lines and what others took meanwhile, and again as
// long as they disturbed it and there is patience.
func (q *quiet) measure(ctx context.Context, out io.Writer, do func() (line string, others float64, err error)) error {
	for {
		start := time.Now()
		q.await(ctx)
		q.spent += time.Since(start)
		start = time.Now()
		line, others, err := do()
		if err != nil {
			return err
		}
		if others <= q.company || q.spent >= q.patience {
			_, err = fmt.Fprintln(out, line)
			return err
		}
		q.spent += time.Since(start)
		if _, err := fmt.Fprintln(out, disturbed+strings.ReplaceAll(line, "\n", "\n"+disturbed)); err != nil {
			return err
		}
	}
}

// await returns when the others are quiet, the patience is over or ctx ends.
func (q *quiet) await(ctx context.Context) {
	start := time.Now()
	for ctx.Err() == nil && q.spent+time.Since(start) < q.patience {
		before := time.Now()
		all, own, ok := cpuTimes()
		if !ok {
			return
		}
		select {
		case <-time.After(quietFor):
		case <-ctx.Done():
		}
		allNow, ownNow, _ := cpuTimes()
		if (allNow - all - ownNow + own).Seconds() <= q.company*time.Since(before).Seconds() {
			return
		}
	}
}
