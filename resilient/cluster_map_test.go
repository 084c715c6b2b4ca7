package resilient_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// mapStage is a Cluster, and a client whose map of slots the test can hold back.
type mapStage struct {
	servers *redistest.Cluster
	c       *resilient.Client
	keys    []string // of the first shard
	held    atomic.Pointer[[]redis.ClusterSlot]
	node    atomic.Pointer[redistest.Node] // who tells the map
	loaded  atomic.Int64
	decline atomic.Pointer[string] // the server that declines what comes by the map
}

// slotsOf is what a server tells of the slots.
func slotsOf(ctx context.Context, n *redistest.Node) ([]redis.ClusterSlot, error) {
	return n.Client().ClusterSlots(ctx).Result() //nolint:staticcheck // the map of a Cluster client has this form
}

func startMapStage(t *testing.T) *mapStage {
	t.Helper()
	ctx := context.Background()
	s := &mapStage{servers: redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})}
	check(t, s.servers.AutoFailover(ctx, false))
	s.node.Store(s.servers.Shard(1)[0])
	inner := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: s.servers.Addrs(), DialerRetries: 1, ReadTimeout: 2 * time.Second,
		ClusterSlots: func(ctx context.Context) ([]redis.ClusterSlot, error) {
			defer s.loaded.Add(1)
			if held := s.held.Load(); held != nil {
				return *held, nil
			}
			return slotsOf(ctx, s.node.Load())
		},
	})
	inner.OnNewNode(func(c *redis.Client) { c.AddHook(decliner{s, c.Options().Addr}) })
	s.c = wrap(t, inner, &resilient.Options{ProbeInterval: 50 * time.Millisecond})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(s.c, resilient.StateHealthy) == 3 })
	s.keys = keysOfShard(t, s.servers, 0, 12)
	return s
}

// hold keeps the map as it is now.
func (s *mapStage) hold(t *testing.T) {
	t.Helper()
	slots, err := slotsOf(context.Background(), s.node.Load())
	check(t, err)
	s.held.Store(&slots)
}

// decliner answers for one server, as one that has just come back and has no Cluster yet.
type decliner struct {
	s    *mapStage
	addr string
}

// clusterDown is such an answer.
type clusterDown struct{}

func (clusterDown) Error() string { return "CLUSTERDOWN The cluster is down" }
func (clusterDown) RedisError()   {}
func (clusterDown) RuntimeError() {}

func (d decliner) declines() bool {
	at := d.s.decline.Load()
	return at != nil && strings.HasSuffix(*at, d.addr) // go-redis leaves this host's name out here
}

func (d decliner) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d decliner) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if d.declines() && cmd.Name() != "cluster" {
			cmd.SetErr(clusterDown{})
			return clusterDown{}
		}
		return next(ctx, cmd)
	}
}

func (d decliner) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if d.declines() {
			for _, cmd := range cmds {
				cmd.SetErr(clusterDown{})
			}
			return clusterDown{}
		}
		return next(ctx, cmds)
	}
}

// firstForms are writes and reads that can only be right at the primary.
var firstForms = []struct {
	name string
	run  func(ctx context.Context, c *resilient.Client, key string) error
}{
	{"INCR", func(ctx context.Context, c *resilient.Client, key string) error { return c.Incr(ctx, key).Err() }},
	{"SETNX", func(ctx context.Context, c *resilient.Client, key string) error { return c.SetNX(ctx, key, 1, 0).Err() }},
	{"script", func(ctx context.Context, c *resilient.Client, key string) error {
		return c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{key}).Err()
	}},
	{"pipeline", func(ctx context.Context, c *resilient.Client, key string) error {
		return pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.SetNX(ctx, key, 1, 0); p.Get(ctx, key); return nil }))
	}},
	{"transaction", func(ctx context.Context, c *resilient.Client, key string) error {
		return pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.SetNX(ctx, key, 1, 0); p.Get(ctx, key); return nil }))
	}},
	{"Watch", func(ctx context.Context, c *resilient.Client, key string) error {
		return c.Watch(ctx, func(tx *redis.Tx) error {
			return pipelined(tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil }))
		}, key)
	}},
	{"LPUSH and LPOP", func(ctx context.Context, c *resilient.Client, key string) error {
		if err := c.LPush(ctx, key, 1).Err(); err != nil {
			return err
		}
		return c.LPop(ctx, key).Err()
	}},
	{"EXISTS", func(ctx context.Context, c *resilient.Client, key string) error { return c.Exists(ctx, key).Err() }},
}

