package journal

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"time"
)

// Damage is a piece of a file that can't be read as what it should be.
type Damage struct {
	// Offset is where the last whole record before it ends; Bytes are what can't be
	// read behind that.
	Offset, Bytes int64
	// From and To are the records that should be there and are missing; 0: none
	// that were acknowledged, or it can't be told.
	From, To uint64
}

// FileReport is what a look into one file found.
type FileReport struct {
	// Name of the file, and Kind: "log", "kept", "dead", "ledger", "progress",
	// "damaged" (set aside) or "other".
	Name, Kind string
	// Bytes is the file's size.
	Bytes int64
	// Entries counts the whole records, letters or fates in it. First and Last are
	// the lowest and the highest sequence that they speak of, Oldest and Newest the
	// times of the first and the last.
	Entries        int
	First, Last    uint64
	Oldest, Newest time.Time
	// Torn are bytes at the end that were never acknowledged: a write that a crash
	// cut short, or one under way. Of dead letters they may have been one, damaged.
	Torn int64
	// Void counts records behind the last one that counts: of a failed commit,
	// whose callers were told so.
	Void int
	// Damage lists what can't be read.
	Damage []Damage
	// Err is why the file can't be read at all, or not to its end.
	Err error

	pending entriesAbove
}

// entriesAbove sums up the records that wait.
type entriesAbove struct {
	entries        int64
	bytes          int64
	oldest, newest time.Time
}

// Damaged reports whether something is missing from the file, or it can't be read.
func (r *FileReport) Damaged() bool { return len(r.Damage) > 0 || r.Err != nil || r.Kind == "damaged" }

// Files reads every file and every record, and tells what it found.
func (v *View) Files() []FileReport {
	var reports []FileReport
	for i := range v.state.logs {
		reports = append(reports, v.scanLog(i, func(Record) bool { return true }))
	}
	for _, name := range v.state.others {
		if r := v.scanOther(name); !errors.Is(r.Err, fs.ErrNotExist) {
			reports = append(reports, r)
		}
	}
	return reports
}

// openLog opens a file of the log, also where it was trimmed since the list was
// made. The error is fs.ErrNotExist when it is gone.
func (v *View) openLog(l logFile) (file, error) {
	f, err := v.files.open(l.name)
	if !errors.Is(err, fs.ErrNotExist) || l.kept {
		return f, err
	}
	names, listErr := v.files.list()
	if listErr != nil {
		return nil, listErr
	}
	for _, name := range names {
		if base, _, ok := parseKeptName(name); ok && base == l.base {
			return v.files.open(name)
		}
	}
	return nil, err
}

// scanLog reads the file number i of the log.
func (v *View) scanLog(i int, yield func(Record) bool) (report FileReport) {
	l := v.state.logs[i]
	report = FileReport{Name: l.name, Kind: "log"}
	if l.kept {
		report.Kind = "kept"
	}
	f, err := v.openLog(l)
	if errors.Is(err, fs.ErrNotExist) {
		return report // trimmed meanwhile, and not kept
	}
	if err != nil {
		report.Err = err
		return report
	}
	defer func() { report.Err = errors.Join(report.Err, f.close()) }()
	if report.Bytes, err = f.size(); err != nil {
		report.Err = err
		return report
	}
	f = steadyFile{file: f, length: report.Bytes}
	if empty, err := holdsZeros(f, report.Bytes); empty || err != nil {
		report.Err = err
		return report // it is being made, or a crash came while it was
	}
	h, err := readHeader(f, report.Bytes, v.id, kindRecords)
	if err == nil && h.base == 0 || errors.Is(err, errBadHeader) {
		report.Damage = append(report.Damage, Damage{Bytes: min(report.Bytes, headerSize)})
	}
	if err != nil {
		if !errors.Is(err, errBadHeader) || report.Bytes > headerSize {
			report.Err = err
		}
		return report
	}
	limit, exact := v.limit(i)
	s := logScan{view: v, report: &report, limit: limit, exact: exact, base: l.base}
	s.run(newScanner(f, h.salt, headerSize, report.Bytes, l.base), yield)
	return report
}

// steadyFile keeps the length at which it was opened: the place that a writer had
// allocated ahead, all zeros, may be given back while the file is read.
type steadyFile struct {
	file
	length int64
}

func (s steadyFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(b, off)
	if errors.Is(err, io.EOF) && off+int64(len(b)) <= s.length {
		clear(b[n:])
		return len(b), nil
	}
	return n, err
}

// holdsZeros reports whether a file is too short for a header, or has none yet.
func holdsZeros(f file, size int64) (bool, error) {
	if size < headerSize {
		return true, nil
	}
	n, err := newScanner(f, 0, 0, size, 0).tail()
	return n == 0, err
}

// limit is the last record that counts in file i: the header of the next one says
// so. exact: all up to it were acknowledged.
func (v *View) limit(i int) (limit uint64, exact bool) {
	if i+1 == len(v.state.logs) {
		return math.MaxUint64, false
	}
	next := v.state.logs[i+1]
	f, err := v.openLog(next)
	if err != nil {
		return next.base - 1, false
	}
	defer func() { _ = f.close() }() // it was only read
	size, err := f.size()
	if err != nil {
		return next.base - 1, false
	}
	h, err := readHeader(f, size, v.id, kindRecords)
	if err != nil || h.base != next.base {
		return next.base - 1, false
	}
	return h.prev, true
}

