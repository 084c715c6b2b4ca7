package resilient_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// stub answers every command at once, without a connection: what remains is the
// cost of the client itself.
type stub struct{}

func (stub) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (stub) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return nil }
}

func (stub) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return nil }
}

// BenchmarkHealthy shows what this package adds to a command while all is well:
// compare "plain" with "holdfast". Both end in the same stub.
func BenchmarkHealthy(b *testing.B) {
	g := redistest.StartT(b, redistest.Options{})
	plain := redis.NewClient(&redis.Options{Addr: g.Node(0).Addr()})
	plain.AddHook(stub{})
	defer plain.Close()
	ours := open(b, g, &resilient.Options{OnNewNode: func(c *redis.Client) { c.AddHook(stub{}) }})
	ctx := context.Background()
	for _, cmd := range []struct {
		name string
		run  func(redis.UniversalClient) error
	}{
		{"GET", func(c redis.UniversalClient) error { return c.Get(ctx, "key").Err() }},
		{"SET", func(c redis.UniversalClient) error { return c.Set(ctx, "key", "value", 0).Err() }},
	} {
		for _, client := range []struct {
			name string
			c    redis.UniversalClient
		}{{"plain", plain}, {"holdfast", ours}} {
			b.Run(cmd.name+"/"+client.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := cmd.run(client.c); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkHealthyProcess is the same without making the command anew each time:
// the difference stands out of the noise of allocation.
func BenchmarkHealthyProcess(b *testing.B) {
	g := redistest.StartT(b, redistest.Options{})
	plain := redis.NewClient(&redis.Options{Addr: g.Node(0).Addr()})
	plain.AddHook(stub{})
	defer plain.Close()
	ours := open(b, g, &resilient.Options{OnNewNode: func(c *redis.Client) { c.AddHook(stub{}) }})
	ctx := context.Background()
	for _, cmd := range []redis.Cmder{redis.NewStringCmd(ctx, "get", "key"), redis.NewStatusCmd(ctx, "set", "key", "value")} {
		for _, client := range []struct {
			name string
			c    redis.UniversalClient
		}{{"plain", plain}, {"holdfast", ours}} {
			b.Run(cmd.Name()+"/"+client.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := client.c.Process(ctx, cmd); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDeferredSet is a SET of 100 bytes in an outage, in memory and on
// disk, by numbers of concurrent callers.
func BenchmarkDeferredSet(b *testing.B) {
	for _, durable := range []bool{false, true} {
		for _, callers := range []int{1, 64, 1024} {
			name, dir := "memory", ""
			if durable {
				name, dir = "durable", b.TempDir()
			}
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				benchmarkDeferred(b, dir, callers)
			})
		}
	}
}

func benchmarkDeferred(b *testing.B, dir string, callers int) {
	g := redistest.StartT(b, redistest.Options{Replicas: 1})
	c := open(b, g, &resilient.Options{Dir: dir, MaxOverlayBytes: -1, MaxJournalBytes: 16 << 30})
	ctx := context.Background()
	if err := g.Cycle(ctx); err != nil {
		b.Fatal(err)
	}
	redistest.Eventually(b, 20*time.Second, "no-primary", func() bool {
		return c.State().State == resilient.StateNoPrimary
	})
	value := make([]byte, 100)
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%d", i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	work := make(chan int, callers)
	for w := range callers {
		wg.Go(func() {
			key := keys[w]
			for n := range work {
				for range n {
					if err := c.Set(ctx, key, value, 0).Err(); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	// Shares of the whole, as even as they can be.
	for w := range callers {
		work <- (b.N + w) / callers
	}
	close(work)
	wg.Wait()
}
