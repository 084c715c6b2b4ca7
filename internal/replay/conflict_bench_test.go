package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// BenchmarkReplayConflicts is a SET of 100 bytes over as much, of which every so many
// is the first of its key, whose value is then compared; none is with the option off.
func BenchmarkReplayConflicts(b *testing.B) {
	g := redistest.StartT(b, redistest.Options{})
	value := strings.Repeat("x", 100)
	for _, every := range []int{0, 1, 10, 100} {
		name := "off"
		if every > 0 {
			name = fmt.Sprintf("first=1of%d", every)
		}
		b.Run(name, func(b *testing.B) {
			src := &sliceSource{memSource: *newSource(), all: make([]Entry, b.N)}
			for i := range src.all {
				key := fmt.Sprint("key:", i)
				if every > 1 {
					key = fmt.Sprint("key:", i/every)
				}
				e := Entry{Seq: uint64(i + 1), Cmd: command("SET", key, value)}
				switch {
				case every == 0:
				case i%every == 0:
					e.Claims = []Claim{first(key, basis.OfString([]byte(value)))}
				default:
					e.Claims = []Claim{later(key)}
				}
				src.all[i] = e
			}
			fill(b, g, b.N, value)
			ctx, cancel := context.WithCancel(context.Background())
			o := Options{
				ClientID: "bench", Source: src, Rate: -1,
				Hooks: Hooks{Drained: func(upTo uint64) {
					if upTo == uint64(b.N) {
						cancel()
					}
				}},
			}
			if every > 0 {
				o.Conflicts = &Conflicts{}
			}
			rp, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			_ = rp.Run(ctx, Target{Addr: g.Node(0).Addr()})
			b.StopTimer()
			if st := rp.Stats(); st.Replayed != uint64(b.N) || st.Conflicted != 0 {
				b.Fatalf("stats %+v", st)
			}
		})
	}
}

// fill makes n keys with the value, and no fence.
func fill(b *testing.B, g *redistest.Group, n int, value string) {
	b.Helper()
	script := "redis.call('FLUSHALL') for i = 0, ARGV[1] - 1 do redis.call('SET', 'key:' .. i, ARGV[2]) end return 1"
	if _, err := g.Node(0).Do(context.Background(), "EVAL", script, 0, n, value); err != nil {
		b.Fatal(err)
	}
}
