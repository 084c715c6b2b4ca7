package command

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const testNow = 1_700_000_000_123

func TestCanonicalForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ words, want string }{
		{"SET k v EX 10", "SET k v PXAT 1700000010123"},
		{"set k v ex 10", "set k v PXAT 1700000010123"},
		{"SET k v PX 10", "SET k v PXAT 1700000000133"},
		{"SET k v EXAT 10", "SET k v PXAT 10000"},
		{"SET k v EX 10 EX 20", "SET k v PXAT 1700000020123"},
		{"SET k v NX EX 10 GET", "SET k v NX GET PXAT 1700000010123"},
		{"SET k v EX 10 XX", "SET k v XX PXAT 1700000010123"},
		{`SET k v EX\0z 10`, "SET k v PXAT 1700000010123"},
		{"SETEX k 10 v", "SET k v PXAT 1700000010123"},
		{"PSETEX k 10 v", "SET k v PXAT 1700000000133"},
		{"EXPIRE k 10", "PEXPIREAT k 1700000010123"},
		{"EXPIRE k 10 GT", "PEXPIREAT k 1700000010123 GT"},
		{"EXPIRE k 0", "PEXPIREAT k 1700000000123"},
		{"EXPIRE k -1", "PEXPIREAT k 1699999999123"},
		{"PEXPIRE k 10", "PEXPIREAT k 1700000000133"},
		{"PEXPIRE k -9223372036854775808", "PEXPIREAT k -9223370336854775685"},
		{"EXPIREAT k 10", "PEXPIREAT k 10000"},
		{"EXPIREAT k -10", "PEXPIREAT k -10000"},
	} {
		args := parseLine(tc.words)
		got, err := Canonical(args, time.UnixMilli(testNow))
		if err != nil || show(got) != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.words, show(got), err, tc.want)
		}
		if show(args) != show(parseLine(tc.words)) {
			t.Errorf("%s: the arguments became %q", tc.words, show(args))
		}
		again, err := Canonical(got, time.UnixMilli(testNow+5000))
		if err != nil || &again[0] != &got[0] {
			t.Errorf("%s: the canonical form is not its own: %q, %v", tc.words, show(again), err)
		}
	}
}

func TestCanonicalUnchanged(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"SET k v", "SET k v KEEPTTL", "SET k v PXAT 10", "SET k v PXAT 5 pxat 10", "SET k v NX", "DEL a b",
		"PERSIST k", "INCR k", "INCRBY k -5", "DECRBY k 5", "APPEND k v", "HSET k f v", "HMSET k f v g w",
		"HDEL k f", "HINCRBY k f 1", "PEXPIREAT k 10", "PEXPIREAT k -10 LT", "GET k", "ZADD k 1 m",
		"CONFIG GET a", "CONFIG NOPE", "JSON.SET k $ 1", "json.set",
	} {
		args := parseLine(words)
		got, err := Canonical(args, time.UnixMilli(testNow))
		if err != nil || len(got) != len(args) || &got[0] != &args[0] {
			t.Errorf("%s: %q, %v", words, show(got), err)
		}
	}
	if _, err := Canonical(nil, time.UnixMilli(testNow)); err == nil {
		t.Error("no arguments: no error")
	}
}

