package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sort"
	"time"
)

// Fates calls yield with the entries of the ledger, of earlier processes too, in
// the order in which they were recorded, until it returns false. Entries can
// speak of one write several times; a FateIndex says which counts.
func (j *Journal) Fates(yield func(Fate) bool) error {
	if !j.keeps() {
		return nil
	}
	var queued []Fate
	err := j.call(context.Background(), func() error {
		j.saveLedger(false)
		j.mu.Lock()
		defer j.mu.Unlock()
		queued = append(queued, j.fates...) // the disk does not take these at present
		return nil
	})
	if err != nil {
		return err
	}
	more, err := scanLedger(j.fs, j.id, yield)
	for _, f := range queued {
		if !more || !yield(f) {
			break
		}
	}
	return err
}

// Fate is how the write seq ended, if the ledger knows. An error says that not
// all of the ledger could be read; what was found counts all the same.
func (j *Journal) Fate(seq uint64) (f Fate, ok bool, err error) {
	var found FateIndex
	err = j.Fates(func(f Fate) bool {
		if f.From <= seq && seq <= f.To {
			found.Add(f)
		}
		return true
	})
	f, ok = found.Lookup(seq)
	return f, ok, err
}

// scanLedger reads all ledger files of client. A file that can't be read doesn't
// keep the others from being read; the error then tells.
func scanLedger(files filesystem, client ClientID, yield func(Fate) bool) (more bool, err error) {
	names, err := files.list()
	if err != nil {
		return true, err
	}
	var faults []error
	for _, name := range names {
		if _, ok := parseFileName(name, suffixLedger); !ok {
			continue
		}
		more, err := scanLedgerFile(files, client, name, yield)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // pruned meanwhile
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		if !more {
			return false, errors.Join(faults...)
		}
	}
	return true, errors.Join(faults...)
}

func scanLedgerFile(files filesystem, client ClientID, name string, yield func(Fate) bool) (more bool, err error) {
	f, err := files.open(name)
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	size, err := f.size()
	if err != nil {
		return true, err
	}
	scan, err := readLedger(f, size, client, yield)
	return !scan.ended, err
}

// ledgerScan is what a look through a ledger file met with.
type ledgerScan struct {
	ended bool // yield wanted no more
	// damaged are the bytes that can't be read before the last entry that can, torn
	// those behind it: a write that a crash cut short, or entries that were damaged.
	// Nothing tells which. Neither is known of a file that its writer still writes to.
	damaged, torn int64
}

// faults says what of the file can't be read.
func (s ledgerScan) faults() (errs []error) {
	if s.damaged > 0 {
		errs = append(errs, fmt.Errorf("journal: %d bytes of the ledger are damaged, how some writes ended is not known", s.damaged))
	}
	if s.torn > 0 {
		errs = append(errs, fmt.Errorf("journal: %d bytes at the end are no entries of the ledger: a crash cut a write short, or they are damaged", s.torn))
	}
	return errs
}

// readLedger reads a ledger file of that size. The error is of the file as a whole.
func readLedger(f file, size int64, client ClientID, yield func(Fate) bool) (s ledgerScan, err error) {
	if size < headerSize+batchSize {
		return s, nil // one that holds no entry yet is in order
	}
	h, err := readHeader(f, size, client, kindLedger)
	if err != nil {
		return s, err
	}
	if h.base == 0 {
		s.damaged = headerSize // what follows proves the salt
	}
	header := s.damaged
	sc := newScanner(f, h.salt, headerSize, size, 1)
	for {
		r, err := sc.next()
		if err != nil {
			s.torn = header + sc.skipped - s.damaged + sc.torn
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return s, err
		}
		s.damaged = header + sc.skipped
		if fate, ok := parseFate(r); ok && !yield(fate) {
			s.ended = true
			return s, nil
		}
	}
}

