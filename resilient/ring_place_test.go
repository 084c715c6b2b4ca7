package resilient

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/slot"
)

// allTo is a placement that an application gives: every key to one shard.
type allTo string

func (a allTo) Get(string) string { return string(a) }

// placedKeys are keys of all forms: braces that make a tag, braces that make none, and
// bytes of every kind.
func placedKeys(n int) []string {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same keys each time
	keys := []string{"", "{}", "{}a", "a{}b{c}", "{a", "a}", "}{", "{{a}}", "{a}{b}", "a{b}", "{a}b", "\x00", "\xff{\x00}"}
	for i := len(keys); i < n; i++ {
		key := fmt.Sprintf("key:%d", i)
		switch i % 4 {
		case 1:
			key = fmt.Sprintf("a{tag:%d}%s", i%97, key)
		case 2:
			key = fmt.Sprintf("{%s", key)
		case 3:
			raw := make([]byte, random.IntN(20))
			for at := range raw {
				raw[at] = byte(random.UintN(256))
			}
			key = string(raw)
		}
		keys = append(keys, key)
	}
	return keys
}

// TestRingPlacesAsGoRedis: the shard that a key is deferred for is the one that the Ring
// gives it, whatever the key, the shards' names and the placement.
func TestRingPlacesAsGoRedis(t *testing.T) {
	t.Parallel()
	keys := placedKeys(10_000)
	for name, o := range map[string]*redis.RingOptions{
		"one shard":  {Addrs: map[string]string{"a": "127.0.0.1:1"}},
		"two shards": {Addrs: map[string]string{"b": "127.0.0.1:1", "a": "127.0.0.1:2"}},
		"seven": {Addrs: map[string]string{
			"z": "127.0.0.1:1", "y": "127.0.0.1:2", "10": "127.0.0.1:3", "9": "127.0.0.1:4",
			"127.0.0.1:6379": "127.0.0.1:5", "x:y{z}": "127.0.0.1:6", "ö": "127.0.0.1:7",
		}},
		"a placement of one's own": {
			Addrs:             map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:2"},
			NewConsistentHash: func([]string) redis.ConsistentHash { return allTo("b") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.HeartbeatFrequency = time.Hour // a Ring gives the keys of a shard that is down to others
			ring := redis.NewRing(o)
			client, err := newRinged(ring, (&Options{Logger: slog.New(slog.DiscardHandler)}).withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() }) // nothing was deferred
			c := client.backend.(*ringed)
			used := map[uint16]int{}
			for _, key := range keys {
				theirs, err := ring.GetShardClientForKey(key)
				if err != nil {
					t.Fatal(err)
				}
				lane := c.laneOf([]byte(key))
				if lane == noLane {
					t.Fatalf("%q has no shard", key)
				}
				if ours := c.addr(c.names[lane]); ours != theirs.Options().Addr {
					t.Fatalf("%q: deferred for %s, the Ring sends it to %s", key, ours, theirs.Options().Addr)
				}
				used[lane]++
			}
			if o.NewConsistentHash == nil && len(used) != len(o.Addrs) {
				t.Errorf("%d of %d shards have keys", len(used), len(o.Addrs))
			}
		})
	}
}

// TestRingServersAreAsked: a shard's commands go to its server, and through the Ring only
// while that has all of its shards.
func TestRingServersAreAsked(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{
		Addrs:              map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:2"},
		HeartbeatFrequency: time.Millisecond,
		HeartbeatFn:        func(_ context.Context, c *redis.Client) bool { return c.Options().Addr != "127.0.0.1:1" },
	})
	t.Cleanup(func() { _ = ring.Close() }) // never used
	direct := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = direct.Close() }) // never used
	w := ringWriter{direct, &ringShards{ring}}
	deadline := time.After(10 * time.Second)
	for ring.Len() != 1 {
		select {
		case <-deadline:
			t.Fatal("the Ring keeps its silent shard")
		case <-time.After(time.Millisecond):
		}
	}
	if w.through() != redis.UniversalClient(direct) {
		t.Error("a shard that the Ring has given up is looked for in the Ring")
	}
}

// TestTagsAreAsGoRedis: the part of a key that places it.
func TestTagsAreAsGoRedis(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"": "", "a": "a", "{a}b": "a", "x{a}b": "a", "{}a": "{}a", "{a": "{a", "a}": "a}", "{a}{b}": "a", "{{a}}": "{a", "a{}{b}": "a{}{b}",
	} {
		if got := string(slot.Tagged([]byte(key))); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}
