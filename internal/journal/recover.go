package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
)

// recover reads what is in the locked directory. Until it is certain that the
// directory can be used, it changes nothing there.
func (j *Journal) recover(o Options, rec *Recovery) error {
	names, err := j.fs.list()
	if err != nil {
		return err
	}
	var found []string
	for _, name := range names {
		if _, ok := parseFileName(name, suffixSegment); ok {
			found = append(found, name)
		}
	}
	segments, aside, err := j.headers(found)
	if err != nil {
		return err
	}
	known, err := j.recoverProgress(o, len(found) > 0)
	if err != nil {
		return err
	}
	if len(segments) > 0 && segments[0].prev > j.trimmed && !segments[0].damaged {
		if known {
			// Files go only after the progress says that they may: one is missing.
			j.counts.lost += segments[0].prev - j.trimmed
		} else {
			j.trimmed = segments[0].prev
		}
	}
	zeros := false // behind the newest segment's records
	for i, seg := range segments {
		var next *segment
		if i+1 < len(segments) {
			next = segments[i+1]
		}
		if zeros, err = j.recoverSegment(seg, next, rec); err != nil {
			return err
		}
	}
	if err := j.recoverDead(rec); err != nil {
		return err
	}
	if err := j.recoverLedger(names, rec); err != nil {
		return err
	}
	if j.lineage, err = readLineage(j.fs); err != nil {
		return err
	}
	j.adopt(segments, rec)
	if len(segments) > 0 {
		if err := j.vouch(segments[len(segments)-1], zeros); err != nil {
			return err
		}
	}
	newest := ""
	if len(found) > 0 {
		newest = found[len(found)-1]
	}
	j.tidy(aside, newest, rec)
	j.recoverKept(names)
	return nil
}

// recoverProgress opens the progress file. known: what it says is the latest.
// Where it can't be read at all, the directory can go on only if its segments
// tell which sequences were used.
func (j *Journal) recoverProgress(o Options, segments bool) (known bool, err error) {
	j.w.target = targetHash(o.Target)
	f, err := j.fs.openRW(progressName)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && segments {
		if f, err = j.fs.create(progressName); err == nil {
			err = j.fs.syncDir()
		}
	}
	switch {
	case missing && !segments:
		return false, fmt.Errorf("%w: it has no progress file and no records", ErrUnusable)
	case err != nil:
		return false, err
	}
	j.w.progress = f
	s, err := readProgress(f, j.id)
	switch {
	case errors.Is(err, ErrNewerFormat):
		return false, err
	case err != nil && !segments:
		return false, fmt.Errorf("%w: its progress file is damaged and it has no records", ErrUnusable)
	case err != nil:
		j.unsaved = true
		return false, nil
	}
	var none [16]byte
	if s.target != j.w.target && s.target != none && j.w.target != none {
		return false, ErrOtherTarget
	}
	if s.target != none {
		j.w.target = s.target
	} else if j.w.target != none {
		j.unsaved = true
	}
	j.w.generation = s.generation
	// A process that was killed may have left the newer slot unsynced: the next
	// write goes to the other one, which may be all that a crash would leave.
	j.w.progressDirty = f.sync() != nil
	j.progress = Progress{Acked: s.acked, ReplID: s.replID, RunID: s.runID}
	j.trimmed = s.trimmed
	j.next = max(j.next, max(s.last, s.acked, s.trimmed)+1)
	return bothSlots(f), nil
}

// bothSlots reports whether neither slot of the progress file is damaged. If one
// is, that may have been the newer one.
func bothSlots(f file) bool {
	for i := range int64(2) {
		b := make([]byte, slotSize)
		if _, err := f.ReadAt(b, i*slotSpacing); err != nil {
			return false
		}
		if _, err := parseSlot(b); err != nil {
			return false
		}
	}
	return true
}

// headers reads the headers of the segments, in order. aside are the files that
// hold nothing usable. The error wraps ErrNewerFormat or is of the system.
func (j *Journal) headers(names []string) (segments []*segment, aside []string, err error) {
	for _, name := range names {
		base, _ := parseFileName(name, suffixSegment)
		seg, err := j.header(name, base)
		switch {
		case errors.Is(err, errBadHeader):
			aside = append(aside, name)
		case err != nil:
			return nil, nil, err
		default:
			segments = append(segments, seg)
		}
		// Even a name uses up its sequence: a file could not be made again.
		j.next = max(j.next, base+1)
	}
	return segments, aside, nil
}