// recoverLedger notes the ledger files that are there, and which records they say are
// ended; rec tells what of them can't be read. The error is the system's: what it keeps
// from being read may be that.
func (j *Journal) recoverLedger(names []string, rec *Recovery) error {
	l := &j.w.ledger
	for _, name := range names {
		number, ok := parseFileName(name, suffixLedger)
		if !ok {
			continue
		}
		l.next = max(l.next, number+1)
		found, faults, err := j.recoverFates(name)
		if err != nil {
			return about(name, err)
		}
		for _, fault := range faults {
			rec.Skipped = append(rec.Skipped, Skipped{Name: j.id.String(), Err: about(name, fault)})
		}
		l.files = append(l.files, found)
	}
	j.ended.join()
	return nil
}

// recoverFates reads a ledger file of an earlier process. faults say what of it can't
// be read.
func (j *Journal) recoverFates(name string) (found ledgerFile, faults []error, err error) {
	f, err := j.fs.open(name)
	if err != nil {
		return ledgerFile{}, nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	// One that can't be read stays as long as if it had just been written.
	found = ledgerFile{name: name, newest: time.Now()}
	if found.bytes, err = f.size(); err != nil {
		return ledgerFile{}, nil, err
	}
	newest := time.Time{}
	scan, damage := readLedger(f, found.bytes, j.id, func(f Fate) bool {
		newest = laterOf(newest, f.At)
		if f.ends() && f.To > j.trimmed {
			j.ended = append(j.ended, span{max(f.From, j.trimmed+1), f.To})
			found.ends = max(found.ends, f.To)
		}
		return true
	})
	faults = scan.faults()
	if damage != nil {
		return found, append(faults, damage), nil
	}
	if newest.Before(found.newest) {
		found.newest = newest
	}
	return found, faults, nil
}

// span is a range of sequences, both ends included; spans are a set of them.
type (
	span  struct{ from, to uint64 }
	spans []span
)

// join puts s into order, without overlaps, as has wants it.
func (s *spans) join() {
	slices.SortFunc(*s, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	joined := (*s)[:0]
	for _, r := range *s {
		if n := len(joined); n > 0 && r.from <= joined[n-1].to+1 { // a fate's end is below the greatest number
			joined[n-1].to = max(joined[n-1].to, r.to)
			continue
		}
		joined = append(joined, r)
	}
	*s = joined
}

func (s spans) has(seq uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].to >= seq })
	return i < len(s) && s[i].from <= seq
}

// FateIndex answers which fate counts for a write. The zero value is empty. It
// is not safe for concurrent use.
//
// What is unusual (expired, dead-lettered, discarded, mended …) overrides what
// was recorded as replayed for the range around it; among equals the one added
// last counts.
type FateIndex struct {
	added   int
	ranges  []Fate              // plain, ascending and apart
	other   []numbered          // plain ones that overlap earlier ones
	singles map[uint64]numbered // unusual, of one write
	wide    []numbered          // unusual, of several
}

type numbered struct {
	Fate
	number int
}

// Add adds f, in the order in which the ledger yields them.
func (x *FateIndex) Add(f Fate) {
	x.added++
	n := numbered{Fate: f, number: x.added}
	switch {
	case f.Plain() && (len(x.ranges) == 0 || f.From > x.ranges[len(x.ranges)-1].To):
		x.ranges = append(x.ranges, f)
	case f.Plain():
		x.other = append(x.other, n)
	case f.From == f.To:
		if x.singles == nil {
			x.singles = make(map[uint64]numbered)
		}
		x.singles[f.From] = n
	default:
		x.wide = append(x.wide, n)
	}
}

// Lookup is the fate of the write seq.
func (x *FateIndex) Lookup(seq uint64) (Fate, bool) {
	best, ok := x.singles[seq]
	if f, found := latest(x.wide, seq); found && f.number > best.number {
		best, ok = f, true
	}
	if ok {
		return best.Fate, true
	}
	if f, found := latest(x.other, seq); found {
		return f.Fate, true
	}
	i := sort.Search(len(x.ranges), func(i int) bool { return x.ranges[i].To >= seq })
	if i < len(x.ranges) && x.ranges[i].From <= seq {
		return x.ranges[i], true
	}
	return Fate{}, false
}

func latest(fates []numbered, seq uint64) (numbered, bool) {
	for i := len(fates) - 1; i >= 0; i-- {
		if fates[i].From <= seq && seq <= fates[i].To {
			return fates[i], true
		}
	}
	return numbered{}, false
}
