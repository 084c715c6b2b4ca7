package resilient

import (
	"fmt"
	"time"
)

// ReplayProgressInfo tells how far a replay is.
type ReplayProgressInfo struct {
	Primary   string        // the address replayed to
	Entries   uint64        // executed in this replay so far
	Bytes     uint64        // sent for them
	Remaining int           // about how many entries are still to go
	Rate      float64       // entries per second, over the last second or so
	ETA       time.Duration // how long the rest takes at that rate; 0 when nothing moves
}

// String is one line for logs.
func (i ReplayProgressInfo) String() string {
	return fmt.Sprintf("replay to %s: %d entries, %d bytes done, %d to go at %.0f/s: %v",
		i.Primary, i.Entries, i.Bytes, i.Remaining, i.Rate, i.ETA)
}

func (e *events) replayProgress(i ReplayProgressInfo) {
	e.log.Debug(i.String())
	post(e, e.listener.ReplayProgress, i)
}

// advanced is the replayer's hook: it goes on, at so many entries per second.
func (d *drain) advanced(rate float64) {
	d.mu.Lock()
	run := d.active
	told := run.told
	d.mu.Unlock()
	if !told {
		return // no replay without its beginning
	}
	stats, left := run.replayer.Stats(), d.left(run.feed)
	info := ReplayProgressInfo{
		Primary: run.primary.Addr, Entries: stats.Replayed - run.before.Replayed, Bytes: stats.Bytes - run.before.Bytes,
		Remaining: left, Rate: rate,
	}
	if rate > 0 {
		info.ETA = time.Duration(float64(left) / rate * float64(time.Second)).Round(100 * time.Millisecond)
	}
	d.events.replayProgress(info)
}

// left is about how many entries a feed has yet to send.
func (d *drain) left(f *feed) int {
	if d.fresh != nil {
		return f.source.Waiting()
	}
	last, acked := f.source.Bounds().Last, f.replayer.Stats().Acked
	return int(max(last, acked) - acked)
}

// closeBy is how many entries are sent in some milliseconds.
const closeBy = 1000

// within is how many entries are so few that a write to one of their keys waits for its
// turn: closeBy, and no more than the pace takes in the time after which such a wait is
// given up elsewhere.
func (d *drain) within(f *feed) uint64 {
	n := uint64(closeBy)
	if pace := f.replayer.Pace(); pace > 0 {
		n = min(n, uint64(max(1, pace*stallAfter.Seconds())))
	}
	return n
}
