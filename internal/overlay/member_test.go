package overlay

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

func TestMembersAreLearnt(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("h", bigHash(9000, "n", "5", "f", "v"))
	r.want("HINCRBY h n 2", ":7")
	r.want("HSET h f w new x", ":1")
	r.want("HMGET h n f new gone", "*4 $1 7 $1 w $1 x $-1")
	r.want("HLEN h", ":9001")
	if r.src.requests() != 1 || r.src.learnt != 3 {
		t.Errorf("%d seeds and %d readings of members, want 1 and 3", r.src.requests(), r.src.learnt)
	}
	if _, err := r.try("HGETALL h"); !errors.Is(err, ErrKeyTooBig) {
		t.Errorf("HGETALL: %v, want ErrKeyTooBig", err)
	}
	r.checkBytes()
	r.o.Rollback(2)
	r.want("HMGET h n f new", "*3 $1 7 $1 v $-1")
	r.src.fail(errSourceDown)
	r.want("HGET h n", "$1 7")
	for _, line := range []string{"HGET h unknown", "HSET h unknown v"} {
		if _, err := r.try(line); !errors.Is(err, ErrBaseUnknown) || !errors.Is(err, errSourceDown) {
			t.Errorf("%s with the source down: %v, want ErrBaseUnknown around the source's", line, err)
		}
	}
	r.checkBytes()
}

// What reads learn of a big value stays until it is released: beyond the limit it is not asked
// for any more.
func TestMembersAreLearntWithinTheLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxBytes: 8 << 10})
	r.src.set("h", bigHash(9000))
	r.do("HSET h ours v")
	refused := 0
	for i := range 1000 {
		switch _, err := r.try("HGET h " + strings.Repeat("f", 50) + strconv.Itoa(i)); {
		case errors.Is(err, ErrFull):
			refused++
		case err != nil:
			t.Fatal(err)
		}
	}
	if got := r.o.Stats().Bytes; got > 12<<10 || refused == 0 {
		t.Errorf("%d bytes, %d reads were refused", got, refused)
	}
	r.want("HGET h ours", "$1 v")
	r.checkBytes()
}

// Guests can be big too; a read of them asks for members, and holds nothing.
func TestMembersOfGuests(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("big", fakeKey{
		value:   func() engine.Object { return engine.NewPartialSet(9000) },
		members: map[string]engine.Fact{"a": {Present: true}},
	})
	r.do("SADD small a b")
	if res := r.want("SINTER small big", "*1 $1 a"); !res.Exact || !res.Based {
		t.Errorf("%+v", res)
	}
	if n := r.o.Stats().Keys; n != 1 {
		t.Errorf("%d keys are held, want 1", n)
	}
	if _, err := r.try("SUNION small big"); !errors.Is(err, ErrKeyTooBig) {
		t.Errorf("SUNION with a big guest: %v, want ErrKeyTooBig", err)
	}
	r.checkBytes()
}

// A guest may come to stay while its members are asked for.
func TestGuestBecomesHeld(t *testing.T) {
	t.Parallel()
	base := &fakeSource{}
	base.set("big", fakeKey{
		value:   func() engine.Object { return engine.NewPartialSet(9000) },
		members: map[string]engine.Fact{"a": {Present: true}, "b": {Present: true}},
	})
	var r *rig
	once := false
	src := memberFunc{base, func(ctx context.Context, k Key, typ engine.Type, members [][]byte) ([]engine.Fact, error) {
		if !once {
			once = true
			r.do("SREM big b")
		}
		return base.Members(ctx, k, typ, members)
	}}
	r = newRig(t, Options{Source: src})
	r.do("SADD small a b c")
	r.want("SINTER small big", "*1 $1 a")
	r.checkBytes()
}

// Members that were asked of one reading of a key are not told to another.
func TestMembersOfAnotherReadingAreNotUsed(t *testing.T) {
	t.Parallel()
	base := &fakeSource{}
	base.set("h", bigHash(9000, "f", "old"))
	var r *rig
	trimmed := false
	src := memberFunc{base, func(ctx context.Context, k Key, typ engine.Type, members [][]byte) ([]engine.Fact, error) {
		facts, err := base.Members(ctx, k, typ, members)
		if !trimmed && string(members[0]) == "f" {
			// The key leaves, another process changes it, and it comes again.
			trimmed = true
			r.o.Trim(1)
			base.set("h", bigHash(9000, "f", "new", "g", "1"))
			r.do("HINCRBY h g 1")
		}
		return facts, err
	}}
	r = newRig(t, Options{Source: src})
	r.src = base
	r.do("HINCRBY h n 1")
	r.want("HGET h f", "$3 new")
	r.want("HLEN h", ":9000")
	r.checkBytes()
}

// memberFunc is a source whose members come from a function.
type memberFunc struct {
	Source
	f func(context.Context, Key, engine.Type, [][]byte) ([]engine.Fact, error)
}

func (m memberFunc) Members(ctx context.Context, k Key, typ engine.Type, members [][]byte) ([]engine.Fact, error) {
	return m.f(ctx, k, typ, members)
}

