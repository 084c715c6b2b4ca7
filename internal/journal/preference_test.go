package journal

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A process that adopts the journal of another and dies of it leaves two with records. The
// one that starts in its place must get those that it wrote itself.
func TestTakeOverPrefersTheLastWritten(t *testing.T) {
	dir := t.TempDir()
	var all []*Journal
	for range 4 {
		j, _ := mustOpen(t, Options{Dir: dir})
		all = append(all, j)
	}
	for _, j := range all {
		mustAppend(t, j, "a")
		mustClose(t, j)
	}
	written := time.Now()
	for _, want := range all { // whichever it is, so that their names don't decide
		written = written.Add(time.Second)
		setWritten(t, filepath.Join(dir, want.ID().String()), written)
		j, rec := mustOpen(t, Options{Dir: dir})
		if j.ID() != want.ID() || rec.Entries != 1 {
			t.Errorf("took over %v, want %v, which was written last: %+v", j.ID(), want.ID(), rec)
		}
		mustClose(t, j)
	}
}

// Who looks at a journal and leaves it, as it has to wait for its turn, has not written it.
func TestTakeOverPrefersTheLastWrittenAfterALook(t *testing.T) {
	dir := t.TempDir()
	older, _ := mustOpen(t, Options{Dir: dir})
	newer, _ := mustOpen(t, Options{Dir: dir})
	for _, j := range []*Journal{older, newer} {
		mustAppend(t, j, "a")
		mustClose(t, j)
	}
	path := filepath.Join(dir, older.ID().String())
	segments, err := filepath.Glob(filepath.Join(path, "*"+suffixSegment))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	// As a kill leaves it, with space ahead of the records.
	if err := os.Truncate(segments[0], 1<<16); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	setWritten(t, path, now.Add(-time.Minute))
	setWritten(t, filepath.Join(dir, newer.ID().String()), now.Add(-time.Second))
	j, _, err := Adopt(Options{Dir: dir}, older.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	if st, err := os.Stat(segments[0]); err != nil || st.Size() >= 1<<16 {
		t.Fatalf("what is ahead of the records was not cut off: %v", err)
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	if j.ID() != newer.ID() {
		t.Errorf("took over the journal that was looked at, not the one that was written last")
	}
	mustClose(t, j)
}

// setWritten sets when the segments in dir were written.
func setWritten(t *testing.T, dir string, at time.Time) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "*"+suffixSegment))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, name := range segments {
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
}
