package journal

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Journal is an open journal. Its methods are safe for concurrent use.
//
// One goroutine, started by Open and ended by Close, owns the files: it alone
// writes, syncs and removes. Everyone else hands it records and requests.
type Journal struct {
	opts     Options
	id       ClientID
	salt     uint64 // of every segment written by this Journal
	volatile bool   // in memory: records are committed as soon as they are queued
	fs       filesystem
	lock     *os.File // nil in memory

	wake    chan struct{} // capacity 1: there is something to do
	stopped chan struct{} // closed when the writer has ended
	queued  atomic.Int32  // records in pending, for the writer's gathering

	// mu guards the fields below. It is never held across I/O.
	mu        sync.Mutex
	pending   *batch   // records that wait for the writer; nil: none
	spare     [][]byte // buffers for further batches
	requests  []request
	closing   bool
	closeErr  error
	failure   *Failure
	room      chan struct{} // closed when there may be room again; nil: nobody waits
	resuming  bool
	next      uint64     // the next sequence
	last      uint64     // the last committed sequence
	found     uint64     // what last was when the journal was opened
	readable  uint64     // the last sequence that a Reader may hand out
	segments  []*segment // ascending; the last may be the active one
	trimmed   uint64
	entries   int64 // not trimmed, with those in flight
	bytes     int64
	retained  int64 // bytes of trimmed segments that are kept for a while
	progress  Progress
	unsaved   bool                // progress has changed since it was written
	lineage   Lineage             // as SaveLineage was last told
	fates     []Fate              // recorded and not written yet
	ledgerErr error               // why they could not be, if so
	dead      map[uint64]struct{} // dead letters above trimmed
	ended     spans               // what the ledger said, when the journal was opened, is not to be executed
	counts    counters

	w writer // owned by the writer goroutine
}

// counters are the sums that Stats reports.
type counters struct {
	dead, commits, syncs, lost uint64
	ledgerLost                 uint64
	syncTime                   time.Duration
}

// request is work for the writer goroutine.
type request struct {
	do   func() error
	done chan error // capacity 1
}

// batch is what one group commit writes. The fields before done are guarded by
// Journal.mu until the writer takes the batch; err is set before done closes.
type batch struct {
	buf   []byte // space for the batch header, then records
	first uint64
	count uint32
	at    int64 // when the first record was accepted
	done  chan struct{}
	err   error
}

// Ticket stands for a record on its way into the journal. The zero value is one
// that has arrived.
type Ticket struct {
	seq uint64
	b   *batch
}

// Seq is the record's sequence.
func (t Ticket) Seq() uint64 { return t.seq }

// Wait returns when the record is committed: nil. ErrInDoubt: nobody can know
// whether it is, also when ctx ended first, which does not take the record back.
// Any other error: it certainly is not and will not be.
func (t Ticket) Wait(ctx context.Context) error {
	if t.b == nil {
		return nil
	}
	if ctx.Done() == nil { // waiting for one thing costs half of waiting for two
		<-t.b.done
		return t.b.err
	}
	select {
	case <-t.b.done:
		return t.b.err
	default:
	}
	select {
	case <-t.b.done:
		return t.b.err
	case <-ctx.Done():
		return inDoubt(context.Cause(ctx))
	}
}

// ID is the identity under which the journal's sequences are unique. A journal
// that was taken over keeps that of its first owner.
func (j *Journal) ID() ClientID { return j.id }

// Durable reports whether records outlive the process.
func (j *Journal) Durable() bool { return !j.volatile }

