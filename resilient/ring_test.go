package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// ringStage is a Ring of three shards, the first of which is to break.
type ringStage struct {
	groups []*redistest.Group
	db     int
	shy    atomic.Bool // the Ring does not see that a shard is back
}

func startRing(t *testing.T, db int) *ringStage {
	t.Helper()
	s := &ringStage{db: db}
	for i := range 3 {
		o := redistest.Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}}
		if i == 0 {
			o.Replicas = 1
		}
		s.groups = append(s.groups, redistest.StartT(t, o))
	}
	check(t, s.groups[0].WaitSynced(context.Background()))
	return s
}

// ring is a Ring over the primaries. It gives the keys of a server that is silent to the
// others within a moment.
func (s *ringStage) ring() *redis.Ring {
	addrs := map[string]string{}
	for i, g := range s.groups {
		addrs[fmt.Sprint("shard", i)] = g.Node(0).Addr()
	}
	var lost sync.Map // the shards that did not answer
	return redis.NewRing(&redis.RingOptions{
		HeartbeatFn: func(ctx context.Context, c *redis.Client) bool {
			err := c.Ping(ctx).Err()
			if err != nil {
				lost.Store(c.Options().Addr, true)
			}
			_, was := lost.Load(c.Options().Addr)
			return err == nil && !(was && s.shy.Load())
		},
		Addrs: addrs, DB: s.db, HeartbeatFrequency: 20 * time.Millisecond, DialerRetries: 1,
		ReadTimeout: time.Second, MaxRetryBackoff: 20 * time.Millisecond,
	})
}

func (s *ringStage) wrap(t *testing.T, ring *redis.Ring, dir string) *resilient.Client {
	t.Helper()
	return wrap(t, ring, &resilient.Options{
		Dir: dir, ProbeInterval: 50 * time.Millisecond, Nodes: s.groups[0].Addrs()[1:],
	})
}

// direct is a client of a shard's server, with the Ring's database.
func (s *ringStage) direct(t *testing.T, shard int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.groups[shard].Node(0).Addr(), DB: s.db})
	t.Cleanup(func() { _ = c.Close() }) // it was only read from
	return c
}

// keys finds n keys for each shard.
func (s *ringStage) keys(t *testing.T, ring *redis.Ring, n int) [][]string {
	t.Helper()
	keys := make([][]string, len(s.groups))
	for i, found := 0, 0; found < n*len(keys); i++ {
		key := fmt.Sprintf("ring:%d", i)
		owner, err := ring.GetShardClientForKey(key)
		check(t, err)
		for at, g := range s.groups {
			if owner.Options().Addr == g.Node(0).Addr() && len(keys[at]) < n {
				keys[at] = append(keys[at], key)
				found++
			}
		}
	}
	return keys
}

// strangers are the keys that stand on a shard that they don't belong to.
func (s *ringStage) strangers(t *testing.T, keys [][]string) (found []string) {
	t.Helper()
	for shard := range s.groups {
		all, err := s.direct(t, shard).Keys(context.Background(), "*").Result()
		check(t, err)
		for _, key := range all {
			if !slices.Contains(keys[shard], key) && key[0] == 'r' { // not Holdfast's own
				found = append(found, fmt.Sprint(shard, ":", key))
			}
		}
	}
	return found
}

// breakage is a way to lose the first shard's server, and the way back.
type breakage struct {
	breaks, mends func(g *redistest.Group, ctx context.Context) error
	silent        bool // the Ring itself takes the shard out
}

var breakages = map[string]breakage{
	"all replicas": {
		breaks: (*redistest.Group).Cycle,
		mends:  func(g *redistest.Group, ctx context.Context) error { return g.PromoteOnly(ctx, 0) },
	},
	"killed": {
		breaks: func(g *redistest.Group, _ context.Context) error { return g.Node(0).Kill() },
		mends:  func(g *redistest.Group, ctx context.Context) error { return g.Node(0).Restart(ctx) },
		silent: true,
	},
	"hung": {
		breaks: func(g *redistest.Group, _ context.Context) error { return g.Node(0).Pause() },
		mends:  func(g *redistest.Group, _ context.Context) error { return g.Node(0).Resume() },
		silent: true,
	},
}

