package overlay

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"
)

func benchOverlay(b *testing.B, durable uint64) (*Overlay, func(Effect) (uint64, error)) {
	b.Helper()
	o, err := New(Options{Source: &fakeSource{}, MaxBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	o.Durable(durable)
	var seq atomic.Uint64
	return o, func(Effect) (uint64, error) {
		n := seq.Add(1)
		if durable == 0 { // a journal that is 100 writes behind
			o.Durable(max(n, 100) - 100)
		}
		return n, nil
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, durable := range map[string]uint64{"memory": math.MaxUint64, "undo": 0} {
		for _, line := range []string{"SET k value", "INCR n", "HSET h f v", "HINCRBY h n 1"} {
			verb, _, _ := strings.Cut(line, " ")
			b.Run(name+"/"+verb, func(b *testing.B) {
				o, commit := benchOverlay(b, durable)
				req := Request{Args: split(line), Commit: commit}
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

func BenchmarkRead(b *testing.B) {
	o, commit := benchOverlay(b, math.MaxUint64)
	for _, line := range []string{"SET k value", "HSET h f v"} {
		if _, err := o.Write(context.Background(), Request{Args: split(line), Commit: commit}); err != nil {
			b.Fatal(err)
		}
	}
	for _, line := range []string{"GET k", "HGET h f"} {
		verb, _, _ := strings.Cut(line, " ")
		b.Run(verb, func(b *testing.B) {
			req := Request{Args: split(line)}
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
				if _, err := o.Write(context.Background(), Request{Args: split(line), Commit: commit}); err != nil {
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
