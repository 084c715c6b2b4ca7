package resilient

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// heir is a primary that may or may not be the successor of the servers that a
// journal's writes were meant for.
type heir struct {
	node  topology.NodeReport
	alone bool // no other server says that it is the primary
}

// heirOf finds the primary among the reports of a view.
func heirOf(v *topology.View) (heir, bool) {
	var h heir
	found := false
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Answered() && n.Role == topology.RoleMaster && n.RunID == v.Primary.RunID && (!found || n.Addr == v.Primary.Addr) {
			h.node, found = *n, true
		}
	}
	h.alone = aloneAmong(v.Nodes, h.node.RunID)
	return h, found
}

// aloneAmong reports whether no other server than the one of that run id says that
// it is a primary.
func aloneAmong(nodes []topology.NodeReport, runID string) bool {
	return !slices.ContainsFunc(nodes, func(n topology.NodeReport) bool {
		return n.Answered() && n.Role == topology.RoleMaster && n.RunID != runID
	})
}

// knows reports whether the node's data set, or the one that it descends from, is of
// the lineage.
func knows(l *journal.Lineage, n *topology.NodeReport) bool {
	return n.ReplID != "" && slices.Contains(l.ReplIDs, n.ReplID) ||
		n.ReplID2 != "" && slices.Contains(l.ReplIDs, n.ReplID2)
}

// descends reports whether the primary may take the writes of a journal of that
// lineage: it is of a data set that its owners saw; or it stands where their last
// primary stood, as one that was restarted renews its replication id; or it holds
// the journal's fence. A journal that knows no data set fits all.
func (h *heir) descends(l journal.Lineage, fence func() (bool, error)) (bool, error) {
	switch {
	case len(l.ReplIDs) == 0, knows(&l, &h.node):
		return true, nil
	case h.alone && h.node.Addr == l.Primary:
		return true, nil
	}
	return fence()
}

// fenceAt makes the question whether the server holds a journal's fence. c may be nil.
func fenceAt(ctx context.Context, c *redis.Client, id string) func() (bool, error) {
	return func() (bool, error) {
		if c == nil {
			return false, ErrClosed
		}
		n, err := c.Exists(ctx, replay.FenceKey(id)).Result()
		return n > 0, err
	}
}

// lineageKeeper writes the lineage of the client's own journal: the replication ids
// of the data set that its writes are meant for. It is also the gate of that
// journal's replay: what an earlier process left goes to a primary only once that
// is known to descend from its servers. From then on the topology, which watches
// the servers without a gap, is trusted.
type lineageKeeper struct {
	ctx     context.Context
	journal *journal.Journal
	monitor *topology.Monitor
	log     *slog.Logger
	fits    atomic.Bool // the servers are those of the journal
	done    chan struct{}

	mu   sync.Mutex // guards what follows
	last journal.Lineage
}

func newLineageKeeper(ctx context.Context, j *journal.Journal, m *topology.Monitor, log *slog.Logger) *lineageKeeper {
	k := &lineageKeeper{ctx: ctx, journal: j, monitor: m, log: log, done: make(chan struct{})}
	if j.Stats().Entries > 0 {
		k.last = j.Lineage()
		return k
	}
	// Nothing is there to be sent to the wrong place, and what an empty journal was
	// once meant for is no matter.
	k.fits.Store(true)
	return k
}

// run keeps the lineage up until the client ends.
func (k *lineageKeeper) run() {
	defer close(k.done)
	for {
		changed := k.monitor.Changed()
		k.observe(k.monitor.View())
		select {
		case <-k.ctx.Done():
			return
		case <-changed:
		}
		// A closed monitor's channel is always ready.
		if k.ctx.Err() != nil {
			return
		}
	}
}

// lineageRetry is how long the lineage rests after it could not be written.
const lineageRetry = 5 * time.Second

// observe adds what a view tells to the lineage.
func (k *lineageKeeper) observe(v *topology.View) {
	if !k.fits.Load() {
		return
	}
	k.mu.Lock()
	next := grow(k.last, v)
	same := next.Primary == k.last.Primary && slices.Equal(next.ReplIDs, k.last.ReplIDs)
	k.mu.Unlock()
	if same {
		return
	}
	if err := k.journal.SaveLineage(k.ctx, next); err != nil {
		if k.ctx.Err() == nil {
			k.log.Warn("the journal's lineage could not be written; it is tried again", slog.Any("error", err))
			pause(k.ctx, lineageRetry)
		}
		return
	}
	k.mu.Lock()
	k.last = next
	k.mu.Unlock()
}

// grow adds to a lineage what a view shows: the primary in use, and servers whose
// data descend from a data set that is in it. Where nothing is in it yet, and there
// is no primary, the servers that answer are all that can be known.
func grow(l journal.Lineage, v *topology.View) journal.Lineage {
	l.ReplIDs = slices.Clone(l.ReplIDs)
	add := func(id string) {
		if id != "" && !slices.Contains(l.ReplIDs, id) {
			l.ReplIDs = append(l.ReplIDs, id)
		}
	}
	if h, ok := heirOf(v); ok && v.Live {
		add(h.node.ReplID2)
		add(h.node.ReplID)
		l.Primary = h.node.Addr
	}
	fresh := len(l.ReplIDs) == 0
	for i := range v.Nodes {
		n := &v.Nodes[i]
		switch {
		case !n.Answered():
		case fresh && n.Role == topology.RoleReplica && !v.Live:
			add(n.ReplID)
		case slices.Contains(l.ReplIDs, n.ReplID2) && n.ReplID2 != "":
			add(n.ReplID)
		}
	}
	if extra := len(l.ReplIDs) - journal.MaxReplIDs; extra > 0 {
		l.ReplIDs = l.ReplIDs[extra:]
	}
	return l
}

func (k *lineageKeeper) close() { <-k.done }
