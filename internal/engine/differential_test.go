package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

func TestKeysAsTheServer(t *testing.T)    { random(t, 3000, "keys", "strings") }
func TestStringsAsTheServer(t *testing.T) { random(t, 3000, "strings") }

func TestKeysTakenBack(t *testing.T)    { takenBack(t, 1000, "keys", "strings") }
func TestStringsTakenBack(t *testing.T) { takenBack(t, 1000, "strings") }

// takenBack runs n commands of the families and takes them back, some at once
// and the others, as the overlay does, after later ones, newest first. Each time
// every key must be what it was before.
func takenBack(t *testing.T, n int, families ...string) {
	t.Helper()
	var chosen []workload.Family
	for _, f := range workload.All() {
		if slices.Contains(families, f.Name) {
			chosen = append(chosen, f)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := workload.New(seed, workload.Options{Families: chosen})
	m := newModel()
	m.now = func() int64 { return 1_700_000_000_000 }
	type step struct {
		args    [][]byte
		before  map[string]objectState
		changes []Change
	}
	var steps []step
	back := func() {
		s := steps[len(steps)-1]
		steps = steps[:len(steps)-1]
		for i := len(s.changes) - 1; i >= 0; i-- {
			s.changes[i].Revert()
		}
		m.mustBe(t, s.before, s.args)
	}
	for range n {
		args := g.Next()
		before := m.state()
		call := m.call(args)
		call.Run()
		if call.Err() != nil || call.Failed() || g.Chance(40) {
			call.Revert()
			m.mustBe(t, before, args)
			continue
		}
		if !call.Dirty() {
			m.mustBe(t, before, args)
		}
		call.Settle()
		steps = append(steps, step{args, before, slices.Clone(call.Changes())})
		if len(steps) == 40 {
			for range g.IntN(40) {
				back()
			}
		}
	}
	for len(steps) > 0 {
		back()
	}
}

// call is a call of the command on the objects of the model.
func (m *model) call(args [][]byte) *Call {
	s := Setup{Command: Lookup(args), Args: args, Now: m.now(), Server: m.server}
	spec := command.Lookup(string(args[0]))
	if idx, err := spec.AppendKeys(nil, len(args), func(i int) string { return string(args[i]) }); err == nil {
		s.KeyArgs = idx
		for _, i := range idx {
			s.Keys = append(s.Keys, m.object(args[i]))
		}
	}
	c := new(Call)
	c.Begin(s)
	return c
}

// objectState is what can be seen of an object.
type objectState struct {
	restore  []byte
	size     int64
	typ      Type
	expireAt int64
	opaque   bool
}

func (s objectState) String() string {
	return fmt.Sprintf("%s, %d bytes, deadline %d, opaque %v: %q", s.typ, s.size, s.expireAt, s.opaque, s.restore)
}

func (m *model) state() map[string]objectState {
	state := make(map[string]objectState)
	for name, o := range m.objects {
		o.Expire(m.now())
		restore, _ := o.AppendRestore(nil, name)
		state[name] = objectState{restore, o.Size(), o.typ, o.expireAt, o.opaque}
	}
	return state
}

func (m *model) mustBe(t *testing.T, want map[string]objectState, after [][]byte) {
	t.Helper()
	got := m.state()
	for name, g := range got {
		w := want[name]
		if w.restore == nil { // the key was not named yet
			w.restore, _ = new(Object).AppendRestore(nil, name)
		}
		if !bytes.Equal(g.restore, w.restore) || g.size != w.size || g.typ != w.typ ||
			g.expireAt != w.expireAt || g.opaque != w.opaque {
			t.Fatalf("%q was\n%s\nand after taking back %q is\n%s", name, w, after, g)
		}
		if m.objects[name].mark != 0 {
			t.Fatalf("%q is still marked after %q", name, after)
		}
	}
}
