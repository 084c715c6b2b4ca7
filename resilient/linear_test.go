package resilient_test

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestLinearizable: callers of one client can't tell that there were outages. Every
// reply that they got, of every key, is one that a single server could have given
// them, whether it came from the primary, from a replica or from the overlay, and what
// is in Redis at the end follows from them. Servers turn to replicas under load, and
// another is promoted, again and again, also before the drain is through.
//
// A replica may lack what the primary had acknowledged by itself. Group.Cycle lets the
// replicas catch up first, so that there is no such write here.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]resilient.Options{
		"disk":                  {Dir: "yes"},
		"memory":                {},
		"disk, no confirmation": {Dir: "yes", ReplicaAcks: -1, Fsync: resilient.FsyncNo},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			g := redistest.StartT(t, redistest.Options{Replicas: 2})
			if o.Dir != "" {
				o.Dir = t.TempDir()
			}
			c := open(t, g, &o)
			l := startCallers(t, c, 6, "a", "b")
			l.await(200)
			for round, next := range []int{1, 2, 0} {
				check(t, g.Cycle(ctx))
				l.awaitDeferred(150)
				check(t, g.Promote(ctx, next))
				if round == 0 { // the next outage comes in the drain
					continue
				}
				redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
					return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
				})
				check(t, g.WaitSynced(ctx))
				l.await(300)
			}
			l.judge(g.Node(0).Client())
		})
	}
}

// TestLinearizableKill: the primary is killed under load and another promoted. Writes
// that were on the way are in doubt: they may be found made or not, and nothing else.
func TestLinearizableKill(t *testing.T) {
	t.Parallel()
	outliveDials(t)
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 3})
	c := open(t, g, &resilient.Options{Dir: t.TempDir()})
	l := startCallers(t, c, 6, "a", "b")
	for next := range 3 {
		l.await(300)
		killSynced(t, g.Node(next), func() { check(t, g.WaitSynced(ctx)) })
		l.awaitDeferred(150)
		check(t, g.Promote(ctx, next+1))
		redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
			return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
		})
	}
	l.await(300)
	l.judge(g.Node(3).Client())
}

// outliveDials lets the test end when go-redis's goroutines have that dial servers which
// are gone: they look once in a second whether their pool is closed. It is called before
// clients are made, so that these are closed by then.
func outliveDials(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		end, tick := time.After(2*time.Second), time.NewTicker(20*time.Millisecond)
		defer tick.Stop()
		for stacks := make([]byte, 8<<20); bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("tryDial")); {
			select {
			case <-end: // they are those of other tests
				return
			case <-tick.C:
			}
		}
	})
}

// killSynced kills a primary whose replicas have everything that it has acknowledged:
// writes are held up there, and so in doubt, until they have.
func killSynced(t *testing.T, primary *redistest.Node, synced func()) {
	t.Helper()
	_, err := primary.Do(context.Background(), "client", "pause", "60000", "write")
	check(t, err)
	synced()
	check(t, primary.Kill())
}

// TestLinearizableCluster is TestLinearizableKill over a Cluster, of which one shard after
// the other loses its primary. None of these comes back: go-redis repeats a read on the
// same server, which would answer it without its data.
func TestLinearizableCluster(t *testing.T) {
	t.Parallel()
	outliveDials(t)
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true},
		&resilient.Options{Dir: t.TempDir()})
	check(t, servers.AutoFailover(ctx, false))
	l := startCallers(t, c, 6, append(keysOfShard(t, servers, 0, 2), keysOfShard(t, servers, 1, 1)...)...)
	for shard := range 2 {
		primary, replica := servers.Shard(shard)[0], servers.Shard(shard)[1]
		l.await(300)
		killSynced(t, primary, func() { caughtUp(t, primary, replica) })
		l.awaitDeferred(150)
		check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
		redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
			return shardStates(c, resilient.StateHealthy) == 3 && c.Stats().Entries == 0
		})
	}
	l.await(300)
	reader := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	t.Cleanup(func() { _ = reader.Close() }) // was only asked
	l.judge(reader)
}

// caughtUp waits until a replica has all of its primary.
func caughtUp(t *testing.T, primary, replica *redistest.Node) {
	t.Helper()
	offset := func(n *redistest.Node, field string) string {
		_, after, _ := strings.Cut(n.Client().Info(context.Background(), "replication").Val(), field+":")
		value, _, _ := strings.Cut(after, "\r")
		return value
	}
	redistest.Eventually(t, testPatience, "the replica to have all of its primary", func() bool {
		want := offset(primary, "master_repl_offset")
		return want != "" && offset(replica, "slave_repl_offset") == want
	})
}
