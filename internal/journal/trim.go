package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Trim gives back the records up to seq: a Reader does not see them any more,
// and files that hold nothing else are removed, or first kept for
// Options.Retention. A seq above the last readable record stands for that. An
// error says that disk could not be given back; the records count as trimmed all
// the same, and a later Trim tries again.
func (j *Journal) Trim(ctx context.Context, seq uint64) error {
	return j.call(ctx, func() error { return j.trim(seq) })
}

func (j *Journal) trim(seq uint64) error {
	j.mu.Lock()
	if seq = min(seq, j.readable); seq > j.trimmed {
		j.trimmed = seq
		j.unsaved = true
		for s := range j.dead {
			if s <= seq {
				delete(j.dead, s)
			}
		}
		for len(j.ended) > 0 && j.ended[0].to <= seq {
			j.ended = j.ended[1:]
		}
	}
	seg := j.w.segment
	sealActive := seg != nil && seg.last >= seg.base && seg.last <= j.trimmed
	keep := 0
	for keep < len(j.segments) && j.segments[keep].last <= j.trimmed &&
		(sealActive || j.segments[keep] != seg) {
		keep++
	}
	j.w.doomed = append(j.w.doomed, j.segments[:keep]...)
	j.unsaved = j.unsaved || keep > 0
	j.segments = j.segments[keep:]
	j.recountLocked()
	drained := j.entries == 0
	j.mu.Unlock()

	if sealActive {
		j.seal()
	}
	if len(j.w.doomed) == 0 {
		return j.saveProgress(false)
	}
	// Without a segment the progress alone knows which sequences were used, so
	// it must be on the disk before the last one goes.
	if err := j.saveProgress(true); err != nil {
		return err
	}
	err := j.removeDoomed()
	j.prune()
	if drained {
		j.dropReady()
		_ = j.dropMark() // what it was given for is gone; it would be void if it stayed
	}
	return err
}

