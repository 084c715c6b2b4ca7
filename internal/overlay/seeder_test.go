package overlay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

func seedAll(t *testing.T, s *Seeder, depth Depth, names ...string) map[string]Seed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	keys := make([]Key, len(names))
	for i, n := range names {
		keys[i] = Key{Name: n}
	}
	seeds, err := s.Seed(ctx, keys, depth)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]Seed)
	for i, n := range names {
		out[n] = seeds[i]
	}
	return out
}

func send(t *testing.T, g *redistest.Group, lines ...string) {
	t.Helper()
	for _, line := range lines {
		var args []any
		for _, w := range strings.Fields(line) {
			args = append(args, w)
		}
		if _, err := g.Node(0).Do(context.Background(), args...); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// told is what a seed says, as commands.
func told(t *testing.T, name string, s Seed) string {
	t.Helper()
	b, ok := s.Value.AppendRestore(nil, name)
	if !ok {
		return fmt.Sprintf("%s partial=%v at %d", s.Value.TypeName(), s.Value.Partial(), s.Value.ExpireAt())
	}
	return restoring(t, Effect{Restore: b})
}

// sendOfAllTypes writes a small and a big value of each type.
func sendOfAllTypes(t *testing.T, g *redistest.Group) {
	t.Helper()
	var pairs, members, scored strings.Builder
	for i := range 40 {
		fmt.Fprintf(&pairs, " f%d v", i)
		fmt.Fprintf(&members, " m%d", i)
		fmt.Fprintf(&scored, " %d m%d", i, i)
	}
	send(t, g, "SET fence 42", "SET s text", "SET e 5 PXAT 99999999999999", "HSET h a 1 b 2", "HSET bigh"+pairs.String(),
		"SET blob "+strings.Repeat("x", 3000), "SET edge "+strings.Repeat("x", 2000), "RPUSH l 1 2",
		"HSET wide f "+strings.Repeat("x", 5000), "SADD t 1 2", "ZADD z 1.5 a -inf b", "PEXPIREAT z 99999999999999",
		"SADD bigt"+members.String(), "RPUSH bigl"+members.String(), "ZADD bigz"+scored.String(), "PEXPIREAT bigz 99999999999999",
		"XADD x 1-1 f v g w", "XADD x 2-1 f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g me COUNT 1 STREAMS x >", "XDEL x 1-1")
	for i := range 40 {
		send(t, g, fmt.Sprintf("XADD bigx %d-1 f v", i+1))
	}
}

func TestSeedsFromAReplica(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	sendOfAllTypes(t, g)
	if err := g.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	replica := g.Node(1)
	s, err := NewSeeder(SeederOptions{Client: replica.Client(), Fence: "fence", MaxBytes: 2000, MaxElements: 30})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"s":       "SET s text",
		"e":       "SET e 5 PXAT 99999999999999",
		"h":       "DEL h|HSET h a 1 b 2",
		"l":       "DEL l|RPUSH l 1 2",
		"t":       "DEL t|SADD t 1 2",
		"z":       "DEL z|ZADD z -inf b 1.5 a|PEXPIREAT z 99999999999999",
		"bigh":    "hash partial=true at 0",
		"bigl":    "list partial=true at 0",
		"bigt":    "set partial=true at 0",
		"bigz":    "zset partial=true at 99999999999999",
		"bigx":    "stream partial=true at 0",
		"wide":    "hash partial=true at 0",
		"blob":    "string partial=false at 0",
		"edge":    "SET edge " + strings.Repeat("x", 2000),
		"missing": "DEL missing",
	}
	names := []string{"x"}
	for name := range want {
		names = append(names, name)
	}
	got := seedAll(t, s, DepthLimited, names...)
	for name, seed := range got {
		if seed.Origin.Addr != replica.Addr() || len(seed.Origin.ReplID) != 40 || seed.Origin.Offset <= 0 {
			t.Errorf("%s: origin %+v", name, seed.Origin)
		}
		if seed.Fence != 42 {
			t.Errorf("%s: fence %d, want 42", name, seed.Fence)
		}
		if text := told(t, name, seed); name != "x" && text != want[name] {
			t.Errorf("%s: %.200s, want %.200s", name, text, want[name])
		}
	}
	whole := seedAll(t, s, DepthWhole, "blob", "h", "bigh")
	if told(t, "blob", whole["blob"]) != "SET blob "+strings.Repeat("x", 3000) ||
		told(t, "h", whole["h"]) != want["h"] || told(t, "bigh", whole["bigh"]) != want["bigh"] {
		t.Error("whole seeds are not as they should be")
	}
	for name, seed := range seedAll(t, s, DepthMeta, "s", "l", "bigz") {
		if !seed.Value.Opaque() || seed.Value.Type() == engine.TypeNone {
			t.Errorf("meta of %s: %s", name, told(t, name, seed))
		}
	}
}

// What a seed restores is what the server has, groups of a stream included.
func TestSeededStreamIsTheServers(t *testing.T) {
	t.Parallel()
	for proto := 2; proto <= 3; proto++ {
		g := redistest.StartT(t, redistest.Options{})
		send(t, g, "XADD x 1-1 f v g w", "XADD x 2-1 f v", "XADD x 3-1 f v", "XGROUP CREATE x g 0", "XGROUP CREATE x idle $",
			"XREADGROUP GROUP g me COUNT 2 STREAMS x >", "XDEL x 1-1", "XACK x g 2-1", "XGROUP CREATE empty g $ MKSTREAM")
		o := *g.Node(0).Client().Options()
		o.Protocol = proto
		client := redis.NewClient(&o)
		defer client.Close()
		s, err := NewSeeder(SeederOptions{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, Options{Source: s})
		r.do("XADD x 4-1 last one")
		r.do("PEXPIREAT empty 99999999999999")
		r.want("XLEN empty", ":0")
		send(t, g, "XADD x 4-1 last one")
		or := dialOracle(t, g.Node(0).Addr(), 2, 0)
		for _, line := range []string{
			"XRANGE x - +", "XPENDING x g", "XINFO GROUPS x", "XINFO STREAM x", "XLEN x", "XPENDING x g - + 10",
		} {
			want, raw := or.do(split(line)...)
			got := r.do(line)
			if strings.HasPrefix(line, "XPENDING x g -") { // idle times go on
				if want.Kind != resp.KindArray || len(want.Elems) != 1 || !strings.Contains(show(got.Reply), "1-1") {
					t.Errorf("%s: %q, Redis says %q", line, got.Reply, raw)
				}
				continue
			}
			if err := workload.Compare(split(line), raw, got.Reply); err != nil {
				t.Errorf("RESP%d: %s: %v", proto, line, err)
			}
		}
	}
}

// Members of big values are read one by one; nothing else of them is.
func TestSeederMembers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	send(t, g, "HSET h a 1 b 2 c 3", "SADD t a b c", "ZADD z 1.5 a inf b 3 c 4 e", "SET s v")
	s, err := NewSeeder(SeederOptions{Client: g.Node(0).Client(), MaxElements: 2})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"h": "a=1 b=2 -", "t": "a= b= -", "z": "a=1.5 b=+Inf -",
	} {
		typ := map[string]engine.Type{"h": engine.TypeHash, "t": engine.TypeSet, "z": engine.TypeZSet}[name]
		facts, err := s.Members(ctx, Key{Name: name}, typ, split("a b x"))
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, f := range facts {
			word := "-"
			if f.Present {
				word = string(f.Member) + "=" + string(f.Value)
				if typ == engine.TypeZSet {
					word = fmt.Sprintf("%s=%v", f.Member, f.Score)
				}
			}
			words = append(words, word)
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("members of %s: %s, want %s", name, got, want)
		}
	}
	for name, typ := range map[string]engine.Type{"s": engine.TypeHash, "nosuchkey": engine.TypeSet, "z": engine.TypeList} {
		if _, err := s.Members(ctx, Key{Name: name}, typ, split("a")); err == nil || strings.Contains(err.Error(), "nosuchkey") {
			t.Errorf("members of a key that is no %s: %v, want an error without the key", typ, err)
		}
	}
	r := newRig(t, Options{Source: s})
	for _, c := range [][2]string{
		{"HINCRBY h a 5", ":6"},
		{"HGET h b", "$1 2"},
		{"HSET h d 4", ":1"},
		{"HLEN h", ":4"},
		{"HDEL h c x", ":1"},
		{"HLEN h", ":3"},
		{"SADD t c d", ":1"},
		{"SCARD t", ":4"},
		{"SISMEMBER t a", ":1"},
		{"ZINCRBY z 1 a", "$3 2.5"},
		{"ZADD z 1 c 2 d", ":1"},
		{"ZSCORE z b", "$3 inf"},
		{"ZCARD z", ":5"},
	} {
		r.want(c[0], c[1])
	}
	for _, line := range []string{"HGETALL h", "SMEMBERS t", "ZRANGE z 0 -1"} {
		if _, err := r.try(line); !errors.Is(err, ErrKeyTooBig) {
			t.Errorf("%s: %v, want ErrKeyTooBig", line, err)
		}
	}
	r.checkBytes()
}

