package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// faultFS fails what its functions fail; nil functions let everything pass.
// The functions get the file's name.
type faultFS struct {
	filesystem
	mu         sync.Mutex // guards the functions
	onCreate   func(name string) error
	onOpen     func(name string) error
	onWrite    func(name string, b []byte) (keep int, err error) // keep bytes are written before err
	onSync     func(name string) error
	onTruncate func(name string) error
	onRemove   func(name string) error
}

func (f *faultFS) set(change func(f *faultFS)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func call(f *faultFS, pick func() func(string) error, name string) error {
	f.mu.Lock()
	fn := pick()
	f.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(name)
}

func (f *faultFS) create(name string) (file, error) {
	if err := call(f, func() func(string) error { return f.onCreate }, name); err != nil {
		return nil, err
	}
	inner, err := f.filesystem.create(name)
	return &faultFile{inner, f, name}, err
}

func (f *faultFS) open(name string) (file, error) {
	if err := call(f, func() func(string) error { return f.onOpen }, name); err != nil {
		return nil, err
	}
	return f.filesystem.open(name)
}

func (f *faultFS) openRW(name string) (file, error) {
	inner, err := f.filesystem.openRW(name)
	return &faultFile{inner, f, name}, err
}

func (f *faultFS) remove(name string) error {
	if err := call(f, func() func(string) error { return f.onRemove }, name); err != nil {
		return err
	}
	return f.filesystem.remove(name)
}

// rename is how a file leaves the log when it is kept.
func (f *faultFS) rename(from, to string) error {
	if err := call(f, func() func(string) error { return f.onRemove }, from); err != nil {
		return err
	}
	return f.filesystem.rename(from, to)
}

// lazyFS never syncs, for tests that open a journal very often.
type lazyFS struct{ filesystem }

func (l lazyFS) create(name string) (file, error) {
	f, err := l.filesystem.create(name)
	return lazyFile{f}, err
}

func (l lazyFS) openRW(name string) (file, error) {
	f, err := l.filesystem.openRW(name)
	return lazyFile{f}, err
}

func (l lazyFS) syncDir() error { return nil }

type lazyFile struct{ file }

func (l lazyFile) sync() error { return nil }

type faultFile struct {
	file
	fs   *faultFS
	name string
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	fn := f.fs.onWrite
	f.fs.mu.Unlock()
	if fn != nil {
		if keep, err := fn(f.name, b); err != nil {
			n, writeErr := f.file.WriteAt(b[:keep], off)
			return n, errors.Join(err, writeErr)
		}
	}
	return f.file.WriteAt(b, off)
}

func (f *faultFile) sync() error {
	if err := call(f.fs, func() func(string) error { return f.fs.onSync }, f.name); err != nil {
		return err
	}
	return f.file.sync()
}

func (f *faultFile) truncate(size int64) error {
	if err := call(f.fs, func() func(string) error { return f.fs.onTruncate }, f.name); err != nil {
		return err
	}
	return f.file.truncate(size)
}

// openFaulty opens a journal in dir whose files can be made to fail.
func openFaulty(t *testing.T, dir string, p Fsync) (*Journal, *faultFS) {
	t.Helper()
	var faults *faultFS
	j, _ := mustOpen(t, Options{Dir: dir, Fsync: p, fs: func(f filesystem) filesystem {
		faults = &faultFS{filesystem: f}
		return faults
	}})
	return j, faults
}

var errDisk = errors.New("the disk is gone")

func always(err error) func(string) error { return func(string) error { return err } }

// appendErr appends, waits and returns what went wrong, if anything.
func appendErr(j *Journal, body string) error {
	ticket, err := j.Append(record(body))
	if err != nil {
		return err
	}
	return ticket.Wait(ctx)
}

func TestFailedSyncStopsUntilResume(t *testing.T) {
	dir := t.TempDir()
	j, faults := openFaulty(t, dir, FsyncAlways)
	mustAppend(t, j, "a")

	// Hold one batch in its sync, queue another behind it, then fail.
	entered, release := make(chan struct{}), make(chan struct{})
	syncs := 0
	faults.set(func(f *faultFS) {
		f.onSync = func(string) error {
			syncs++
			close(entered)
			<-release
			return errDisk
		}
	})
	inFlight, err := j.Append(record("b"))
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	behind, err := j.Append(record("c"))
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := inFlight.Wait(ctx); !errors.Is(err, ErrInDoubt) || !errors.Is(err, errDisk) {
		t.Fatalf("in flight: %v", err)
	}
	if err := behind.Wait(ctx); !errors.Is(err, ErrFailed) || errors.Is(err, ErrInDoubt) {
		t.Fatalf("queued behind: %v", err)
	}
	if err := appendErr(j, "d"); !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
		t.Fatalf("after: %v", err)
	}
	if f := j.Failure(); f == nil || f.First != 2 || f.Last != 3 || !f.InDoubt || !errors.Is(f.Err, errDisk) {
		t.Fatalf("failure: %+v", f)
	}
	if s := j.Stats(); !s.Failed || s.Entries != 1 || syncs != 1 {
		t.Fatalf("after %d syncs: %+v", syncs, s)
	}
	wantContents(t, j, "1:a")

	// A Resume that can't start a segment, or whose repair fails, changes nothing.
	faults.set(func(f *faultFS) { f.onSync = always(errDisk) })
	if err := j.Resume(ctx, nil); !errors.Is(err, ErrFailed) || !j.Stats().Failed {
		t.Fatalf("Resume on a dead disk: %v", err)
	}
	faults.set(func(f *faultFS) { f.onSync = nil })
	errRepair := errors.New("no")
	if err := j.Resume(ctx, func() error { return errRepair }); !errors.Is(err, errRepair) || !j.Stats().Failed {
		t.Fatalf("Resume with a failing repair: %v", err)
	}
	repaired := false
	err = j.Resume(ctx, func() error {
		wantContents(t, j, "1:a")
		if err := appendErr(j, "too early"); !errors.Is(err, ErrFailed) {
			t.Errorf("append during the repair: %v", err)
		}
		if err := j.Resume(ctx, nil); !errors.Is(err, ErrFailed) {
			t.Errorf("Resume during the repair: %v", err)
		}
		repaired = true
		return nil
	})
	if err != nil || !repaired || j.Failure() != nil {
		t.Fatalf("Resume: %v, repaired %v, %+v", err, repaired, j.Failure())
	}
	mustAppend(t, j, "e")
	wantContents(t, j, "1:a", "4:e") // 2 and 3 are burnt
	mustClose(t, j)

	// b reached the file whole, yet it does not come back: Resume settled that.
	j, rec := mustOpen(t, Options{Dir: dir})
	wantContents(t, j, "1:a", "4:e")
	if rec.Lost != 0 || len(rec.Damaged) != 0 {
		t.Fatalf("recovery: %+v", rec)
	}
}

