package engine

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestBitmapsAsTheServer(t *testing.T) { random(t, 3000, "bitmaps") }

func TestBitmapsTakenBack(t *testing.T) { takenBack(t, 3000, "bitmaps", "strings") }

func TestBitmapCommandsByHand(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			o := startOracle(t, proto)
			o.lines(bitmapLines)
			o.lines(bitRangeLines)
			o.lines(bitFieldLines)
			if o.model.server.AtLeast(80200) {
				o.lines(bitOpLines)
			}
			o.sameState()
		})
	}
}

const bitmapLines = `
	GETBIT none 0
	GETBIT none 4294967295
	GETBIT none 4294967296
	GETBIT none -1
	GETBIT none x
	SETBIT b 7 1
	GET b
	SETBIT b 7 1
	SETBIT b 6 1
	SETBIT b 100 0
	STRLEN b
	GET b
	SETBIT b 7 0
	GETBIT b 6
	GETBIT b 101
	GETBIT b 9000
	SETBIT b 4294967296 1
	SETBIT b -1 1
	SETBIT b #1 1
	SETBIT b 1 2
	SETBIT b 1 -1
	SETBIT b x y
	SETBIT b 01 1
	SETBIT zero 0 0
	GET zero
	RPUSH g a
	SETBIT g 1 2
	SETBIT g 1 1
	GETBIT g 1
	GETBIT g x
	PEXPIREAT b 4000000000000
	SETBIT b 1 1
	PEXPIRETIME b
	BITOP NOT n b
	GET n
	BITOP NOT b b
	PEXPIRETIME b
	BITOP NOT n b zero
	BITOP FOO n b
	BITOP FOO n g
	BITOP AND n g b
	BITOP AND n b g
	BITOP AND g b none
	TYPE g
	SET x "abcdefghijk"
	SET y "ABCD"
	BITOP AND n x y none
	GET n
	BITOP AND n y x
	GET n
	BITOP OR n y x
	GET n
	BITOP XOR n x y x y zero
	GET n
	BITOP XOR x x
	BITOP AND n none nothing
	EXISTS n
	BITOP OR n none
	SET empty ""
	BITOP NOT x empty
	EXISTS x`

const bitRangeLines = `
	BITCOUNT none a b
	BITCOUNT none 1
	BITCOUNT none 1 2 FOO
	BITCOUNT none 1 2 BIT x
	BITCOUNT none 1 2
	BITPOS none 2
	BITPOS none x
	BITPOS none 0
	BITPOS none 1
	BITPOS none 0 a
	BITPOS none 1 0 1 FOO
	BITPOS none 1 0 1 BIT x
	SET empty ""
	BITCOUNT empty
	BITPOS empty 0
	BITPOS empty 1
	BITPOS empty 0 0
	BITPOS empty 0 0 -1
	RPUSH l a
	BITCOUNT l 1 x
	BITCOUNT l 1
	BITPOS l 3
	BITPOS l 1 x
	BITPOS l 1
	SET ff "\xff\xff"
	BITCOUNT ff
	BITCOUNT ff 0
	BITCOUNT ff 0 -1 BIT
	BITCOUNT ff 3 9 BIT
	BITCOUNT ff -3 -3 BIT
	BITCOUNT ff -1 -5
	BITCOUNT ff -1 -5 FOO
	BITCOUNT none -1 -5 FOO
	BITCOUNT ff -1 -5 FOO x
	BITCOUNT ff -100 -110
	BITCOUNT ff -9223372036854775808 9223372036854775807 BIT
	BITPOS ff 0
	BITPOS ff 0 1
	BITPOS ff 0 5
	BITPOS ff 0 0 -1
	BITPOS ff 0 0 -1 BIT
	BITPOS ff 1 -9 -10
	BITPOS ff 1 -9 -10 BIT
	BITPOS ff 1 5 -3 BIT
	BITPOS ff 1 5 a FOO
	BITPOS ff 1 a 5 FOO
	BITPOS ff 1 5 6 byte
	BITCOUNT ff 5 a FOO
	BITCOUNT ff a 5 FOO
	BITCOUNT ff 5 6 FOO
	SET long "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xef\xff"
	BITPOS long 0
	BITPOS long 0 3 154 BIT
	BITPOS long 0 3 155 BIT
	BITPOS long 0 20
	BITCOUNT long 7 161 BIT`

