package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

func TestSetsAsTheServer(t *testing.T) { random(t, 3000, "sets") }

func TestSetsTakenBack(t *testing.T) { takenBack(t, 3000, "sets", "keys") }

func TestSetReplies(t *testing.T) {
	listLines(t, `
		SADD t a
		SADD t a a
		SADD e 1 2 3
		SET s v
		SADD s a
		SADD t
		SRANDMEMBER t
		SRANDMEMBER t 10
		SRANDMEMBER t -2
		SRANDMEMBER t 0
		SRANDMEMBER nokey
		SRANDMEMBER nokey 3
		SRANDMEMBER s x
		SRANDMEMBER s 1
		SRANDMEMBER nokey -9223372036854775808
		SRANDMEMBER t 9223372036854775807
		SRANDMEMBER t x 2
		SSCAN e 0
		SSCAN e x
		SSCAN e 18446744073709551615
		SSCAN e 18446744073709551616
		SSCAN e "0\x00"
		SSCAN nokey x
		SSCAN nokey 0 COUNT
		SSCAN s 0 COUNT
		SSCAN s x COUNT
		SSCAN e 0 COUNT
		SSCAN e 0 COUNT 0
		SSCAN e 0 COUNT x
		SSCAN e 0 TYPE set
		SSCAN e 0 NOVALUES
		SSCAN e 0 MATCH [12] COUNT 100
		SSCAN e 0 MATCH 1 MATCH 2
		SSCAN e 0 MATCH ""
		SINTERCARD 0 t
		SINTERCARD x t
		SINTERCARD 2 t
		SINTERCARD -1 t
		SINTERCARD 9223372036854775807 t
		SINTERCARD 1 e LIMIT
		SINTERCARD 1 e LIMIT -1
		SINTERCARD 1 e LIMIT x
		SINTERCARD 1 e LIMIT 2
		SINTERCARD 1 e LIMIT 0
		SINTERCARD 1 e LIMIT 1 LIMIT 2
		SINTERCARD 1 e foo
		SINTERCARD 2 nokey s
		SINTERCARD 2 s nokey
		SINTER nokey s
		SINTER s nokey
		SINTER nokey e
		SINTER e e
		SINTERSTORE d nokey s
		EXISTS d
		SUNIONSTORE s e t
		TYPE s
		SINTERSTORE s t nokey
		EXISTS s
		SET s v
		SUNION nokey s
		SUNION nokey
		SDIFF nokey s
		SDIFF e e
		SDIFFSTORE e e t
		SDIFFSTORE e e e
		EXISTS e
		SMEMBERS nokey
		SMEMBERS s
		SMEMBERS t
		SMISMEMBER nokey a b
		SMISMEMBER t a z
		SMISMEMBER s a
		SISMEMBER nokey a
		SCARD s
		SREM nokey a
		SREM s a
		PEXPIREAT t 4000000000000
		SREM t a a
		SADD t b
	`)
}

// TestMemberTable drives a table that grows and shrinks, against a map, and takes
// every change back.
func TestMemberTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 0))
	var table memberTable
	in := map[string]bool{}
	var undo []func()
	check := func() {
		t.Helper()
		var bytes int64
		for i, m := range table.list {
			bytes += int64(len(m))
			if !in[m] || table.find([]byte(m)) != i || table.findString(m) != i {
				t.Fatalf("member %q at %d: wanted %v, found at %d", m, i, in[m], table.find([]byte(m)))
			}
		}
		if len(table.list) != len(in) || table.bytes != bytes {
			t.Fatalf("%d members of %d bytes, want %d of %d", len(table.list), table.bytes, len(in), bytes)
		}
	}
	for round, span := range []int{12, 40, 3000, 20, 9} {
		for range 6 * span {
			m := strconv.Itoa(rnd.IntN(span))
			switch i := table.findString(m); {
			case i < 0 && !in[m] && rnd.IntN(3) > 0:
				table.add(m)
				in[m] = true
				undo = append(undo, func() { table.removeAt(table.findString(m)); delete(in, m) })
			case i >= 0:
				table.removeAt(i)
				delete(in, m)
				undo = append(undo, func() { table.insertAt(i, m); in[m] = true })
			}
		}
		check()
		if round == 3 { // most of the 3000 go, so that it shrinks
			for i := len(table.list) - 1; i > 4; i-- {
				m := table.removeAt(i / 2)
				delete(in, m)
				undo = append(undo, func() { table.insertAt(i/2, m); in[m] = true })
			}
			check()
		}
	}
	order := map[int]string{}
	for len(undo) > 0 {
		order[len(undo)] = fmt.Sprint(table.list[:min(len(table.list), 3)])
		undo[len(undo)-1]()
		undo = undo[:len(undo)-1]
		if len(undo)%500 == 0 {
			check()
		}
	}
	if len(table.list) != 0 {
		t.Fatalf("%q are left", table.list)
	}
}

