package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// discarded leaves a journal of three records, the second of which an operator ended:
// a letter and the ledger say so.
func discarded(t *testing.T, dir string) (sub, letters string) {
	t.Helper()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustAppend(t, j, "a", "b", "c")
	r := record("b")
	r.Seq = 2
	if err := j.DeadLetter(ctx, r, "discarded"); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, j, Fate{From: 2, To: 2, Outcome: OutcomeDiscarded})
	letters = files(t, j, suffixDead)[0]
	mustClose(t, j)
	return filepath.Join(dir, j.ID().String()), letters
}

// TestDiscardedStaysSoWithoutItsLetter: whatever becomes of the letters, what the
// ledger calls ended is passed over, and Open tells of the damage.
func TestDiscardedStaysSoWithoutItsLetter(t *testing.T) {
	for what, spoil := range map[string]func(b []byte) []byte{
		"a byte of the letter": func(b []byte) []byte { b[len(b)-3] ^= 1; return b },
		"its batch header":     func(b []byte) []byte { b[headerSize+4] ^= 1; return b },
		"the end":              func(b []byte) []byte { return b[:len(b)-1] },
		"the file's header":    func(b []byte) []byte { clear(b[:headerSize+batchSize]); return b },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			sub, letters := discarded(t, dir)
			path := filepath.Join(sub, letters)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // by a later process too
				j, rec := mustOpen(t, Options{Dir: dir})
				if rec.Entries != 3 || j.IsDead(1) || !j.IsDead(2) || j.IsDead(3) {
					t.Errorf("of %d entries dead: %v %v %v", rec.Entries, j.IsDead(1), j.IsDead(2), j.IsDead(3))
				}
				if len(rec.Skipped) != 1 || rec.Skipped[0].Name != j.ID().String() || !strings.HasPrefix(rec.Skipped[0].Err.Error(), letters) {
					t.Errorf("the damage was not reported: %+v", rec)
				}
				if got := seen(t, viewOf(t, j)); got != "1 pending, 2 dead, 3 pending" {
					t.Errorf("from outside: %s", got)
				}
				mustClose(t, j)
			}
		})
	}
}

// TestLedgerOfWhatIsEndedOutlivesItsTime: it goes when the records do.
func TestLedgerOfWhatIsEndedOutlivesItsTime(t *testing.T) {
	dir := t.TempDir()
	sub, letters := discarded(t, dir)
	if err := os.Remove(filepath.Join(sub, letters)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j, _ := mustOpen(t, Options{Dir: dir, Retention: -1})
		if !j.IsDead(2) || !j.HasDead() {
			t.Fatal("a discarded write waits again")
		}
		mustClose(t, j)
	}
	j, _ := mustOpen(t, Options{Dir: dir, Retention: -1})
	if err := j.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if left := files(t, j, suffixLedger); len(left) > 0 {
		t.Errorf("after the trim there is %v", left)
	}
}

// TestWhatTheLedgerEndsIsPassedOverBeforeTheTrim: the fates are on the disk before the trim, so
// that whatever a crash between the two leaves counts as discarded, and no more.
func TestWhatTheLedgerEndsIsPassedOverBeforeTheTrim(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustAppend(t, j, "a", "b", "c", "d")
	mustRecord(t, j, Fate{From: 1, To: 2, Outcome: OutcomeDiscarded}, Fate{From: 4, To: 4, Outcome: OutcomeExpired})
	mustClose(t, j)
	j, rec := mustOpen(t, Options{Dir: dir})
	if rec.Entries != 4 || !j.IsDead(1) || !j.IsDead(2) || j.IsDead(3) || j.IsDead(4) {
		t.Errorf("of %d entries dead: %v %v %v %v", rec.Entries, j.IsDead(1), j.IsDead(2), j.IsDead(3), j.IsDead(4))
	}
}

// TestWhatCannotBeOpenedKeepsTheJournalForLater: a letter, an entry of the ledger and a
// lineage that are there and can't be had at the moment are not taken for missing.
func TestWhatCannotBeOpenedKeepsTheJournalForLater(t *testing.T) {
	for _, suffix := range []string{suffixDead, suffixLedger, lineageName} {
		for _, cause := range []error{syscall.EMFILE, syscall.EACCES, syscall.ELOOP} {
			t.Run(suffix+" "+cause.Error(), func(t *testing.T) {
				dir := t.TempDir()
				sub, _ := discarded(t, dir)
				j, _ := mustOpen(t, Options{Dir: dir})
				if err := j.SaveLineage(ctx, Lineage{ReplIDs: []string{"x"}}); err != nil {
					t.Fatal(err)
				}
				mustClose(t, j)
				before := snapshot(t, sub)
				o := Options{Dir: dir, fs: func(f filesystem) filesystem {
					return &faultFS{filesystem: f, onOpen: func(name string) error {
						if strings.HasSuffix(name, suffix) {
							return cause
						}
						return nil
					}}
				}}
				if _, _, err := Adopt(o, filepath.Base(sub)); !errors.Is(err, cause) {
					t.Fatalf("adopted: %v", err)
				}
				k, rec := mustOpen(t, Options{Dir: dir})
				if k.ID() != j.ID() || !k.IsDead(2) || len(rec.Skipped) != 0 || len(k.Lineage().ReplIDs) != 1 {
					t.Errorf("afterwards: %+v", rec)
				}
				for path, b := range before {
					if now, err := os.ReadFile(path); filepath.Base(path) != progressName && (err != nil || string(now) != string(b)) {
						t.Errorf("%s was changed: %v", filepath.Base(path), err)
					}
				}
			})
		}
	}
}