const bitFieldLines = `
	BITFIELD n
	EXISTS n
	BITFIELD n OVERFLOW FAIL
	BITFIELD n GET u8 0 GET i64 100
	EXISTS n
	BITFIELD n OVERFLOW FAIL INCRBY u2 100 5
	STRLEN n
	BITFIELD n SET i8 0 -9223372036854775808 GET i8 0
	BITFIELD n OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0
	BITFIELD n OVERFLOW SAT SET i8 0 -9223372036854775680 GET i8 0
	BITFIELD n OVERFLOW SAT SET i8 0 -9223372036854775681 GET i8 0
	BITFIELD n OVERFLOW SAT SET i8 0 -129 GET i8 0
	BITFIELD n OVERFLOW SAT SET i8 0 128 GET i8 0
	BITFIELD n OVERFLOW SAT SET u8 0 -1 GET u8 0
	BITFIELD n OVERFLOW SAT INCRBY u8 0 -9223372036854775808
	BITFIELD n OVERFLOW SAT INCRBY i64 0 -9223372036854775808
	BITFIELD n OVERFLOW SAT INCRBY i64 0 -9223372036854775808
	BITFIELD n OVERFLOW WRAP INCRBY i64 0 -1
	BITFIELD n OVERFLOW SAT INCRBY i63 0 -9223372036854775808
	BITFIELD n OVERFLOW SAT INCRBY i63 0 9223372036854775807
	BITFIELD n OVERFLOW FAIL INCRBY i63 0 9223372036854775807 GET i63 0
	BITFIELD n SET u63 3 9223372036854775807 INCRBY u63 3 1
	BITFIELD n SET i1 5 -1 INCRBY i1 5 -1 OVERFLOW SAT INCRBY i1 5 -1 INCRBY i1 5 5
	BITFIELD n OVERFLOW FAIL SET u4 0 16 SET u4 0 15 OVERFLOW WRAP SET u4 0 17
	BITFIELD n SET u8 #-1 3
	BITFIELD n GET u8 #4294967296
	BITFIELD n GET u8 4294967295
	BITFIELD n GET i64 #4611686018427387904
	BITFIELD n GET i64 4294967294
	BITFIELD n SET u8 #3 200 GET u8 24 GET u16 #1
	BITFIELD n GET U8 0
	BITFIELD n GET "u8\x00x" 0
	BITFIELD n GET u08 0
	BITFIELD n GET u64 0
	BITFIELD n GET i65 0
	BITFIELD n GET i0 0
	BITFIELD n GET u+8 0
	BITFIELD n GET "" 0
	BITFIELD n GET u8 ""
	BITFIELD n GET u8 #
	BITFIELD n SET i64 0
	BITFIELD n SET i64 0 x
	BITFIELD n SET i99 x x
	BITFIELD n SET u8 0 1 BAD
	BITFIELD n OVERFLOW
	BITFIELD n OVERFLOW BAD GET i99 0
	BITFIELD n overflow sat get u8 0
	BITFIELD_RO n OVERFLOW WRAP GET u8 0
	BITFIELD_RO n GET u8 0 GET u8 4
	BITFIELD_RO none GET u8 0
	BITFIELD_RO n
	BITFIELD_RO n SET u8 0 x
	BITFIELD_RO n SET u8 0 1
	BITFIELD_RO n OVERFLOW BAD GET u8 0
	RPUSH list a
	BITFIELD list GET u8 0
	BITFIELD list SET u8 0 1
	BITFIELD list GET u99 0
	BITFIELD_RO list SET u8 0 1
	GET n`

