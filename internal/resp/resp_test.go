package resp

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestCommandRoundTrip(t *testing.T) {
	t.Parallel()
	for _, args := range [][][]byte{
		{[]byte("PING")},
		{[]byte("SET"), []byte("k"), []byte("binary\r\n\x00\xff")},
		{[]byte("SET"), []byte(""), []byte("")},
		{},
	} {
		encoded := AppendCommand(nil, args...)
		for cut := range encoded {
			if _, _, err := ParseCommand(encoded[:cut], nil); !errors.Is(err, ErrIncomplete) {
				t.Fatalf("first %d bytes of %q: error %v, want ErrIncomplete", cut, encoded, err)
			}
		}
		got, n, err := ParseCommand(append(encoded, "*1\r\n"...), nil)
		if err != nil || n != len(encoded) {
			t.Fatalf("ParseCommand(%q) = %d, %v; want %d", encoded, n, err, len(encoded))
		}
		if len(got) != len(args) {
			t.Fatalf("got %d arguments, want %d", len(got), len(args))
		}
		for i := range args {
			if !bytes.Equal(got[i], args[i]) {
				t.Errorf("argument %d = %q, want %q", i, got[i], args[i])
			}
		}
	}
}

func TestParseCommandRefusesWhatIsNotOne(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"PING\r\n", "*-1\r\n", "*1\r\n+OK\r\n", "*1\r\n$-1\r\n", "*x\r\n", "*1\n",
		"*1\r\n$1\r\nab\r\n", "*99999999\r\n", "*1\r\n$999999999999\r\n",
		"*" + strings.Repeat("1", 40),
	} {
		if _, _, err := ParseCommand([]byte(in), nil); !errors.Is(err, ErrProtocol) {
			t.Errorf("ParseCommand(%q): error %v, want ErrProtocol", in, err)
		}
	}
}

// TestSingle holds Single against ParseCommand, of whole commands, of parts of them and of
// ones with one byte changed.
func TestSingle(t *testing.T) {
	t.Parallel()
	check := func(b []byte) {
		args, n, err := ParseCommand(b, nil)
		want := err == nil && n == len(b) && len(args) > 0
		name, got := Single(b)
		if got != want || got && string(name) != string(args[0]) {
			t.Errorf("%q: %q, %v, want %v", b, name, got, want)
		}
	}
	for _, args := range [][]string{nil, {""}, {"PING"}, {"SET", "key", "\r\n$1\r\n"}, {"APPEND", "", "a value of more than nine bytes"}} {
		whole := AppendCommandStrings(nil, args...)
		check(append(whole[:len(whole):len(whole)], whole...))
		for i := range whole {
			check(whole[:i])
			for _, c := range []byte("\r\n$*019x") {
				changed := append([]byte(nil), whole...)
				changed[i] = c
				check(changed)
			}
		}
		check(whole)
	}
}

// The arguments of a command take one allocation, and none where there is room, however
// many a damaged header promises.
func TestParseCommandAllocates(t *testing.T) {
	args := make([][]byte, 0, 4)
	encoded := AppendCommandStrings(nil, "SET", "k", "v", "KEEPTTL")
	for _, c := range []struct {
		in   []byte
		into [][]byte
		want float64
		room int
	}{
		{encoded, nil, 1, 4},
		{encoded, args, 0, 4},
		{AppendCommandStrings(nil), nil, 0, 0},
		{[]byte("*1000000\r\n$1\r\na\r\n$1\r\nb\r\n"), nil, 1, 2},
	} {
		var got [][]byte
		n := testing.AllocsPerRun(10, func() { got, _, _ = ParseCommand(c.in, c.into) })
		if n != c.want || cap(got) != c.room {
			t.Errorf("%q: %v allocations, room for %d; want %v, %d", c.in, n, cap(got), c.want, c.room)
		}
	}
}

