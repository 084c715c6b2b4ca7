package resilient_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// conflicting are commands that make a key of each type, that write to it, and that somebody
// else changes it with, all of them words on a line, and the one that reads it.
var conflicting = []struct{ make, write, foreign, read string }{
	{"SET string v", "SET string w", "SET string f", "GET string"},
	{"SET number 5", "INCRBY number 2", "INCR number", "GET number"},
	{"", "SET absent w", "SET absent f", "GET absent"},
	{"", "LPUSH gone w", "LPUSH gone f", "LRANGE gone 0 -1"},
	{"HSET hash a 1 b 2", "HSET hash a w", "HSET hash b f", "HMGET hash a b"},
	{"RPUSH list a b c", "RPUSH list w", "LPOP list", "LRANGE list 0 -1"},
	{"SADD set a b c", "SADD set w", "SREM set a", "SORT set ALPHA"},
	{"SADD numbers 1 2 3", "SADD numbers 4", "SADD numbers 5", "SORT numbers"},
	{"ZADD zset 1.5 a 2 b", "ZADD zset 3 w", "ZADD zset 9 a", "ZRANGE zset 0 -1 WITHSCORES"},
	{"XADD stream 1-1 f v", "XTRIM stream MAXLEN 0", "XADD stream 2-2 f v", "XRANGE stream - +"},
	{"PFADD hll a b c", "PFADD hll w", "PFADD hll f g h", "GET hll"},
	{"SETBIT bits 7 1", "SETBIT bits 9 1", "SETBIT bits 8 1", "GET bits"},
	{"GEOADD geo 13.361389 38.115556 Palermo", "GEOADD geo 15.087269 37.502669 w", "ZREM geo Palermo", "ZRANGE geo 0 -1"},
	{"HSET bighash a 1 b 2 c 3 d 4 e 5 f 6 g 7", "HSET bighash w w", "HDEL bighash a", "HGETALL bighash"},
	{"SADD bigset a b c d e f g h", "SADD bigset w", "SADD bigset x", "SORT bigset ALPHA"},
	{"ZADD bigzset 1 a 2 b 3 c 4 d 5 e 6 f 7 g", "ZADD bigzset 8 w", "ZREM bigzset a", "ZRANGE bigzset 0 -1 WITHSCORES"},
	{"RPUSH biglist a b c d e f g h", "RPUSH biglist w", "RPOP biglist", "LRANGE biglist 0 -1"},
	{"SET key v", "DEL key", "SET key f", "GET key"},
}

// line runs a command given as words.
func line(t *testing.T, c redis.Cmdable, words string) any {
	t.Helper()
	if words == "" {
		return nil
	}
	var args []any
	for _, w := range strings.Fields(words) {
		args = append(args, w)
	}
	v, err := c.(interface {
		Do(context.Context, ...any) *redis.Cmd
	}).Do(context.Background(), args...).Result()
	if err != nil && err != redis.Nil { //nolint:errorlint // as go-redis answers it
		t.Fatalf("%s: %v", words, err)
	}
	return v
}

// backlogOf defers writes to a key of each type and to their copies, which nobody else
// will write; then the servers have a primary again and the client is closed.
func backlogOf(t *testing.T, o resilient.Options) *redistest.Group {
	t.Helper()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	c := open(t, g, &o)
	for _, k := range conflicting {
		line(t, c, k.make)
		line(t, c, mine(k.make))
	}
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	for _, k := range conflicting {
		line(t, c, k.write)
		line(t, c, mine(k.write))
	}
	check(t, c.Incr(ctx, "number").Err()) // it builds on what was left out
	if s := c.Stats(); s.Entries != 2*len(conflicting)+1 {
		t.Fatalf("%d entries", s.Entries)
	}
	check(t, c.Close())
	check(t, g.PromoteOnly(ctx, 1))
	return g
}

// mine is the same command on the copy of a key.
func mine(words string) string {
	if words == "" {
		return ""
	}
	name, rest, _ := strings.Cut(words, " ")
	return name + " mine-" + rest
}

