package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// deadNew is where the letters that remain after a SettleDead are written.
const deadNew = "dead.new"

// DeadLetter is a record that the server rejected for good.
type DeadLetter struct {
	Record
	// Reason is what the server said, at most 4096 bytes of it.
	Reason string
}

// DeadLetter keeps r, which must not be trimmed yet, beside the reason that the
// server gave. When it returns nil the letter is on the disk, whatever the
// policy. Keeping the same sequence again does nothing.
func (j *Journal) DeadLetter(ctx context.Context, r Record, reason string) error {
	return j.KeepDead(ctx, DeadLetter{Record: r, Reason: reason})
}

// KeepDead is DeadLetter for several, which share one sync.
func (j *Journal) KeepDead(ctx context.Context, letters ...DeadLetter) error {
	for i := range letters {
		if err := letters[i].check(); err != nil {
			return err
		}
	}
	return j.call(ctx, func() error { return j.keepDead(letters) })
}

// IsDead reports whether the record seq, which is not trimmed yet, is kept as a
// dead letter, by an earlier process too, or was when that entered into the ledger
// that it was set aside or discarded, whatever became of the letter. A replay passes
// over it.
func (j *Journal) IsDead(seq uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, dead := j.dead[seq]
	return dead || j.ended.has(seq)
}

// HasDead reports whether IsDead can hold for any record at all.
func (j *Journal) HasDead() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.dead) > 0 || len(j.ended) > 0
}

