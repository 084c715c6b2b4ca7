package resilient

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/slot"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// ringed is the backend over a Ring. Its lanes are its shards, whose owners never
// change: a Ring that hands the keys of a silent shard to the others would have a key
// twice when the shard is back.
type ringed struct {
	sharded

	ring  *ringShards
	names []string // of the shards, sorted; a lane is an index here
	hash  redis.ConsistentHash
	all   []*shard // by lane
}

// newRinged makes a client over a Ring, which belongs to it from then on.
func newRinged(inner *redis.Ring, o *Options) (*Client, error) {
	ro := inner.Options()
	c := &ringed{ring: &ringShards{inner}, names: slices.Sorted(maps.Keys(ro.Addrs))}
	c.hash = ro.NewConsistentHash(slices.Clone(c.names))
	c.init(o)
	c.layout = c
	return openSharded(&c.sharded, func() (*Client, error) {
		base := &redis.Options{}
		copyFields(base, ro)
		given := asGiven(*base)
		c.base = &given
		if c.base.Protocol < 2 {
			c.base.Protocol = 3
		}
		group := c.options.Group
		if group == "" {
			group = strings.Join(c.names, ",")
		}
		// A Ring of other shards is another one: keys have other places there.
		target := fmt.Sprintf("ring %s of %s db %d", group, strings.Join(c.names, ","), c.base.DB)
		var front shardedFront = c
		if c.options.Observe {
			front = &shardedOnlooker{sharded: &c.sharded, plain: inner}
		}
		return c.open(front, target, func(o *redis.Options) *redis.Options { return o }, c.ring)
	})
}

// watchShards makes the shards and who watches each.
func (c *ringed) watchShards(o topology.Options) error {
	// The Ring's own clients are used for the servers that it is made for.
	var mu sync.Mutex
	err := c.ring.ForEachShard(c.ctx, func(_ context.Context, client *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		c.nodes.adopt(client)
		return nil
	})
	if err != nil {
		return err
	}
	o.Probe, o.Forget = c.replicas.probe(c.prober.Probe), c.prober.Forget
	for _, name := range c.names {
		s, err := c.newShard(name)
		if err != nil {
			return err
		}
		so, h := o, c.hooks(s)
		so.Seeds, so.Pinned = []string{c.addr(name)}, []string{c.addr(name)}
		so.Pending, so.OnChange, so.OnReplay = h.Pending, h.OnChange, h.OnReplay
		h.Bind(topology.NewMonitor(so))
		c.all = append(c.all, s)
	}
	return nil
}

func (c *ringed) addr(name string) string { return c.ring.Options().Addrs[name] }

// The layout:

func (c *ringed) shardOf(lane uint16) *shard {
	if int(lane) < len(c.all) {
		return c.all[lane]
	}
	return c.stray
}

// laneOf is the shard that the Ring gives a key while all of its shards answer.
func (c *ringed) laneOf(key []byte) uint16 {
	at, found := slices.BinarySearch(c.names, c.hash.Get(string(slot.Tagged(key))))
	if !found {
		return noLane
	}
	return uint16(at)
}

// noLane is that of what belongs to no shard.
const noLane = slot.Count - 1

// laneOfRecord goes by the name of the shard that an entry was accepted for.
func (c *ringed) laneOfRecord(rec journal.Record) uint16 {
	at, found := slices.BinarySearch(c.names, shardOfRecord(rec))
	if !found {
		return noLane
	}
	return uint16(at)
}

func (c *ringed) shardName(lane uint16) string {
	if int(lane) < len(c.names) {
		return c.names[lane]
	}
	return ""
}

func (c *ringed) strict() bool { return false }

func (c *ringed) live(bool) bool {
	return len(c.all) > 0 && !slices.ContainsFunc(c.all, func(s *shard) bool { return !s.live() })
}

func (c *ringed) watched() []*shard { return c.all }

func (c *ringed) promoted() {}

func (c *ringed) addrOf(s *shard, _ string) string { return c.addr(s.name) }

func (c *ringed) servers(s *shard) servers {
	return ringServers{groupServers{c.nodes}, c.addr(s.name), c.ring}
}

func (c *ringed) bound(*shard) {}

func (c *ringed) fenceOf(string) func(uint16) string { return nil }

func (c *ringed) start(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range c.all {
		wg.Go(func() { s.monitor.Start(ctx) })
	}
	wg.Wait()
}

func (c *ringed) unwatch() {
	for _, s := range c.all {
		s.monitor.Close()
	}
}

func (c *ringed) subscriber() subscriber { return c.ring }

func (c *ringed) poolStats() *redis.PoolStats { return c.nodes.poolStats() }

// ringServers are the clients of one shard's servers.
type ringServers struct {
	groupServers
	addr string // of the shard
	ring *ringShards
}

// live implements servers. A name that is no address stands for the shard's own.
func (s ringServers) live(addr string, _ bool) redis.UniversalClient {
	if addr == "" {
		return nil
	}
	if !strings.Contains(addr, ":") {
		addr = s.addr
	}
	c := s.groupServers.get(addr)
	if c == nil || addr != s.addr {
		return c
	}
	return ringWriter{c, s.ring}
}

// ringWriter is the way to a shard's server: through the Ring and its hooks while the
// Ring has all of its shards, so that it finds the same one; else directly.
type ringWriter struct {
	redis.UniversalClient
	ring *ringShards
}

func (w ringWriter) through() redis.UniversalClient {
	if w.whole() {
		return w.ring.Ring
	}
	return w.UniversalClient
}

// whole reports whether the Ring has all of its shards.
func (w ringWriter) whole() bool { return w.ring.Len() == len(w.ring.Options().Addrs) }

// Process implements redis.UniversalClient.
func (w ringWriter) Process(ctx context.Context, cmd redis.Cmder) error {
	if !w.whole() {
		return w.UniversalClient.Process(ctx, cmd)
	}
	err := w.ring.Process(ctx, cmd)
	if _, write := cmd.(*once); write || w.whole() {
		return err
	}
	// The Ring may have given the shard up while it repeated a read, and have asked
	// another one in the end, which has not got the key.
	cmd.SetErr(nil)
	return w.UniversalClient.Process(ctx, cmd)
}

// Pipeline implements redis.UniversalClient.
func (w ringWriter) Pipeline() redis.Pipeliner { return w.through().Pipeline() }

// TxPipeline implements redis.UniversalClient.
func (w ringWriter) TxPipeline() redis.Pipeliner { return w.through().TxPipeline() }

// Watch implements redis.UniversalClient.
func (w ringWriter) Watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	return w.through().Watch(ctx, fn, keys...)
}
