package resilient_test

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// calls is how often a server has executed a command, by its own count.
func calls(t *testing.T, n *redistest.Node, name string) int {
	t.Helper()
	text, err := n.Client().Info(context.Background(), "commandstats").Result()
	check(t, err)
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+name+":calls="); ok {
			count, _, _ := strings.Cut(rest, ",")
			of, err := strconv.Atoi(count)
			check(t, err)
			return of
		}
	}
	return 0
}

// probing is how many connections a server has over which it was asked last what probes
// end with: what only they ask.
func probing(t *testing.T, n *redistest.Node, last string) int {
	t.Helper()
	list, err := n.Do(context.Background(), "CLIENT", "LIST", "TYPE", "normal")
	check(t, err)
	return strings.Count(list.(string), " cmd="+last+" ")
}

// clockOf is a server's time.
func clockOf(t *testing.T, n *redistest.Node) time.Time {
	t.Helper()
	at, err := n.Client().Time(context.Background()).Result()
	check(t, err)
	return at
}

// probed is a server that is watched: how often it has been asked so far, over how many
// connections now, and what time it is.
type probed struct {
	name        string
	asked, conn func() int
	clock       func() time.Time
	conns       int // that it is to have
}

// probedNode counts by what the server says. Each probe of it asks for ROLE once, and for
// last in the end.
func probedNode(t *testing.T, n *redistest.Node, last string) probed {
	t.Helper()
	return probed{
		name: n.String(), clock: func() time.Time { return clockOf(t, n) },
		asked: func() int { return calls(t, n, "role") }, conn: func() int { return probing(t, n, last) }, conns: 1,
	}
}

// wantProbesCheap: each server is asked once in a second, of the default interval and its
// jitter, over one connection; to a Sentinel there is one more, which listens.
func wantProbesCheap(t *testing.T, servers []probed) {
	t.Helper()
	begun, since := make([]int, len(servers)), make([]time.Time, len(servers))
	for i, s := range servers {
		// What is found out at the start, as that a Sentinel can be listened to, asks once more.
		redistest.Eventually(t, testPatience, "the first rounds", func() bool { return s.asked() >= 3 })
		since[i], begun[i] = s.clock(), s.asked()
	}
	for i, s := range servers {
		redistest.Eventually(t, testPatience, "some rounds", func() bool { return s.asked() >= begun[i]+4 })
	}
	for i, s := range servers {
		asked, took := s.asked()-begun[i], s.clock().Sub(since[i])
		if most := took.Seconds()/0.9 + 1; float64(asked) > most {
			t.Errorf("%s was asked %d times in %v", s.name, asked, took)
		}
		redistest.Eventually(t, testPatience, s.name+" to have no more connections", func() bool { return s.conn() == s.conns })
	}
}

// counter dials, and counts what it has dialled for each address, and the probes sent: a
// Sentinel does not tell how often it was asked what.
type counter struct {
	mu           sync.Mutex // guards what follows
	conns, asked map[string]int
}

func (d *counter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.add(d.conns, addr, 1)
	return &countedConn{Conn: conn, d: d, addr: addr}, nil
}

func (d *counter) add(to map[string]int, addr string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	to[addr] += n
}

func (d *counter) of(what map[string]int, addr string) func() int {
	return func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return what[addr]
	}
}

type countedConn struct {
	net.Conn
	d      *counter
	addr   string
	closed sync.Once
}

func (c *countedConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("get-master-addr-by-name")) {
		c.d.add(c.d.asked, c.addr, 1)
	}
	return c.Conn.Write(b)
}

func (c *countedConn) Close() error {
	c.closed.Do(func() { c.d.add(c.d.conns, c.addr, -1) })
	return c.Conn.Close()
}

// TestClusterProbesCost: what watching costs a healthy Cluster.
func TestClusterProbesCost(t *testing.T) {
	t.Parallel()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1})
	inner := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	c := wrap(t, inner, &resilient.Options{ProbeTimeout: 5 * time.Second})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	var all []probed
	for _, n := range servers.Nodes() {
		all = append(all, probedNode(t, n, "cluster|nodes")) // the Cluster client asks CLUSTER SLOTS
	}
	wantProbesCheap(t, all)
}

// TestGroupProbesCost: what watching costs a healthy group and its Sentinels.
func TestGroupProbesCost(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	sentinels := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{})
	dialled := &counter{conns: map[string]int{}, asked: map[string]int{}}
	c := openAt(t, &redis.UniversalOptions{Addrs: sentinels.Addrs(), MasterName: sentinels.Name(), Dialer: dialled.dial},
		&resilient.Options{ProbeTimeout: 5 * time.Second})
	waitState(t, c, resilient.StateHealthy)
	var all []probed
	for _, n := range g.Nodes() {
		all = append(all, probedNode(t, n, "time"))
	}
	for _, s := range sentinels.All() {
		all = append(all, probed{
			name: s.Node().String(), asked: dialled.of(dialled.asked, s.Addr()), conn: dialled.of(dialled.conns, s.Addr()), clock: time.Now, conns: 2,
		})
	}
	wantProbesCheap(t, all)
}

// TestRingProbesCost: what watching costs a healthy Ring.
func TestRingProbesCost(t *testing.T) {
	t.Parallel()
	s := startRing(t, 0)
	c := wrap(t, s.ring(), &resilient.Options{ProbeTimeout: 5 * time.Second, Nodes: s.groups[0].Addrs()[1:]})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	var all []probed
	for _, g := range s.groups {
		for _, n := range g.Nodes() {
			all = append(all, probedNode(t, n, "time"))
		}
	}
	wantProbesCheap(t, all)
}

// TestClusterShardGone: a shard that has given all its slots away is not watched any more,
// and nothing of it is left but its figures.
func TestClusterShardGone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{PartialCoverage: true, AllowReadsWhenDown: true})
	c := newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, &resilient.Options{ProbeInterval: 50 * time.Millisecond})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	first, last := servers.SlotRange(2)
	from, heir := servers.Node(2), servers.Node(0)
	key := keysOfShard(t, servers, 2, 1)[0]
	check(t, from.Kill())
	redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(c, resilient.StateHealthy) == 2 })
	check(t, c.Set(ctx, key, "deferred", 0).Err())
	check(t, from.Restart(ctx))
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	if v := from.Client().Get(ctx, key).Val(); v != "deferred" {
		t.Errorf("the shard has %q", v)
	}
	check(t, from.Client().FlushAll(ctx).Err()) // a server keeps slots that hold keys
	check(t, servers.TakeSlots(ctx, first, last, heir))
	redistest.Eventually(t, testPatience, "the shard to be gone", func() bool { return len(c.Shards()) == 2 && resilient.Leftover(c) == 0 })
	check(t, c.Set(ctx, key, "moved", 0).Err())
	if v := heir.Client().Get(ctx, key).Val(); v != "moved" {
		t.Errorf("the heir has %q", v)
	}
	if s := c.Stats(); s.Replayed != 1 || s.Refused+s.InDoubt != 0 {
		t.Errorf("%+v", s)
	}
}
