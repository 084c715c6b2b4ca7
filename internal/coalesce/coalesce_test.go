package coalesce

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

func encode(line string) []byte { return resp.AppendCommandStrings(nil, strings.Fields(line)...) }

func decode(t testing.TB, cmd []byte) string {
	t.Helper()
	args, n, err := resp.ParseCommand(cmd, nil)
	if err != nil || n != len(cmd) {
		t.Fatalf("%q is no command: %v", cmd, err)
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = string(arg)
	}
	return strings.Join(words, " ")
}

// merge merges lines; one that begins with "!" is not free.
func merge(t testing.TB, m *Merger, pxat bool, lines ...string) []string {
	t.Helper()
	m.Start(pxat)
	for _, line := range lines {
		bare, apart := strings.CutPrefix(line, "!")
		m.Add(encode(bare), !apart)
	}
	var out []string
	seen := map[int]bool{}
	for _, c := range m.Commands() {
		n := 1
		for i := c.First; ; i = m.Next(i) {
			if seen[i] {
				t.Errorf("%v: command %d is in two", lines, i)
			}
			seen[i] = true
			if i == c.Last {
				break
			}
			n++
		}
		if n != c.Count {
			t.Errorf("%v: count %d of %d", lines, c.Count, n)
		}
		out = append(out, decode(t, c.Bytes))
	}
	if len(seen) != len(lines) || m.Merged() != len(lines)-len(out) {
		t.Errorf("%v: %d commands are left, %d merged", lines, len(seen), m.Merged())
	}
	return out
}

func TestMerged(t *testing.T) {
	var m Merger // one for all: nothing of a transaction stays
	for _, c := range []struct{ in, out string }{
		{"set k 1, set k 2", "set k 2"},
		{"SET k 1, set k 2 px 5, Set k 3 PXAT 9", "Set k 3 PXAT 9"},
		{"set k 1, set j 1, set k 2", "set j 1, set k 2"},
		{"rpush k a, xadd k * f v, ltrim k 0 1, del k", "del k"},
		{"set k 1, unlink k, set k 2, del k", "del k"},
		{"incr k, incrby k 5, incr k", "INCRBY k 7"},
		{"decr k, decrby k 2", "INCRBY k -3"},
		{"incrby k 0, decr k", "INCRBY k -1"},
		{"incrby k 9223372036854775806, incr k", "INCRBY k 9223372036854775807"},
		{"hincrby k f 1, hincrby k f 2", "hincrby k f 3"},
		{"hset k a 1, hset k b 2, hset k c 3 d 4", "hset k a 1 b 2 c 3 d 4"},
		{"hset k a 1, hset k a 2, hset k a 3", "hset k a 3"},
		{"hset k b 0, hset k a 1, hset k a 2, hset k c 3", "hset k b 0 a 2 c 3"},
		{"zadd k 1 a, zadd k -inf b, zadd k 2 b", "zadd k 1 a 2 b"},
		{"geoadd k 1 2 a, geoadd k 3 4 b", "geoadd k 1 2 a 3 4 b"},
		{"rpush k a, rpush k b c", "rpush k a b c"},
		{"lpush k a, lpush k b", "lpush k a b"},
		{"sadd k a, sadd k b", "sadd k a b"},
		{"srem k a, srem k b", "srem k a b"},
		{"hdel k a, hdel k b", "hdel k a b"},
		{"zrem k a, zrem k b", "zrem k a b"},
		{"pfadd k a, pfadd k b", "pfadd k a b"},
		{"pexpireat k 5, pexpireat k 3", "pexpireat k 3"},
		{"set k v, pexpireat k 5", "set k v PXAT 5"},
		{"set k v pxat 3, pexpireat k 5, pexpireat k 9", "set k v PXAT 9"},
		{"del k, pexpireat k 5", "del k"},
		{"rpush k a, pexpireat k 5, set k v, pexpireat k 6, set k w", "set k w"},
		{"set k v, publish c m, echo x, exists k, set k w", "publish c m, echo x, exists k, set k w"},
		{"sadd k a, srem k a, srem k b", "sadd k a, srem k a b"},
		{"set k 1, mset a 1 b 2, set k 2", "mset a 1 b 2, set k 2"},
	} {
		got := merge(t, &m, true, strings.Split(c.in, ", ")...)
		if strings.Join(got, ", ") != c.out {
			t.Errorf("%s\n became %s\n   want %s", c.in, strings.Join(got, ", "), c.out)
		}
	}
}

