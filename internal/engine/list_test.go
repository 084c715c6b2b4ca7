package engine

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

func TestListsAsTheServer(t *testing.T) { random(t, 3000, "lists") }

func TestListsTakenBack(t *testing.T) { takenBack(t, 3000, "lists", "keys") }

// listLines runs lines on a server and here.
func listLines(t *testing.T, text string) {
	t.Helper()
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			o := startOracle(t, proto)
			o.lines(text)
			o.sameState()
		})
	}
}

func TestListReplies(t *testing.T) {
	listLines(t, `
		RPUSH l a b c a b c
		SET s v
		LPOS l a RANK 0
		LPOS l a RANK -9223372036854775808
		LPOS l a RANK -9223372036854775808 COUNT 0
		LPOS l a RANK -9223372036854775807
		LPOS l a RANK x
		LPOS l a COUNT -1
		LPOS l a COUNT x
		LPOS l a MAXLEN -1
		LPOS l a RANK
		LPOS l a FOO 1
		LPOS nokey a RANK 0
		LPOS nokey a COUNT 0
		LPOS nokey a
		LPOS s a RANK 0
		LPOS s a
		LPOS l a COUNT 0
		LPOS l a COUNT 9223372036854775807
		LPOS l a RANK -1 COUNT 0
		LPOS l a RANK 2 COUNT 1
		LPOS l a RANK 9
		LPOS l a RANK 9 COUNT 2
		LPOS l a MAXLEN 1 COUNT 0
		LPOS l a RANK -1 MAXLEN 3
		LPOS l a RANK -1 MAXLEN 2
		LPOS l a RANK 1 RANK -1
		LPOS l a "rank\x00x" 2
		LSET nokey x v
		LSET s x v
		LSET l x v
		LSET l 6 v
		LSET l -7 v
		RPUSH odd a b c
		LSET odd -9223372036854775808 v
		LSET odd 9223372036854775807 w
		LSET odd 4294967297 x
		LSET odd 2147483648 y
		LSET odd -2147483649 y
		LRANGE odd 0 -1
		LINDEX nokey x
		LINDEX s x
		LINDEX l x
		LINDEX l -9223372036854775808
		LRANGE nokey x 1
		LRANGE s 0 x
		LRANGE s 0 1
		LRANGE l 3 1
		LRANGE l -9223372036854775808 9223372036854775807
		LTRIM nokey x 1
		LTRIM nokey 0 1
		LTRIM s 0 1
		LTRIM s 0 x
		LREM nokey x a
		LREM nokey 1 a
		LREM l -9223372036854775808 zz
		LREM s x a
		LINSERT nokey foo a b
		LINSERT s foo a b
		LINSERT s BEFORE a b
		LINSERT l "before\x00x" zz b
		LINSERT l AFTER c z
		LPUSHX nokey a
		LPUSHX s a
		RPUSH s a
		LPUSH l
		LLEN s
		LREM l -9223372036854775807 a
		LRANGE l 0 -1
		LREM l 0 b
		LREM l 0 c
		LRANGE l 0 -1
		LREM l 5 z
		EXISTS l
		RPUSH l a b
		PEXPIREAT l 4000000000000
		LTRIM l 5 1
		RPUSH l c
		RPUSH gone a b
		LRANGE gone 9223372036854775807 -9223372036854775808
		LTRIM gone 9223372036854775807 -9223372036854775808
		LSET l 0 ""
		LTRIM l 0 -1
	`)
}

// TestListAsSlice drives long lists, whose ring grows, wraps and shrinks.
func TestListAsSlice(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 0))
	for range 20 {
		l, want := &list{}, []string(nil)
		for step := range 2000 {
			s := strconv.Itoa(step)
			i := 0
			if len(want) > 0 {
				i = rnd.IntN(len(want))
			}
			switch op := rnd.IntN(9); {
			case op < 3:
				l.pushFront(s)
				want = slices.Insert(want, 0, s)
			case op < 5:
				l.pushBack(s)
				want = append(want, s)
			case op == 5:
				l.insert(i, s)
				want = slices.Insert(want, i, s)
			case len(want) == 0:
			case op == 6:
				l.remove(i)
				want = slices.Delete(want, i, i+1)
			case op == 7:
				l.replace(i, s)
				want[i] = s
			case rnd.IntN(20) == 0:
				l.cut(int64(i), int64(len(want)-i-1)/2)
				want = want[i : len(want)-(len(want)-i-1)/2]
			}
			var bytes int64
			for _, s := range want {
				bytes += int64(len(s))
			}
			if !slices.Equal(l.slice(0, l.n), want) || l.bytes != bytes {
				t.Fatalf("step %d: have %d elements of %d bytes, want %d of %d", step, l.n, l.bytes, len(want), bytes)
			}
		}
		used := 0
		for _, s := range l.ring {
			if s != "" {
				used++
			}
		}
		if used != l.n {
			t.Fatalf("%d places of the ring keep something alive, of %d elements", used, l.n)
		}
	}
}

// partialTwin runs one command on a partial object and on one that holds the same, but
// whole. What the partial one misses it is told, until it answers or refuses; then
// the other must agree, and what is refused is taken back there.
type partialTwin struct {
	t           *testing.T
	part, whole *model
	factOf      func(m []byte) Fact // of the state that the partial object was made from

	answered, refused, told int
}

func newPartialTwin(t *testing.T, part, whole Object) *partialTwin {
	w := &partialTwin{t: t, part: newModel(), whole: newModel()}
	now := func() int64 { return 1_700_000_000_000 }
	w.part.now, w.whole.now = now, now
	*w.part.object([]byte("k")), *w.whole.object([]byte("k")) = part, whole
	return w
}

