package slot

import (
	"fmt"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// TestOf: the slots that Redis gives these keys, tagged and not.
func TestOf(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]uint16{
		"":                     0,
		"foo":                  12182,
		"bar":                  5061,
		"123456789":            0x31c3,
		"{foo}":                12182,
		"{user1000}.following": 3443,
		"foo{}{bar}":           8363,
		"foo{{bar}}zap":        4015,
		"a{foo}b":              12182,
		"{foo}{bar}":           12182,
	} {
		if got := Of(key); got != want || Of([]byte(key)) != want {
			t.Errorf("the slot of %q is %d, want %d", key, got, want)
		}
	}
}

// TestOfAsTheServer: a server says the same.
func TestOfAsTheServer(t *testing.T) {
	t.Parallel()
	c := redistest.StartClusterT(t, redistest.ClusterOptions{Primaries: 1})
	for _, key := range []string{"", "a", "{}a", "{}{a}", "a{b}c", "a{b", "a}b{c}", "{{a}}", "a{}b{c}", "}{", "\x00\xff{\x80}"} {
		want, err := c.Slot(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if got := Of(key); int(got) != want {
			t.Errorf("the slot of %q is %d, the server says %d", key, got, want)
		}
	}
}

// TestTag: every slot has a tag, which is in it.
func TestTag(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool, Count)
	for s := range uint16(Count) {
		tag := Tag(s)
		if len(tag) == 0 || len(tag) > maxTag || seen[tag] {
			t.Fatalf("the tag of slot %d is %q", s, tag)
		}
		seen[tag] = true
		if got := Of(fmt.Sprintf("prefix:{%s}:rest", tag)); got != s {
			t.Errorf("tag %q of slot %d is in slot %d", tag, s, got)
		}
	}
	if Tag(Count+5) != Tag(5) {
		t.Error("a slot beyond the last does not stand for the remainder")
	}
}

func BenchmarkOf(b *testing.B) {
	for b.Loop() {
		Of("session:0123456789")
	}
}