func TestFailedSyncWithoutResumeMayComeBack(t *testing.T) {
	dir := t.TempDir()
	j, faults := openFaulty(t, dir, FsyncAlways)
	mustAppend(t, j, "a")
	faults.set(func(f *faultFS) { f.onSync = always(errDisk) })
	if err := appendErr(j, "b"); !errors.Is(err, ErrInDoubt) {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	wantContents(t, j, "1:a", "2:b")
	if seqs := mustAppend(t, j, "c"); seqs[0] != 3 {
		t.Fatalf("sequence %d", seqs[0])
	}
}

func TestFullDisk(t *testing.T) {
	for keep := range 60 {
		t.Run(fmt.Sprintf("%d bytes fit", keep), func(t *testing.T) {
			dir := t.TempDir()
			j, faults := openFaulty(t, dir, FsyncAlways)
			mustAppend(t, j, "a")
			full := func(name string, b []byte) (int, error) {
				if name == progressName {
					return 0, nil
				}
				return min(keep, len(b)), syscall.ENOSPC
			}
			faults.set(func(f *faultFS) { f.onWrite = full })
			for range 2 {
				if err := appendErr(j, "b"); !errors.Is(err, ErrFull) || errors.Is(err, ErrInDoubt) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("append: %v", err)
				}
				if err := j.Resume(ctx, nil); !errors.Is(err, ErrFull) {
					t.Fatalf("Resume: %v", err)
				}
			}
			// A full disk still drains.
			if err := j.Acknowledge(Progress{Acked: 1}); err != nil {
				t.Fatal(err)
			}
			if err := j.Trim(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if left := files(t, j, suffixSegment); len(left) != 0 {
				t.Fatalf("files: %v", left)
			}
			faults.set(func(f *faultFS) { f.onWrite = nil })
			if err := j.Resume(ctx, nil); err != nil {
				t.Fatal(err)
			}
			seq := mustAppend(t, j, "c")[0]
			mustClose(t, j)
			j, _ = mustOpen(t, Options{Dir: dir})
			wantContents(t, j, fmt.Sprintf("%d:c", seq))
		})
	}
}

// TestFullDiskThenCrash: what was answered 'not written' must not come back.
func TestFullDiskThenCrash(t *testing.T) {
	dir := t.TempDir()
	j, faults := openFaulty(t, dir, FsyncAlways)
	mustAppend(t, j, "a")
	faults.set(func(f *faultFS) {
		f.onWrite = func(_ string, b []byte) (int, error) { return len(b), syscall.ENOSPC }
	})
	if err := appendErr(j, "b"); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	mustClose(t, j)
	j, _ = mustOpen(t, Options{Dir: dir})
	wantContents(t, j, "1:a")
}

func TestWriteThatCannotBeCutOffIsInDoubt(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	mustAppend(t, j, "a")
	faults.set(func(f *faultFS) {
		f.onWrite = func(_ string, b []byte) (int, error) { return len(b) / 2, syscall.ENOSPC }
		f.onTruncate = always(errDisk)
	})
	if err := appendErr(j, "b"); !errors.Is(err, ErrInDoubt) || errors.Is(err, ErrFull) {
		t.Fatalf("append: %v", err)
	}
	wantContents(t, j, "1:a")
}

func TestFailureOfAWeakerPromise(t *testing.T) {
	for _, p := range []Fsync{FsyncEverySec, FsyncNo} {
		t.Run(p.String(), func(t *testing.T) {
			dir := t.TempDir()
			j, faults := openFaulty(t, dir, p)
			mustAppend(t, j, "a", "b")
			faults.set(func(f *faultFS) { f.onSync = always(errDisk) })
			// A Reader syncs before it hands anything out.
			r := j.NewReader(1)
			if _, err := r.Next(ctx, 10, 100); !errors.Is(err, errDisk) {
				t.Fatalf("Next: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if err := appendErr(j, "c"); !errors.Is(err, ErrFailed) {
				t.Fatalf("append: %v", err)
			}
			if f := j.Failure(); f == nil || f.First <= f.Last {
				t.Fatalf("failure: %+v", f)
			}
			faults.set(func(f *faultFS) { f.onSync = nil })
			// What was acknowledged stays.
			if err := j.Resume(ctx, func() error { wantContents(t, j, "1:a", "2:b"); return nil }); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, j, "d")
			mustClose(t, j)
			j, _ = mustOpen(t, Options{Dir: dir})
			wantContents(t, j, "1:a", "2:b", "3:d")
		})
	}
}

func TestSegmentThatCannotBeMade(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	faults.set(func(f *faultFS) { f.onCreate = always(syscall.EMFILE) })
	if err := appendErr(j, "a"); !errors.Is(err, ErrFailed) || errors.Is(err, ErrInDoubt) || !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("append: %v", err)
	}
	faults.set(func(f *faultFS) { f.onCreate = nil })
	if err := j.Resume(ctx, nil); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "b")
	wantContents(t, j, "2:b")
}

