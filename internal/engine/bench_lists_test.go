package engine

import (
	"strconv"
	"testing"
)

// benchLine runs one command over and over on an object; what it changed is taken
// back when undo is set, and stands otherwise.
func benchLine(b *testing.B, o *Object, line string, undo bool) {
	b.Helper()
	args := split(line)
	s := Setup{Command: Lookup(args), Args: args, KeyArgs: []int{1}, Keys: []*Object{o}, Now: 1}
	var c Call
	b.ReportAllocs()
	for b.Loop() {
		c.Begin(s)
		c.Run()
		s.Reply = c.Reply()[:0]
		if c.Err() != nil || c.Failed() {
			b.Fatalf("%s: %v %q", line, c.Err(), c.Reply())
		}
		if undo {
			c.Revert()
		} else {
			c.Settle()
		}
	}
}

func benchElements(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = []byte("element:" + strconv.Itoa(i))
	}
	return out
}

func BenchmarkLists(b *testing.B) {
	for _, line := range []string{
		"LRANGE k 50000 50009", "LRANGE k 0 9", "LINDEX k 50000", "LLEN k", "LSET k 50000 x", "LPOS k element:20",
		"LTRIM k 0 98999", "LTRIM k 0 9", "LREM k -1 element:99990", "LINSERT k BEFORE element:20 x",
	} {
		b.Run(line, func(b *testing.B) {
			o := NewList(benchElements(100_000))
			benchLine(b, &o, line, true)
		})
	}
	for _, line := range []string{"RPUSH k element", "LPUSH k element"} {
		b.Run(line, func(b *testing.B) {
			var o Object
			benchLine(b, &o, line, false)
		})
	}
}
