package engine

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/workload"
)

// run runs a command, which must be one that the engine serves.
func (m *model) run(args [][]byte) *Call {
	c := m.call(args)
	c.Run()
	c.Settle()
	return c
}

func (m *model) runLine(line string) *Call { return m.run(split(line)) }

// takenBackFrom is takenBack on strings that are there already, for commands that
// change bytes without counting it as a change: what they leave must be gone once
// an earlier change is taken back.
func takenBackFrom(t *testing.T, rounds uint64, seed func(*rand.Rand) Object, families ...string) {
	t.Helper()
	var chosen []workload.Family
	for _, f := range workload.All() {
		if slices.Contains(families, f.Name) {
			chosen = append(chosen, f)
		}
	}
	type step struct {
		args    [][]byte
		before  map[string]objectState
		changes []Change
	}
	for round := range rounds {
		rnd := rand.New(rand.NewPCG(round, 1))
		g := workload.New(round, workload.Options{Families: chosen, Keys: 2})
		m := newModel()
		for _, name := range []string{"b0", "b1", "p0", "p1"} {
			*m.object([]byte(name)) = seed(rnd)
		}
		var steps []step
		for range 1 + rnd.IntN(40) {
			s := step{args: g.Next(), before: m.state()}
			if Lookup(s.args) == nil || !Lookup(s.args).arityAllows(len(s.args)) {
				continue
			}
			c := m.run(s.args)
			if !c.Dirty() && len(c.Changes()) > 0 {
				t.Fatalf("%q: changes but not dirty", s.args)
			}
			if !c.Dirty() {
				continue
			}
			s.changes = slices.Clone(c.Changes())
			steps = append(steps, s)
		}
		for i := len(steps) - 1; i >= 0; i-- {
			want := m.state()
			for j := len(steps[i].changes) - 1; j >= 0; j-- {
				ch := &steps[i].changes[j]
				for name, o := range m.objects {
					if o == ch.Object() {
						want[name] = steps[i].before[name]
					}
				}
				ch.Revert()
			}
			m.mustBe(t, want, steps[i].args)
		}
	}
}

func TestGrowthHidesNoOldBytes(t *testing.T) {
	t.Parallel()
	m := newModel()
	*m.object([]byte("b")) = NewString(make([]byte, 200))
	if c := m.runLine("APPEND b " + string(bytes.Repeat([]byte{'x'}, 40))); c.Failed() {
		t.Fatal(string(c.Reply()))
	}
	c := m.runLine("APPEND b yyyy") // within the room that the first has made
	for i := range c.Changes() {
		c.Changes()[i].Revert()
	}
	m.runLine("SETBIT b 1951 0")
	if got := m.object([]byte("b")).str[240:]; !bytes.Equal(got, make([]byte, 4)) {
		t.Fatalf("the string grew by %q, not by zeros", got)
	}
}
