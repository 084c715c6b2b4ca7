package backlog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fixture is a journal with a source, and what its hooks were told.
type fixture struct {
	*Source
	journal  *journal.Journal
	path     string // the journal's files
	now      time.Time
	dead     []string
	trimmed  []uint64
	problems []string
}

// lay makes a journal of the records.
func lay(t *testing.T, records ...journal.Record) *fixture {
	t.Helper()
	dir := t.TempDir()
	j, _, err := journal.Open(journal.Options{Dir: dir, Retention: 24 * time.Hour})
	must(t, err)
	t.Cleanup(func() { must(t, j.Close()) })
	b := &fixture{journal: j, path: filepath.Join(dir, j.ID().String()), now: noon}
	for _, r := range records {
		ticket, err := j.Append(r)
		must(t, err)
		must(t, ticket.Wait(t.Context()))
	}
	b.Source = New(context.Background(), Options{
		Journal: j, Now: func() time.Time { return b.now },
		Hooks: Hooks{
			Dead:    func(seq uint64, reason string) { b.dead = append(b.dead, fmt.Sprint(seq, " ", reason)) },
			Trimmed: func(upTo uint64) { b.trimmed = append(b.trimmed, upTo) },
			Problem: func(what string, err error) { b.problems = append(b.problems, what+": "+err.Error()) },
		},
	})
	t.Cleanup(func() { must(t, b.Close()) })
	return b
}

// read shows the entries behind after: "3 INCR n", with + where it is repeatable
// and - where it is not counted.
func (b *fixture) read(t *testing.T, after uint64, maxEntries int) []string {
	t.Helper()
	entries, err := b.Read(nil, after, maxEntries, 1<<20)
	must(t, err)
	var shown []string
	for _, e := range entries {
		text := fmt.Sprint(e.Seq)
		must(t, entry.EachCommand(e.Cmd, func(_ []byte, args [][]byte) error {
			for _, arg := range args {
				text += " " + string(arg)
			}
			return nil
		}))
		if e.Repeatable {
			text += "+"
		}
		if e.Uncounted {
			text += "-"
		}
		shown = append(shown, text)
	}
	return shown
}

