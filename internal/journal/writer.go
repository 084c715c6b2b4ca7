package journal

import (
	"errors"
	"runtime"
	"time"
)

// syncInterval is the pause of FsyncEverySec.
const syncInterval = time.Second

// maxSpareBytes is the largest buffer worth keeping for the next batch.
const maxSpareBytes = 4 << 20

// writer is the state of the writer goroutine; nobody else touches it once the
// goroutine runs.
type writer struct {
	active  file     // the file of the last segment; nil: none is being written
	segment *segment // its segment
	dirty   bool     // active holds bytes that were not synced
	ahead   int64    // active has its place on the disk up to here, zeros behind what is written
	plain   bool     // active can't be given place ahead
	zeros   bool     // active was made ready with zeros
	ready   *readyFile
	noReady bool          // the file of the next segment could not be made
	shared  bool          // the last batch had company
	gather  bool          // and it is worth waiting for
	took    time.Duration // by the last sync
	timer   *time.Timer
	armed   bool       // timer will fire
	doomed  []*segment // trimmed, but not removed yet
	removed bool       // segments were removed, and the directory has not been synced since

	keeping keeping
	ledger  ledger

	progress      file // nil in memory
	target        [16]byte
	generation    uint64
	progressDirty bool // progress holds bytes that were not synced

	dead     file   // the file of this process's dead letters; nil: none yet
	deadEnd  int64  // its committed bytes
	deadNext uint64 // the number of the next such file
}

// run is the writer goroutine.
func (j *Journal) run() {
	defer close(j.stopped)
	defer j.w.timer.Stop()
	for {
		select {
		case <-j.wake:
		case <-j.w.timer.C:
			j.w.armed = false
			_ = j.syncActive() // its failure stops the journal, which tells
		}
		for {
			b, requests, closing := j.take()
			if b == nil && len(requests) == 0 {
				if closing {
					j.shutdown()
					return
				}
				break
			}
			if b != nil {
				j.commit(b)
			}
			for _, r := range requests {
				r.done <- r.do()
			}
		}
		// The progress is a hint beside the fence: a failure to write it comes
		// back to Trim and Sync, which need it.
		_ = j.saveProgress(false)
	}
}

