package resilient_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// clusterCalls are what the healthy way over a Cluster is measured by.
var clusterCalls = []struct {
	name string
	run  func(context.Context, redis.UniversalClient) error
}{
	{"GET", func(ctx context.Context, c redis.UniversalClient) error { return c.Get(ctx, "key").Err() }},
	{"SET", func(ctx context.Context, c redis.UniversalClient) error { return c.Set(ctx, "key", "value", 0).Err() }},
	{"pipeline=10", func(ctx context.Context, c redis.UniversalClient) error {
		p := c.Pipeline()
		for i := range benchmarkKeys {
			p.Set(ctx, benchmarkKeys[i], "value", 0)
		}
		_, err := p.Exec(ctx)
		return err
	}},
}

var benchmarkKeys = func() (keys [10]string) {
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%d", i)
	}
	return keys
}()

// clusterPair are a plain Cluster client and a wrapped one.
func clusterPair(tb testing.TB, stubbed bool) (plain, ours redis.UniversalClient) {
	tb.Helper()
	servers := redistest.StartClusterT(tb, redistest.ClusterOptions{})
	pair := [2]*redis.ClusterClient{}
	for i := range pair {
		pair[i] = redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	}
	tb.Cleanup(func() { _ = pair[0].Close() }) // nothing is under way
	c := wrap(tb, pair[1], nil)
	redistest.Eventually(tb, testPatience, "all shards healthy", func() bool { return shardStates(c, resilient.StateHealthy) == 3 })
	check(tb, c.Set(context.Background(), "key", "value", 0).Err())
	if stubbed {
		pair[0].AddHook(stub{})
		pair[1].AddHook(stub{})
	}
	return pair[0], c
}

// BenchmarkClusterHealthy shows what this package adds to a command over a Cluster while
// all is well: compare "plain" with "holdfast". Under "client" both end in the same stub;
// under "server" they talk to real servers.
func BenchmarkClusterHealthy(b *testing.B) {
	ctx := context.Background()
	for _, stubbed := range []bool{true, false} {
		end := "server"
		if stubbed {
			end = "client"
		}
		plain, ours := clusterPair(b, stubbed)
		for _, call := range clusterCalls {
			for _, client := range []struct {
				name string
				c    redis.UniversalClient
			}{{"plain", plain}, {"holdfast", ours}} {
				b.Run(fmt.Sprintf("%s/%s/%s", end, call.name, client.name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := call.run(ctx, client.c); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// TestClusterHealthyAllocates: a command over a healthy Cluster allocates as much as with
// plain go-redis; a pipeline, which is made a second time behind the facade, for a few more,
// whatever its length.
func TestClusterHealthyAllocates(t *testing.T) {
	ctx := context.Background()
	plain, ours := clusterPair(t, true)
	for _, call := range clusterCalls {
		more := 0.5
		if strings.HasPrefix(call.name, "pipeline") {
			more = 8.5
		}
		count := func(c redis.UniversalClient) float64 {
			return testing.AllocsPerRun(2000, func() { check(t, call.run(ctx, c)) })
		}
		if p, o := count(plain), count(ours); o > p+more {
			t.Errorf("%s: %v allocations, plain go-redis %v", call.name, o, p)
		}
	}
}
