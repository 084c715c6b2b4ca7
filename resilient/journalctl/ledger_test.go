package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
)

// gone leaves a journal of ten writes, replayed but for an old dead letter and one that
// had expired, of which only the letter's bytes are there still, as after
// Options.MaxJournalBytes or a full disk needed the room.
func gone(t *testing.T, dir string) {
	t.Helper()
	j := openJournal(t, dir)
	for i := range 10 {
		put(t, j, time.Now(), 0, entry.Entry{Write: cmd("INCR", fmt.Sprint("count", i))})
	}
	letter := record(time.Now(), 0, entry.Entry{Write: cmd("INCR", "count0")})
	letter.Seq = 1
	must(t, j.DeadLetter(bg, letter, "rejected: WRONGTYPE of another kind"),
		j.Record(journal.Fate{From: 1, To: 1, Outcome: journal.OutcomeDeadLettered}),
		j.Record(journal.Fate{From: 7, To: 7, Outcome: journal.OutcomeConflicted}), // and then found out better
		j.Record(journal.Fate{From: 7, To: 7, Outcome: journal.OutcomeExpired}),
		j.Record(journal.Fate{From: 1, To: 10, Outcome: journal.OutcomeReplayed}),
		j.Trim(bg, 10), j.Close())
	kept, err := filepath.Glob(filepath.Join(dir, "*", "*.kept"))
	must(t, err)
	if len(kept) == 0 {
		t.Fatal("nothing was kept")
	}
	for _, name := range kept {
		must(t, os.Remove(name))
	}
}

// A fate is found although a write before it is there still, and one answer is given
// where the ledger has several.
func TestLedgerOfWritesThatAreGone(t *testing.T) {
	dir := t.TempDir()
	gone(t, dir)
	for _, test := range []struct {
		args string
		want []string // what the lines say, without the head
	}{
		{"--seq 5", []string{"2-6 replayed"}},
		{"--seq 7", []string{"7 expired"}},
		{"--seq 10", []string{"8-10 replayed"}},
		{"--seq 1", []string{"1 dead-lettered"}},
		{"", []string{"1 dead-lettered", "7 expired", "2-6 replayed", "8-10 replayed"}},
		{"--outcome replayed", []string{"2-6 replayed", "8-10 replayed"}},
	} {
		r := realTime(append([]string{"ledger", dir}, strings.Fields(test.args)...)...).want(t, exitFine)
		var got []string
		for line := range strings.Lines(r.out) {
			words := strings.Fields(line)
			for _, word := range words[2:] {
				if _, ok := journal.ParseOutcome(word); ok {
					got = append(got, words[1]+" "+word)
				}
			}
		}
		if strings.Join(got, ", ") != strings.Join(test.want, ", ") {
			t.Errorf("%q: %q, want %q\n%s", test.args, got, test.want, r.out)
		}
	}
	realTime("ledger", "--seq", "11", dir).want(t, exitFound)
}

// Ranges are what a set of numbers is.
func TestRanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var set ranges
		has := make(map[uint64]bool)
		for range rnd.IntN(8) {
			from := 1 + rnd.Uint64N(30)
			to := from + rnd.Uint64N(4)
			set.add(from, to)
			for n := from; n <= to; n++ {
				has[n] = true
			}
		}
		set.join()
		from := 1 + rnd.Uint64N(30)
		to := from + rnd.Uint64N(20)
		left := make(map[uint64]bool)
		for _, r := range set.without(from, to) {
			for n := r.from; n <= r.to; n++ {
				left[n] = true
			}
		}
		for n := range uint64(60) {
			if want := n >= from && n <= to && !has[n]; left[n] != want {
				t.Fatalf("%d to %d without %v: %d is in it: %v", from, to, set, n, left[n])
			}
		}
	}
}
