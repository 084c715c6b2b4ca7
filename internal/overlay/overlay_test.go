package overlay

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestRepliesRestOnTheBase(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("n", stringSeed("41"))
	r.src.set("h", hashSeed("a", "1", "b", "2"))
	r.src.set("z", opaqueSeed("zset"))

	if res := r.want("INCR n", ":42"); !res.Exact || !res.Based || res.Seq != 1 {
		t.Errorf("INCR on a base: %+v, want exact, based, sequence 1", res)
	}
	if res := r.want("SET n 7", "+OK"); !res.Exact || res.Based {
		t.Errorf("SET: %+v, want exact and not based", res)
	}
	if res := r.want("INCR n", ":8"); !res.Exact || res.Based {
		t.Errorf("INCR after SET: %+v, want exact and not based", res)
	}
	r.want("HSET h b 3 c 4", ":1")
	r.want("HGETALL h", "*6 $1 a $1 1 $1 b $1 3 $1 c $1 4")
	r.want("HDEL h a b c", ":3")
	r.want("EXISTS h n n", ":2")
	r.want("PEXPIREAT z 99999999999999", ":1")
	r.want("TYPE z", "+zset")
	r.want("GET z", "-WRONGTYPE Operation against a key holding the wrong kind of value")
	r.want("DEL z", ":1")
	r.want("TYPE z", "+none")
	r.checkBytes()
}

func TestOnlyChangesAreJournaled(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("s", stringSeed("text"))
	for _, line := range []string{
		"HDEL missing f", "PERSIST missing", "PERSIST s", "PEXPIREAT missing 5",
		"INCR s", "HSET s f v", "HSET h f", "SET k v PXAT 0", "SET k v PXAT x", "INCRBY k x", "GET",
	} {
		res, err := r.try(line)
		if errors.Is(err, ErrNotHeld) {
			continue // a read of an empty overlay
		}
		if err != nil || res.Seq != 0 {
			t.Errorf("%s: %+v, %v; want no sequence and no error", line, res, err)
		}
	}
	if n := r.j.len(); n != 0 {
		t.Errorf("%d records were journaled, want 0", n)
	}
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after nothing but no-ops: %+v, want an empty overlay", got)
	}
	r.checkBytes()
}

// A replica that lacks a key says nothing of the primary that comes back: a deletion is
// journaled, and once only.
func TestADeletionIsJournaledThoughNothingIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("there", stringSeed("v"))
	for i, line := range []string{"DEL missing", "UNLINK gone", "DEL there missing"} {
		res, err := r.try(line)
		if err != nil || res.Seq != uint64(i+1) {
			t.Errorf("%s: %+v, %v; want sequence %d", line, res, err, i+1)
		}
	}
	r.want("DEL missing", ":0")
	r.want("GET gone", "$-1")
	if n := r.j.len(); n != 3 {
		t.Errorf("%d records were journaled, want 3", n)
	}
	r.checkBytes()
}

// A record names all its keys, so replay touches all of them: all must stay.
func TestAllKeysOfARecordAreHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("there", stringSeed("1"))
	r.want("DEL there missing there", ":1")
	for _, k := range []string{"there", "missing"} {
		if seq, held := r.o.Held(0, k); !held || seq != 1 {
			t.Errorf("Held(%s) = %d, %v; want 1, true", k, seq, held)
		}
	}
	if _, held := r.o.Held(1, "there"); held {
		t.Error("the key is held in database 1 too")
	}
	if n := r.o.Trim(1); n != 2 || !r.o.Empty() {
		t.Errorf("Trim(1) = %d, empty %v; want 2, true", n, r.o.Empty())
	}
}

func TestArgumentsAreNotKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	args := split("SET key value")
	if _, err := r.run(context.Background(), 0, args); err != nil {
		t.Fatal(err)
	}
	hset := split("HSET hash field value")
	if _, err := r.run(context.Background(), 0, hset); err != nil {
		t.Fatal(err)
	}
	for _, a := range append(args, hset...) {
		clear(a)
	}
	r.want("GET key", "$5 value")
	r.want("HGETALL hash", "*2 $5 field $5 value")
}

