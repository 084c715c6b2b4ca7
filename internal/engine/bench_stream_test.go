package engine

import (
	"runtime"
	"strconv"
	"testing"
)

func benchStream(b *testing.B, n int) *Object {
	b.Helper()
	var st StreamState
	for i := 1; i <= n; i++ {
		id := StreamID{uint64(i), 0}
		st.Entries = append(st.Entries, StreamEntry{id, [][]byte{[]byte("field"), []byte("value" + strconv.Itoa(i))}})
		st.LastID = id
	}
	o := NewStream(st)
	return &o
}

func benchStreamCommand(b *testing.B, o *Object, now int64, line string, revert bool) {
	b.Helper()
	args := split(line)
	s := Setup{Command: Lookup(args), Args: args, KeyArgs: []int{1}, Keys: []*Object{o}, Reply: make([]byte, 0, 4096)}
	var c Call
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Now = now + int64(i)
		c.Begin(s)
		c.Run()
		if c.Failed() || c.Err() != nil {
			b.Fatal(string(c.Reply()), c.Err())
		}
		if revert {
			c.Revert()
		} else {
			c.Settle()
		}
	}
}

func BenchmarkStreamAdd(b *testing.B) {
	benchStreamCommand(b, benchStream(b, 0), 1, "XADD s * field value", false)
}

func BenchmarkStreamAddTrim(b *testing.B) {
	benchStreamCommand(b, benchStream(b, 1000), 2000, "XADD s MAXLEN ~ 1000 * field value", false)
}

func BenchmarkStreamRange10Of100k(b *testing.B) {
	benchStreamCommand(b, benchStream(b, 100_000), 1, "XRANGE s 50000 + COUNT 10", false)
}

func BenchmarkStreamDeleteAndUndo100k(b *testing.B) {
	benchStreamCommand(b, benchStream(b, 100_000), 1, "XDEL s 50000-0", true)
}

// BenchmarkStreamMemory makes a stream and reports what an entry of it takes, on
// the heap and as size estimates it.
func BenchmarkStreamMemory(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		o := &Object{}
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := newStream()
		fields := split("field value")
		for i := range uint64(n) {
			s.push(StreamID{i + 1, 0}, fields, false)
		}
		*o = newObject(TypeStream, s)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-bytes/entry")
		b.ReportMetric(float64(o.Size())/n, "size-bytes/entry")
		runtime.KeepAlive(o)
	}
}