// outcomes are those of the first n entries by the ledger.
func (b *fixture) outcomes(t *testing.T, n uint64) (all []string) {
	t.Helper()
	must(t, b.journal.Sync(t.Context()))
	for seq := uint64(1); seq <= n; seq++ {
		f, known, err := b.journal.Fate(seq)
		must(t, err)
		if !known {
			all = append(all, "none")
			continue
		}
		all = append(all, strings.TrimSpace(fmt.Sprint(f.Outcome, " ", f.RunID, f.ReplID, f.Detail)))
	}
	return all
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSourceRunsThrough: a journal from the first read to the last trim.
func TestSourceRunsThrough(t *testing.T) {
	b := lay(t,
		record(entry.Entry{Write: slices.Concat(cmd("INCR", "a"), cmd("INCR", "b"))}),
		record(entry.Entry{Write: cmd("INCR", "gone"), Lapses: ms(0)}),
		record(entry.Entry{Write: cmd("SET", "k", "v"), Sets: true, Lapses: ms(0)}),
		record(entry.Entry{Write: cmd("SET", "late", "v"), Useful: ms(0)}),
		journal.Record{At: noon, Meta: []byte{0xff}, Body: cmd("SET", "newer", "v")},
		record(entry.Entry{Write: cmd("INCR", "n"), Restore: slices.Concat(cmd("DEL", "n"), cmd("SET", "n", "5")), Until: ms(0)}),
		record(entry.Entry{Write: cmd("SET", "r", "v"), Repeatable: true}),
		record(entry.Entry{Write: cmd("LPUSH", "text", "v")}),
		record(entry.Entry{Write: cmd("INCR", "last")}))
	whole := []string{
		"1 INCR a", "1 INCR b-", "2 EXISTS gone+-", fmt.Sprintf("3 PEXPIREAT k %d+-", ms(0)), "4 ECHO +-", "5 ECHO +-",
		"6 DEL n+", "6 SET n 5+-", "7 SET r v+", "8 LPUSH text v", "9 INCR last",
	}
	equal(t, "the first reading", b.read(t, 0, 100), whole...)
	if got := b.Bounds(); got != (replay.Bounds{Last: 9}) {
		t.Errorf("bounds %+v", got)
	}
	// What is a dead letter by then is left out, and nothing is counted twice.
	equal(t, "after a broken connection", b.read(t, 0, 100), slices.Concat(whole[:4], whole[6:])...)
	equal(t, "from the middle", b.read(t, 6, 1), "7 SET r v+")
	equal(t, "the next", b.read(t, 7, 1), "8 LPUSH text v")
	equal(t, "over the dead letters alone", b.read(t, 3, 1), "6 DEL n+", "6 SET n 5+-")
	if got, want := b.Counts(), (Counts{Expired: 2, SetAside: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	must(t, b.DeadLetter(replay.DeadLetter{Seq: 8, Reason: replay.ReasonRejected, Text: "WRONGTYPE of v"}))
	equal(t, "dead letters", b.dead,
		"4 its use had ended before it could be replayed", "5 this version can't read it", "8 rejected")
	b.Met("run")
	must(t, b.SaveProgress(replay.Progress{Acked: 9, ReplID: "repl"}))
	if got := b.Progress(); got.Acked != 9 || b.journal.Progress().ReplID != "repl" {
		t.Errorf("progress %+v, kept %+v", got, b.journal.Progress())
	}
	must(t, b.Trim(2, true), b.Trim(9, false))
	if !slices.Equal(b.trimmed, []uint64{2, 9}) {
		t.Errorf("trimmed %v", b.trimmed)
	}
	equal(t, "the ledger", b.outcomes(t, 10),
		"replayed runrepl", "expired runrepl", "expired runrepl",
		"dead-lettered its use had ended before it could be replayed", "dead-lettered this version can't read it",
		"unconfirmed runrepl", "unconfirmed runrepl", "dead-lettered rejected", "unconfirmed runrepl", "none")
	equal(t, "afterwards", b.read(t, 9, 100))
	if got := b.Bounds(); got != (replay.Bounds{Trimmed: 9, Last: 9}) {
		t.Errorf("bounds %+v", got)
	}
	equal(t, "problems", b.problems)
	kept := 0
	must(t, b.journal.DeadLetters(func(d journal.DeadLetter) bool {
		if kept++; d.Seq == 8 && d.Reason != "rejected: WRONGTYPE of v" {
			t.Errorf("the reason beside the letter: %q", d.Reason)
		}
		return true
	}))
	if kept != 3 {
		t.Errorf("%d dead letters are kept", kept)
	}
}

// TestSourceTimePasses: an entry that is read again goes by the time of that reading,
// and is accounted for so, also where a later one had lapsed before it.
func TestSourceTimePasses(t *testing.T) {
	b := lay(t,
		record(entry.Entry{Write: cmd("INCR", "n"), Lapses: ms(time.Minute)}),
		record(entry.Entry{Write: cmd("INCR", "m"), Lapses: ms(0)}),
		record(entry.Entry{Write: cmd("INCR", "l"), Lapses: ms(time.Hour)}))
	equal(t, "at noon", b.read(t, 0, 100), "1 INCR n", "2 EXISTS m+-", "3 INCR l")
	b.now = noon.Add(2 * time.Minute)
	equal(t, "later", b.read(t, 0, 100), "1 EXISTS n+-", "2 EXISTS m+-", "3 INCR l")
	if got := b.Counts(); got != (Counts{Expired: 2}) {
		t.Errorf("counts %+v", got)
	}
	must(t, b.Trim(3, true))
	equal(t, "the ledger", b.outcomes(t, 3), "expired", "expired", "replayed")
}

// TestSourceGoesOnWithoutALedger: what the ledger does not take is reported, and holds
// up nothing.
func TestSourceGoesOnWithoutALedger(t *testing.T) {
	b := lay(t, record(entry.Entry{Write: cmd("INCR", "n")}))
	b.Met(strings.Repeat("x", 100)) // longer than the ledger has room for
	must(t, b.Trim(1, true))
	if len(b.problems) != 1 || !strings.HasPrefix(b.problems[0], "the ledger did not take an entry: ") {
		t.Errorf("problems %q", b.problems)
	}
	if b.Bounds().Trimmed != 1 || len(b.trimmed) != 1 {
		t.Errorf("bounds %+v, told of %v", b.Bounds(), b.trimmed)
	}
}

// TestSourceStops: a record that may not be replayed ends the reading before anything
// is done with it, and the end of the journal ends the trimming.
func TestSourceStops(t *testing.T) {
	b := lay(t,
		record(entry.Entry{Write: cmd("INCR", "n")}),
		journal.Record{At: noon, DB: 3, Meta: []byte{0xff}, Body: cmd("INCR", "m")})
	refused := errors.New("another database")
	b.opts.Check = func(r journal.Record) error {
		if r.DB != 0 {
			return refused
		}
		return nil
	}
	entries, err := b.Read(make([]replay.Entry, 2), 0, 100, 1<<20)
	if !errors.Is(err, refused) || len(entries) != 2 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	equal(t, "dead letters", b.dead)
	equal(t, "up to there", b.read(t, 0, 1), "1 INCR n")
	if err := b.DeadLetter(replay.DeadLetter{Seq: 3, Reason: replay.ReasonInDoubt}); err == nil {
		t.Error("a dead letter of an entry that is not there")
	}
	must(t, b.Close(), b.journal.Close())
	if err := b.Trim(1, true); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Trim of a closed journal: %v", err)
	}
	if len(b.trimmed) != 0 {
		t.Errorf("told of %v", b.trimmed)
	}
}

// TestSourceOfAnotherProcess: of what was sent before a restart, and is not read again,
// the ledger does not claim that it was replayed where it may have been too late.
func TestSourceOfAnotherProcess(t *testing.T) {
	late := func(key string) journal.Record {
		return record(entry.Entry{Write: cmd("SET", key, "v"), Sets: true, Lapses: ms(0)})
	}
	lasting := record(entry.Entry{Write: cmd("INCR", "n"), Lapses: ms(time.Hour)})
	b := lay(t, lasting, late("a"), late("b"), lasting, late("c"), late("d"))
	b.Met("run")
	equal(t, "behind the fence", b.read(t, 5, 100), fmt.Sprintf("6 PEXPIREAT d %d+-", ms(0)))
	must(t, b.Trim(1, true), b.Trim(6, false))
	equal(t, "the ledger", b.outcomes(t, 6),
		"replayed run", "unconfirmed run"+detailLapsed, "unconfirmed run"+detailLapsed, "unconfirmed run",
		"unconfirmed run"+detailLapsed, "expired run")
	equal(t, "problems", b.problems)

	b = lay(t, late("a"), lasting)
	must(t, b.Trim(2, true)) // the fence was at the end
	equal(t, "the ledger of what was never read", b.outcomes(t, 2), "replayed "+detailLapsed, "replayed")
}