// canonicalExamples run against the server as they are and in their canonical
// form, each from the setup line that stands before them. The key is k.
var canonicalExamples = []struct {
	setup string
	lines string
}{
	{"", `
	SET k v
	SET k v EX 100
	set k v ex 100
	SET k v PX 100000
	SET k v EXAT 4102444800
	SET k v pxat 4102444800123
	SET k v KEEPTTL
	SET k v EX 100 EX 200
	SET k v PXAT 4102444800123 PXAT 4102444800124
	SET k v EXAT 1
	SET k v PXAT 1
	SET k v EX 0
	SET k v EX -1
	SET k v PX 0
	SET k v EXAT 0
	SET k v EXAT -1
	SET k v PXAT -1
	SET k v EX 9223372036854775807
	SET k v EX 9223372036854775
	SET k v EX 9223370000000000
	SET k v EX 9223372036854776
	SET k v PX 9223372036854775807
	SET k v PX 9223372036854775808
	SET k v PX 9223370000000000000
	SET k v EXAT 9223372036854775
	SET k v EXAT 9223372036854776
	SET k v PXAT 9223372036854775807
	SET k v EX abc
	SET k v EX 1.5
	SET k v EX 010
	SET k v EX +10
	SET k v EX -0
	SET k v EX ""
	SET k v EX 10\0
	SET k v EX
	SET k v EX 10 PX 10
	SET k v PX 10 EXAT 10
	SET k v KEEPTTL EX 10
	SET k v EX 10 KEEPTTL
	SET k v KEEPTTL PXAT 10
	SET k v KEEPTTL KEEPTTL
	SET k v EX abc PX 10
	SET k v EX abc FOO
	SET k v NX XX
	SET k v XX NX
	SET k v NX NX
	SET k v NX EX 100
	SET k v EX 100 XX
	SET k v GET EX 100
	SET k v FOO
	SET k v ""
	SET k v EX\0PX 100
	SET k v NX\0
	SET k v NXX
	SET k
	SET
	SETEX k 100 v
	SETEX k 0 v
	SETEX k -5 v
	SETEX k abc v
	SETEX k 9223372036854775807 v
	SETEX k 9223372036854775 v
	SETEX k 100
	SETEX k 100 v w
	PSETEX k 100000 v
	PSETEX k 0 v
	PSETEX k x v
	PSETEX k 9223372036854775807 v
	PSETEX k 100
	EXPIRE k 100
	INCR k
	INCRBY k 5
	INCRBY k abc
	INCRBY k 9223372036854775808
	INCRBY k -9223372036854775808
	INCRBY k 05
	INCRBY k ""
	INCRBY k
	DECR k
	DECRBY k 5
	DECRBY k abc
	DECRBY k -9223372036854775808
	DECRBY k
	APPEND k v
	APPEND k
	HSET k f v
	HSET k f
	HSET k f v g
	hSet k f v g
	HMSET k f v g
	HMSET k f v g w
	HDEL k
	HDEL k f
	HINCRBY k f 5
	HINCRBY k f abc
	HINCRBY k f
	DEL
	DEL k
	PERSIST
	PERSIST k
	PERSIST k k
`},
	{"SET k old EX 5000", `
	SET k v
	SET k v KEEPTTL
	SET k v EX 100
	SET k v XX PX 100000
	SET k v NX PX 100000
	SET k v GET EX 100
	SET k v XX GET EXAT 4102444800
	EXPIRE k 100
	expire k 100
	PEXPIRE k 100000
	EXPIREAT k 4102444800
	PEXPIREAT k 4102444800123
	EXPIRE k 0
	EXPIRE k -1
	EXPIRE k -9223372036854775
	EXPIRE k -9223372036854775807
	EXPIRE k 9223372036854775807
	EXPIRE k 9223372036854775
	EXPIRE k 9223370000000000
	EXPIRE k abc
	EXPIRE k 1.5
	EXPIRE k ""
	EXPIRE k
	PEXPIRE k 0
	PEXPIRE k -100000
	PEXPIRE k -9223372036854775808
	PEXPIRE k 9223372036854775807
	PEXPIRE k 9223370000000000000
	PEXPIRE k abc
	EXPIREAT k 1
	EXPIREAT k 0
	EXPIREAT k -1
	EXPIREAT k 9223372036854775807
	EXPIREAT k 9223372036854775
	EXPIREAT k -9223372036854776
	PEXPIREAT k -9223372036854775808
	PEXPIREAT k 9223372036854775807
	PEXPIREAT k 9223372036854775808
	PEXPIREAT k abc
	EXPIRE k 100 NX
	EXPIRE k 100 XX
	EXPIRE k 100 GT
	EXPIRE k 100 lt
	EXPIRE k 100 XX LT
	EXPIRE k 100 NX GT
	EXPIRE k 100 NX XX
	EXPIRE k 100 GT LT
	EXPIRE k 100 FOO
	EXPIRE k abc FOO
	EXPIRE k abc NX XX
	EXPIRE k 100 FOO\0bar
	EXPIRE k 100 GT\0x
	PEXPIRE k 100000 GT
	EXPIREAT k 4102444800 GT
	PEXPIREAT k 4102444800123 GT
	PERSIST k
	APPEND k v
	INCR k
	HSET k f v
	HINCRBY k f abc
`},
}

// The canonical form must leave the server as the original does, and errors must
// be the server's own.
func TestCanonicalAgreesWithServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	prepare := func(setup string) {
		srv.run("FLUSHALL")
		if setup != "" {
			srv.run(setup)
		}
	}
	for _, group := range canonicalExamples {
		for _, words := range rowsOf(t, group.lines)[""] {
			args := parseLine(words)
			prepare(group.setup)
			original := srv.do(args)
			want := srv.snapshot()

			canonical, err := Canonical(args, time.Now())
			if err != nil {
				var refused ReplyError
				if !errors.As(err, &refused) || !original.IsError() || original.Text() != refused.Error() {
					t.Errorf("%s: error %q, the server says %q", words, err, original.Text())
				}
				continue
			}
			// Only the state of keys may still refuse.
			byState := strings.HasPrefix(original.Text(), "WRONGTYPE") ||
				(group.setup != "" && original.Text() == errNotInteger.Error())
			if original.IsError() && !byState {
				t.Errorf("%s: accepted, the server says %q", words, original.Text())
			}
			prepare(group.setup)
			reply := srv.do(canonical)
			if showReply(reply) != showReply(original) {
				t.Errorf("%s: as %s replies %+v, else %+v", words, show(canonical), reply, original)
			}
			if got := srv.snapshot(); !got.like(want) {
				t.Errorf("%s: as %s leaves %v, else %v", words, show(canonical), got, want)
			}
		}
	}
}
