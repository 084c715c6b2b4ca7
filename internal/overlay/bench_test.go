package overlay

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func benchOverlay(b *testing.B, durable uint64) (*Overlay, func(*Effect) (uint64, error)) {
	b.Helper()
	o, err := New(Options{Source: &fakeSource{}, MaxBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	o.Durable(durable)
	var seq atomic.Uint64
	return o, func(*Effect) (uint64, error) {
		n := seq.Add(1)
		if durable == 0 { // a journal that is 100 writes behind
			o.Durable(max(n, 100) - 100)
		}
		return n, nil
	}
}

// benchRequest is a request whose reply goes into a buffer of its own, by a
// caller who has read the clock for purposes of his own, as the router does.
func benchRequest(line string, commit func(*Effect) (uint64, error)) Request {
	return Request{Commands: []Command{commandOf(split(line))}, Commit: commit, Reply: make([]byte, 0, 4096), Now: time.Now().UnixMilli()}
}

func BenchmarkWrite(b *testing.B) {
	for _, mode := range []struct {
		name    string
		durable uint64
	}{{"memory", math.MaxUint64}, {"undo", 0}} {
		for _, line := range []string{"SET k value", "INCR n", "HSET h f v", "HINCRBY h n 1", "ZADD z 1 m"} {
			verb, _, _ := strings.Cut(line, " ")
			b.Run(mode.name+"/"+verb, func(b *testing.B) {
				o, commit := benchOverlay(b, mode.durable)
				req := benchRequest(line, commit)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := o.Write(context.Background(), req); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkWriteNewKeys sets a key that is not held each time.
func BenchmarkWriteNewKeys(b *testing.B) {
	o, commit := benchOverlay(b, math.MaxUint64)
	req := benchRequest("SET 0123456789abcdef 0123456789abcdef", commit)
	name := req.Commands[0].Args[1]
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		copy(name, strconv.AppendInt(name[:0], int64(n), 10))
		if _, err := o.Write(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	o, commit := benchOverlay(b, math.MaxUint64)
	write := func(line string) {
		if _, err := o.Write(context.Background(), benchRequest(line, commit)); err != nil {
			b.Fatal(err)
		}
	}
	write("SET k value")
	write("SET k2 value")
	write("HSET h f v")
	for i := 0; i < 100_000; i += 100 {
		line := "ZADD z"
		for n := range 100 {
			line += fmt.Sprintf(" %d m%d", i+n, i+n)
		}
		write(line)
	}
	for _, line := range []string{"GET k", "MGET k k2 k k2", "HGET h f", "ZRANGE z 50000 50009", "ZSCORE z m70000"} {
		verb, _, _ := strings.Cut(line, " ")
		b.Run(verb, func(b *testing.B) {
			req := benchRequest(line, nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.Read(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHeld is what a command on the healthy path pays.
func BenchmarkHeld(b *testing.B) {
	for name, line := range map[string]string{"empty": "", "other": "SET other v"} {
		b.Run(name, func(b *testing.B) {
			o, commit := benchOverlay(b, math.MaxUint64)
			if line != "" {
				if _, err := o.Write(context.Background(), benchRequest(line, commit)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				o.Held(0, "session:1234567890")
			}
		})
	}
}

// fill writes string keys of 16 bytes, with values of 16, and returns the heap
// that they take.
func fill(tb testing.TB, keys int) (*Overlay, uint64) {
	tb.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	o, err := New(Options{Source: &fakeSource{}, MaxBytes: -1})
	if err != nil {
		tb.Fatal(err)
	}
	before := heap()
	o.Durable(math.MaxUint64)
	var seq uint64
	commit := func(*Effect) (uint64, error) { seq++; return seq, nil }
	for i := range keys {
		_, err := o.Write(context.Background(), Request{Commit: commit, Commands: []Command{{
			Args: [][]byte{[]byte("SET"), fmt.Appendf(nil, "key:%012d", i), fmt.Appendf(nil, "val:%012d", i)}, Keys: []int{1},
		}}})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return o, heap() - before
}

// BenchmarkMillionKeys reports what a million pending string keys take.
func BenchmarkMillionKeys(b *testing.B) {
	for b.Loop() {
		o, bytes := fill(b, 1_000_000)
		b.ReportMetric(float64(bytes)/1e6, "MB")
		b.ReportMetric(float64(o.Stats().Bytes)/1e6, "estimated-MB")
		runtime.KeepAlive(o)
	}
}

// A million pending keys are promised to fit into 250 MB. A twentieth of them
// shows it in less time.
func TestMemoryOfAKey(t *testing.T) {
	const keys = 50_000
	o, bytes := fill(t, keys)
	estimated := uint64(o.Stats().Bytes)
	t.Logf("a string key takes %d bytes of heap, estimated %d", bytes/keys, estimated/keys)
	if bytes > 250*keys {
		t.Errorf("a string key of 16 bytes takes %d bytes, want at most 250", bytes/keys)
	}
	if estimated < bytes*3/4 || estimated > bytes*3/2 {
		t.Errorf("the estimate of %d bytes a key is far from %d", estimated/keys, bytes/keys)
	}
}

// Many kinds of value at once, in the way of a session store.
func BenchmarkMixed(b *testing.B) {
	o, commit := benchOverlay(b, math.MaxUint64)
	var reqs []Request
	for i := range 256 {
		for _, line := range []string{"SET s%d v", "INCR n%d", "HSET h%d f v", "RPUSH l%d v", "LTRIM l%d -10 -1"} {
			reqs = append(reqs, benchRequest(fmt.Sprintf(line, i), commit))
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := o.Write(context.Background(), reqs[i%len(reqs)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
