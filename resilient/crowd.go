package resilient

import (
	"sync"
	"sync/atomic"
	"time"
)

// When nothing has moved for stallAfter (a replica that does not confirm, a server out of
// memory), writers don't wait for it; where batches take long, for stallBatches times as
// long as they took of late: else they would add to a backlog as they like between any two.
const (
	stallAfter   = 250 * time.Millisecond
	stallBatches = 3
	// longBatch is the longest that a batch counts for.
	longBatch = time.Second
)

// motion sees whether a replay moves. Safe for concurrent use.
type motion struct {
	mu      sync.Mutex // guards what follows
	moved   uint64     // how far it was when somebody looked
	batches uint64     // how many it had sent
	at      time.Time  // when it was seen to have moved
	each    time.Duration
}

// begin is the beginning of a session.
func (m *motion) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = now
}

// stalled takes how far the replay is, and by how many batches, and reports whether that
// has been so for a while.
func (m *motion) stalled(now time.Time, moved, batches uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.moved == moved {
		return now.Sub(m.at) > max(stallAfter, stallBatches*m.each)
	}
	// Another feed counts anew.
	if batches > m.batches {
		m.each += (min(now.Sub(m.at)/time.Duration(batches-m.batches), longBatch) - m.each) / 4
	}
	m.moved, m.batches, m.at = moved, batches, now
	return false
}

// crowd bounds what is added to a backlog while that is replayed: in the long run one
// write for two that are replayed. However many callers write to its keys, and however
// quick they are, the backlog is gone when twice as much has been replayed as it held at
// the beginning. Safe for concurrent use.
type crowd struct {
	full   atomic.Bool  // as of the latest look
	lookAt atomic.Int64 // when to look again, in Unix nanoseconds

	mu    sync.Mutex // guards what follows
	since *headway   // nil: the next look is the first
}

// headway is how far a replay was at some time.
type headway struct {
	feed    *feed
	attempt uint64
	left    int    // entries to go
	gone    uint64 // entries that have left the backlog
}

// crowdEvery is the least time between two looks: they take locks, and writers ask often.
const crowdEvery = 5 * time.Millisecond

// reset begins anew: what was added up to now does not count.
func (c *crowd) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = nil
	c.full.Store(false)
}

// look takes how far the replay is. A burst of room entries is always free.
func (c *crowd) look(now headway, room int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.since; s == nil || s.feed != now.feed || s.attempt != now.attempt {
		c.since = &now
	}
	c.full.Store(now.left > c.since.left+room-int(now.gone-c.since.gone)/2)
}

// crowded implements cutover.
func (d *drain) crowded() bool {
	now, next := time.Now().UnixNano(), d.crowd.lookAt.Load()
	if now < next || !d.crowd.lookAt.CompareAndSwap(next, now+int64(crowdEvery)) {
		return d.crowd.full.Load()
	}
	d.mu.Lock()
	run := d.newest
	d.mu.Unlock()
	if run == nil { // no replay was ordered yet
		return false
	}
	f := d.feed.Load()
	stats := f.replayer.Stats()
	d.crowd.look(headway{
		feed: f, attempt: run.attempt, left: d.left(f), gone: stats.Replayed + stats.DeadLettered,
	}, closeBy)
	return d.crowd.full.Load()
}
