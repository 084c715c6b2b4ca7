package resilient_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestDrainGivesTheDiskBack: a removed segment that is still open would keep its
// place on the disk, and a disk that was full would stay so.
func TestDrainGivesTheDiskBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, g.Cycle(ctx))
	for range 100 {
		check(t, c.Incr(ctx, "n").Err())
	}
	check(t, g.Promote(ctx, 1))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	if segments, err := filepath.Glob(filepath.Join(dir, "*", "*.seg")); err != nil || len(segments) != 0 {
		t.Errorf("segments after the drain: %v, %v", segments, err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, fd := range fds {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && strings.HasPrefix(target, dir) && strings.HasSuffix(target, "(deleted)") {
			t.Errorf("still open: %s", target)
		}
	}
}
