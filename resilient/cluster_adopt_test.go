package resilient_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// envClusterWriter makes the test binary a process that defers over a Cluster and dies.
const envClusterWriter = "HOLDFAST_CLUSTER_WRITER"

// TestClusterWriter is not a test of its own: TestClusterAdoption runs it.
func TestClusterWriter(t *testing.T) {
	spec := os.Getenv(envClusterWriter)
	if spec == "" {
		return // nothing to be in this process
	}
	ctx := context.Background()
	parts := strings.Split(spec, "|") // directory, addresses, keys, value
	c, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: strings.Split(parts[1], ",")},
		&resilient.Options{Dir: parts[0], ProbeInterval: 100 * time.Millisecond},
	)
	check(t, err)
	for _, key := range strings.Split(parts[2], ",") {
		check(t, c.Append(ctx, key, parts[3]).Err())
		check(t, c.RPush(ctx, "{"+key+"}l", parts[3]).Err())
	}
	os.Exit(0) // without closing anything
}

// TestClusterAdoption: processes that deferred for two shards die in the outage, one
// after the other. A third one, which starts before the return and defers itself, replays
// all of it, the oldest first.
func TestClusterAdoption(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
	check(t, servers.AutoFailover(ctx, false))
	keys := append(keysOfShard(t, servers, 0, 5), keysOfShard(t, servers, 2, 5)...)
	for _, shard := range []int{0, 2} {
		primary, _ := servers.Primary(ctx, shard)
		check(t, primary.Kill())
	}
	// Two at a time hold a journal each, so that neither takes over the other's.
	hold, err := resilient.NewClient(&redis.UniversalOptions{Addrs: servers.Addrs()}, &resilient.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	for _, key := range keys {
		check(t, hold.Append(ctx, key, "a").Err())
	}
	for _, value := range []string{"b", "c"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestClusterWriter$")
		cmd.Env = append(os.Environ(), envClusterWriter+"="+strings.Join([]string{
			dir, strings.Join(servers.Addrs(), ","), strings.Join(keys, ","), value,
		}, "|"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	check(t, hold.Close())
	c := newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, &resilient.Options{Dir: dir, ProbeInterval: 100 * time.Millisecond})
	for _, shard := range []int{0, 2} {
		check(t, servers.Failover(ctx, servers.Shard(shard)[1], redistest.FailoverTakeover))
	}
	eventuallyFlushed(t, c)
	redistest.Eventually(t, testPatience, "all journals to be replayed", func() bool { return c.Stats().Replayed >= uint64(5*len(keys)) })
	reader := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	t.Cleanup(func() { _ = reader.Close() }) // was only asked
	for _, key := range keys {
		if got := reader.Get(ctx, key).Val(); len(got) != 3 || !strings.Contains(got, "a") || !strings.Contains(got, "b") || !strings.Contains(got, "c") {
			t.Errorf("%q in Redis, want a, b and c once each", got)
		}
		if got := reader.LRange(ctx, "{"+key+"}l", 0, -1).Val(); len(got) != 2 {
			t.Errorf("%q in the list, want b and c", got)
		}
	}
	if s := c.Stats(); s.DeadLettered != 0 || s.Parked != 0 {
		t.Errorf("%+v", s)
	}
}
