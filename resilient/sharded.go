package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/slot"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// sharded is the backend over several shards. A command that names keys goes the way
// of their shard, which can defer it; one that names none, or concerns all servers,
// goes as go-redis sends it, guarded.
//
// There is one journal and one overlay for all shards. A key belongs to a lane: over a
// Cluster its hash slot, over a Ring its shard. Which shard has a lane is asked when
// an entry is accepted and again when it is replayed, so that neither a failover nor a
// slot that moves touches what is kept.
type sharded struct {
	foundation
	layout  layout
	guarded *guarded

	base     *redis.Options // of each server's clients
	prober   *topology.Prober
	nodes    *nodeClients // for commands to single servers
	seeds    *nodeClients
	replicas replicas // who must confirm what is replayed
	lanes    *backlog.Lanes
	fates    *fates
	heirs    *heirs // nil without a directory
	stray    *shard // of lanes that nobody has, as far as is known

	mu     sync.Mutex // guards what follows
	opened []*shard   // the stray one too
	past   Stats      // what those replayed that are gone
}

// layout is what differs between a Cluster and a Ring.
type layout interface {
	// shardOf is the shard that has a lane now; never nil.
	shardOf(lane uint16) *shard
	// laneOf is the lane of a key, for ever.
	laneOf(key []byte) uint16
	// live reports whether every shard takes writes, and, if asked, whether the go-redis
	// client is known to find their primaries. It is asked for each command.
	live(found bool) bool
	// watched are the shards that are watched, in the order of their names.
	watched() []*shard
	// promoted is told that a shard has a primary, perhaps another than before.
	promoted()
	// addrOf is where the application's own client sends a key of a shard.
	addrOf(s *shard, key string) string
	// servers are the clients of a shard's servers.
	servers(s *shard) servers
	// bound is told that a shard is about to be watched.
	bound(s *shard)
	// fenceOf is the key of a lane's fence of a journal; nil where each shard has one.
	fenceOf(client string) func(lane uint16) string
	// laneOfRecord is the lane of an entry that is read from the journal.
	laneOfRecord(rec journal.Record) uint16
	// shardName is what an entry of a lane keeps of its shard; "" for nothing.
	shardName(lane uint16) string
	// strict says that servers decline keys of several lanes in one command, and that
	// the go-redis client finds the shard of a key as we do, whatever happens.
	strict() bool
	watchShards(o topology.Options) error // makes who watches them
	start(ctx context.Context)
	unwatch()
}

// shardedFront is what a Client over several shards stands on.
type shardedFront interface {
	backend
	chain() chain
}

// admit parks a journal beyond Options.MaxReplayAge.
func (c *sharded) admit(j *journal.Journal, found *journal.Recovery) error {
	if j.Confirmed() || !c.options.tooOld(found) {
		return nil
	}
	c.parking.add(parkedFrom(j, found, ParkedOld), nil)
	return errParked
}

// open makes everything, and has the first look at the servers. reading are the options
// of clients that read from replicas.
func (c *sharded) open(front shardedFront, target string, reading func(*redis.Options) *redis.Options, members shards) (*Client, error) {
	if err := c.openJournal(target, c.admit); err != nil {
		return nil, err
	}
	o := c.options
	c.buildCore(c.base)
	c.core.maxRetries, c.core.laneOf = members.retries(), c.layout.laneOf
	c.core.laneOfRecord, c.core.shardName = c.layout.laneOfRecord, c.layout.shardName
	c.guarded = &guarded{shards: members, side: c.side}
	c.nodes = newNodeClients(reading(c.base), o.OnNewNode)
	c.seeds = newNodeClients(reading(singleAttempt(c.base)), nil)
	c.prober = topology.NewProber(c.base)
	c.replicas.server = c.core.habits
	c.lanes = backlog.NewLanes(c.journal, c.layout.laneOfRecord)
	c.core.note, c.core.rollback = c.lanes.Note, c.lanes.Rollback
	c.fates = newFates()
	c.core.replayed = func(ctx context.Context, seqs []uint64) error {
		return c.fates.await(ctx, c.ctx, seqs, c.isOver)
	}
	if err := c.buildOverlay(overlay.Options{
		Source: shardSeeds{c}, Now: o.clock, Lane: func(name string) uint16 { return c.layout.laneOf([]byte(name)) },
	}); err != nil {
		return nil, err
	}
	wake := c.wake
	c.committed.Store(&wake)
	c.buildKeeper()
	if err := c.watchAll(); err != nil {
		return nil, err
	}
	client, facade := newClientOver(front, front.chain(), c.base.Protocol)
	c.facade = facade
	if o.Dir != "" {
		c.heirs = newHeirs(c)
		c.heirs.look() // before any replay: what is older goes ahead
	}
	c.layout.start(c.ctx)
	if c.heirs != nil {
		go c.heirs.run()
	}
	var err error
	c.metrics, err = registerMetrics(client, o.MeterProvider)
	return client, err
}