func TestTrimFailuresAreTriedAgain(t *testing.T) {
	dir := t.TempDir()
	j, faults := openFaulty(t, dir, FsyncAlways)
	mustAppend(t, j, "a", "b")
	onlyProgress := func(name string) error {
		if name == progressName {
			return errDisk
		}
		return nil
	}
	faults.set(func(f *faultFS) { f.onSync = onlyProgress })
	if err := j.Trim(ctx, 2); !errors.Is(err, errDisk) {
		t.Fatalf("Trim: %v", err)
	}
	// The progress is not safe, so the segment must still be there.
	if left := files(t, j, suffixSegment); len(left) != 1 {
		t.Fatalf("files: %v", left)
	}
	faults.set(func(f *faultFS) { f.onSync = nil; f.onRemove = always(errDisk) })
	if err := j.Trim(ctx, 2); !errors.Is(err, errDisk) {
		t.Fatalf("Trim: %v", err)
	}
	wantContents(t, j)
	faults.set(func(f *faultFS) { f.onRemove = nil })
	if err := j.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if left := files(t, j, suffixSegment); len(left) != 0 {
		t.Fatalf("files: %v", left)
	}
	if seqs := mustAppend(t, j, "c"); seqs[0] != 3 {
		t.Fatalf("sequence %d", seqs[0])
	}
}