// TestLinkThatLeadsNowhereIsNotNothing: the system says what is the matter.
func TestLinkThatLeadsNowhereIsNotNothing(t *testing.T) {
	dir := t.TempDir()
	sub, letters := discarded(t, dir)
	path := filepath.Join(sub, letters)
	if err := errors.Join(os.Remove(path), os.Symlink(letters, path)); err != nil {
		t.Fatal(err)
	}
	j, rec := mustOpen(t, Options{Dir: dir})
	if !rec.Fresh || j.ID().String() == filepath.Base(sub) || len(rec.Skipped) != 1 {
		t.Errorf("it was taken over: %+v", rec)
	}
}

// TestSettledLettersKeepWhatCannotBeRead: it is set aside, not removed.
func TestSettledLettersKeepWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	sub, letters := discarded(t, dir)
	j, _ := mustOpen(t, Options{Dir: dir})
	r := record("c")
	r.Seq = 3
	if err := errors.Join(j.DeadLetter(ctx, r, "no"), j.Trim(ctx, 3)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	f, err := os.OpenFile(filepath.Join(sub, letters), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("half a letter")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	if err := j.SettleDead(ctx, 2, 3); err != nil {
		t.Fatal(err)
	}
	if left, aside := files(t, j, suffixDead), files(t, j, suffixDamaged); len(left) != 0 || len(aside) != 1 || aside[0] != letters+suffixDamaged {
		t.Errorf("letters %v, aside %v", left, aside)
	}
}

// TestSettleBesideADamagedLetter: one letter that can't be read does not keep the others from
// being settled for good. The file is set aside as it is.
func TestSettleBesideADamagedLetter(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustAppend(t, j, "a", "b", "c")
	for seq := uint64(1); seq <= 3; seq++ {
		r := record("letter")
		r.Seq = seq
		if err := j.DeadLetter(ctx, r, "no"); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	name := files(t, j, suffixDead)[0]
	path := filepath.Join(dir, j.ID().String(), name)
	mustClose(t, j)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[(headerSize+len(b))/2] ^= 1 // of the second letter
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	if err := j.SettleDead(ctx, 1); err != nil {
		t.Fatal(err)
	}
	var left []uint64
	if err := j.DeadLetters(func(d DeadLetter) bool { left = append(left, d.Seq); return true }); err != nil {
		t.Errorf("what is left can't be read: %v", err)
	}
	if aside := files(t, j, suffixDamaged); !slices.Equal(left, []uint64{3}) || !slices.Equal(aside, []string{name + suffixDamaged}) {
		t.Errorf("letters %v, aside %v", left, aside)
	}
}

// TestDamagedLedgerIsReported: Open tells of entries that can't be read, and starts.
func TestDamagedLedgerIsReported(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(b []byte) []byte
		want  string // of each fault a piece, in order; nothing: none
	}{
		"nothing":            {func(b []byte) []byte { return b }, ""},
		"an early entry":     {func(b []byte) []byte { b[headerSize+batchSize+recordSize+3] ^= 1; return b }, "are damaged"},
		"a batch header":     {func(b []byte) []byte { b[headerSize+4] ^= 1; return b }, "are damaged"},
		"the file's header":  {func(b []byte) []byte { b[40] ^= 1; return b }, "80 bytes of the ledger are damaged"},
		"all of the headers": {func(b []byte) []byte { clear(b[:headerSize+batchSize]); return b }, "damaged header"},
		"the last entry":     {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, "at the end are no entries"},
		"the end":            {func(b []byte) []byte { return b[:len(b)-1] }, "at the end are no entries"},
		"zeros at the end":   {func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, ""},
		"both": {
			func(b []byte) []byte { b[headerSize+4] ^= 1; return b[:len(b)-1] },
			"are damaged | at the end are no entries",
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, Options{Dir: dir})
			mustAppend(t, j, "a", "b", "c")
			for seq := range uint64(3) {
				mustRecord(t, j, Fate{From: seq + 1, To: seq + 1, Outcome: OutcomeExpired})
				if err := j.Sync(ctx); err != nil {
					t.Fatal(err)
				}
			}
			name := files(t, j, suffixLedger)[0]
			mustClose(t, j)
			path := filepath.Join(dir, j.ID().String(), name)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			_, rec := mustOpen(t, Options{Dir: dir})
			var got []string
			for _, s := range rec.Skipped {
				if s.Name != j.ID().String() || !strings.HasPrefix(s.Err.Error(), name) {
					t.Errorf("it speaks of something else: %+v", s)
				}
				got = append(got, s.Err.Error())
			}
			want := strings.Split(c.want, " | ")
			if c.want == "" {
				want = nil
			}
			if rec.Fresh || rec.Entries != 3 || len(got) != len(want) {
				t.Fatalf("reported %q, want %q: %+v", got, want, rec)
			}
			for i := range want {
				if !strings.Contains(got[i], want[i]) {
					t.Errorf("reported %q, want %q", got[i], want[i])
				}
			}
		})
	}
}