// take takes what there is to do, gathering first: right after a shared sync
// its callers are about to come back, and waiting for them by yielding keeps
// the groups together. Sleeping would cost far more than it gains.
func (j *Journal) take() (*batch, []request, bool) {
	if j.w.gather {
		n := j.queued.Load()
		for range 50 {
			runtime.Gosched()
			m := j.queued.Load()
			if m == n {
				break
			}
			n = m
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b, requests := j.pending, j.requests
	j.pending, j.requests = nil, nil
	j.queued.Store(0)
	if b != nil {
		j.roomLocked() // in what waits for the disk
	}
	return b, requests, j.closing
}

// commit writes b, syncs it if the policy says so, and answers its callers.
func (j *Journal) commit(b *batch) {
	j.w.shared = b.count > 1 && !j.volatile
	j.w.gather = j.w.shared && gathers(b.count, j.w.took)
	j.prepare(int64(len(b.buf)))
	if j.w.active != nil && j.w.segment.last >= j.w.segment.base &&
		(j.w.segment.end+int64(len(b.buf)) > j.opts.SegmentBytes || j.turnsReady()) {
		if err := j.syncFile(); err != nil {
			j.fail(b, err, false)
			return
		}
		j.seal()
	}
	if j.w.active == nil {
		if err := j.startSegment(b.first); err != nil {
			j.fail(b, err, false)
			return
		}
	}
	j.holdBudget()
	seg := j.w.segment
	batchHeader{
		length: uint32(len(b.buf) - batchSize), count: b.count, first: b.first,
	}.put(b.buf, seg.salt)
	off := seg.end
	j.allocateAhead(off, int64(len(b.buf)))
	err := j.withRoom(int64(len(b.buf)), func() error {
		_, err := j.w.active.WriteAt(b.buf, off)
		return err
	})
	if err != nil {
		// Part of the batch may be there. Only if it is cut off for certain can
		// the callers be told that their records are not.
		cutErr := j.w.active.truncate(off)
		if cutErr == nil {
			cutErr = j.w.active.sync()
		}
		j.fail(b, errors.Join(err, cutErr), cutErr != nil)
		return
	}
	j.w.dirty = true
	switch {
	case j.opts.Fsync == FsyncAlways:
		if err := j.syncFile(); err != nil {
			j.fail(b, err, true)
			return
		}
	case j.opts.Fsync == FsyncEverySec && !j.w.armed:
		j.w.timer.Reset(syncInterval)
		j.w.armed = true
	}
	last := b.first + uint64(b.count) - 1
	j.mu.Lock()
	seg.addBatch(off, b.first, last, b.at, off+int64(len(b.buf)))
	j.last = last
	if !j.w.dirty {
		j.readable = last
	}
	j.counts.commits++
	j.mu.Unlock()
	j.settle(b, nil)
	if j.opts.Committed != nil {
		j.opts.Committed()
	}
}

// settle answers the callers of b and keeps its buffer for another batch.
func (j *Journal) settle(b *batch, err error) {
	buf := b.buf
	b.err, b.buf = err, nil
	if b.done != nil {
		close(b.done)
	}
	if cap(buf) > maxSpareBytes {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.spare) < 2 {
		j.spare = append(j.spare, buf)
	}
}

// fail stops the journal over err, which befell b, or a sync between batches
// when b is nil. inDoubt says that b may be on the disk all the same.
func (j *Journal) fail(b *batch, err error, unsure bool) {
	j.leaveActive()
	j.mu.Lock()
	queued := j.pending
	j.pending = nil
	j.queued.Store(0)
	f := &Failure{First: j.next, Last: j.next - 1, InDoubt: unsure, Err: err}
	for _, b := range []*batch{queued, b} {
		if b != nil {
			f.First = b.first
		}
	}
	j.failure = f
	j.recountLocked()
	j.mu.Unlock()

	behind := notWritten(err)
	if b != nil {
		if unsure {
			j.settle(b, inDoubt(err))
		} else {
			j.settle(b, behind)
		}
	}
	if queued != nil {
		j.settle(queued, behind)
	}
}

// seal ends the writing of the active segment, if there is one, all of which is
// synced, and gives back the place that was allocated ahead.
func (j *Journal) seal() {
	if j.w.active != nil && j.w.ahead > j.w.segment.end {
		// Should this fail, or not last, zeros stay behind the last batch: they
		// cost room until the segment goes and mean nothing.
		_ = j.w.active.truncate(j.w.segment.end)
	}
	j.leaveActive()
}

// leaveActive ends the writing of the active segment, if there is one, and
// leaves the file as it is: after a failure nobody knows what it holds.
func (j *Journal) leaveActive() {
	if j.w.active == nil {
		return
	}
	// All that counts in it has been synced, or never will be: its close can
	// tell nothing new.
	_ = j.w.active.close()
	j.w.active, j.w.segment, j.w.dirty = nil, nil, false
}

// startSegment makes a segment that begins with base the active one. Its header
// is on the disk before anything else is written to it.
func (j *Journal) startSegment(base uint64) error {
	j.mu.Lock()
	prev := j.last
	j.mu.Unlock()
	seg := &segment{
		name: fileName(base, suffixSegment), base: base, prev: prev, salt: j.salt,
		end: headerSize, last: prev,
	}
	header := segmentHeader{
		kind: kindRecords, client: j.id, base: base, prev: prev, salt: j.salt, created: time.Now(),
	}
	j.w.noReady = false
	ahead, f := j.opts.SegmentBytes, j.useReady(seg.name, header)
	if j.w.zeros = f != nil; !j.w.zeros {
		ahead = headerSize
		err := j.withRoom(headerSize, func() (err error) {
			f, err = j.newFile(seg.name, header)
			return err
		})
		if err != nil {
			return err
		}
	}
	j.w.active, j.w.segment, j.w.dirty = f, seg, false
	j.w.ahead, j.w.plain = ahead, j.volatile || j.opts.Fsync != FsyncAlways
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, seg)
	// The header vouches for everything before base: no sequence up to prev can
	// be given out again, so even what was never synced may now be read.
	j.readable = prev
	return nil
}

// newFile creates a file with its header and makes both last.
func (j *Journal) newFile(name string, h segmentHeader) (file, error) {
	f, err := j.fs.create(name)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(h.encode(), 0); err == nil {
		if err = f.sync(); err == nil {
			if err = j.fs.syncDir(); err == nil {
				return f, nil
			}
		}
	}
	// An empty file left behind is harmless: recovery clears it away.
	return nil, errors.Join(err, f.close(), j.fs.remove(name))
}

// syncFile syncs the active file and measures it.
func (j *Journal) syncFile() error {
	if j.volatile || !j.w.dirty {
		j.w.dirty = false
		return nil
	}
	start := time.Now()
	if err := j.w.active.sync(); err != nil {
		return err
	}
	j.w.dirty = false
	j.w.took = time.Since(start)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts.syncs++
	j.counts.syncTime += j.w.took
	return nil
}

// syncActive syncs between batches. Its failure stops the journal; what was
// committed under a lesser promise than FsyncAlways stays in the log.
func (j *Journal) syncActive() error {
	if j.w.active == nil || !j.w.dirty {
		return nil
	}
	if err := j.syncFile(); err != nil {
		j.fail(nil, err, false)
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.readable = j.last
	return nil
}

// shutdown ends the writer: everything has been committed.
func (j *Journal) shutdown() {
	err := j.syncActive()
	j.seal()
	j.dropReady()
	j.w.ledger.retry = time.Time{} // there is no later
	err = errors.Join(err, j.saveProgress(true), j.lastFates(), j.stopKeeping())
	for _, f := range []file{j.w.dead, j.w.progress} {
		if f != nil {
			err = errors.Join(err, f.close())
		}
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closeErr = err
}
