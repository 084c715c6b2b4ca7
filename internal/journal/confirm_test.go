package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConfirm(t *testing.T) {
	dir := t.TempDir()
	name := left(t, Options{Dir: dir}, time.Now())
	if err := Confirm(dir, "../"+name); err == nil {
		t.Error("a path was taken for a name")
	}
	if err := Confirm(dir, "0123456789abcdef0123456789abcdef"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a journal that is not there: %v", err)
	}
	if IsConfirmed(dir, name) {
		t.Error("confirmed by itself")
	}
	for range 2 {
		mustConfirm(t, dir, name)
	}
	j := mustAdopt(t, dir, name)
	if !IsConfirmed(dir, name) || !j.Confirmed() || !viewOf(t, j).Info().Confirmed {
		t.Error("the mark is not seen")
	}
	for range 2 {
		if err := j.Unconfirm(ctx); err != nil {
			t.Fatal(err)
		}
	}
	wantUnconfirmed(t, j, dir)
}

func mustConfirm(t testing.TB, dir, name string) {
	t.Helper()
	if err := Confirm(dir, name); err != nil {
		t.Fatal(err)
	}
}

// mustAdopt opens the journal of that name, which the test's end closes.
func mustAdopt(t testing.TB, dir, name string) *Journal {
	t.Helper()
	j, _, err := Adopt(Options{Dir: dir}, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// wantUnconfirmed checks that all ways of asking say so.
func wantUnconfirmed(t testing.TB, j *Journal, dir string) {
	t.Helper()
	if there, opened, seen := IsConfirmed(dir, j.ID().String()), j.Confirmed(), viewOf(t, j).Info().Confirmed; there || opened || seen {
		t.Errorf("it is still confirmed: by its directory %v, opened %v, from outside %v", there, opened, seen)
	}
}

// TestConfirmationEndsWithWhatItWasGivenFor: however that ended, the mark says nothing
// of what comes later, whether somebody took it away or not.
func TestConfirmationEndsWithWhatItWasGivenFor(t *testing.T) {
	for _, how := range []string{"trimmed", "trimmed and the mark stayed", "written by a process in between"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			name := left(t, Options{Dir: dir}, time.Now())
			mustConfirm(t, dir, name)
			path := filepath.Join(dir, name, confirmedName)
			mark, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			j := mustAdopt(t, dir, name)
			if how != "written by a process in between" {
				if err := j.Trim(ctx, 1); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the mark of what was trimmed: %v", err)
				}
				wantUnconfirmed(t, j, dir)
			}
			mustAppend(t, j, "later")
			mustClose(t, j)
			if how == "trimmed and the mark stayed" {
				if err := os.WriteFile(path, mark, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if IsConfirmed(dir, name) {
				t.Error("closed, it is confirmed")
			}
			j = mustAdopt(t, dir, name)
			if j.Stats().Entries == 0 {
				t.Fatal("nothing waits")
			}
			if j.Confirmed() {
				t.Error("what a later process wrote is confirmed")
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			mustConfirm(t, dir, name) // once more, for all that waits by now
			if j = mustAdopt(t, dir, name); !j.Confirmed() {
				t.Error("a mark that was renewed does not count")
			}
		})
	}
}

// TestConfirmationCoversWhatItsProcessAdds: a busy client's own journal could never be
// replayed otherwise.
func TestConfirmationCoversWhatItsProcessAdds(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir, SegmentBytes: minSegmentBytes})
	mustAppend(t, j, "a", strings.Repeat("b", minSegmentBytes), "c")
	name := j.ID().String()
	mustConfirm(t, dir, name)
	mustAppend(t, j, "d")
	if !j.Confirmed() || !IsConfirmed(dir, name) {
		t.Error("with the next write it is not confirmed any more")
	}
	if err := j.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if !j.Confirmed() {
		t.Error("in the middle of its replay it is not confirmed any more")
	}
	if err := j.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(ctx); err != nil { // the progress, which those outside look at
		t.Fatal(err)
	}
	wantUnconfirmed(t, j, dir)
}

func TestNothingToConfirm(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	name := j.ID().String()
	if err := Confirm(dir, name); !errors.Is(err, ErrNothingWaits) {
		t.Errorf("a new journal: %v", err)
	}
	mustAppend(t, j, "a")
	if err := j.Trim(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := Confirm(dir, name); !errors.Is(err, ErrNothingWaits) {
		t.Errorf("a journal that was replayed: %v", err)
	}
}

// TestOpenTakesAVoidMarkAway: that of a journal in which nothing waits.
func TestOpenTakesAVoidMarkAway(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustClose(t, j)
	path := filepath.Join(dir, j.ID().String(), confirmedName)
	if err := os.WriteFile(path, sealed([]byte(confirmedHead+"1\nlast 9\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark: %v", err)
	}
	wantUnconfirmed(t, j, dir)
}

// TestDamagedMarkCountsAsNone: nothing is replayed by it, and a new one replaces it.
func TestDamagedMarkCountsAsNone(t *testing.T) {
	dir := t.TempDir()
	name := left(t, Options{Dir: dir}, time.Now())
	mustConfirm(t, dir, name)
	path := filepath.Join(dir, name, confirmedName)
	mark, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(mark) + 1 { // beyond the end: an empty file
		b := slices.Clone(mark)
		if i < len(b) {
			b[i] ^= 1
		} else {
			b = nil
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if IsConfirmed(dir, name) {
			t.Errorf("byte %d was changed, and the mark counts", i)
		}
	}
	mustConfirm(t, dir, name)
	if !IsConfirmed(dir, name) {
		t.Error("a new mark does not count")
	}
}
