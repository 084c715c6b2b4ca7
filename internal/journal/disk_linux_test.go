package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/tmpfs"
)

// appendUntilError appends records of 1 KiB until one fails, and returns those
// that were committed, as contents would show them.
func appendUntilError(t *testing.T, j *Journal) (committed []string, err error) {
	t.Helper()
	for i := range 100_000 {
		body := fmt.Sprintf("record %d %s", i, strings.Repeat("x", 1000))
		ticket, err := j.Append(record(body))
		if err == nil {
			err = ticket.Wait(ctx)
		}
		if err != nil {
			return committed, err
		}
		committed = append(committed, fmt.Sprintf("%d:%s", ticket.Seq(), body))
	}
	t.Fatal("nothing ever failed")
	return nil, nil
}

// TestDiskThatIsFull fills a real file system: the writer is told so at once and
// for certain, a replay gets on, and what it gives back is used again.
func TestDiskThatIsFull(t *testing.T) {
	if !tmpfs.Isolated(t) {
		return
	}
	for _, retention := range []bool{false, true} {
		t.Run(fmt.Sprintf("retention %v", retention), func(t *testing.T) {
			o := Options{Dir: filepath.Join(tmpfs.Mount(t, "size=512k"), "journals"), SegmentBytes: 64 << 10, Retention: -1}
			if retention {
				o.Retention = 0
			}
			j, _ := mustOpen(t, o)
			committed, err := appendUntilError(t, j)
			if !errors.Is(err, ErrFull) || errors.Is(err, ErrInDoubt) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("append: %v", err)
			}
			if len(committed) < 230 { // with their meta, 2 KiB each
				t.Fatalf("the disk was full after %d records", len(committed))
			}
			if err := j.Resume(ctx, nil); !errors.Is(err, ErrFull) {
				t.Fatalf("Resume: %v", err)
			}
			wantContents(t, j, committed...)
			// A replay of the first half gives its segments back.
			half := sequenceOf(committed[len(committed)/2])
			if err := j.Acknowledge(Progress{Acked: half}); err != nil {
				t.Fatal(err)
			}
			if err := j.Trim(ctx, half); err != nil {
				t.Fatal(err)
			}
			if err := j.Resume(ctx, nil); err != nil {
				t.Fatalf("Resume: %v", err)
			}
			committed = committed[len(committed)/2+1:]
			for _, body := range []string{"it goes on", strings.Repeat("y", 50_000)} {
				committed = append(committed, fmt.Sprintf("%d:%s", mustAppend(t, j, body)[0], body))
			}
			wantContents(t, j, committed...)
			mustClose(t, j)
			j, rec := mustOpen(t, o)
			if rec.Fresh || rec.Lost != 0 || len(rec.Damaged) != 0 {
				t.Fatalf("recovery: %+v", rec)
			}
			wantContents(t, j, committed...)
			if got := j.Progress().Acked; got != half {
				t.Fatalf("acknowledged up to %d, want %d", got, half)
			}
			mustClose(t, j)
		})
	}
}

// TestDiskThatIsReadOnly: Open says so, and changes and forgets nothing.
func TestDiskThatIsReadOnly(t *testing.T) {
	if !tmpfs.Isolated(t) {
		return
	}
	disk := tmpfs.Mount(t, "size=1m")
	o := Options{Dir: filepath.Join(disk, "journals")}
	j, _ := mustOpen(t, o)
	id := j.ID()
	mustAppend(t, j, "a", "b")
	mustClose(t, j)
	tmpfs.Remount(t, disk, syscall.MS_RDONLY, "")
	if j, rec, err := Open(o); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "directory can't be used") {
		if err == nil {
			mustClose(t, j)
		}
		t.Fatalf("Open: %v, %+v", err, rec)
	}
	tmpfs.Remount(t, disk, 0, "")
	j, rec := mustOpen(t, o)
	if j.ID() != id || rec.Lost != 0 {
		t.Fatalf("recovery: %+v", rec)
	}
	wantContents(t, j, "1:a", "2:b")
	mustAppend(t, j, "c")
	mustClose(t, j)
}

// fewFiles bounds the process to so many open files, and takes and gives back what is
// left of them.
type fewFiles struct {
	t     *testing.T
	taken []*os.File
}

func newFewFiles(t *testing.T) *fewFiles {
	t.Helper()
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 60
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return &fewFiles{t: t}
}

// leave takes all but so many.
func (f *fewFiles) leave(spare int) {
	f.t.Helper()
	for {
		file, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			f.t.Fatal(err)
		}
		f.taken = append(f.taken, file)
	}
	f.giveBack(max(0, len(f.taken)-spare))
}

// giveBack gives back all but so many.
func (f *fewFiles) giveBack(keep int) {
	f.t.Helper()
	for _, file := range f.taken[keep:] {
		if err := file.Close(); err != nil {
			f.t.Error(err)
		}
	}
	f.taken = f.taken[:keep]
}

