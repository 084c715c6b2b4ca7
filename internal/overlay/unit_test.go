package overlay

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// wantUnit runs lines as one unit and compares the replies, one after the other.
func (r *rig) wantUnit(replies []string, lines ...string) (Result, Effect) {
	r.tb.Helper()
	res, effect, err := r.unit(lines...)
	if err != nil {
		r.tb.Fatalf("%q: %v", lines, err)
	}
	var got []string
	from := 0
	for _, end := range res.Ends {
		got = append(got, show(res.Reply[from:end]))
		from = end
	}
	if !slices.Equal(got, replies) || from != len(res.Reply) {
		r.tb.Errorf("%q: replies %q, want %q", lines, got, replies)
	}
	return res, effect
}

func TestUnit(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("n", stringSeed("41"))
	res, effect := r.wantUnit([]string{":42", "+OK", "$2 42", "*2 $2 42 $1 v", ":2", "$-1"},
		"INCR n", "SET k v", "GET n", "MGET n k", "RPUSH l a b", "GET other")
	if res.Seq != 1 || !res.Exact || !res.Based || effect.Failed != nil || effect.Until != 0 || effect.Lapses != 0 {
		t.Errorf("%+v, %+v", res, effect)
	}
	for _, k := range []string{"n", "k", "l"} {
		if seq, held := r.o.Held(0, k); !held || seq != 1 {
			t.Errorf("Held(%s) = %d, %v", k, seq, held)
		}
	}
	if _, held := r.o.Held(0, "other"); held {
		t.Error("a key that the unit only reads is held")
	}
	if got := r.src.requests(); got != 1 {
		t.Errorf("the source was asked %d times, want 1", got)
	}
	r.checkBytes()
	// Only reads, or only failures, are no write.
	res, _ = r.wantUnit([]string{"$1 v", "-WRONGTYPE Operation against a key holding the wrong kind of value"}, "GET k", "LPUSH k x")
	if res.Seq != 0 {
		t.Errorf("a unit that changes nothing took sequence %d", res.Seq)
	}
	res, effect = r.wantUnit([]string{":3", "-ERR value is not an integer or out of range", ":43"}, "RPUSH l c", "INCR k", "INCR n")
	if !slices.Equal(effect.Failed, []bool{false, true, false}) || res.Seq != 2 {
		t.Errorf("%+v, %+v: want the second command to have failed", res, effect)
	}
	r.o.Rollback(2)
	r.want("LRANGE l 0 -1", "*2 $1 a $1 b")
	r.want("GET n", "$2 42")
	r.o.Rollback(1)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after taking back both units: %+v", got)
	}
}

// A unit is taken back whole, whichever of its commands cannot be done.
func TestUnitIsRefusedWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxBytes: 1 << 20})
	r.src.set("big", opaqueSeed("string"))
	r.do("SET k old")
	r.do("RPUSH l a b c")
	before := r.o.Stats()
	full := errors.New("journal full")
	for _, c := range []struct {
		lines []string
		err   error
		setUp func()
	}{
		{[]string{"SET k new", "RPUSH l d", "APPEND big x"}, ErrKeyTooBig, nil},
		{[]string{"SET k new", "LTRIM l 1 1", "JSON.SET x $ 1"}, ErrNotServed, nil},
		{[]string{"RENAME l m", "RPUSH m d", "LTRIM m 2 3", "INCR n"}, ErrBaseUnknown, func() { r.src.fail(errSourceDown) }},
		{[]string{"RENAME l k", "RPUSH k d", "DEL k"}, full, func() { r.j.err = full }},
	} {
		if c.setUp != nil {
			c.setUp()
		}
		if _, _, err := r.unit(c.lines...); !errors.Is(err, c.err) {
			t.Errorf("%q: %v, want %v", c.lines, err, c.err)
		}
		r.src.fail(nil)
		r.j.err = nil
		r.want("GET k", "$3 old")
		r.want("LRANGE l 0 -1", "*3 $1 a $1 b $1 c")
	}
	// A fault of the engine: GET without a key it could find.
	_, err := r.o.Write(context.Background(), Request{
		Commands: []Command{commandOf(split("RPUSH l d")), {Args: split("GET k")}},
		Commit:   func(*Effect) (uint64, error) { return r.j.commit(nil) },
	})
	if !errors.Is(err, ErrInternal) {
		t.Errorf("a panicking command: %v, want ErrInternal", err)
	}
	r.want("LLEN l", ":3")
	if got := r.o.Stats(); got != before {
		t.Errorf("after refused units: %+v, want %+v", got, before)
	}
	r.checkBytes()
}

