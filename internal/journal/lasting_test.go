package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestWhatWasShownKeepsItsSequence: a record whose sync failed is found by the next
// process, whose own sync says yes and means nothing. Whoever was shown it may have
// replayed it, so that its sequence is not given out again, even if the power fails at
// once and takes the record along.
func TestWhatWasShownKeepsItsSequence(t *testing.T) {
	gone := 0
	for seed := range uint64(40) {
		w := newWitness(seed)
		open := func(want int64) {
			t.Helper()
			rec, err := w.open()
			if err != nil || rec.Entries != want {
				t.Fatalf("seed %d: %v, %+v; want %d entries", seed, err, rec, want)
			}
		}
		die := func(power bool) {
			w.files.crashIn(1)
			w.leave()
			w.files.restart(power)
		}
		open(0)
		mustAppend(t, w.journal, "a")
		w.files.failOn("sync", suffixSegment, errDisk)
		if err := appendErr(w.journal, "b"); !errors.Is(err, ErrInDoubt) {
			t.Fatal(err)
		}
		die(false)
		open(2)
		die(true)
		if _, err := w.open(); err != nil {
			t.Fatal(err)
		}
		if w.journal.Stats().Last < 2 {
			gone++
		}
		if seq := mustAppend(t, w.journal, "c")[0]; seq != 3 {
			t.Errorf("seed %d: sequence %d was given out again", seed, seq)
		}
		w.leave()
	}
	if gone == 0 {
		t.Error("the power failed 40 times and the record was always there")
	}
}

// TestTrimBringsNothingVoidBack: a segment says by its header that what follows the
// records of the one before it is void. A crash may undo removals in any order, and must
// not leave the void ones without the header that says so.
func TestTrimBringsNothingVoidBack(t *testing.T) {
	crashes := 0
	for seed := range uint64(400) {
		w := newWitness(seed)
		must := func(errs ...error) {
			t.Helper()
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(w.files.story, "\n"))
			}
		}
		must(w.reopen(), w.append(2))
		w.files.failOn("sync", suffixSegment, errDisk)
		if err := appendErr(w.journal, "void"); !errors.Is(err, ErrInDoubt) {
			t.Fatal(err)
		}
		w.files.failOn("", "", nil)
		must(w.journal.Resume(ctx, nil))
		w.records[3], w.answers[3] = "void", answerRefused
		w.files.crashIn(1)
		w.leave()
		w.files.restart(false)
		must(w.reopen())
		w.files.crashIn(1 + w.rnd.IntN(8))
		w.trimmed = w.highest
		must(w.unlessCrashed(w.journal.Trim(ctx, w.trimmed)))
		if w.files.hasCrashed() {
			crashes++
		}
		w.files.crashIn(1)
		w.leave()
		w.files.restart(true)
		must(w.reopen())
		w.leave()
	}
	if crashes < 100 {
		t.Errorf("%d crashes only", crashes)
	}
}

// TestUnsyncedProgressLeavesTheSyncedOne: however often the progress is written before
// the next sync, a crash that tears all of that leaves what was synced.
func TestUnsyncedProgressLeavesTheSyncedOne(t *testing.T) {
	for seed := range uint64(300) {
		w := newWitness(seed)
		if _, err := w.open(); err != nil {
			t.Fatal(err)
		}
		acknowledge := func(acked uint64, sync bool) {
			t.Helper()
			err := w.journal.Acknowledge(Progress{Acked: acked})
			if err == nil {
				err = w.journal.call(ctx, func() error { return w.journal.saveProgress(sync) })
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		acknowledge(1, true)
		for acked := uint64(2); acked < 6; acked++ {
			acknowledge(acked, false)
		}
		w.files.crashIn(1)
		w.leave()
		w.files.restart(true)
		if _, err := w.open(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got := w.journal.Progress().Acked; got < 1 || got > 5 {
			t.Errorf("seed %d: acknowledged up to %d", seed, got)
		}
		w.leave()
	}
}

// TestHalfMadeDirectoryGoes: what an attempt left behind, because it could not remove
// it, does not stop the next one; and an attempt that fails leaves nothing.
func TestHalfMadeDirectoryGoes(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	id := ClientID{7}
	tmp, dir := filepath.Join(o.Dir, ".new-"+id.String()), filepath.Join(o.Dir, id.String())
	stray := filepath.Join(tmp, progressName)
	if err := errors.Join(os.Mkdir(tmp, 0o700), os.WriteFile(stray, []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := makeDirOf(o, id); err != nil {
		t.Fatal(err)
	}
	if got, err := dirFS(dir).list(); err != nil || !slices.Equal(got, []string{lockName, progressName}) {
		t.Errorf("in the directory: %v, %v", got, err)
	}
	if err := makeDirOf(o, id); !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) { // its name is taken
		t.Errorf("again: %v", err)
	}
	if _, err := os.Stat(tmp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the failed attempt is still there: %v", err)
	}
	if j, _, err := Adopt(o, id.String()); err != nil {
		t.Errorf("the first one is not whole any more: %v", err)
	} else {
		mustClose(t, j)
	}
}

// TestDirectoryThatMayNotLast: an attempt that got the directory its name and could not
// make that last is not taken for one that could.
func TestDirectoryThatMayNotLast(t *testing.T) {
	o := Options{Dir: t.TempDir()}.withDefaults()
	j, _, err := openLate(o, new(Recovery), "can't be used", syscall.ENOSPC)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, j)
	if err := makeDirOf(o, j.ID()); err != nil { // as far as that attempt came
		t.Fatal(err)
	}
	var synced []string
	fault := error(syscall.ENOSPC)
	late := j.fs.(*lateDir)
	late.lasting = func(path string) error {
		synced = append(synced, path)
		return fault
	}
	if err := j.Resume(ctx, nil); !errors.Is(err, syscall.ENOSPC) || late.made.Load() {
		t.Errorf("where nothing lasts: %v", err)
	}
	fault = nil
	if err := j.Resume(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(synced, " "); got != o.Dir+" "+o.Dir {
		t.Errorf("synced: %s", got)
	}
	mustAppend(t, j, "a")
	wantContents(t, j, "1:a")
}
