package resp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// digests is the digest of b from bytes and from a stream, which must agree.
func digests(t *testing.T, b string) uint64 {
	t.Helper()
	d, rest := NewDigest(), []byte(b)
	for len(rest) > 0 {
		next, n, err := d.Add(rest)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		d, rest = next, rest[n:]
	}
	for name, r := range map[string]*Reader{
		"at once":       NewReader(strings.NewReader(b)),
		"byte for byte": NewReader(iotest.OneByteReader(strings.NewReader(b))),
	} {
		s := NewDigest()
		for {
			next, fault, err := r.ReadDigest(s)
			if err != nil {
				break
			}
			if fault.IsError() {
				next, _, _ = s.Add(AppendError(nil, fault.Text()))
			}
			s = next
		}
		if s != d {
			t.Errorf("%.60q: read %s its digest is %d, else %d", b, name, s, d)
		}
	}
	return d.Sum()
}

func TestDigestIsTheSameInBothProtocols(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"$-1\r\n", "_\r\n"},
		{"*-1\r\n", "_\r\n"},
		{"$3\r\n1.5\r\n", ",1.5\r\n"},
		{":1\r\n", "#t\r\n"},
		{":0\r\n", "#f\r\n"},
		{"$4\r\ntext\r\n", "=8\r\ntxt:text\r\n"},
		{"*2\r\n$1\r\na\r\n:2\r\n", "~2\r\n$1\r\na\r\n:2\r\n"},
		{"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "%1\r\n$1\r\na\r\n$1\r\nb\r\n"},
		{"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n", "*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n"},
		{"+OK\r\n*0\r\n", "+OK\r\n~0\r\n"},
		{"$2\r\n12\r\n", "(12\r\n"},
	} {
		if a, b := digests(t, c[0]), digests(t, c[1]); a != b {
			t.Errorf("%q and %q differ", c[0], c[1])
		}
	}
}

func TestDigestTellsApart(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	for _, b := range []string{
		"", "+OK\r\n", "+OK\r\n+OK\r\n", ":1\r\n", ":2\r\n", "$1\r\n1\r\n", "$-1\r\n", "*0\r\n", "$0\r\n\r\n", "-ERR x\r\n",
		"*1\r\n$-1\r\n$0\r\n\r\n", "*2\r\n:1\r\n:2\r\n", "*2\r\n:2\r\n:1\r\n", "$4\r\n\r\n\r\n\r\n",
		"$100000\r\n" + strings.Repeat("x", 100000) + "\r\n", "$100000\r\n" + strings.Repeat("x", 99999) + "y\r\n",
	} {
		d := digests(t, b)
		if other, ok := seen[d]; ok {
			t.Errorf("%.40q and %.40q have one digest", b, other)
		}
		seen[d] = b
	}
}

// TestDigestStays: journals hold it.
func TestDigestStays(t *testing.T) {
	t.Parallel()
	if got := digests(t, "+OK\r\n"); got != 0x18a923c7367632ab {
		t.Errorf("%#x", got)
	}
	if NewDigest().Sum() == 0 || Digest(0).Sum() != 1 {
		t.Error("a digest is 0")
	}
}

func TestDigestOfDamage(t *testing.T) {
	t.Parallel()
	for _, b := range []string{"x\r\n", "$-2\r\n", "$a\r\n", "+OK\n", "=3\r\nabc\r\n", "$99999999999\r\n", strings.Repeat("*1\r\n", 40)} {
		if _, _, err := NewDigest().Add([]byte(b)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", b, err)
		}
		if _, _, err := NewReader(strings.NewReader(b)).ReadDigest(NewDigest()); err == nil {
			t.Errorf("%q was read", b)
		}
	}
	for _, b := range []string{"", "+OK", "$5\r\nabc", "*2\r\n:1\r\n"} {
		if _, _, err := NewDigest().Add([]byte(b)); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestReadDigestAllocatesNothing(t *testing.T) {
	text := []byte("+OK\r\n:12345\r\n$3\r\nabc\r\n*2\r\n:1\r\n$-1\r\n")
	source := bytes.NewReader(text)
	r := NewReader(source)
	if n := testing.AllocsPerRun(100, func() {
		source.Reset(text)
		d := NewDigest()
		for range 4 {
			var err error
			if d, _, err = r.ReadDigest(d); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAddLine holds AddLine against Add: it may leave a reply to that, but never take it
// for another.
func TestAddLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		b    string
		line bool
	}{
		{"+OK\r\n", true},
		{":12345\r\n", true},
		{"+\r\n", true},
		{"+OK\r\n:1\r\n", true},
		{"", false},
		{"+OK", false},
		{"+OK\r", false},
		{"+\n", false},
		{":1\n\r\n", false},
		{"-ERR x\r\n", false},
		{"$1\r\na\r\n", false},
		{"_\r\n", false},
	} {
		start := NewDigest().string("before")
		got, n := start.AddLine([]byte(c.b))
		if (n > 0) != c.line {
			t.Errorf("%q: %d bytes", c.b, n)
		}
		want, used := start, 0
		if c.line {
			var err error
			if want, used, err = start.Add([]byte(c.b)); err != nil {
				t.Fatal(err)
			}
		}
		if got != want || n != used {
			t.Errorf("%q: %d of %d bytes, want %d of %d", c.b, got, n, want, used)
		}
	}
}
