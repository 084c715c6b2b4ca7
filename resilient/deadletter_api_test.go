package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// deadOnes makes dead letters in a group: HSET and HINCRBY of a key that somebody else has
// made a string by then. c is the client that has them.
func deadOnes(t *testing.T, g *redistest.Group, dir string) (c *resilient.Client, admin *redis.Client) {
	t.Helper()
	ctx := context.Background()
	c = open(t, g, &resilient.Options{Dir: dir})
	check(t, g.Cycle(ctx))
	check(t, c.HSet(ctx, secretKey, secretField, secretValue).Err())
	check(t, c.HIncrBy(ctx, secretKey, "n", 3).Err())
	check(t, c.Set(ctx, "after", 1, 0).Err())
	check(t, c.Close())
	check(t, g.PromoteOnly(ctx, 1))
	admin = g.Node(1).Client()
	check(t, admin.Set(ctx, secretKey, "another process", 0).Err())
	c = open(t, g, &resilient.Options{Dir: dir})
	flush(t, c)
	return c, admin
}

// lettersOf are the dead letters that a client lists.
func lettersOf(t *testing.T, c *resilient.Client) (ids []string, letters []resilient.DeadLetter) {
	t.Helper()
	letters, err := c.DeadLetters(context.Background())
	check(t, err)
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids, letters
}

// TestDeadLetterIsReplayedAfterMending: listed without a secret, shown on request, kept
// while it is rejected, replayed once what made it so is gone, and then no letter any more.
func TestDeadLetterIsReplayedAfterMending(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c, admin := deadOnes(t, g, dir)
	ids, letters := lettersOf(t, c)
	if len(ids) != 2 {
		t.Fatalf("letters %v, want 2", letters)
	}
	for i, name := range []string{"HSET", "HINCRBY"} {
		l := letters[i]
		if fmt.Sprint(l.Commands) != "["+name+"]" || l.Reason != "rejected: WRONGTYPE" || l.State != resilient.DeadLetterReady || l.Accepted.IsZero() {
			t.Errorf("letter %+v", l)
		}
		tellsNoSecret(t, "a letter", fmt.Sprintf("%v %+v", l, l))
	}
	content, err := c.ReadDeadLetter(ctx, ids[0])
	if err != nil || len(content.Args) != 1 || string(content.Args[0][1]) != secretKey || !strings.Contains(content.Text, "WRONGTYPE") {
		t.Errorf("content %q, %v", content, err)
	}
	err = c.ReplayDeadLetter(ctx, ids...)
	if !errors.Is(err, resilient.ErrDeadLetterKept) || strings.Count(err.Error(), "rejected: WRONGTYPE") != 2 {
		t.Errorf("not mended: %v", err)
	}
	tellsNoSecret(t, "an error", err.Error())

	check(t, admin.Del(ctx, secretKey).Err())
	check(t, c.ReplayDeadLetter(ctx, ids...))
	if got := admin.HGetAll(ctx, secretKey).Val(); got[secretField] != secretValue || got["n"] != "3" {
		t.Errorf("in Redis: %v", got)
	}
	if s := c.Stats(); s.DeadLettered != 0 {
		t.Errorf("stats %+v", s)
	}
	for range 2 {
		if left, _ := lettersOf(t, c); len(left) > 0 {
			t.Errorf("letters %v are left", left)
		}
		for _, do := range []func(context.Context, ...string) error{c.ReplayDeadLetter, c.ForceDeadLetter, c.DiscardDeadLetter} {
			if err := do(ctx, ids[0]); !errors.Is(err, resilient.ErrNoDeadLetter) {
				t.Errorf("once more: %v", err)
			}
		}
		check(t, c.Close())
		c = open(t, g, &resilient.Options{Dir: dir})
	}
	if got := admin.HGet(ctx, secretKey, "n").Val(); got != "3" {
		t.Errorf("n is %s", got)
	}
}

