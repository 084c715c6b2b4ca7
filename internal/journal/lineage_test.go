package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

// left makes a journal with one record of that time, and closes it.
func left(t *testing.T, o Options, at time.Time) (name string) {
	t.Helper()
	j, _ := mustOpen(t, o)
	ticket, err := j.Append(Record{At: at, Body: []byte("write")})
	if err == nil {
		err = ticket.Wait(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	return j.ID().String()
}

func TestLineageOutlivesTheProcess(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	if l := j.Lineage(); len(l.ReplIDs) != 0 || l.Primary != "" {
		t.Errorf("of a new journal: %+v", l)
	}
	want := Lineage{ReplIDs: []string{"aaaa", "bbbb"}, Primary: "10.0.0.1:6379"}
	for range 2 { // the second time over the file of the first
		if err := j.SaveLineage(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	name := j.ID().String()
	mustClose(t, j)
	j, _, err := Adopt(Options{Dir: dir}, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := j.Lineage(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var many Lineage
	for i := range MaxReplIDs + 3 {
		many.ReplIDs = append(many.ReplIDs, fmt.Sprint("id", i))
	}
	if err := j.SaveLineage(ctx, many); err != nil {
		t.Fatal(err)
	}
	if got := j.Lineage(); len(got.ReplIDs) != MaxReplIDs || got.ReplIDs[0] != "id3" {
		t.Errorf("of %d ids %d are kept, from %q on", len(many.ReplIDs), len(got.ReplIDs), got.ReplIDs[0])
	}
	mustClose(t, j)
	if err := j.SaveLineage(ctx, want); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestParseLineage(t *testing.T) {
	l := Lineage{ReplIDs: []string{"a", "not a word", "", "b"}, Primary: "[::1]:6379"}
	b := l.encode()
	got, ok := parseLineage(b)
	if want := (Lineage{ReplIDs: []string{"a", "b"}, Primary: "[::1]:6379"}); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 0x20
		if got, ok := parseLineage(bad); ok {
			t.Errorf("byte %d flipped, and it was read as %+v", i, got)
		}
		if _, ok := parseLineage(b[:i]); ok {
			t.Errorf("cut at %d it was read", i)
		}
	}
}

// TestDamagedLineageCountsAsNone: it must not keep a journal from being replayed.
func TestDamagedLineageCountsAsNone(t *testing.T) {
	dir := t.TempDir()
	name := left(t, Options{Dir: dir}, time.Now())
	for what, content := range map[string][]byte{
		"empty": nil, "garbage": []byte("replid a\n"), "huge": make([]byte, maxLineage+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name, lineageName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, found, err := Adopt(Options{Dir: dir}, name)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if l := j.Lineage(); found.Entries != 1 || len(l.ReplIDs) != 0 || l.Primary != "" {
			t.Errorf("%s: %d entries, %+v", what, found.Entries, l)
		}
		mustClose(t, j)
	}
}

func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	at := time.UnixMilli(1_700_000_000_000)
	o := Options{Dir: dir, Target: "a"}
	name := left(t, o, at)
	for what, test := range map[string]struct {
		o    Options
		name string
		want error
	}{
		"another target": {Options{Dir: dir, Target: "b"}, name, ErrOtherTarget},
		"no directory":   {Options{}, name, ErrUnusable},
		"a path":         {o, "../" + name, ErrUnusable},
		"not there":      {o, "0123456789abcdef0123456789abcdef", fs.ErrNotExist},
	} {
		if j, _, err := Adopt(test.o, test.name); !errors.Is(err, test.want) || j != nil {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
	j, found, err := Adopt(o, name)
	if err != nil {
		t.Fatal(err)
	}
	if found.Entries != 1 || !found.Newest.Equal(at) || !found.Oldest.Equal(at) || j.ID().String() != name {
		t.Errorf("%+v", found)
	}
	if _, _, err := Adopt(o, name); !errors.Is(err, ErrInUse) {
		t.Errorf("a second time: %v", err)
	}
	names, err := Siblings(dir)
	if err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("siblings %v, %v", names, err)
	}
	mustClose(t, j)
}

// TestAdmit: what Open may not take over it leaves, for others to find.
func TestAdmit(t *testing.T) {
	dir := t.TempDir()
	name := left(t, Options{Dir: dir}, time.Now())
	parked := errors.New("parked")
	o := Options{Dir: dir, Admit: func(j *Journal, found *Recovery) error {
		if j.ID().String() != name || found.Entries != 1 {
			t.Errorf("asked about %s, %+v", j.ID(), found)
		}
		return parked
	}}
	j, found := mustOpen(t, o)
	if !found.Fresh || found.Entries != 0 || j.ID().String() == name ||
		len(found.Skipped) != 1 || found.Skipped[0].Name != name || !errors.Is(found.Skipped[0].Err, parked) {
		t.Errorf("%+v", found)
	}
	other, rec, err := Adopt(Options{Dir: dir}, name)
	if err != nil || rec.Entries != 1 {
		t.Fatalf("it was not left as it was: %+v, %v", rec, err)
	}
	mustClose(t, other)
}

func TestNewestIsTheLastRecord(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	var last time.Time
	for i := range 3000 { // over several marks
		last = time.UnixMilli(1_700_000_000_000 + int64(i))
		if _, err := j.Append(Record{At: last, Body: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	name := j.ID().String()
	mustClose(t, j)
	j, found, err := Adopt(Options{Dir: dir}, name)
	if err != nil {
		t.Fatal(err)
	}
	if !found.Newest.Equal(last) || !found.Oldest.Equal(last.Add(-2999*time.Millisecond)) {
		t.Errorf("from %v to %v, want the last at %v", found.Oldest, found.Newest, last)
	}
	mustClose(t, j)
}

func TestRemoveIdle(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	later := time.Now().Add(time.Hour)
	removed := func(name string, before time.Time) bool {
		t.Helper()
		gone, err := RemoveIdle(dir, name, before)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); gone && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removed, and then %v", err)
		}
		return gone
	}
	j, _ := mustOpen(t, Options{Dir: dir, Retention: -1})
	name := j.ID().String()
	if err := j.SaveLineage(ctx, Lineage{Primary: "a:1"}); err != nil {
		t.Fatal(err)
	}
	if removed(name, later) {
		t.Error("a journal in use was removed")
	}
	mustClose(t, j)
	if removed(name, time.Now().Add(-time.Hour)) {
		t.Error("a journal that was just used was removed")
	}
	if !removed(name, later) {
		t.Error("an idle journal was not removed")
	}
	if removed(name, later) {
		t.Error("it was removed twice")
	}
	name = left(t, Options{Dir: dir}, time.Now())
	if removed(name, later) {
		t.Error("a journal with a record was removed")
	}
	if _, err := RemoveIdle(dir, "..", later); err == nil {
		t.Error("a path was taken for a name")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}
