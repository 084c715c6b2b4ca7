package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDirEnv); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

// mustOpen opens a journal that the test's end closes.
func mustOpen(t testing.TB, o Options) (*Journal, *Recovery) {
	t.Helper()
	j, rec, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, rec
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

var acceptedAt = time.UnixMilli(1_700_000_000_123)

func record(body string) Record {
	return Record{At: acceptedAt, DB: 3, Meta: []byte("meta of " + body), Body: []byte(body)}
}

// mustAppend appends and waits; it returns the sequences.
func mustAppend(t testing.TB, j *Journal, bodies ...string) []uint64 {
	t.Helper()
	var seqs []uint64
	for _, body := range bodies {
		ticket, err := j.Append(record(body))
		if err == nil {
			err = ticket.Wait(ctx)
		}
		if err != nil {
			t.Fatalf("append: %v", err)
		}
		seqs = append(seqs, ticket.Seq())
	}
	return seqs
}

// contents reads everything from seq on, as "sequence:body".
func contents(t testing.TB, j *Journal, seq uint64) []string {
	t.Helper()
	r := j.NewReader(seq)
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("Reader.Close: %v", err)
		}
	}()
	got := []string{}
	for {
		records, err := r.Next(ctx, 7, 1<<20)
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if len(records) == 0 {
			return got
		}
		for _, rec := range records {
			if want := "meta of " + string(rec.Body); string(rec.Meta) != want || rec.DB != 3 || !rec.At.Equal(acceptedAt) {
				t.Fatalf("record %d: meta %q, database %d, at %v", rec.Seq, rec.Meta, rec.DB, rec.At)
			}
			got = append(got, fmt.Sprintf("%d:%s", rec.Seq, rec.Body))
		}
	}
}

func wantContents(t testing.TB, j *Journal, want ...string) {
	t.Helper()
	if got := contents(t, j, 1); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("contents: %v, want %v", got, want)
	}
}

// modes are the kinds of journal that must behave alike.
func modes(t *testing.T, test func(t *testing.T, o Options)) {
	for _, p := range []Fsync{FsyncAlways, FsyncEverySec, FsyncNo} {
		t.Run(p.String(), func(t *testing.T) { test(t, Options{Dir: t.TempDir(), Fsync: p}) })
	}
	t.Run("memory", func(t *testing.T) { test(t, Options{}) })
}

func TestAppendAndRead(t *testing.T) {
	modes(t, func(t *testing.T, o Options) {
		j, rec := mustOpen(t, o)
		if !rec.Fresh || rec.Entries != 0 {
			t.Fatalf("recovery of nothing: %+v", rec)
		}
		mustAppend(t, j, "a", "b", "c")
		wantContents(t, j, "1:a", "2:b", "3:c")
		if got := contents(t, j, 3); len(got) != 1 || got[0] != "3:c" {
			t.Fatalf("from 3: %v", got)
		}
		if s := j.Stats(); s.Entries != 3 || s.Last != 3 || !s.Oldest.Equal(acceptedAt) {
			t.Fatalf("stats: %+v", s)
		}
		if j.Durable() != (o.Dir != "") {
			t.Fatalf("durable: %v", j.Durable())
		}
	})
}