func TestReadValue(t *testing.T) {
	t.Parallel()
	bulk := func(s string) Value { return Value{Kind: KindBulk, Str: []byte(s)} }
	for in, want := range map[string]Value{
		"+OK\r\n":                      {Kind: KindSimple, Str: []byte("OK")},
		"-ERR no\r\n":                  {Kind: KindError, Str: []byte("ERR no")},
		"!6\r\nERR no\r\n":             {Kind: KindError, Str: []byte("ERR no")},
		":-42\r\n":                     {Kind: KindInt, Int: -42},
		":-9223372036854775808\r\n":    {Kind: KindInt, Int: -1 << 63},
		"$3\r\na\r\n\r\n":              bulk("a\r\n"),
		"=7\r\ntxt:abc\r\n":            bulk("abc"),
		"$-1\r\n":                      {Kind: KindNull},
		"*-1\r\n":                      {Kind: KindNull},
		"_\r\n":                        {Kind: KindNull},
		"#t\r\n":                       {Kind: KindBool, Int: 1},
		",1.5\r\n":                     {Kind: KindDouble, Str: []byte("1.5")},
		"*2\r\n$1\r\na\r\n:1\r\n":      {Kind: KindArray, Elems: []Value{bulk("a"), {Kind: KindInt, Int: 1}}},
		"%1\r\n$1\r\na\r\n$1\r\nb\r\n": {Kind: KindMap, Elems: []Value{bulk("a"), bulk("b")}},
		"|1\r\n+ttl\r\n:3\r\n+OK\r\n":  {Kind: KindSimple, Str: []byte("OK")},
	} {
		got, err := NewReader(strings.NewReader(in)).ReadValue()
		if err != nil {
			t.Errorf("ReadValue(%q): %v", in, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("ReadValue(%q) = %+v, want %+v", in, got, want)
		}
		if _, err := NewReader(strings.NewReader(in[:len(in)-1])).ReadValue(); err == nil {
			t.Errorf("ReadValue(%q) without its last byte: no error", in)
		}
	}
}

func TestReadValueRefusesDamage(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"?1\r\n", "\r\n", "+OK\n", ":abc\r\n", ":9223372036854775808\r\n", "$-2\r\n",
		"*-2\r\n", "$1\r\nabc", strings.Repeat("*1\r\n", 100) + ":1\r\n",
	} {
		if v, err := NewReader(strings.NewReader(in)).ReadValue(); !errors.Is(err, ErrProtocol) {
			t.Errorf("ReadValue(%q) = %+v, %v; want ErrProtocol", in, v, err)
		}
	}
	// A length that promises more than ever comes must not be allocated first.
	if _, err := NewReader(strings.NewReader("*500000000\r\n")).ReadValue(); !errors.Is(err, io.EOF) {
		t.Errorf("a huge empty array: %v, want EOF", err)
	}
}

func TestAppendByProtocol(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"null 2", AppendNull(nil, 2), "$-1\r\n"},
		{"null 3", AppendNull(nil, 3), "_\r\n"},
		{"null array 2", AppendNullArray(nil, 2), "*-1\r\n"},
		{"null array 3", AppendNullArray(nil, 3), "_\r\n"},
		{"map 2", AppendMap(nil, 2, 2), "*4\r\n"},
		{"map 3", AppendMap(nil, 2, 3), "%2\r\n"},
		{"error", AppendError(nil, "ERR a\r\nb"), "-ERR a  b\r\n"},
		{"simple", AppendSimple(nil, "OK"), "+OK\r\n"},
		{"int", AppendInt(nil, -7), ":-7\r\n"},
		{"strings", AppendCommandStrings(nil, "GET", "k"), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"))
	f.Add([]byte("*1\r\n$0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args, n, err := ParseCommand(b, nil)
		if err != nil {
			return
		}
		// What was understood must mean the same when written again.
		again, m, err := ParseCommand(AppendCommand(nil, args...), nil)
		if err != nil || len(again) != len(args) || n == 0 || m == 0 {
			t.Fatalf("%q decoded to %q, which does not encode back: %v", b[:n], args, err)
		}
		for i := range args {
			if !bytes.Equal(args[i], again[i]) {
				t.Fatalf("argument %d: %q became %q", i, args[i], again[i])
			}
		}
	})
}

func FuzzReadValue(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n:1\r\n"))
	f.Add([]byte("%1\r\n+a\r\n,1.5\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rd := NewReader(bytes.NewReader(b))
		for range 100 {
			if v, err := rd.ReadValue(); err != nil {
				return
			} else if v.Kind == KindInvalid {
				t.Fatalf("%q decoded to a value of no kind", b)
			}
		}
	})
}