// TestClusterOldMapAtTheReturn: a replica has taken over, and the Cluster client's map
// goes on naming the former primary, which hangs, or is gone, or has come back. Every
// command that follows the return is taken by the new primary.
func TestClusterOldMapAtTheReturn(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(n *redistest.Node) error{
		"hung": (*redistest.Node).Pause, "gone": (*redistest.Node).Kill,
		"back": func(*redistest.Node) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			s := startMapStage(t)
			old, heir := s.servers.Shard(0)[0], s.servers.Shard(0)[1]
			s.hold(t)
			check(t, lose(old))
			check(t, s.servers.Failover(ctx, heir, redistest.FailoverTakeover))
			s.awaitPrimary(t, heir)
			for i, form := range firstForms {
				if err := form.run(ctx, s.c, s.keys[i]); err != nil {
					t.Errorf("%s: %v (%v)", form.name, err, shardsText(s.c))
				}
			}
			if st := s.c.Stats(); st.Refused+st.InDoubt+st.Deferred != 0 {
				t.Errorf("%+v", st)
			}
			s.held.Store(nil)
			redistest.Eventually(t, testPatience, "the map to be trusted", func() bool { return resilient.Calm(s.c) })
			check(t, s.c.Incr(ctx, s.keys[0]).Err())
		})
	}
}

// TestClusterMapTurnsOld: long after the return the map is read from a server that has
// just come back, and does not know yet who replaced it.
func TestClusterMapTurnsOld(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startMapStage(t)
	old, heir := s.servers.Shard(0)[0], s.servers.Shard(0)[1]
	before, err := slotsOf(ctx, old)
	check(t, err)
	check(t, s.servers.Failover(ctx, heir, redistest.FailoverTakeover))
	s.awaitPrimary(t, heir)
	redistest.Eventually(t, testPatience, "the map to be trusted", func() bool { return resilient.Calm(s.c) })
	for i, form := range firstForms {
		if strings.Contains("script Watch", form.name) {
			continue // what a script answers, and what a WATCH meets, is told as it is
		}
		s.decline.Store(nil)
		s.held.Store(nil)
		redistest.Eventually(t, testPatience, "the map to be trusted", func() bool { return resilient.Calm(s.c) })
		s.held.Store(&before)
		addr := old.Addr()
		s.decline.Store(&addr)
		loaded := s.loaded.Load()
		resilient.ReloadMap(s.c)
		redistest.Eventually(t, testPatience, "the map to be read", func() bool { return s.loaded.Load() > loaded })
		if err := form.run(ctx, s.c, s.keys[i]); err != nil {
			t.Errorf("%s: %v (%v)", form.name, err, shardsText(s.c))
		}
	}
	if st := s.c.Stats(); st.Refused+st.InDoubt+st.Deferred != 0 {
		t.Errorf("%+v", st)
	}
}

// awaitPrimary waits until the client knows the first shard's primary and uses it.
func (s *mapStage) awaitPrimary(t *testing.T, n *redistest.Node) {
	t.Helper()
	redistest.Eventually(t, testPatience, "the primary to be known", func() bool {
		for _, shard := range s.c.Shards() {
			if shard.Primary == n.Addr() && shard.State == resilient.StateHealthy {
				return shardStates(s.c, resilient.StateHealthy) == 3
			}
		}
		return false
	})
}

func shardsText(c *resilient.Client) string {
	var parts []string
	for _, s := range c.Shards() {
		parts = append(parts, fmt.Sprintf("%v %v at %s", s.State, s.Cause, s.Primary))
	}
	return strings.Join(parts, ", ")
}
