package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestClusterSlotsMoveUnderLoad: slots with a backlog move to another shard, and back,
// while it is replayed and a load goes on.
func TestClusterSlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	l := startLoad(t, c, servers, 3, 10*time.Millisecond)
	primary, _ := servers.Primary(ctx, 0)
	replica, heir := servers.Shard(0)[1], servers.Shard(1)[0]
	redistest.Eventually(t, testPatience, "a load", func() bool { return l.count(-1, fateLive) > 100 })
	check(t, primary.Kill())
	redistest.Eventually(t, testPatience, "the outage", func() bool { return l.count(0, fateDeferred) > 20 })
	const rounds = 400
	for n := range rounds { // on the slots that are to move, each list in its order
		p := c.Pipeline()
		for _, tag := range l.tags[0] {
			p.RPush(ctx, "{"+tag+"}list", n)
			p.Incr(ctx, "{"+tag+"}sum")
		}
		_, err := p.Exec(ctx)
		check(t, err)
	}
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	for _, to := range []*redistest.Node{heir, replica, heir} {
		for _, tag := range l.tags[0] {
			slot, err := servers.Slot(ctx, tag)
			check(t, err)
			check(t, servers.MoveSlots(ctx, slot, slot, to))
		}
	}
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	more := l.count(0, fateLive)
	redistest.Eventually(t, testPatience, "more of the load", func() bool { return l.count(0, fateLive) > more+20 })
	l.end()
	eventuallyFlushed(t, c)
	for _, tag := range l.tags[0] {
		list := heir.Client().LRange(ctx, "{"+tag+"}list", 0, -1).Val()
		if len(list) != rounds {
			t.Errorf("the list has %d elements, want %d", len(list), rounds)
		}
		for i, v := range list {
			if v != strconv.Itoa(i) {
				t.Errorf("element %d of the list is %s", i, v)
				break
			}
		}
		if v := heir.Client().Get(ctx, "{"+tag+"}sum").Val(); v != strconv.Itoa(rounds) {
			t.Errorf("the sum is %s, want %d", v, rounds)
		}
	}
	lost := l.judge(t, servers)
	t.Logf("%d live, %d deferred, %d refused, %d in doubt; lost by Redis's own replication: %d", l.count(-1, fateLive),
		l.count(-1, fateDeferred), l.count(-1, fateRefused), l.count(-1, fateDoubt), lost.live)
	if lost.deferred+lost.doubled+lost.refusedMade > 0 {
		t.Errorf("%+v", lost)
	}
	l.wantUntouched(t, 2)
}