// What a command overwrites is known to the next ones, whether or not a server
// answers.
func TestUnitWithoutABase(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.fail(errSourceDown)
	res, _ := r.wantUnit([]string{"+OK", ":6", ":1"}, "SET n 5", "INCR n", "HSET h f v")
	if res.Exact {
		t.Error("HSET without a base is exact")
	}
	if res := r.want("GET n", "$1 6"); !res.Exact {
		t.Error("a key that was overwritten is not known")
	}
	// A failed SET overwrites nothing after all.
	if _, _, err := r.unit("SET m 5 PXAT 0", "INCR m"); !errors.Is(err, ErrBaseUnknown) {
		t.Errorf("INCR after a SET that fails: %v, want ErrBaseUnknown", err)
	}
	r.src.fail(nil)
	r.src.set("m", stringSeed("7"))
	r.src.set("h", hashSeed("f", "old", "g", "w"))
	r.wantUnit([]string{"-ERR invalid expire time in 'set' command", ":8"}, "SET m 5 PXAT 0", "INCR m")
	r.want("HGETALL h", "*4 $1 f $1 v $1 g $1 w")
	r.checkBytes()
}

func TestEffectOfSeveralKeys(t *testing.T) {
	t.Parallel()
	c := &clock{ms: 1000}
	r := newRig(t, Options{Now: c.now})
	r.src.set("a", setSeed("1", "2").at(5000))
	r.src.set("b", setSeed("2", "3").at(7000))
	r.src.set("h", hashSeed("f", "v").at(4000))
	r.src.set("big", opaqueSeed("string").at(9000))
	if f := r.effectOf("SINTERSTORE d a b"); f.Until != 5000 || f.Lapses != 0 || restoring(t, f) != "DEL d|SADD d 2" {
		t.Errorf("SINTERSTORE: %+v restoring %q", f, restoring(t, f))
	}
	if f := r.effectOf("DEL a b d"); f.Until != 0 || f.Restore != nil {
		t.Errorf("DEL: %+v, want nothing: it does the same at any time", f)
	}
	r.do("SET p v PXAT 8000")
	if f := r.effectOf("MSET p 1 q 2"); f.Until != 0 || f.Lapses != 0 {
		t.Errorf("MSET over a dying key: %+v, want nothing: it does the same at any time", f)
	}
	if f := r.effectOf("RENAME h i"); f.Until != 4000 || restoring(t, f) != "DEL h|DEL i|HSET i f v|PEXPIREAT i 4000" {
		t.Errorf("RENAME: %+v restoring %q", f, restoring(t, f))
	}
	_, f := r.wantUnit([]string{":1", "$1 1"}, "HSET i g w", "GET p")
	if f.Until != 4000 || restoring(t, f) != "DEL i|HSET i f v g w|PEXPIREAT i 4000" {
		t.Errorf("a unit on a dying key: %+v restoring %q", f, restoring(t, f))
	}
	_, f = r.wantUnit([]string{"+OK", ":2"}, "SET n 1 PXAT 3000", "INCR n")
	if f.Until != 3000 || restoring(t, f) != "SET n 2 PXAT 3000" {
		t.Errorf("a unit on a key that it lets die: %+v restoring %q", f, restoring(t, f))
	}
	// What rests on a deadline and can't be kept as a state is not accepted.
	if _, _, err := r.unit("PERSIST big", "SET x 1"); !errors.Is(err, ErrKeyTooBig) {
		t.Errorf("a unit on a dying value that is not known: %v, want ErrKeyTooBig", err)
	}
	_, f = r.wantUnit([]string{":1", "-ERR value is not an integer or out of range"}, "RPUSH l 1", "HINCRBY i f x")
	if f.Until != 0 {
		t.Errorf("what failed rests on no deadline: %+v", f)
	}
}

