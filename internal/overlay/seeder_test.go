package overlay

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
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

func fill(t *testing.T, g *redistest.Group, lines ...string) {
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

func TestSeedsFromAReplica(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	var big strings.Builder
	for i := range 40 {
		fmt.Fprintf(&big, " f%d v", i)
	}
	fill(t, g, "SET fence 42", "SET s text", "SET e 5 PXAT 99999999999999", "HSET h a 1 b 2", "HSET big"+big.String(),
		"SET blob "+strings.Repeat("x", 3000), "SET edge "+strings.Repeat("x", 2000), "RPUSH l 1",
		"HSET wide f "+strings.Repeat("x", 5000))
	if err := g.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	replica := g.Node(1)
	s, err := NewSeeder(SeederOptions{Client: replica.Client(), Fence: "fence", MaxBytes: 2000, MaxElements: 30})
	if err != nil {
		t.Fatal(err)
	}
	got := seedAll(t, s, DepthLimited, "s", "e", "h", "big", "blob", "edge", "l", "wide", "missing")
	want := map[string]Seed{
		"s":       {Kind: KindString, Type: "string", Str: []byte("text")},
		"e":       {Kind: KindString, Type: "string", Str: []byte("5"), ExpireAt: 99999999999999},
		"h":       {Kind: KindHash, Type: "hash", Fields: split("a 1 b 2")},
		"big":     {Kind: KindOpaque, Type: "hash"},
		"blob":    {Kind: KindOpaque, Type: "string"},
		"edge":    {Kind: KindString, Type: "string", Str: []byte(strings.Repeat("x", 2000))},
		"l":       {Kind: KindOpaque, Type: "list"},
		"wide":    {Kind: KindOpaque, Type: "hash"},
		"missing": {},
	}
	for name, seed := range got {
		if seed.Origin.Addr != replica.Addr() || len(seed.Origin.ReplID) != 40 || seed.Origin.Offset <= 0 {
			t.Errorf("%s: origin %+v", name, seed.Origin)
		}
		if seed.Fence != 42 {
			t.Errorf("%s: fence %d, want 42", name, seed.Fence)
		}
		seed.Origin, seed.Fence = Origin{}, 0
		if !reflect.DeepEqual(seed, want[name]) {
			t.Errorf("%s: %+v, want %+v", name, seed, want[name])
		}
	}
	whole := seedAll(t, s, DepthWhole, "blob", "h")
	if len(whole["blob"].Str) != 3000 || whole["h"].Kind != KindOpaque {
		t.Errorf("whole: %d bytes and kind %s", len(whole["blob"].Str), whole["h"].Kind)
	}
	for name, seed := range seedAll(t, s, DepthMeta, "s", "l") {
		if seed.Kind != KindOpaque || seed.Type == "" || seed.Str != nil {
			t.Errorf("meta of %s: %+v", name, seed)
		}
	}
}

func TestSeederAsksInChunks(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	var names []string
	for i := range 3*seedChunk + 1 {
		names = append(names, fmt.Sprintf("k%d", i))
		fill(t, g, fmt.Sprintf("HSET k%d f %d", i, i))
	}
	s, err := NewSeeder(SeederOptions{Client: g.Node(0).Client()})
	if err != nil {
		t.Fatal(err)
	}
	for i, seed := range seedAll(t, s, DepthLimited, names...) {
		if want := strings.TrimPrefix(i, "k"); len(seed.Fields) != 2 || string(seed.Fields[1]) != want {
			t.Errorf("%s: %q, want its number", i, seed.Fields)
		}
	}
}

// Servers before 7.0 have no PEXPIRETIME.
func TestSeederWithoutPExpireTime(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{Args: []string{"--rename-command", "PEXPIRETIME", ""}})
	deadline := time.Now().Add(time.Hour).UnixMilli()
	fill(t, g, "SET s text", fmt.Sprintf("SET e 5 PXAT %d", deadline))
	s, err := NewSeeder(SeederOptions{Client: g.Node(0).Client()})
	if err != nil {
		t.Fatal(err)
	}
	got := seedAll(t, s, DepthLimited, "s", "e", "missing")
	if got["s"].Kind != KindString || got["s"].ExpireAt != 0 || got["missing"].Kind != KindNone {
		t.Errorf("without a deadline: %+v, %+v", got["s"], got["missing"])
	}
	// PTTL and TIME are read one after the other.
	if diff := got["e"].ExpireAt - deadline; diff < 0 || diff > 1000 {
		t.Errorf("the deadline is %d ms off", diff)
	}
}

func TestSeederErrorsShowNoKeys(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	fill(t, g, "SET fence nonsense", "SET secret v",
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
	fill(t, g, "SET n 10", "HSET h a 1", "SET session old")
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
		if err := again.o.Recover(rec.seq, 0, rec.args, time.Now().UnixMilli(), 0); err != nil {
			t.Fatal(err)
		}
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
