package journal

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTwoJournalsNeverShareADirectory(t *testing.T) {
	dir := t.TempDir()
	const openers = 8
	journals := make([]*Journal, openers)
	var wg sync.WaitGroup
	for i := range journals {
		wg.Go(func() {
			j, _, err := Open(Options{Dir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			journals[i] = j
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	ids := make(map[ClientID]bool)
	for _, j := range journals {
		if ids[j.ID()] {
			t.Errorf("%v was opened twice", j.ID())
		}
		ids[j.ID()] = true
		mustClose(t, j)
	}
	// All are free again: the next one takes one over.
	j, rec := mustOpen(t, Options{Dir: dir})
	if rec.Fresh || !ids[j.ID()] {
		t.Fatalf("%v is new: %+v", j.ID(), rec)
	}
}

func TestTakeOverPrefersRecords(t *testing.T) {
	dir := t.TempDir()
	var all []*Journal
	for range 6 {
		j, _ := mustOpen(t, Options{Dir: dir})
		all = append(all, j)
	}
	mustAppend(t, all[3], "a")
	for _, j := range all {
		mustClose(t, j)
	}
	j, rec := mustOpen(t, Options{Dir: dir})
	if j.ID() != all[3].ID() || rec.Entries != 1 || !rec.Oldest.Equal(acceptedAt) {
		t.Fatalf("took over %v, want %v: %+v", j.ID(), all[3].ID(), rec)
	}
}

func TestModes(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "a", "b")
	j, _ := mustOpen(t, Options{Dir: parent})
	mustAppend(t, j, "a")
	err := filepath.Walk(filepath.Dir(parent), func(path string, info os.FileInfo, err error) error {
		want := os.FileMode(0o600)
		if err == nil && info.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "nul\x00byte"} {
		j, _, err := Open(Options{Dir: dir})
		if err == nil {
			mustClose(t, j)
			t.Fatalf("%q was used", dir)
		}
		if !strings.Contains(err.Error(), "directory can't be used") {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

func TestOtherTargetIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir, Target: "redis-a:6379"})
	first := j.ID()
	mustAppend(t, j, "a")
	mustClose(t, j)

	j, rec := mustOpen(t, Options{Dir: dir, Target: "redis-b:6379"})
	if j.ID() == first || len(rec.Skipped) != 0 {
		t.Fatalf("%v: %+v", j.ID(), rec)
	}
	mustClose(t, j)
	// Nor is its lock touched, which its owner may want at that moment.
	lock := filepath.Join(dir, first.String(), lockName)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	j, _ = mustOpen(t, Options{Dir: dir, Target: "redis-c:6379"})
	if _, err := os.Stat(lock); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock of another target's journal: %v", err)
	}
	mustClose(t, j)
	for _, target := range []string{"redis-a:6379", ""} {
		j, rec = mustOpen(t, Options{Dir: dir, Target: target})
		if j.ID() != first || rec.Entries != 1 {
			t.Fatalf("target %q: %v, want %v: %+v", target, j.ID(), first, rec)
		}
		mustClose(t, j)
	}
}

// snapshot is the content of every file below dir but the locks.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || info.Name() == lockName {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestNewerFormatIsLeftIntact: the header's checksum keeps its place, so a
// later version is told from damage.
func TestNewerFormatIsLeftIntact(t *testing.T) {
	newer := func(t *testing.T, path string, sum int) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for off := 0; off < len(b); off += slotSpacing {
			b[off+8]++
			le.PutUint32(b[off+sum:], crc32.Checksum(b[off:off+sum], castagnoli))
			if sum == headerSize-4 {
				break // a segment has one header
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{suffixSegment, suffixDead, progressName} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, Options{Dir: dir})
			mustAppend(t, j, "a", "b")
			dead := record("a")
			dead.Seq = 1
			if err := j.DeadLetter(ctx, dead, "ERR"); err != nil {
				t.Fatal(err)
			}
			name := files(t, j, kind)[0]
			mustClose(t, j)
			sub := filepath.Join(dir, j.ID().String())
			sum := headerSize - 4
			if kind == progressName {
				sum = slotSize - 4
			}
			newer(t, filepath.Join(sub, name), sum)
			before := snapshot(t, sub)

			k, rec := mustOpen(t, Options{Dir: dir})
			if k.ID() == j.ID() || len(rec.Skipped) != 1 || !errors.Is(rec.Skipped[0].Err, ErrNewerFormat) {
				t.Fatalf("%v took over %v: %+v", k.ID(), j.ID(), rec)
			}
			mustAppend(t, k, "c")
			after := snapshot(t, sub)
			if len(after) != len(before) {
				t.Fatalf("%d files, there were %d", len(after), len(before))
			}
			for path, b := range before {
				if !bytes.Equal(after[path], b) {
					t.Errorf("%s was changed", filepath.Base(path))
				}
			}
		})
	}
}

// TestLostProgress: with segments the journal goes on, without any the id must
// not be used again, as nothing tells which sequences were given out.
func TestLostProgress(t *testing.T) {
	for _, damage := range []string{"removed", "emptied", "zeroed", "another client's"} {
		t.Run(damage, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, Options{Dir: dir})
			id := j.ID()
			path := filepath.Join(dir, id.String(), progressName)
			lose := func() {
				t.Helper()
				var err error
				switch damage {
				case "removed":
					err = os.Remove(path)
				case "emptied":
					err = os.Truncate(path, 0)
				case "zeroed":
					err = os.WriteFile(path, make([]byte, slotSpacing+slotSize), 0o600)
				default:
					err = os.WriteFile(path, slot{client: ClientID{1}, generation: 9, trimmed: 2}.encode(), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			mustAppend(t, j, "a", "b")
			mustClose(t, j)
			lose()
			j, rec := mustOpen(t, Options{Dir: dir})
			if j.ID() != id || rec.Lost != 0 {
				t.Fatalf("%v: %+v", j.ID(), rec)
			}
			wantContents(t, j, "1:a", "2:b")
			if err := j.Trim(ctx, 2); err != nil {
				t.Fatal(err)
			}
			mustClose(t, j)
			j, _ = mustOpen(t, Options{Dir: dir}) // what was lost has been made again
			if seqs := mustAppend(t, j, "c"); j.ID() != id || seqs[0] != 3 {
				t.Fatalf("%v, sequence %d", j.ID(), seqs[0])
			}
			if err := j.Trim(ctx, 3); err != nil {
				t.Fatal(err)
			}
			mustClose(t, j)
			lose()
			j, rec = mustOpen(t, Options{Dir: dir})
			if j.ID() == id || len(rec.Skipped) != 1 || !errors.Is(rec.Skipped[0].Err, ErrUnusable) {
				t.Fatalf("%v: %+v", j.ID(), rec)
			}
		})
	}
}

func TestEverySecSyncsInTheBackground(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j, _, err := Open(Options{Dir: dir, Fsync: FsyncEverySec})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, j, "a")
		time.Sleep(syncInterval - time.Millisecond)
		synctest.Wait()
		if s := j.Stats(); s.Syncs != 0 {
			t.Errorf("synced too early: %+v", s)
		}
		mustAppend(t, j, "b")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := j.Stats(); s.Syncs != 1 || s.Commits != 2 {
			t.Errorf("not synced once: %+v", s)
		}
		time.Sleep(10 * syncInterval)
		synctest.Wait()
		if s := j.Stats(); s.Syncs != 1 {
			t.Errorf("synced with nothing to sync: %+v", s)
		}
		mustAppend(t, j, "c")
		time.Sleep(2 * syncInterval)
		synctest.Wait()
		if s := j.Stats(); s.Syncs != 2 {
			t.Errorf("not synced again: %+v", s)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestHalfMadeDirectoryIsMadeAgain: what an attempt left without a name is in no way.
func TestHalfMadeDirectoryIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	id := ClientID{1}
	if err := os.MkdirAll(filepath.Join(dir, ".new-"+id.String(), lockName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makeDirOf(Options{Dir: dir}, id); err != nil {
		t.Fatal(err)
	}
	if j, rec := mustOpen(t, Options{Dir: dir}); j.ID() != id || rec.Fresh {
		t.Errorf("%v was opened, want %v", j.ID(), id)
	}
}