// removeDoomed takes trimmed segments out of the log, the oldest first, so that
// a crash never leaves a hole. A segment that does not go on where the one before it
// ended says that what follows there in that file is void. A crash can undo removals in
// any order, so the file before it must be gone for good first.
func (j *Journal) removeDoomed() error {
	now := time.Now()
	for len(j.w.doomed) > 0 {
		seg := j.w.doomed[0]
		if seg.base != seg.prev+1 && j.w.removed {
			if err := j.syncRemovals(); err != nil {
				return err
			}
		}
		j.mu.Lock()
		damaged := seg.damaged // a Reader may still be finding out
		j.mu.Unlock()
		var err error
		switch {
		case damaged:
			err = j.fs.rename(seg.name, seg.name+suffixDamaged)
		case j.keeps():
			if err = j.keep(seg, now); isFull(err) {
				err = j.fs.remove(seg.name)
			}
		default:
			err = j.fs.remove(seg.name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("journal: a finished segment could not be removed: %w", err)
		}
		j.w.doomed = j.w.doomed[1:]
		j.w.removed = true
	}
	return j.syncRemovals()
}

// syncRemovals makes it last that segments have gone.
func (j *Journal) syncRemovals() error {
	if err := j.fs.syncDir(); err != nil {
		return fmt.Errorf("journal: the directory could not be synced: %w", err)
	}
	j.w.removed = false
	return nil
}

// A trimmed segment that is kept is called <first sequence>.<when, Unix
// milliseconds>.kept. By its name it can't be taken for a part of the log, even
// if the progress is lost, and tells when its time is over.
const suffixKept = ".kept"

func keptName(base uint64, since time.Time) string {
	return fileName(base, "."+strconv.FormatInt(since.UnixMilli(), 10)+suffixKept)
}

// parseKeptName reads what keptName wrote.
func parseKeptName(name string) (base uint64, since time.Time, ok bool) {
	rest, ok := strings.CutSuffix(name, suffixKept)
	digits, ms, cut := strings.Cut(rest, ".")
	if !ok || !cut {
		return 0, time.Time{}, false
	}
	at, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || at < 0 {
		return 0, time.Time{}, false
	}
	base, ok = parseFileName(digits, "")
	return base, time.UnixMilli(at), ok
}

// keptFile is a trimmed segment that is still there.
type keptFile struct {
	name  string
	since time.Time
	bytes int64
}

// maxKeptFiles bounds the trimmed segments: journals that drain after every few
// writes make many small ones, and each costs a start.
const maxKeptFiles = 4096

// keeping is the writer goroutine's part of the retention.
type keeping struct {
	files []keptFile  // the oldest first
	timer *time.Timer // asks for the next prune; nil: never armed
}

func (j *Journal) keep(seg *segment, now time.Time) error {
	f := keptFile{name: keptName(seg.base, now), since: now, bytes: j.fileSize(seg.name)}
	if err := j.fs.rename(seg.name, f.name); err != nil {
		return err
	}
	j.w.keeping.files = append(j.w.keeping.files, f)
	j.addRetained(f.bytes)
	return nil
}

func (j *Journal) addRetained(bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.retained += bytes
}

// fileSize is the size of a file, 0 where it can't be told.
func (j *Journal) fileSize(name string) int64 {
	f, err := j.fs.open(name)
	if err != nil {
		return 0
	}
	defer func() { _ = f.close() }() // it was only read
	size, err := f.size()
	if err != nil {
		return 0
	}
	return size
}

// releaseRetained removes trimmed segments before their time, the oldest first,
// until need bytes of the disk are free that were not, and says how many are.
// Called by the writer goroutine, when the disk or the budget has no room.
func (j *Journal) releaseRetained(need int64) (freed int64) {
	for freed < need {
		bytes, ok := j.releaseOldest()
		if !ok {
			break
		}
		freed += bytes
	}
	return freed
}

// releaseOldest removes the oldest trimmed segment; false: there is none, or it
// is still there.
func (j *Journal) releaseOldest() (bytes int64, ok bool) {
	k := &j.w.keeping
	if len(k.files) == 0 || !j.discardFile(k.files[0].name) {
		return 0, false
	}
	bytes = k.files[0].bytes
	k.files = k.files[1:]
	j.addRetained(-bytes)
	return bytes, true
}

// discardFile removes a file that nothing depends on; false: it is still there.
func (j *Journal) discardFile(name string) bool {
	err := j.fs.remove(name)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// prune removes what is kept beyond its time or the bounds, and sees to it that
// it is called again when the next file's time is over. What can't be removed is
// tried again. Called by the writer goroutine.
func (j *Journal) prune() {
	if j.volatile {
		return
	}
	now := time.Now()
	k := &j.w.keeping
	for len(k.files) > 0 {
		over := k.files[0].since.Add(j.opts.Retention).Before(now) || len(k.files) > maxKeptFiles || j.overBudget()
		if j.keeps() && !over {
			break
		}
		if _, ok := j.releaseOldest(); !ok {
			break
		}
	}
	j.pruneLedger(now)
	j.armPrune(now)
}

// overBudget reports whether what waits and what is kept are beyond MaxBytes.
func (j *Journal) overBudget() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.opts.MaxBytes >= 0 && j.retained > 0 && j.bytes+j.retained > j.opts.MaxBytes
}

// pruneEvery is the least pause between two prunes by the clock.
const pruneEvery = time.Minute

// armPrune sets the timer for the first file whose time will be over.
func (j *Journal) armPrune(now time.Time) {
	var next time.Time
	if files := j.w.keeping.files; len(files) > 0 {
		next = files[0].since
	}
	l := &j.w.ledger
	if l.file != nil {
		next = earlier(next, l.newest)
	}
	if len(l.files) > 0 {
		next = earlier(next, l.files[0].newest)
	}
	if next.IsZero() {
		return
	}
	wait := max(next.Add(max(j.opts.Retention, 0)).Sub(now), pruneEvery)
	if j.w.keeping.timer != nil {
		j.w.keeping.timer.Reset(wait)
		return
	}
	j.w.keeping.timer = time.AfterFunc(wait, func() {
		j.post(func() error { j.prune(); return nil })
	})
}

// earlier is the earlier of two times; zero stands for none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// post has do run on the writer goroutine, and does not wait for it.
func (j *Journal) post(do func() error) {
	j.mu.Lock()
	if !j.closing {
		j.requests = append(j.requests, request{do: do, done: make(chan error, 1)})
	}
	j.mu.Unlock()
	j.signal()
}

// recoverKept notes what an earlier process kept, and prunes it and the ledger. Files of which
// the names say that they were kept in the future are kept from now.
func (j *Journal) recoverKept(names []string) {
	now := time.Now()
	var found []keptFile
	for _, name := range names {
		if _, since, ok := parseKeptName(name); ok {
			f := keptFile{name: name, since: since, bytes: j.fileSize(name)}
			if f.since.After(now) {
				f.since = now
			}
			found = append(found, f)
			j.addRetained(f.bytes)
		}
	}
	j.w.keeping.files = append(found, j.w.keeping.files...)
	j.prune()
}

// stopKeeping ends retention and ledger with the journal. Called by the writer
// goroutine, which takes no requests after it.
func (j *Journal) stopKeeping() error {
	if j.w.keeping.timer != nil {
		j.w.keeping.timer.Stop()
	}
	return j.leaveLedger()
}

// Empty reports whether nothing in the journal is of use any more: no records
// wait, no dead letters are kept, and the time of what was kept is over. The
// directory of one that nobody writes to can then be removed.
func (j *Journal) Empty() bool {
	empty := false
	err := j.call(context.Background(), func() error {
		j.prune()
		j.saveLedger(false)
		j.mu.Lock()
		defer j.mu.Unlock()
		empty = j.entries == 0 && j.counts.dead == 0 && len(j.fates) == 0 &&
			len(j.w.doomed) == 0 && len(j.w.keeping.files) == 0 &&
			j.w.ledger.file == nil && len(j.w.ledger.files) == 0
		return nil
	})
	return err == nil && empty
}
