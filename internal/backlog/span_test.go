package backlog

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSpans compares the ranges with a set that holds each sequence.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		model := make(map[uint64]bool)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			seq := rapid.Uint64Range(1, 24).Draw(t, "seq")
			if rapid.IntRange(0, 5).Draw(t, "what") > 0 {
				if got, want := s.add(seq), !model[seq]; got != want {
					t.Fatalf("add(%d) = %v, want %v: %v", seq, got, want, s)
				}
				model[seq] = true
			} else {
				taken := s.take(seq)
				for i := range uint64(25) {
					if got, want := taken.has(i), model[i] && i <= seq; got != want {
						t.Fatalf("take(%d): %v; has %d: %v, want %v", seq, taken, i, got, want)
					}
					if i <= seq {
						delete(model, i)
					}
				}
				taken.check(t)
			}
			for i := range uint64(25) {
				if s.has(i) != model[i] {
					t.Fatalf("has %d: %v, want %v: %v", i, s.has(i), model[i], s)
				}
			}
			s.check(t)
		}
	})
}

// check fails where ranges are empty, out of order or touch.
func (s spans) check(t *rapid.T) {
	for i, r := range s {
		if r.from > r.to || i > 0 && r.from <= s[i-1].to+1 {
			t.Fatalf("ranges %v", s)
		}
	}
}
