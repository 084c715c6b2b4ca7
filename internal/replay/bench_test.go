package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// sliceSource is a journal whose reading costs nothing.
type sliceSource struct {
	memSource
	all []Entry
}

func (s *sliceSource) Bounds() Bounds {
	b := s.memSource.Bounds()
	b.Last = uint64(len(s.all))
	return b
}

func (s *sliceSource) Read(dst []Entry, after uint64, maxEntries, _ int) ([]Entry, error) {
	rest := s.all[after:]
	return append(dst, rest[:min(len(rest), maxEntries)]...), nil
}

// BenchmarkReplay is the way of one entry, a SET of 100 bytes, into a primary.
func BenchmarkReplay(b *testing.B) {
	g := redistest.StartT(b, redistest.Options{})
	src := &sliceSource{memSource: *newSource(), all: make([]Entry, b.N)}
	value := strings.Repeat("x", 100)
	for i := range src.all {
		src.all[i] = Entry{Seq: uint64(i + 1), Cmd: command("SET", fmt.Sprint("key:", i%10000), value)}
	}
	ctx, cancel := context.WithCancel(context.Background())
	rp, err := New(Options{
		ClientID: "bench", Source: src,
		Hooks: Hooks{Drained: func(upTo uint64) {
			if upTo == uint64(b.N) {
				cancel()
			}
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	_ = rp.Run(ctx, Target{Addr: g.Node(0).Addr()})
	b.StopTimer()
	if st := rp.Stats(); st.Replayed != uint64(b.N) {
		b.Fatalf("stats %+v", st)
	}
}
