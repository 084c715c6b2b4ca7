package resilient

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/slot"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// clustered is the backend over a Cluster: its lanes are the hash slots, and each has a
// fence of its own, which goes with the slot when that moves.
type clustered struct {
	sharded

	cluster *clusterShards
	watcher *topology.ClusterMonitor
}

// newClustered makes a client over a Cluster client, which belongs to it from then on.
func newClustered(inner *redis.ClusterClient, o *Options) (*Client, error) {
	c := &clustered{cluster: &clusterShards{ClusterClient: inner}}
	c.init(o)
	c.layout = c
	return openSharded(&c.sharded, func() (*Client, error) {
		c.base = clusterNodeOptions(inner.Options())
		if c.options.OnNewNode != nil {
			c.cluster.onNewNode(c.options.OnNewNode)
		}
		if !c.options.Observe {
			c.cluster.keepTimely()
		}
		group := c.options.Group
		if group == "" {
			group = strings.Join(slices.Sorted(slices.Values(inner.Options().Addrs)), ",")
		}
		var front shardedFront = c
		if c.options.Observe {
			c.cluster.observed = true
			front = &shardedOnlooker{sharded: &c.sharded, plain: inner}
		}
		return c.open(front, "cluster "+group, readingReplicas, c.cluster)
	})
}

// watchShards makes who watches the shards.
func (c *clustered) watchShards(o topology.Options) error {
	o.Seeds, o.Probe = c.cluster.Options().Addrs, c.replicas.probe(c.prober.ProbeCluster)
	c.watcher = topology.NewClusterMonitor(topology.ClusterOptions{Options: o, Open: c.openShard, OnShards: c.moved})
	return nil
}

// openShard makes the hooks of a shard that is to be watched from now on.
func (c *clustered) openShard(id string) topology.ShardHooks {
	s, err := c.newShard(id)
	if err != nil { // the options have been validated: it can't be
		c.log.Error("a shard's replay could not be made; its writes are not deferred", slog.Any("error", err))
		return topology.ShardHooks{}
	}
	return c.hooks(s)
}

// moved is told that shards came, went or changed slots.
func (c *clustered) moved([]topology.ShardFacts) {
	c.promoted()
	c.retire()
	c.regroup()
}

// The layout:

func (c *clustered) shardOf(lane uint16) *shard {
	if c.watcher == nil {
		return c.stray
	}
	if t := c.watcher.ShardOf(int(lane)); t != nil {
		if s, ok := t.Owner.(*shard); ok {
			return s
		}
	}
	return c.stray
}

func (c *clustered) laneOf(key []byte) uint16 { return slot.Of(key) }

func (c *clustered) laneOfRecord(rec journal.Record) uint16 { return firstLane(rec, c.laneOf) }

func (c *clustered) shardName(uint16) string { return "" }

func (c *clustered) strict() bool { return true }

// liveShards bounds how many shards are looked at for each command; a Cluster of more
// is routed by slot at once.
const liveShards = 64

func (c *clustered) live(found bool) bool {
	open := c.watcher.Shards()
	if len(open) == 0 || len(open) > liveShards {
		return false
	}
	for _, t := range open {
		if s, ok := t.Owner.(*shard); !ok || !s.live() || found && s.mapped.Load() != s.monitor.View().Epoch {
			return false
		}
	}
	return true
}

func (c *clustered) watched() []*shard {
	open := c.watcher.Shards()
	all := make([]*shard, 0, len(open))
	for _, t := range open {
		if s, ok := t.Owner.(*shard); ok {
			all = append(all, s)
		}
	}
	return all
}

// promoted lets the Cluster client learn who it is: by itself it would in a minute.
func (c *clustered) promoted() {
	if !c.cluster.observed {
		c.cluster.ReloadState(c.ctx)
	}
}

func (c *clustered) addrOf(_ *shard, key string) string {
	node, err := c.cluster.MasterForKey(c.ctx, key)
	if err != nil {
		return ""
	}
	return withHost(node.Options().Addr)
}

func (c *clustered) servers(s *shard) servers { return clusterServers{c, s} }

func (c *clustered) bound(s *shard) {
	s.slots = newSlotMap(c, s)
	go s.slots.run()
}

func (c *clustered) fenceOf(client string) func(uint16) string {
	return func(lane uint16) string { return replay.FenceKeyOf(client, lane) }
}

func (c *clustered) start(ctx context.Context) { c.watcher.Start(ctx) }

func (c *clustered) unwatch() {
	if c.watcher != nil {
		c.watcher.Close()
	}
}

func (c *clustered) subscriber() subscriber { return c.cluster }

func (c *clustered) poolStats() *redis.PoolStats {
	sum := c.cluster.PoolStats()
	addPool(sum, c.nodes.poolStats())
	return sum
}

// clusterServers are the clients of one shard's servers. While there is a primary
// everything goes through the Cluster client, which follows redirections.
type clusterServers struct {
	c *clustered
	s *shard
}

func (s clusterServers) live(addr string, _ bool) redis.UniversalClient {
	if addr == "" {
		s.c.cluster.turn.Add(1) // before anything is deferred
		return nil
	}
	return clusterWriter{s.c.cluster, s.c, s.s, addr}
}
func (s clusterServers) get(addr string) redis.UniversalClient { return orNil(s.c.nodes.get(addr)) }
func (s clusterServers) declined(string)                       { s.c.cluster.declined() }
func (s clusterServers) lost()                                 { s.c.cluster.declined() }

// misleads implements misleading.
func (s clusterServers) misleads(addr string) bool {
	v := s.s.monitor.View()
	return v.Primary.Addr == addr && s.c.parted(v)
}

// readingReplicas are options of clients that read from replicas of a Cluster.
func readingReplicas(base *redis.Options) *redis.Options {
	o, first := *base, base.OnConnect
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if first != nil {
			if err := first(ctx, cn); err != nil {
				return err
			}
		}
		return cn.ReadOnly(ctx).Err()
	}
	return &o
}

// clusterNodeOptions are the options that a Cluster client gives the clients of its
// servers: those of the same name.
func clusterNodeOptions(from *redis.ClusterOptions) *redis.Options {
	to := &redis.Options{}
	copyFields(to, from)
	o := asGiven(*to)
	if o.Protocol < 2 {
		o.Protocol = 3
	}
	return &o
}

// copyFields copies the exported fields that two structs share by name and type.
func copyFields(to, from any) {
	src, dst := reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem()
	for i := range dst.NumField() {
		field := dst.Type().Field(i)
		if v := src.FieldByName(field.Name); field.IsExported() && v.IsValid() && v.Type() == field.Type {
			dst.Field(i).Set(v)
		}
	}
}
