package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// exampleServers starts a primary and two replicas, and gives a directory.
func exampleServers() (g *redistest.Group, dir string, stop func()) {
	g, err := redistest.Start(context.Background(), redistest.Options{Replicas: 2})
	if err != nil {
		panic(err)
	}
	dir, err = os.MkdirTemp("", "holdfast-example-*")
	if err != nil {
		panic(err)
	}
	return g, dir, func() {
		_ = g.Close()         // the example is over
		_ = os.RemoveAll(dir) // likewise
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A login while every Redis server is a replica: the session is written, read
// back, and in Redis after another server has been promoted.
func ExampleNewClient() {
	servers, dir, stop := exampleServers()
	defer stop()
	addrs, ctx := servers.Addrs(), context.Background()

	client, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: addrs[:1]},
		&resilient.Options{Nodes: addrs[1:], Dir: dir, Logger: slog.New(slog.DiscardHandler)},
	)
	must(err)
	defer client.Close()

	must(client.Incr(ctx, "logins").Err())
	must(servers.Cycle(ctx)) // now every server is a replica

	logins, err := client.Incr(ctx, "logins").Result()
	fmt.Println("logins:", logins, err)
	fmt.Println("session:", client.Set(ctx, "session:7", "ada", time.Hour).Err())
	fmt.Println("read back:", client.Get(ctx, "session:7").Val())

	must(servers.Promote(ctx, 2)) // an operator promotes another server
	must(client.Flush(ctx))
	fmt.Println("in Redis:", servers.Node(2).Client().Get(ctx, "session:7").Val())
	// Output:
	// logins: 2 <nil>
	// session: <nil>
	// read back: ada
	// in Redis: ada
}

// What could make two owners is refused at once, and the error says so.
func ExampleCommandError() {
	servers, dir, stop := exampleServers()
	defer stop()
	addrs, ctx := servers.Addrs(), context.Background()

	client, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: addrs[:1]},
		&resilient.Options{Nodes: addrs[1:], Dir: dir, Logger: slog.New(slog.DiscardHandler)},
	)
	must(err)
	defer client.Close()
	must(servers.Cycle(ctx)) // now every server is a replica

	err = client.LPop(ctx, "jobs").Err()
	var refused *resilient.CommandError
	if errors.As(err, &refused) {
		fmt.Println(refused.Name, "is a", refused.Class)
	}
	fmt.Println("no primary:", errors.Is(err, resilient.ErrNoPrimary))
	fmt.Println("safe to retry:", resilient.SafeToRetry(err))
	fmt.Println("a missing key:", errors.Is(err, redis.Nil))
	// Output:
	// lpop is a claiming write
	// no primary: true
	// safe to retry: true
	// a missing key: false
}
