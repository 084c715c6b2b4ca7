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

// liar is a script that writes and then says that it could not.
const liar = "redis.call('incr', KEYS[1]) return redis.error_reply('READONLY You can\\'t write against a read only replica.')"

// wantNoBase: the write is refused, since nobody tells the value that its answer rests on.
func wantNoBase(t *testing.T, what string, err error) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.Is(err, resilient.ErrBaseUnknown) || !errors.As(err, &ce) || !resilient.SafeToRetry(err) || errors.Is(err, redis.Nil) {
		t.Errorf("%s: %v, want ErrBaseUnknown", what, err)
	}
}

// keysOf finds a key for each server.
func keysOf(t *testing.T, c *resilient.Client, nodes []*redistest.Node) []string {
	t.Helper()
	ctx := context.Background()
	keys := make([]string, len(nodes))
	for i, found := 0, 0; found < len(nodes); i++ {
		key := fmt.Sprintf("{%d}", i)
		check(t, c.Set(ctx, key, 1, 0).Err())
		for at, n := range nodes {
			if keys[at] == "" && n.Client().Exists(ctx, key).Val() == 1 {
				keys[at] = key
				found++
			}
		}
	}
	return keys
}

// TestRingInAnOutage: one shard of a Ring has replicas only. What can be deferred for it
// is, and answered as Redis would; the rest is refused; the other shard does not notice.
func TestRingInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	sick, well := redistest.StartT(t, redistest.Options{Replicas: 1}), redistest.StartT(t, redistest.Options{})
	c := wrap(t, ringOf(sick.Node(0).Addr(), well.Node(0).Addr()), &resilient.Options{ProbeInterval: 100 * time.Millisecond})
	keys := keysOf(t, c, []*redistest.Node{sick.Node(0), well.Node(0)})
	bad, good := keys[0], keys[1]
	check(t, sick.WaitSynced(ctx))
	check(t, sick.Cycle(ctx))

	if n, err := c.Incr(ctx, bad).Result(); n != 2 || err != nil {
		t.Errorf("INCR: %d, %v, want 2", n, err)
	}
	p := c.Pipeline()
	got, deferred, taken, read := p.Get(ctx, bad), p.Incr(ctx, bad), p.Incr(ctx, good), p.Get(ctx, good)
	_, err := p.Exec(ctx)
	if err != nil || got.Val() != "2" || deferred.Val() != 3 || taken.Val() != 2 || read.Val() != "2" {
		t.Errorf("the pipeline: %v, %v", []redis.Cmder{got, deferred, taken, read}, err)
	}
	check(t, pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, bad)
		p.Incr(ctx, bad)
		return nil
	})))
	if v, err := c.Get(ctx, bad).Result(); v != "5" || err != nil {
		t.Errorf("GET = %q, %v", v, err)
	}
	for what, err := range map[string]error{
		"script": c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{bad}).Err(),
		"SETNX":  c.SetNX(ctx, bad, 1, 0).Err(),
		"Watch":  c.Watch(ctx, func(*redis.Tx) error { return nil }, bad),
		"over shards": pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, bad)
			p.Incr(ctx, good)
			return nil
		})),
		"keys of both": c.MSet(ctx, good, 1, bad, 1).Err(),
	} {
		wantRefused(t, what, err)
	}
	check(t, c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{good}).Err())
	wantDoubt(t, "a script that lies", c.Eval(ctx, liar, []string{good}).Err())
	if v := well.Node(0).Client().Get(ctx, good).Val(); v != "4" {
		t.Errorf("the good key is %s, want 4", v)
	}
	if n := well.Node(0).Client().Exists(ctx, bad).Val(); n != 0 {
		t.Error("the sick shard's key is on the other one")
	}
	if s := c.Stats(); s.Deferred != 3 || s.Refused != 5 || s.InDoubt != 1 {
		t.Errorf("%+v", s)
	}

	check(t, sick.PromoteOnly(ctx, 0))
	eventuallyFlushed(t, c)
	check(t, c.Incr(ctx, bad).Err())
	if v := sick.Node(0).Client().Get(ctx, bad).Val(); v != "6" {
		t.Errorf("afterwards the bad key is %s, want 6", v)
	}
	// A server that is gone: the Ring itself gives its keys to the other one.
	check(t, sick.Node(0).Kill())
	for want := int64(7); want <= 20; want++ {
		if n, err := c.Incr(ctx, bad).Result(); n != want || err != nil {
			t.Fatalf("INCR on a dead server: %d, %v, want %d", n, err, want)
		}
	}
	if n := well.Node(0).Client().Exists(ctx, bad).Val(); n != 0 {
		t.Error("the dead shard's key is on the other one")
	}
	check(t, c.Incr(ctx, good).Err())
}

