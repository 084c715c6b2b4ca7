package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/resilient"
)

// The application has a client already, with hooks and options of its own.
func ExampleWrap() {
	servers, dir, stop := exampleServers()
	defer stop()
	addrs, ctx := servers.Addrs(), context.Background()

	mine := redis.NewClient(&redis.Options{Addr: addrs[0], PoolSize: 20})
	client, err := resilient.Wrap(mine, &resilient.Options{
		Nodes: addrs[1:], Dir: dir, Logger: slog.New(slog.DiscardHandler),
	})
	must(err)
	defer client.Close() // closes mine, too

	must(client.Set(ctx, "greeting", "hello", 0).Err())
	must(servers.Cycle(ctx)) // now every server is a replica
	fmt.Println("deferred:", client.Append(ctx, "greeting", " world").Err())
	fmt.Println("read back:", client.Get(ctx, "greeting").Val())
	// Output:
	// deferred: <nil>
	// read back: hello world
}

// Of a Ring, as of a Cluster, nothing is deferred: the error says what is certain
// of the write.
func ExampleWrap_ring() {
	servers, _, stop := exampleServers()
	defer stop()
	ctx := context.Background()

	client, err := resilient.Wrap(redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"one": servers.Addrs()[0]},
	}), nil)
	must(err)
	defer client.Close()

	must(client.Incr(ctx, "n").Err())
	must(servers.Cycle(ctx)) // now every server of this shard is a replica
	n, err := client.Incr(ctx, "n").Result()
	fmt.Println("deferred:", n, err)
	err = client.SetNX(ctx, "lock", "mine", 0).Err()
	fmt.Println("refused:", errors.Is(err, resilient.ErrNoPrimary), resilient.SafeToRetry(err))
	// Output:
	// deferred: 2 <nil>
	// refused: true true
}
