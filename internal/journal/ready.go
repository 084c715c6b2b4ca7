package journal

import "time"

// While many callers append, the file of the next segment is made ready beside the
// writing: all zeros, and on the disk. To sync what is written over blocks that have
// been written before, a file system has nothing to record but the data: on ext4 a
// sync of 10 to 150 KB took half the time of one that makes a file longer, or that
// first writes to allocated space (medians 190–250 µs against 340–500 µs). The zeros
// are a second writing of the same bytes, so it is for busy times and batches up to
// the size where the gain is used up by it; an idle journal holds no such file.
const (
	readyName = "next.zeros"
	// readyAfter is how much a segment must hold before the next one is made ready.
	readyAfter = 1 << 20
	// maxReadyBatch is the largest batch for which it pays.
	maxReadyBatch = 256 << 10
	// zerosStep is how much is written before it is synced: large enough for the disk,
	// small enough not to hold up the syncs that callers wait for.
	zerosStep = 1 << 20
)

// readyFile is the file of a segment to come. Its fields belong to the goroutine that
// makes it until done is closed, and then to the writer.
type readyFile struct {
	stop chan struct{} // closed when it is not wanted any more
	done chan struct{}
	f    file // nil: it could not be made
}

// over reports whether the making has ended.
func (r *readyFile) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// prepare begins to make the next segment's file ready if the journal is busy enough:
// batch is the size of the one that comes.
func (j *Journal) prepare(batch int64) {
	if j.w.ready != nil || !j.w.shared || j.w.noReady || batch > maxReadyBatch ||
		j.opts.Fsync != FsyncAlways || j.w.active == nil || j.w.segment.end < j.opts.readyAfter {
		return
	}
	r := &readyFile{stop: make(chan struct{}), done: make(chan struct{})}
	j.w.ready = r
	size, files := j.opts.SegmentBytes, j.fs
	j.opts.beside(func() {
		defer close(r.done)
		r.f = makeZeros(files, size, r.stop)
	})
}

// makeZeros makes the file; nil if that fails or is stopped. Then nothing is left of it
// that a later attempt would not remove.
func makeZeros(files filesystem, size int64, stop <-chan struct{}) file {
	_ = files.remove(readyName) // left by an attempt that could not clear up
	f, err := files.create(readyName)
	if err != nil {
		return nil
	}
	zeros := make([]byte, min(zerosStep, size))
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		select {
		case <-stop:
			err = ErrClosed
		default:
			if _, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err == nil {
				err = f.sync()
			}
		}
	}
	if err == nil {
		return f
	}
	_ = f.close() // it holds nothing
	_ = files.remove(readyName)
	return nil
}

// turnsReady reports whether the active segment should end before it is full, as the
// next one is ready and the active one grows with each write.
func (j *Journal) turnsReady() bool {
	return !j.w.zeros && j.w.ready != nil && j.w.ready.over() && j.w.ready.f != nil
}

// useReady is newFile with the file that is ready, or nil. Until the directory is synced
// nothing depends on it.
func (j *Journal) useReady(name string, h segmentHeader) file {
	r := j.w.ready
	if r == nil || !r.over() {
		return nil
	}
	j.w.ready = nil
	if r.f == nil {
		j.w.noReady = true // for this segment: no room, most likely
		return nil
	}
	_, err := r.f.WriteAt(h.encode(), 0)
	if err == nil {
		err = r.f.sync()
	}
	if err == nil {
		err = j.fs.rename(readyName, name)
	}
	if err == nil {
		err = j.fs.syncDir()
	}
	if err == nil {
		return r.f
	}
	_ = r.f.close() // it holds a header and nothing else
	_, _ = j.discardFile(readyName), j.discardFile(name)
	return nil
}

// dropReady gives up the file of the next segment and reports whether there was one.
func (j *Journal) dropReady() bool {
	r := j.w.ready
	if r == nil {
		return false
	}
	j.w.ready = nil
	close(r.stop)
	<-r.done
	if r.f == nil {
		return false
	}
	_ = r.f.close() // it holds nothing
	return j.discardFile(readyName)
}

// A woken caller takes about this much of a processor before the next one can be.
const wakeCost = 500 * time.Nanosecond

// gathers reports whether the callers of a batch should all have come back before the
// next one is written. A sync costs about the same for few as for many, so that is right
// as long as they are back soon. When to wake them all takes longer than a sync, half of
// them can be served by one while the others come back.
func gathers(callers uint32, sync time.Duration) bool {
	return callers > 1 && time.Duration(callers)*wakeCost < sync
}