// TestNoFilesLeft uses up the process's file descriptors.
func TestNoFilesLeft(t *testing.T) {
	if !tmpfs.Isolated(t) {
		return
	}
	few := newFewFiles(t)
	o := Options{Dir: t.TempDir(), SegmentBytes: 16 << 10}
	j, _ := mustOpen(t, o)
	id := j.ID()
	mustAppend(t, j, "a")
	few.leave(0)
	committed, err := appendUntilError(t, j) // until a new segment is due
	if !errors.Is(err, ErrFailed) || errors.Is(err, ErrInDoubt) || !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("append: %v", err)
	}
	if err := j.Resume(ctx, nil); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("Resume: %v", err)
	}
	few.giveBack(0)
	if err := j.Resume(ctx, nil); err != nil {
		t.Fatal(err)
	}
	committed = append([]string{"1:a"}, committed...)
	more, err := j.Append(record("b"))
	if err != nil {
		t.Fatal(err)
	}
	committed = append(committed, fmt.Sprintf("%d:b", more.Seq()))
	wantContents(t, j, committed...)
	mustClose(t, j)

	// However few there are, what Open can't read it does not take for damaged.
	for spare := 0; ; spare++ {
		few.leave(spare)
		k, rec, err := Open(o)
		few.giveBack(0)
		if err != nil {
			t.Fatalf("with %d files: %v", spare, err)
		}
		again := k.ID() == id
		if !again {
			if f := k.Failure(); !rec.Fresh || f == nil || !errors.Is(f.Err, syscall.EMFILE) {
				t.Fatalf("with %d files: %+v, failure %+v", spare, rec, f)
			}
		}
		if again {
			if rec.Lost != 0 || len(rec.Damaged) != 0 {
				t.Fatalf("with %d files: %+v", spare, rec)
			}
			wantContents(t, k, committed...)
		}
		mustClose(t, k)
		if again {
			return
		}
	}
}

// TestStartWithFewFiles: a journal that found too few open files for its directory
// makes it later, wherever it stopped.
func TestStartWithFewFiles(t *testing.T) {
	if !tmpfs.Isolated(t) {
		return
	}
	few := newFewFiles(t)
	snatched := 0
	for spare := range 6 {
		for _, snatch := range []bool{false, true} {
			o := Options{Dir: filepath.Join(t.TempDir(), "a", "b")}
			few.leave(spare)
			j, rec, err := Open(o)
			if err != nil {
				t.Fatalf("with %d files: %v", spare, err)
			}
			late := j.Failure() != nil
			for range 2 {
				if err := j.Resume(ctx, nil); err != nil && !errors.Is(err, syscall.EMFILE) {
					t.Errorf("with %d files: Resume: %v", spare, err)
				}
			}
			few.giveBack(0)
			other, _, err := Adopt(o, j.ID().String())
			taken := snatch && err == nil
			if taken {
				mustAppend(t, other, "of another process")
				snatched++
			}
			if err == nil {
				mustClose(t, other)
			}
			if taken {
				if err := j.Resume(ctx, nil); !errors.Is(err, ErrInUse) {
					t.Errorf("with %d files: what another process used: %v", spare, err)
				}
			} else if err := j.Resume(ctx, nil); err != nil {
				t.Errorf("with %d files, failed at first: %v: Resume: %v", spare, late, err)
			} else {
				mustAppend(t, j, "a")
				wantContents(t, j, "1:a")
			}
			mustClose(t, j)
			k, found := mustOpen(t, o)
			if !rec.Fresh || k.ID() != j.ID() || found.Entries != 1 || len(found.Skipped) != 0 {
				t.Errorf("with %d files, then: %+v", spare, found)
			}
			mustClose(t, k)
		}
	}
	if snatched == 0 {
		t.Error("no attempt stopped where another process could come between")
	}
	// However often a process starts so, it does not leave ever more behind.
	dir := t.TempDir()
	for range 5 {
		few.leave(1)
		j, _, err := Open(Options{Dir: dir})
		few.giveBack(0)
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, j)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 {
		t.Errorf("five starts left %d directories behind, %v", len(entries), err)
	}
}

// TestDiskWithoutInodes: whatever file is the one too many, the journal opens, and makes
// its directory when there is room.
func TestDiskWithoutInodes(t *testing.T) {
	if !tmpfs.Isolated(t) {
		return
	}
	for inodes := 1; ; inodes++ {
		disk := tmpfs.Mount(t, fmt.Sprintf("size=1m,nr_inodes=%d", inodes))
		o := Options{Dir: filepath.Join(disk, "journals")}
		j, rec, err := Open(o)
		if err != nil {
			t.Fatalf("%d inodes: %v", inodes, err)
		}
		err = appendErr(j, "a")
		if full := err != nil; full && (!errors.Is(err, ErrFull) || !rec.Fresh) {
			t.Fatalf("%d inodes: %v, %+v", inodes, err, rec)
		}
		if err != nil {
			if err := j.Resume(ctx, nil); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%d inodes: Resume: %v", inodes, err)
			}
			tmpfs.Remount(t, disk, 0, "size=1m,nr_inodes=100")
			if err := j.Resume(ctx, nil); err != nil {
				t.Fatalf("%d inodes, then more: %v", inodes, err)
			}
			mustAppend(t, j, "a")
		}
		mustClose(t, j)
		k, found := mustOpen(t, o)
		if k.ID() != j.ID() || found.Entries != 1 {
			t.Errorf("%d inodes, then: %+v", inodes, found)
		}
		mustClose(t, k)
		if err == nil {
			return
		}
	}
}
