package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// openReady is a journal that makes each next segment ready at once, as soon as a batch
// has several records.
func openReady(t *testing.T, o Options, files *faultFS) *Journal {
	t.Helper()
	o.Dir, o.SegmentBytes, o.readyAfter = t.TempDir(), 16<<10, 1
	o.beside = func(f func()) { f() }
	if files != nil {
		o.fs = func(inner filesystem) filesystem { files.filesystem = inner; return files }
	}
	j, _ := mustOpen(t, o)
	t.Cleanup(func() { mustClose(t, j) })
	return j
}

// appendShared appends records that are committed together.
func appendShared(t *testing.T, j *Journal, bodies ...string) {
	t.Helper()
	var tickets []Ticket
	// The writer can't take a part of them while it does something else.
	err := j.call(ctx, func() error {
		for _, body := range bodies {
			ticket, err := j.Append(record(body))
			if err != nil {
				return err
			}
			tickets = append(tickets, ticket)
		}
		return nil
	})
	for _, ticket := range tickets {
		err = errors.Join(err, ticket.Wait(ctx))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sizeOfFile(j *Journal, name string) (int64, error) {
	st, err := os.Stat(filepath.Join(j.opts.Dir, j.id.String(), name))
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// TestSegmentMadeReady: a busy journal goes on in a file of zeros that was made beside
// its writing, and gives back what it does not use.
func TestSegmentMadeReady(t *testing.T) {
	j := openReady(t, Options{}, nil)
	appendShared(t, j, "a", "b")
	if _, err := sizeOfFile(j, readyName); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a file was made ready by the first batch: %v", err)
	}
	mustAppend(t, j, "c")
	if _, err := sizeOfFile(j, readyName); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a file was made ready for a single caller: %v", err)
	}
	// The batch that finds it worth its while is the first one of the new segment.
	appendShared(t, j, "d", "e")
	segments := files(t, j, suffixSegment)
	if len(segments) != 2 {
		t.Fatalf("segments: %v", segments)
	}
	if n, err := sizeOfFile(j, segments[1]); n != j.opts.SegmentBytes || err != nil {
		t.Errorf("the segment has %d bytes, want %d: %v", n, j.opts.SegmentBytes, err)
	}
	wantContents(t, j, "1:a", "2:b", "3:c", "4:d", "5:e")
	// It is used to its end.
	long := strings.Repeat("x", 1<<10)
	appendShared(t, j, long, long)
	if n := len(files(t, j, suffixSegment)); n != 2 {
		t.Errorf("%d segments, want 2", n)
	}
	for range 3 {
		appendShared(t, j, long, long, long)
	}
	segments = files(t, j, suffixSegment)
	if n, err := sizeOfFile(j, segments[1]); n >= j.opts.SegmentBytes || err != nil {
		t.Errorf("the segment behind which another one was begun has %d bytes: %v", n, err)
	}
	if err := j.Trim(ctx, 1<<60); err != nil {
		t.Fatal(err)
	}
	if _, err := sizeOfFile(j, readyName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a journal without records holds a file: %v", err)
	}
	mustAppend(t, j, "f")
	wantContents(t, j, "17:f")
}

// TestReadySegmentIsGivenUpForRoom: where the disk is full, what waits for later use goes
// first, and where it can't be made the journal goes on without.
func TestReadySegmentIsGivenUpForRoom(t *testing.T) {
	f := new(faultFS)
	j := openReady(t, Options{}, f)
	long := strings.Repeat("x", 1<<10)
	appendShared(t, j, long, long)
	appendShared(t, j, long, long) // in a segment of zeros
	appendShared(t, j, long, long) // the next one is made
	if _, err := sizeOfFile(j, readyName); err != nil {
		t.Fatal(err)
	}
	f.set(func(f *faultFS) {
		f.onWrite = func(string, []byte) (int, error) {
			if _, err := sizeOfFile(j, readyName); err == nil {
				return 0, errNoSpace
			}
			return 0, nil
		}
	})
	mustAppend(t, j, "a")
	if _, err := sizeOfFile(j, readyName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the disk is full and a file waits: %v", err)
	}
	f.set(func(f *faultFS) {
		f.onWrite = nil
		f.onCreate = func(name string) error {
			if name == readyName {
				return errNoSpace
			}
			return nil
		}
	})
	for range 8 {
		appendShared(t, j, long, long)
	}
	if _, err := sizeOfFile(j, readyName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what could not be made is there: %v", err)
	}
	if got := contents(t, j, 1); len(got) != 23 || !slices.Contains(got, "7:a") {
		t.Errorf("%d records", len(got))
	}
}

// TestReadySegmentThatCannotBeUsed: each step from the file of zeros to a segment may
// fail; the journal takes a plain one, and nothing is lost.
func TestReadySegmentThatCannotBeUsed(t *testing.T) {
	for _, step := range []string{"header", "sync", "rename"} {
		t.Run(step, func(t *testing.T) {
			f := new(faultFS)
			j := openReady(t, Options{}, f)
			appendShared(t, j, "a", "b")
			made := false
			f.set(func(f *faultFS) {
				once := func(name string) error {
					if n, err := sizeOfFile(j, readyName); !made && err == nil && n == j.opts.SegmentBytes && strings.HasPrefix(name, readyName) {
						made = true
						return errDisk
					}
					return nil
				}
				switch step {
				case "header":
					zeros := false
					f.onWrite = func(name string, _ []byte) (int, error) {
						if name == readyName && !zeros {
							zeros = true // the one that makes it
							return 0, nil
						}
						return 0, once(name)
					}
				case "sync":
					first := true
					f.onSync = func(name string) error {
						if name == readyName && first {
							first = false
							return nil
						}
						return once(name)
					}
				case "rename":
					f.onRemove = once
				}
			})
			appendShared(t, j, "c", "d")
			if !made {
				t.Fatal("the step was not reached")
			}
			if _, err := sizeOfFile(j, readyName); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file is left: %v", err)
			}
			wantContents(t, j, "1:a", "2:b", "3:c", "4:d")
		})
	}
}

// TestReadySegmentOfAKilledProcess is cleared away at the next start.
func TestReadySegmentOfAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, Options{Dir: dir})
	mustAppend(t, j, "a")
	mustClose(t, j)
	left := filepath.Join(dir, j.id.String(), readyName)
	if err := os.WriteFile(left, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	j, _ = mustOpen(t, Options{Dir: dir})
	defer mustClose(t, j)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	wantContents(t, j, "1:a")
}
