package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ownMountsEnv marks the process that may mount what it likes.
const ownMountsEnv = "HOLDFAST_JOURNAL_TEST_MOUNTS"

// inOwnMounts runs the calling test once more, in a process whose mounts, open
// files and limits are nobody else's, and reports how that went; there it returns
// true. Where neither root nor a user namespace may mount, the test fails: a full
// disk can't be had otherwise.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMountsEnv) != "" {
		return true
	}
	run := func(flags uintptr) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), ownMountsEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | flags}
		if flags != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(0)
	if errors.Is(err, syscall.EPERM) {
		out, err = run(syscall.CLONE_NEWUSER)
	}
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Fatal("this test mounts a small file system: run it as root, or where user namespaces are allowed")
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !strings.Contains(out, "--- PASS: "+t.Name()):
		t.Fatalf("the test did not run\n%s", out)
	}
	return false
}

// smallDisk is a file system with so many bytes, for this process alone.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("private mounts: %v", err)
	}
	if err := syscall.Mount("holdfast", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

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
	if !inOwnMounts(t) {
		return
	}
	for _, retention := range []bool{false, true} {
		t.Run(fmt.Sprintf("retention %v", retention), func(t *testing.T) {
			o := Options{Dir: filepath.Join(smallDisk(t, 512<<10), "journals"), SegmentBytes: 64 << 10, Retention: -1}
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
	if !inOwnMounts(t) {
		return
	}
	disk := smallDisk(t, 1<<20)
	o := Options{Dir: filepath.Join(disk, "journals")}
	j, _ := mustOpen(t, o)
	id := j.ID()
	mustAppend(t, j, "a", "b")
	mustClose(t, j)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("holdfast", disk, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatalf("remount: %v", err)
		}
	}
	remount(syscall.MS_RDONLY)
	if j, rec, err := Open(o); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "directory can't be used") {
		if err == nil {
			mustClose(t, j)
		}
		t.Fatalf("Open: %v, %+v", err, rec)
	}
	remount(0)
	j, rec := mustOpen(t, o)
	if j.ID() != id || rec.Lost != 0 {
		t.Fatalf("recovery: %+v", rec)
	}
	wantContents(t, j, "1:a", "2:b")
	mustAppend(t, j, "c")
	mustClose(t, j)
}

// TestNoFilesLeft uses up the process's file descriptors.
func TestNoFilesLeft(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	var taken []*os.File
	take := func() {
		for {
			f, err := os.Open(os.DevNull)
			if errors.Is(err, syscall.EMFILE) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, f)
		}
	}
	giveBack := func(keep int) {
		for _, f := range taken[keep:] {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		taken = taken[:keep]
	}
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 60
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: t.TempDir(), SegmentBytes: 16 << 10}
	j, _ := mustOpen(t, o)
	id := j.ID()
	mustAppend(t, j, "a")
	take()
	committed, err := appendUntilError(t, j) // until a new segment is due
	if !errors.Is(err, ErrFailed) || errors.Is(err, ErrInDoubt) || !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("append: %v", err)
	}
	if err := j.Resume(ctx, nil); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("Resume: %v", err)
	}
	giveBack(0)
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
		take()
		giveBack(max(0, len(taken)-spare))
		k, rec, err := Open(o)
		giveBack(0)
		if err != nil {
			if !errors.Is(err, syscall.EMFILE) {
				t.Fatalf("with %d files: %v", spare, err)
			}
			continue
		}
		again := k.ID() == id
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
