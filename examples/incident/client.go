package main

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/resilient"
)

// holdfastClient is what the program uses of a *resilient.Client, so that its
// own tests can do without one.
type holdfastClient interface {
	redis.UniversalClient
	State() resilient.ShardState
	Stats() resilient.Stats
	Flush(ctx context.Context) error
}

// opener makes the client of the Holdfast side. addrs are all servers of the
// group, the primary first.
type opener func(addrs []string, dir string, listener resilient.Listener, logger *slog.Logger) (holdfastClient, error)

// openPlain is the application as it was on that morning: go-redis with its
// default options.
func openPlain(addr string) redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{addr}})
}

// openHoldfast is the same application with Holdfast: the same seed address,
// the other servers' addresses, and a directory for what can't be written now.
func openHoldfast(addrs []string, dir string, listener resilient.Listener, logger *slog.Logger) (holdfastClient, error) {
	client, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: addrs[:1]},
		&resilient.Options{Nodes: addrs[1:], Dir: dir, Listener: listener, Logger: logger},
	)
	if err != nil {
		return nil, err // not a nil *resilient.Client in an interface
	}
	return client, nil
}
