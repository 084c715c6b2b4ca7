package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestHLLAsTheServer(t *testing.T) { random(t, 3000, "hll") }

// Other commands on the bytes of a HyperLogLog, and its commands on other strings.
func TestHLLAsStringsAsTheServer(t *testing.T) { random(t, 3000, "hll", "hll", "strings", "bitmaps") }

func TestHLLCommandsByHand(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			o := startOracle(t, proto)
			o.lines(hllLines)
			o.sameState()
		})
	}
}

const hllLines = `
	PFCOUNT none
	PFCOUNT none nothing
	EXISTS none
	PFADD p
	GET p
	PFADD p
	PFCOUNT p
	GET p
	PFADD p a b c
	GET p
	PFADD p a
	PFCOUNT p p
	GET p
	PFCOUNT p
	GET p
	PFADD p a
	GET p
	PFADD p "" d
	PFCOUNT p
	PEXPIREAT p 4000000000000
	PFMERGE p
	PEXPIRETIME p
	GET p
	PFMERGE d
	GET d
	PFMERGE d none nothing
	PFMERGE d p none
	GET d
	PFADD e x y z
	PFMERGE d e p
	PFCOUNT d
	PFCOUNT d e p none
	STRLEN d
	SET s "HYLL"
	PFADD s a
	PFCOUNT s
	PFCOUNT p s
	PFMERGE p s
	PFMERGE s p
	SET s "HYLL12345678901"
	PFCOUNT s
	SET s "HYLL\x00abc12345678\x00"
	PFCOUNT s
	SET s "HYLL\x02abc12345678\x7f\xff"
	PFCOUNT s
	SET s "HYLL\x01abc1234567\x00\x7f\xff"
	PFCOUNT s
	PFCOUNT s s
	SET s "HYLL\x01abc1234567\x80\x7f\xfe"
	PFCOUNT s
	PFCOUNT s s
	PFMERGE d s
	GET s
	SET s "HYLL\x01abc1234567\x80"
	PFADD s a
	PFCOUNT s
	GET s
	SET s "HYLL\x01abc1234567\x80\x40"
	PFADD s a
	PFCOUNT s
	GET s
	PFADD c a
	APPEND c xyz
	PFADD c a b
	GET c
	PFCOUNT c
	PFCOUNT c c
	PFMERGE n c
	EXISTS n
	RPUSH l a
	PFADD l a
	PFCOUNT l
	PFCOUNT p l
	PFMERGE l p
	PFMERGE p l`

// The bytes and counts all the way from the first element to where most registers
// are taken, past the change to the dense encoding.
func TestHLLOfManyElements(t *testing.T) {
	t.Parallel()
	o := startOracle(t, 2)
	for n, step := 0, 1; n < 120_000; step = 1 + n/8 {
		args := [][]byte{[]byte("PFADD"), []byte("p")}
		for range step {
			args = append(args, fmt.Appendf(nil, "element %d", n))
			n++
		}
		o.run(args)
		if n%3 == 0 {
			o.lines("GET p")
		}
		o.lines("PFCOUNT p\nGET p\nPFCOUNT p nothing")
		if n%7 == 0 {
			o.lines("PFADD q another\nPFMERGE q p\nPFMERGE p q\nPFCOUNT q p\nGET q\nDEL q")
		}
	}
	o.sameState()
}

// One element at a time around the length at which the encoding changes.
func TestHLLBecomesDenseWhereTheServerDoes(t *testing.T) {
	t.Parallel()
	o := startOracle(t, 2)
	args := [][]byte{[]byte("PFADD"), []byte("p")}
	for n := range 1300 {
		args = append(args, fmt.Appendf(nil, "element %d", n))
	}
	o.run(args)
	for n := 1300; len(o.model.object([]byte("p")).str) < hllDenseLen; n++ {
		o.run([][]byte{[]byte("PFADD"), []byte("p"), fmt.Appendf(nil, "element %d", n)})
		o.lines("GET p")
	}
}

func TestHLLChangesAreTakenBack(t *testing.T) {
	t.Parallel()
	takenBackFrom(t, 25, func(rnd *rand.Rand) Object {
		m := newModel()
		args := [][]byte{[]byte("PFADD"), []byte("p")}
		for n := range rnd.IntN(10) * rnd.IntN(500) {
			args = append(args, strconv.AppendInt(nil, int64(n), 10))
		}
		m.run(args)
		return NewString(bytes.Clone(m.object([]byte("p")).str))
	}, "hll", "bitmaps")
}

// A count that is kept in the string must not outlive the registers it counts.
func TestKeptCountGoesWithTheChangeItCounts(t *testing.T) {
	t.Parallel()
	for _, size := range []int{3, 5000} { // sparse and dense
		for _, change := range []string{"PFADD p one two three four five six", "BITFIELD p INCRBY u8 136 1", "APPEND p x"} {
			m := newModel()
			for n := range size {
				m.runLine("PFADD p " + strconv.Itoa(n))
			}
			before := bytes.Clone(m.object([]byte("p")).str)
			changed := m.runLine(change)
			if !changed.Dirty() {
				t.Fatalf("%s changes nothing", change)
			}
			after := bytes.Clone(m.object([]byte("p")).str)
			count := m.runLine("PFCOUNT p")
			if count.Dirty() || len(count.Changes()) > 0 {
				t.Error("PFCOUNT is a change")
			}
			if !count.Failed() && bytes.Equal(after, m.object([]byte("p")).str) {
				t.Error("the count was not kept")
			}
			changed.Revert()
			if !bytes.Equal(before, m.object([]byte("p")).str) {
				t.Errorf("%d elements: not what it was before %s", size, change)
			}
		}
	}
}

func TestHLLWithoutChange(t *testing.T) {
	t.Parallel()
	m := newModel()
	for _, step := range []struct {
		line  string
		dirty bool
	}{
		{"PFADD p", true},
		{"PFADD p", false},
		{"PFADD p a b", true},
		{"PFADD p b a", false},
		{"PFMERGE p", false}, // marked as changed already
		{"PFCOUNT p", false},
		{"PFMERGE p", true}, // marks it
		{"PFMERGE p p", false},
		{"PFMERGE q p", true},
		{"PFMERGE q p", false},
		{"PFMERGE new none", true},
	} {
		if c := m.runLine(step.line); c.Dirty() != step.dirty {
			t.Errorf("%s: dirty %v, want %v", step.line, c.Dirty(), step.dirty)
		}
	}
}
