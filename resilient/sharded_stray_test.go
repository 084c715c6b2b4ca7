package resilient_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestRingPipelineBesideItsShards: what belongs to no shard of a Ring, or to several, is
// sent with a pipeline too.
func TestRingPipelineBesideItsShards(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	one, two := redistest.StartT(t, redistest.Options{}), redistest.StartT(t, redistest.Options{})
	c := wrap(t, ringOf(one.Node(0).Addr(), two.Node(0).Addr()), nil)
	keys := keysOf(t, c, []*redistest.Node{one.Node(0), two.Node(0)})
	p := c.Pipeline()
	set := p.MSet(ctx, keys[0], "x", keys[1], "x")
	eval, echo := p.Eval(ctx, "return 42", nil), p.Echo(ctx, "hello")
	_, err := p.Exec(ctx)
	if err != nil || set.Val() != "OK" || eval.Val() != int64(42) || echo.Val() != "hello" {
		t.Errorf("%v, %v, %v, %v", set, eval, echo, err)
	}
	if v := one.Node(0).Client().Get(ctx, keys[0]).Val(); v != "x" {
		t.Errorf("%q on the shard of the first key", v)
	}
}

// published counts how often the servers have executed PUBLISH for a client.
func published(ctx context.Context, t *testing.T, nodes []*redistest.Node) (n int) {
	t.Helper()
	for _, node := range nodes {
		if !node.Running() {
			continue
		}
		for line := range strings.Lines(node.Client().Info(ctx, "commandstats").Val()) {
			if _, rest, ok := strings.Cut(line, "cmdstat_publish:calls="); ok {
				calls, _, _ := strings.Cut(rest, ",")
				count, err := strconv.Atoi(calls)
				check(t, err)
				n += count
			}
		}
	}
	return n
}

// TestClusterPipelineIsSentOnce: a command without keys in a pipeline is executed once,
// although the shard of another command of it turns out to be dead.
func TestClusterPipelineIsSentOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	key := keysOfShard(t, servers, 0, 1)[0]
	primary, _ := servers.Primary(ctx, 0)
	check(t, primary.Kill())
	before := published(ctx, t, servers.Nodes())
	p := c.Pipeline()
	set, publish := p.Set(ctx, key, 1, 0), p.Publish(ctx, "channel", "message")
	_, err := p.Exec(ctx)
	n := published(ctx, t, servers.Nodes()) - before
	if set.Err() != nil || n > 1 || publish.Err() == nil && n != 1 {
		t.Errorf("%v, %v, %v: PUBLISH was executed %d times", set, publish, err, n)
	}
}

// TestReceiptOfOneShard: the end of a write is known when its shard has it, whatever
// waits for another.
func TestReceiptOfOneShard(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	for shard := range 2 {
		primary, _ := servers.Primary(ctx, shard)
		check(t, primary.Kill())
	}
	check(t, c.Set(ctx, keysOfShard(t, servers, 0, 1)[0], 1, 0).Err())
	tracked, receipt := resilient.WithReceipt(ctx)
	check(t, c.Set(tracked, keysOfShard(t, servers, 1, 1)[0], 1, 0).Err())
	if receipt.Outcome() != resilient.OutcomeDeferred {
		t.Fatalf("the receipt says %v", receipt.Outcome())
	}
	check(t, servers.Failover(ctx, servers.Shard(1)[1], redistest.FailoverTakeover))
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := receipt.Wait(wait); err != nil {
		t.Errorf("%v; %v, %+v", err, c.Shards(), c.Stats())
	}
	if s := c.Stats(); s.Entries == 0 {
		t.Error("nothing waits for the other shard")
	}
}

// TestPipelineOfAnEndedContext: what can't have been sent is not in doubt.
func TestPipelineOfAnEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	servers, cluster := clusterOf(t, redistest.ClusterOptions{Primaries: 1}, nil)
	group := newClientFor(t, &redis.UniversalOptions{Addrs: []string{redistest.StartT(t, redistest.Options{}).Node(0).Addr()}}, &resilient.Options{})
	key := keysOfShard(t, servers, 0, 1)[0]
	cancel()
	for name, c := range map[string]*resilient.Client{"Cluster": cluster, "group": group} {
		for what, err := range map[string]error{
			"a pipeline":    pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil })),
			"a transaction": pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil })),
		} {
			if !errors.Is(err, context.Canceled) || errors.Is(err, resilient.ErrInDoubt) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}