// TestRingKeepsItsPlaces: the server of a shard is lost, and the Ring itself may give its
// keys to the others. What is written meanwhile is deferred for the shard they belong to,
// answered exactly, and there once when its server is back.
func TestRingKeepsItsPlaces(t *testing.T) {
	t.Parallel()
	for name, how := range breakages {
		for _, db := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s, database %d", name, db), func(t *testing.T) {
				t.Parallel()
				testRingKeepsItsPlaces(t, how, db)
			})
		}
	}
}

func testRingKeepsItsPlaces(t *testing.T, how breakage, db int) {
	ctx := context.Background()
	s := startRing(t, db)
	ring := s.ring()
	keys := s.keys(t, ring, 15)
	c := s.wrap(t, ring, "")
	all := slices.Concat(keys...)
	made := make(map[string]int64)
	incr := func() {
		t.Helper()
		for _, key := range all {
			made[key]++
			if n, err := c.Incr(ctx, key).Result(); err != nil || n != made[key] {
				t.Errorf("INCR: %d, %v, want %d", n, err, made[key])
			}
		}
	}
	incr()
	check(t, s.groups[0].WaitSynced(ctx))
	check(t, how.breaks(s.groups[0], ctx))
	redistest.Eventually(t, testPatience, "the outage to be known", func() bool { return c.State().State == resilient.StateNoPrimary })
	incr()
	if how.silent {
		redistest.Eventually(t, testPatience, "the Ring to give up its shard", func() bool { return ring.Len() == 2 })
	}
	incr()
	check(t, pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range all {
			p.Incr(ctx, key)
			made[key]++
		}
		return nil
	})))
	for _, part := range keys {
		check(t, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range part {
				p.Incr(ctx, key)
				made[key]++
			}
			return nil
		})))
	}
	for _, key := range all {
		if v, err := c.Get(ctx, key).Result(); v != strconv.FormatInt(made[key], 10) || err != nil {
			t.Errorf("GET in the outage: %q, %v, want %d", v, err, made[key])
		}
	}
	if n := c.Stats().Deferred; n != uint64(3*len(keys[0])+1) {
		t.Errorf("%d deferred, want %d", n, 3*len(keys[0])+1)
	}
	for shard := range s.groups[1:] {
		if n := s.direct(t, shard+1).Exists(ctx, keys[0]...).Val(); n != 0 {
			t.Errorf("shard %d has %d keys of the lost one", shard+1, n)
		}
	}

	// Its server is back, and the Ring doesn't know it yet; then it does.
	s.shy.Store(true)
	check(t, how.mends(s.groups[0], ctx))
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	if whole := ring.Len() == 3; whole == how.silent {
		t.Errorf("the Ring has %d shards", ring.Len())
	}
	incr()
	check(t, pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range all {
			p.Incr(ctx, key)
			made[key]++
		}
		return nil
	})))
	s.shy.Store(false)
	redistest.Eventually(t, testPatience, "the Ring to be whole", func() bool { return ring.Len() == 3 })
	incr()
	for shard, part := range keys {
		for _, key := range part {
			if v := s.direct(t, shard).Get(ctx, key).Val(); v != strconv.FormatInt(made[key], 10) {
				t.Errorf("afterwards shard %d has %q, want %d", shard, v, made[key])
			}
		}
	}
	if found := s.strangers(t, keys); len(found) > 0 {
		t.Errorf("keys on a shard that is not theirs: %v", found)
	}
	if st := c.Stats(); st.Entries != 0 || st.Refused != 0 || st.InDoubt != 0 || st.DeadLettered != 0 {
		t.Errorf("%+v", st)
	}
}

