package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mustRecord records fates of the form "from-to outcome", in the given order.
func mustRecord(t testing.TB, j *Journal, fates ...Fate) {
	t.Helper()
	for _, f := range fates {
		if err := j.Record(f); err != nil {
			t.Fatalf("Record: %v", err)
		}
	}
}

func wantFates(t testing.TB, j *Journal, want ...string) {
	t.Helper()
	var got []string
	if err := j.Fates(func(f Fate) bool {
		got = append(got, fmt.Sprintf("%d-%d %v", f.From, f.To, f.Outcome))
		return true
	}); err != nil {
		t.Fatalf("Fates: %v", err)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Fatalf("fates: %v, want %v", got, want)
	}
}

func TestLedgerOutlivesTheProcess(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	j, _ := mustOpen(t, o)
	mustAppend(t, j, "a", "b", "c")
	at := time.UnixMilli(time.Now().UnixMilli()) // kept to the millisecond, and for a day
	full := Fate{
		From: 1, To: 2, Outcome: OutcomeReplayed, At: at, Mended: true,
		RunID: strings.Repeat("a", 40), ReplID: strings.Repeat("b", 40), Detail: "a word",
	}
	mustRecord(t, j, full, Fate{From: 3, To: 3, Outcome: OutcomeExpired, At: at})
	if err := j.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	wantFates(t, j, "1-2 replayed", "3-3 expired")
	mustClose(t, j)

	j, _ = mustOpen(t, o)
	wantFates(t, j, "1-2 replayed", "3-3 expired")
	got, ok, err := j.Fate(2)
	if got.At.Equal(full.At) {
		got.At = full.At // equal, and perhaps of another location
	}
	if got != full || !ok || err != nil {
		t.Fatalf("fate of 2: %+v %v %v, want %+v", got, ok, err, full)
	}
	if _, ok, err := j.Fate(4); ok || err != nil {
		t.Fatalf("fate of 4: %v %v", ok, err)
	}
	mustRecord(t, j, Fate{From: 4, To: 9, Outcome: OutcomeDiscarded})
	wantFates(t, j, "1-2 replayed", "3-3 expired", "4-9 discarded")
}

// What follows on from the fate before it makes one entry with it.
func TestLedgerJoinsRanges(t *testing.T) {
	j, _ := mustOpen(t, Options{Dir: t.TempDir()})
	mustRecord(t, j,
		Fate{From: 1, To: 5, Outcome: OutcomeReplayed, RunID: "x"},
		Fate{From: 6, To: 6, Outcome: OutcomeReplayed, RunID: "x"},
		Fate{From: 7, To: 9, Outcome: OutcomeReplayed, RunID: "y"},
		Fate{From: 11, To: 11, Outcome: OutcomeReplayed, RunID: "y"},
		Fate{From: 12, To: 12, Outcome: OutcomeExpired, RunID: "y"})
	wantFates(t, j, "1-6 replayed", "7-9 replayed", "11-11 replayed", "12-12 expired")
}

func TestLedgerRefusesWhatIsNoFate(t *testing.T) {
	for name, o := range map[string]Options{"kept": {Dir: t.TempDir()}, "memory": {}} {
		j, _ := mustOpen(t, o)
		for _, f := range []Fate{
			{},
			{From: 1, To: 1},
			{From: 0, To: 1, Outcome: OutcomeExpired},
			{From: 2, To: 1, Outcome: OutcomeExpired},
			{From: 2, To: 1<<64 - 1, Outcome: OutcomeExpired},
			{From: 1, To: 1, Outcome: OutcomeExpired, RunID: strings.Repeat("x", maxIDBytes+1)},
			{From: 1, To: 1, Outcome: OutcomeExpired, ReplID: strings.Repeat("x", maxIDBytes+1)},
		} {
			if err := j.Record(f); err == nil {
				t.Errorf("%s: %+v was recorded", name, f)
			}
		}
		wantFates(t, j)
	}
}

func TestLedgerWithoutRetention(t *testing.T) {
	for name, o := range map[string]Options{"off": {Dir: t.TempDir(), Retention: -1}, "memory": {}} {
		t.Run(name, func(t *testing.T) {
			j, _ := mustOpen(t, o)
			mustAppend(t, j, "a")
			mustRecord(t, j, Fate{From: 1, To: 1, Outcome: OutcomeReplayed})
			if err := j.Trim(ctx, 1); err != nil {
				t.Fatal(err)
			}
			wantFates(t, j)
			for _, suffix := range []string{suffixLedger, suffixKept, suffixSegment} {
				if left := files(t, j, suffix); len(left) > 0 {
					t.Fatalf("files: %v", left)
				}
			}
		})
	}
}

// A detail is cut between characters, and is the only thing that is cut.
func TestLedgerCutsDetails(t *testing.T) {
	j, _ := mustOpen(t, Options{Dir: t.TempDir()})
	mustRecord(t, j, Fate{From: 1, To: 1, Outcome: OutcomeDiscarded, Detail: strings.Repeat("x", maxDetailBytes-1) + "é"})
	f, _, err := j.Fate(1)
	if err != nil || f.Detail != strings.Repeat("x", maxDetailBytes-1) {
		t.Fatalf("detail of %d bytes, %v", len(f.Detail), err)
	}
}

