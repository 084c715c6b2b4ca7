package topology

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shardGrace is how many intervals a shard may own no slots before its monitor is closed: a view from
// the middle of a move must not end a watch.
const shardGrace = 30

// ClusterOptions of a ClusterMonitor.
type ClusterOptions struct {
	// Options hold for the monitor of each shard. Seeds are any servers of the Cluster; Probe is
	// usually [Prober.ProbeCluster]. Sentinels, Facts, Pending, OnChange and OnReplay are not used.
	Options
	// Open is called once for each shard before its monitor starts, from any goroutine and outside
	// locks, and returns what that monitor tells and asks, under the terms of [Options]. Nil for nothing.
	Open func(id string) ShardHooks
	// OnShards is told, under the terms of OnChange, when shards come, go or change slots, with all of
	// them. A client's own map of slots is out of date then, too.
	OnShards func([]ShardFacts)
}

// ShardHooks are Options.Pending, OnChange and OnReplay of one shard.
type ShardHooks struct {
	// Owner becomes Shard.Owner.
	Owner any
	// Bind is called with the shard's monitor before that starts. Nil for nothing.
	Bind func(*Monitor)

	Pending  func() bool
	OnChange func(Change)
	OnReplay func(ReplayOrder)
}

// Shard is one shard of a Cluster with its monitor.
type Shard struct {
	*Monitor
	// ID names the shard; see [Cluster].
	ID string
	// Owner is what ShardHooks.Owner was.
	Owner any

	gone time.Time // since when it owns no slots; belongs to ClusterMonitor.mu
}

// shardTable is a snapshot of the shards and their slots. It never changes.
type shardTable struct {
	shards []*Shard
	bySlot [slotCount]int16 // index + 1 in shards; 0 for none
}

