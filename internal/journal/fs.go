package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// filesystem is what a journal needs of the directory that holds its files;
// names are relative to it.
type filesystem interface {
	create(name string) (file, error)  // must not exist; read and write
	open(name string) (file, error)    // read
	openRW(name string) (file, error)  // read and write
	remove(name string) error          //
	rename(from, to string) error      //
	list() (names []string, err error) // sorted
	syncDir() error                    // makes create, remove and rename last
}

// file is an open file; its methods are safe for concurrent use.
type file interface {
	io.ReaderAt
	io.WriterAt
	truncate(size int64) error
	allocate(off, n int64) error // gives the n bytes at off a place, as zeros, and counts them in the size
	sync() error                 // data, and what is needed to find it
	close() error
	size() (int64, error)
}

// dirFS is a directory of the operating system.
type dirFS string

func (d dirFS) path(name string) string { return filepath.Join(string(d), name) }

func (d dirFS) create(name string) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := shareWithOwner(f); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return osFile{f}, nil
}

func (d dirFS) open(name string) (file, error)   { return openFile(d.path(name), os.O_RDONLY) }
func (d dirFS) openRW(name string) (file, error) { return openFile(d.path(name), os.O_RDWR) }
func (d dirFS) remove(name string) error         { return os.Remove(d.path(name)) }

func (d dirFS) rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d dirFS) list() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		// A link may lead to a file, and is not nothing where it leads nowhere.
		if t := e.Type(); t.IsRegular() || t&fs.ModeSymlink != 0 {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d dirFS) syncDir() error { return syncDir(string(d)) }

// osFile is a file of the operating system.
type osFile struct{ f *os.File }

func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (o osFile) ReadAt(b []byte, off int64) (int, error)  { return o.f.ReadAt(b, off) }
func (o osFile) WriteAt(b []byte, off int64) (int, error) { return o.f.WriteAt(b, off) }
func (o osFile) allocate(off, n int64) error              { return allocate(o.f, off, n) }
func (o osFile) sync() error                              { return syncData(o.f) }
func (o osFile) close() error                             { return o.f.Close() }

// truncate keeps the time of the last modification: it tells when a record was added, and not
// when somebody looked at the journal and cut off what is none. See lastWritten.
func (o osFile) truncate(size int64) error {
	st, err := o.f.Stat()
	if err != nil {
		return err
	}
	if err := o.f.Truncate(size); err != nil {
		return err
	}
	_ = os.Chtimes(o.f.Name(), time.Time{}, st.ModTime()) // a preference is all that hangs on it
	return nil
}

func (o osFile) size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
