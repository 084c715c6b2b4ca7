package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestInspect(t *testing.T) {
	o := Options{Dir: t.TempDir(), Target: "group a db 3", SegmentBytes: minSegmentBytes}
	j, _ := mustOpen(t, o)
	mustAppend(t, j, strings.Repeat("x", minSegmentBytes), "b", "c", "d")
	for _, seq := range []uint64{1, 3} {
		if err := j.DeadLetter(ctx, Record{Seq: seq, Body: []byte("x")}, "no"); err != nil {
			t.Fatal(err)
		}
	}
	mustRecord(t, j, Fate{From: 1, To: 1, Outcome: OutcomeDeadLettered})
	if err := j.Acknowledge(Progress{Acked: 2, ReplID: "repl", RunID: "run"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Trim(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	look := func() Info {
		t.Helper()
		infos, err := Inspect(o.Dir)
		if err != nil || len(infos) != 1 {
			t.Fatalf("%d journals, %v", len(infos), err)
		}
		return infos[0]
	}
	i := look()
	if i.ID != j.ID() || i.Target == "" || !i.Live || i.Confirmed || i.Damaged || i.Entries != 3 || i.Dead != 2 ||
		i.Last != 4 || i.Trimmed != 1 || i.Acked != 2 || i.RunID != "run" || i.ReplID != "repl" ||
		i.Retained != 1 || i.RetainedBytes < minSegmentBytes || i.Fates != 1 || !i.Oldest.Equal(acceptedAt) {
		t.Fatalf("a live journal: %+v", i)
	}
	if got := seen(t, viewOf(t, j)); got != "1 retained, 2 pending, 3 dead, 4 pending" {
		t.Fatalf("seen: %q", got)
	}
	mustClose(t, j)
	if err := Confirm(o.Dir, j.ID().String()); err != nil {
		t.Fatal(err)
	}
	if i = look(); i.Live || !i.Confirmed || i.Entries != 3 || i.Damaged {
		t.Fatalf("a dead journal: %+v", i)
	}
	// The look has left nothing that keeps a process from opening it.
	j, _ = mustOpen(t, o)
	wantContents(t, j, "2:b", "3:c", "4:d")
	var letters []uint64
	if err := viewOf(t, j).DeadLetters(func(d DeadLetter) bool {
		letters = append(letters, d.Seq)
		return true
	}); err != nil || !slices.Equal(letters, []uint64{1, 3}) {
		t.Fatalf("dead letters %v, %v", letters, err)
	}
}

func TestInspectNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Inspect(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory was read")
	}
	if infos, err := Inspect(dir); err != nil || len(infos) > 0 {
		t.Errorf("an empty directory: %v, %v", infos, err)
	}
	if _, err := NewView(dir); err == nil {
		t.Error("a directory of another name passed for a journal")
	}
	empty := filepath.Join(dir, strings.Repeat("ab", 16))
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	infos, err := Inspect(dir)
	if err != nil || len(infos) != 1 || !infos[0].Damaged || infos[0].Entries != 0 {
		t.Errorf("a directory without files: %+v, %v", infos, err)
	}
}

// A look changes nothing: no file appears, goes or differs.
func TestInspectWritesNothing(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	j, _ := mustOpen(t, o)
	mustAppend(t, j, "a", "b")
	mustClose(t, j)
	path := filepath.Join(o.Dir, j.ID().String())
	contents := func() string {
		t.Helper()
		var b strings.Builder
		entries, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(path, e.Name()))
			st, statErr := e.Info()
			if err != nil || statErr != nil {
				t.Fatal(err, statErr)
			}
			fmt.Fprintf(&b, "%s %v %x\n", e.Name(), st.ModTime(), text)
		}
		return b.String()
	}
	before := contents()
	if _, err := Inspect(o.Dir); err != nil {
		t.Fatal(err)
	}
	if after := contents(); after != before {
		t.Fatalf("before:\n%s\nafter:\n%s", before, after)
	}
}