// A key that was moved while partial is known to the server by its old name.
func TestRenamedPartialValue(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("h", bigHash(9000, "f", "v"))
	r.src.set("i", bigHash(8000, "f", "other"))
	r.want("RENAME h i", "+OK")
	r.want("HLEN i", ":9000")
	if _, err := r.try("HGET i f"); !errors.Is(err, ErrKeyTooBig) {
		t.Errorf("HGET of a moved partial value: %v, want ErrKeyTooBig", err)
	}
	r.o.Rollback(1)
	r.want("HSET i g w", ":1")
	r.want("HMGET i f g", "*2 $5 other $1 w")
	r.checkBytes()
}

// Pending writes that tie keys together are resolved together, from seeds that
// contain the same writes.
func TestTiedKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.fail(errSourceDown)
	r.do("SADD a x")              // 1
	r.do("SET b string")          // 2
	r.do("SUNIONSTORE c a other") // 3
	r.do("DEL a")                 // 4: known, but what it was matters
	r.do("SADD c y")              // 5
	if res := r.want("EXISTS a", ":0"); !res.Exact {
		t.Error("a deleted key is not known")
	}
	if got := r.o.Stats(); got.Keys != 4 || got.Unresolved != 2 {
		t.Errorf("%+v, want 4 keys, 2 of them unresolved", got)
	}
	r.checkBytes()
	r.src.fail(nil)
	r.src.set("a", setSeed("1"))
	r.src.set("other", setSeed("2"))
	if res := r.want("SCARD c", ":4"); !res.Exact || !res.Based && res.Seq != 5 {
		t.Errorf("SCARD: %+v", res)
	}
	r.want("SISMEMBER c x", ":1")
	r.want("EXISTS a", ":0")
	r.want("SMEMBERS other", "*1 $1 2")
	r.checkBytes()
	r.o.Rollback(4)
	r.want("SISMEMBER c y", ":0")
	r.want("SCARD c", ":3")
	r.want("SCARD a", ":2")
	r.checkBytes()
	r.o.Rollback(1)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after taking back everything: %+v", got)
	}
}

// A key that was tied to others may leave before them.
func TestTiedKeyLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.fail(errSourceDown)
	r.do("SUNIONSTORE c a") // 1
	r.do("SUNIONSTORE d c") // 2: ties a too, without naming it
	if n := r.o.Trim(1); n != 1 {
		t.Errorf("Trim(1) removed %d keys, want 1", n)
	}
	r.checkBytes()
	if n := r.o.Rollback(2); n != 2 {
		t.Errorf("Rollback(2) took back %d pairs, want 2", n)
	}
	r.checkBytes()
	r.src.fail(nil)
	base := setSeed("1")
	base.fence = 1
	r.src.set("c", base)
	r.src.set("a", fakeKey{fence: 1})
	if res := r.want("SCARD c", ":1"); !res.Exact {
		t.Errorf("%+v, want an exact reply", res)
	}
	r.o.Trim(1)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after trimming everything: %+v", got)
	}
}

// A write that could not be committed is no pending write.
func TestPendingWriteIsTakenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.fail(errSourceDown)
	r.do("HSET h a 1")
	full := errors.New("journal full")
	r.j.err = full
	for _, line := range []string{"HSET h b 2", "RENAME h i", "SET h v"} {
		if _, err := r.try(line); !errors.Is(err, full) {
			t.Errorf("%s: %v, want the journal's error", line, err)
		}
	}
	r.j.err = nil
	r.src.fail(nil)
	r.want("HGETALL h", "*2 $1 a $1 1")
	r.checkBytes()
}

func TestWhatShrinksIsNotRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxBytes: 1000})
	for i := range 20 { // the bound does not apply to what was promised
		r.recover(uint64(i+1), split("RPUSH l "+strings.Repeat("v", 100)), 0, 0)
	}
	r.o.Durable(math.MaxUint64)
	if _, err := r.try("RPUSH l v"); !errors.Is(err, ErrFull) {
		t.Errorf("RPUSH beyond the bound: %v, want ErrFull", err)
	}
	r.want("LTRIM l 0 9", "+OK")
	r.want("LLEN l", ":10")
	r.checkBytes()
}