// Pending writes of an unresolved key may need members too, of the same state of
// the server as the seed.
func TestPendingWritesOnABigValue(t *testing.T) {
	t.Parallel()
	base := &fakeSource{}
	fence := uint64(0)
	moves := 2
	set := func() {
		k := bigHash(9000, "n", "10", "m", "1")
		k.fence = fence
		base.set("h", k)
	}
	set()
	src := memberFunc{base, func(ctx context.Context, k Key, typ engine.Type, members [][]byte) ([]engine.Fact, error) {
		if moves > 0 { // the replay goes on between the seed and the members
			moves--
			fence++
			set()
		}
		return base.Members(ctx, k, typ, members)
	}}
	r := newRig(t, Options{Source: src})
	for i := range 5 {
		r.recover(uint64(i+1), split("HINCRBY h n 1"), 0, 0)
	}
	r.recover(6, split("HSET h new v"), 0, 0)
	// At fence 2 the server's value has the first two writes.
	if res := r.want("HGET h n", "$2 13"); !res.Exact {
		t.Errorf("%+v", res)
	}
	r.want("HLEN h", ":9001")
	r.checkBytes()
}

func TestSourceThatTellsNothing(t *testing.T) {
	t.Parallel()
	base := &fakeSource{}
	base.set("h", bigHash(9000))
	for name, f := range map[string]func([][]byte) []engine.Fact{
		"too few":       func([][]byte) []engine.Fact { return nil },
		"other members": func(m [][]byte) []engine.Fact { return make([]engine.Fact, len(m)) },
	} {
		src := memberFunc{base, func(_ context.Context, _ Key, _ engine.Type, m [][]byte) ([]engine.Fact, error) { return f(m), nil }}
		r := newRig(t, Options{Source: src})
		if _, err := r.try("HSET h secret v"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an error without the member", name, err)
		}
		r.checkBytes()
	}
}

func TestForeignKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("w2", stringSeed("20"))
	r.src.set("d2", hashSeed("f", "two"))
	r.do("RPUSH l 1 2 3")
	r.do("SET w1 30")
	r.do("SET w3 10")
	r.do("HSET d1 f one")
	r.do("RPUSH k 1 4")
	r.want("SORT l BY w* GET d*->f GET #", "*6 $-1 $1 3 $3 two $1 2 $3 one $1 1")
	r.wantUnit([]string{":4", "*4 $1 4 $1 3 $1 2 $1 1"}, "RPUSH l 4", "SORT l BY w*")
	if _, held := r.o.Held(0, "w2"); held {
		t.Error("a key that SORT looked into is held")
	}
	r.src.fail(errSourceDown)
	r.do("APPEND w4 5") // unresolved
	if _, _, err := r.unit("RPUSH k 3", "SORT k BY w*"); !errors.Is(err, ErrBaseUnknown) {
		t.Errorf("a unit that sorts by an unresolved key: %v, want ErrBaseUnknown", err)
	}
	res, err := r.o.Read(context.Background(), Request{Commands: []Command{commandOf(split("SORT k BY w*"))}})
	if err != nil || res.Exact {
		t.Errorf("SORT by an unresolved key: %+v, %v; want an estimate", res, err)
	}
	if _, err := r.try("SORT l BY x*"); !errors.Is(err, ErrBaseUnknown) {
		t.Errorf("SORT by keys that can't be read: %v, want ErrBaseUnknown", err)
	}
	r.checkBytes()
}

func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("seeded", listSeed("a"))
	r.src.set("gone", stringSeed("v"))
	r.do("RPUSH seeded b")
	r.do("DEL gone")
	r.do("HSET created f v")
	r.do("SET blind v")
	r.src.fail(errSourceDown)
	r.do("SADD unknown m")
	if _, err := r.run(context.Background(), 1, split("SET elsewhere v")); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]KeyState)
	r.o.Keys(0, func(name string, k KeyState) bool {
		r.o.Held(0, name) // no lock is held
		got[name] = k
		return true
	})
	for name, want := range map[string]KeyState{
		"seeded":  {"list", true, true, BasePresent},
		"gone":    {"none", false, true, BasePresent},
		"created": {"hash", true, true, BaseAbsent},
		"blind":   {"string", true, true, BaseUnknown},
		"unknown": {"set", true, false, BaseUnknown},
	} {
		if got[name] != want {
			t.Errorf("%s: %+v, want %+v", name, got[name], want)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d keys, want 5", len(got))
	}
	n := 0
	r.o.Keys(0, func(string, KeyState) bool { n++; return false })
	if n != 1 {
		t.Errorf("visited %d keys after false, want 1", n)
	}
}

// Two keys of one hash are two keys.
func TestIndexWithCollisions(t *testing.T) {
	t.Parallel()
	var x index
	names := []string{"a", "b", "c"}
	entries := make(map[string]*entry)
	for _, name := range names {
		entries[name] = &entry{name: name}
		x.put(1, entries[name])
	}
	check := func(there ...string) {
		t.Helper()
		for _, name := range names {
			e := lookup(&x, 1, 0, name)
			if want := slices.Contains(there, name); (e != nil) != want || e != nil && e != entries[name] {
				t.Errorf("%s: found %v, want %v", name, e != nil, want)
			}
		}
		if x.len() != len(there) || lookup(&x, 1, 1, "a") != nil || lookup(&x, 2, 0, "a") != nil {
			t.Errorf("%d entries, want %d", x.len(), len(there))
		}
	}
	check("a", "b", "c")
	x.remove(1, entries["a"])
	check("b", "c")
	x.put(1, entries["a"])
	check("a", "b", "c")
	x.remove(1, entries["b"])
	x.remove(1, entries["a"])
	check("c")
	x.remove(1, entries["c"])
	check()
}
