package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// BenchmarkMerge is BenchmarkReplay of entries that may be merged and have a reply to
// compare: with nothing to merge, and with hot keys.
func BenchmarkMerge(b *testing.B) {
	value := strings.Repeat("x", 100)
	ok, _, _ := resp.NewDigest().Add([]byte("+OK\r\n"))
	for _, w := range []struct {
		name string
		keys int
		args func(key string, i int) []string
	}{
		{"set/1000000", 1000000, func(key string, _ int) []string { return []string{"SET", key, value} }},
		{"set/100", 100, func(key string, _ int) []string { return []string{"SET", key, value} }},
		{"incr/100", 100, func(key string, _ int) []string { return []string{"INCR", key} }},
		{"hset/100", 100, func(key string, i int) []string { return []string{"HSET", key, fmt.Sprint("f", i%50), "value"} }},
		{"rpush/1000", 1000, func(key string, _ int) []string { return []string{"RPUSH", key, "value"} }},
	} {
		for _, mode := range []string{"plain", "merged"} {
			b.Run(w.name+"/"+mode, func(b *testing.B) {
				g := redistest.StartT(b, redistest.Options{})
				src := &sliceSource{memSource: *newSource(), all: make([]Entry, b.N)}
				for i := range src.all {
					src.all[i] = Entry{
						Seq: uint64(i + 1), Free: true, Cmd: command(w.args(fmt.Sprint("key:", i*7919%w.keys), i)...),
					}
					if strings.HasPrefix(w.name, "set") {
						src.all[i].Reply = ok.Sum()
					}
				}
				ctx, cancel := context.WithCancel(context.Background())
				rp, err := New(Options{
					ClientID: "bench", Source: src, Rate: -1, NoCoalescing: mode == "plain",
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
				st := rp.Stats()
				if st.Replayed != uint64(b.N) || st.Diverged != 0 {
					b.Fatalf("stats %+v", st)
				}
				b.ReportMetric(100*float64(st.Merged)/float64(b.N), "%merged")
			})
		}
	}
}
