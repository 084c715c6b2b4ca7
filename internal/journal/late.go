package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// lateDir is the directory of a journal that could not be made when the journal was
// opened, most likely because the disk was full: it is made with the first file in it.
// Until then the journal stands as one that has failed: it takes no records, and Resume
// tries to make the directory.
type lateDir struct {
	dirFS
	o       Options
	j       *Journal
	made    atomic.Bool             // set by the writer goroutine, which alone creates
	lasting func(path string) error // syncDir, or what a test has in its place
}

// openLate opens a new journal without its directory, because of cause, if that may
// pass; else cause is the error, of a directory of which problem says the rest.
func openLate(o Options, rec *Recovery, problem string, cause error) (*Journal, *Recovery, error) {
	if !IsPassing(cause) {
		return nil, nil, fmt.Errorf("journal: the directory %s: %w", problem, cause)
	}
	var id ClientID
	random(id[:])
	d := &lateDir{dirFS: dirFS(filepath.Join(o.Dir, id.String())), o: o, lasting: syncDir}
	d.j = newJournal(o, id, o.wrap(d))
	d.j.w.target = targetHash(o.Target)
	d.j.w.deadNext = 1
	d.j.failure = &Failure{First: 1, Err: cause}
	go d.j.run()
	return d.j, &Recovery{Fresh: true, Skipped: rec.Skipped}, nil
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

// make makes the directory and takes it. An attempt can fail behind the point at which
// the directory has its name: the next one goes on there. Called by the writer
// goroutine.
func (d *lateDir) make() error {
	_, err := os.Stat(d.path(progressName))
	switch {
	case err == nil: // by an earlier attempt, which may not have made it last
		err = d.lasting(d.o.Dir)
	case errors.Is(err, fs.ErrNotExist):
		if err = makeDir(d.o.Dir); err == nil {
			err = makeDirOf(d.o, d.j.id)
		}
	}
	if err != nil {
		return err
	}
	lock, err := lockFile(d.path(lockName))
	if err != nil {
		return err
	}
	progress, err := d.takeProgress()
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	d.j.lock, d.j.w.progress = lock, progress
	return nil
}

// takeProgress opens the progress of the directory, which is locked, and makes sure that
// no other process took it over between two attempts: its records would have the numbers
// that this journal is about to give out.
func (d *lateDir) takeProgress() (file, error) {
	progress, err := d.dirFS.openRW(progressName)
	if err != nil {
		return nil, err
	}
	s, err := readProgress(progress, d.j.id)
	if err == nil && (s.generation > 0 || hasSegments(d.dirFS)) {
		err = fmt.Errorf("%w: another process took the directory over before this one could, start this one again", ErrInUse)
	}
	if err != nil {
		return nil, errors.Join(err, progress.close())
	}
	return progress, nil
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
	return isFull(err) || errors.Is(err, syscall.EFBIG) || isOutOfFiles(err)
}

// isOutOfFiles reports whether err says that the process, or the system, may open no
// more files.
func isOutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
