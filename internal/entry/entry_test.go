package entry

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

func samples() []Entry {
	set := resp.AppendCommandStrings(nil, "SET", "k", "v")
	return []Entry{
		{Write: set},
		{Write: set, Repeatable: true, Class: ClassBlind},
		{Write: set, Sets: true, Estimated: true, RESP3: true, Lapses: 1, Until: 2, Useful: 3},
		{Write: set, Restore: resp.AppendCommandStrings(nil, "DEL", "k"), Until: -1},
		{Write: set, Shard: []byte("shard-1"), Reply: 1, Trace: Trace{1, 24: 1}},
		{Write: set, Reply: 1, Trace: Trace{1, 24: 1}, Bases: []Base{{Name: 7, Basis: basis.OfString([]byte("v"))}}},
		{Write: set, Trace: Trace{24: 1}},
	}
}

// normal makes entries that mean the same equal.
func normal(e Entry) Entry {
	if len(e.Restore) == 0 {
		e.Restore = nil
	}
	return e
}

func TestParseReadsWhatAppendMade(t *testing.T) {
	for i, e := range samples() {
		meta := e.AppendMeta([]byte("before"))
		if string(meta[:6]) != "before" {
			t.Fatalf("%d: AppendMeta overwrote the buffer", i)
		}
		got, err := Parse(meta[6:], e.Body())
		if err != nil || !reflect.DeepEqual(normal(got), normal(e)) {
			t.Errorf("%d: got %+v, %v; want %+v", i, got, err, e)
		}
		if e.Shard == nil && len(meta) > 6+MetaSize {
			t.Errorf("%d: %d bytes, more than MetaSize", i, len(meta)-6)
		}
	}
}

// TestFixedBytes holds the format: a change here is a new version.
func TestFixedBytes(t *testing.T) {
	e := Entry{
		Repeatable: true, RESP3: true, Class: ClassAccumulating, Lapses: 0x0102, Until: 0x0304, Useful: 0x0506,
		Reply: 0x0708, Trace: Trace{0: 0xaa, 24: 0x01}, Write: []byte("12345"), Restore: []byte("67"),
	}
	want := slices.Concat(
		[]byte{1, 0x09, 3},
		[]byte{2, 1, 0, 0, 0, 0, 0, 0}, []byte{4, 3, 0, 0, 0, 0, 0, 0}, []byte{6, 5, 0, 0, 0, 0, 0, 0},
		[]byte{5, 0, 0, 0},
		[]byte{2, 8, 0, 8, 7, 0, 0, 0, 0, 0, 0},
		[]byte{4, 25, 0, 0xaa}, make([]byte, 23), []byte{1},
	)
	if got := e.AppendMeta(nil); !bytes.Equal(got, want) {
		t.Errorf("Meta\n %x, want\n %x", got, want)
	}
	if got := string(e.Body()); got != "1234567" {
		t.Errorf("Body %q", got)
	}
}

func TestManyBasesAreKept(t *testing.T) {
	e := Entry{Write: []byte("x")}
	for i := range 3*maxBases + 1 {
		e.Bases = append(e.Bases, Base{Name: uint64(i), Basis: basis.OfLength(basis.KindList, int64(i))})
	}
	got, err := Parse(e.AppendMeta(nil), e.Write)
	if err != nil || !slices.Equal(got.Bases, e.Bases) {
		t.Errorf("%d bases became %d, %v", len(e.Bases), len(got.Bases), err)
	}
}

func TestBasesAreFixedBytes(t *testing.T) {
	e := Entry{Write: []byte("x"), Bases: []Base{{Name: 0x0102, Basis: basis.Basis{
		Kind: basis.KindSet, Partial: true, Length: 3, Sum: 4, Until: 5,
	}}}}
	want := []byte{
		5, 33, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0x85, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
	}
	meta := e.AppendMeta(nil)
	if got := meta[fixedSize:]; !bytes.Equal(got, want) {
		t.Errorf("field\n %x, want\n %x", got, want)
	}
	meta[fixedSize+1]--
	if _, err := Parse(meta[:len(meta)-1], e.Write); !errors.Is(err, ErrMalformed) {
		t.Errorf("a base that is cut: %v", err)
	}
}

