package engine

import (
	"strconv"
	"strings"
	"testing"
)

func TestCounters(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		o.opaque("list")
		o.lines(`
			INCR
			INCR n
			INCR n m
			DECR n
			DECR n
			INCRBY n 10
			INCRBY n 0
			INCRBY new 0
			GET new
			DECRBY n 20
			DECRBY n -9223372036854775808
			DECRBY n abc
			INCRBY n 1.5
			INCRBY n "+1"
			INCRBY n " 1"
			INCRBY n 01
			INCRBY n -0
			INCRBY n ""
			SET n 9223372036854775807
			INCR n
			INCRBY n 9223372036854775807
			DECR n
			SET n -9223372036854775808
			DECR n
			DECRBY n 9223372036854775807
			INCR n
			SET n " 1"
			INCR n
			SET n 1.0
			INCR n
			SET n ""
			INCR n
			SET n 007
			INCR n
			SET n -0
			INCR n
			INCR list
			INCRBY list abc
			DECRBY list -9223372036854775808
			SET n 5 PXAT 99999999999999
			INCR n
			PEXPIRETIME n
		`)
		o.sameState()
	})
}

func TestIncrByFloat(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		if o.proto == 3 {
			o.lines("INCRBYFLOAT f 1.50\nINCRBYFLOAT f abc") // the rest is the same
			return
		}
		o.opaque("list")
		o.lines("INCRBYFLOAT\nINCRBYFLOAT f\nINCRBYFLOAT list 1\nINCRBYFLOAT list abc")
		numbers := strings.Fields(`
			0 -0 +0 1 -1 0.1 -0.1 .5 5. . 1.e1 .e1 1e 1e+ 1e-3 1E3 1e-17 5e-18 15e-18 25e-18 4.99e-18 -5e-18 -4e-18
			0x10 0X1P4 0x1.8p-1 0x.8 0x. 0x 0xp1 0x1p 0xg 1x 0b1 0o7 1_000 0x1_0 --1 +-1 -+0x1 1f 1d
			inf -inf +INF infinity -Infinity infinit nan -nan nan(1)
			1e4931 1.18973149535723176502e4932 1.18973149535723176509e4932 1.2e4932 1e4933 -1e4933 1e99999999999999999999 -1e-99999999999999999999
			0e99999999999999999999 0.0e-99999999999999999999 0x0p99999999999999999999 0x1p16383 0x1p16384 0x1.fffffffffffffffep16383
			0x1.ffffffffffffffffp16383 0x1p-16445 0x1p-16446 0x1.8p-16446 3.6e-4951 1e-4951 1.9e-4951 3.3e-4932
			18446744073709551615 18446744073709551616 18446744073709551617 36893488147419103233 1844674407370955161.55
			9007199254740993 0.30000000000000000001 123456789012345678901234567890.123456789012345678901234567890
			3.0e3 3.00000000000000000000 1e20 1e21 100000000000000000000000000000000000000000`)
		numbers = append(numbers, " 1", "1 ", "", "\x00", "1\x00", "\t1", "1\n",
			strings.Repeat("1", 5119), strings.Repeat("1", 5120), "0."+strings.Repeat("0", 5000)+"1e5001",
			strings.Repeat("1", 5000)+"e-4999", "1"+strings.Repeat("0", 4932), "1."+strings.Repeat("0", 5000)+"1",
			"0x"+strings.Repeat("f", 4200))
		for _, number := range numbers {
			a := strconv.Quote(number)
			o.lines("DEL f\nINCRBYFLOAT f " + a)
			o.lines("SET f 10.5\nINCRBYFLOAT f " + a)
			for _, b := range []string{"0", "-5e-18", a} {
				o.lines("SET f " + a + "\nINCRBYFLOAT f " + b)
			}
			o.lines("GET f")
		}
		o.lines("SET f 5 PXAT 99999999999999\nINCRBYFLOAT f 1\nPEXPIRETIME f")
		o.sameState()
	})
}