// bitOpLines are for servers that have the operations of Redis 8.2.
const bitOpLines = `
	SET a "\x0f\xf0\xaa"
	SET b "\xff\x00"
	SET c "\x33\x33\x33\x33"
	BITOP DIFF d a
	BITOP DIFF1 d a
	BITOP ANDOR d a
	BITOP ONE d a
	BITOP DIFF d a b c
	GET d
	BITOP DIFF1 d a b c
	GET d
	BITOP ANDOR d a b c
	GET d
	BITOP ONE d a b c
	GET d
	BITOP ANDOR d none a b
	GET d
	BITOP DIFF d none a
	BITOP ONE d none nothing
	EXISTS d`

// The operations of Redis 8.2, from what its documentation says of them.
func TestBitOpsOfRedis82(t *testing.T) {
	t.Parallel()
	const (
		x = "\x0f\xf0\xaa"
		y = "\xff\x00"
		z = "\x33\x33\x33\x33"
	)
	at := func(s string, i int) byte {
		if i < len(s) {
			return s[i]
		}
		return 0
	}
	for word, want := range map[string]func(x, y, z byte) byte{
		"DIFF":  func(x, y, z byte) byte { return x &^ (y | z) },
		"DIFF1": func(x, y, z byte) byte { return (y | z) &^ x },
		"ANDOR": func(x, y, z byte) byte { return x & (y | z) },
		"ONE":   func(x, y, z byte) byte { return x&^y&^z | y&^x&^z | z&^x&^y },
	} {
		m := newModel()
		m.server = Server{Version: 80200}
		for name, v := range map[string]string{"x": x, "y": y, "z": z} {
			*m.object([]byte(name)) = NewString([]byte(v))
		}
		reply, _ := m.do(split("BITOP "+word+" d x y z"), 2)
		if string(reply) != ":4\r\n" {
			t.Errorf("%s: reply %q, want the length of the longest source", word, reply)
		}
		for i, got := range m.object([]byte("d")).str {
			if b := want(at(x, i), at(y, i), at(z, i)); got != b {
				t.Errorf("%s: byte %d is %08b, want %08b", word, i, got, b)
			}
		}
		reply, _ = m.do(split("BITOP "+word+" d x"), 2)
		if word != "ONE" && !strings.Contains(string(reply), "BITOP "+word+" must be called with at least two source keys") {
			t.Errorf("%s of one source: %q", word, reply)
		}
		m.server = Server{Version: 80002}
		if reply, _ = m.do(split("BITOP "+word+" d x y"), 2); string(reply) != "-ERR syntax error\r\n" {
			t.Errorf("%s on an older server: %q", word, reply)
		}
	}
}

// A long string is changed in place; taking that back, at once or after later
// calls, and adding zeros where other bytes have been.
func TestBitmapChangesAreTakenBack(t *testing.T) {
	t.Parallel()
	takenBackFrom(t, 150, func(rnd *rand.Rand) Object {
		b := bytes.Repeat([]byte("0123456789abcdef"), 1+rnd.IntN(20))
		return NewString(append(make([]byte, 0, len(b)+rnd.IntN(64)), b...))
	}, "bitmaps")
}

func TestNothingChangesWhereABitIsWhatItIsSetTo(t *testing.T) {
	t.Parallel()
	m := newModel()
	for _, step := range []struct {
		line  string
		dirty bool
	}{
		{"SETBIT b 3 0", true},
		{"SETBIT b 3 0", false},
		{"SETBIT b 3 1", true},
		{"SETBIT b 3 1", false},
		{"SETBIT b 9 0", true},
		{"BITFIELD b GET u8 0", false},
		{"BITFIELD b OVERFLOW FAIL SET u2 0 9", false},
		{"BITFIELD b OVERFLOW FAIL SET u2 30 9", true},
		{"BITFIELD b SET u2 0 1", true},
		{"BITOP AND d none", false},
		{"BITOP AND d b", true},
		{"BITOP AND d none", true},
		{"SETBIT b x 1", false},
	} {
		if c := m.runLine(step.line); c.Dirty() != step.dirty {
			t.Errorf("%s: dirty %v, want %v", step.line, c.Dirty(), step.dirty)
		}
	}
}
