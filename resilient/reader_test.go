package resilient

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// When the server that reads come from dies in the outage, another one answers:
// with the deferred writes in it, and in the form that a replica takes.
func TestReadsMoveToAnotherReplica(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c, _ := openGated(t, g, Options{Nodes: g.Addrs()})
	for _, key := range []string{"gone", "stays"} {
		if err := c.Set(ctx, key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.RPush(ctx, "list", 2, 1).Err(), g.WaitSynced(ctx), g.Cycle(ctx)); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, StateNoPrimary)
	if err := errors.Join(c.Del(ctx, "gone").Err(), c.Set(ctx, "new", 1, 0).Err()); err != nil {
		t.Fatal(err)
	}
	reader := c.backend.(*lifecycle).router.current().view.ReadFrom
	for _, n := range g.Nodes() {
		if n.Addr() == reader {
			if err := n.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys, err := c.Keys(ctx, "*").Result()
	slices.Sort(keys)
	if strings.Join(keys, " ") != "list new stays" || err != nil {
		t.Errorf("KEYS = %q, %v", keys, err)
	}
	if c.backend.(*lifecycle).router.current().view.ReadFrom == reader {
		t.Error("reads have not moved")
	}
	if v, err := c.Sort(ctx, "list", &redis.Sort{}).Result(); strings.Join(v, " ") != "1 2" || err != nil {
		t.Errorf("SORT = %q, %v", v, err)
	}
}

// A read that waits for pending keys ends with the client.
func TestBlockingReadEndsWithTheClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c, _ := openGated(t, g, Options{Nodes: g.Addrs(), Dir: t.TempDir()})
	if err := g.Cycle(ctx); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, StateNoPrimary)
	read := func() chan error {
		answer := make(chan error, 1)
		go func() {
			answer <- c.XRead(ctx, &redis.XReadArgs{Streams: []string{"x", "$"}, Block: 0}).Err()
		}()
		return answer
	}
	add := func(id string) {
		if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "x", ID: id, Values: []string{"f", "v"}}).Err(); err != nil {
			t.Error(err)
		}
	}
	add("1-1")
	// Whether it has begun to wait can't be seen; entries go on coming until it has.
	first := read()
	for id := 2; ; id++ {
		select {
		case err := <-first:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Millisecond):
			add(strconv.Itoa(id) + "-1")
			continue
		}
		break
	}
	second := read()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; !errors.Is(err, ErrClosed) {
		t.Errorf("a read that waited at Close: %v", err)
	}
}