func TestDeadLetterIsDiscarded(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c, admin := deadOnes(t, g, t.TempDir())
	ids, _ := lettersOf(t, c)
	check(t, c.DiscardDeadLetter(ctx, ids[0]))
	if left, _ := lettersOf(t, c); !slices.Equal(left, ids[1:]) {
		t.Errorf("letters %v are left of %v", left, ids)
	}
	if v := admin.Get(ctx, secretKey).Val(); v != "another process" {
		t.Errorf("in Redis: %q", v)
	}
	for _, id := range []string{"", "x-1", ids[0] + "x", strings.Replace(ids[1], "-", "-9", 1), strings.Repeat("0", 32) + "-1"} {
		if err := c.DiscardDeadLetter(ctx, id); !errors.Is(err, resilient.ErrNoDeadLetter) {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := c.ReadDeadLetter(ctx, id); !errors.Is(err, resilient.ErrNoDeadLetter) {
			t.Errorf("%q: %v", id, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.DiscardDeadLetter(gone, ids[1]); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	check(t, c.Close())
	if err := c.DiscardDeadLetter(ctx, ids[1]); !errors.Is(err, resilient.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestDeadLetterInAnOutage: there is nobody to send it to, and nothing is deferred twice.
func TestDeadLetterInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c, admin := deadOnes(t, g, t.TempDir())
	ids, _ := lettersOf(t, c)
	check(t, admin.Del(ctx, secretKey).Err())
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	if err := c.ReplayDeadLetter(ctx, ids...); !errors.Is(err, resilient.ErrNoPrimary) {
		t.Errorf("in an outage: %v", err)
	}
	check(t, g.Promote(ctx, 0))
	waitState(t, c, resilient.StateHealthy)
	check(t, c.ReplayDeadLetter(ctx, ids...))
	if v := g.Node(0).Client().HGet(ctx, secretKey, "n").Val(); v != "3" {
		t.Errorf("n is %q", v)
	}
}

// TestDeadLetterBehindWaitingWrites: a letter among writes that are not trimmed is what
// keeps its write from being replayed, so it stays until they are.
func TestDeadLetterBehindWaitingWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), ReplicaAckTimeout: time.Hour})
	check(t, g.Cycle(ctx))
	check(t, c.HIncrBy(ctx, "h", "n", 3).Err())
	admin := g.Node(1).Client()
	check(t, admin.ConfigSet(ctx, "replica-read-only", "no").Err())
	check(t, admin.Set(ctx, "h", "another process", 0).Err())
	check(t, admin.ConfigSet(ctx, "replica-read-only", "yes").Err())
	check(t, g.Node(0).Pause()) // it will not confirm
	check(t, g.PromoteOnly(ctx, 1))
	redistest.Eventually(t, testPatience, "the dead letter", func() bool { return c.Stats().DeadLettered == 1 })
	if s := c.Stats(); s.Entries != 1 {
		t.Fatalf("%d entries wait, want the one that is dead", s.Entries)
	}
	ids, letters := lettersOf(t, c)
	if letters[0].State != resilient.DeadLetterWaiting {
		t.Errorf("letter %v", letters[0])
	}
	for _, do := range []func(context.Context, ...string) error{c.ReplayDeadLetter, c.ForceDeadLetter, c.DiscardDeadLetter} {
		if err := do(ctx, ids...); !errors.Is(err, resilient.ErrDeadLetterKept) {
			t.Errorf("while writes wait: %v", err)
		}
	}
	check(t, g.Node(0).Resume())
	flush(t, c)
	check(t, admin.Del(ctx, "h").Err())
	check(t, c.ReplayDeadLetter(ctx, ids...))
	if v := admin.HGet(ctx, "h", "n").Val(); v != "3" {
		t.Errorf("n is %q", v)
	}
}

// TestDeadLetterOfAnotherJournal: a client sees to the letters that a dead process left,
// under that one's id, and leaves those of a living one to it.
func TestDeadLetterOfAnotherJournal(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	first, admin := deadOnes(t, g, dir)
	second := open(t, g, &resilient.Options{Dir: dir})
	ids, _ := lettersOf(t, second)
	if own, _ := lettersOf(t, first); len(ids) != 2 || !slices.Equal(ids, own) {
		t.Fatalf("letters %v and %v", ids, own)
	}
	other := open(t, g, &resilient.Options{Dir: dir, Group: "another"})
	if foreign, _ := lettersOf(t, other); len(foreign) > 0 {
		t.Errorf("a client of another group lists %v", foreign)
	}
	check(t, admin.Del(ctx, secretKey).Err())
	if err := second.ReplayDeadLetter(ctx, ids...); !errors.Is(err, resilient.ErrDeadLetterKept) {
		t.Errorf("held by another: %v", err)
	}
	check(t, first.Close())
	redistest.Eventually(t, testPatience, "the letters to be replayed", func() bool {
		err := second.ReplayDeadLetter(ctx, ids...) // it may be looked at for adoption just now
		return err == nil || !errors.Is(err, resilient.ErrDeadLetterKept)
	})
	if v := admin.HGet(ctx, secretKey, "n").Val(); v != "3" {
		t.Errorf("n is %q", v)
	}
	if left, _ := lettersOf(t, second); len(left) > 0 {
		t.Errorf("letters %v are left", left)
	}
}

// TestDeadLettersOfACluster: each letter goes to the shard that has its slot, whichever
// server that is by then.
func TestDeadLettersOfACluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
	check(t, servers.AutoFailover(ctx, false))
	keys := append(keysOfShard(t, servers, 0, 2), keysOfShard(t, servers, 2, 2)...)
	for _, shard := range []int{0, 2} {
		primary, _ := servers.Primary(ctx, shard)
		check(t, primary.Kill())
	}
	o := resilient.Options{Dir: t.TempDir(), ProbeInterval: 100 * time.Millisecond}
	u := &redis.UniversalOptions{Addrs: servers.Addrs()}
	first := o
	c := newClientFor(t, u, &first)
	deferHashes(t, c, keys)
	for _, shard := range []int{0, 2} {
		check(t, servers.Failover(ctx, servers.Shard(shard)[1], redistest.FailoverTakeover))
	}
	admin := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	t.Cleanup(func() { _ = admin.Close() }) // it was only used here
	replayHashes(t, admin, keys, func() *resilient.Client { return newClientFor(t, u, &o) })
}