// Replies are copies: no later write may show in them, nor a caller's change to
// them in the overlay.
func TestRepliesDoNotChangeLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET k aaaa")
	r.do("APPEND k bbbbb") // leaves room behind it, which later writes share
	first := r.do("GET k")
	r.do("APPEND k cccc")
	second := r.do("GET k")
	clear(r.do("GET k").Reply) // a careless caller
	r.o.Rollback(3)
	r.do("APPEND k dddd")
	for _, c := range []struct{ got, want string }{
		{show(first.Reply), "$9 aaaabbbbb"},
		{show(second.Reply), "$13 aaaabbbbbcccc"},
		{show(r.do("GET k").Reply), "$13 aaaabbbbbdddd"},
	} {
		if c.got != c.want {
			t.Errorf("reply %q, want %q", c.got, c.want)
		}
	}
}

func TestRepliesAreAppended(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET k v")
	room := append(make([]byte, 0, 64), "before"...)
	res, err := r.o.Read(context.Background(), Request{
		Proto: 3, Reply: room, Commands: []Command{commandOf(split("MGET k missing"))},
	})
	if err != nil || string(res.Reply) != "before*2\r\n$1\r\nv\r\n_\r\n" || &res.Reply[0] != &room[0] {
		t.Errorf("reply %q, %v; want it appended, in RESP3", res.Reply, err)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	clock := &fixedClock{t: time.UnixMilli(1_000_000)}
	r := newRig(t, Options{Now: clock.now})
	r.src.set("k", stringSeed("5").at(1_000_400))

	if res := r.want("INCR k", ":6"); res.ExpireAt != 1_000_400 {
		t.Errorf("deadline after INCR: %d, want the base's", res.ExpireAt)
	}
	r.want("PTTL k", ":400")
	r.want("TTL k", ":0")
	r.do("SET s v PXAT 1000500")
	r.want("TTL s", ":1")
	clock.advance(400 * time.Millisecond)
	r.want("GET k", "$-1")
	r.want("PTTL k", ":-2")
	r.want("INCR k", ":1")
	r.want("TTL k", ":-1")
	r.want("SET s w KEEPTTL", "+OK")
	r.want("PTTL s", ":100")
	r.want("PERSIST s", ":1")
	r.want("PERSIST s", ":0")
	r.want("PEXPIREAT s 1", ":1")
	r.want("EXISTS s", ":0")
	r.want("SET past v PXAT 1", "+OK")
	r.want("GET past", "$-1")
}

func TestBaseUnknown(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.fail(errSourceDown)
	for _, line := range []string{"INCR n", "INCRBY n 2", "DECR n", "DECRBY n 1", "HINCRBY h f 1"} {
		if _, err := r.try(line); !errors.Is(err, ErrBaseUnknown) || !errors.Is(err, errSourceDown) {
			t.Errorf("%s: error %v, want ErrBaseUnknown around the source's", line, err)
		}
	}
	if res := r.want("HSET h a 1", ":1"); res.Exact || res.Seq == 0 {
		t.Errorf("HSET without a base: %+v, want an estimate that is journaled", res)
	}
	if res := r.want("PEXPIREAT e 99999999999999", ":0"); res.Exact || res.Seq == 0 {
		t.Errorf("PEXPIREAT without a base: %+v, want an estimate that is journaled", res)
	}
	if res := r.want("DEL d", ":0"); res.Exact || res.Seq == 0 {
		t.Errorf("DEL without a base: %+v, want an estimate that is journaled", res)
	}
	if res := r.want("GET d", "$-1"); !res.Exact {
		t.Errorf("GET after DEL: %+v, want exact", res)
	}
	if res := r.want("HGET h b", "$-1"); res.Exact {
		t.Errorf("HGET of an unresolved key: %+v, want an estimate", res)
	}
	if got := r.o.Stats().Unresolved; got != 2 {
		t.Errorf("%d unresolved keys, want 2", got)
	}

	// The source is back: the kept writes go on top of what it says.
	r.src.fail(nil)
	r.src.set("h", hashSeed("a", "0", "b", "2"))
	r.src.set("e", stringSeed("v"))
	if left, err := r.o.Resolve(context.Background()); left != 0 || err != nil {
		t.Errorf("Resolve() = %d, %v; want 0, nil", left, err)
	}
	if res := r.want("HGETALL h", "*4 $1 a $1 1 $1 b $1 2"); !res.Exact {
		t.Errorf("HGETALL after resolving: %+v, want exact", res)
	}
	if res := r.do("PTTL e"); r.number(res) <= 0 {
		t.Errorf("PTTL of the key that was expired without a base: %s", res.Reply)
	}
	r.checkBytes()
}

func TestEstimateCounters(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{EstimateCounters: true})
	r.src.fail(errSourceDown)
	if res := r.want("INCRBY n 5", ":5"); res.Exact {
		t.Errorf("INCRBY without a base: %+v, want an estimate", res)
	}
	r.src.fail(nil)
	r.src.set("n", stringSeed("100"))
	if res := r.want("INCR n", ":106"); !res.Exact {
		t.Errorf("INCR with the base known again: %+v, want exact", res)
	}
	r.checkBytes()
}

func TestFenceKeepsReplayedWritesOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for seq := uint64(1); seq <= 5; seq++ {
		r.recover(seq, split("INCR n"), 0, 0)
	}
	r.recover(6, split("DEL a b"), 0, 0)
	base := stringSeed("13") // 10, and the first three
	base.fence = 3
	r.src.set("n", base)
	if res := r.want("GET n", "$2 15"); !res.Exact || res.Seq != 5 {
		t.Errorf("GET of a recovered key: %+v, want exact, sequence 5", res)
	}
	r.want("MGET a n b", "*3 $-1 $2 15 $-1")
	if n := r.o.Rollback(1); n != 0 {
		t.Errorf("Rollback(1) took back %d recovered writes", n)
	}
	r.checkBytes()
}

func TestRecoverRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for _, line := range []string{"JSON.SET l v", "GET k", "PING"} {
		if err := r.o.Recover(1, 0, commandOf(split(line)), 0, 0); !errors.Is(err, ErrNotServed) {
			t.Errorf("Recover(%s): %v, want ErrNotServed", line, err)
		}
	}
	if !r.o.Empty() {
		t.Error("a refused record left something behind")
	}
	if err := r.o.Recover(0, 0, commandOf(split("SET k v")), 0, 0); !errors.Is(err, ErrInternal) {
		t.Errorf("Recover with sequence 0: %v, want ErrInternal", err)
	}
	r.checkBytes()
}

func TestKeyTooBig(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("big", opaqueSeed("hash"))
	r.src.set("blob", opaqueSeed("string"))
	for _, line := range []string{"HSET big f v", "HDEL big f", "HINCRBY big f 1", "APPEND blob x", "INCR blob"} {
		if _, err := r.try(line); !errors.Is(err, ErrKeyTooBig) {
			t.Errorf("%s: %v, want ErrKeyTooBig", line, err)
		}
	}
	if r.j.len() != 0 || !r.o.Empty() {
		t.Error("a refused write was journaled or held")
	}
	r.want("PEXPIREAT big 99999999999999", ":1")
	if _, err := r.try("HGETALL big"); !errors.Is(err, ErrKeyTooBig) {
		t.Errorf("HGETALL of a big key: %v, want ErrKeyTooBig", err)
	}
	r.want("GET big", "-WRONGTYPE Operation against a key holding the wrong kind of value")
	r.want("DEL big blob", ":2")
	r.want("SET blob new", "+OK")
	r.want("GET blob", "$3 new")
	r.checkBytes()
}

func TestFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxBytes: 4 << 10})
	r.do("SET k " + strings.Repeat("v", 1000))
	before := r.o.Stats()
	if _, err := r.try("SET big " + strings.Repeat("v", 8000)); !errors.Is(err, ErrFull) {
		t.Fatalf("SET beyond the bound: %v, want ErrFull", err)
	}
	if _, err := r.try("APPEND k " + strings.Repeat("v", 8000)); !errors.Is(err, ErrFull) {
		t.Fatalf("APPEND beyond the bound: %v, want ErrFull", err)
	}
	if got := r.o.Stats(); got != before {
		t.Errorf("after refused writes: %+v, want %+v", got, before)
	}
	if res := r.do("STRLEN k"); r.number(res) != 1000 {
		t.Errorf("the refused APPEND changed the key: length %s", res.Reply)
	}
	r.want("DEL k", ":1") // what shrinks is never refused
	r.o.Trim(math.MaxUint64)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after trimming everything: %+v", got)
	}
	r.checkBytes()
}

func TestCommitFailureTakesTheWriteBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("h", hashSeed("a", "1"))
	r.do("HSET h b 2")
	full := errors.New("journal full")
	r.j.err = full
	for _, line := range []string{"HSET h a 9 c 3", "HDEL h a b", "DEL h", "SET h x", "SET fresh x", "INCR fresh"} {
		if _, err := r.try(line); !errors.Is(err, full) {
			t.Errorf("%s: %v, want the journal's error", line, err)
		}
	}
	res := r.do("HMGET h a b c")
	if got := show(res.Reply); got != "*3 $1 1 $1 2 $-1" {
		t.Errorf("after failed commits: %q", got)
	}
	if _, held := r.o.Held(0, "fresh"); held {
		t.Error("a key whose only write failed is held")
	}
	r.checkBytes()
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET k v")
	_, err := r.o.Write(context.Background(), Request{
		Commands: []Command{commandOf(split("SET k secret"))},
		Commit:   func(*Effect) (uint64, error) { panic("secret") },
	})
	if !errors.Is(err, ErrInternal) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic in Commit: %v, want ErrInternal without the panic's text", err)
	}
	r.want("GET k", "$1 v")
	r.src.hold(func(context.Context) error { panic("secret") })
	if _, err := r.try("INCR n"); !errors.Is(err, ErrInternal) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic in the source: %v, want ErrInternal without the panic's text", err)
	}
	if _, err := r.o.Write(context.Background(), Request{Commands: []Command{commandOf(split("SET k v"))}}); !errors.Is(err, ErrInternal) {
		t.Errorf("no Commit: %v, want ErrInternal", err)
	}
	r.checkBytes()
}

func TestOnlyHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET held 1")
	try := func(line string) error {
		args := split(line)
		_, err := r.o.Write(context.Background(), Request{
			Commands: []Command{commandOf(args)}, OnlyHeld: true,
			Commit: func(*Effect) (uint64, error) { return r.j.commit(args) },
		})
		return err
	}
	for _, line := range []string{"SET other 1", "DEL other held", "DEL held other"} {
		if err := try(line); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s, a key that is not held: %v, want ErrNotHeld", line, err)
		}
	}
	for _, line := range []string{"INCR held", "DEL held held"} {
		if err := try(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if _, err := r.try("GET nobody"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("a read of a key that is not held: %v, want ErrNotHeld", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Source: &fakeSource{}, MaxBytes: -2}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v): no error", o)
		}
	}
	for _, o := range []SeederOptions{{}, {MaxBytes: -1}} {
		if _, err := NewSeeder(o); err == nil {
			t.Errorf("NewSeeder(%+v): no error", o)
		}
	}
}