// ClusterMonitor watches all shards of a Cluster, each with a [Monitor] of its own, so that one is
// not concerned by another. A server belongs to one shard, and is asked by that one only. It is safe for
// concurrent use. It owns the monitors, and one goroutine that opens and closes them; Close ends all.
type ClusterMonitor struct {
	opts  ClusterOptions
	table atomic.Pointer[shardTable]

	mu      sync.Mutex                // guards the fields below; never held across I/O or callbacks
	views   map[string]*ClusterReport // by address, of servers that answer
	dirty   bool                      // views have changed since the latest merge
	cluster Cluster
	open    map[string]*Shard // by ID; a shard is entered before its first round
	started bool
	closed  bool

	wake   chan struct{} // capacity 1: there are shards to open, to close or to tell
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewClusterMonitor returns a monitor that does nothing before Start.
func NewClusterMonitor(o ClusterOptions) *ClusterMonitor {
	o.Options = o.Options.withDefaults()
	c := &ClusterMonitor{
		opts: o, views: map[string]*ClusterReport{}, open: map[string]*Shard{}, wake: make(chan struct{}, 1),
	}
	c.table.Store(&shardTable{})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Start asks the seeds, opens the shards that they know, and returns when each has made its first
// round; ctx bounds that. Where no seed answers it goes on asking in the background.
func (c *ClusterMonitor) Start(ctx context.Context) {
	c.mu.Lock()
	if c.started || c.closed {
		c.mu.Unlock()
		return
	}
	c.started = true
	c.wg.Add(1)
	c.mu.Unlock()
	first, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	c.askSeeds(first)
	c.keep(first)
	stop()
	cancel()
	go func() {
		defer c.wg.Done()
		c.keepLoop()
	}()
}

// Close closes the monitors of all shards and returns when all has ended. Further calls do nothing.
func (c *ClusterMonitor) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	for _, s := range c.Shards() {
		s.Close()
	}
}

// Shards returns the shards in the order of their IDs; the slice is shared and must not be changed.
// It is one atomic load.
func (c *ClusterMonitor) Shards() []*Shard { return c.table.Load().shards }

// ShardOf returns the shard that a slot belongs to; nil when nobody owns it, or nothing is known yet.
// While a shard has no primary its slots stay its own. It is one atomic load.
func (c *ClusterMonitor) ShardOf(slot int) *Shard {
	t := c.table.Load()
	if slot < 0 || slot >= slotCount || t.bySlot[slot] == 0 {
		return nil
	}
	return t.shards[t.bySlot[slot]-1]
}

// Facts returns what is known of all shards.
func (c *ClusterMonitor) Facts() []ShardFacts {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mergeLocked()
	return slices.Clone(c.cluster.Shards)
}

// probe asks one server and notes its view.
func (c *ClusterMonitor) probe(ctx context.Context, addr string) NodeReport {
	n := c.opts.Probe(ctx, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.views[addr]
	switch {
	case !n.Answered() || n.Cluster == nil:
		delete(c.views, addr)
		c.dirty = c.dirty || old != nil
	case old == nil || !old.equal(n.Cluster):
		c.views[addr] = n.Cluster
		c.dirty = true
	}
	return n
}

// equal reports whether two views say the same; a healthy Cluster's do for days.
func (r *ClusterReport) equal(o *ClusterReport) bool {
	return r.ID == o.ID && r.ShardID == o.ShardID && slices.EqualFunc(r.Members, o.Members, func(a, b ClusterMember) bool {
		return a.ID == b.ID && a.Addr == b.Addr && a.Master == b.Master && a.MasterID == b.MasterID &&
			a.Failed == b.Failed && a.Epoch == b.Epoch && slices.Equal(a.Slots, b.Slots)
	})
}

// mergeLocked brings the shards up to date with the views.
func (c *ClusterMonitor) mergeLocked() {
	if !c.dirty {
		return
	}
	c.dirty = false
	before := c.cluster.Shards
	c.cluster = c.cluster.Merge(c.viewsLocked())
	// What was asked of a seed under another name than the Cluster has for it would stay as
	// it is for ever: only members are asked again.
	members := map[string]bool{}
	for i := range c.cluster.Shards {
		mention(members, c.cluster.Shards[i].Members)
	}
	maps.DeleteFunc(c.views, func(addr string, _ *ClusterReport) bool { return !members[addr] })
	if !slices.EqualFunc(before, c.cluster.Shards, func(a, b ShardFacts) bool {
		return a.ID == b.ID && a.Owner == b.Owner && slices.Equal(a.Slots, b.Slots) && slices.Equal(a.Members, b.Members)
	}) {
		c.wakeUp()
	}
}

// viewsLocked lists the views in the order of their addresses, so that the result does not hang on
// a map's. A server of another Cluster, which has got the address of one that is gone, has no say;
// where nobody else answers it has under an address that the options name, as that Cluster may
// have been made anew there.
func (c *ClusterMonitor) viewsLocked() []ClusterReport {
	var ours, seeds []ClusterReport
	for _, addr := range slices.Sorted(maps.Keys(c.views)) {
		switch v := *c.views[addr]; {
		case c.cluster.akin(v):
			ours = append(ours, v)
		case slices.Contains(c.opts.Seeds, addr):
			seeds = append(seeds, v)
		}
	}
	if len(ours) == 0 {
		return seeds
	}
	return ours
}

func (c *ClusterMonitor) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// facts makes Options.Facts of one shard's monitor.
func (c *ClusterMonitor) facts(id string) func() *ShardFacts {
	return func() *ShardFacts {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mergeLocked()
		for i := range c.cluster.Shards {
			if f := &c.cluster.Shards[i]; f.ID == id {
				copied := *f
				return &copied
			}
		}
		return &ShardFacts{ID: id, Failed: true} // it owns no slots any more
	}
}

// keepLoop keeps the monitors in step with the shards until Close.
func (c *ClusterMonitor) keepLoop() {
	timer := time.NewTicker(c.opts.Interval)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		c.mu.Lock()
		blind := len(c.views) == 0
		c.mu.Unlock()
		if blind {
			c.askSeeds(c.ctx)
		}
		c.keep(c.ctx)
	}
}

// askSeeds asks all seeds at once: at the start, and when no known server answers any more.
func (c *ClusterMonitor) askSeeds(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, addr := range c.opts.Seeds {
		wg.Go(func() { c.probe(ctx, addr) })
	}
	wg.Wait()
	c.mu.Lock()
	c.mergeLocked()
	c.mu.Unlock()
}

// keep opens and closes monitors and publishes the shards.
func (c *ClusterMonitor) keep(ctx context.Context) {
	fresh, gone := c.plan()
	var wg sync.WaitGroup
	for _, s := range fresh {
		wg.Go(func() { s.Start(ctx) })
	}
	wg.Wait()
	if changed := c.publish(); changed != nil && c.opts.OnShards != nil {
		c.tell(changed)
	}
	for _, s := range gone {
		s.Close()
	}
}

func (c *ClusterMonitor) tell(shards []ShardFacts) {
	defer func() {
		if r := recover(); r != nil {
			logPanic(c.opts.Logger, "OnShards", r)
		}
	}()
	c.opts.OnShards(shards)
}

// plan makes the monitors of shards that have none, and takes out those of shards that are long gone.
func (c *ClusterMonitor) plan() (fresh, gone []*Shard) {
	c.mu.Lock()
	c.mergeLocked()
	present, wanted := map[string]bool{}, []ShardFacts(nil)
	for _, f := range c.cluster.Shards {
		present[f.ID] = true
		if s := c.open[f.ID]; s != nil {
			s.gone = time.Time{}
		} else if !c.closed {
			wanted = append(wanted, f)
		}
	}
	now := c.opts.Now()
	for id, s := range c.open {
		switch {
		case present[id]:
		case s.gone.IsZero():
			s.gone = now
		case now.Sub(s.gone) > shardGrace*c.opts.Interval:
			delete(c.open, id)
			gone = append(gone, s)
		}
	}
	c.mu.Unlock()
	for _, f := range wanted {
		fresh = append(fresh, c.newShard(f))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range fresh {
		c.open[s.ID] = s
	}
	return fresh, gone
}

func (c *ClusterMonitor) newShard(f ShardFacts) *Shard {
	o := c.opts.Options
	o.Seeds, o.Probe, o.Facts = f.Members, c.probe, c.facts(f.ID)
	o.Sentinels, o.ListenSentinel = nil, nil
	o.Pending, o.OnChange, o.OnReplay = nil, nil, nil
	var h ShardHooks
	if c.opts.Open != nil {
		h = c.opts.Open(f.ID)
		o.Pending, o.OnChange, o.OnReplay = h.Pending, h.OnChange, h.OnReplay
	}
	s := &Shard{Monitor: NewMonitor(o), ID: f.ID, Owner: h.Owner}
	if h.Bind != nil {
		h.Bind(s.Monitor)
	}
	return s
}

// publish makes the table that callers see, and returns the shards if they have changed.
func (c *ClusterMonitor) publish() []ShardFacts {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &shardTable{}
	for _, id := range slices.Sorted(maps.Keys(c.open)) {
		t.shards = append(t.shards, c.open[id])
	}
	for _, f := range c.cluster.Shards {
		at := slices.IndexFunc(t.shards, func(s *Shard) bool { return s.ID == f.ID })
		for _, r := range f.Slots {
			for slot := r.First; slot <= r.Last; slot++ {
				t.bySlot[slot] = int16(at + 1)
			}
		}
	}
	old := c.table.Load()
	if slices.Equal(old.shards, t.shards) && old.bySlot == t.bySlot {
		return nil
	}
	c.table.Store(t)
	return slices.Clone(c.cluster.Shards)
}