// TestDeadLettersOfARing: each letter goes to the shard it was accepted for.
func TestDeadLettersOfARing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startRing(t, 3)
	first := s.ring()
	all := s.keys(t, first, 2)
	check(t, first.Close())
	keys, dir := all[0], t.TempDir()
	check(t, s.groups[0].Cycle(ctx))
	c := s.wrap(t, s.ring(), dir)
	deferHashes(t, c, keys)
	check(t, s.groups[0].PromoteOnly(ctx, 0))
	replayHashes(t, s.direct(t, 0), keys, func() *resilient.Client { return s.wrap(t, s.ring(), dir) })
}

// deferHashes defers two writes to each key and closes the client.
func deferHashes(t *testing.T, c *resilient.Client, keys []string) {
	t.Helper()
	ctx := context.Background()
	for _, key := range keys {
		redistest.Eventually(t, testPatience, "a deferred write", func() bool { return c.HIncrBy(ctx, key, "n", 3).Err() == nil })
		check(t, c.HSet(ctx, key, "f", "v").Err())
	}
	if n := c.Stats().Entries; n != 2*len(keys) {
		t.Fatalf("%d writes wait, want %d", n, 2*len(keys))
	}
	check(t, c.Close())
}

// replayHashes makes dead letters of what deferHashes deferred, and replays them.
func replayHashes(t *testing.T, admin redis.UniversalClient, keys []string, start func() *resilient.Client) {
	t.Helper()
	ctx := context.Background()
	for _, key := range keys {
		redistest.Eventually(t, testPatience, "a primary", func() bool {
			return admin.Set(ctx, key, "another process", 0).Err() == nil
		})
	}
	c := start()
	eventuallyFlushed(t, c)
	ids, letters := lettersOf(t, c)
	if len(ids) != 2*len(keys) {
		t.Fatalf("letters %v, want two for each of %d keys", letters, len(keys))
	}
	if err := c.ReplayDeadLetter(ctx, ids...); !errors.Is(err, resilient.ErrDeadLetterKept) {
		t.Errorf("not mended: %v", err)
	}
	for _, key := range keys {
		check(t, admin.Del(ctx, key).Err())
	}
	check(t, c.ReplayDeadLetter(ctx, ids...))
	for _, key := range keys {
		if got := admin.HGetAll(ctx, key).Val(); got["n"] != "3" || got["f"] != "v" {
			t.Errorf("%s is %v", key, got)
		}
	}
	if left, _ := lettersOf(t, c); len(left) > 0 {
		t.Errorf("letters %v are left", left)
	}
}