// TestApart holds what must stay as it is: merging it could end in another state.
func TestApart(t *testing.T) {
	var m Merger
	for _, in := range []string{
		"set k 1, set k 2 keepttl",             // the deadline of what is before stays
		"set k 1, set k 2 nx",                  // takes effect only by what is before
		"set k 1, set k 2 px 5 get",            // answers with it
		"set k 1, set k 2 ex 0",                // is refused
		"set k 1 get, set k 2",                 // its answer was promised
		"set k 1, getset k 2",                  //
		"set k v nx, pexpireat k 5",            // sets a deadline either way
		"incr k, decr k",                       // passes a bound that the sum does not
		"incr k, incrby k 9223372036854775807", // has no sum
		"decrby k -9223372036854775808, incr k",
		"incr k, incrby k 01",
		"incr k, incrby k +1",
		"incrbyfloat k 1, incrbyfloat k 2", // rounds twice
		"hincrby k f 1, hincrby k g 1",
		"hset k f 1, hdel k f, hset k g 2", // in between the key and its deadline may be gone
		"sadd k a, srem k a, sadd k b",
		"hset k a 1, hmset k b 2",
		"hset k a 1 b, hset k c 2 d", // each is refused, both in one would not be
		"zadd k nx 1 a, zadd k 2 a",
		"zadd k incr 1 a, zadd k incr 1 a",
		"geoadd k xx 1 2 a, geoadd k 3 4 b",
		"lpushx k a, lpushx k b",
		"pexpireat k 5, pexpireat k nan",
		"pexpireat k 5, pexpireat k 6 gt",
		"set k 1, mset j 1 k 2, set k 3",
		"set k 1, del j k, set k 3",
		"set k 1, rename k j, set k 3",
		"set k 1, eval s 0, set k 3",
		"set k 1, flushall, set k 3",
		"set k 1, whatever, set k 3",
		"!set k 1, set k 2", // one of several of a unit
		"set k 1, !set k 2",
		"set k 1, !get k, set k 2",
		"rpush k a, !rpush k b, rpush k c",
		"pexpireat k 5, rpush k a, pexpireat k 6",
		"set k, set k",
		"del, del",
	} {
		lines := strings.Split(in, ", ")
		got := merge(t, &m, true, lines...)
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "!")
		}
		if !slices.Equal(got, lines) {
			t.Errorf("%s\n became %s", in, strings.Join(got, ", "))
		}
	}
	if got := merge(t, &m, false, "set k v", "pexpireat k 5"); len(got) != 2 {
		t.Errorf("for a server without PXAT: %q", got)
	}
}

// TestExact says of which commands the reply is known beforehand.
func TestExact(t *testing.T) {
	var m Merger
	for in, want := range map[string]bool{
		"set k 1, set k 2": true, "incr k, incr k": true, "hincrby k f 1, hincrby k f 1": true,
		"lpush k a, lpush k b": true, "rpush k a, rpush k b": true, "hmset k a 1, hmset k b 2": true,
		"pexpireat k 5, pexpireat k 6": true, "hset k a 1": true,
		"hset k a 1, hset k b 2": false, "sadd k a, sadd k b": false, "zadd k 1 a, zadd k 2 b": false,
		"exists k": false, "set k 1, pexpireat k 5": false, "set k 1, del k": false, "srem k a, srem k b": false,
	} {
		m.Start(true)
		for _, line := range strings.Split(in, ", ") {
			m.Add(encode(line), true)
		}
		if got := m.Commands(); len(got) != 1 || got[0].Exact != want {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

func TestManyKeys(t *testing.T) {
	var m Merger
	for range 3 {
		m.Start(true)
		const keys = 5000
		for round := range 3 {
			for k := range keys {
				m.Add(encode(fmt.Sprintf("set key:%d %d", k, round)), true)
			}
		}
		out := m.Commands()
		if len(out) != keys || m.Merged() != 2*keys {
			t.Fatalf("%d commands, %d merged", len(out), m.Merged())
		}
		for k, c := range out {
			if got, want := decode(t, c.Bytes), fmt.Sprintf("set key:%d 2", k); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	}
}

// TestGenerations lets the table's generations come round.
func TestGenerations(t *testing.T) {
	var m Merger
	merge(t, &m, true, "set k 1")
	m.table.gen = 1<<32 - 2
	for range 4 {
		if got := merge(t, &m, true, "set k 1", "set k 2"); len(got) != 1 {
			t.Fatalf("%q", got)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	var cmds [][]byte
	for i := range 500 {
		for _, line := range []string{"set k%d v", "incr c%d", "hset h%d f v", "pexpireat k%d 5", "rpush l%d x"} {
			cmds = append(cmds, encode(fmt.Sprintf(line, i%50)))
		}
	}
	var m Merger
	run := func() {
		m.Start(true)
		for _, cmd := range cmds {
			m.Add(cmd, true)
		}
		m.Commands()
	}
	if n := testing.AllocsPerRun(10, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if m.Merged() < len(cmds)/2 {
		t.Errorf("%d of %d merged", m.Merged(), len(cmds))
	}
}

// FuzzAdd: whatever stands in a journal, nothing is lost and nothing is out of bounds.
func FuzzAdd(f *testing.F) {
	f.Add([]byte("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n"), []byte("*2\r\n$4\r\nincr\r\n$1\r\nk\r\n"))
	f.Add([]byte("*4\r\n$4\r\nhset\r\n$1\r\nk\r\n$1\r\nf\r\n"), []byte("*0\r\n"))
	f.Add([]byte("*1000000000\r\n$3\r\nset\r\n$1\r\nk"), []byte("*-1\r\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var m Merger
		m.Start(true)
		for _, cmd := range [][]byte{a, b, a, a, b} {
			m.Add(cmd, true)
		}
		n := 0
		for _, c := range m.Commands() {
			n += c.Count
		}
		if n != 5 {
			t.Errorf("%d of 5 commands", n)
		}
	})
}

func BenchmarkUniqueKeys(b *testing.B) { benchmark(b, "set key:%d "+strings.Repeat("x", 100), 1<<20) }
func BenchmarkHotKeys(b *testing.B)    { benchmark(b, "incr key:%d", 10) }

// benchmark is the time of one command, in transactions of 500.
func benchmark(b *testing.B, line string, keys int) {
	cmds := make([][]byte, 500)
	for i := range cmds {
		cmds[i] = encode(fmt.Sprintf(line, i%keys))
	}
	var m Merger
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(cmds) == 0 {
			m.Commands()
			m.Start(true)
		}
		m.Add(cmds[i%len(cmds)], true)
	}
}