func (j *Journal) header(name string, base uint64) (_ *segment, err error) {
	f, err := j.fs.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	h, err := readHeader(f, size, j.id, kindRecords)
	if err != nil {
		return nil, err
	}
	if h.base != 0 && h.base != base {
		return nil, errBadHeader
	}
	seg := &segment{name: name, base: base, prev: h.prev, salt: h.salt, end: size}
	if h.base == 0 {
		seg.prev, seg.damaged = base-1, true
	}
	seg.last = seg.prev
	return seg, nil
}

// readHeader reads the header of a file of client. If it is damaged, but the
// first batch behind it proves a salt, only the salt is set. Otherwise
// errBadHeader, ErrNewerFormat or an error of the file.
func readHeader(f file, size int64, client ClientID, kind uint16) (segmentHeader, error) {
	if size < headerSize {
		return segmentHeader{}, errBadHeader
	}
	b := make([]byte, min(size, headerSize+batchSize))
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return segmentHeader{}, errors.Join(errBadHeader, err)
	}
	h, err := parseSegmentHeader(b)
	if err == nil && (h.client != client || h.kind != kind) {
		return segmentHeader{}, errBadHeader
	}
	if errors.Is(err, errBadHeader) && len(b) == headerSize+batchSize {
		salt := le.Uint64(b[headerSize:])
		if _, ok := parseBatchHeader(b[headerSize:], salt); ok && salt != 0 {
			return segmentHeader{salt: salt}, nil
		}
	}
	return h, err
}

// recoverSegment takes stock of seg, which next follows, if anything does.
// zeros: there is nothing else behind its records. The error is the system's: what
// can't be opened may be whole, and is left to a later attempt.
func (j *Journal) recoverSegment(seg, next *segment, rec *Recovery) (zeros bool, err error) {
	limit, exact := uint64(math.MaxUint64), false
	if next != nil {
		limit, exact = next.prev, !next.damaged
	}
	sc, lost, void, err := j.scanSegment(seg, limit)
	if err != nil {
		return false, err
	}
	if !exact && !void {
		lost = sc.lost
	}
	if last := next == nil || next.salt != seg.salt; last && !void && sc.torn == 0 {
		// The last batch of a process may be torn: what it lacks was, as far as
		// anybody can tell, never acknowledged.
		lost = min(lost, sc.settled)
	}
	if reached := max(seg.last, seg.base-1, j.trimmed); exact && reached < limit {
		lost += limit - reached
	}
	// Behind the last record that counts everything is void by the next header.
	void = void || exact && seg.last >= limit
	bad := sc.torn + sc.skipped
	if !void {
		rec.SkippedBytes += bad
	}
	j.counts.lost += lost
	// A segment with nothing but bad bytes was most likely torn in its first
	// batch, but perhaps that is all there was: keep it.
	if lost > 0 || sc.lost > 0 && !void || len(seg.marks) == 0 && !void && bad > 0 {
		seg.damaged = true
	}
	if seg.damaged {
		seg.known = seg.last
		rec.Damaged = append(rec.Damaged, seg.name)
	}
	return !void && !seg.damaged && bad == 0 && sc.end > seg.end, nil
}

// scanSegment finds the records of seg. Those above limit do not count; beyond:
// there are some. lost is how many are missing before the last one that counts.
func (j *Journal) scanSegment(seg *segment, limit uint64) (sc *scanner, lost uint64, beyond bool, err error) {
	size := seg.end
	seg.end = headerSize
	f, err := j.fs.open(seg.name)
	if err != nil {
		return nil, 0, false, err
	}
	defer func() { _ = f.close() }() // it was only read
	sc = newScanner(f, seg.salt, headerSize, size, seg.base)
	sc.floor = j.trimmed + 1
	for {
		r, err := sc.next()
		if err != nil {
			// What can't be read is damage like any other; the sequences tell
			// how much of it was acknowledged.
			seg.damaged = seg.damaged || !errors.Is(err, io.EOF)
			return sc, lost, false, nil
		}
		if r.Seq > limit {
			return sc, lost, true, nil
		}
		lost = sc.lost
		seg.addBatch(sc.batch, r.Seq, r.Seq, r.At.UnixMilli(), sc.off)
	}
}

