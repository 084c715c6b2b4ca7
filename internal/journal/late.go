package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// lateDir is the directory of a journal that could not be made when the journal was
// opened, most likely because the disk was full: it is made with the first file in it. Until then the journal stands as one
// that has failed: it takes no records, and Resume tries to make the directory.
type lateDir struct {
	dirFS
	o    Options
	j    *Journal
	made atomic.Bool // set by the writer goroutine, which alone creates
}

// openLate opens a new journal without its directory, because of cause.
func openLate(o Options, cause error) *Journal {
	var id ClientID
	random(id[:])
	d := &lateDir{dirFS: dirFS(filepath.Join(o.Dir, id.String())), o: o}
	d.j = newJournal(o, id, o.wrap(d))
	d.j.w.target = targetHash(o.Target)
	d.j.w.deadNext = 1
	d.j.failure = &Failure{First: 1, Err: cause}
	go d.j.run()
	return d.j
}

func (d *lateDir) create(name string) (file, error) {
	if !d.made.Load() {
		if err := d.make(); err != nil {
			return nil, fmt.Errorf("the directory could not be made: %w", err)
		}
		d.made.Store(true)
	}
	return d.dirFS.create(name)
}

// make makes the directory and takes it. Called by the writer goroutine.
func (d *lateDir) make() error {
	if err := makeDirOf(d.o, d.j.id); err != nil {
		return err
	}
	lock, err := lockFile(d.path(lockName))
	if err != nil {
		return err
	}
	progress, err := d.dirFS.openRW(progressName)
	if err != nil {
		_ = lock.Close() // nothing was written
		return err
	}
	d.j.lock, d.j.w.progress = lock, progress
	return nil
}

func (d *lateDir) absent(name string) error {
	if d.made.Load() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: d.path(name), Err: fs.ErrNotExist}
}

func (d *lateDir) open(name string) (file, error) {
	if err := d.absent(name); err != nil {
		return nil, err
	}
	return d.dirFS.open(name)
}

func (d *lateDir) list() ([]string, error) {
	if !d.made.Load() {
		return nil, nil
	}
	return d.dirFS.list()
}

func (d *lateDir) syncDir() error {
	if !d.made.Load() {
		return nil
	}
	return d.dirFS.syncDir()
}

// IsPassing reports whether err says that something is used up which may come free: the
// disk, a quota, a limit, or the number of open files.
func IsPassing(err error) bool {
	return isFull(err) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
