package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// viewOf looks at the journal from outside.
func viewOf(t testing.TB, j *Journal) *View {
	t.Helper()
	v, err := NewView(filepath.Join(j.opts.Dir, j.ID().String()))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// seen are the records that a view shows, as "sequence status".
func seen(t testing.TB, v *View) string {
	t.Helper()
	var got []string
	if err := v.Records(func(r Record, s Status) bool {
		got = append(got, fmt.Sprintf("%d %v", r.Seq, s))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, ", ")
}

// Trimmed segments stay, and are no part of the log any more.
func TestTrimmedSegmentsAreKept(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: minSegmentBytes}
	j, _ := mustOpen(t, o)
	big := strings.Repeat("x", minSegmentBytes)
	mustAppend(t, j, big, "b", big, "d")
	if err := j.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	s := j.Stats()
	if s.Entries != 1 || s.Retained < 2*minSegmentBytes || len(files(t, j, suffixKept)) < 2 {
		t.Fatalf("stats %+v, files %v", s, files(t, j, suffixKept))
	}
	wantContents(t, j, "4:d")
	const want = "1 retained, 2 retained, 3 retained, 4 pending"
	if got := seen(t, viewOf(t, j)); got != want {
		t.Fatalf("seen %q, want %q", got, want)
	}
	if j.Empty() {
		t.Fatal("a journal with a record is said to be empty")
	}
	mustClose(t, j)

	j, rec := mustOpen(t, o)
	if rec.Entries != 1 || rec.Lost != 0 || len(rec.Damaged) > 0 {
		t.Fatalf("recovery: %+v", rec)
	}
	if got := j.Stats(); got.Retained != s.Retained || got.Trimmed != 3 || got.Entries != 1 {
		t.Fatalf("stats %+v, before %+v", got, s)
	}
	wantContents(t, j, "4:d")
	if got := seen(t, viewOf(t, j)); got != want {
		t.Fatalf("seen %q, want %q", got, want)
	}
}

// What was kept is not replayed even if the progress is gone.
func TestKeptSegmentsAreNeverReplayed(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: minSegmentBytes}
	j, _ := mustOpen(t, o)
	big := strings.Repeat("x", minSegmentBytes)
	mustAppend(t, j, big, big, "c")
	if err := j.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	if err := os.Remove(filepath.Join(o.Dir, j.ID().String(), progressName)); err != nil {
		t.Fatal(err)
	}
	j, rec := mustOpen(t, o)
	if rec.Fresh {
		t.Fatalf("recovery: %+v", rec)
	}
	wantContents(t, j, "3:c")
}

func TestRetentionEnds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := Options{Dir: dir, Retention: time.Hour}
		j, _, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.Close() }()
		kept := func() int { return len(files(t, j, suffixKept)) }
		finish := func(body string) {
			t.Helper()
			seq := mustAppend(t, j, body)[0]
			mustRecord(t, j, Fate{From: seq, To: seq, Outcome: OutcomeReplayed})
			if err := j.Trim(ctx, seq); err != nil {
				t.Fatal(err)
			}
		}
		finish("a")
		time.Sleep(40 * time.Minute)
		finish("b")
		time.Sleep(19 * time.Minute)
		if n := kept(); n != 2 {
			t.Fatalf("after 59 minutes %d are kept", n)
		}
		time.Sleep(3 * time.Minute)
		if n := kept(); n != 1 {
			t.Fatalf("after 62 minutes %d are kept", n)
		}
		mustClose(t, j)
		if j, _, err = Open(o); err != nil {
			t.Fatal(err)
		}
		if n := kept(); n != 1 || j.Empty() {
			t.Fatalf("after a restart %d are kept, empty: %v", n, j.Empty())
		}
		wantFates(t, j, "2-2 replayed")
		time.Sleep(50 * time.Minute)
		if n, s := kept(), j.Stats(); n != 0 || s.Retained != 0 || !j.Empty() {
			t.Fatalf("at the end %d are kept, %+v, empty: %v; ledger %v", n, s, j.Empty(), files(t, j, suffixLedger))
		}
		wantFates(t, j)
		mustClose(t, j)
	})
}

