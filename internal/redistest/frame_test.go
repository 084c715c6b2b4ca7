package redistest

import (
	"slices"
	"strings"
	"testing"
)

// ends returns where frames end in the stream, given in pieces of the size.
func ends(stream string, size int) (at []int, broken bool) {
	var f framer
	for pos := 0; pos < len(stream); {
		piece := stream[pos:min(pos+size, len(stream))]
		for len(piece) > 0 {
			n, ended := f.next([]byte(piece))
			pos += n
			piece = piece[n:]
			if ended {
				at = append(at, pos)
			}
		}
	}
	return at, f.broken
}

func TestFramer(t *testing.T) {
	for _, c := range []struct {
		about  string
		frames []string
	}{
		{"requests", []string{"*1\r\n$4\r\nPING\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"}},
		{"payload that looks like a header", []string{"*2\r\n$4\r\nECHO\r\n$8\r\n*9\r\n$9\r\n\r\n", "*1\r\n$4\r\nPING\r\n"}},
		{"one line each", []string{"+OK\r\n", ":1\r\n", "-ERR no\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(12345678901234567890\r\n"}},
		{"nulls", []string{"$-1\r\n", "*-1\r\n", "+OK\r\n"}},
		{"empty", []string{"*0\r\n", "%0\r\n", "$0\r\n\r\n"}},
		{"nested", []string{"*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n~2\r\n$1\r\nb\r\n*0\r\n", ":2\r\n"}},
		{"attributes", []string{"|1\r\n+a\r\n+b\r\n:1\r\n", "*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n", ":2\r\n"}},
		{"verbatim string and bulk error", []string{"=5\r\ntxt:x\r\n", "!5\r\nERR x\r\n"}},
		{"push", []string{">2\r\n+a\r\n+b\r\n", "+OK\r\n"}},
		{"long line", []string{"-ERR " + strings.Repeat("x", 100) + "\r\n", "+OK\r\n"}},
		{"inline request", []string{"PING\r\n", "\r\nPING\r\n"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			var want []int
			total := 0
			for _, frame := range c.frames {
				total += len(frame)
				want = append(want, total)
			}
			stream := strings.Join(c.frames, "")
			for size := 1; size <= len(stream); size++ {
				if got, broken := ends(stream, size); broken || !slices.Equal(got, want) {
					t.Fatalf("in pieces of %d: frames end at %v (broken: %t), want %v", size, got, broken, want)
				}
			}
		})
	}
}

func TestFramerGivesUp(t *testing.T) {
	for _, stream := range []string{
		"$x\r\n+OK\r\n",
		"*99999999999\r\n+OK\r\n",
		strings.Repeat("*1\r\n", maxNesting+1) + "+OK\r\n",
	} {
		if got, broken := ends(stream, len(stream)); !broken || len(got) > 0 {
			t.Errorf("%.20q: broken = %t, frames end at %v", stream, broken, got)
		}
	}
}

func FuzzFramer(f *testing.F) {
	f.Add("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n+OK\r\n", 3)
	f.Add("|1\r\n+a\r\n+b\r\n%1\r\n:1\r\n$-1\r\n", 1)
	f.Add("*99\r\n$x\r\n", 2)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		if size < 1 {
			size = 1
		}
		whole, broken := ends(stream, max(1, len(stream)))
		pieces, brokenToo := ends(stream, size)
		if !slices.Equal(whole, pieces) || broken != brokenToo {
			t.Errorf("in pieces of %d: %v (%t), whole: %v (%t)", size, pieces, brokenToo, whole, broken)
		}
	})
}

// TestFramerTLS: TLS is seen by its first byte, or what begins it would wait for
// the end of a request that never comes.
func TestFramerTLS(t *testing.T) {
	for _, stream := range []string{"\x16", "\x16\x03\x01\x02", "\x16\x03\n"} {
		if at, broken := ends(stream, 1); !broken || len(at) != 0 {
			t.Errorf("%q: broken %t, frames end at %v", stream, broken, at)
		}
	}
	if at, broken := ends("*1\r\n$1\r\n\x16\r\n", 1); broken || len(at) != 1 {
		t.Errorf("in a payload: broken %t, frames end at %v", broken, at)
	}
}
