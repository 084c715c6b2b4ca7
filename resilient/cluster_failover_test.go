package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// clusterLoad makes counters, each by one INCR, in turn on keys of all shards.
type clusterLoad struct {
	c    *resilient.Client
	tags [][]string // by shard
	stop chan struct{}
	wg   sync.WaitGroup

	mu   sync.Mutex // guards made
	made []counted
}

// counted is one counter and what its caller heard.
type counted struct {
	key   string
	shard int
	at    time.Time
	err   error
	fate  fate
}

// startLoad begins. Each of the callers has its own keys, at the rate given.
func startLoad(t *testing.T, c *resilient.Client, servers *redistest.Cluster, callers int, every time.Duration) *clusterLoad {
	t.Helper()
	l := &clusterLoad{c: c, stop: make(chan struct{})}
	for shard := range 3 {
		l.tags = append(l.tags, keysOfShard(t, servers, shard, 4))
	}
	for id := range callers {
		l.wg.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				case <-tick.C:
					shard := n % len(l.tags)
					l.write(fmt.Sprintf("{%s}:%d:%d", l.tags[shard][n%4], id, n), shard, n)
				}
			}
		})
	}
	return l
}

// write makes one counter: by a command, a pipeline or a transaction.
func (l *clusterLoad) write(key string, shard, n int) {
	ctx, receipt := resilient.WithReceipt(context.Background())
	w := counted{key: key, shard: shard, at: time.Now()}
	switch n / 3 % 3 {
	case 0:
		w.err = l.c.Incr(ctx, key).Err()
	case 1:
		w.err = pipelined(l.c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil }))
	case 2:
		w.err = pipelined(l.c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil }))
	}
	w.fate = fateOf(w.err, receipt)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = append(l.made, w)
}

// count is the number of writes of a shard (-1: of any) with such a fate.
func (l *clusterLoad) count(shard int, f fate) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.made {
		if (shard < 0 || w.shard == shard) && w.fate == f {
			n++
		}
	}
	return n
}

// end ends the load.
func (l *clusterLoad) end() {
	close(l.stop)
	l.wg.Wait()
}

// losses are the writes that are not there, by what was said of them.
type losses struct{ live, deferred, doubled, refusedMade int }

// judge compares what was said with what there is.
func (l *clusterLoad) judge(t *testing.T, servers *redistest.Cluster) (lost losses) {
	t.Helper()
	plain := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	defer plain.Close()
	ctx := context.Background()
	pipe := plain.Pipeline()
	got := make([]*redis.StringCmd, len(l.made))
	for i, w := range l.made {
		got[i] = pipe.Get(ctx, w.key)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	for i, w := range l.made {
		n, _ := strconv.Atoi(got[i].Val())
		switch {
		case n > 1:
			lost.doubled++
		case n == 0 && w.fate == fateLive:
			lost.live++
		case n == 0 && w.fate == fateDeferred:
			lost.deferred++
		case n == 1 && w.fate == fateRefused:
			lost.refusedMade++
		case w.fate == fateFailed:
			t.Errorf("a write of shard %d failed: %v", w.shard, w.err)
		case w.fate == fateRefused:
			t.Logf("refused after %v: %v (%v)", w.at.Sub(l.made[0].at), w.err, errors.Unwrap(w.err))
		}
	}
	return lost
}

// story is the states that the client told of, and when.
type story struct {
	begun time.Time
	mu    sync.Mutex // guards lines
	lines []string
}

func (s *story) listener() resilient.Listener {
	return resilient.Listener{StateChanged: func(i resilient.StateInfo) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, fmt.Sprintf("%v %s: %v %v", time.Since(s.begun).Round(10*time.Millisecond), i.To.Shard, i.To.State, i.To.Cause))
	}}
}

func (s *story) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "; ")
}

