package resilient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// refusedForms are writes that can't be deferred, in every form. Each is the first that
// meets the outage.
var refusedForms = map[string]func(ctx context.Context, c *resilient.Client, key string) error{
	"SETNX": func(ctx context.Context, c *resilient.Client, key string) error { return c.SetNX(ctx, key, 1, 0).Err() },
	"unknown": func(ctx context.Context, c *resilient.Client, key string) error {
		return c.Do(ctx, "restore", key, 0, "x", "replace").Err()
	},
	"script": func(ctx context.Context, c *resilient.Client, key string) error {
		return c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{key}).Err()
	},
	"pipeline": func(ctx context.Context, c *resilient.Client, key string) error {
		return pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.SetNX(ctx, key, 1, 0); return nil }))
	},
	"tx": func(ctx context.Context, c *resilient.Client, key string) error {
		return pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.SetNX(ctx, key, 1, 0); return nil }))
	},
	"Watch": func(ctx context.Context, c *resilient.Client, key string) error {
		return c.Watch(ctx, func(tx *redis.Tx) error {
			return pipelined(tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil }))
		}, key)
	},
	"write inside Watch": func(ctx context.Context, c *resilient.Client, key string) error {
		return c.Watch(ctx, func(tx *redis.Tx) error { return tx.Incr(ctx, key).Err() }, key)
	},
}

// TestRefusalsHaveRedisOwnError: who is refused because a server declined hears from it
// why, over a Ring and over a Cluster.
func TestRefusalsHaveRedisOwnError(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	sick, well := redistest.StartT(t, redistest.Options{Replicas: 1}), redistest.StartT(t, redistest.Options{})
	cluster := redistest.StartClusterT(t, redistest.ClusterOptions{AllowReadsWhenDown: true})
	// Nobody looks at the servers before the write does.
	seldom := func(inner redis.UniversalClient) *resilient.Client {
		return wrap(t, inner, &resilient.Options{ProbeInterval: time.Minute})
	}
	rings, clusters := map[string]*resilient.Client{}, map[string]*resilient.Client{}
	for what := range refusedForms {
		rings[what] = seldom(ringOf(sick.Node(0).Addr(), well.Node(0).Addr()))
		clusters[what] = seldom(redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), DialerRetries: 1}))
	}
	ringKey := keysOf(t, rings["SETNX"], []*redistest.Node{sick.Node(0), well.Node(0)})[0]
	clusterKey := keysOfShard(t, cluster, 0, 1)[0]
	check(t, cluster.Node(0).Client().Set(ctx, clusterKey, 1, 0).Err())
	check(t, sick.WaitSynced(ctx))
	check(t, sick.Cycle(ctx))
	check(t, cluster.Node(2).Kill())
	redistest.Eventually(t, testPatience, "the Cluster to be down", func() bool {
		return redis.IsClusterDownError(cluster.Node(0).Client().Set(ctx, clusterKey, 1, 0).Err())
	})
	for what, write := range refusedForms {
		err := write(ctx, rings[what], ringKey)
		wantRefused(t, what+" over a Ring", err)
		if !redis.IsReadOnlyError(err) && !redis.IsExecAbortError(err) {
			t.Errorf("%s over a Ring: what the server said is not in it", what)
		}
		err = write(ctx, clusters[what], clusterKey)
		wantRefused(t, what+" over a Cluster", err)
		if !redis.IsClusterDownError(err) && !redis.IsExecAbortError(err) && !saysOfScript(err) {
			t.Errorf("%s over a Cluster: what the server said is not in it", what)
		}
	}
}

// saysOfScript reports whether a server has refused what a script does.
func saysOfScript(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.Contains(reply.Error(), "while the cluster is down")
}

// TestClusterTxThatAServerDeclines: go-redis's Cluster client gives the reply to the first
// command that a server did not queue, in place of EXECABORT. Such a transaction is
// deferred as a whole. One in which a script says such a thing was executed, or may have
// been.
func TestClusterTxThatAServerDeclines(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{})
	key := keysOfShard(t, servers, 0, 1)[0]
	node := servers.Node(0).Client()
	for _, commands := range []int{1, 3} {
		c := wrap(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()}), &resilient.Options{ProbeInterval: 100 * time.Millisecond})
		check(t, c.Set(ctx, key, 0, 0).Err())
		check(t, node.ConfigSet(ctx, "min-replicas-to-write", "1").Err())
		tracked, receipt := resilient.WithReceipt(ctx)
		check(t, pipelined(c.TxPipelined(tracked, func(p redis.Pipeliner) error {
			for range commands {
				p.Incr(ctx, key)
			}
			return nil
		})))
		if receipt.Outcome() != resilient.OutcomeDeferred {
			t.Errorf("%d commands: %v, want deferred", commands, receipt.Outcome())
		}
		check(t, node.ConfigSet(ctx, "min-replicas-to-write", "0").Err())
		eventuallyFlushed(t, c)
		if n, err := node.Get(ctx, key).Int(); n != commands || err != nil {
			t.Errorf("%d commands: %d, %v", commands, n, err)
		}
		redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })

		const lie = "redis.call('incr', KEYS[1]) return redis.error_reply('CLUSTERDOWN The cluster is down')"
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for range commands {
				p.Eval(ctx, lie, []string{key})
			}
			return nil
		})
		if err == nil || resilient.SafeToRetry(err) {
			t.Errorf("a script that lies: %v", err)
		}
		if n, err := node.Get(ctx, key).Int(); n != 2*commands || err != nil {
			t.Errorf("%d scripts: %d, %v", commands, n, err)
		}
	}
}