// TestClusterCommandsInAnOutage: reads of several keys, pipelines, transactions, WATCH and
// subscriptions while a shard has no primary, with a replica that may be read from.
func TestClusterCommandsInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	bad, good := keysOfShard(t, servers, 0, 1)[0], keysOfShard(t, servers, 1, 1)[0]
	of := func(suffix string) string { return "{" + bad + "}" + suffix }
	// go-redis subscribes at the server of the channel's slot, as if it were a key.
	channel := "{" + good + "}news"
	sub := c.Subscribe(ctx, channel)
	t.Cleanup(func() { _ = sub.Close() })
	_, err := sub.Receive(ctx)
	check(t, err)
	for _, suffix := range []string{"a", "b", "c"} {
		check(t, c.Set(ctx, of(suffix), "old", 0).Err())
	}
	check(t, c.Set(ctx, good, 1, 0).Err())
	sizeBefore := c.DBSize(ctx).Val()
	primary, _ := servers.Primary(ctx, 0)
	replica := servers.Shard(0)[1]
	redistest.Eventually(t, testPatience, "the replica to have it", func() bool { return replica.Client().DBSize(ctx).Val() == 3 })
	check(t, primary.Kill())

	check(t, c.Set(ctx, of("b"), "new", 0).Err())
	if v, err := c.MGet(ctx, of("a"), of("b"), of("none")).Result(); fmt.Sprint(v) != "[old new <nil>]" || err != nil {
		t.Errorf("MGET of keys one of which is pending: %v, %v", v, err)
	}
	if n, err := c.Exists(ctx, of("a"), of("b"), of("none")).Result(); n != 2 || err != nil {
		t.Errorf("EXISTS: %d, %v", n, err)
	}
	if n, err := c.Del(ctx, of("a"), of("b"), of("none")).Result(); n != 2 || err != nil {
		t.Errorf("DEL: %d, %v", n, err)
	}
	if v, err := c.MGet(ctx, of("a"), of("b"), of("c")).Result(); fmt.Sprint(v) != "[<nil> <nil> old]" || err != nil {
		t.Errorf("MGET after DEL: %v, %v", v, err)
	}
	if err := c.Do(ctx, "mset", of("a"), 1, good, 1).Err(); !redis.HasErrorPrefix(err, "CROSSSLOT") {
		t.Errorf("MSET over slots: %v", err)
	}
	// A pipeline over the lost shard and a healthy one, with a read behind each write.
	p := c.Pipeline()
	n1, n2 := p.Incr(ctx, of("n")), p.Incr(ctx, good)
	g1, g2, g3 := p.Get(ctx, of("n")), p.Get(ctx, good), p.Get(ctx, of("c"))
	if _, err := p.Exec(ctx); err != nil || n1.Val() != 1 || n2.Val() != 2 || g1.Val() != "1" || g2.Val() != "2" || g3.Val() != "old" {
		t.Errorf("the pipeline: %v, %v", []redis.Cmder{n1, n2, g1, g2, g3}, err)
	}
	check(t, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, of("n")); p.Incr(ctx, of("n")); return nil })))
	if v := c.Get(ctx, of("n")).Val(); v != "3" {
		t.Errorf("after a transaction: %s, want 3", v)
	}
	wantRefused(t, "Watch", c.Watch(ctx, func(*redis.Tx) error { return nil }, of("n")))
	check(t, c.Watch(ctx, func(tx *redis.Tx) error {
		return pipelined(tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, good); return nil }))
	}, good))
	// FLUSHALL must not pass what is deferred, DBSIZE asks whoever is a primary.
	wantRefused(t, "FLUSHALL", c.Do(ctx, "flushall").Err())
	redistest.Eventually(t, testPatience, "a message in the outage", func() bool {
		check(t, c.Publish(ctx, channel, "hello").Err())
		m, err := sub.ReceiveTimeout(ctx, time.Second)
		msg, is := m.(*redis.Message)
		return err == nil && is && msg.Payload == "hello"
	})

	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	if v := fmt.Sprint(replica.Client().MGet(ctx, of("a"), of("b"), of("c"), of("n")).Val()); v != "[<nil> <nil> old 3]" {
		t.Errorf("afterwards: %s", v)
	}
	redistest.Eventually(t, testPatience, "DBSIZE of all shards", func() bool {
		size, err := c.DBSize(ctx).Result() // the fences of the slots among it
		return err == nil && size >= sizeBefore-2+2
	})
}

// TestClusterOrphansAreRead: a replica without a primary answers reads where the servers
// allow it; where they don't, a read ends with what Redis says, and a pending key is
// answered all the same.
func TestClusterOrphansAreRead(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint("allowed ", allowed), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, AllowReadsWhenDown: allowed}, nil)
			check(t, servers.AutoFailover(ctx, false))
			key := keysOfShard(t, servers, 0, 1)[0]
			check(t, c.Set(ctx, key, "v", 0).Err())
			primary, _ := servers.Primary(ctx, 0)
			replica := servers.Shard(0)[1]
			redistest.Eventually(t, testPatience, "the replica to have it", func() bool { return replica.Client().DBSize(ctx).Val() == 1 })
			check(t, primary.Kill())
			redistest.Eventually(t, testPatience, "the Cluster to be down", func() bool {
				return redis.IsClusterDownError(replica.Client().Set(ctx, key, 1, 0).Err()) && shardStates(c, resilient.StateNoPrimary) == 3
			})
			check(t, c.Set(ctx, "{"+key+"}pending", "p", 0).Err())
			if v, err := c.Get(ctx, "{"+key+"}pending").Result(); v != "p" || err != nil {
				t.Errorf("GET of a pending key: %q, %v", v, err)
			}
			v, err := c.Get(ctx, key).Result()
			n, incrErr := c.Incr(ctx, "{"+key+"}n").Result()
			if allowed {
				if v != "v" || err != nil {
					t.Errorf("GET from an orphan: %q, %v", v, err)
				}
				if n != 1 || incrErr != nil {
					t.Errorf("INCR on an orphan's value: %d, %v", n, incrErr)
				}
				return
			}
			if !redis.IsClusterDownError(err) || errors.Is(err, redis.Nil) {
				t.Errorf("GET where reads are not allowed: %q, %v", v, err)
			}
			wantNoBase(t, "INCR where reads are not allowed", incrErr)
		})
	}
}