func TestKeepServer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var mu sync.Mutex
	var found []resilient.ConflictInfo
	o := resilient.Options{
		Dir: t.TempDir(), MaxSeedFields: 5, Conflicts: resilient.ResolutionKeepServer,
		Listener: resilient.Listener{ConflictFound: func(i resilient.ConflictInfo) {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, i)
		}},
	}
	g := backlogOf(t, o)
	admin := g.Node(1).Client()
	var before []string
	for _, k := range conflicting {
		line(t, admin, k.foreign)
		before = append(before, fmt.Sprint(line(t, admin, k.read), "; ", line(t, admin, mine(k.read))))
	}
	c := open(t, g, &o)
	flush(t, c)
	for i, k := range conflicting {
		left, was, _ := strings.Cut(before[i], "; ")
		if got := fmt.Sprint(line(t, admin, k.read)); got != strings.TrimSpace(left) {
			t.Errorf("%s was %q and is %q: the replay has overwritten it", k.read, left, got)
		}
		if got := fmt.Sprint(line(t, admin, mine(k.read))); got == strings.TrimSpace(was) {
			t.Errorf("%s is %q: it was left out, though nobody has changed it", mine(k.read), got)
		}
	}
	n := uint64(len(conflicting) + 1)
	if s := c.Stats(); s.Conflicted != n || s.DeadLettered != n || s.Replayed != uint64(len(conflicting)) || s.Entries != 0 {
		t.Errorf("stats %+v", s)
	}
	check(t, c.Set(ctx, "string", "live", 0).Err())
	redistest.Eventually(t, 10*time.Second, "the events", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(found) == len(conflicting)
	})
	mu.Lock()
	defer mu.Unlock()
	for _, i := range found {
		if i.Resolution != resilient.ResolutionKeepServer || !i.BaseKnown || len(i.Commands) != 1 || i.Accepted.IsZero() {
			t.Errorf("event %+v", i)
		}
		for _, k := range conflicting {
			tellsNoKey(t, i.String(), strings.Fields(k.read)[1])
		}
	}
}

// tellsNoKey fails if a sentence has a key's name as a word that no command or type has.
func tellsNoKey(t *testing.T, sentence, key string) {
	t.Helper()
	if strings.HasPrefix(key, "big") && strings.Contains(sentence, key) {
		t.Errorf("%q names a key", sentence)
	}
}

func TestOverwriteIsTheDefault(t *testing.T) {
	t.Parallel()
	o := resilient.Options{Dir: t.TempDir()}
	g := backlogOf(t, o)
	admin := g.Node(1).Client()
	for _, k := range conflicting {
		line(t, admin, k.foreign)
	}
	c := open(t, g, &o)
	flush(t, c)
	if v := line(t, admin, "GET string"); v != "w" {
		t.Errorf("GET string: %v", v)
	}
	if s := c.Stats(); s.Conflicted != 0 || s.DeadLettered != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestResolveConflict(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := make(map[string]resilient.Conflict)
	o := resilient.Options{
		Dir: t.TempDir(), MaxSeedFields: 5,
		ResolveConflict: func(ctx context.Context, c resilient.Conflict) resilient.Resolution {
			mu.Lock()
			asked[c.Key] = c
			mu.Unlock()
			switch c.Key {
			case "hash":
				panic("a fault of the application")
			case "number", "absent":
				return resilient.ResolutionOverwrite
			}
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("nothing bounds the call")
			}
			return resilient.ResolutionKeepServer
		},
	}
	g := backlogOf(t, o)
	admin := g.Node(1).Client()
	for _, k := range conflicting {
		line(t, admin, k.foreign)
	}
	c := open(t, g, &o)
	flush(t, c)
	for words, want := range map[string]string{
		"GET number": "9", "GET absent": "w", "GET string": "f", "HMGET hash a b": "[1 f]", "GET mine-string": "w",
	} {
		if got := fmt.Sprint(line(t, admin, words)); got != want {
			t.Errorf("%s: %s, want %s", words, got, want)
		}
	}
	if s := c.Stats(); s.Conflicted != uint64(len(conflicting)-2) {
		t.Errorf("stats %+v", s)
	}
	mu.Lock()
	defer mu.Unlock()
	n, a := asked["number"], asked["absent"]
	if len(asked) != len(conflicting) || string(n.Value) != "6" || n.Type != "string" || !n.BaseKnown || !n.Existed ||
		!slices.Equal(n.Commands, []string{"INCRBY"}) || time.Since(n.Accepted) > time.Hour || a.Existed || !a.BaseKnown {
		t.Errorf("asked %d times, of a number %+v, of what was absent %+v", len(asked), n, a)
	}
}