func TestDeadLetterThatCannotBeKept(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	mustAppend(t, j, "a")
	dead := record("a")
	dead.Seq = 1
	made := false
	for _, fault := range []func(f *faultFS){
		func(f *faultFS) { // the header can be synced, the letter can't
			f.onSync = func(string) error {
				if made {
					return errDisk
				}
				made = true
				return nil
			}
		},
		func(f *faultFS) { f.onCreate = always(syscall.ENOSPC) },
		func(f *faultFS) { f.onSync = always(errDisk) },
		func(f *faultFS) {
			f.onWrite = func(string, []byte) (int, error) { return 10, syscall.ENOSPC }
		},
	} {
		faults.set(fault)
		if err := j.DeadLetter(ctx, dead, "WRONGTYPE"); err == nil || j.IsDead(1) {
			t.Fatalf("DeadLetter: %v", err)
		}
		faults.set(func(f *faultFS) { f.onCreate, f.onSync, f.onWrite = nil, nil, nil })
	}
	if err := j.DeadLetter(ctx, dead, "WRONGTYPE"); err != nil || !j.IsDead(1) {
		t.Fatalf("DeadLetter: %v", err)
	}
	mustAppend(t, j, "b") // the journal itself has not failed
}

// TestDeadLetterMakesRoom: what was only kept for the ledger goes when a full disk has no room
// for a letter.
func TestDeadLetterMakesRoom(t *testing.T) {
	var faults *faultFS
	j, _ := mustOpen(t, Options{Dir: t.TempDir(), SegmentBytes: minSegmentBytes, fs: func(f filesystem) filesystem {
		faults = &faultFS{filesystem: f}
		return faults
	}})
	big := strings.Repeat("x", minSegmentBytes)
	mustAppend(t, j, big, big, "rejected")
	if err := j.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	kept := func() int { return len(files(t, j, suffixKept)) }
	before := kept()
	faults.set(func(f *faultFS) {
		f.onCreate = func(name string) error {
			if strings.HasSuffix(name, suffixDead) && kept() == before {
				return syscall.ENOSPC
			}
			return nil
		}
	})
	dead := record("rejected")
	dead.Seq = 3
	if err := j.DeadLetter(ctx, dead, "WRONGTYPE"); err != nil || !j.IsDead(3) || kept() >= before {
		t.Errorf("DeadLetter: %v; %d segments were kept, and %d are", err, before, kept())
	}
}
