package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sizeOf is what Append and AwaitRoom call the size of a record.
func sizeOf(r Record) int64 { return int64(len(r.Meta) + len(r.Body)) }

func TestAwaitRoom(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []Options{
		{Dir: dir, MaxEntries: 2},
		{MaxEntries: 2},
		{Dir: dir, MaxBytes: 350},
		{MaxBytes: 350},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, _, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			r := record(strings.Repeat("x", 30))
			if err := j.AwaitRoom(ctx, sizeOf(r)); err != nil {
				t.Errorf("room in an empty journal: %v", err)
			}
			for {
				ticket, err := j.Append(r)
				if errors.Is(err, ErrFull) {
					break
				}
				if err == nil {
					err = ticket.Wait(ctx)
				}
				if err != nil {
					t.Error(err)
				}
			}
			// Full: it waits until its context ends, and says why it waited.
			gone := errors.New("the caller went away")
			ending, cancel := context.WithTimeoutCause(ctx, time.Minute, gone)
			defer cancel()
			start := time.Now()
			if err := j.AwaitRoom(ending, sizeOf(r)); !errors.Is(err, ErrFull) || !errors.Is(err, gone) || time.Since(start) != time.Minute {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			// A trim makes room, for as many as there are.
			done := make(chan error, 3)
			for range cap(done) {
				go func() { done <- j.AwaitRoom(ctx, sizeOf(r)) }()
			}
			synctest.Wait()
			if len(done) != 0 {
				t.Errorf("there was no room, yet %v", <-done)
			}
			if err := j.Trim(ctx, 1<<40); err != nil {
				t.Error(err)
			}
			for range cap(done) {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if _, err := j.Append(r); err != nil {
				t.Errorf("after AwaitRoom: %v", err)
			}
			for _, never := range []int64{MaxRecordBytes + 1, MaxRecordBytes} {
				err := j.AwaitRoom(ctx, never)
				if tooBig := never > MaxRecordBytes; tooBig && !errors.Is(err, ErrTooBig) || o.MaxBytes > 0 && !tooBig && !errors.Is(err, ErrFull) {
					t.Errorf("%d bytes: %v", never, err)
				}
				if o.MaxBytes == 0 {
					break // 64 MiB and more may fit one day
				}
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
			if err := j.AwaitRoom(ctx, 1); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func TestAwaitRoomEndsWithTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, err := Open(Options{MaxEntries: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append(record("a")); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- j.AwaitRoom(ctx, 1) }()
		synctest.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("AwaitRoom: %v", err)
		}
	})
}

// TestAwaitRoomOnAFullDisk waits for Resume; another failure ends the waiting.
func TestAwaitRoomOnAFullDisk(t *testing.T) {
	j, faults := openFaulty(t, t.TempDir(), FsyncAlways)
	mustAppend(t, j, "a")
	full := func(name string, _ []byte) (int, error) {
		if name == progressName {
			return 0, nil
		}
		return 0, errNoSpace
	}
	faults.set(func(f *faultFS) { f.onWrite = full })
	if err := appendErr(j, "b"); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := j.AwaitRoom(ended, 1); !errors.Is(err, ErrFull) || !errors.Is(err, context.Canceled) {
		t.Fatalf("AwaitRoom: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- j.AwaitRoom(ctx, 1) }()
	faults.set(func(f *faultFS) { f.onWrite = nil })
	if err := j.Resume(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("AwaitRoom after Resume: %v", err)
	}
	faults.set(func(f *faultFS) { f.onSync = always(errDisk) })
	if err := appendErr(j, "c"); !errors.Is(err, ErrInDoubt) {
		t.Fatal(err)
	}
	if err := j.AwaitRoom(ctx, 1); !errors.Is(err, ErrFailed) {
		t.Fatalf("AwaitRoom: %v", err)
	}
}

// TestPlaceIsAllocatedAheadAndGivenBack: a journal in use holds more than it has
// written, one that is sealed, closed or recovered does not.
func TestPlaceIsAllocatedAheadAndGivenBack(t *testing.T) {
	size := func(j *Journal, name string) int64 {
		t.Helper()
		f, err := j.fs.open(name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.size()
		if err = errors.Join(err, f.close()); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, how := range []string{"rotated", "trimmed", "closed", "killed"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := mustOpen(t, Options{Dir: dir, SegmentBytes: 300 << 10})
			long := strings.Repeat("x", 5000)
			mustAppend(t, j, long, long)
			name := files(t, j, suffixSegment)[0]
			written := headerSize + 2*(batchSize+int64((&Record{Meta: []byte("meta of " + long), Body: []byte(long)}).encodedSize()))
			switch before := size(j, name); {
			case !allocatesAhead:
				if before != written {
					t.Fatalf("%d bytes, %d are written", before, written)
				}
			case before < 64<<10 || before > 128<<10:
				t.Fatalf("%d bytes before the end", before)
			}
			want := written
			switch how {
			case "rotated":
				ticket, err := j.Append(Record{Body: []byte(strings.Repeat("y", 290<<10))})
				if err == nil {
					err = ticket.Wait(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
			case "trimmed":
				if err := j.Trim(ctx, 2); err != nil {
					t.Fatal(err)
				}
				name = files(t, j, suffixKept)[0]
			case "closed":
				mustClose(t, j)
			case "killed":
				// As a kill would leave it, under a new name: the lock is taken.
				sub := filepath.Join(dir, j.ID().String())
				all := snapshot(t, sub)
				mustClose(t, j)
				for path, b := range all {
					if err := os.WriteFile(path, b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				var rec *Recovery
				j, rec = mustOpen(t, Options{Dir: dir})
				if rec.SkippedBytes != 0 || rec.Lost != 0 || len(rec.Damaged) != 0 || rec.Entries != 2 {
					t.Fatalf("recovery: %+v", rec)
				}
			}
			if got := size(j, name); got != want {
				t.Fatalf("%d bytes in the end, %d were written", got, want)
			}
		})
	}
}

// TestZerosAreNoDamage, wherever they lie: behind any segment, also behind a torn
// batch, and in a segment that has nothing else.
func TestZerosAreNoDamage(t *testing.T) {
	d := newDamaged(t, 12, 12)
	for i, name := range d.names {
		d.restore(t)
		path := filepath.Join(d.sub, name)
		b := append(d.clean[path][:len(d.clean[path]):len(d.clean[path])], make([]byte, 1<<20)...)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if missing, rec := d.check(t, "zeros behind "+name); missing != 0 || rec.Lost != 0 || rec.SkippedBytes != 0 || len(rec.Damaged) != 0 {
			t.Fatalf("segment %d: %d missing, %+v", i, missing, rec)
		}
	}
	// Torn in the last batch, of which 40 bytes are there.
	d.restore(t)
	path := filepath.Join(d.sub, d.names[len(d.names)-1])
	whole := d.clean[path]
	torn := append(append([]byte(nil), whole...), make([]byte, 1<<20)...)
	batchHeader{length: 100, count: 1, first: 1 << 30}.put(torn[len(whole):], le.Uint64(whole[56:])^1)
	torn[len(whole)+batchSize] = 1
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if missing, rec := d.check(t, "torn before zeros"); missing != 0 || rec.Lost != 0 || rec.SkippedBytes != batchSize+1 {
		t.Fatalf("%d missing, %+v", missing, rec)
	}
	// Nothing but zeros behind the header.
	d.restore(t)
	if err := os.WriteFile(path, append(whole[:headerSize:headerSize], make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, rec := d.check(t, "only zeros"); rec.Lost != 0 || rec.SkippedBytes != 0 || len(rec.Damaged) != 0 {
		t.Fatalf("%+v", rec)
	}
}