func TestSeedsOfTiedKeysMustFit(t *testing.T) {
	t.Parallel()
	base := &fakeSource{}
	base.set("a", setSeed("1"))
	asked := 0
	src := seedFunc{base, func(ctx context.Context, keys []Key, d Depth) ([]Seed, error) {
		seeds, err := base.Seed(ctx, keys, d)
		if asked++; asked < 3 { // as if writes were replayed between the chunks
			for i := range seeds {
				seeds[i].Fence = uint64(i)
			}
		}
		return seeds, err
	}}
	r := newRig(t, Options{Source: src})
	r.recover(1, split("SADD a x"), 0, 0)
	r.recover(2, split("SUNIONSTORE b a"), 0, 0)
	r.want("SCARD b", ":2")
	if asked != 3 {
		t.Errorf("the source was asked %d times, want 3", asked)
	}
	r.checkBytes()
}

// The seed of a key that was overwritten serves several knots, each as the server
// has it.
func TestKeyOfTwoKnots(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("k", setSeed("1", "2"))
	r.src.set("a", setSeed("3"))
	for i, line := range []string{"SUNIONSTORE d k", "DEL k", "SUNIONSTORE k a", "DEL k"} {
		r.recover(uint64(i+1), split(line), 0, 0)
	}
	r.resolve()
	r.want("SMEMBERS d", "*2 $1 1 $1 2")
	r.want("SMEMBERS a", "*1 $1 3")
	r.checkBytes()
}

func TestRecoverTiesKnownKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("a", setSeed("1"))
	for i, line := range []string{"SADD k m", "DEL k", "SADD k n", "SUNIONSTORE d a k", "DEL k", "SUNIONSTORE d d a"} {
		r.recover(uint64(i+1), split(line), 0, 0)
	}
	r.want("SCARD d", ":2")
	r.want("SISMEMBER d n", ":1")
	r.want("EXISTS k", ":0")
	r.resolve()
	r.checkBytes()
	if n := r.o.Trim(math.MaxUint64); n != 3 {
		t.Errorf("%d keys left, want 3", n)
	}
}

// A write that is entered unseen leaves its keys open until the replay.
func TestUnseen(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SADD k m")
	r.do("SADD other x")
	unseen := Command{Args: split("EVALSHA sha 1 k"), Keys: []int{3}, Unseen: true}
	res, err := r.o.Write(context.Background(), Request{
		Commands: []Command{unseen}, Commit: func(*Effect) (uint64, error) { return r.j.commit(unseen.Args) },
	})
	if err != nil || res.Seq != 3 || res.Exact {
		t.Fatalf("%+v, %v; want sequence 3, not exact", res, err)
	}
	for _, line := range []string{"SCARD k", "SADD k n", "SUNIONSTORE d other k", "TYPE k"} {
		if _, err := r.try(line); !errors.Is(err, ErrUnseen) || !errors.Is(err, ErrBaseUnknown) {
			t.Errorf("%s: %v, want ErrUnseen", line, err)
		}
	}
	r.checkBytes()
	again := newRig(t, Options{})
	for i, line := range []string{"SADD k m", "SADD other x"} {
		again.recover(uint64(i+1), split(line), 0, 0)
	}
	if err := again.o.Recover(3, 0, unseen, 0, 0); err != nil {
		t.Fatal(err)
	}
	again.recover(4, split("SUNIONSTORE d other k"), 0, 0)
	if _, err := again.try("SCARD d"); !errors.Is(err, ErrUnseen) {
		t.Errorf("a value made of an unseen one: %v, want ErrUnseen", err)
	}
	again.resolve()
	again.checkBytes()
	r.o.Rollback(3)
	r.want("SMEMBERS k", "*1 $1 m")
	r.do("SET k v")
	r.want("GET k", "$1 v")
	r.checkBytes()
}