// TestClusterFailoverUnderLoad: a primary dies and its replica takes over by itself. The
// shard's writes are deferred meanwhile and made once; the others notice nothing of it.
func TestClusterFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	told := &story{begun: time.Now()}
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, &resilient.Options{Listener: told.listener()})
	l := startLoad(t, c, servers, 6, 10*time.Millisecond)
	redistest.Eventually(t, testPatience, "a load", func() bool { return l.count(-1, fateLive) > 300 })
	primary, _ := servers.Primary(ctx, 0)
	killed := time.Now()
	check(t, primary.Kill())
	redistest.Eventually(t, testPatience, "a failover", func() bool { n, is := servers.Primary(ctx, 0); return is && n != primary })
	elected := time.Since(killed)
	redistest.Eventually(t, testPatience, "writes of the shard to be taken again", func() bool {
		return shardStates(c, resilient.StateHealthy) == 3 && c.Stats().Entries == 0
	})
	t.Logf("elected after %v, all shards healthy and drained after %v", elected, time.Since(killed))
	more := l.count(0, fateLive)
	redistest.Eventually(t, testPatience, "more of the load", func() bool { return l.count(0, fateLive) > more+50 })
	l.end()
	check(t, c.Flush(ctx))

	lost := l.judge(t, servers)
	t.Logf("%d live, %d deferred, %d refused, %d in doubt; lost by Redis's own replication: %d; told: %v", l.count(-1, fateLive),
		l.count(-1, fateDeferred), l.count(-1, fateRefused), l.count(-1, fateDoubt), lost.live, told.text())
	if lost.deferred+lost.doubled+lost.refusedMade > 0 {
		t.Errorf("%+v", lost)
	}
	if l.count(0, fateDeferred) == 0 {
		t.Error("nothing was deferred")
	}
	l.wantUntouched(t, 1, 2)
}

// wantUntouched: every write of these shards was taken by Redis at once.
func (l *clusterLoad) wantUntouched(t *testing.T, shards ...int) {
	t.Helper()
	for _, shard := range shards {
		for _, f := range []fate{fateDeferred, fateRefused, fateDoubt, fateFailed} {
			if n := l.count(shard, f); n > 0 {
				t.Errorf("%d writes of the healthy shard %d have the fate %d", n, shard, f)
			}
		}
	}
}

// TestClusterUncoveredSlots: as Redis is set by default, all shards refuse writes while
// one is lost. All of them are deferred then, and replayed when all slots are served.
func TestClusterUncoveredSlots(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, AllowReadsWhenDown: true}, nil)
	check(t, servers.AutoFailover(ctx, false))
	keys := [][]string{keysOfShard(t, servers, 0, 5), keysOfShard(t, servers, 1, 5), keysOfShard(t, servers, 2, 5)}
	for _, part := range keys {
		for _, key := range part {
			check(t, c.Set(ctx, key, 1, 0).Err())
		}
	}
	primary, _ := servers.Primary(ctx, 0)
	replica := servers.Shard(0)[1]
	redistest.Eventually(t, testPatience, "the replica to have it", func() bool { return replica.Client().DBSize(ctx).Val() >= 5 })
	check(t, primary.Kill())
	redistest.Eventually(t, testPatience, "all shards to refuse writes", func() bool { return shardStates(c, resilient.StateNoPrimary) == 3 })
	for _, s := range c.Shards() {
		if s.Cause != resilient.CauseSlotsUncovered && s.Cause != resilient.CausePrimaryDown {
			t.Errorf("shard %s: %v %v", s.Shard, s.State, s.Cause)
		}
	}
	for want := int64(2); want <= 4; want++ {
		for shard, part := range keys {
			for _, key := range part {
				if n, err := c.Incr(ctx, key).Result(); n != want || err != nil {
					t.Fatalf("INCR on shard %d: %d, %v, want %d", shard, n, err, want)
				}
			}
		}
	}
	if n := c.Stats().Deferred; n != 3*15 {
		t.Errorf("%d deferred, want all of 45", n)
	}
	// What can't be deferred carries what the server said.
	err := c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{keys[1][0]}).Err()
	wantRefused(t, "a script", err)
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	for shard, part := range keys {
		owner, _ := servers.Primary(ctx, shard)
		for _, key := range part {
			if v := owner.Client().Get(ctx, key).Val(); v != "4" {
				t.Errorf("shard %d has %q, want 4", shard, v)
			}
		}
	}
}

