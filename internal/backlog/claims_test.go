package backlog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// based is an entry that is the first to name a key with that value.
func based(write []byte, keysAndValues ...string) entry.Entry {
	e := entry.Entry{Write: write}
	for i := 0; i < len(keysAndValues); i += 2 {
		b := basis.OfString([]byte(keysAndValues[i+1]))
		e.Bases = append(e.Bases, entry.Base{Name: basis.Name(keysAndValues[i]), Basis: b})
	}
	return e
}

// layConflicts is lay for a source that gives claims.
func layConflicts(t *testing.T, records ...journal.Record) *fixture {
	t.Helper()
	b := lay(t, records...)
	b.opts.Conflicts, b.carried = true, make(map[string]*carried)
	return b
}

// claimed shows the claims of the entries behind after: "3 k=first l=later".
func (b *fixture) claimed(t *testing.T, after uint64) (all []string) {
	t.Helper()
	entries, err := b.Read(nil, after, 100, 1<<20)
	must(t, err)
	for _, e := range entries {
		text := fmt.Sprint(e.Seq)
		for _, c := range e.Claims {
			what := "later"
			for _, v := range []string{"u", "v", "w"} {
				if c.First && c.Base == basis.OfString([]byte(v)) {
					what = v
				}
			}
			if c.Carried {
				what += "'"
			}
			text += " " + string(c.Key) + "=" + what
		}
		all = append(all, text)
	}
	return all
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestClaims(t *testing.T) {
	useless := based(cmd("SET", "z", "w"), "z", "w")
	useless.Useful = ms(-time.Hour)
	b := layConflicts(
		t,
		record(based(cmd("SET", "k", "1"), "k", "v")),
		record(based(cmd("MSET", "k", "2", "l", "2", "k", "3"), "l", "w")),
		record(based(slices.Concat(cmd("SET", "a", "1"), cmd("RENAME", "a", "b")), "a", "u", "b", "v")),
		record(useless),
		record(based(cmd("INCR", "z"))),
		record(based(cmd("INCR", "z"))),
		record(based(cmd("PUBLISH", "z", "m"))),
	)
	want := []string{"1 k=v", "2 k=later l=w", "3 a=u b=v", "3", "4", "5 z=w'", "6 z=later", "7"}
	wantLines(t, "claims", b.claimed(t, 0), want...)
	wantLines(t, "read again", b.claimed(t, 0), append(want[:4:4], want[5:]...)...)
	wantLines(t, "read again from the middle", b.claimed(t, 4), want[5:]...)

	b.opts.Conflicts = false
	wantLines(t, "not wanted", b.claimed(t, 4), "5", "6", "7")
}

func TestAConflictIsKeptAndEntered(t *testing.T) {
	b := layConflicts(
		t,
		record(based(cmd("MSET", "k", "1", "l", "2", "m", "3"), "k", "u", "l", "v", "m", "w")),
		record(based(cmd("INCR", "l"))),
		record(based(cmd("INCR", "m"))),
	)
	_ = b.claimed(t, 0)
	must(t, b.DeadLetters([]replay.DeadLetter{{Seq: 1, Reason: replay.ReasonConflicted, Keys: []int{0, 2}}}))
	wantLines(t, "told", b.dead, "1 conflicted")
	if !b.journal.IsDead(1) {
		t.Error("it is no dead letter")
	}
	// What is left of the entry behind it.
	wantLines(t, "claims of what follows", b.claimed(t, 0), "2 l=v'", "3 m=w'")
	var left []string
	must(t, b.Conflicted(func(key []byte) { left = append(left, string(key)) }))
	wantLines(t, "left to the server", left, "k", "m")
	must(t, b.Trim(3, true))
	if got := b.outcomes(t, 3); !strings.HasPrefix(got[0], "conflicted") || strings.HasPrefix(got[1], "conflicted") {
		t.Errorf("outcomes %q", got)
	}
}

func TestDeadLettersAreKeptTogether(t *testing.T) {
	b := layConflicts(t)
	for range 3000 {
		_, err := b.journal.Append(record(based(cmd("INCR", "n"))))
		must(t, err)
	}
	must(t, b.journal.Sync(t.Context()))
	var all []replay.DeadLetter
	for seq := uint64(2); seq <= 3000; seq += 3 {
		all = append(all, replay.DeadLetter{Seq: seq, Reason: replay.ReasonConflicted, Keys: []int{0}})
	}
	must(t, b.DeadLetters(all), b.DeadLetters(all), b.DeadLetters(nil))
	if got := b.journal.Stats().Dead; got != uint64(len(all)) {
		t.Errorf("%d dead letters, want %d", got, len(all))
	}
	for _, d := range all {
		if !b.journal.IsDead(d.Seq) || b.journal.IsDead(d.Seq-1) {
			t.Fatalf("around %d", d.Seq)
		}
	}
	if err := b.DeadLetters([]replay.DeadLetter{{Seq: 1}, {Seq: 4000}}); err == nil {
		t.Error("a letter of what the journal doesn't have was kept")
	}
}

func TestConflictedReasonsAreRead(t *testing.T) {
	for _, keys := range [][]int{{0}, {3, 12}} {
		got, all, ok := conflictedPlaces(conflictedReason(keys))
		if !ok || all || len(got) != len(keys) || !got[keys[0]] || !got[keys[len(keys)-1]] {
			t.Errorf("%v became %v, %v, %v", keys, got, all, ok)
		}
	}
	cut := conflictedReason([]int{1, 22})
	if _, all, ok := conflictedPlaces(cut[:len(cut)-len(conflictedEnd)-1]); !all || !ok {
		t.Error("of a reason that was cut not all keys count")
	}
	for _, other := range []string{"", "rejected: WRONGTYPE", "conflicted"} {
		if _, _, ok := conflictedPlaces(other); ok {
			t.Errorf("%q is a conflict", other)
		}
	}
}