// A process that starts after the time is over, or without retention, removes
// what is there.
func TestRetentionEndsAtOpen(t *testing.T) {
	for name, retention := range map[string]time.Duration{"over": time.Nanosecond, "off": -1} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir()}
			j, _ := mustOpen(t, o)
			mustAppend(t, j, "a")
			mustRecord(t, j, Fate{From: 1, To: 1, Outcome: OutcomeReplayed, At: time.Now().Add(-time.Minute)})
			if err := j.Trim(ctx, 1); err != nil {
				t.Fatal(err)
			}
			mustClose(t, j)
			path := filepath.Join(o.Dir, j.ID().String())
			for _, kept := range files(t, j, suffixKept) { // as if a minute had passed
				base, since, _ := parseKeptName(kept)
				if err := os.Rename(filepath.Join(path, kept), filepath.Join(path, keptName(base, since.Add(-time.Minute)))); err != nil {
					t.Fatal(err)
				}
			}
			o.Retention = retention
			j, _ = mustOpen(t, o)
			if left := append(files(t, j, suffixKept), files(t, j, suffixLedger)...); len(left) > 0 || !j.Empty() {
				t.Fatalf("left: %v", left)
			}
		})
	}
}

// What is kept has its place within MaxBytes, and takes none from what waits.
func TestRetentionYieldsToTheBudget(t *testing.T) {
	const limit = 64 << 10
	o := Options{Dir: t.TempDir(), SegmentBytes: minSegmentBytes, MaxBytes: limit}
	j, _ := mustOpen(t, o)
	body := strings.Repeat("x", 3000)
	for range 60 {
		seq := mustAppend(t, j, body)[0]
		if err := j.Trim(ctx, seq); err != nil {
			t.Fatal(err)
		}
		if s := j.Stats(); s.Bytes+s.Retained > limit {
			t.Fatalf("beyond the budget: %+v", s)
		}
	}
	if s := j.Stats(); s.Retained < limit/2 {
		t.Fatalf("less is kept than the budget allows: %+v", s)
	}
	// The newest are those that stay.
	if got := seen(t, viewOf(t, j)); !strings.HasSuffix(got, "59 retained, 60 retained") || strings.HasPrefix(got, "1 ") {
		t.Fatalf("seen %q", got)
	}
	for range 9 { // nearly all of the budget
		mustAppend(t, j, body)
	}
	if s := j.Stats(); s.Bytes+s.Retained > limit || s.Entries != 9 {
		t.Fatalf("what is kept did not give way: %+v", s)
	}
}

// A disk that is full takes a record in the place of what is kept.
func TestRetentionYieldsToTheDisk(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	mustAppend(t, j, "a")
	if err := j.Trim(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if left := files(t, j, suffixKept); len(left) != 1 {
		t.Fatalf("kept: %v", left)
	}
	faults.set(func(f *faultFS) {
		f.onCreate = func(name string) error {
			if strings.HasSuffix(name, suffixSegment) && len(files(t, j, suffixKept)) > 0 {
				return &os.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
			}
			return nil
		}
	})
	mustAppend(t, j, "b")
	if left, s := files(t, j, suffixKept), j.Stats(); len(left) > 0 || s.Retained != 0 {
		t.Fatalf("kept: %v, %+v", left, s)
	}
	wantContents(t, j, "2:b")
}

func TestKeptNames(t *testing.T) {
	since := time.UnixMilli(1_700_000_000_123)
	name := keptName(7, since)
	if base, at, ok := parseKeptName(name); base != 7 || !at.Equal(since) || !ok {
		t.Fatalf("%s reads as %d %v %v", name, base, at, ok)
	}
	for _, name := range []string{
		"", ".kept", "00000000000000000007.kept", "00000000000000000007.seg", "7.1700000000123.kept",
		"00000000000000000000.1700000000123.kept", "00000000000000000007.-1.kept", "00000000000000000007.x.kept",
		"00000000000000000007.1700000000123.kept.damaged",
	} {
		if _, _, ok := parseKeptName(name); ok {
			t.Errorf("%q passes for a kept segment", name)
		}
	}
}
