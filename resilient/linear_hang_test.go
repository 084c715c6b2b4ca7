package resilient_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestLinearizableHang: the primary stops under load and goes on after a while, by itself.
// What had been sent to it is executed then, in front of all that others have deferred
// meanwhile, and is answered. Of a key that others have written it must not be told. There
// are only strings, which the others overwrite, and counters that nobody deletes: of other
// keys a write in doubt makes wrong what the others were told, see docs/guarantees.md.
func TestLinearizableHang(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := openWith(t, g, redis.UniversalOptions{ReadTimeout: time.Minute}, &resilient.Options{Dir: t.TempDir()})
	l := startCallersOf(t, c, 6, "sp", "a", "b", "c")
	primary := g.Node(0)
	for range 2 {
		l.await(200)
		_, err := primary.Do(ctx, "client", "pause", "60000", "write")
		check(t, err)
		check(t, g.WaitSynced(ctx))
		check(t, primary.Pause())
		waitState(t, c, resilient.StateNoPrimary)
		l.join(3) // those before them wait for the primary
		l.awaitDeferred(100)
		check(t, primary.Resume())
		_, err = primary.Do(ctx, "client", "unpause")
		check(t, err)
		redistest.Eventually(t, testPatience, "the drain to end under load", func() bool {
			return c.State().State == resilient.StateHealthy && c.Stats().Entries == 0
		})
	}
	l.await(200)
	l.judge(primary.Client())
}

// TestAnswerThatComesBehindAnOutage: writes are on their way when the primary stops, and are
// answered when others have deferred writes of the same keys. What they are answered is
// what these were told already.
func TestAnswerThatComesBehindAnOutage(t *testing.T) {
	t.Parallel()
	u := redis.UniversalOptions{ReadTimeout: time.Minute}
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		g := redistest.StartT(t, redistest.Options{Replicas: 1})
		c := openWith(t, g, u, nil)
		answeredBehindAnOutage(t, c, "a", g.Node(0), g.Node(1), func() bool { return c.State().State == resilient.StateNoPrimary })
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
		check(t, servers.AutoFailover(context.Background(), false))
		u.Addrs = servers.Addrs()
		c := newClientFor(t, &u, &resilient.Options{})
		primary, replica := servers.Shard(0)[0], servers.Shard(0)[1]
		answeredBehindAnOutage(t, c, keysOfShard(t, servers, 0, 1)[0], primary, replica, func() bool {
			return shardStates(c, resilient.StateHealthy) == 2 && shardStates(c, resilient.StateNoPrimary) == 1
		})
	})
}

// answeredBehindAnOutage has writes of one slot wait for the primary, in every way there is.
func answeredBehindAnOutage(t *testing.T, c *resilient.Client, tag string, primary, replica *redistest.Node, lost func() bool) {
	t.Helper()
	ctx := context.Background()
	piped := func(p redis.Pipeliner, key string) error {
		n := p.Incr(ctx, key)
		_, err := p.Exec(ctx)
		return cmp.Or(n.Err(), err)
	}
	ways := []func(key string) error{
		func(key string) error { return c.Incr(ctx, key).Err() },
		func(key string) error { return piped(c.Pipeline(), key) },
		func(key string) error { return piped(c.TxPipeline(), key) },
		func(key string) error {
			return c.Watch(ctx, func(tx *redis.Tx) error { return piped(tx.TxPipeline(), key) }, key)
		},
		func(key string) error {
			return c.Watch(ctx, func(tx *redis.Tx) error { return tx.Incr(ctx, key).Err() }, key)
		},
	}
	key := func(i int) string { return fmt.Sprintf("{%s}%d", tag, i) }
	for i := range ways {
		check(t, c.Set(ctx, key(i), 5, 0).Err())
	}
	caughtUp(t, primary, replica)
	_, err := primary.Do(ctx, "client", "pause", "60000", "write")
	check(t, err)
	late := make([]chan error, len(ways))
	for i, way := range ways {
		late[i] = make(chan error, 1)
		go func() { late[i] <- way(key(i)) }()
	}
	redistest.Eventually(t, testPatience, "the writes to be held up", func() bool {
		list := primary.Client().ClientList(ctx).Val()
		return strings.Count(list, "cmd=incr ")+strings.Count(list, "cmd=exec ") >= len(ways)
	})
	check(t, primary.Pause())
	redistest.Eventually(t, testPatience, "no primary", lost)
	for i := range ways {
		if n, err := c.Incr(ctx, key(i)).Result(); n != 6 || err != nil {
			t.Errorf("INCR in the outage = %d, %v; want 6", n, err)
		}
	}
	check(t, primary.Resume())
	_, err = primary.Do(ctx, "client", "unpause")
	check(t, err)
	for i := range ways {
		if err := <-late[i]; !errors.Is(err, resilient.ErrInDoubt) {
			t.Errorf("way %d: %v; want ErrInDoubt", i, err)
		}
	}
	eventuallyFlushed(t, c)
	for i := range ways {
		if n, err := c.Get(ctx, key(i)).Int(); n != 7 || err != nil {
			t.Errorf("way %d: at the end GET = %d, %v; want 7", i, n, err)
		}
	}
}