// recoverDead reads which records are kept as dead letters. The error is the
// system's, or wraps ErrNewerFormat: a letter that can't be read keeps its record
// from being executed all the same, so the directory is left to a later attempt.
func (j *Journal) recoverDead(rec *Recovery) error {
	all := make(map[uint64]struct{})
	scan := scanDead(j.fs, j.id, func(d DeadLetter) bool {
		all[d.Seq] = struct{}{}
		if d.Seq > j.trimmed {
			j.dead[d.Seq] = struct{}{}
		}
		return true
	})
	if scan.failed != nil {
		return scan.failed
	}
	if errors.Is(scan.damaged, ErrNewerFormat) {
		return scan.damaged
	}
	// For those that are damaged there is the ledger.
	for _, err := range []error{scan.damaged, scan.torn} {
		if err != nil {
			rec.Skipped = append(rec.Skipped, Skipped{Name: j.id.String(), Err: err})
		}
	}
	j.w.deadNext = scan.next
	// A process that was killed may have left the newest letter unsynced. A replay
	// passes over its record from now on, so it must stay.
	if f, err := j.fs.openRW(fileName(j.w.deadNext-1, suffixDead)); err == nil {
		_ = errors.Join(f.sync(), f.close())
	}
	j.counts.dead = uint64(len(all))
	return nil
}

// adopt makes the recovered segments the journal's.
func (j *Journal) adopt(segments []*segment, rec *Recovery) {
	for _, seg := range segments {
		j.last = max(j.last, seg.last)
		if seg.last <= j.trimmed {
			j.w.doomed = append(j.w.doomed, seg)
			continue
		}
		j.segments = append(j.segments, seg)
	}
	j.last = max(j.last, j.trimmed)
	j.readable, j.found = j.last, j.last
	j.next = max(j.next, j.last+1)
	j.recountLocked()
	rec.Entries, rec.Lost = j.entries, j.counts.lost
	for _, seg := range j.segments {
		var n int64
		if n, _, rec.Oldest = seg.pending(j.trimmed); n > 0 {
			break
		}
	}
}

// vouch makes sure of what was found in the newest segment, before anybody is
// shown it: a process that was killed leaves records that were never synced, and
// one that is replayed and then lost with the machine would give its sequence to
// another write. What lies in older segments the headers behind them vouch for.
// zeros: what is behind the records can be given back. An error leaves the
// directory to a later attempt.
func (j *Journal) vouch(newest *segment, zeros bool) error {
	if f, err := j.fs.openRW(newest.name); err == nil {
		if zeros {
			_ = f.truncate(newest.end) // else they stay, which does no harm
		}
		// Whoever was told that a record is safe was told so after a sync. Where
		// that failed this one may say yes and mean nothing, so it decides nothing.
		_ = errors.Join(f.sync(), f.close(), j.fs.syncDir())
	}
	// The progress holds the highest sequence; so would a further header.
	j.unsaved = true
	err := j.saveProgress(true)
	if err == nil {
		return nil
	}
	if startErr := j.startSegment(j.next); startErr != nil {
		return fmt.Errorf("journal: what was found could not be made safe: %w", errors.Join(err, startErr))
	}
	return nil
}

// tidy puts aside what is damaged and removes what a crash left unfinished: the newest
// segment if it is without any content, and a copy of the dead letters. Nothing depends on it: what fails is tried again
// by a later Trim or Open.
func (j *Journal) tidy(aside []string, newest string, rec *Recovery) {
	_ = j.discardFile(deadNew)
	_ = j.discardFile(readyName)
	for _, name := range aside {
		if name == newest && j.holdsNothing(name) {
			_ = j.fs.remove(name)
			continue
		}
		rec.Damaged = append(rec.Damaged, name)
		_ = j.fs.rename(name, name+suffixDamaged)
	}
	if len(j.w.doomed) == 0 {
		return
	}
	j.unsaved = true // the sequences that only their files know of
	if j.saveProgress(true) == nil {
		_ = j.removeDoomed()
	}
}

// holdsNothing reports whether a file without a good header was still being
// made: its header is synced before any record is written.
func (j *Journal) holdsNothing(name string) bool {
	f, err := j.fs.open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.close() }() // it was only read
	size, err := f.size()
	if err != nil {
		return false
	}
	if size <= headerSize {
		return true
	}
	rest, err := newScanner(f, 0, 0, size, 0).tail()
	return err == nil && rest == 0
}
