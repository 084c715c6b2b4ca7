package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const lockName = "LOCK"

// Skipped is a journal directory that Open left as it is.
type Skipped struct {
	// Name of the subdirectory.
	Name string
	// Err says why: ErrNewerFormat, ErrUnusable, what Options.Admit said, or what
	// the operating system said.
	Err error
}

// Recovery tells what Open found.
type Recovery struct {
	// Fresh says that a new journal was made rather than one taken over.
	Fresh bool
	// Entries are the records found and not trimmed; Oldest and Newest are when the
	// first and the last of them were accepted, or zero. Damage can make Newest too
	// early.
	Entries        int64
	Oldest, Newest time.Time
	// Lost is the number of acknowledged records known to be lost by damage.
	Lost uint64
	// SkippedBytes were passed over: torn writes that were never acknowledged,
	// void ones of a failed commit excepted, and damage.
	SkippedBytes int64
	// Damaged are the files that were found damaged and are kept aside, or will
	// be when the rest of them is trimmed.
	Damaged []string
	// Skipped are the other directories that could not be used. Those that
	// other processes hold, and those of other targets, are not among them. Under
	// the journal's own name: dead letters, and files of its ledger, that could not be
	// read as a whole and are kept as they are.
	Skipped []Skipped
}

// Open opens a journal: in memory without Dir, else in a subdirectory of Dir.
// It takes over one that no process holds, preferring one with records, and of these
// the one that was written last, else it makes a new one. Where the disk has no room for that, or the process may open no
// more files, it opens one that has failed, which makes its directory when Resume
// finds what it needs. What is damaged, of a newer format or made for another
// target never makes Open fail; the Recovery tells. Errors: invalid options, or
// Dir can't be used.
func Open(o Options) (*Journal, *Recovery, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	o = o.withDefaults()
	if o.Dir == "" {
		return openMemory(o)
	}
	rec := new(Recovery)
	if err := makeDir(o.Dir); err != nil {
		return openLate(o, rec, "can't be used, name one that this process may write", err)
	}
	names, err := candidates(o.Dir)
	if err != nil {
		return openLate(o, rec, "can't be read, name one that this process may use", err)
	}
	for _, name := range names {
		j, err := o.inherit(name, &rec)
		if j != nil {
			return j, rec, nil
		}
		if isOutOfFiles(err) {
			// A new directory would need as many, and stay behind at each such start.
			return openLate(o, rec, "can't be used", err)
		}
	}
	rec.Fresh = true
	// A directory that was just made can be snatched by another process before
	// it is locked, which then is its rightful owner.
	for range 100 {
		name, err := makeClientDir(o)
		if err != nil {
			return openLate(o, rec, "can't be used, name one that this process may write", err)
		}
		j, err := takeOver(o, name, rec)
		switch {
		case err == nil:
			return j, rec, nil
		case !isTaken(err):
			return openLate(o, rec, "can't be used, although it could be made", err)
		}
	}
	return nil, nil, errors.New("journal: other processes took every directory that was made, try again")
}

// inherit takes over the journal called name, if it is free, of the target, whole and
// admitted; else j is nil, and rec tells what there is to tell.
func (o Options) inherit(name string, rec **Recovery) (j *Journal, err error) {
	if !belongs(o, name) {
		return nil, nil // and its lock is not touched
	}
	if j, err = takeOver(o, name, *rec); err == nil {
		if err = o.admit(j, *rec); err == nil {
			return j, nil
		}
		*rec = &Recovery{Skipped: (*rec).Skipped}
		err = errors.Join(err, j.Close())
	}
	if !isTaken(err) && !errors.Is(err, ErrOtherTarget) {
		(*rec).Skipped = append((*rec).Skipped, Skipped{Name: name, Err: err})
	}
	return nil, err
}

// isTaken reports whether another process has the directory, or had it and removed it.
func isTaken(err error) bool { return errors.Is(err, ErrInUse) || errors.Is(err, fs.ErrNotExist) }

func (o Options) admit(j *Journal, rec *Recovery) error {
	if o.Admit == nil || rec.Entries == 0 {
		return nil
	}
	return o.Admit(j, rec)
}

// Siblings lists the journals below dir by name, those with segments first: those
// in use too, whatever their target.
func Siblings(dir string) ([]string, error) { return candidates(dir) }

