package overlay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// clock is a server's time that a test moves.
type clock struct{ ms int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms) }

// effectOf runs a write and returns what it tells the journal.
func (r *rig) effectOf(line string) Effect {
	r.tb.Helper()
	var got Effect
	args := split(line)
	_, err := r.o.Write(context.Background(), Request{
		Commands: []Command{commandOf(args)},
		Commit: func(f *Effect) (uint64, error) {
			got = *f
			return r.j.commit(args)
		},
	})
	if err != nil {
		r.tb.Fatalf("%s: %v", line, err)
	}
	return got
}

func TestEffect(t *testing.T) {
	t.Parallel()
	c := &clock{ms: 1000}
	r := newRig(t, Options{Now: c.now})
	dying := stringSeed("7").at(5000)
	hash := hashSeed("f", "v", "g", "w").at(5000)
	for _, key := range []string{"a", "b", "c", "d", "e", "x"} {
		r.src.set(key, dying)
	}
	r.src.set("h", hash)
	r.src.set("i", hash)
	r.src.set("l", opaqueSeed("list").at(5000))
	r.src.set("s", stringSeed("1"))
	for _, want := range []struct {
		line          string
		lapses, until int64
		restore       string
	}{
		{"INCR a", 5000, 0, ""},
		{"SET b v", 0, 0, ""},
		{"SET c v KEEPTTL", 5000, 0, ""},
		{"PEXPIREAT a 3000", 3000, 0, ""},
		{"PEXPIREAT a 9000", 9000, 3000, "SET a 8 PXAT 9000"},
		{"PERSIST d", 0, 5000, "SET d 7"},
		{"DEL e", 0, 0, ""},
		{"DEL x s", 0, 0, ""},
		{"PEXPIREAT h 9000", 9000, 5000, "DEL h|HSET h f v g w|PEXPIREAT h 9000"},
		{"PERSIST h", 0, 9000, "DEL h|HSET h f v g w"},
		{"HDEL i f", 5000, 0, ""},
		{"PERSIST l", 0, 5000, ""},
		{"INCR n", 0, 0, ""},
		{"PEXPIREAT n 9000", 9000, 0, ""},
	} {
		got := r.effectOf(want.line)
		if got.Lapses != want.lapses || got.Until != want.until || got.At != c.ms || restoring(t, got) != want.restore {
			t.Errorf("%s: %+v restoring %q, want %+v", want.line, got, restoring(t, got), want)
		}
	}
}

func restoring(t *testing.T, f Effect) string {
	t.Helper()
	var lines []string
	for b := f.Restore; len(b) > 0; {
		args, n := parse(t, b)
		lines = append(lines, strings.Join(args, " "))
		b = b[n:]
	}
	return strings.Join(lines, "|")
}

// TestRecoverAtItsOwnTime: a recovered write is executed as of when it was
// accepted, and one whose deadline has passed leaves nothing behind.
func TestRecoverAtItsOwnTime(t *testing.T) {
	t.Parallel()
	c := &clock{ms: 10_000}
	r := newRig(t, Options{Now: c.now})
	r.src.set("n", stringSeed("5")) // at the server the deadline was never set
	for _, rec := range []struct {
		seq        uint64
		line       string
		at, lapses int64
	}{
		{1, "SET k v PXAT 2000", 1000, 2000},
		{2, "APPEND k w", 1500, 2000},
		{3, "APPEND k x", 2500, 0},
		{4, "PEXPIREAT n 2000", 1000, 2000},
		{5, "INCR n", 1500, 2000},
		{6, "INCR n", 2500, 0},
	} {
		r.recover(rec.seq, split(rec.line), rec.at, rec.lapses)
	}
	r.want("GET k", "$1 x")
	r.want("PTTL k", ":-1")
	r.want("GET n", "$1 1")
	r.want("PTTL n", ":-1")
	r.checkBytes()
}

func parse(t *testing.T, b []byte) (args []string, n int) {
	t.Helper()
	raw, n, err := resp.ParseCommand(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range raw {
		args = append(args, string(arg))
	}
	return args, n
}

// A write that rests on a field's deadline, in a hash that is too big to be kept as
// commands, can't be protected from that deadline: also when the key is held.
func TestEffectThatCannotBeKept(t *testing.T) {
	t.Parallel()
	c := &clock{ms: 1000}
	r := newRig(t, Options{Now: c.now})
	big := bigHash(9000, "f", "1", "g", "2")
	big.members["f"] = engine.Fact{Present: true, Value: []byte("1"), ExpireAt: 5000}
	r.src.set("h", big)
	r.do("HSET h g 3")
	for range 2 {
		if _, err := r.try("HINCRBY h f 1"); !errors.Is(err, ErrKeyTooBig) {
			t.Errorf("HINCRBY of a dying field: %v, want ErrKeyTooBig", err)
		}
		r.want("HMGET h f g", "*2 $1 1 $1 3")
	}
	r.checkBytes()
}
