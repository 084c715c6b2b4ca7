package command

import (
	"bytes"
	"errors"
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
		if deferrable && class != ClassBlind && class != ClassAccumulating {
			t.Errorf("%q: deferrable, but of class %v", args, class)
		}
		if class != ClassRead && class != ClassPassthrough && class != ClassUnknown && !s.MayWrite() {
			t.Errorf("%q: of class %v, but MayWrite is false", args, class)
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

// checkCanonical checks that the canonical form is final, of the same key, and no
// less deferrable than the command.
func checkCanonical(t *testing.T, s *Spec, args [][]byte, now time.Time) {
	canonical, err := Canonical(args, now)
	var refused ReplyError
	switch {
	case errors.As(err, &refused):
		return
	case err != nil:
		t.Fatalf("%q: error %v is not a ReplyError", args, err)
	case !s.Deferrable(args):
		return
	}
	if !Lookup(string(canonical[0])).Deferrable(canonical) {
		t.Errorf("%q: deferrable, but its canonical form %q is not", args, canonical)
	}
	if string(canonical[1]) != string(args[1]) {
		t.Errorf("%q: the canonical form %q has another key", args, canonical)
	}
	again, err := Canonical(canonical, now.Add(time.Hour))
	if err != nil || len(again) != len(canonical) || &again[0] != &canonical[0] {
		t.Errorf("%q: the canonical form %q becomes %q, %v", args, canonical, again, err)
	}
}
