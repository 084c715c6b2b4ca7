package command

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

// FuzzCommand gives any command, one argument a line, to everything that reads
// arguments: nothing may panic, and the answers must agree with each other.
func FuzzCommand(f *testing.F) {
	f.Fuzz(func(t *testing.T, lines []byte, ms int64) {
		args := bytes.Split(lines, []byte("\n"))
		s := Lookup(string(args[0]))
		class := s.Class(args)
		if s.Repeatable(args) && (class == ClassScript || class == ClassPublish || class == ClassClaiming || class == ClassUnknown) {
			t.Errorf("%q: repeatable, but of class %v", args, class)
		}
		deferrable := s.Deferrable(args)
		if deferrable && class != ClassBlind && class != ClassAccumulating && class != ClassConditional {
			t.Errorf("%q: deferrable, but of class %v", args, class)
		}
		if class != ClassRead && class != ClassPassthrough && class != ClassUnknown && !s.MayWrite() {
			t.Errorf("%q: of class %v, but MayWrite is false", args, class)
		}
		if decision := s.Default(args); (decision == DecisionDefer) != deferrable || (decision == DecisionRead) != (class == ClassRead) {
			t.Errorf("%q: of class %v, deferrable %t, but the decision is %v", args, class, deferrable, decision)
		}
		if !s.Barrier(args) && (class == ClassScript || class == ClassClaiming || class == ClassUnknown) {
			t.Errorf("%q: of class %v, but no barrier", args, class)
		}
		if s.Estimated(args) && class != ClassAccumulating && class != ClassUnknown {
			t.Errorf("%q: estimated, but of class %v", args, class)
		}
		keys, err := s.AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
		if err != nil && !errors.Is(err, ErrKeys) {
			t.Errorf("%q: error %v", args, err)
		}
		for _, key := range keys {
			if key < 1 || key >= len(args) {
				t.Errorf("%q: key at %d", args, key)
			}
		}
		checkCanonical(t, s, args, time.UnixMilli(ms))
	})
}

// checkCanonical checks that the canonical form is final, of the same keys, and of
// the same class.
func checkCanonical(t *testing.T, s *Spec, args [][]byte, now time.Time) {
	canonical, err := Canonical(args, now)
	if err != nil {
		t.Fatalf("%q: error %v", args, err)
	}
	if s == nil || &canonical[0] == &args[0] {
		return
	}
	c := Lookup(string(canonical[0]))
	if got, want := c.Class(canonical), s.Class(args); got != want {
		t.Errorf("%q: of class %v, but its canonical form %q of %v", args, want, canonical, got)
	}
	if c.Deferrable(canonical) != s.Deferrable(args) {
		t.Errorf("%q: deferrable %t, but not its canonical form %q", args, s.Deferrable(args), canonical)
	}
	if got, want := keysOf(c, canonical), keysOf(s, args); !slices.Equal(got, want) {
		t.Errorf("%q: keys %q, in its canonical form %q", args, want, got)
	}
	again, err := Canonical(canonical, now.Add(time.Hour))
	if err != nil || len(again) != len(canonical) || &again[0] != &canonical[0] {
		t.Errorf("%q: the canonical form %q becomes %q, %v", args, canonical, again, err)
	}
}

// keysOf is the keys themselves, nil where they cannot be told.
func keysOf(s *Spec, args [][]byte) []string {
	var keys []string
	indexes, err := appendKeys(s, args)
	if err != nil {
		return nil
	}
	for _, i := range indexes {
		keys = append(keys, string(args[i]))
	}
	return keys
}