// logScan reads one file of the log into a report.
type logScan struct {
	view   *View
	report *FileReport
	limit  uint64
	exact  bool
	base   uint64
}

func (s *logScan) run(sc *scanner, yield func(Record) bool) {
	r := s.report
	end, last, lost, skipped := int64(headerSize), s.base-1, uint64(0), int64(0)
	for {
		rec, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.Err = err
			return
		}
		if rec.Seq > s.limit {
			r.Void++
			continue
		}
		if sc.lost > lost || sc.skipped > skipped {
			d := Damage{Offset: end, Bytes: sc.skipped - skipped}
			if sc.lost > lost {
				d.From, d.To = last+1, rec.Seq-1
			}
			r.Damage = append(r.Damage, d)
			lost, skipped = sc.lost, sc.skipped
		}
		end, last = sc.off, rec.Seq
		s.count(rec)
		if !yield(rec) {
			return
		}
	}
	s.finish(sc, end, last, skipped)
}

func (s *logScan) count(rec Record) {
	r := s.report
	if r.Entries++; r.Entries == 1 {
		r.First, r.Oldest = rec.Seq, rec.At
	}
	r.Last, r.Newest = rec.Seq, rec.At
	if s.view.status(rec.Seq) == StatusRetained {
		return
	}
	p := &r.pending
	if p.entries++; p.entries == 1 {
		p.oldest = rec.At
	}
	p.newest = rec.At
	p.bytes += int64(rec.encodedSize())
}

// finish judges what lies behind the last record.
func (s *logScan) finish(sc *scanner, end int64, last uint64, skipped int64) {
	r := s.report
	rest := sc.skipped - skipped + sc.torn
	trimmed := s.view.state.known && last < s.limit && s.limit <= s.view.state.progress.trimmed
	switch {
	case s.exact && last < s.limit && !trimmed:
		r.Damage = append(r.Damage, Damage{Offset: end, Bytes: rest, From: last + 1, To: s.limit})
	case s.exact && r.Void == 0 && last == s.limit:
		// Whatever it is, the next header says that it does not count.
	case sc.skipped > skipped && r.Void == 0:
		r.Damage = append(r.Damage, Damage{Offset: end, Bytes: rest})
	case r.Void == 0:
		r.Torn = sc.torn
	}
}

// scanOther reads a file that is not one of the log.
func (v *View) scanOther(name string) FileReport {
	r := FileReport{Name: name, Kind: "other"}
	f, err := v.files.open(name)
	if err != nil {
		r.Err = err
		return r
	}
	r.Bytes, r.Err = f.size()
	if err := f.close(); err != nil || r.Err != nil {
		r.Err = errors.Join(r.Err, err)
		return r
	}
	_, dead := parseFileName(name, suffixDead)
	_, ledger := parseFileName(name, suffixLedger)
	switch {
	case dead:
		r.Kind = "dead"
		scan, _ := scanDeadFile(v.files, v.id, name, func(d DeadLetter) bool {
			if r.Entries++; r.Entries == 1 {
				r.First, r.Oldest = d.Seq, d.At
			}
			r.First, r.Last, r.Newest = min(r.First, d.Seq), max(r.Last, d.Seq), d.At
			return true
		})
		err := scan.failed
		if errors.Is(scan.damaged, errBadHeader) || errors.Is(scan.damaged, ErrNewerFormat) {
			err = scan.damaged
		}
		v.framing(&r, kindDead, err)
	case ledger:
		r.Kind = "ledger"
		_, err := scanLedgerFile(v.files, v.id, name, func(f Fate) bool {
			if r.Entries++; r.Entries == 1 {
				r.First, r.Oldest = f.From, f.At
			}
			r.First, r.Last, r.Newest = min(r.First, f.From), max(r.Last, f.To), f.At
			return true
		})
		v.framing(&r, kindLedger, err)
	case name == progressName:
		r.Kind = "progress"
		if !v.state.known {
			r.Damage = append(r.Damage, Damage{Bytes: r.Bytes})
		}
	case filepath.Ext(name) == suffixDamaged:
		r.Kind = "damaged"
	}
	return r
}

// framing notes what of a file of letters or fates can't be read.
func (v *View) framing(r *FileReport, kind uint16, err error) {
	if errors.Is(err, errBadHeader) {
		r.Damage = append(r.Damage, Damage{Bytes: r.Bytes})
		return
	}
	if r.Err = err; err != nil || r.Bytes < headerSize+batchSize {
		return
	}
	f, err := v.files.open(r.Name)
	if err != nil {
		r.Err = err
		return
	}
	defer func() { _ = f.close() }() // it was only read
	h, err := readHeader(f, r.Bytes, v.id, kind)
	if err != nil || h.base == 0 {
		r.Damage = append(r.Damage, Damage{Bytes: headerSize})
	}
	if err != nil {
		return
	}
	sc := newScanner(f, h.salt, headerSize, r.Bytes, 0)
	sc.loose = true
	for end, skipped := int64(headerSize), int64(0); ; end = sc.off {
		_, err := sc.next()
		if sc.skipped > skipped {
			r.Damage = append(r.Damage, Damage{Offset: end, Bytes: sc.skipped - skipped})
			skipped = sc.skipped
		}
		if err != nil {
			if r.Torn = sc.torn; !errors.Is(err, io.EOF) {
				r.Err = err
			}
			return
		}
	}
}