// TestRingAnswersOfOwnShard: a Ring that gives a shard up while it repeats a read asks
// another one, which has not got the key. The answer is never that.
func TestRingAnswersOfOwnShard(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startRing(t, 0)
	sick := s.groups[0].Node(0)
	var down atomic.Bool
	addrs := map[string]string{"a": sick.Addr(), "b": s.groups[1].Node(0).Addr(), "c": s.groups[2].Node(0).Addr()}
	o := &redis.RingOptions{
		Addrs: addrs, HeartbeatFrequency: time.Millisecond, DialerRetries: 1, MinRetryBackoff: 200 * time.Millisecond, MaxRetryBackoff: 400 * time.Millisecond,
		HeartbeatFn: func(_ context.Context, c *redis.Client) bool { return c.Options().Addr != sick.Addr() || !down.Load() },
	}
	plain, inner := redis.NewRing(o), redis.NewRing(o)
	t.Cleanup(func() { _ = plain.Close() })
	// Nobody looks at the servers before the reads do.
	c := wrap(t, inner, &resilient.Options{ProbeInterval: time.Minute, Nodes: s.groups[0].Addrs()[1:]})
	key := s.keys(t, inner, 1)[0][0]
	check(t, c.Set(ctx, key, "v", 0).Err())
	check(t, s.groups[0].WaitSynced(ctx))
	check(t, sick.Kill())
	down.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := plain.Get(ctx, key).Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("plain go-redis: %v: there is no trap to avoid", err)
		}
	})
	wg.Go(func() {
		if v, err := c.Get(ctx, key).Result(); errors.Is(err, redis.Nil) || err == nil && v != "v" {
			t.Errorf("GET: %q, %v", v, err)
		}
	})
	wg.Wait()
	if inner.Len() != 2 {
		t.Errorf("the Ring has %d shards", inner.Len())
	}
}

// TestRingRestartInAnOutage: the process ends in the outage. The next one, whose Ring has
// never seen the shard, shows its writes and replays them to it.
func TestRingRestartInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	s := startRing(t, 2)
	ring := s.ring()
	keys := s.keys(t, ring, 10)
	c := s.wrap(t, ring, dir)
	check(t, s.groups[0].Node(0).Kill())
	for _, part := range keys {
		for _, key := range part {
			check(t, c.Set(ctx, key, "v", 0).Err())
			check(t, c.Append(ctx, key, "w").Err())
		}
	}
	check(t, c.Close())
	ring = s.ring()
	redistest.Eventually(t, testPatience, "the Ring to give up its shard", func() bool { return ring.Len() == 2 })
	c = s.wrap(t, ring, dir)
	for _, part := range keys {
		for _, key := range part {
			if v, err := c.Get(ctx, key).Result(); v != "vw" || err != nil {
				t.Fatalf("after the restart: %q, %v", v, err)
			}
			check(t, c.Append(ctx, key, "x").Err())
		}
	}
	if n := c.Stats().Entries; n != 3*len(keys[0]) {
		t.Errorf("%d entries wait, want %d", n, 3*len(keys[0]))
	}
	check(t, s.groups[0].Node(0).Restart(ctx))
	eventuallyFlushed(t, c)
	for shard, part := range keys {
		for _, key := range part {
			if v := s.direct(t, shard).Get(ctx, key).Val(); v != "vwx" {
				t.Errorf("shard %d has %q", shard, v)
			}
		}
	}
	if found := s.strangers(t, keys); len(found) > 0 {
		t.Errorf("keys on a shard that is not theirs: %v", found)
	}
}

