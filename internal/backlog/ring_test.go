package backlog

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// TestRing: the shards of a Ring have one fence each, by the same name, and one journal;
// over restarts, where one of them has nothing to do.
func TestRing(t *testing.T) {
	t.Parallel()
	groups := []*redistest.Group{redistest.StartT(t, redistest.Options{}), redistest.StartT(t, redistest.Options{})}
	dir, want := t.TempDir(), [2]int{}
	for _, writes := range [][2]int{{40, 60}, {0, 10}, {25, 0}} {
		j, _, err := journal.Open(journal.Options{Dir: dir})
		must(t, err)
		lanes := NewLanes(j, laneByName)
		for n := range max(writes[0], writes[1]) {
			for shard := range uint16(2) {
				if n >= writes[shard] {
					continue
				}
				r := incr(strconv.Itoa(int(shard)) + "n")
				ticket, err := j.Append(r)
				must(t, err)
				lanes.Note(ticket.Seq(), shard)
				want[shard]++
			}
		}
		must(t, j.Sync(t.Context()))
		for shard := range uint16(2) {
			var done atomic.Bool
			src := New(context.Background(), Options{Journal: j, Now: time.Now, Lanes: lanes, Mine: is(shard)})
			ctx, cancel := context.WithCancel(t.Context())
			r, err := replay.New(replay.Options{
				ClientID: "ring", Source: src, BatchEntries: 7,
				Hooks: replay.Hooks{
					Gap:     func(g replay.Gap) { t.Errorf("shard %d: a gap: %+v", shard, g) },
					Drained: func(uint64) { done.Store(true); cancel() },
				},
			})
			must(t, err)
			if err := r.Run(ctx, replay.Target{Addr: groups[shard].Node(0).Addr()}); !errors.Is(err, context.Canceled) || !done.Load() {
				t.Fatalf("shard %d: Run ended with %v", shard, err)
			}
			cancel()
			must(t, src.Close())
			if got := int(r.Stats().Replayed); got != writes[shard] {
				t.Errorf("shard %d: %d replayed, want %d", shard, got, writes[shard])
			}
			n, err := groups[shard].Node(0).Client().Get(t.Context(), strconv.Itoa(int(shard))+"n").Int()
			if err != nil || n != want[shard] {
				t.Errorf("shard %d has %d, %v; want %d", shard, n, err, want[shard])
			}
		}
		if st := j.Stats(); st.Entries != 0 || st.Trimmed != st.Last {
			t.Errorf("the journal still has %d entries", st.Entries)
		}
		must(t, lanes.Close(), j.Close())
	}
}