func TestReaderFollowsAndSeeks(t *testing.T) {
	modes(t, func(t *testing.T, o Options) {
		j, _ := mustOpen(t, o)
		add := func(bodies ...string) {
			t.Helper()
			mustAppend(t, j, bodies...)
			if err := j.Sync(ctx); err != nil { // in memory nobody waits for a commit
				t.Fatal(err)
			}
		}
		add("a", "b")
		r := j.NewReader(1)
		next := func(limit, size int, want ...string) {
			t.Helper()
			records, err := r.Next(ctx, limit, size)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, rec := range records {
				got = append(got, string(rec.Body))
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Fatalf("Next: %q, want %q", got, want)
			}
		}
		next(10, 100, "a", "b")
		next(10, 100)
		add("cc", "dd", "ee")
		next(1, 100, "cc")
		next(10, 3, "dd") // ee would pass the size
		next(10, 1, "ee") // the first one may
		if err := r.Seek(2); err != nil {
			t.Fatal(err)
		}
		next(2, 100, "b", "cc")
		if err := j.Trim(ctx, 4); err != nil {
			t.Fatal(err)
		}
		next(10, 100, "ee")
		mustClose(t, j)
		if _, err := r.Next(ctx, 1, 1); !errors.Is(err, ErrClosed) {
			t.Fatalf("Next after Close: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReopenGoesOn(t *testing.T) {
	dir := t.TempDir()
	var id ClientID
	var want []string
	for round := range uint64(4) {
		j, rec := mustOpen(t, Options{Dir: dir})
		if round == 0 {
			id = j.ID()
		}
		if rec.Fresh != (round == 0) || rec.Entries != int64(3*round) || rec.Lost != 0 || len(rec.Damaged) != 0 || j.ID() != id {
			t.Fatalf("round %d: id %v, want %v; %+v", round, j.ID(), id, rec)
		}
		wantContents(t, j, want...)
		for _, seq := range mustAppend(t, j, "x", "y", "z") {
			want = append(want, fmt.Sprintf("%d:%c", seq, "xyz"[(seq-1)%3]))
		}
		wantContents(t, j, want...)
		mustClose(t, j)
	}
}

func TestConcurrentAppendsKeepTheirOrder(t *testing.T) {
	modes(t, func(t *testing.T, o Options) {
		o.SegmentBytes = minSegmentBytes // many rotations
		j, _ := mustOpen(t, o)
		const writers, each = 16, 60
		var order sync.Mutex // as the lock of a key would be
		var want []string
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					order.Lock()
					body := fmt.Sprintf("writer %d, record %d", w, i)
					ticket, err := j.Append(record(body))
					want = append(want, fmt.Sprintf("%d:%s", ticket.Seq(), body))
					order.Unlock()
					if err == nil {
						err = ticket.Wait(ctx)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		wantContents(t, j, want...)
		// In memory nobody waits, so that all of it may be one batch.
		if s := j.Stats(); s.Segments < 2 && j.Durable() || s.Entries != writers*each {
			t.Fatalf("stats: %+v", s)
		}
		if err := j.Trim(ctx, writers*each); err != nil {
			t.Fatal(err)
		}
		if s := j.Stats(); s.Segments != 0 || s.Entries != 0 || s.Bytes != 0 || !s.Oldest.IsZero() {
			t.Fatalf("stats after all was trimmed: %+v", s)
		}
	})
}

// TestReadWhileWritingAndTrimming is what a replay does during a late outage.
func TestReadWhileWritingAndTrimming(t *testing.T) {
	modes(t, func(t *testing.T, o Options) {
		o.SegmentBytes = minSegmentBytes
		j, _ := mustOpen(t, o)
		const total = 600
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range total / 4 {
					if _, err := j.Append(record("some body of a record")); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		r := j.NewReader(1)
		seen := uint64(0)
		for seen < total {
			records, err := r.Next(ctx, 50, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range records {
				if rec.Seq != seen+1 {
					t.Fatalf("record %d after %d", rec.Seq, seen)
				}
				seen = rec.Seq
			}
			if err := j.Trim(ctx, seen); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if s := j.Stats(); s.Entries != 0 || s.Segments != 0 || s.Lost != 0 {
			t.Fatalf("stats: %+v", s)
		}
	})
}

func TestTrimIsRememberedAndSequencesNeverRepeat(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir, SegmentBytes: minSegmentBytes})
	long := strings.Repeat("x", 1500)
	mustAppend(t, j, long, long, long, long, long)
	if s := j.Stats(); s.Segments < 2 {
		t.Fatalf("stats: %+v", s)
	}
	if err := j.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)

	j, rec := mustOpen(t, Options{Dir: dir})
	if rec.Entries != 2 || rec.Lost != 0 {
		t.Fatalf("recovery: %+v", rec)
	}
	wantContents(t, j, "4:"+long, "5:"+long)
	if err := j.Trim(ctx, 1000); err != nil { // stands for all
		t.Fatal(err)
	}
	if left := files(t, j, suffixSegment); len(left) != 0 {
		t.Fatalf("files left: %v", left)
	}
	mustClose(t, j)

	j, rec = mustOpen(t, Options{Dir: dir})
	if rec.Fresh || rec.Entries != 0 || rec.Lost != 0 {
		t.Fatalf("recovery: %+v", rec)
	}
	if seqs := mustAppend(t, j, "next"); seqs[0] != 6 {
		t.Fatalf("sequence %d was given out again", seqs[0])
	}
}

// files lists the journal's files with the suffix.
func files(t testing.TB, j *Journal, suffix string) []string {
	t.Helper()
	names, err := j.fs.list()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range names {
		if strings.HasSuffix(name, suffix) {
			found = append(found, name)
		}
	}
	return found
}

func TestBounds(t *testing.T) {
	t.Run("entries", func(t *testing.T) {
		j, _ := mustOpen(t, Options{MaxEntries: 2})
		mustAppend(t, j, "a", "b")
		if _, err := j.Append(record("c")); !errors.Is(err, ErrFull) {
			t.Fatalf("third: %v", err)
		}
		if err := j.Trim(ctx, 1); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, j, "c")
		wantContents(t, j, "2:b", "3:c")
	})
	t.Run("bytes", func(t *testing.T) {
		j, _ := mustOpen(t, Options{Dir: t.TempDir(), MaxBytes: 1000})
		mustAppend(t, j, strings.Repeat("a", 400))
		if _, err := j.Append(record(strings.Repeat("b", 400))); !errors.Is(err, ErrFull) {
			t.Fatalf("second: %v", err)
		}
		if strings.Contains(ErrFull.Error(), "bbb") {
			t.Fatal("an error shows a value")
		}
		if err := j.Trim(ctx, 1); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, j, strings.Repeat("b", 400))
	})
	t.Run("none", func(t *testing.T) {
		j, _ := mustOpen(t, Options{MaxBytes: -1, MaxEntries: -1})
		mustAppend(t, j, "a")
	})
	t.Run("record", func(t *testing.T) {
		j, _ := mustOpen(t, Options{})
		for name, r := range map[string]Record{
			"no body":  {Meta: []byte("m")},
			"database": {Body: []byte("b"), DB: -1},
			"meta":     {Body: []byte("b"), Meta: make([]byte, MaxMetaBytes+1)},
		} {
			_, err := j.Append(r)
			if err == nil || errors.Is(err, ErrTooBig) != (name == "meta") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s := j.Stats(); s.Entries != 0 {
			t.Fatalf("stats: %+v", s)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	hold := make(chan struct{})
	j, _ := mustOpen(t, Options{Dir: t.TempDir(), fs: func(f filesystem) filesystem {
		return &faultFS{filesystem: f, onSync: func(name string) error {
			if name != progressName {
				<-hold
			}
			return nil
		}}
	}})
	ticket, err := j.Append(record("a"))
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the caller went away")
	done, cancel := context.WithCancelCause(ctx)
	cancel(gone)
	if err := ticket.Wait(done); !errors.Is(err, ErrInDoubt) || !errors.Is(err, gone) {
		t.Fatalf("Wait: %v", err)
	}
	close(hold)
	if err := ticket.Wait(ctx); err != nil { // the record was not taken back
		t.Fatal(err)
	}
	if err := ticket.Wait(done); err != nil {
		t.Fatalf("a decided record and an ended context: %v", err)
	}
	wantContents(t, j, "1:a")
}

func TestCloseCommitsAndRefuses(t *testing.T) {
	dir := t.TempDir()
	j, faults := openFaulty(t, dir, FsyncNo)
	mustAppend(t, j, "before")
	synced := make(map[string]int)
	faults.set(func(f *faultFS) { f.onSync = func(name string) error { synced[name]++; return nil } })
	ticket, err := j.Append(record("a"))
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	mustClose(t, j)
	if n := synced[fileName(1, suffixSegment)]; n != 1 {
		t.Fatalf("Close synced the segment %d times", n)
	}
	if err := ticket.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	_, appendErr := j.Append(record("b"))
	for name, err := range map[string]error{
		"Append": appendErr, "Trim": j.Trim(ctx, 1), "Sync": j.Sync(ctx), "Acknowledge": j.Acknowledge(Progress{Acked: 1}),
		"DeadLetter": j.DeadLetter(ctx, Record{Seq: 1, Body: []byte("a")}, "x"),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	wantContents(t, j, "1:before", "2:a")
}

func TestValidateReportsEveryFault(t *testing.T) {
	o := Options{Dir: t.TempDir(), Fsync: 9, MaxBytes: -2, MaxEntries: -3, SegmentBytes: 1}
	_, _, err := Open(o)
	for _, field := range []string{"Fsync", "MaxBytes", "MaxEntries", "SegmentBytes"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("something was made: %v %v", left, err)
	}
}