// TestClusterUncoveredByDefault: as Redis is set by default, no shard serves reads either.
// What needs no value is deferred for all of them, and what builds on that; what needs one
// that nobody tells is refused, and carries what the server said.
func TestClusterUncoveredByDefault(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1}, nil)
	check(t, servers.AutoFailover(ctx, false))
	keys := []string{keysOfShard(t, servers, 0, 1)[0], keysOfShard(t, servers, 1, 1)[0], keysOfShard(t, servers, 2, 1)[0]}
	primary, _ := servers.Primary(ctx, 0)
	check(t, primary.Kill())
	redistest.Eventually(t, testPatience, "all shards to refuse writes", func() bool { return shardStates(c, resilient.StateNoPrimary) == 3 })
	redistest.Eventually(t, testPatience, "the cause", func() bool {
		return !slices.ContainsFunc(c.Shards(), func(s resilient.ShardState) bool { return s.Cause != resilient.CauseSlotsUncovered })
	})
	for shard, key := range keys {
		wantNoBase(t, "INCR of an unknown key", c.Incr(ctx, key).Err())
		if err := c.Get(ctx, key).Err(); err == nil || !strings.HasPrefix(err.Error(), "CLUSTERDOWN") {
			t.Errorf("GET on shard %d: %v", shard, err)
		}
		check(t, c.Set(ctx, key, shard, 0).Err())
		if n, err := c.Incr(ctx, key).Result(); n != int64(shard+1) || err != nil {
			t.Errorf("INCR on shard %d: %d, %v", shard, n, err)
		}
	}
	wantRefused(t, "SET NX", c.SetNX(ctx, "{"+keys[1]+"}lock", 1, 0).Err())
	check(t, servers.Failover(ctx, servers.Shard(0)[1], redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	for shard, key := range keys {
		owner, _ := servers.Primary(ctx, shard)
		if v := owner.Client().Get(ctx, key).Val(); v != strconv.Itoa(shard+1) {
			t.Errorf("shard %d has %q", shard, v)
		}
	}
	if s := c.Stats(); s.Deferred != 6 || s.InDoubt != 0 {
		t.Errorf("%+v", s)
	}
}

// TestClusterDownAtStart: no server answers when the client is made. What needs no base is
// deferred, and made when they come up.
func TestClusterDownAtStart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{})
	keys := [][]string{keysOfShard(t, servers, 0, 5), keysOfShard(t, servers, 1, 5), keysOfShard(t, servers, 2, 5)}
	for shard := range keys {
		check(t, servers.KillShard(shard))
	}
	c := newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, &resilient.Options{ProbeInterval: 100 * time.Millisecond})
	for _, part := range keys {
		for i, key := range part {
			if err := c.Set(ctx, key, i, 0).Err(); err != nil {
				t.Fatalf("SET without any server: %v", err)
			}
			if n, err := c.Incr(ctx, key).Result(); n != int64(i+1) || err != nil {
				t.Errorf("INCR of a known key: %d, %v", n, err)
			}
		}
		wantNoBase(t, "INCR of an unknown key", c.Incr(ctx, "{"+part[0]+"}unknown").Err())
		check(t, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "{"+part[0]+"}tx", 1, 0); return nil })))
	}
	for shard := range keys {
		check(t, servers.Shard(shard)[0].Restart(ctx))
	}
	check(t, servers.WaitComplete(ctx))
	eventuallyFlushed(t, c)
	for shard, part := range keys {
		node := servers.Shard(shard)[0].Client()
		for i, key := range part {
			if v := node.Get(ctx, key).Val(); v != strconv.Itoa(i+1) {
				t.Errorf("shard %d has %q, want %d", shard, v, i+1)
			}
		}
		if v := node.Get(ctx, "{"+part[0]+"}tx").Val(); v != "1" {
			t.Errorf("shard %d has %q of the transaction", shard, v)
		}
	}
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	check(t, c.Incr(ctx, keys[0][0]).Err())
}

// TestClusterShardDownAndUp: all servers of a shard die. What needs no base is deferred,
// and made when they come back.
func TestClusterShardDownAndUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	l := startLoad(t, c, servers, 2, 10*time.Millisecond)
	redistest.Eventually(t, testPatience, "a load", func() bool { return l.count(-1, fateLive) > 50 })
	keys := keysOfShard(t, servers, 0, 10)
	check(t, servers.KillShard(0))
	for i, key := range keys {
		check(t, c.Set(ctx, key, i, 0).Err())
		check(t, c.Append(ctx, key, "x").Err())
	}
	check(t, servers.Shard(0)[0].Restart(ctx))
	check(t, servers.Shard(0)[1].Restart(ctx))
	check(t, servers.WaitComplete(ctx))
	eventuallyFlushed(t, c)
	l.end()
	check(t, c.Flush(ctx))
	owner, _ := servers.Primary(ctx, 0)
	for i, key := range keys {
		if v := owner.Client().Get(ctx, key).Val(); v != strconv.Itoa(i)+"x" {
			t.Errorf("key %d is %q", i, v)
		}
	}
	l.wantUntouched(t, 1, 2)
	if lost := l.judge(t, servers); lost.deferred+lost.doubled+lost.refusedMade > 0 {
		t.Errorf("%+v", lost)
	}
}