// TestClusterInAnOutage: a server of a Cluster dies. Its keys' writes are
// refused at once, then everyone's, as the Cluster declines them, and all is well
// when it is back.
func TestClusterInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{})
	c := wrap(t, redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: servers.Addrs()[:1], DialerRetries: 1, MaxRetryBackoff: 20 * time.Millisecond,
	}), nil)
	keys := keysOf(t, c, servers.Nodes())
	wantDoubt(t, "a script that lies", c.Eval(ctx, liar, []string{keys[0]}).Err())
	if v := servers.Node(0).Client().Get(ctx, keys[0]).Val(); v != "2" {
		t.Errorf("the script was run: %s, want 2", v)
	}

	check(t, servers.Node(2).Kill())
	wantNoBase(t, "INCR on a dead server", c.Incr(ctx, keys[2]).Err())
	wantRefused(t, "a script on a dead server", c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{keys[2]}).Err())
	wantNoBase(t, "a transaction there", pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, keys[2]); return nil })))
	wantNoBase(t, "a pipeline there", pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, keys[2]); return nil })))
	wantRefused(t, "Watch there", c.Watch(ctx, func(*redis.Tx) error { return nil }, keys[2]))

	down := func(n *redistest.Node) bool { return redis.IsClusterDownError(n.Client().Get(ctx, "x").Err()) }
	redistest.Eventually(t, testPatience, "the Cluster to be down", func() bool { return down(servers.Node(0)) && down(servers.Node(1)) })
	for what, err := range map[string]error{
		"INCR":   c.Incr(ctx, keys[0]).Err(),
		"script": c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{keys[0]}).Err(),
		"tx":     pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, keys[0]); return nil })),
		"pipeline": pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, keys[0])
			p.Incr(ctx, keys[1])
			return nil
		})),
	} {
		if what == "script" {
			wantRefused(t, what+" while the Cluster is down", err)
			continue
		}
		wantNoBase(t, what+" while the Cluster is down", err)
	}
	if s := c.Stats(); s.InDoubt != 1 {
		t.Errorf("%+v", s)
	}

	check(t, servers.Node(2).Restart(ctx))
	check(t, servers.WaitComplete(ctx))
	made := 2
	redistest.Eventually(t, testPatience, "writes to go on", func() bool {
		if c.Incr(ctx, keys[0]).Err() == nil {
			made++
		}
		return made > 2 && c.Incr(ctx, keys[2]).Err() == nil
	})
	eventuallyFlushed(t, c)
	if v := servers.Node(0).Client().Get(ctx, keys[0]).Val(); v != strconv.Itoa(made) {
		t.Errorf("the key is %s after %d increments", v, made)
	}
}

// TestClusterWithoutServers: nothing answers from the start.
func TestClusterWithoutServers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, addrs := range map[string][]string{"dead": {"127.0.0.1:1"}, "none": {}} {
		c := wrap(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, DialerRetries: 1, MaxRedirects: -1}), nil)
		wantNoBase(t, name+": INCR", c.Incr(ctx, "k").Err())
		wantRefused(t, name+": a script", c.Eval(ctx, "return 1", []string{"k"}).Err())
		wantNoBase(t, name+": a pipeline", pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "k"); return nil })))
		wantNoBase(t, name+": a transaction", pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "k"); return nil })))
		if err := c.Get(ctx, "k").Err(); err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("%s: GET: %v", name, err)
		}
	}
	c := wrap(t, redis.NewRing(&redis.RingOptions{MaxRetries: -1}), nil)
	wantNoBase(t, "a Ring without shards: INCR", c.Incr(ctx, "k").Err())
	wantNoBase(t, "a Ring without shards: a pipeline", pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "k"); return nil })))
}

// TestClusterMovesSlots: writes follow a slot from server to server, in
// every form, and are made once.
func TestClusterMovesSlots(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Primaries: 2})
	inner := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs(), MaxRetryBackoff: 20 * time.Millisecond})
	log := &journalOfHooks{}
	inner.AddHook(recorder{"inner", log})
	c := wrap(t, inner, nil)
	key := keysOf(t, c, servers.Nodes())[0]
	from, to := servers.Node(0), servers.Node(1)
	slot := from.Client().ClusterKeySlot(ctx, key).Val()
	id := func(n *redistest.Node) string {
		text, err := n.Client().Do(ctx, "cluster", "myid").Text()
		check(t, err)
		return text
	}
	writes := map[string]func(string) error{
		"INCR":   func(k string) error { return c.Incr(ctx, k).Err() },
		"script": func(k string) error { return c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{k}).Err() },
		"pipeline": func(k string) error {
			return pipelined(c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, k); return nil }))
		},
		"tx": func(k string) error {
			return pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, k); return nil }))
		},
	}
	check(t, to.Client().Do(ctx, "cluster", "setslot", slot, "importing", id(from)).Err())
	check(t, from.Client().Do(ctx, "cluster", "setslot", slot, "migrating", id(to)).Err())
	for what, write := range writes { // of keys that the old server doesn't have: ASK
		if err := write(key + what); err != nil {
			t.Errorf("%s while the slot moves: %v", what, err)
		}
	}
	log.take()
	// Of these the old server has one: TRYAGAIN, until the slot has moved.
	if err := c.MSet(ctx, key, 1, key+"new", 1).Err(); !redis.IsTryAgainError(err) || errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("MSET of a slot in two places: %v", err)
	}
	if seen := log.take(); len(seen) != 2*(1+3) { // in and out, as often as MaxRedirects allows
		t.Errorf("MSET was tried so: %q", seen)
	}
	check(t, from.Client().Del(ctx, key).Err())
	for _, n := range []*redistest.Node{to, from} {
		check(t, n.Client().Do(ctx, "cluster", "setslot", slot, "node", id(to)).Err())
	}
	for what, write := range writes { // MOVED
		if err := write(key + what); err != nil {
			t.Errorf("%s after the move: %v", what, err)
		}
		if v := c.Get(ctx, key+what).Val(); v != "2" {
			t.Errorf("%s: %s, want 2", what, v)
		}
	}
	if s := c.Stats(); s.Refused != 0 || s.InDoubt != 0 {
		t.Errorf("%+v", s)
	}
}