// watchAll makes the shards and who watches them.
func (c *sharded) watchAll() error {
	o := topology.Options{Interval: c.options.ProbeInterval, Timeout: c.options.ProbeTimeout, Logger: c.log}
	var err error
	if c.stray, err = c.newShard(""); err != nil {
		return err
	}
	idle := topology.NewMonitor(o) // without servers it is unreachable for ever
	c.stray.bind(idle, c.stray.router.nodes.live("stray", true))
	idle.Start(c.ctx)
	return c.layout.watchShards(o)
}

// newShard makes a shard without a monitor.
func (c *sharded) newShard(id string) (*shard, error) {
	s := &shard{name: id, seeds: c.seeds, adopting: make(chan struct{}, 1)}
	s.router = c.newRouter(c.layout.servers(s), func(*topology.View) string { return id })
	s.router.shard, s.router.partial, s.router.mine = id, true, c.mine(s)
	s.router.pending = func() bool { return c.lanes.Pending(s.router.mine) }
	so := overlay.SeederOptions{Fence: replay.FenceKey(c.core.client)}
	if fence := c.layout.fenceOf(c.core.client); fence != nil {
		so.FenceOf = func(key string) string { return fence(c.layout.laneOf([]byte(key))) }
	}
	s.bases = c.newSeedSource(s.router, c.seeds, so)
	d := &drain{
		ctx: c.ctx, events: c.events, log: c.log,
		admit: func(ctx context.Context, primary topology.NodeID) error {
			if c.heirs == nil {
				return nil
			}
			return c.heirs.ahead(ctx, s, primary)
		},
		refused: func(error) {},
		settled: func() {},
	}
	d.fresh = func() (*feed, error) {
		// A feed knows what it has sent: it is kept as long as it can be.
		if f := d.feed.Load(); *f.owned == *c.owned(s) {
			return f, nil
		}
		return c.newFeed(s)
	}
	first, err := c.newFeed(s)
	if err != nil {
		return nil, err
	}
	d.feed.Store(first)
	s.drain = d
	s.router.cutover, s.router.accepted = d, s.accept(d.wake)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, s)
	return s, nil
}

// newFeed makes what the next replay to a shard reads, and who sends it.
func (c *sharded) newFeed(s *shard) (*feed, error) {
	owned := c.owned(s)
	mine := owned.has
	f := &feed{owned: owned, source: newSource(c.ctx, sourceOptions{
		journal: c.journal, fates: c.fates, now: s.now, log: c.log, lanes: c.lanes, mine: mine,
		conflicts: c.options.watchesConflicts(),
		release:   func(upTo uint64) { c.overlay.TrimLanes(upTo, mine) },
	})}
	o := c.replayOptions(c.base, func() []string { return c.replicas.promotable(s.monitor.View()) })
	o.ClientID, o.Source, o.Fence = c.core.client, f.source, c.layout.fenceOf(c.core.client)
	o.Hooks = replay.Hooks{
		Ready:   func(r replay.Ready) { s.drain.ready(r) },
		Drained: func(upTo uint64) { s.drain.drainedUpTo(upTo) },
		Gap:     func(g replay.Gap) { s.drain.gap(g) },
		Paused:  func(code string) { s.drain.paused(code) },

		Advanced: func(rate float64) { s.drain.advanced(rate) },
	}
	var err error
	c.guard(&o, f.source)
	f.source.watch(&o)
	if f.replayer, err = replay.New(o); err != nil {
		return nil, fmt.Errorf("resilient: %w", err)
	}
	return f, nil
}

// hooks joins a shard to the monitor that is to watch it.
func (c *sharded) hooks(s *shard) topology.ShardHooks {
	return topology.ShardHooks{
		Owner: s,
		Bind: func(m *topology.Monitor) {
			s.bind(m, s.router.nodes.live(s.name, true))
			s.preflight = newPreflight(&c.foundation, s, c.base, s.router.fenceKey)
			go s.preflight.run()
			c.layout.bound(s)
		},
		Pending:  func() bool { return c.lanes.Pending(c.mine(s)) },
		OnChange: c.shardChanged(c.changed(s.name)),
		OnReplay: s.drain.order,
	}
}