// Append queues r and gives it the next sequence; r.Seq is not looked at, r's
// bytes are copied. It never blocks on the disk, so that it may be called under
// the lock that orders the writes of a key; the caller then waits on the ticket
// without that lock. An error says that r was certainly not written: ErrFull,
// ErrTooBig, ErrFailed, ErrClosed, or that r is invalid.
func (j *Journal) Append(r Record) (Ticket, error) {
	if err := r.check(); err != nil {
		return Ticket{}, err
	}
	size := int64(r.encodedSize())
	j.mu.Lock()
	if err := j.admitLocked(size); err != nil {
		j.mu.Unlock()
		return Ticket{}, err
	}
	b := j.pending
	before := int64(0)
	if b == nil {
		b = j.newBatchLocked()
		b.at = r.At.UnixMilli()
		j.pending = b
	} else {
		before = int64(len(b.buf))
	}
	seq := j.next
	j.next++
	b.buf = appendRecord(b.buf, j.salt, seq, &r)
	b.count++
	j.entries++
	j.bytes += int64(len(b.buf)) - before
	j.queued.Store(int32(b.count))
	first := b.count == 1
	j.mu.Unlock()

	if first {
		j.signal()
	}
	if j.volatile {
		return Ticket{seq: seq}, nil
	}
	return Ticket{seq: seq, b: b}, nil
}

// admitLocked says why a record of size can't be queued now, if so.
func (j *Journal) admitLocked(size int64) error {
	switch {
	case j.closing:
		return ErrClosed
	case j.failure != nil:
		return notWritten(j.failure.Err)
	case j.opts.MaxEntries >= 0 && j.entries >= j.opts.MaxEntries:
		return fmt.Errorf("%w: %d entries wait for replay, the limit is %d", ErrFull, j.entries, j.opts.MaxEntries)
	case j.opts.MaxBytes >= 0 && j.bytes+j.framingLocked()+size > j.opts.MaxBytes:
		return fmt.Errorf("%w: %d bytes wait for replay, %d more would pass the limit of %d", ErrFull, j.bytes, size, j.opts.MaxBytes)
	case j.pending != nil && int64(len(j.pending.buf))+size > maxBatchBytes:
		return fmt.Errorf("%w: %d bytes wait for the disk", ErrFull, len(j.pending.buf))
	}
	return nil
}

// framingLocked is what the next record costs beside itself.
func (j *Journal) framingLocked() int64 {
	if j.pending == nil {
		return batchSize
	}
	return 0
}

func (j *Journal) newBatchLocked() *batch {
	b := &batch{first: j.next}
	if !j.volatile {
		b.done = make(chan struct{})
	}
	if n := len(j.spare); n > 0 {
		b.buf, j.spare = j.spare[n-1], j.spare[:n-1]
	}
	b.buf = append(b.buf[:0], make([]byte, batchSize)...)
	return b
}

// signal wakes the writer.
func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// call runs do on the writer goroutine, after the commit of what was queued
// before. An end of ctx only ends the waiting.
func (j *Journal) call(ctx context.Context, do func() error) error {
	r := request{do: do, done: make(chan error, 1)}
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return ErrClosed
	}
	j.requests = append(j.requests, r)
	j.mu.Unlock()
	j.signal()
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Sync commits what has been appended before the call and syncs it, whatever
// the policy, and the progress too. After a failure it returns that.
func (j *Journal) Sync(ctx context.Context) error {
	return j.call(ctx, func() error {
		j.mu.Lock()
		failure := j.failure
		j.mu.Unlock()
		if failure != nil {
			return notWritten(failure.Err)
		}
		if err := j.syncActive(); err != nil {
			return err
		}
		return j.saveProgress(true)
	})
}

// Close commits what has been appended, syncs it and gives up the directory.
// It does not remove records. The error is also that the ledger's last entries could
// not be written, which does no more harm than that they are missing. Calls after the first return its result. Readers
// fail with ErrClosed afterwards; each still needs its own Close.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closing = true
	j.roomLocked()
	j.mu.Unlock()
	j.signal()
	<-j.stopped
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closeErr
}

// Failure tells how a journal failed.
type Failure struct {
	// First and Last bound the sequences whose callers got an error; First is
	// above Last when there were none.
	First, Last uint64
	// InDoubt says that the records of the batch that failed may be there after
	// a restart, unless Resume succeeds before.
	InDoubt bool
	// Err is what happened.
	Err error
}

// Failure is the failure that stopped the journal, or nil.
func (j *Journal) Failure() *Failure {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure == nil {
		return nil
	}
	f := *j.failure
	return &f
}