// While a process writes, trims and rotates, a look sees an unbroken piece of the
// log and calls nothing damaged.
func TestInspectBesideAWriter(t *testing.T) {
	j, _ := mustOpen(t, Options{Dir: t.TempDir(), SegmentBytes: minSegmentBytes})
	mustAppend(t, j, "first")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := uint64(2); n < 1500; n++ {
			ticket, err := j.Append(record(fmt.Sprint("body ", n, strings.Repeat(" ", 300))))
			if err == nil {
				err = ticket.Wait(ctx)
			}
			if err == nil && n%7 == 0 {
				_ = j.Record(Fate{From: n, To: n, Outcome: OutcomeExpired})
				err = j.Trim(ctx, n-3)
			}
			if err != nil {
				t.Errorf("the writer: %v", err)
				return
			}
		}
	}()
	defer func() { <-done }()
	v := viewOf(t, j)
	for working := true; working; {
		select {
		case <-done:
			working = false // one last look
		default:
		}
		if err := v.Refresh(); err != nil {
			t.Fatal(err)
		}
		last := uint64(0)
		if err := v.Records(func(r Record, s Status) bool {
			if r.Seq != last+1 || s == StatusRetained != (r.Seq <= v.state.progress.trimmed) {
				t.Fatalf("record %d, %v, after %d; trimmed %d", r.Seq, s, last, v.state.progress.trimmed)
			}
			last = r.Seq
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if i := v.Info(); i.Damaged {
			t.Fatalf("damaged: %+v", i)
		}
		if !working && last != 1499 {
			t.Fatalf("the last look ended with %d", last)
		}
	}
}

// Files says what is damaged where, and Records passes over it.
func TestInspectDamage(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	j, _ := mustOpen(t, o)
	for i := range 9 {
		mustAppend(t, j, fmt.Sprint("body ", i+1))
	}
	size := int64(recordSize + len("meta of body 1") + len("body 1"))
	if err := j.DeadLetter(ctx, Record{Seq: 9, Body: []byte("x")}, "no"); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, j, Fate{From: 9, To: 9, Outcome: OutcomeDeadLettered})
	mustClose(t, j)
	path := filepath.Join(o.Dir, j.ID().String())
	at := func(record int64) int64 { return headerSize + (record-1)*(batchSize+size) } // of its batch
	for _, test := range []struct {
		name, file  string
		off         int64
		cut         bool
		want        string // of the file's report
		wantRecords string
	}{
		{
			name: "a body", file: fileName(1, suffixSegment), off: at(4) + batchSize + size - 1,
			want:        fmt.Sprintf("8 entries, torn 0, damage [{%d %d 4 4}]", at(4), size),
			wantRecords: "1 2 3 5 6 7 8 9",
		},
		{
			name: "a batch header", file: fileName(1, suffixSegment), off: at(4) + 10,
			want:        fmt.Sprintf("8 entries, torn 0, damage [{%d %d 4 4}]", at(4), batchSize+size),
			wantRecords: "1 2 3 5 6 7 8 9",
		},
		{
			name: "the last record", file: fileName(1, suffixSegment), off: at(9) + batchSize + size - 1,
			want:        fmt.Sprintf("8 entries, torn 0, damage [{%d %d 0 0}]", at(9), size),
			wantRecords: "1 2 3 4 5 6 7 8",
		},
		{
			name: "a torn tail", file: fileName(1, suffixSegment), off: at(9) + 17, cut: true,
			want:        "8 entries, torn 17, damage []",
			wantRecords: "1 2 3 4 5 6 7 8",
		},
		{
			name: "the header", file: fileName(1, suffixSegment), off: 3,
			want:        "9 entries, torn 0, damage [{0 80 0 0}]",
			wantRecords: "1 2 3 4 5 6 7 8 9",
		},
		{name: "a dead letter", file: fileName(1, suffixDead), off: headerSize + batchSize + 28, want: "0 entries, torn 0, damage [{80 29 0 0}]"},
		{name: "a fate", file: fileName(1, suffixLedger), off: headerSize + batchSize + 30, want: "0 entries, torn 0, damage [{80 42 0 0}]"},
		{name: "a ledger's header", file: fileName(1, suffixLedger), off: 20, want: "1 entries, torn 0, damage [{0 80 0 0}]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := filepath.Join(path, test.file)
			whole, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b := slices.Clone(whole)
			if test.cut {
				b = b[:test.off]
			} else {
				b[test.off] ^= 1
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			v := viewOf(t, j)
			for _, r := range v.Files() {
				got := fmt.Sprintf("%d entries, torn %d, damage %v", r.Entries, r.Torn, r.Damage)
				if r.Name == test.file && (got != test.want || r.Err != nil) {
					t.Errorf("%s, %v; want %s", got, r.Err, test.want)
				}
				if r.Name != test.file && r.Damaged() {
					t.Errorf("damaged too: %+v", r)
				}
			}
			if i := v.Info(); i.Damaged == test.cut {
				t.Errorf("damaged: %v", i.Damaged)
			}
			var got []string
			if err := v.Records(func(r Record, _ Status) bool {
				got = append(got, fmt.Sprint(r.Seq))
				return true
			}); err != nil {
				t.Fatal(err)
			}
			if want := test.wantRecords; want != "" && strings.Join(got, " ") != want {
				t.Errorf("records %v, want %s", got, want)
			}
			if err := os.WriteFile(name, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Letters that were seen to go, the others stay, over a restart too.
func TestSettleDead(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	j, _ := mustOpen(t, o)
	mustAppend(t, j, "a", "b", "c", "d")
	for seq := uint64(1); seq <= 3; seq++ {
		if err := j.DeadLetter(ctx, Record{Seq: seq, Meta: []byte("m"), Body: []byte{'a' + byte(seq)}}, fmt.Sprint("reason ", seq)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.SettleDead(ctx, 2); err == nil {
		t.Fatal("a letter that keeps a record from being replayed was removed")
	}
	if err := j.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	want := func(letters ...string) {
		t.Helper()
		got := []string{}
		if err := j.DeadLetters(func(d DeadLetter) bool {
			got = append(got, fmt.Sprintf("%d %s %s %s", d.Seq, d.Meta, d.Body, d.Reason))
			return true
		}); err != nil || !slices.Equal(got, letters) || j.Stats().Dead != uint64(len(letters)) {
			t.Fatalf("letters %q, %v, counted %d; want %q", got, err, j.Stats().Dead, letters)
		}
	}
	want("1 m b reason 1", "2 m c reason 2", "3 m d reason 3")
	if err := j.SettleDead(ctx, 2, 77); err == nil {
		t.Fatal("a record that is not trimmed was settled")
	}
	if err := j.SettleDead(ctx, 2); err != nil {
		t.Fatal(err)
	}
	want("1 m b reason 1", "3 m d reason 3")
	if err := j.DeadLetter(ctx, Record{Seq: 4, Body: []byte("e")}, "late"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	j, _ = mustOpen(t, o)
	want("1 m b reason 1", "3 m d reason 3", "4  e late")
	if err := j.Trim(ctx, 4); err != nil {
		t.Fatal(err)
	}
	if err := j.SettleDead(ctx, 1, 3, 4); err != nil {
		t.Fatal(err)
	}
	want()
	if left := files(t, j, suffixDead); len(left) > 0 {
		t.Fatalf("files: %v", left)
	}
}

// When the rest can't be written anew, no letter goes.
func TestSettleDeadFailures(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	mustAppend(t, j, "a", "b")
	for seq := uint64(1); seq <= 2; seq++ {
		if err := j.DeadLetter(ctx, Record{Seq: seq, Body: []byte("x")}, "no"); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	onlyDead := func(name string) error {
		if strings.HasSuffix(name, suffixDead) || name == deadNew {
			return errDisk
		}
		return nil
	}
	letters := func() (n int) {
		t.Helper()
		if err := j.DeadLetters(func(DeadLetter) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, fail := range map[string]func(f *faultFS){
		"create": func(f *faultFS) { f.onCreate = onlyDead },
		"sync":   func(f *faultFS) { f.onSync = onlyDead },
		"remove": func(f *faultFS) { f.onRemove = onlyDead },
	} {
		faults.set(fail)
		if err := j.SettleDead(ctx, 1); err == nil {
			t.Fatalf("%s: no error", name)
		}
		faults.set(func(f *faultFS) { f.onCreate, f.onSync, f.onRemove = nil, nil, nil })
		if n := letters(); n != 2 {
			t.Fatalf("%s: %d letters are left", name, n)
		}
	}
	if err := j.SettleDead(ctx, 1); err != nil || letters() != 1 {
		t.Fatalf("%d letters are left, %v", letters(), err)
	}
}