// run returns the changes of the partial object, for Revert, and of the other.
func (w *partialTwin) run(args [][]byte) (part, whole []Change) {
	w.t.Helper()
	want := w.whole.call(args)
	want.Run()
	for range 3 {
		got := w.part.call(args)
		got.Run()
		switch {
		case got.Err() != nil:
			if !errors.Is(got.Err(), ErrTooBig) || !w.part.object([]byte("k")).Partial() {
				w.t.Fatalf("%q: %v", args, got.Err())
			}
			w.refused++
			got.Revert()
			want.Revert()
			return nil, nil
		case len(got.Misses()) > 0:
			got.Revert()
			var facts []Fact
			for _, m := range got.Misses() {
				w.told++
				facts = append(facts, w.factOf(m.Member))
			}
			w.part.object([]byte("k")).Learn(facts)
			continue
		}
		if !bytes.Equal(got.Reply(), want.Reply()) || got.Dirty() != want.Dirty() {
			w.t.Fatalf("%q: known in part it answers %q (dirty %v), whole %q (dirty %v)",
				args, got.Reply(), got.Dirty(), want.Reply(), want.Dirty())
		}
		w.answered++
		got.Settle()
		want.Settle()
		return slices.Clone(got.Changes()), slices.Clone(want.Changes())
	}
	w.t.Fatalf("%q misses members over and over", args)
	return nil, nil
}

// revertChanges takes changes back, newest first.
func revertChanges(changes []Change) {
	for i := len(changes) - 1; i >= 0; i-- {
		changes[i].Revert()
	}
}

func TestPartialListAsItsTwin(t *testing.T) {
	answered, refused, closed := 0, 0, 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var base [][]byte
		for i := range 1 + rnd.IntN(12) {
			base = append(base, []byte("base"+strconv.Itoa(i)))
		}
		w := newPartialTwin(t, NewPartialList(int64(len(base))), NewList(base))
		type step struct {
			part, whole []Change
			size        int64
		}
		var steps []step
		index := func() string { return strconv.Itoa(rnd.IntN(24) - 12) }
		for range 150 {
			size := w.part.object([]byte("k")).Size()
			var line string
			switch rnd.IntN(12) {
			case 0, 1:
				line = "LPUSH k l" + index() + " m" + index()
			case 2, 3:
				line = "RPUSHX k r" + index() + " s" + index()
			case 4:
				line = "LTRIM k " + strconv.Itoa(rnd.IntN(3)) + " " + strconv.Itoa(-1-rnd.IntN(3))
			case 5:
				line = "LTRIM k " + index() + " " + index()
			case 6:
				line = "LSET k " + index() + " x"
			case 7:
				line = "LINDEX k " + index()
			case 8:
				line = "LLEN k"
			case 9:
				line = "LREM k 1 m" + index()
			default:
				line = "LRANGE k " + index() + " " + index()
			}
			s := step{size: size}
			s.part, s.whole = w.run(split(line))
			steps = append(steps, s)
			for len(steps) > 0 && rnd.IntN(3) == 0 {
				s := steps[len(steps)-1]
				steps = steps[:len(steps)-1]
				revertChanges(s.part)
				revertChanges(s.whole)
				if got := w.part.object([]byte("k")).Size(); got != s.size {
					t.Fatalf("size %d, taken back %d", s.size, got)
				}
			}
			if o := w.part.object([]byte("k")); o.Exists() && !o.Partial() {
				closed++
			}
		}
		answered, refused = answered+w.answered, refused+w.refused
	}
	if answered < 3000 || refused < 300 || closed < 300 {
		t.Fatalf("too little was tried: %d answered, %d refused, %d times the gap was closed", answered, refused, closed)
	}
}

// TestLongValuesRestored: what brings back a long list or set does so in several
// commands.
func TestLongValuesRestored(t *testing.T) {
	elems := benchElements(2*elementChunk + 76)
	for _, want := range []Object{NewList(elems), NewSet(elems)} {
		want.SetExpireAt(2_000_000_000_000)
		commands, ok := want.AppendRestore(nil, "k")
		if !ok {
			t.Fatalf("a whole %s cannot be restored", want.Type())
		}
		m, n := newModel(), 0
		m.now = func() int64 { return 1_700_000_000_000 }
		for rest := commands; len(rest) > 0; n++ {
			args, size, err := resp.ParseCommand(rest, nil)
			if err != nil {
				t.Fatal(err)
			}
			if reply, ok := m.do(args, 2); !ok || reply[0] == '-' {
				t.Fatalf("%q: %q", args[0], reply)
			}
			rest = rest[size:]
		}
		got := m.object([]byte("k"))
		again, _ := got.AppendRestore(nil, "k")
		if !bytes.Equal(commands, again) || got.Size() != want.Size() || n != 5 {
			t.Fatalf("a %s of %d bytes became one of %d by %d commands", want.Type(), want.Size(), got.Size(), n)
		}
	}
	for _, o := range []Object{NewPartialList(3), NewPartialSet(3)} {
		if commands, ok := o.AppendRestore(nil, "k"); ok || len(commands) > 0 {
			t.Fatalf("a %s known in part would be restored by %q", o.Type(), commands)
		}
	}
}

func TestNoListOfNothing(t *testing.T) {
	for _, o := range []Object{NewList(nil), NewPartialList(0), NewSet(nil), NewPartialSet(0)} {
		if o.Exists() || o.Size() != 0 {
			t.Fatalf("a value of no elements is a %s", o.Type())
		}
	}
}
