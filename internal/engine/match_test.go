package engine

import (
	"strings"
	"testing"
)

// TestHashScan compares patterns with a server's; here are those that it is not
// asked, and two properties.
func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"*", "", false},
		{"*", "a", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-b-b-cd", false},
		{"*ab", "aab", true},
		{"*[0-9]", "a1b2", true},
		{"[^a]*", "ba", true},
		{"\xff?", "\xff\x00", true},
	} {
		if got := Match([]byte(c.pattern), []byte(c.s)); got != c.want {
			t.Errorf("%q on %q: %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
	// Exponential in a matcher that tries every star anew: the test would not end.
	if Match([]byte(strings.Repeat("*a", 60)+"b"), []byte(strings.Repeat("a", 2000))) {
		t.Error("a pattern that ends in b matches what has none")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte("a*[^b-c]\\?"), []byte("abc"))
	f.Add([]byte("[a-"), []byte("["))
	f.Add([]byte("[\\"), []byte("\\"))
	f.Fuzz(func(t *testing.T, pattern, s []byte) {
		Match(pattern, s) // any pattern at all
		var literal []byte
		for _, ch := range s {
			literal = append(literal, '\\', ch)
		}
		if !Match(literal, s) {
			t.Errorf("%q with every byte escaped does not match itself", s)
		}
		if len(s) > 0 && !Match(append(literal, '*'), s) {
			t.Errorf("%q does not match itself and a star", s)
		}
	})
}