func TestSeederAsksInChunks(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	var names []string
	for i := range 3*seedChunk + 1 {
		names = append(names, fmt.Sprintf("k%d", i))
		send(t, g, fmt.Sprintf("HSET k%d f %d", i, i))
	}
	s, err := NewSeeder(SeederOptions{Client: g.Node(0).Client()})
	if err != nil {
		t.Fatal(err)
	}
	for i, seed := range seedAll(t, s, DepthLimited, names...) {
		if got, want := told(t, i, seed), "DEL "+i+"|HSET "+i+" f "+strings.TrimPrefix(i, "k"); got != want {
			t.Errorf("%s: %q, want its number", i, got)
		}
	}
}

// Servers before 7.0 have no PEXPIRETIME.
func TestSeederWithoutPExpireTime(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{Args: []string{"--rename-command", "PEXPIRETIME", ""}})
	deadline := time.Now().Add(time.Hour).UnixMilli()
	send(t, g, "SET s text", fmt.Sprintf("SET e 5 PXAT %d", deadline))
	s, err := NewSeeder(SeederOptions{Client: g.Node(0).Client()})
	if err != nil {
		t.Fatal(err)
	}
	got := seedAll(t, s, DepthLimited, "s", "e", "missing")
	if told(t, "s", got["s"]) != "SET s text" || told(t, "missing", got["missing"]) != "DEL missing" {
		t.Errorf("without a deadline: %q, %q", told(t, "s", got["s"]), told(t, "missing", got["missing"]))
	}
	// PTTL and TIME are read one after the other.
	e := got["e"]
	if diff := e.Value.ExpireAt() - deadline; diff < 0 || diff > 1000 {
		t.Errorf("the deadline is %d ms off", diff)
	}
}