// TestResolveConflictThatDoesNotReturn: nothing waits for it for long, and nothing is
// overwritten meanwhile.
func TestResolveConflictThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	o := resilient.Options{
		Dir: t.TempDir(), ResolveConflict: func(context.Context, resilient.Conflict) resilient.Resolution {
			<-release
			return resilient.ResolutionOverwrite
		},
	}
	g := backlogOf(t, o)
	admin := g.Node(1).Client()
	for _, k := range conflicting {
		line(t, admin, k.foreign)
	}
	c := open(t, g, &o)
	flush(t, c)
	close(release)
	if s := c.Stats(); s.Conflicted != uint64(len(conflicting)+1) {
		t.Errorf("stats %+v", s)
	}
}

// TestKeepServerOfALiveClient: the client that has deferred replays by itself, while
// another writes the keys all the time; what it leaves out is one of the two.
func TestKeepServerOfALiveClient(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	begun := make(chan struct{}, 16)
	c := open(t, g, &resilient.Options{
		Dir: t.TempDir(), Fsync: resilient.FsyncNo, Conflicts: resilient.ResolutionKeepServer,
		Listener: resilient.Listener{ReplayBegin: func(resilient.ReplayBeginInfo) { begun <- struct{}{} }},
	})
	check(t, g.Cycle(ctx))
	const n = 1000
	for i := range n {
		check(t, c.Set(ctx, fmt.Sprint("k", i), "ours", 0).Err())
		check(t, c.Append(ctx, fmt.Sprint("k", i), "!").Err())
	}
	other, cancel := context.WithCancel(ctx)
	done := make(chan map[int]bool)
	go func() { // it takes what is not there: so a value of ours is never its doing
		taken := make(map[int]bool)
		defer func() { done <- taken }()
		<-begun
		for i := 0; other.Err() == nil; i = (i + 7) % n {
			if g.Node(1).Client().SetNX(ctx, fmt.Sprint("k", i), "theirs", 0).Val() {
				taken[i] = true
			}
		}
	}()
	check(t, g.Promote(ctx, 1))
	flush(t, c)
	cancel()
	taken := <-done
	for i := range n {
		want := "ours!"
		if taken[i] {
			want = "theirs"
		}
		if got := g.Node(1).Client().Get(ctx, fmt.Sprint("k", i)).Val(); got != want {
			t.Errorf("k%d is %q, want %q", i, got, want)
		}
	}
	if s := c.Stats(); s.Conflicted != 2*uint64(len(taken)) || s.Replayed != 2*uint64(n-len(taken)) {
		t.Errorf("%d keys were taken; stats %+v", len(taken), s)
	}
	t.Logf("%d of %d keys were written by the other first", len(taken), n)
}

// TestKeepServerAfterAPartition: beside a client that was cut off others have written on.
func TestKeepServerAfterAPartition(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, c := partition(t, &resilient.Options{Dir: t.TempDir(), DeferPartitioned: true, Conflicts: resilient.ResolutionKeepServer})
	primary := s.Group.Node(0).Client()
	check(t, s.Group.WaitSynced(ctx))
	check(t, c.Incr(ctx, "others").Err())
	check(t, c.Set(ctx, "quiet", "ours", 0).Err())
	want, err := primary.Incr(ctx, "others").Result()
	check(t, err)
	check(t, s.Mend(ctx))
	flush(t, c)
	if n, err := primary.Get(ctx, "others").Int64(); n != want || err != nil {
		t.Errorf("others = %d, %v, want %d", n, err, want)
	}
	if v := primary.Get(ctx, "quiet").Val(); v != "ours" {
		t.Errorf("quiet = %q", v)
	}
	if got := c.Stats().Conflicted; got != 1 {
		t.Errorf("%d conflicted", got)
	}
}

