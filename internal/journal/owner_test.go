//go:build unix

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFilesBelongToTheDirectorysOwner: what root's tool writes, the service can read.
// (For others than root this says that they own what they make.)
func TestFilesBelongToTheDirectorysOwner(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustAppend(t, j, "a", "b")
	mustClose(t, j)
	sub := filepath.Join(dir, j.ID().String())
	if os.Geteuid() == 0 {
		const service = 4711
		for _, path := range []string{dir, sub} {
			if err := os.Chown(path, service, service); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := os.ReadDir(sub)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := os.Chown(filepath.Join(sub, e.Name()), service, service); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The mark of somebody whose files the service can't even read is replaced.
	if err := os.WriteFile(filepath.Join(sub, confirmedName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Confirm(dir, j.ID().String()); err != nil {
		t.Fatal(err)
	}
	j, _, err := Adopt(Options{Dir: dir}, j.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	r := record("a")
	r.Seq = 1
	mustAppend(t, j, "c")
	mustRecord(t, j, Fate{From: 1, To: 1, Outcome: OutcomeDiscarded, At: time.Now()})
	if err := errors.Join(j.DeadLetter(ctx, r, "no"), j.SaveLineage(ctx, Lineage{Primary: "a:1"})); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	owner := func(path string) uint32 {
		t.Helper()
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Uid
	}
	want, checked := owner(sub), 0
	for _, pattern := range []string{"*" + suffixSegment, "*" + suffixDead, "*" + suffixLedger, lineageName, confirmedName, lockName, progressName} {
		found, err := filepath.Glob(filepath.Join(sub, pattern))
		if err != nil || len(found) == 0 {
			t.Errorf("there is no %s: %v", pattern, err)
		}
		for _, path := range found {
			if checked++; owner(path) != want {
				t.Errorf("%s belongs to %d, the directory to %d", filepath.Base(path), owner(path), want)
			}
		}
	}
}
