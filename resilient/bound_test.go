package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// bounded checks the refusal of a write that a bound of the options forbids.
func bounded(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || !errors.As(err, new(*resilient.CommandError)) || !resilient.SafeToRetry(err) || errors.Is(err, redis.Nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// TestBounds: what the options forbid is refused at once and by name, changes
// nothing, and what was accepted before is there.
func TestBounds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	entries := open(t, g, &resilient.Options{Dir: dir, MaxEntries: 3, Group: "entries"})
	bytes := open(t, g, &resilient.Options{Dir: dir, MaxJournalBytes: 4096, Group: "bytes"})
	memory := open(t, g, &resilient.Options{MaxOverlayBytes: 4096})
	check(t, g.Cycle(ctx))
	big := strings.Repeat("x", 5000)
	for i := range 3 {
		check(t, entries.Set(ctx, fmt.Sprint("e:", i), i, 0).Err())
	}
	bounded(t, "a fourth entry", entries.Set(ctx, "e:0", "refused", 0).Err(), resilient.ErrJournalFull)
	p := entries.Pipeline()
	full, get := p.Incr(ctx, "e:0"), p.Get(ctx, "e:0")
	if _, err := p.Exec(ctx); !errors.Is(err, full.Err()) {
		t.Errorf("Exec: %v", err)
	}
	bounded(t, "a fourth entry by pipeline", full.Err(), resilient.ErrJournalFull)
	if get.Val() != "0" {
		t.Errorf("after the refusals: %q", get.Val())
	}
	bounded(t, "a large record", bytes.Set(ctx, "b", big, 0).Err(), resilient.ErrJournalFull)
	bounded(t, "a large value", memory.Set(ctx, "m", big, 0).Err(), resilient.ErrOverlayFull)
	check(t, bytes.Set(ctx, "b", "small", 0).Err())
	check(t, memory.Set(ctx, "m", "small", 0).Err())
	bounded(t, "a value that grows", memory.Append(ctx, "m", big).Err(), resilient.ErrOverlayFull)
	if v := memory.Get(ctx, "m").Val(); v != "small" {
		t.Errorf("a refused APPEND left %q", v)
	}
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, entries)
	flush(t, bytes)
	flush(t, memory)
	got := fmt.Sprint(g.Node(1).Client().MGet(ctx, "e:0", "e:1", "e:2", "b", "m").Val())
	if got != "[0 1 2 small small]" {
		t.Errorf("in Redis: %s", got)
	}
	check(t, entries.Set(ctx, "e:0", "healthy again", 0).Err())
}

// TestKeysTooBigToSeed: what needs their whole value is refused, what needs some
// members, their type or their deadline is answered.
func TestKeysTooBigToSeed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{MaxSeedBytes: 1000, MaxSeedFields: 10})
	long := strings.Repeat("x", 1001)
	for _, key := range []string{"s1", "s2", "s3", "s4"} {
		check(t, c.Set(ctx, key, long, 0).Err())
	}
	for i := range 11 {
		check(t, c.HSet(ctx, "h", i, "v").Err())
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	bounded(t, "APPEND", c.Append(ctx, "s1", "y").Err(), resilient.ErrKeyTooBig)
	if n, err := c.HSet(ctx, "h", "new", "v", "2", "w").Result(); n != 1 || err != nil {
		t.Errorf("HSET of a new field and one that is there: %d, %v", n, err)
	}
	if n, err := c.HDel(ctx, "h", "1", "none").Result(); n != 1 || err != nil {
		t.Errorf("HDEL: %d, %v", n, err)
	}
	if got := fmt.Sprint(c.HMGet(ctx, "h", "1", "2", "3", "new").Val(), c.HLen(ctx, "h").Val()); got != "[<nil> w v v] 11" {
		t.Errorf("HMGET and HLEN: %s", got)
	}
	bounded(t, "HGETALL", c.HGetAll(ctx, "h").Err(), resilient.ErrKeyTooBig)
	if v, err := c.Get(ctx, "s1").Result(); v != long || err != nil {
		t.Errorf("GET of a key that is only read: %d bytes, %v", len(v), err)
	}
	if ok, err := c.Expire(ctx, "s2", 1e12).Result(); !ok || err != nil {
		t.Errorf("EXPIRE: %v, %v", ok, err)
	}
	if typ, err := c.Type(ctx, "s2").Result(); typ != "string" || err != nil {
		t.Errorf("TYPE: %q, %v", typ, err)
	}
	if ttl, err := c.TTL(ctx, "s2").Result(); ttl.Seconds() < 990 || err != nil {
		t.Errorf("TTL: %v, %v", ttl, err)
	}
	// Read from the replica it would be right, but then a later APPEND would not.
	bounded(t, "GET of a key of which only the deadline is known", c.Get(ctx, "s2").Err(), resilient.ErrKeyTooBig)
	check(t, c.Set(ctx, "s3", "short", 0).Err())
	if n, err := c.Append(ctx, "s3", "y").Result(); n != 6 || err != nil {
		t.Errorf("APPEND after SET: %d, %v", n, err)
	}
	if n, err := c.Del(ctx, "s4", "h", "nothing").Result(); n != 2 || err != nil {
		t.Errorf("DEL: %d, %v", n, err)
	}
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	admin := g.Node(1).Client()
	if got := fmt.Sprintln(admin.StrLen(ctx, "s1").Val(), admin.TTL(ctx, "s2").Val() > 0, admin.Get(ctx, "s3").Val(), admin.Exists(ctx, "s4", "h").Val()); got != "1001 true shorty 0\n" {
		t.Errorf("in Redis: %s", got)
	}
}

// TestTwoClientsOneDirectory: each has a journal of its own, and what both
// deferred adds up.
func TestTwoClientsOneDirectory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	one, two := open(t, g, &resilient.Options{Dir: dir}), open(t, g, &resilient.Options{Dir: dir})
	check(t, one.Set(ctx, "n", 100, 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	for i := range int64(20) {
		for _, c := range []*resilient.Client{one, two} {
			// Each knows of its own writes only.
			if n, err := c.Incr(ctx, "n").Result(); n != 101+i || err != nil {
				t.Errorf("INCR = %d, %v; want %d", n, err, 101+i)
			}
		}
	}
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, one)
	flush(t, two)
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "140" {
		t.Errorf("n = %s, want 140", v)
	}
}
