package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgressSurvives(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustAppend(t, j, "a", "b")
	for acked := range uint64(3) {
		if err := j.Acknowledge(Progress{Acked: acked, ReplID: "replication id", RunID: "run id"}); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Acknowledge(Progress{RunID: strings.Repeat("x", maxIDBytes+1)}); err == nil {
		t.Fatal("an id that has no room was taken")
	}
	want := j.Progress()
	mustClose(t, j)
	// A torn write of one slot leaves the other.
	path := filepath.Join(dir, j.ID().String(), progressName)
	for slot := range int64(2) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		torn := bytes.Clone(b)
		clear(torn[slot*slotSpacing+40 : slot*slotSpacing+200])
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		j, rec := mustOpen(t, Options{Dir: dir})
		got := j.Progress()
		if rec.Fresh || got.RunID != want.RunID || got.Acked < 1 {
			t.Fatalf("slot %d torn: %+v, want %+v", slot, got, want)
		}
		mustClose(t, j)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	if got := j.Progress(); got != want {
		t.Fatalf("progress: %+v, want %+v", got, want)
	}
}

func TestDeadLetters(t *testing.T) {
	modes(t, func(t *testing.T, o Options) {
		j, _ := mustOpen(t, o)
		mustAppend(t, j, "a", "b", "c")
		dead := record("b")
		dead.Seq = 2
		for range 2 { // the second one does nothing
			if err := j.DeadLetter(ctx, dead, "WRONGTYPE Operation against a key"); err != nil {
				t.Fatal(err)
			}
		}
		check := func(j *Journal, isDead bool) {
			t.Helper()
			if s := j.Stats(); s.Dead != 1 || j.IsDead(2) != isDead || j.IsDead(1) {
				t.Fatalf("stats: %+v, dead: %v %v", s, j.IsDead(1), j.IsDead(2))
			}
			n := 0
			err := j.DeadLetters(func(d DeadLetter) bool {
				n++
				if d.Seq != 2 || string(d.Body) != "b" || string(d.Meta) != "meta of b" || d.DB != 3 ||
					d.Reason != "WRONGTYPE Operation against a key" {
					t.Errorf("dead letter: %+v", d)
				}
				return true
			})
			if err != nil || n != 1 {
				t.Fatalf("%d dead letters, %v", n, err)
			}
		}
		check(j, true)
		unknown := record("x")
		unknown.Seq = 9
		if err := j.DeadLetter(ctx, unknown, "ERR"); err == nil {
			t.Fatal("a record that is not in the log was kept")
		}
		if o.Dir == "" {
			return
		}
		mustClose(t, j)
		j, _ = mustOpen(t, o)
		check(j, true)
		if err := j.Trim(ctx, 3); err != nil {
			t.Fatal(err)
		}
		check(j, false) // trimmed, yet kept
	})
}
