// Command quickstart is the example of the README.
package main

import (
	"context"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/resilient"
)

func main() {
	client, err := resilient.NewClient(
		&redis.UniversalOptions{Addrs: []string{"127.0.0.1:6379"}},
		&resilient.Options{Dir: "holdfast-journal"},
	)
	if err != nil {
		log.Fatal(err) // wrong options or an unusable directory; that Redis is down is no error
	}
	defer func() { _ = client.Close() }() // deferred writes stay on disk for the next start
	ctx := context.Background()
	if err := client.Set(ctx, "session:7", "ada", time.Hour).Err(); err != nil {
		log.Fatal(err) // nil means: in Redis, or on disk until there is a primary
	}
	log.Println(client.Get(ctx, "session:7").Val(), "-", client.State())
}
