package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/wal"
)

// TestTornTail cuts the last bytes off a log, as a crash in the middle of a
// write does. docs/benchmarks.md says what the two logs make of it.
func TestTornTail(t *testing.T) {
	const records = 3
	tests := []struct {
		open func(dir string, callers int) (store, error)
		want error
		left int // records, where it opens
	}{
		{open: openHoldfast, left: records - 1},
		{open: openTidwall, want: wal.ErrCorrupt},
	}
	for _, test := range tests {
		dir := t.TempDir()
		s, err := test.open(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			if err := s.append(numbered(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		cutTail(t, dir)
		s, err = test.open(dir, 1)
		if !errors.Is(err, test.want) {
			t.Fatalf("%T: %v, want %v", s, err, test.want)
		}
		if err != nil {
			continue
		}
		checkRecords(t, s, test.left, test.left)
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// cutTail shortens the only file of records below dir.
func cutTail(t *testing.T, dir string) {
	t.Helper()
	var logs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, _ := strings.CutSuffix(filepath.Base(path), ".seg")
		if err == nil && !entry.IsDir() && strings.Trim(name, "0123456789") == "" {
			logs = append(logs, path)
		}
		return err
	})
	if err != nil || len(logs) != 1 {
		t.Fatalf("files of records: %v, error %v", logs, err)
	}
	st, err := os.Stat(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(logs[0], st.Size()-5); err != nil {
		t.Fatal(err)
	}
}