// shardChanged tells of a change of a shard, and the layout of a primary that takes
// writes: it may be another one.
func (c *sharded) shardChanged(tell func(topology.Change)) func(topology.Change) {
	return func(change topology.Change) {
		if change.To.Live() || change.To == topology.StateReturning {
			c.layout.promoted()
		}
		tell(change)
	}
}

// mine tells whether a lane belongs to a shard at the time of the question.
func (c *sharded) mine(s *shard) func(uint16) bool {
	return func(lane uint16) bool { return c.layout.shardOf(lane) == s }
}

// laneSet are the lanes that belong to a shard at one time. What changes hands later
// needs a replay of its own.
type laneSet [slot.Count]bool

func (o *laneSet) has(lane uint16) bool { return int(lane) < len(o) && o[lane] }

func (c *sharded) owned(s *shard) *laneSet {
	o := new(laneSet)
	for lane := range o {
		o[lane] = c.layout.shardOf(uint16(lane)) == s
	}
	return o
}

// isOver reports whether an entry is in its shard's primary and replicas, whatever waits
// for other shards.
func (c *sharded) isOver(seq uint64) bool {
	if seq <= c.journal.Stats().Trimmed {
		return true
	}
	reader := c.journal.NewReader(seq)
	defer func() { _ = reader.Close() }() // it was only read from
	records, err := reader.Next(c.ctx, 1, 0)
	if err != nil || len(records) == 0 || records[0].Seq != seq {
		return seq <= c.journal.Stats().Trimmed // given back meanwhile
	}
	return c.lanes.Over(seq, c.layout.laneOfRecord(records[0]))
}

// wake tells all replays that entries are durable.
func (c *sharded) wake() {
	for _, s := range c.shards() {
		s.drain.wake()
	}
}

// retire takes down what there is of shards that nobody watches any more. What was
// deferred for them belongs to the shards that have their lanes now, or to the stray one.
func (c *sharded) retire() {
	watched := c.layout.watched()
	for _, s := range c.shards() {
		if s == c.stray || slices.Contains(watched, s) {
			continue
		}
		s.router.retired.Store(true)
		if err := s.end(); err != nil {
			c.log.Warn("a replay's reader could not be closed", slog.Any("error", err))
		}
		var figures Stats
		s.drain.stats(&figures)
		c.mu.Lock()
		c.opened = slices.DeleteFunc(c.opened, func(o *shard) bool { return o == s })
		c.past.Replayed += figures.Replayed
		c.past.Unconfirmed += figures.Unconfirmed
		c.past.Conflicted += figures.Conflicted
		c.past.Merged += figures.Merged
		c.past.Diverged += figures.Diverged
		c.past.Expired += figures.Expired
		c.mu.Unlock()
	}
}

// end ends what a shard has going on, but for its monitor. Commands that are under way
// find their keys with another shard.
func (s *shard) end() error {
	if s.preflight != nil {
		s.preflight.close()
	}
	if s.slots != nil {
		s.slots.close()
	}
	s.drain.close()
	return s.drain.feed.Load().source.Close()
}

// shards are those that are watched, and the stray one.
func (c *sharded) shards() []*shard {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.opened)
}

// regroup begins replays anew, since lanes belong to other shards now.
func (c *sharded) regroup() {
	for _, s := range c.shards() {
		s.drain.renew()
		if s != c.stray && c.lanes.Pending(c.mine(s)) {
			s.monitor.Backlog(true)
		}
	}
}

// shardSeeds gives base values from the shards of their keys. Keys that are seeded
// together are of one lane.
type shardSeeds struct{ c *sharded }

func (s shardSeeds) of(key overlay.Key) *seedSource {
	return s.c.layout.shardOf(s.c.layout.laneOf([]byte(key.Name))).bases
}

// Seed implements overlay.Source.
func (s shardSeeds) Seed(ctx context.Context, keys []overlay.Key, depth overlay.Depth) ([]overlay.Seed, error) {
	return s.of(keys[0]).Seed(ctx, keys, depth)
}

// Members implements overlay.Source.
func (s shardSeeds) Members(
	ctx context.Context, key overlay.Key, typ engine.Type, members [][]byte,
) ([]engine.Fact, error) {
	return s.of(key).Members(ctx, key, typ, members)
}

// openSharded opens a backend over several shards, or takes down what there is of it.
func openSharded(c *sharded, open func() (*Client, error)) (*Client, error) {
	client, err := open()
	if err != nil {
		if c.nodes != nil {
			c.nodes.giveBack()
		}
		return nil, errors.Join(err, c.teardown(false))
	}
	return client, nil
}
