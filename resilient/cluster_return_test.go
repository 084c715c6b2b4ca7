package resilient_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// lostShard is a Cluster whose first shard has lost its primary for good.
func lostShard(t *testing.T) (servers *redistest.Cluster, replica *redistest.Node, keys []string) {
	t.Helper()
	ctx := context.Background()
	servers = redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
	check(t, servers.AutoFailover(ctx, false))
	primary, _ := servers.Primary(ctx, 0)
	check(t, primary.Kill())
	return servers, servers.Shard(0)[1], keysOfShard(t, servers, 0, 8)
}

func clusterClient(t *testing.T, servers *redistest.Cluster, dir string) *resilient.Client {
	t.Helper()
	return newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, &resilient.Options{Dir: dir, ProbeInterval: 50 * time.Millisecond})
}

// push defers n numbers, each onto one of the lists in turn.
func push(t *testing.T, c *resilient.Client, keys []string, prefix string, n int) {
	t.Helper()
	ctx := context.Background()
	const batch = 100
	for from := 0; from < n; from += batch {
		p := c.Pipeline()
		for i := from; i < from+batch; i++ {
			p.RPush(ctx, "{"+keys[i%len(keys)]+"}"+prefix, i)
		}
		_, err := p.Exec(ctx)
		check(t, err)
	}
}

// wantPushed: the lists have what push deferred, once and in its order.
func wantPushed(t *testing.T, n *redistest.Node, keys []string, prefix string, count int) {
	t.Helper()
	for at, key := range keys {
		list := n.Client().LRange(context.Background(), "{"+key+"}"+prefix, 0, -1).Val()
		if len(list) != count/len(keys) {
			t.Errorf("list %d has %d elements, want %d", at, len(list), count/len(keys))
		}
		for i, v := range list {
			if v != strconv.Itoa(i*len(keys)+at) {
				t.Errorf("list %d: element %d is %s", at, i, v)
				break
			}
		}
	}
}

// TestClusterRestartInMidDrain: the process ends while its backlog is being replayed. The
// next one goes on where it was.
func TestClusterRestartInMidDrain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	servers, replica, keys := lostShard(t)
	const count = 8000
	c := clusterClient(t, servers, dir)
	push(t, c, keys, "l", count)
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	redistest.Eventually(t, testPatience, "the replay", func() bool { return c.Stats().Replayed > 0 })
	check(t, c.Close())
	t.Logf("closed after %d of %d were replayed", c.Stats().Replayed, count)
	c = clusterClient(t, servers, dir)
	eventuallyFlushed(t, c)
	wantPushed(t, replica, keys, "l", count)
}

// TestClusterTwoClientsOnOneDirectory: each has a journal of its own, and replays that.
func TestClusterTwoClientsOnOneDirectory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	servers, replica, keys := lostShard(t)
	clients := []*resilient.Client{clusterClient(t, servers, dir), clusterClient(t, servers, dir)}
	const count = 800
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { push(t, c, keys, fmt.Sprint("of", i), count) })
	}
	wg.Wait()
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	for i, c := range clients {
		eventuallyFlushed(t, c)
		wantPushed(t, replica, keys, fmt.Sprint("of", i), count)
	}
}

// TestClusterFlushAllWaits: FLUSHALL must not pass a deferred write, of whichever shard.
func TestClusterFlushAllWaits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, replica, keys := lostShard(t)
	c := clusterClient(t, servers, "")
	push(t, c, keys, "l", 4000)
	wantRefused(t, "FLUSHALL in the outage", c.Do(ctx, "flushall").Err())
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	redistest.Eventually(t, testPatience, "FLUSHALL to be taken", func() bool {
		err := c.Do(ctx, "flushall").Err()
		if err != nil {
			wantRefused(t, "FLUSHALL", err)
			return false
		}
		return true
	})
	if s := c.Stats(); s.OverlayKeys != 0 || s.Replayed != 4000 {
		t.Errorf("FLUSHALL went ahead of deferred writes: %+v", s)
	}
}

// offset is how far a server's data set is, in bytes of its history; "" when it does not
// answer.
func offset(ctx context.Context, n *redistest.Node) string {
	for line := range strings.Lines(n.Client().Info(ctx, "replication").Val()) {
		if v, ok := strings.CutPrefix(line, "master_repl_offset:"); ok {
			return v
		}
	}
	return ""
}

// TestClusterFlaps: the shard's servers take over from each other again and again. Every
// reply on the way is exact, and so is what is there in the end.
func TestClusterFlaps(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	keys, other := keysOfShard(t, servers, 0, 5), keysOfShard(t, servers, 1, 1)[0]
	primary, replica := servers.Shard(0)[0], servers.Shard(0)[1]
	want := int64(0)
	incr := func(times int) {
		t.Helper()
		for range times {
			want++
			for _, key := range append([]string{other}, keys...) {
				if n, err := c.Incr(ctx, key).Result(); n != want || err != nil {
					t.Fatalf("INCR: %d, %v, want %d; shards %v", n, err, want, c.Shards())
				}
			}
		}
	}
	for round := range 3 {
		incr(5)
		eventuallyFlushed(t, c) // what is confirmed can't be lost
		redistest.Eventually(t, testPatience, "the replica to have it", func() bool {
			return offset(ctx, replica) == offset(ctx, primary)
		})
		check(t, primary.Kill())
		incr(5)
		check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
		incr(5)
		check(t, primary.Restart(ctx))
		check(t, servers.AutoFailover(ctx, false))
		incr(5)
		check(t, servers.WaitComplete(ctx))
		primary, replica = replica, primary
		t.Logf("round %d: %d deferred", round, c.Stats().Deferred)
	}
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	for _, key := range keys {
		if v := primary.Client().Get(ctx, key).Val(); v != strconv.FormatInt(want, 10) {
			t.Errorf("the primary has %s, want %d", v, want)
		}
	}
	if s := c.Stats(); s.Refused+s.InDoubt+s.DeadLettered != 0 {
		t.Errorf("%+v", s)
	}
}
