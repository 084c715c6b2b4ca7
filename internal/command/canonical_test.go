package command

import (
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
		{"SET k v IFEQ ex EX 10", "SET k v IFEQ ex PXAT 1700000010123"},
		{"SET k v EX 10 IFDNE px GET", "SET k v IFDNE px GET PXAT 1700000010123"},
		{"MSETEX 1 k v EX 10", "MSETEX 1 k v PXAT 1700000010123"},
		{"MSETEX 2 k ex px 10 PX 10 NX", "MSETEX 2 k ex px 10 NX PXAT 1700000000133"},
		{"GETEX k EX 10", "GETEX k PXAT 1700000010123"},
		{"GETEX k PX 10", "GETEX k PXAT 1700000000133"},
		{"GETEX k EXAT 10", "GETEX k PXAT 10000"},
		{"GETEX k EX 10 EX 20", "GETEX k PXAT 1700000020123"},
		{"INCREX k EX 10 ENX", "INCREX k PXAT 1700000010123 ENX"},
		{"INCREX k UBOUND EX BYINT 2 PX 10", "INCREX k UBOUND EX BYINT 2 PXAT 1700000000133"},
		{"HEXPIRE k 10 FIELDS 1 f", "HPEXPIREAT k 1700000010123 FIELDS 1 f"},
		{"HEXPIRE k 0 NX FIELDS 2 f g", "HPEXPIREAT k 1700000000123 NX FIELDS 2 f g"},
		{"hpexpire k 10 fields 1 fields", "HPEXPIREAT k 1700000000133 fields 1 fields"},
		{"HEXPIREAT k 10 FIELDS 1 f GT", "HPEXPIREAT k 10000 FIELDS 1 f GT"},
		{"HPEXPIRE k 68668744177540 FIELDS 1 f", "HPEXPIREAT k 70368744177663 FIELDS 1 f"},
		{"HGETEX k EX 10 FIELDS 1 ex", "HGETEX k PXAT 1700000010123 FIELDS 1 ex"},
		{"HGETEX k FIELDS 2 ex 10 PX 10", "HGETEX k FIELDS 2 ex 10 PXAT 1700000000133"},
		{"HSETEX k FNX EXAT 10 FIELDS 1 ex 20", "HSETEX k FNX PXAT 10000 FIELDS 1 ex 20"},
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
		// In their canonical form already.
		"SET k v", "SET k v KEEPTTL", "SET k v PXAT 10", "SET k v PXAT 5 pxat 10", "SET k v NX", "DEL a b",
		"PERSIST k", "INCR k", "INCRBY k -5", "DECRBY k 5", "APPEND k v", "HSET k f v", "HMSET k f v g w",
		"HDEL k f", "HINCRBY k f 1", "PEXPIREAT k 10", "PEXPIREAT k -10 LT", "GET k", "ZADD k 1 m",
		"GETEX k", "GETEX k PERSIST", "GETEX k PXAT 10", "MSETEX 1 ex 10", "MSETEX 1 k v PXAT 10",
		"HPEXPIREAT k 10 FIELDS 1 f", "HGETEX k FIELDS 1 f", "HGETEX k PERSIST FIELDS 1 f", "HSETEX k KEEPTTL FIELDS 1 f v",
		"HSETEX k PXAT 10 FIELDS 1 f v", "HSETEX k EX 0 FIELDS 1 f v", "HGETEX k PX 0 FIELDS 1 f", "HPERSIST k FIELDS 1 f", "INCREX k BYINT 10", "INCREX k PXAT 10",
		"EVALSHA sha 1 k EX 10", "XADD k * EX 10", "CONFIG GET a", "CONFIG NOPE", "TS.ADD k * 1", "nope.set k EX 10", "nope",
		// Refused by every server, in words that name the command.
		"SET k", "SET k v EX", "SET k v EX 0", "SET k v EX x", "SET k v EX 10 PX 10", "SET k v KEEPTTL EX 10", "SET k v EX 10 FOO",
		"SET k v EX 10 NX XX", "SET k v EX 9223372036854775807", "SET k v EX 10 IFEQ", "SET k v EX 10 IFSOME w",
		"SETEX k 0 v", "SETEX k x v", "SETEX k 10", "PSETEX k 9223372036854775807 v",
		"EXPIRE k", "EXPIRE k x", "EXPIRE k 9223372036854775807", "EXPIRE k 10 FOO", "EXPIRE k 10 NX GT", "EXPIRE k 10 GT LT",
		"GETEX k EX", "GETEX k EX 0", "GETEX k EX 10 PERSIST", "GETEX k PERSIST EX 10", "GETEX k EX 10 PX 10", "GETEX k EX 10 FOO",
		"MSETEX", "MSETEX 2 k v EX 10", "MSETEX 0 k v EX 10", "MSETEX x k v EX 10", "MSETEX 01 k v EX 10", "MSETEX 1 k v EX 10 KEEPTTL",
		"INCREX k EX", "INCREX k EX 0", "INCREX k EX 10 PX 10",
		"HEXPIRE k 10", "HEXPIRE k 10 FIELDS 2 f", "HEXPIRE k 10 FIELDS 1 f g", "HEXPIRE k 10 FIELDS 0 f", "HEXPIRE k 10 FIELDS x f",
		"HEXPIRE k -1 FIELDS 1 f", "HEXPIRE k x FIELDS 1 f", "HEXPIRE k 10 NX XX FIELDS 1 f", "HEXPIRE k 10 FOO FIELDS 1 f",
		"HEXPIRE k 70368744178 FIELDS 1 f", "HPEXPIREAT k 70368744177664 FIELDS 1 f", "HPEXPIRE k 68668744177541 FIELDS 1 f", "HEXPIRE k 10 FIELDS 1 f FIELDS 1 g",
		"HGETEX k EX -1 FIELDS 1 f", "HGETEX k EX 10 PX 10 FIELDS 1 f", "HGETEX k EX 10 PERSIST FIELDS 1 f", "HGETEX k EX 10 FOO 1 f",
		"HSETEX k EX 10 FIELDS 1 f", "HSETEX k EX 10 KEEPTTL FIELDS 1 f v", "HSETEX k EX x FIELDS 1 f v",
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
	GETEX k
	GETEX k EX 100
	GETEX k PX 100000
	GETEX k EXAT 4102444800
	GETEX k PXAT 4102444800123
	GETEX k EXAT 1
	GETEX k PERSIST
	GETEX k EX 100 EX 200
	GETEX k EX 0
	GETEX k EX -1
	GETEX k EX abc
	GETEX k EX 9223372036854775807
	GETEX k PX 9223372036854775807
	GETEX k EX
	GETEX k EX 100 PX 100
	GETEX k EX 100 PERSIST
	GETEX k PERSIST EX 100
	GETEX k PERSIST PERSIST
	GETEX k EX 100 FOO
	GETEX k EX\0 100
	GETEX none EX 100
	HSET k f v
`},
	{"HSET k f v g w;SET l v EX 5000", `
	GETEX k EX 100
	EXPIRE k 100 NX
	SET k v EX 100 GET
	MSETEX 1 k v
	MSETEX 2 k v l w EX 100
	MSETEX 1 l v XX PX 100000
	MSETEX 1 l v KEEPTTL
	MSETEX 1 l v EX 0
	MSETEX 1 l v EX 10 PX 10
	MSETEX 2 l v EX 10
	HEXPIRE k 100 FIELDS 1 f
	HEXPIRE k 100 FIELDS 2 f none
	HEXPIRE none 100 FIELDS 1 f
	HEXPIRE l 100 FIELDS 1 f
	HEXPIRE k 0 FIELDS 1 f
	HEXPIRE k 0 FIELDS 2 f g
	HEXPIRE k -1 FIELDS 1 f
	HEXPIRE k 100 NX FIELDS 1 f
	HEXPIRE k 100 XX FIELDS 1 f
	HEXPIRE k 100 gt FIELDS 1 f
	HEXPIRE k 100 LT FIELDS 1 f
	HEXPIRE k 100 NX XX FIELDS 1 f
	HEXPIRE k 100 FIELDS 1 f NX
	HEXPIRE k 100 FIELDS 2 f
	HEXPIRE k 100 FIELDS 1 f g
	HEXPIRE k 100 FIELDS 0 f
	HEXPIRE k 100 FIELDS 01 f
	HEXPIRE k 100 FIELDS x f
	HEXPIRE k 100 FOO FIELDS 1 f
	HEXPIRE k abc FIELDS 1 f
	HEXPIRE k 68500000000 FIELDS 1 f
	HEXPIRE k 70368744177 FIELDS 1 f
	HEXPIRE k 9223372036854775807 FIELDS 1 f
	HEXPIRE k 100
	HPEXPIRE k 100000 FIELDS 1 f
	HPEXPIRE k 70368744177663 FIELDS 1 f
	HPEXPIRE k abc FIELDS 1 f
	HEXPIREAT k 4102444800 FIELDS 1 f
	HEXPIREAT k 1 FIELDS 1 f
	HEXPIREAT k 70368744177 FIELDS 1 f
	HEXPIREAT k 70368744178 FIELDS 1 f
	HPEXPIREAT k 4102444800123 FIELDS 1 f
	HPEXPIREAT k 70368744177664 FIELDS 1 f
	HGETEX k FIELDS 1 f
	HGETEX k EX 100 FIELDS 2 f none
	HGETEX k PX 100000 FIELDS 1 f
	HGETEX k EXAT 4102444800 FIELDS 1 f
	HGETEX k PXAT 4102444800123 FIELDS 1 f
	HGETEX k EX 0 FIELDS 1 f
	HGETEX k EXAT 1 FIELDS 2 f g
	HGETEX k EX -1 FIELDS 1 f
	HGETEX k EX abc FIELDS 1 f
	HGETEX k EX 70368744177 FIELDS 1 f
	HGETEX k EX 100 PX 100 FIELDS 1 f
	HGETEX k EX 100 PERSIST FIELDS 1 f
	HGETEX k FIELDS 1 f EX 100
	HGETEX k EX 100 FIELDS 2 f
	HSETEX k EX 100 FIELDS 1 f x
	HSETEX k EX 100 FIELDS 2 f x n y
	HSETEX k PX 100000 FNX FIELDS 1 n x
	HSETEX k FXX EXAT 4102444800 FIELDS 1 f x
	HSETEX k KEEPTTL FIELDS 1 f x
	HSETEX k EX 0 FIELDS 1 f x
	HSETEX k EXAT 1 FIELDS 1 n x
	HSETEX k EX -1 FIELDS 1 f x
	HSETEX k EX abc FIELDS 1 f x
	HSETEX k EX 70368744177 FIELDS 1 f x
	HSETEX k EX 100 PX 100 FIELDS 1 f x
	HSETEX k EX 100 KEEPTTL FIELDS 1 f x
	HSETEX k FIELDS 1 f x EX 100
	HSETEX k EX 100 FIELDS 2 f x
	HSETEX k EX 100 FIELDS 1 f x g
	HSETEX k FOO FIELDS 1 f x
	HSETEX l EX 100 FIELDS 1 f x
	HSETEX new EX 100 FIELDS 1 f x
`},
}

// The canonical form must leave the server as the original does, with the same
// reply: an error word for word.
func TestCanonicalAgreesWithServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	prepare := func(setup string) {
		srv.run("FLUSHALL")
		for line := range strings.SplitSeq(setup, ";") {
			if line != "" {
				srv.run(line)
			}
		}
	}
	executed := 0
	for _, group := range canonicalExamples {
		for _, words := range rowsOf(t, group.lines)[""] {
			if !srv.has(words) {
				continue
			}
			executed++
			args := parseLine(words)
			prepare(group.setup)
			original := srv.do(args)
			want := srv.snapshot()

			canonical, err := Canonical(args, time.Now())
			if err != nil {
				t.Fatalf("%s: %v", words, err)
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
	if executed < 180 {
		t.Errorf("only %d lines executed", executed)
	}
}