func (j *Journal) keepDead(letters []DeadLetter) error {
	fresh := make([]DeadLetter, 0, len(letters))
	synced := true
	j.mu.Lock()
	for _, d := range letters {
		if _, known := j.dead[d.Seq]; known {
			continue
		}
		if d.Seq <= j.trimmed || d.Seq > j.last {
			j.mu.Unlock()
			return fmt.Errorf("journal: record %d is not in the log: keep a dead letter before trimming it", d.Seq)
		}
		synced = synced && d.Seq <= j.readable
		fresh = append(fresh, d)
	}
	j.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	if !synced {
		// A crash could give its sequence to another write, which would then be
		// taken for the dead one.
		if err := j.syncActive(); err != nil {
			return err
		}
	}
	need := int64(headerSize)
	for _, d := range fresh {
		need += int64(batchSize + d.encodedSize() + len(d.Reason))
	}
	if err := j.withRoom(need, func() error { return j.writeDead(fresh) }); err != nil {
		return fmt.Errorf("journal: a dead letter could not be kept: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, d := range fresh {
		if _, twice := j.dead[d.Seq]; !twice {
			j.dead[d.Seq] = struct{}{}
			j.counts.dead++
		}
	}
	return nil
}

// writeDead writes a batch of one record for each letter, whose meta holds the reason
// too, and syncs them together. A file that failed once is left behind: letters may be
// in it, which does no harm, as they count once.
func (j *Journal) writeDead(letters []DeadLetter) error {
	if j.w.dead != nil && j.w.deadEnd >= j.opts.SegmentBytes {
		err := j.w.dead.close()
		j.w.dead = nil
		if err != nil {
			return err
		}
	}
	if j.w.dead == nil {
		f, err := j.newFile(fileName(j.w.deadNext, suffixDead), segmentHeader{
			kind: kindDead, client: j.id, base: j.w.deadNext, prev: j.w.deadNext - 1, salt: j.salt, created: letters[0].At,
		})
		j.w.deadNext++
		if err != nil {
			return err
		}
		j.w.dead, j.w.deadEnd = f, headerSize
	}
	var buf []byte
	for _, d := range letters {
		buf = append(buf, j.encodeDead(d.Record, d.Reason)...)
	}
	_, err := j.w.dead.WriteAt(buf, j.w.deadEnd)
	if err == nil {
		err = j.w.dead.sync()
	}
	if err != nil {
		err = errors.Join(err, j.w.dead.close())
		j.w.dead = nil
		return err
	}
	j.w.deadEnd += int64(len(buf))
	return nil
}

// encodeDead is the batch that holds one letter.
func (j *Journal) encodeDead(r Record, reason string) []byte {
	reason = clip(reason, maxReasonBytes)
	meta := le.AppendUint16(make([]byte, 0, 2+len(reason)+len(r.Meta)), uint16(len(reason)))
	r.Meta = append(append(meta, reason...), r.Meta...)
	buf := appendRecord(make([]byte, batchSize, batchSize+r.encodedSize()), j.salt, r.Seq, &r)
	batchHeader{length: uint32(len(buf) - batchSize), count: 1, first: r.Seq}.put(buf, j.salt)
	return buf
}

// SettleDead removes the dead letters seqs, which somebody has seen to; what
// became of them belongs into the ledger first. A letter of a record that is not
// trimmed yet can't be removed, as only the letter keeps it from being replayed. Trim
// and ledger are on the disk before any letter goes. Sequences without a letter are
// passed over. The letters that remain are written anew before the old files go, so a
// crash costs none of them, but can leave the settled ones in their place.
func (j *Journal) SettleDead(ctx context.Context, seqs ...uint64) error {
	settled := make(map[uint64]struct{}, len(seqs))
	for _, seq := range seqs {
		settled[seq] = struct{}{}
	}
	return j.call(ctx, func() error { return j.settleDead(settled) })
}

func (j *Journal) settleDead(settled map[uint64]struct{}) error {
	j.mu.Lock()
	trimmed := j.trimmed
	j.mu.Unlock()
	for seq := range settled {
		if seq > trimmed {
			return fmt.Errorf("journal: record %d still waits in the log: replay the journal before its dead letters", seq)
		}
	}
	// A crash that takes back the trim would let the records wait again, and nothing
	// would keep them from being replayed.
	if err := j.saveProgress(true); err != nil {
		return err
	}
	if j.w.dead != nil {
		err := j.w.dead.close()
		j.w.dead = nil
		if err != nil {
			return err
		}
	}
	old, err := j.fs.list()
	if err != nil {
		return fmt.Errorf("journal: the dead letters could not be listed: %w", err)
	}
	kept, partly, err := j.rewriteDead(settled)
	if err != nil {
		return fmt.Errorf("journal: the other dead letters could not be written anew: %w", err)
	}
	for _, name := range old {
		if _, ok := parseFileName(name, suffixDead); ok {
			remove := j.fs.remove
			if slices.Contains(partly, name) { // what can't be read may be a letter
				remove = func(name string) error { return j.fs.rename(name, name+suffixDamaged) }
			}
			if err := remove(name); err != nil {
				return fmt.Errorf("journal: settled dead letters could not be removed: %w", err)
			}
		}
	}
	j.mu.Lock()
	j.counts.dead = uint64(kept)
	j.mu.Unlock()
	return j.fs.syncDir()
}

// rewriteDead writes all letters but the settled ones to a file of their own. It gets
// its name when it is whole: of one that a crash cut short nobody could tell that
// the old files have all that was to be in it. partly are the old files that hold
// something else too.
func (j *Journal) rewriteDead(settled map[uint64]struct{}) (kept int, partly []string, err error) {
	if !j.discardFile(deadNew) {
		return 0, nil, fmt.Errorf("%s, which an earlier attempt left, could not be removed", deadNew)
	}
	var (
		seen   = make(map[uint64]struct{})
		rest   file
		end    = int64(headerSize)
		number = j.w.deadNext
		failed error
	)
	scan := scanDead(j.fs, j.id, func(d DeadLetter) bool {
		_, again := seen[d.Seq]
		_, done := settled[d.Seq]
		if again || done {
			return true
		}
		seen[d.Seq] = struct{}{}
		if rest == nil {
			rest, failed = j.newFile(deadNew, segmentHeader{
				kind: kindDead, client: j.id, base: number, prev: number - 1, salt: j.salt, created: d.At,
			})
			if failed != nil {
				return false
			}
		}
		buf := j.encodeDead(d.Record, d.Reason)
		_, failed = rest.WriteAt(buf, end)
		end += int64(len(buf))
		return failed == nil
	})
	err = errors.Join(scan.failed, failed)
	if errors.Is(scan.damaged, ErrNewerFormat) {
		err = errors.Join(err, scan.damaged) // whose letters a later version reads
	}
	if rest == nil {
		return 0, scan.partly, err
	}
	if err == nil {
		err = rest.sync()
	}
	if err = errors.Join(err, rest.close()); err != nil {
		return 0, nil, errors.Join(err, j.fs.remove(deadNew))
	}
	j.w.deadNext++
	if err := j.fs.rename(deadNew, fileName(number, suffixDead)); err != nil {
		return 0, nil, err
	}
	return len(seen), scan.partly, j.fs.syncDir()
}

// DeadLetters calls yield with each dead letter kept, of earlier processes
// too, roughly in the order in which they were kept, until it returns false.
// The letter's bytes are yield's only until it returns.
func (j *Journal) DeadLetters(yield func(DeadLetter) bool) error {
	return deadLetters(j.fs, j.id, yield)
}

func deadLetters(files filesystem, client ClientID, yield func(DeadLetter) bool) error {
	seen := make(map[uint64]struct{})
	scan := scanDead(files, client, func(d DeadLetter) bool {
		if _, again := seen[d.Seq]; again {
			return true
		}
		seen[d.Seq] = struct{}{}
		return yield(d)
	})
	return scan.err()
}

// deadScan is what a look through the files of dead letters met with.
type deadScan struct {
	// next is the number for a further file.
	next uint64
	// failed is what the system said of files that it did not open: they may be whole.
	failed error
	// damaged is what can't be read before a letter that can.
	damaged error
	// torn is what can't be read behind the last letter of a file: a write that a crash
	// cut short, or a letter that was damaged. Nothing tells which.
	torn error
	// partly are the files that damaged or torn speak of.
	partly []string
}

// err is why not all letters could be read. What is torn is no reason: most likely
// it never was a letter.
func (s *deadScan) err() error { return errors.Join(s.failed, s.damaged) }

// scanDead reads all dead letters of client. A file that can't be read doesn't keep
// the others from being read.
func scanDead(files filesystem, client ClientID, yield func(DeadLetter) bool) deadScan {
	names, err := files.list()
	if err != nil {
		return deadScan{failed: err}
	}
	all := deadScan{next: 1}
	for _, name := range names {
		number, ok := parseFileName(name, suffixDead)
		if !ok {
			continue
		}
		all.next = number + 1
		s, more := scanDeadFile(files, client, name, yield)
		all.failed = errors.Join(all.failed, about(name, s.failed))
		all.damaged = errors.Join(all.damaged, about(name, s.damaged))
		all.torn = errors.Join(all.torn, about(name, s.torn))
		if s.damaged != nil || s.torn != nil {
			all.partly = append(all.partly, name)
		}
		if !more {
			break
		}
	}
	return all
}

// about is err with the name of the file that it befell.
func about(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func scanDeadFile(files filesystem, client ClientID, name string, yield func(DeadLetter) bool) (found deadScan, more bool) {
	f, err := files.open(name)
	if err != nil {
		return deadScan{failed: err}, true
	}
	defer func() { _ = f.close() }() // it was only read
	size, err := f.size()
	if err != nil {
		return deadScan{failed: err}, true
	}
	if size < headerSize+batchSize {
		return deadScan{}, true // one that holds no letter yet is in order
	}
	h, err := readHeader(f, size, client, kindDead)
	if err != nil {
		return deadScan{damaged: err}, true
	}
	sc := newScanner(f, h.salt, headerSize, size, 0)
	sc.loose = true
	damaged := int64(0) // bytes before the last good letter
	for {
		r, err := sc.next()
		if err != nil {
			if damaged > 0 {
				found.damaged = fmt.Errorf("journal: %d bytes of dead letters are damaged", damaged)
			}
			if !errors.Is(err, io.EOF) { // a disk that can't read it
				found.damaged = errors.Join(found.damaged, err)
			}
			if torn := sc.skipped - damaged + sc.torn; torn > 0 {
				found.torn = fmt.Errorf("journal: %d bytes at the end are no letter: a crash cut a write short, or they are damaged", torn)
			}
			return found, true
		}
		damaged = sc.skipped
		if len(r.Meta) < 2 || len(r.Meta) < 2+int(le.Uint16(r.Meta)) {
			continue
		}
		n := 2 + int(le.Uint16(r.Meta))
		d := DeadLetter{Record: r, Reason: string(r.Meta[2:n])}
		d.Meta = r.Meta[n:]
		if !yield(d) {
			return found, false
		}
	}
}