// HasSegments reports whether the journal called name below dir holds files with
// records that are not trimmed, as far as can be told without opening it.
func HasSegments(dir, name string) bool { return hasSegments(dirFS(filepath.Join(dir, name))) }

// Adopt opens the journal called name below Options.Dir, as Open would, under its
// own client id. Options.Admit is not asked. Beside the errors for which Open passes
// over a directory there is ErrInUse, and fs.ErrNotExist where there is none.
func Adopt(o Options, name string) (*Journal, *Recovery, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if _, ok := parseClientID(name); !ok || o.Dir == "" {
		return nil, nil, fmt.Errorf("%w: %q is not the name of a journal below a directory", ErrUnusable, name)
	}
	o = o.withDefaults()
	if !belongs(o, name) {
		return nil, nil, ErrOtherTarget // without a look at its lock, which its owner may want at this moment
	}
	rec := new(Recovery)
	j, err := takeOver(o, name, rec)
	if err != nil {
		return nil, nil, err
	}
	return j, rec, nil
}

// belongs reports whether the journal called name may be of the options' target. It
// takes no lock.
func belongs(o Options, name string) bool {
	f, err := dirFS(filepath.Join(o.Dir, name)).open(progressName)
	if err != nil {
		return true // to be found out with the lock
	}
	defer func() { _ = f.close() }() // it was only read
	id, _ := parseClientID(name)
	s, err := readProgress(f, id)
	var none [16]byte
	target := targetHash(o.Target)
	return err != nil || s.target == none || target == none || s.target == target
}

// RemoveIdle removes the journal called name below dir if no process holds it, it has
// nothing left to tell (records, a ledger, dead letters, damaged files), and its
// progress has not been written since before. It reports whether it did.
func RemoveIdle(dir, name string, before time.Time) (bool, error) {
	if _, ok := parseClientID(name); !ok {
		return false, fmt.Errorf("%w: %q is not the name of a journal", ErrUnusable, name)
	}
	path := filepath.Join(dir, name)
	if !isIdle(path, before) {
		return false, nil
	}
	lock, err := lockFile(filepath.Join(path, lockName))
	if err != nil {
		if isTaken(err) {
			err = nil
		}
		return false, err
	}
	if !isIdle(path, before) { // somebody had it in between
		return false, lock.Close()
	}
	// Away by one step: whoever comes now finds the whole of it or nothing.
	old := filepath.Join(dir, ".old-"+name)
	err = os.Rename(path, old)
	if err = errors.Join(err, lock.Close()); err != nil {
		return false, err
	}
	return true, errors.Join(os.RemoveAll(old), syncDir(dir))
}

