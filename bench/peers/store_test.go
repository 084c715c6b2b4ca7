package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(childVariable); order != "" {
		exit(runChild(order, os.Stdout))
		return
	}
	os.Exit(m.Run())
}

func numbered(n int) []byte {
	record := make([]byte, killedSize)
	binary.LittleEndian.PutUint64(record, uint64(n))
	return record
}

// TestStoresKeepTheirRecords shows that each peer does the work that it is
// measured by: a group, then callers at the same time, then all of it read.
func TestStoresKeepTheirRecords(t *testing.T) {
	const grouped, callers, each = 50, 8, 5
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := p.open(dir, callers)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.appendGroup(grouped, numbered); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					for j := range each {
						if err := s.append(numbered(grouped + i*each + j)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if s, err = p.open(dir, callers); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.close(); err != nil {
					t.Error(err)
				}
			}()
			checkRecords(t, s, grouped, grouped+callers*each)
		})
	}
}

// checkRecords wants the first ones in order, and every one once.
func checkRecords(t *testing.T, s store, ordered, all int) {
	t.Helper()
	seen := make(map[int]int)
	n := 0
	err := s.scan(func(record []byte) bool {
		i := int(binary.LittleEndian.Uint64(record))
		if n < ordered && i != n {
			t.Errorf("record %d is number %d", n, i)
		}
		seen[i]++
		n++
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != all || len(seen) != all {
		t.Errorf("%d records, %d of them different, want %d", n, len(seen), all)
	}
}

// TestRawWritesAsManyBytes holds the raw files to the journal's framing.
func TestRawWritesAsManyBytes(t *testing.T) {
	j, _, err := journal.Open(journal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	if err := (holdfast{j}).append(numbered(0)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := openRawGroup(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.append(numbered(0)), s.close()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "raw"))
	if err != nil {
		t.Fatal(err)
	}
	const want = batchHeaderBytes + recordHeaderBytes + killedSize
	if got := j.Stats().Bytes; got != want || st.Size() != want {
		t.Errorf("a record alone takes %d bytes in the journal and %d in the raw file, want %d", got, st.Size(), want)
	}
}

func TestCommitterFailsAllAfterAFailure(t *testing.T) {
	broken := errors.New("broken")
	writes := 0
	c := newCommitter(
		func(batch *[]byte, record []byte) { *batch = append(*batch, record...) },
		func(*[]byte) error {
			if writes++; writes == 2 {
				return broken
			}
			return nil
		})
	defer c.close()
	if err := c.append([]byte("a")); err != nil {
		t.Errorf("first: %v", err)
	}
	if err := c.append([]byte("b")); !errors.Is(err, broken) {
		t.Errorf("second: %v, want %v", err, broken)
	}
	if err := c.append([]byte("c")); !errors.Is(err, errGone) {
		t.Errorf("third: %v, want %v", err, errGone)
	}
}

// TestAppendsAreMeasured runs every candidate for a moment.
func TestAppendsAreMeasured(t *testing.T) {
	w := work{size: 100, callers: 4}
	for _, name := range candidates() {
		parent := t.TempDir()
		r, err := measureAppends(parent, name, w, 0, 50*time.Millisecond)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r.took <= 0 || r.appends < 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s left %v behind, error %v", name, left, err)
		}
	}
}

type failing struct{ store }

func (failing) append([]byte) error { return errors.New("no") }

func TestFailedAppendIsNoFigure(t *testing.T) {
	if _, err := measureStore(failing{}, work{size: 1, callers: 2}, 0, time.Millisecond); err == nil {
		t.Error("a store that takes nothing was measured")
	}
}

// TestKilledJournalIsWhole kills a real process. What the other peers make of
// it is measured, not required.
func TestKilledJournalIsWhole(t *testing.T) {
	const records = 3 * killedGroup / 2 // of two groups
	r, err := measureOpen(context.Background(), t.TempDir(), "holdfast", records)
	if err != nil {
		t.Fatal(err)
	}
	if !r.whole || r.records < records {
		t.Errorf("%+v, want %d records at least, whole", r, records)
	}
}

// TestOpenSeesMissingRecords shows that `whole` can be false.
func TestOpenSeesMissingRecords(t *testing.T) {
	const records = 10
	tests := []struct {
		name   string
		number func(i int) int // of record i
		count  int
		want   bool
	}{
		{name: "all", number: func(i int) int { return i }, count: records, want: true},
		{name: "more", number: func(i int) int { return i }, count: records + 1, want: true},
		{name: "short", number: func(i int) int { return i }, count: records - 1},
		{name: "doubled", number: func(i int) int { return max(i-1, 0) }, count: records},
		{name: "swapped", number: func(i int) int { return i ^ 1 }, count: records},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, dir := peers[0], t.TempDir()
			s, err := p.open(dir, 1)
			if err != nil {
				t.Fatal(err)
			}
			err = s.appendGroup(test.count, func(i int) []byte { return numbered(test.number(i)) })
			if err := errors.Join(err, s.close()); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := runOpen(p, dir, records, &out); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf(" %d %t\n", test.count, test.want); !strings.HasSuffix(out.String(), want) {
				t.Errorf("it said %q, want %q at the end", out.String(), want)
			}
		})
	}
}