// TestRingHooksRunOnce: hooks of the Ring itself see each command once while all is well,
// and what a shard takes in another's outage.
func TestRingHooksRunOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startRing(t, 0)
	ring := s.ring()
	keys := s.keys(t, ring, 2)
	c := s.wrap(t, ring, "")
	log := &journalOfHooks{}
	ring.AddHook(recorder{"ring", log})
	run := func(what string, f func() error, want ...string) {
		t.Helper()
		log.take()
		check(t, f())
		got := log.take()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the hook saw %q, want %q", what, got, want)
		}
	}
	of := func(name string) []string { return []string{"ring in " + name, "ring out " + name} }
	key, other := keys[0][0], keys[1][0]
	run("SET", func() error { return c.Set(ctx, key, 1, 0).Err() }, of("set")...)
	run("GET", func() error { return c.Get(ctx, key).Err() }, of("get")...)
	run("MGET of a shard", func() error { return c.MGet(ctx, keys[0]...).Err() }, of("mget")...)
	run("a script", func() error { return c.Eval(ctx, "return 1", []string{key}).Err() }, of("eval")...)
	run("a pipeline of a shard", func() error {
		return pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); p.Get(ctx, key); return nil }))
	}, of("2")...)
	run("a pipeline of two shards", func() error { // a part for each
		return pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); p.Incr(ctx, other); return nil }))
	}, append(of("1"), of("1")...)...)
	run("a transaction", func() error {
		return pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, key); p.Incr(ctx, key); return nil }))
	}, of("4")...)

	check(t, s.groups[0].WaitSynced(ctx))
	check(t, s.groups[0].Cycle(ctx)) // the Ring sees nothing of that
	check(t, c.Incr(ctx, key).Err())
	run("a deferred INCR", func() error { return c.Incr(ctx, key).Err() })
	run("INCR of the other shard", func() error { return c.Incr(ctx, other).Err() }, of("incr")...)
}

// TestRingCommandsOverShards: a command whose keys belong to several shards goes to that
// of the first, as a Ring sends it, unless one of them is in an outage.
func TestRingCommandsOverShards(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startRing(t, 0)
	ring := s.ring()
	keys := s.keys(t, ring, 2)
	c := s.wrap(t, ring, "")
	bad, good, third := keys[0][0], keys[1][0], keys[2][0]
	check(t, c.MSet(ctx, good, 1, bad, 1).Err())
	if v, err := c.MGet(ctx, good, bad).Result(); fmt.Sprint(v) != "[1 1]" || err != nil {
		t.Errorf("MGET: %v, %v", v, err)
	}
	if n, err := c.Del(ctx, good, bad).Result(); n != 2 || err != nil {
		t.Errorf("DEL: %d, %v", n, err)
	}
	check(t, s.groups[0].WaitSynced(ctx))
	check(t, s.groups[0].Cycle(ctx))
	check(t, c.Set(ctx, bad, "deferred", 0).Err())
	check(t, c.Set(ctx, good, "taken", 0).Err())
	// Two shards that are well.
	if v, err := c.MGet(ctx, good, third).Result(); fmt.Sprint(v) != "[taken <nil>]" || err != nil {
		t.Errorf("MGET of the shards that are well: %v, %v", v, err)
	}
	// The lost one's key is pending, and the shard of the first knows nothing of it.
	wantRefused(t, "MSET with a lost shard's key", c.MSet(ctx, good, 2, bad, 2).Err())
	wantRefused(t, "MSET to a lost shard", c.MSet(ctx, bad, 2, good, 2).Err())
	if err := c.MGet(ctx, good, bad).Err(); !errors.Is(err, resilient.ErrNoPrimary) && !errors.Is(err, resilient.ErrPendingWrites) {
		t.Errorf("MGET with a pending key: %v", err)
	}
	if v := c.Get(ctx, good).Val(); v != "taken" {
		t.Errorf("GET: %q", v)
	}
	check(t, s.groups[0].PromoteOnly(ctx, 0))
	eventuallyFlushed(t, c)
	if v, err := s.direct(t, 0).Get(ctx, bad).Result(); v != "deferred" || err != nil {
		t.Errorf("the deferred SET: %q, %v", v, err)
	}
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	check(t, c.MSet(ctx, bad, 3, good, 3).Err())
}