func TestBodyLeavesTheWriteAlone(t *testing.T) {
	buf := []byte("writeXXXX")
	e := Entry{Write: buf[:5], Restore: []byte("more")}
	if got := string(e.Body()); got != "writemore" || string(buf) != "writeXXXX" {
		t.Errorf("Body %q, the buffer behind Write is %q", got, buf)
	}
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	e := Entry{Write: []byte("w"), Reply: 7}
	meta := append(e.AppendMeta(nil), 200, 3, 0, 'n', 'e', 'w')
	meta = append(meta, tagReply, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0)
	got, err := Parse(meta, e.Body())
	if err != nil || got.Reply != 9 {
		t.Errorf("Reply %d, %v; want the last one, 9", got.Reply, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := (&Entry{Write: []byte("w"), Reply: 7}).AppendMeta(nil)
	change := func(at int, b byte) []byte { m := slices.Clone(good); m[at] = b; return m }
	for _, test := range []struct {
		name string
		meta []byte
		body string
		want error
	}{
		{"nothing", nil, "w", ErrMalformed},
		{"version 0", change(0, 0), "w", ErrMalformed},
		{"a newer version", change(0, 2), "w", ErrNewer},
		{"a newer and shorter version", []byte{9}, "w", ErrNewer},
		{"too short", good[:fixedSize-1], "w", ErrMalformed},
		{"no body", good, "", ErrMalformed},
		{"no write", change(27, 0), "w", ErrMalformed},
		{"a write beyond the body", change(27, 2), "w", ErrMalformed},
		{"a cut field", good[:len(good)-1], "w", ErrMalformed},
		{"a cut field head", good[:fixedSize+2], "w", ErrMalformed},
		{"a digest of 7 bytes", append(slices.Clone(good[:fixedSize]), tagReply, 7, 0, 1, 2, 3, 4, 5, 6, 7), "w", ErrMalformed},
		{"a trace of 1 byte", append(slices.Clone(good[:fixedSize]), tagTrace, 1, 0, 1), "w", ErrMalformed},
		{"an empty shard", append(slices.Clone(good[:fixedSize]), tagShard, 0, 0), "w", ErrMalformed},
	} {
		if _, err := Parse(test.meta, []byte(test.body)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestLongShardIsLeftOut(t *testing.T) {
	e := Entry{Write: []byte("w"), Shard: bytes.Repeat([]byte("s"), MaxShardBytes+1)}
	got, err := Parse(e.AppendMeta(nil), e.Body())
	if err != nil || got.Shard != nil {
		t.Errorf("a shard of %d bytes, %v", len(got.Shard), err)
	}
}

func TestClassNames(t *testing.T) {
	if got := fmt.Sprint(ClassUnknown, ClassBlind, ClassAdmin, Class(77)); got != "unknown blind write admin class(77)" {
		t.Errorf("names: %s", got)
	}
}

func TestTimes(t *testing.T) {
	now := time.UnixMilli(10_000)
	e := Entry{Lapses: 11_000, Useful: 10_000, Until: 11_001, Restore: []byte("r")}
	if !e.Lapsed(now) || !e.Stale(now) || !e.Stands(now) {
		t.Errorf("at %d: %v %v %v", now.UnixMilli(), e.Lapsed(now), e.Stale(now), e.Stands(now))
	}
	before := time.UnixMilli(9_999)
	if e.Lapsed(before) || e.Stale(before) || e.Stands(now.Add(time.Millisecond)) {
		t.Error("one millisecond off makes no difference")
	}
	if never := (Entry{}); never.Lapsed(now) || never.Stale(now) || !never.Stands(now) {
		t.Error("0 is not never")
	}
}

func TestEachCommand(t *testing.T) {
	b := resp.AppendCommandStrings(nil, "SET", "k", "v")
	b = resp.AppendCommandStrings(b, "DEL", "k")
	var names []string
	collect := func(cmd []byte, args [][]byte) error {
		names = append(names, fmt.Sprintf("%s/%d", args[0], len(cmd)))
		return nil
	}
	if err := EachCommand(b, collect); err != nil || fmt.Sprint(names) != "[SET/27 DEL/20]" {
		t.Errorf("%v, %v", names, err)
	}
	if err := EachCommand(b[:len(b)-1], collect); !errors.Is(err, resp.ErrIncomplete) {
		t.Errorf("a cut command: %v", err)
	}
	names = nil
	empty := append(resp.AppendCommandStrings(nil, "SET", "k", "v"), "*0\r\n"...)
	if err := EachCommand(empty, collect); !errors.Is(err, ErrMalformed) || fmt.Sprint(names) != "[SET/27]" {
		t.Errorf("an empty command: %v, %v", names, err)
	}
	stop := errors.New("stop")
	if err := EachCommand(b, func([]byte, [][]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the callback: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range samples() {
		f.Add(e.AppendMeta(nil), e.Body())
	}
	empty := Entry{Write: []byte("*0\r\n")}
	f.Add(empty.AppendMeta(nil), empty.Body())
	f.Fuzz(func(t *testing.T, meta, body []byte) {
		e, err := Parse(meta, body)
		if err != nil {
			return
		}
		again := e.AppendMeta(nil)
		got, err := Parse(again, e.Body())
		if err != nil || !reflect.DeepEqual(normal(got), normal(e)) {
			t.Errorf("read again: %+v, %v; first %+v", got, err, e)
		}
		_ = EachCommand(e.Write, func(_ []byte, args [][]byte) error {
			if len(args) == 0 {
				t.Error("a command without a name")
			}
			return nil
		})
	})
}

func BenchmarkEntry(b *testing.B) {
	e := Entry{Write: resp.AppendCommandStrings(nil, "SET", "k", "v"), Class: ClassBlind, Reply: 7, Trace: Trace{1}}
	body := e.Body()
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, MetaSize)
		for b.Loop() {
			buf = e.AppendMeta(buf[:0])
		}
	})
	meta := e.AppendMeta(nil)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(meta, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
