package resilient_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// setUser sets what a user may do at some servers.
func setUser(t *testing.T, nodes []*redistest.Node, rules ...any) {
	t.Helper()
	for _, n := range nodes {
		if !n.Running() {
			continue
		}
		if _, err := n.Do(context.Background(), append([]any{"ACL", "SETUSER", "app"}, rules...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// rightsStage is a client of two shards whose user may not write the fence at the
// servers of the first.
type rightsStage struct {
	c                  *resilient.Client
	poor, rich         string // keys
	poorNodes          []*redistest.Node
	told               chan resilient.RightsInfo
	lose, bring        func()
	poorPrimary, other func() *redistest.Node // in the end
}

// play: what could not be replayed to a shard is not deferred for it, and is for the
// others; and deferral is on again when the rights are granted, in the outage.
func (s *rightsStage) play(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	shard := ""
	select {
	case i := <-s.told:
		shard = i.Shard
		if len(i.Missing) != 3 || shard == "" || !strings.Contains(i.String(), "deferral is off for shard "+shard) {
			t.Errorf("told %v", i)
		}
	case <-time.After(testPatience):
		t.Fatal("nobody told of missing rights")
	}
	if missing := s.c.Stats().MissingRights; len(missing) != 3 {
		t.Errorf("missing %q", missing)
	}
	for _, one := range s.c.Shards() {
		if strings.Contains(one.Diagnosis, "deferral is off") != (one.Shard == shard) {
			t.Errorf("shard %s, %s lacks rights: %q", one.Shard, shard, one.Diagnosis)
		}
	}
	s.lose()
	if err := s.c.Set(ctx, s.poor, "v", 0).Err(); err == nil || !strings.Contains(err.Error(), "lacks rights") {
		t.Errorf("SET for the shard without rights: %v", err)
	}
	check(t, s.c.Set(ctx, s.rich, "v", 0).Err())
	setUser(t, s.poorNodes, "~holdfast:fence:*")
	select {
	case i := <-s.told:
		if len(i.Missing) != 0 || i.Shard != shard {
			t.Errorf("told %v", i)
		}
	case <-time.After(testPatience):
		t.Fatal("nobody told of granted rights")
	}
	check(t, s.c.Set(ctx, s.poor, "v", 0).Err())
	s.bring()
	eventuallyFlushed(t, s.c)
	for key, n := range map[string]*redistest.Node{s.poor: s.poorPrimary(), s.rich: s.other()} {
		if v := n.Client().Get(ctx, key).Val(); v != "v" {
			t.Errorf("%v has %q", n, v)
		}
	}
	if st := s.c.Stats(); len(st.MissingRights) != 0 || st.Deferred != 2 || st.Refused != 1 {
		t.Errorf("%+v", st)
	}
}

// TestClusterRightsOfOneShard: every server of a Cluster has its own list of users.
func TestClusterRightsOfOneShard(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
	check(t, servers.AutoFailover(ctx, false))
	setUser(t, servers.Nodes(), "on", ">pw", "~k*", "~holdfast:fence:*", "+@all")
	setUser(t, servers.Shard(0), "resetkeys", "~k*")
	s := &rightsStage{
		poor: keysOfShard(t, servers, 0, 1)[0], rich: keysOfShard(t, servers, 1, 1)[0], poorNodes: servers.Shard(0),
		told:        make(chan resilient.RightsInfo, 8),
		poorPrimary: func() *redistest.Node { return servers.Shard(0)[1] }, other: func() *redistest.Node { return servers.Shard(1)[1] },
	}
	s.lose = func() {
		check(t, servers.Shard(0)[0].Kill())
		check(t, servers.Shard(1)[0].Kill())
		redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(s.c, resilient.StateHealthy) == 1 })
	}
	s.bring = func() {
		check(t, servers.Failover(ctx, servers.Shard(0)[1], redistest.FailoverTakeover))
		check(t, servers.Failover(ctx, servers.Shard(1)[1], redistest.FailoverTakeover))
	}
	s.c = newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs(), Username: "app", Password: "pw"}, &resilient.Options{
		ProbeInterval: 50 * time.Millisecond, Listener: resilient.Listener{RightsChanged: func(i resilient.RightsInfo) { s.told <- i }},
	})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(s.c, resilient.StateHealthy) == 3 })
	s.play(t)
}