func TestSeederErrorsShowNoKeys(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	send(t, g, "SET fence nonsense", "SET secret v",
		"ACL SETUSER default on nopass resetkeys ~fence +@all")
	for name, o := range map[string]SeederOptions{
		"a fence of another": {Client: g.Node(0).Client(), Fence: "fence"},
		"no right to read":   {Client: g.Node(0).Client()},
	} {
		s, err := NewSeeder(o)
		if err != nil {
			t.Fatal(err)
		}
		key := Key{Name: "secret"}
		if o.Fence != "" {
			key.Name = "fence"
		}
		_, err = s.Seed(context.Background(), []Key{key}, DepthLimited)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%s: error %v, want one without keys and values", name, err)
		}
	}
}

// The way of an outage: all servers are replicas, writes are deferred on the
// base that one of them tells, and the promoted node gets the journal.
func TestThroughAnOutage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	send(t, g, "SET n 10", "HSET h a 1", "SET session old")
	if err := g.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Cycle(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := NewSeeder(SeederOptions{Client: g.Node(1).Client(), Fence: "fence"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{Source: s})
	r.want("INCR n", ":11")
	r.want("SET session new", "+OK")
	r.want("HINCRBY h a 5", ":6")
	r.want("DEL session", ":1")
	r.want("MGET n session other", "*3 $2 11 $-1 $-1")

	if err := g.Promote(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for _, rec := range r.j.records[:3] {
		args := make([]any, len(rec.args))
		for i, a := range rec.args {
			args[i] = a
		}
		if _, err := g.Node(1).Do(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Node(1).Do(ctx, "SET", "fence", "3"); err != nil {
		t.Fatal(err)
	}
	// A process that starts in mid-drain finds three of four writes replayed.
	again := newRig(t, Options{Source: s})
	for _, rec := range r.j.records {
		again.recover(rec.seq, rec.args, time.Now().UnixMilli(), 0)
	}
	if left, err := again.o.Resolve(ctx); left != 0 || err != nil {
		t.Fatalf("Resolve() = %d, %v", left, err)
	}
	for _, line := range []string{"GET n", "GET session", "HGETALL h"} {
		if a, b := show(r.do(line).Reply), show(again.do(line).Reply); a != b {
			t.Errorf("%s: %q after a restart, %q before", line, b, a)
		}
	}
}
