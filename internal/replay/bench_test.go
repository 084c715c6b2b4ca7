package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/slot"
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
		ClientID: "bench", Source: src, Rate: -1,
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

// sliceLanes is a sliceSource of all lanes.
type sliceLanes struct {
	sliceSource
	window []Entry
}

func (s *sliceLanes) HasLanes() bool  { return true }
func (s *sliceLanes) Highest() uint64 { return uint64(len(s.all)) }

func (s *sliceLanes) Window(dst []Place, after uint64, maxEntries, _ int) ([]Place, error) {
	s.window = s.all[after:]
	s.window = s.window[:min(len(s.window), maxEntries)]
	for i := range s.window {
		dst = append(dst, Place{Seq: s.window[i].Seq, Lane: s.window[i].Lane})
	}
	return dst, nil
}

func (s *sliceLanes) Entries(dst []Entry, applied func(lane uint16) (uint64, bool)) ([]Entry, error) {
	for i := range s.window {
		if upTo, ok := applied(s.window[i].Lane); ok && s.window[i].Seq > upTo {
			dst = append(dst, s.window[i])
		}
	}
	return dst, nil
}

// BenchmarkReplayLanes is BenchmarkReplay to a Cluster, with keys of few slots and of
// nearly all.
func BenchmarkReplayLanes(b *testing.B) {
	for _, keys := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			c := redistest.StartClusterT(b, redistest.ClusterOptions{Primaries: 1})
			src := &sliceLanes{sliceSource: sliceSource{memSource: *newSource(), all: make([]Entry, b.N)}}
			value := strings.Repeat("x", 100)
			for i := range src.all {
				key := fmt.Sprint("key:", i*7919%keys)
				src.all[i] = Entry{Seq: uint64(i + 1), Lane: slot.Of(key), Cmd: command("SET", key, value)}
			}
			ctx, cancel := context.WithCancel(context.Background())
			rp, err := New(Options{
				ClientID: "bench", Source: src, Rate: -1, Fence: func(lane uint16) string { return FenceKeyOf("bench", lane) },
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
			_ = rp.Run(ctx, Target{Addr: c.Node(0).Addr()})
			b.StopTimer()
			if st := rp.Stats(); st.Replayed != uint64(b.N) {
				b.Fatalf("stats %+v", st)
			}
		})
	}
}

// BenchmarkOutcome is the reading of one entry's answers, in a batch of 500.
func BenchmarkOutcome(b *testing.B) {
	const n = 500
	for _, c := range []struct{ name, answer string }{{"SET", "+OK\r\n"}, {"INCR", ":12345\r\n"}, {"XADD", "$15\r\n1234567890123-0\r\n"}} {
		digest, _, err := resp.NewDigest().Add([]byte(c.answer))
		if err != nil {
			b.Fatal(err)
		}
		for _, compared := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s compared %v", c.name, compared), func(b *testing.B) {
				text := "+OK\r\n" + strings.Repeat("+QUEUED\r\n", n+1) + fmt.Sprintf("*%d\r\n", n+1) +
					strings.Repeat(c.answer, n) + "+OK\r\n+OK\r\n$1\r\n7\r\n"
				source := strings.NewReader(text)
				var o outcome
				if compared {
					for range n {
						o.parts = append(o.parts, part{reply: digest.Sum()})
					}
				}
				r := newReplies(source)
				b.ReportAllocs()
				for range b.N / n {
					source.Reset(text)
					if err := r.outcome(n, &o); err != nil || o.exec != execApplied || len(o.diverged) > 0 {
						b.Fatal(err, o.exec, len(o.diverged))
					}
				}
			})
		}
	}
}
