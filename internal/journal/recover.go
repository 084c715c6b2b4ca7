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
	if known && len(segments) > 0 && segments[0].prev > j.trimmed && !segments[0].damaged {
		// Files go only after the progress says that they may: one is missing.
		j.counts.lost += segments[0].prev - j.trimmed
	}
	for i, seg := range segments {
		limit, exact := uint64(math.MaxUint64), false
		if i+1 < len(segments) {
			limit, exact = segments[i+1].prev, !segments[i+1].damaged
		}
		j.recoverSegment(seg, limit, exact, rec)
	}
	if err := j.recoverDead(rec); err != nil {
		return err
	}
	j.adopt(segments, rec)
	newest := ""
	if len(found) > 0 {
		newest = found[len(found)-1]
	}
	j.tidy(aside, newest, rec)
	return nil
}

// recoverProgress opens the progress file. known: it could be read. Otherwise
// the directory can go on only if its segments tell which sequences were used.
func (j *Journal) recoverProgress(o Options, segments bool) (known bool, err error) {
	j.w.target = targetHash(o.Target)
	f, err := j.fs.openRW(progressName)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && segments {
		f, err = j.fs.create(progressName)
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
	j.progress = Progress{Acked: s.acked, ReplID: s.replID, RunID: s.runID}
	j.trimmed = s.trimmed
	j.next = max(j.next, max(s.last, s.acked, s.trimmed)+1)
	return true, nil
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

// recoverSegment scans seg; records above limit do not count, and if exact is
// set all up to it were acknowledged.
func (j *Journal) recoverSegment(seg *segment, limit uint64, exact bool, rec *Recovery) {
	f, err := j.fs.open(seg.name)
	if err != nil {
		seg.damaged = true
		return
	}
	defer func() { _ = f.close() }() // it was only read
	sc := newScanner(f, seg.salt, headerSize, seg.end, seg.base)
	lost, void := uint64(0), false
	for {
		r, err := sc.next()
		if err != nil {
			// What can't be read is damage like any other; the sequences tell
			// how much of it was acknowledged.
			seg.damaged = seg.damaged || !errors.Is(err, io.EOF)
			break
		}
		if r.Seq > limit {
			void = true
			break
		}
		lost = sc.lost
		seg.addBatch(sc.batch, r.Seq, r.Seq, r.At.UnixMilli(), sc.off)
	}
	// Behind the last record that counts everything is void by the next header.
	void = void || exact && seg.last >= limit
	if !void {
		rec.SkippedBytes += sc.torn + sc.skipped
	}
	switch {
	case exact && seg.last < limit:
		lost += limit - seg.last
	case !exact && !void:
		lost = sc.lost
	}
	if lost > 0 {
		seg.damaged = true
		j.counts.lost += lost
	}
	if len(seg.marks) == 0 && !void && sc.torn+sc.skipped > 0 {
		// Most likely a torn first batch, but perhaps all there was: keep it.
		seg.damaged = true
	}
	if seg.damaged {
		seg.known = seg.last
		rec.Damaged = append(rec.Damaged, seg.name)
	}
}

// recoverDead reads which records are kept as dead letters.
func (j *Journal) recoverDead(rec *Recovery) error {
	all := make(map[uint64]struct{})
	next, err := scanDead(j.fs, j.id, func(d DeadLetter) bool {
		all[d.Seq] = struct{}{}
		if d.Seq > j.trimmed {
			j.dead[d.Seq] = struct{}{}
		}
		return true
	})
	if errors.Is(err, ErrNewerFormat) {
		return err
	}
	if err != nil {
		rec.Skipped = append(rec.Skipped, Skipped{Name: j.id.String(), Err: err})
	}
	j.w.deadNext = max(next, 1)
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
	j.readable = j.last
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

// tidy puts aside what is damaged and removes the newest segment if a crash
// left it without any content. Nothing depends on it: what fails is tried again
// by a later Trim or Open.
func (j *Journal) tidy(aside []string, newest string, rec *Recovery) {
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