func TestLedgerGrowsOverFiles(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	j, _ := mustOpen(t, o)
	detail := strings.Repeat("x", maxDetailBytes)
	const n = 3 * maxLedgerFile / maxDetailBytes
	var want []string
	for i := range uint64(n) {
		mustRecord(t, j, Fate{From: i + 1, To: i + 1, Outcome: []Outcome{OutcomeExpired, OutcomeConflicted}[i%2], Detail: detail})
		want = append(want, fmt.Sprintf("%d-%d %v", i+1, i+1, []Outcome{OutcomeExpired, OutcomeConflicted}[i%2]))
	}
	wantFates(t, j, want...)
	if got := files(t, j, suffixLedger); len(got) < 3 {
		t.Fatalf("files: %v", got)
	}
	mustClose(t, j)
	j, _ = mustOpen(t, o)
	wantFates(t, j, want...)
	seen := 0
	if err := j.Fates(func(Fate) bool { seen++; return seen < 5 }); err != nil || seen != 5 {
		t.Fatalf("%d were seen of 5, %v", seen, err)
	}
}

// A ledger that can't be written stops nothing, says so, and catches up.
func TestLedgerFailures(t *testing.T) {
	dir := t.TempDir()
	j, faults := openFaulty(t, dir, FsyncAlways)
	mustAppend(t, j, "a", "b", "c", "d")
	onlyLedger := func(name string) error {
		if strings.HasSuffix(name, suffixLedger) {
			return errDisk
		}
		return nil
	}
	again := func() { // as if the pause were over
		t.Helper()
		if err := j.call(ctx, func() error { j.w.ledger.retry = time.Time{}; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	// What was written before a failure may be there twice, which says nothing new.
	known := func(j *Journal, upTo uint64) {
		t.Helper()
		for seq := range upTo {
			if f, ok, err := j.Fate(seq + 1); err != nil || !ok || f.RunID != fmt.Sprint(seq+1) {
				t.Fatalf("fate of %d: %+v %v %v", seq+1, f, ok, err)
			}
		}
	}
	trim := func(seq uint64) {
		t.Helper()
		mustRecord(t, j, Fate{From: seq, To: seq, Outcome: OutcomeExpired, RunID: fmt.Sprint(seq)})
		if err := j.Trim(ctx, seq); err != nil {
			t.Fatalf("Trim: %v", err)
		}
		if s := j.Stats(); s.Trimmed != seq || !errors.Is(s.LedgerErr, errDisk) {
			t.Fatalf("after a failure: %+v", s)
		}
		known(j, seq)
		again()
	}
	faults.set(func(f *faultFS) { f.onCreate = onlyLedger })
	trim(1)
	faults.set(func(f *faultFS) { f.onCreate, f.onSync = nil, onlyLedger })
	trim(2)
	faults.set(func(f *faultFS) {
		f.onSync = nil
		f.onWrite = func(name string, b []byte) (int, error) {
			if !strings.HasSuffix(name, suffixLedger) || len(b) == headerSize {
				return len(b), nil
			}
			return len(b) / 2, errDisk
		}
	})
	trim(3)
	faults.set(func(f *faultFS) { f.onWrite = nil })
	mustRecord(t, j, Fate{From: 4, To: 4, Outcome: OutcomeExpired, RunID: "4"})
	if err := j.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.LedgerErr != nil || s.LedgerLost != 0 {
		t.Fatalf("after the disk recovered: %+v", s)
	}
	mustClose(t, j)
	j, _ = mustOpen(t, Options{Dir: dir})
	known(j, 4)
}

// Close does not wait out the pause after a failure, and says what it had to give up.
func TestLedgerAtTheEnd(t *testing.T) {
	for _, recovers := range []bool{true, false} {
		dir := t.TempDir()
		j, faults := openFaulty(t, dir, FsyncAlways)
		faults.set(func(f *faultFS) { f.onCreate = always(errDisk) })
		mustRecord(t, j, Fate{From: 1, To: 1, Outcome: OutcomeDiscarded})
		if err := j.Sync(ctx); err != nil || !errors.Is(j.Stats().LedgerErr, errDisk) {
			t.Fatalf("Sync: %v, ledger: %v", err, j.Stats().LedgerErr)
		}
		if recovers {
			faults.set(func(f *faultFS) { f.onCreate = nil })
		}
		switch err := j.Close(); {
		case recovers && err != nil:
			t.Errorf("on a disk that has recovered: %v", err)
		case !recovers && (!errors.Is(err, errDisk) || !strings.Contains(err.Error(), "1 entries of the ledger")):
			t.Errorf("an entry was lost, and Close says: %v", err)
		case !recovers && j.Stats().LedgerLost != 1:
			t.Errorf("an entry was lost: %+v", j.Stats())
		}
		j, _ = mustOpen(t, Options{Dir: dir})
		if _, ok, err := j.Fate(1); ok != recovers || err != nil {
			t.Errorf("on a disk that recovers, %v: the fate is there: %v, %v", recovers, ok, err)
		}
	}
}

func TestLedgerQueueIsBounded(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	faults.set(func(f *faultFS) { f.onCreate = always(errDisk) })
	const more = 10
	for i := range uint64(maxQueuedFates + more) {
		mustRecord(t, j, Fate{From: 2*i + 1, To: 2*i + 1, Outcome: OutcomeExpired})
	}
	_ = j.call(ctx, func() error { return nil }) // the writer has put back what it tried
	if s := j.Stats(); s.LedgerLost != more || s.LedgerErr == nil {
		t.Fatalf("%d were given up, want %d; error %v", s.LedgerLost, more, s.LedgerErr)
	}
	faults.set(func(f *faultFS) { f.onCreate = nil })
}

// A damaged ledger costs what was damaged, and the journal opens.
func TestLedgerDamage(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir}
	j, _ := mustOpen(t, o)
	for i := range uint64(50) {
		mustRecord(t, j, Fate{From: 2*i + 1, To: 2*i + 1, Outcome: OutcomeExpired, Detail: "detail"})
		if err := j.Sync(ctx); err != nil { // a batch
			t.Fatal(err)
		}
	}
	mustClose(t, j)
	path := filepath.Join(dir, j.ID().String(), fileName(1, suffixLedger))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 37 {
		for name, b := range map[string][]byte{
			"flipped": append(append(append([]byte{}, whole[:at]...), whole[at]^0x40), whole[at+1:]...),
			"cut":     whole[:at],
		} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			j, _ := mustOpen(t, o)
			seen, last := 0, uint64(0)
			_ = j.Fates(func(f Fate) bool { // an error tells of the damage
				if f.Outcome != OutcomeExpired || f.Detail != "detail" || f.From%2 != 1 || f.From != f.To || f.From <= last {
					t.Fatalf("%s at %d: %+v", name, at, f)
				}
				last = f.From
				seen++
				return true
			})
			if name == "flipped" && at >= headerSize+batchSize && seen < 49 {
				t.Fatalf("flipped at %d: only %d are left", at, seen)
			}
			mustClose(t, j)
		}
	}
}

func TestFateIndex(t *testing.T) {
	var x FateIndex
	for _, f := range []Fate{
		{From: 5, To: 5, Outcome: OutcomeExpired},
		{From: 1, To: 10, Outcome: OutcomeReplayed},
		{From: 11, To: 20, Outcome: OutcomeUnconfirmed},
		{From: 12, To: 12, Outcome: OutcomeDeadLettered},
		{From: 13, To: 13, Outcome: OutcomeDeadLettered},
		{From: 13, To: 13, Outcome: OutcomeReplayed, Mended: true},
		{From: 18, To: 19, Outcome: OutcomeReplayed}, // sent again after a failover
		{From: 30, To: 30, Outcome: OutcomeDeadLettered},
		{From: 25, To: 40, Outcome: OutcomeDiscarded},
		{From: 26, To: 26, Outcome: OutcomeReplayed, Mended: true},
	} {
		x.Add(f)
	}
	for seq, want := range map[uint64]string{
		1: "replayed", 5: "expired", 10: "replayed", 11: "unconfirmed", 12: "dead-lettered", 13: "replayed",
		18: "replayed", 20: "unconfirmed", 21: "", 25: "discarded", 26: "replayed", 30: "discarded", 40: "discarded", 41: "",
	} {
		f, ok := x.Lookup(seq)
		if got := f.Outcome.String(); ok && got != want || ok != (want != "") {
			t.Errorf("fate of %d: %q %v, want %q", seq, got, ok, want)
		}
	}
}

func TestOutcomeNames(t *testing.T) {
	for o := OutcomeReplayed; o <= OutcomeDiscarded; o++ {
		if got, ok := ParseOutcome(o.String()); got != o || !ok {
			t.Errorf("%d is %q, which reads as %d, %v", o, o, got, ok)
		}
	}
	for _, s := range []string{"", "lost"} {
		if _, ok := ParseOutcome(s); ok {
			t.Errorf("%q is an outcome", s)
		}
	}
	if got := Outcome(99).String(); got != "outcome(99)" {
		t.Errorf("of a newer version: %q", got)
	}
}

// FuzzFate: whatever passes for a fate is written as what was read.
func FuzzFate(f *testing.F) {
	whole := Fate{From: 3, To: 9, Outcome: OutcomeConflicted, Mended: true, RunID: "r", ReplID: "i", Detail: "d"}
	f.Add(whole.appendTo(nil))
	f.Add(append(whole.appendTo(nil), 99, 2, 0, 'x', 'y'))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fate, ok := parseFate(Record{Body: b})
		if !ok {
			return
		}
		again, ok := parseFate(Record{Body: fate.appendTo(nil)})
		if again != fate || !ok {
			t.Fatalf("%+v reads as %+v, %v", fate, again, ok)
		}
	})
}