func TestSRandMemberDrawsMembers(t *testing.T) {
	var members [][]byte
	for i := range 40 {
		members = append(members, []byte(strconv.Itoa(i)))
	}
	m := newModel()
	*m.object([]byte("k")) = NewSet(members)
	drawn := map[string]int{}
	for _, count := range []int{1, 3, 20, 39, 40, 50, -60} {
		for range 40 {
			reply, ok := m.do(split("SRANDMEMBER k "+strconv.Itoa(count)), 2)
			v, err := resp.NewReader(bytes.NewReader(reply)).ReadValue()
			if !ok || err != nil {
				t.Fatalf("%d: %q %v", count, reply, err)
			}
			want := min(count, 40)
			if count < 0 {
				want = -count
			}
			seen := map[string]bool{}
			for _, e := range v.Elems {
				if !slices.ContainsFunc(members, func(b []byte) bool { return bytes.Equal(b, e.Str) }) {
					t.Fatalf("%q is no member", e.Str)
				}
				if seen[string(e.Str)] && count > 0 {
					t.Fatalf("%d: %q twice", count, e.Str)
				}
				seen[string(e.Str)] = true
				drawn[string(e.Str)]++
			}
			if len(v.Elems) != want {
				t.Fatalf("%d: %d members", count, len(v.Elems))
			}
		}
	}
	if len(drawn) != 40 {
		t.Fatalf("of 40 members %d were ever drawn", len(drawn))
	}
}

func TestPartialSetAsItsTwin(t *testing.T) {
	answered, refused, told := 0, 0, 0
	for seed := range uint64(80) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var base [][]byte
		for i := range 12 {
			if rnd.IntN(2) == 0 || i == 0 {
				base = append(base, []byte(strconv.Itoa(i)))
			}
		}
		w := newPartialTwin(t, NewPartialSet(int64(len(base))), NewSet(slices.Clone(base)))
		w.factOf = func(m []byte) Fact {
			return Fact{Member: m, Present: slices.ContainsFunc(base, func(b []byte) bool { return bytes.Equal(b, m) })}
		}
		for _, m := range []*model{w.part, w.whole} {
			*m.object([]byte("small")) = NewSet(split("1 3 5 20"))
		}
		type step struct{ part, whole []Change }
		var steps []step
		member := func() string { return strconv.Itoa(rnd.IntN(13)) }
		for range 120 {
			var line string
			switch rnd.IntN(12) {
			case 0, 1:
				line = "SADD k " + member() + " " + member() + " " + member()
			case 2, 3:
				line = "SREM k " + member() + " " + member()
			case 4:
				line = "SMISMEMBER k " + member() + " " + member()
			case 5:
				line = "SCARD k"
			case 6:
				line = "SINTERCARD 2 k small"
			case 7:
				line = "SDIFFSTORE d small k"
			case 8:
				line = "SUNIONSTORE d small k"
			case 9:
				line = "SINTERSTORE d small k nokey"
			default:
				line = "SISMEMBER k " + member()
			}
			args := split(line)
			var s step
			s.part, s.whole = w.run(args)
			steps = append(steps, s)
			for len(steps) > 0 && rnd.IntN(3) == 0 {
				s := steps[len(steps)-1]
				steps = steps[:len(steps)-1]
				revertChanges(s.part)
				revertChanges(s.whole)
			}
		}
		answered, refused, told = answered+w.answered, refused+w.refused, told+w.told
	}
	if answered < 4000 || refused < 100 || told < 500 {
		t.Fatalf("too little was tried: %d answered, %d refused, %d members told", answered, refused, told)
	}
}

// What was learnt between a change and its taking back stays known, and the
// change does not.
func TestPartialSetLearnsBetweenChanges(t *testing.T) {
	m := newModel()
	o := m.object([]byte("k"))
	*o = NewPartialSet(10)
	o.Learn([]Fact{{Member: []byte("a")}, {Member: []byte("b"), Present: true}})
	c := m.call(split("SADD k a"))
	c.Run()
	c.Settle()
	add := slices.Clone(c.Changes())
	c = m.call(split("SREM k b"))
	c.Run()
	c.Settle()
	rem := slices.Clone(c.Changes())
	o.Learn([]Fact{{Member: []byte("c"), Present: true}, {Member: []byte("a")}, {Member: []byte("b"), Present: true}})
	revertChanges(rem)
	revertChanges(add)
	for line, want := range map[string]string{"SCARD k": ":10\r\n", "SMISMEMBER k a b c": "*3\r\n:0\r\n:1\r\n:1\r\n"} {
		if got, _ := m.do(split(line), 2); string(got) != want {
			t.Fatalf("%s: %q, want %q", line, got, want)
		}
	}
	c = m.call(split("SISMEMBER k d"))
	c.Run()
	if misses := c.Misses(); len(misses) != 1 || string(misses[0].Member) != "d" || misses[0].Key != 0 {
		t.Fatalf("misses %+v", misses)
	}
}

// One round finds all that an operation on several partial sets will need.
func TestPartialSetsAskedAtOnce(t *testing.T) {
	m := newModel()
	*m.object([]byte("a")) = NewPartialSet(5000)
	*m.object([]byte("b")) = NewPartialSet(5000)
	*m.object([]byte("c")) = NewSet(split("x y"))
	*m.object([]byte("d")) = NewSet(split("y z w"))
	c := m.call(split("SINTER a b c d"))
	c.Run()
	asked := ""
	for _, miss := range c.Misses() {
		asked += fmt.Sprintf("%d:%s ", miss.Key, miss.Member)
	}
	if asked != "0:y 1:y " {
		t.Fatalf("asked for %s", asked)
	}
	for _, line := range []string{"SINTER a b", "SUNION a c", "SDIFF a c", "SMEMBERS a", "SRANDMEMBER a 1", "SSCAN a 0"} {
		c := m.call(split(line))
		if c.Run(); !errors.Is(c.Err(), ErrTooBig) {
			t.Errorf("%s: %v", line, c.Err())
		}
	}
}