// Resume lets a failed journal go on. It starts a fresh segment, which settles
// that the failed records do not count, then calls repair, which may be nil, so
// that the owner can rebuild from a Reader what it derived from the records,
// and only then admits new ones. When either fails the journal stays as it is;
// try again later, with increasing pauses. Resume on a healthy journal does
// nothing. ErrFailed is also the answer while another Resume is at work.
func (j *Journal) Resume(ctx context.Context, repair func() error) error {
	j.mu.Lock()
	if j.failure == nil || j.closing || j.resuming {
		closing, resuming := j.closing, j.resuming
		j.mu.Unlock()
		switch {
		case closing:
			return ErrClosed
		case resuming:
			return fmt.Errorf("%w: a repair is under way, wait for it", ErrFailed)
		}
		return nil
	}
	j.resuming = true
	j.mu.Unlock()

	err := j.resume(ctx, repair)

	j.mu.Lock()
	defer j.mu.Unlock()
	j.resuming = false
	if err == nil {
		j.failure = nil
		j.roomLocked()
	}
	return err
}

func (j *Journal) resume(ctx context.Context, repair func() error) error {
	err := j.call(ctx, func() error {
		if j.w.active == nil {
			j.mu.Lock()
			base := j.next
			j.mu.Unlock()
			if err := j.startSegment(base); err != nil {
				return notWritten(err)
			}
		}
		return nil
	})
	if err == nil && repair != nil {
		err = repair()
	}
	return err
}

// Stats is a snapshot of a journal.
type Stats struct {
	// Entries and Bytes are what waits to be trimmed, with records in flight.
	// Damage and failed commits can make Entries too large, never too small; it
	// is exact where nothing is left.
	Entries, Bytes int64
	// Oldest is when the oldest of them was accepted, or somewhat before; zero
	// when there is none.
	Oldest time.Time
	// Last is the last committed sequence, Trimmed the last one given back.
	Last, Trimmed uint64
	// Segments is the number of files that hold records.
	Segments int
	// Dead is the number of dead letters kept, those of earlier processes too.
	Dead uint64
	// Lost is the number of acknowledged records known to be lost by damage.
	Lost uint64
	// Commits and Syncs count since Open; SyncTime is the sum over Syncs.
	Commits, Syncs uint64
	SyncTime       time.Duration
	// Failed says that the journal waits for Resume.
	Failed bool
	// Retained is the size of the trimmed segments that are kept for
	// Options.Retention, in bytes.
	Retained int64
	// LedgerErr is why fates wait that could not be written, or nil; LedgerLost
	// counts those that were given up meanwhile.
	LedgerErr  error
	LedgerLost uint64
}

// Stats is the state of the journal now.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{
		Entries: j.entries, Bytes: j.bytes, Last: j.last, Trimmed: j.trimmed,
		Segments: len(j.segments), Dead: j.counts.dead, Lost: j.counts.lost,
		Commits: j.counts.commits, Syncs: j.counts.syncs, SyncTime: j.counts.syncTime,
		Failed:   j.failure != nil,
		Retained: j.retained, LedgerErr: j.ledgerErr, LedgerLost: j.counts.ledgerLost,
	}
	for _, seg := range j.segments {
		if n, _, oldest := seg.pending(j.trimmed); n > 0 {
			s.Oldest = oldest
			break
		}
	}
	if s.Oldest.IsZero() && j.pending != nil {
		s.Oldest = time.UnixMilli(j.pending.at)
	}
	return s
}

// recountLocked sets what waits to be trimmed, after anything but an append.
func (j *Journal) recountLocked() {
	j.entries, j.bytes = 0, 0
	for _, seg := range j.segments {
		entries, bytes, _ := seg.pending(j.trimmed)
		j.entries += entries
		j.bytes += bytes
	}
	if b := j.pending; b != nil {
		j.entries += int64(b.count)
		j.bytes += int64(len(b.buf))
	}
	j.roomLocked()
}

// random fills b. It can't fail: crypto/rand ends the process instead.
func random(b []byte) { _, _ = rand.Read(b) }

func newSalt() uint64 {
	for {
		var b [8]byte
		random(b[:])
		if salt := le.Uint64(b[:]); salt != 0 {
			return salt
		}
	}
}