func TestRanges(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		o.opaque("list")
		o.lines(`
			APPEND k ""
			EXISTS k
			APPEND k ""
			APPEND k abc
			APPEND k ""
			APPEND list x
			APPEND k
			STRLEN k
			STRLEN missing
			SETRANGE missing 0 ""
			SETRANGE missing 5 ""
			EXISTS missing
			SETRANGE list 0 ""
			SETRANGE list -1 ""
			SETRANGE list abc ""
			SETRANGE list 0 x
			SETRANGE k -1 x
			SETRANGE k -1 ""
			SETRANGE k abc x
			SETRANGE k 1 ""
			SETRANGE k 1 X
			SETRANGE k 10 Y
			GET k
			SETRANGE k 536870912 x
			SETRANGE k 536870911 xx
			SETRANGE k 536870912 ""
			SETRANGE k 9223372036854775807 x
			SETRANGE k 9223372036854775808 x
			SETRANGE new 4 ab
			GET new
			SETRANGE missing 536870912 x
			EXISTS missing
			SET s "This is a string" PXAT 99999999999999
			SETRANGE s 5 IS
			PEXPIRETIME s
			GETRANGE s 0 3
			GETRANGE s -3 -1
			GETRANGE s 0 -1
			GETRANGE s 10 100
			GETRANGE s 100 200
			GETRANGE s -100 -90
			GETRANGE s -100 0
			GETRANGE s 0 -100
			GETRANGE s 0 -16
			GETRANGE s 0 -17
			GETRANGE s 1 -17
			GETRANGE s -1 -3
			GETRANGE s 5 3
			GETRANGE s -9223372036854775808 9223372036854775807
			GETRANGE s 9223372036854775807 -9223372036854775808
			GETRANGE s -9223372036854775808 -9223372036854775808
			GETRANGE s a 0
			GETRANGE s 0 a
			GETRANGE list a 0
			GETRANGE list 0 0
			GETRANGE missing 0 -1
			GETRANGE s 0
			SUBSTR s 0 3
			SUBSTR s 0
			SUBSTR list 0 1
		`)
		o.sameState()
	})
}

// Bytes of a long string change in place: what was there comes back.
func TestSetRangeTakenBack(t *testing.T) {
	for _, n := range []int{0, 10, smallString - 1, smallString, smallString + 1, 1000} {
		m := newModel()
		was := []byte(strings.Repeat("0123456789", n/10+1)[:n])
		m.do([][]byte{[]byte("SET"), []byte("k"), was}, 2)
		var undo []Change
		var states []map[string]objectState
		for _, line := range []string{
			"SETRANGE k 3 abc", "SETRANGE k 0 x", "APPEND k tail", "SETRANGE k 5 defg", "SETRANGE k 996 0123456789",
			"APPEND k junk", "SETRANGE k 1200 end", "SETRANGE k 1203 more", "SETRANGE k 1198 across",
		} {
			states = append(states, m.state())
			c := m.call(split(line))
			c.Run()
			c.Settle()
			undo = append(undo, c.Changes()[0])
			for _, passing := range []string{"SETRANGE k 2 gone", "APPEND k gone", "SETRANGE k 1300 gone"} {
				c := m.call(split(passing))
				c.Run()
				c.Revert()
			}
		}
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i].Revert()
			m.mustBe(t, states[i], split("step "+strconv.Itoa(i)+" from "+strconv.Itoa(n)))
		}
		if got := m.object([]byte("k")).str; string(got) != string(was) {
			t.Errorf("of %d bytes: %q", n, got)
		}
	}
}

// The room behind a string may hold what was taken back.
func TestSetRangeFillsWithZeros(t *testing.T) {
	m := newModel()
	// The first writes its bytes, the second makes room behind them.
	m.do(split("APPEND k "+strings.Repeat("x", 300)), 2)
	m.do(split("APPEND k "+strings.Repeat("y", 100)), 2)
	c := m.call(split("APPEND k " + strings.Repeat("z", 50)))
	c.Run()
	c.Revert()
	if o := m.object([]byte("k")); cap(o.str) < 450 {
		t.Fatalf("no room behind the string: %d of %d", len(o.str), cap(o.str))
	}
	m.do(split("SETRANGE k 420 end"), 2)
	want := strings.Repeat("x", 300) + strings.Repeat("y", 100) + strings.Repeat("\x00", 20) + "end"
	if got := m.object([]byte("k")).str; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
