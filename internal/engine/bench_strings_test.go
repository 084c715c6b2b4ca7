package engine

import (
	"strconv"
	"strings"
	"testing"
)

// benchCall measures a command on keys of a model, as the overlay runs it: the
// command is known, its objects are found, and the Call is warm.
func benchCall(b *testing.B, line string, prepare ...string) {
	b.Helper()
	m := newModel()
	for _, p := range prepare {
		if reply, ok := m.do(split(p), 2); !ok || reply[0] == '-' {
			b.Fatalf("%s: %q", p, reply)
		}
	}
	c := m.call(split(line))
	s := Setup{Command: c.cmd, Args: c.args, KeyArgs: c.keyArg, Keys: c.keys, Now: m.now(), Proto: 3}
	reply := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		s.Reply = reply
		c.Begin(s)
		c.Run()
		c.Settle()
	}
	if c.Err() != nil || c.Failed() {
		b.Fatalf("%s: error %v, reply %q", line, c.Err(), c.Reply())
	}
}

func BenchmarkStrings(b *testing.B) {
	value := strings.Repeat("v", 100)
	for _, bench := range []struct {
		name, line string
		prepare    []string
	}{
		{"SET", "SET k " + value, nil},
		{"SET_PXAT", "SET k " + value + " PXAT 99999999999999", nil},
		{"GET", "GET k", []string{"SET k " + value}},
		{"INCR", "INCR k", nil},
		{"INCRBY_large", "INCRBY k 7", []string{"SET k 123456789012345678"}},
		{"INCRBYFLOAT", "INCRBYFLOAT k 0.25", []string{"SET k 10.5"}},
		{"SETRANGE_small", "SETRANGE k 10 abc", []string{"SET k " + value}},
		{"SETRANGE_large", "SETRANGE k 10 abc", []string{"SETRANGE k 100000 x"}},
		{"GETRANGE", "GETRANGE k 10 20", []string{"SET k " + value}},
		{"MGET_10", "MGET k1 k2 k3 k4 k5 k6 k7 k8 k9 k10", []string{"MSET k1 v k5 v k10 " + value}},
		{"MSET_4", "MSET k1 v k2 v k3 v k4 v", nil},
		{"LCS_100", "LCS k k2", []string{"SET k " + value, "SET k2 " + value}},
	} {
		b.Run(bench.name, func(b *testing.B) { benchCall(b, bench.line, bench.prepare...) })
	}
}

// BenchmarkAppend grows a string and starts over when it is long.
func BenchmarkAppend(b *testing.B) {
	m := newModel()
	c := m.call(split("APPEND k 0123456789"))
	s := Setup{Command: c.cmd, Args: c.args, KeyArgs: c.keyArg, Keys: c.keys, Now: m.now()}
	reply := make([]byte, 0, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			*c.keys[0] = Object{}
		}
		s.Reply = reply
		c.Begin(s)
		c.Run()
		c.Settle()
	}
}

func BenchmarkKeys(b *testing.B) {
	for _, bench := range []struct {
		name, line string
		prepare    []string
	}{
		{"EXISTS", "EXISTS k", []string{"SET k v"}},
		{"TTL", "TTL k", []string{"SET k v PXAT 99999999999999"}},
		{"PEXPIREAT", "PEXPIREAT k 99999999999999", []string{"SET k v"}},
		{"COPY_string", "COPY k k2 REPLACE", []string{"SET k v"}},
	} {
		b.Run(bench.name, func(b *testing.B) { benchCall(b, bench.line, bench.prepare...) })
	}
}

// BenchmarkCopy copies a container, by running the commands that restore it.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{1, 100, 4000} {
		b.Run("hash_"+strconv.Itoa(n), func(b *testing.B) {
			fields := strings.Builder{}
			for i := range n {
				fields.WriteString(" field" + strconv.Itoa(i) + " value" + strconv.Itoa(i))
			}
			benchCall(b, "COPY k k2 REPLACE", "HSET k"+fields.String())
		})
	}
}
