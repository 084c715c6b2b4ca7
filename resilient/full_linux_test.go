package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/tmpfs"
	"github.com/holdfast-cache/holdfast/resilient"
)

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
	if !tmpfs.Isolated(t) {
		return
	}
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	disk := tmpfs.Mount(t, "size=128k")
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