// isIdle reports whether the directory holds only what every journal has.
func isIdle(path string, before time.Time) bool {
	entries, err := os.ReadDir(path)
	if err != nil {
		return false
	}
	for _, e := range entries {
		switch e.Name() {
		case lockName, lineageName, lineageNew, confirmedName, confirmedNew, deadNew, readyName:
		case progressName:
			if st, err := e.Info(); err != nil || !st.ModTime().Before(before) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func openMemory(o Options) (*Journal, *Recovery, error) {
	var id ClientID
	random(id[:])
	j := newJournal(o, id, o.wrap(newMemFS()))
	j.volatile = true
	j.w.deadNext = 1
	go j.run()
	return j, &Recovery{Fresh: true}, nil
}

func (o Options) wrap(files filesystem) filesystem {
	if o.fs != nil {
		return o.fs(files)
	}
	return files
}

// makeDir makes path and what is missing above it, each one lastingly.
func makeDir(path string) error {
	st, err := os.Stat(path)
	switch {
	case err == nil && st.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("a file is in its place")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); err != nil {
		return errors.Join(err, os.Remove(path)) // else a later attempt would take it for lasting
	}
	return nil
}

// candidates lists the journals below dir, those with records first, and of these the one
// that was written last: a process that starts again wants its own writes back, and not
// those of another one whose journal it was about to replay when it died.
func candidates(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var full, empty []string
	written := make(map[string]time.Time)
	for _, e := range entries {
		if _, ok := parseClientID(e.Name()); !ok || !e.IsDir() {
			continue
		}
		if path := filepath.Join(dir, e.Name()); hasSegments(dirFS(path)) {
			full, written[e.Name()] = append(full, e.Name()), lastWritten(path)
		} else {
			empty = append(empty, e.Name())
		}
	}
	slices.SortStableFunc(full, func(a, b string) int { return written[b].Compare(written[a]) })
	return append(full, empty...), nil
}

// lastWritten is when a record was last added to the journal in dir, as its files tell;
// zero where they don't.
func lastWritten(dir string) (at time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return at
	}
	for _, e := range entries {
		if _, ok := parseFileName(e.Name(), suffixSegment); !ok {
			continue
		}
		if st, err := e.Info(); err == nil {
			at = laterOf(at, st.ModTime())
		}
	}
	return at
}

func hasSegments(files filesystem) bool {
	names, err := files.list()
	if err != nil {
		return false
	}
	for _, name := range names {
		if _, ok := parseFileName(name, suffixSegment); ok {
			return true
		}
	}
	return false
}

// makeClientDir makes the directory of a new client. It gets its name when it
// is complete: one without a progress file has lost it.
func makeClientDir(o Options) (name string, err error) {
	var id ClientID
	random(id[:])
	return id.String(), makeDirOf(o, id)
}

// makeDirOf is makeClientDir for a given id. What an attempt before it left behind,
// without its name yet, goes.
func makeDirOf(o Options, id ClientID) error {
	name := id.String()
	tmp := filepath.Join(o.Dir, ".new-"+name)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	err := fillDir(dirFS(tmp), slot{client: id, target: targetHash(o.Target)})
	if err == nil {
		err = os.Rename(tmp, filepath.Join(o.Dir, name))
	}
	if err == nil {
		return syncDir(o.Dir)
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

// fillDir makes the files that every journal has: it never has to find room for them
// once others can see it.
func fillDir(files dirFS, first slot) error {
	lock, err := files.create(lockName)
	if err != nil {
		return err
	}
	if err := lock.close(); err != nil {
		return err
	}
	f, err := files.create(progressName)
	if err != nil {
		return err
	}
	b := make([]byte, slotSpacing+slotSize)
	copy(b, first.encode())
	copy(b[slotSpacing:], first.encode())
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.close()); err != nil {
		return err
	}
	return files.syncDir()
}

// takeOver locks the directory and recovers the journal in it. When it fails it
// leaves everything as it was, and rec too.
func takeOver(o Options, name string, rec *Recovery) (_ *Journal, err error) {
	dir := filepath.Join(o.Dir, name)
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	id, _ := parseClientID(name)
	j := newJournal(o, id, o.wrap(dirFS(dir)))
	j.lock = lock
	found := &Recovery{Fresh: rec.Fresh, Skipped: rec.Skipped}
	if err := j.recover(o, found); err != nil {
		if j.w.progress != nil {
			err = errors.Join(err, j.w.progress.close())
		}
		return nil, errors.Join(err, lock.Close())
	}
	if found.Entries > 0 {
		found.Newest = j.newest(found.Oldest)
	} else {
		// A mark of Confirm was for what is gone. One that stays says nothing either: it
		// ends with the sequence that it was given for.
		_ = j.dropMark()
	}
	*rec = *found
	go j.run()
	return j, nil
}

// newest is when the last record was accepted; where damage hides that, when the
// last one known was, at least oldest. Called before the journal is anybody else's.
func (j *Journal) newest(oldest time.Time) time.Time {
	at := oldest
	for _, seg := range j.segments {
		if n := len(seg.marks); n > 0 {
			at = laterOf(at, time.UnixMilli(seg.marks[n-1].at))
		}
	}
	if len(j.segments) == 0 {
		return at
	}
	seg := j.segments[len(j.segments)-1]
	f, err := j.fs.open(seg.name)
	if err != nil {
		return at
	}
	defer func() { _ = f.close() }() // it was only read
	sc := newScanner(f, seg.salt, seg.find(seg.last).off, seg.end, 0)
	for {
		r, err := sc.next()
		if err != nil || r.Seq > seg.last {
			return at
		}
		at = laterOf(at, r.At)
	}
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func newJournal(o Options, id ClientID, files filesystem) *Journal {
	j := &Journal{
		opts: o, id: id, salt: newSalt(), fs: files,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		next: 1, dead: make(map[uint64]struct{}),
	}
	j.w.timer = time.NewTimer(syncInterval)
	j.w.timer.Stop()
	return j
}