// TestRingRightsOfOneShard: neither have the servers of a Ring the same users.
func TestRingRightsOfOneShard(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rs := startRing(t, 0)
	plain := rs.ring()
	keys := rs.keys(t, plain, 1)
	check(t, plain.Close())
	for i, g := range rs.groups {
		setUser(t, g.Nodes(), "on", ">pw", "~ring*", "+@all")
		if i > 0 {
			setUser(t, g.Nodes(), "~holdfast:fence:*")
		}
	}
	check(t, rs.groups[0].WaitSynced(ctx))
	addrs := map[string]string{}
	for i, g := range rs.groups {
		addrs["shard"+string(rune('0'+i))] = g.Node(0).Addr()
	}
	s := &rightsStage{
		poor: keys[0][0], rich: keys[1][0], poorNodes: rs.groups[0].Nodes(), told: make(chan resilient.RightsInfo, 8),
		poorPrimary: func() *redistest.Node { return rs.groups[0].Node(0) }, other: func() *redistest.Node { return rs.groups[1].Node(0) },
	}
	s.lose = func() {
		check(t, rs.groups[0].Cycle(ctx))
		check(t, rs.groups[1].Node(0).Kill())
		redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(s.c, resilient.StateHealthy) == 1 })
	}
	s.bring = func() {
		check(t, rs.groups[0].PromoteOnly(ctx, 0))
		check(t, rs.groups[1].Node(0).Restart(ctx))
		setUser(t, rs.groups[1].Nodes(), "on", ">pw", "~*", "+@all") // it has forgotten him
	}
	inner := redis.NewRing(&redis.RingOptions{Addrs: addrs, Username: "app", Password: "pw", HeartbeatFrequency: time.Hour, DialerRetries: 1})
	s.c = wrap(t, inner, &resilient.Options{
		ProbeInterval: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Listener: resilient.Listener{RightsChanged: func(i resilient.RightsInfo) { s.told <- i }},
	})
	s.play(t)
}

// TestClusterSecure: over TLS, by a user who may do what a client needs and no more,
// Holdfast defers over a Cluster and replays.
func TestClusterSecure(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	authority, err := redistest.NewAuthority()
	check(t, err)
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{
		Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true, TLS: authority, User: "admin", Password: "secret",
	})
	check(t, servers.AutoFailover(ctx, false))
	setUser(t, servers.Nodes(), "on", ">pw", "~k*", "~holdfast:fence:*", "-@all", "+@read", "+@write", "+@transaction",
		"+@connection", "+role", "+info", "+time", "+wait", "+cluster|slots", "+cluster|shards", "+cluster|nodes", "+cluster|info", "+command")
	c := newClientFor(t, &redis.UniversalOptions{
		Addrs: servers.Addrs(), Username: "app", Password: "pw", TLSConfig: authority.ClientConfig(),
	}, &resilient.Options{ProbeInterval: 50 * time.Millisecond})
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	keys := keysOfShard(t, servers, 0, 4)
	for _, key := range keys {
		check(t, c.Incr(ctx, key).Err())
	}
	replica := servers.Shard(0)[1]
	redistest.Eventually(t, testPatience, "the replica to have it", func() bool { return replica.Client().DBSize(ctx).Val() >= 4 })
	check(t, servers.Shard(0)[0].Kill())
	// Over TLS go-redis can't tell that a connection of its pool is closed: what is written
	// to it is in doubt.
	redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(c, resilient.StateHealthy) == 2 })
	for _, key := range keys {
		if n, err := c.Incr(ctx, key).Result(); n != 2 || err != nil {
			t.Errorf("INCR: %d, %v", n, err)
		}
	}
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	for _, key := range keys {
		if v := replica.Client().Get(ctx, key).Val(); v != "2" {
			t.Errorf("the new primary has %q", v)
		}
	}
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	if s := c.Stats(); s.Deferred != 4 || len(s.MissingRights) != 0 || s.Refused+s.InDoubt+s.DeadLettered != 0 {
		t.Errorf("%+v", s)
	}
}

// TestClusterCanary: writes to one shard hang while its server answers everything else.
// The shard is not used again before a write has been answered, in a slot of its own; the
// others go on.
func TestClusterCanary(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{})
	inner := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs(), ReadTimeout: 150 * time.Millisecond})
	c := wrap(t, inner, &resilient.Options{ProbeInterval: 50 * time.Millisecond})
	sick := servers.Node(1)
	key, other := keysOfShard(t, servers, 1, 1)[0], keysOfShard(t, servers, 2, 1)[0]
	check(t, c.Set(ctx, key, 0, 0).Err())
	_, err := sick.Do(ctx, "CLIENT", "PAUSE", 600_000, "WRITE")
	check(t, err)
	redistest.Eventually(t, testPatience, "the hang to be known", func() bool {
		_ = c.SetNX(ctx, key, 1, 0).Err() // in doubt, or refused
		return shardStates(c, resilient.StateSuspect) == 1
	})
	from := calls(t, sick, "role")
	redistest.Eventually(t, testPatience, "more rounds", func() bool { return calls(t, sick, "role") > from+20 })
	if shardStates(c, resilient.StateSuspect) != 1 {
		t.Errorf("while writes hang: %v", shardsText(c))
	}
	check(t, c.SetNX(ctx, other, 1, 0).Err())
	_, err = sick.Do(ctx, "CLIENT", "UNPAUSE")
	check(t, err)
	redistest.Eventually(t, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	if calls(t, sick, "pexpire") == 0 || sick.Client().DBSize(ctx).Val() != 1 {
		t.Errorf("%d tries, %d keys", calls(t, sick, "pexpire"), sick.Client().DBSize(ctx).Val())
	}
	check(t, c.Incr(ctx, key).Err())
}