// TestKeepServerWithoutReplicas: nobody can tell what keys held, so that only those that
// don't exist are written.
func TestKeepServerWithoutReplicas(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	o := resilient.Options{Dir: t.TempDir(), Conflicts: resilient.ResolutionKeepServer}
	c := open(t, g, &o)
	check(t, c.Set(ctx, "old", "v", 0).Err())
	check(t, g.Node(0).Kill())
	redistest.Eventually(t, 20*time.Second, "a deferred write", func() bool { return c.Set(ctx, "new", "w", 0).Err() == nil })
	check(t, c.Set(ctx, "old", "w", 0).Err())
	check(t, c.Close())
	check(t, g.Node(0).Restart(ctx))
	admin := g.Node(0).Client()
	check(t, admin.Set(ctx, "old", "v", 0).Err()) // it comes back without data, and others are quick
	c = open(t, g, &o)
	flush(t, c)
	if v := admin.Get(ctx, "new").Val(); v != "w" {
		t.Errorf("new = %q", v)
	}
	if v := admin.Get(ctx, "old").Val(); v != "v" {
		t.Errorf("old = %q", v)
	}
	if got := c.Stats().Conflicted; got != 1 {
		t.Errorf("%d conflicted", got)
	}
}

// TestKeepServerOverACluster: keys are watched in their slot.
func TestKeepServerOverACluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	o := func() *resilient.Options {
		return &resilient.Options{Dir: dir, Group: "c", Conflicts: resilient.ResolutionKeepServer}
	}
	servers, c := clusterOf(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true}, o())
	check(t, servers.AutoFailover(ctx, false))
	keys := keysOfShard(t, servers, 0, 40)
	for _, key := range keys {
		check(t, c.Incr(ctx, key).Err())
	}
	primary, _ := servers.Primary(ctx, 0)
	replica := servers.Shard(0)[1]
	redistest.Eventually(t, 20*time.Second, "replication", func() bool {
		return primary.Client().DBSize(ctx).Val() == replica.Client().DBSize(ctx).Val()
	})
	check(t, primary.Kill())
	redistest.Eventually(t, 30*time.Second, "the outage", func() bool { return shardStates(c, resilient.StateNoPrimary) == 1 })
	for range 3 {
		for _, key := range keys {
			check(t, c.Incr(ctx, key).Err())
		}
	}
	check(t, c.Close())
	check(t, replica.Client().Do(ctx, "CLUSTER", "FAILOVER", "TAKEOVER").Err())
	redistest.Eventually(t, 20*time.Second, "the takeover", func() bool {
		return replica.Client().Incr(ctx, keys[0]).Err() == nil
	})
	for i, key := range keys {
		if i%4 == 0 {
			check(t, replica.Client().Set(ctx, key, "foreign", 0).Err())
		}
	}
	c = newClientFor(t, &redis.UniversalOptions{Addrs: servers.Addrs()}, o())
	check(t, c.Flush(ctx))
	for i, key := range keys {
		want := "4"
		if i%4 == 0 {
			want = "foreign"
		}
		if got := replica.Client().Get(ctx, key).Val(); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if s := c.Stats(); s.Conflicted != 30 || s.DeadLettered != 30 {
		t.Errorf("stats %+v", s)
	}
}

func TestConflictOptions(t *testing.T) {
	ask := func(context.Context, resilient.Conflict) resilient.Resolution { return resilient.ResolutionOverwrite }
	for _, bad := range []*resilient.Options{
		{Conflicts: 7},
		{Conflicts: resilient.ResolutionKeepServer, ResolveConflict: ask},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "Options.Conflicts") {
			t.Errorf("%+v: %v", bad.Conflicts, err)
		}
	}
	if err := (&resilient.Options{ResolveConflict: ask}).Validate(); err != nil {
		t.Error(err)
	}
	info := resilient.ConflictInfo{
		Seq: 7, Commands: []string{"SET"}, Accepted: time.Unix(0, 0), Type: "hash", BaseKnown: true,
		Resolution: resilient.ResolutionKeepServer,
	}
	const want = "conflict: somebody else has written a key (hash by now) before deferred write 7 (SET, accepted 1970-01-01T00:00:00Z): keep-server"
	if got := info.String(); got != want {
		t.Errorf("%q", got)
	}
	if got := resilient.Resolution(9).String(); got != "resolution(9)" {
		t.Error(got)
	}
}
