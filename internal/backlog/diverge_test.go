package backlog

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// TestPromises: which entries may be merged, and what they have to be answered with.
func TestPromises(t *testing.T) {
	incr := cmd("INCR", "k")
	unit := slices.Concat(incr, cmd("INCR", "l"))
	restore := slices.Concat(cmd("DEL", "k"), cmd("SET", "k", "1"))
	b := lay(
		t,
		record(entry.Entry{Write: incr, Reply: 7}),
		record(entry.Entry{Write: incr}),
		record(entry.Entry{Write: incr, Reply: 7, Estimated: true}),
		record(entry.Entry{Write: unit, Reply: 7}),
		record(entry.Entry{Write: incr, Reply: 7, Until: ms(time.Minute), Restore: restore}),
		record(entry.Entry{Write: incr, Reply: 7, Until: ms(0), Restore: restore}), // the deadline has passed
		record(entry.Entry{Write: incr, Reply: 7, Until: ms(0)}),                   // and nobody knows what it left
		record(entry.Entry{Write: incr, Reply: 7, Lapses: ms(0)}),
		record(entry.Entry{Write: incr, Reply: 7, Lapses: ms(0), Sets: true}),
		record(entry.Entry{Write: incr, Reply: 7, Useful: ms(0)}),
	)
	entries, err := b.Read(nil, 0, 100, 1<<20)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprint(e.Seq, " ", e.Free, " ", e.Reply))
	}
	equal(
		t, "entries", got,
		"1 true 7", "2 true 0", "3 true 0", "4 false 7", "4 false 7", "5 true 7", "6 false 0", "6 false 0", "7 true 0",
		"8 false 0", "9 false 0", "10 false 0",
	)
}

// TestDivergedInTheLedger: what was answered otherwise is told of once it is trimmed,
// with where it was and whether it was confirmed.
func TestDivergedInTheLedger(t *testing.T) {
	b := lay(t)
	for range 6 {
		ticket, err := b.journal.Append(record(entry.Entry{Write: cmd("INCR", "k")}))
		must(t, err)
		must(t, ticket.Wait(t.Context()))
	}
	_, err := b.Read(nil, 0, 100, 1<<20)
	must(t, err)
	b.Met("run")
	must(t, b.SaveProgress(replay.Progress{Acked: 6, ReplID: "+repl"}))
	for _, seq := range []uint64{5, 2, 3, 2} { // 2 was sent again
		b.Diverged(seq)
	}
	equal(t, "before", b.outcomes(t, 6), "none", "none", "none", "none", "none", "none")
	must(t, b.Trim(4, true), b.Trim(6, false))
	equal(
		t, "after", b.outcomes(t, 6), "replayed run+repl", "diverged run+repl", "diverged run+repl", "replayed run+repl",
		"diverged run+replunconfirmed", "unconfirmed run+repl",
	)
}

// TestDivergedInLanes is the same for a Source of some lanes.
func TestDivergedInLanes(t *testing.T) {
	b := layLanes(t, incr("a"), incr("b"), incr("a"))
	s := b.source(0, 1)
	must(t, second(s.Window(nil, 0, 100, 1<<20)))
	must(t, second(s.Entries(nil, func(uint16) (uint64, bool) { return 0, true })))
	s.Diverged(3)
	must(t, s.Trim(3, true))
	got := s.outcomes(t, 3)
	if len(got) != 3 || got[2] != "diverged" {
		t.Errorf("outcomes %q", got)
	}
}

func second[T any](_ T, err error) error { return err }
