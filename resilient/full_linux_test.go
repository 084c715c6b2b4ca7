package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// ownMountsVariable marks the process that may mount what it likes.
const ownMountsVariable = "HOLDFAST_TEST_MOUNTS"

// inOwnMounts runs the calling test once more, in a process whose mounts are nobody
// else's, and reports how that went; there it returns true. Where neither root nor a
// user namespace may mount, the test fails: a full disk can't be had otherwise.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMountsVariable) != "" {
		return true
	}
	run := func(flags uintptr) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), ownMountsVariable+"=1")
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
	if err != nil || !strings.Contains(out, "--- PASS: "+t.Name()) {
		t.Fatalf("the test in its own mounts: %v\n%s", err, out)
	}
	return false
}

// smallDisk is a file system of a few pages, for this process alone.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	check(t, syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	check(t, syscall.Mount("holdfast", dir, "tmpfs", 0, "size=128k"))
	t.Cleanup(func() { check(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fillUp takes what is left of a disk.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	check(t, err)
	defer func() { check(t, f.Close()) }()
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// TestFullDiskOutlastsTheOutage: writes that wait for room on a full disk, the first
// ones to meet it too, go to the primary that comes back, although nothing is ever
// freed. Where writes don't wait, the first one is refused and has no reply.
func TestFullDiskOutlastsTheOutage(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	disk := smallDisk(t)
	problems := make(chan resilient.JournalProblemInfo, 16)
	blocks := open(t, g, &resilient.Options{
		Dir: filepath.Join(disk, "a"), OverflowPolicy: resilient.OverflowBlock,
		Listener: resilient.Listener{JournalProblem: func(i resilient.JournalProblemInfo) { problems <- i }},
	})
	rejects := open(t, g, &resilient.Options{Dir: filepath.Join(disk, "b")})
	check(t, g.Cycle(ctx))
	for _, c := range []*resilient.Client{blocks, rejects} {
		waitState(t, c, resilient.StateNoPrimary)
	}
	fillUp(t, disk)
	refused := rejects.Do(ctx, "SET", "refused", "v")
	if v, err := refused.Result(); !errors.Is(err, resilient.ErrJournalFull) || !resilient.SafeToRetry(err) || v != nil {
		t.Errorf("SET without waiting: %v, %v", v, err)
	}
	waiting := make(chan error, 3)
	go func() {
		v, err := blocks.Do(ctx, "SET", "first", "v").Result()
		if err == nil && v != "OK" {
			err = fmt.Errorf("SET: %v", v)
		}
		waiting <- err
	}()
	go func() {
		n, err := blocks.Incr(ctx, "count").Result()
		if err == nil && n != 1 {
			err = fmt.Errorf("INCR: %d", n)
		}
		waiting <- err
	}()
	go func() {
		waiting <- pipelined(blocks.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "tx"); return nil }))
	}()
	said := (<-problems).Problem
	if all := blocks.Stats().JournalProblems; !strings.Contains(said, "the disk does not take the journal") || len(all) != 1 || all[0] != said {
		t.Errorf("problems %q; told of %q", all, said)
	}
	check(t, g.Promote(ctx, 1))
	for range cap(waiting) {
		check(t, <-waiting)
	}
	if got := fmt.Sprint(g.Node(1).Client().MGet(ctx, "first", "count", "tx", "refused").Val()); got != "[v 1 1 <nil>]" {
		t.Errorf("in Redis: %s", got)
	}
	if s := blocks.Stats(); s.Refused != 0 || s.Deferred != 0 || len(problems) != 0 {
		t.Errorf("stats %+v, %d further events", s, len(problems))
	}
}
