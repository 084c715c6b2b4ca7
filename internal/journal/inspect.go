package journal

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// View looks at the directory of one journal from outside: it takes no lock and
// writes nothing, so that it can be used while a process writes the journal.
// What is written during a look may or may not be seen; a record that is being
// written ends the log. A View is not safe for concurrent use.
type View struct {
	path  string
	id    ClientID
	files filesystem
	state found
}

// found is what a View saw in the directory at one moment.
type found struct {
	progress slot
	known    bool // progress could be read
	logs     []logFile
	others   []string // the files that hold no records
	dead     map[uint64]struct{}
	ended    spans // by the ledger
}

// logFile is a file of records: a segment, or one that was trimmed and is kept.
type logFile struct {
	name string
	base uint64
	kept bool
}

// Journals lists the directories below dir that hold a journal, by name.
func Journals(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: the directory can't be read: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := parseClientID(e.Name()); ok && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// NewView looks at the journal in the directory path, which is named by its
// client id. The error says that it is not such a directory or can't be read.
func NewView(path string) (*View, error) {
	id, ok := parseClientID(filepath.Base(filepath.Clean(path)))
	if !ok {
		return nil, fmt.Errorf("journal: %q is not the name of a journal: it has 32 hexadecimal digits", filepath.Base(path))
	}
	v := &View{path: path, id: id, files: dirFS(path)}
	if err := v.Refresh(); err != nil {
		return nil, err
	}
	return v, nil
}

// ID is the journal's client id.
func (v *View) ID() ClientID { return v.id }

// Path is the journal's directory.
func (v *View) Path() string { return v.path }

// Target is the hash of what the records are meant for, in hexadecimal; empty:
// none was named, or it can't be read.
func (v *View) Target() string {
	if t := v.state.progress.target; t != ([16]byte{}) {
		return hex.EncodeToString(t[:])
	}
	return ""
}

// Trimmed is the last record that was given back.
func (v *View) Trimmed() uint64 { return v.state.progress.trimmed }

// ParseClientID reads what ClientID.String wrote.
func ParseClientID(s string) (ClientID, bool) { return parseClientID(s) }

// Refresh looks again at which files there are and how far the replay is.
func (v *View) Refresh() error {
	s := found{dead: make(map[uint64]struct{})}
	var err error
	if s.logs, s.others, err = v.list(); err != nil {
		return fmt.Errorf("journal: the directory can't be read: %w", err)
	}
	// A segment goes only after the progress says so: read later, it accounts for
	// every one that is not in the list.
	if f, err := v.files.open(progressName); err == nil {
		s.progress, err = readProgress(f, v.id)
		s.known = err == nil && f.close() == nil
	}
	// Letters and fates that can't be read are for DeadLetters, Fates and Files to tell.
	_ = scanDead(v.files, v.id, func(d DeadLetter) bool {
		s.dead[d.Seq] = struct{}{}
		return true
	})
	_, _ = scanLedger(v.files, v.id, func(f Fate) bool {
		if f.ends() {
			s.ended = append(s.ended, span{f.From, f.To})
		}
		return true
	})
	s.ended.join()
	v.state = s
	return nil
}

// list lists the files, three times: one that is created or renamed while a
// directory is read may be missing from the list. What was there or came during
// the first list can be missing from the second, being renamed, but not from the
// third as well. Segments that came later wait for the next look, so that there is
// no hole before the newest.
func (v *View) list() (logs []logFile, others []string, err error) {
	byBase := make(map[uint64]logFile)
	newest := uint64(math.MaxUint64)
	for round := range 3 {
		names, err := v.files.list()
		if err != nil {
			return nil, nil, err
		}
		others = others[:0]
		for _, name := range names {
			segment, isSegment := parseFileName(name, suffixSegment)
			kept, _, isKept := parseKeptName(name)
			switch {
			case isKept && kept <= newest:
				byBase[kept] = logFile{name: name, base: kept, kept: true}
			case isSegment && segment <= newest && !byBase[segment].kept:
				byBase[segment] = logFile{name: name, base: segment}
			case !isKept && !isSegment:
				others = append(others, name)
			}
		}
		if round == 0 && len(byBase) > 0 {
			newest = slices.Max(slices.Collect(maps.Keys(byBase)))
		}
	}
	logs = slices.SortedFunc(maps.Values(byBase), func(a, b logFile) int { return cmp.Compare(a.base, b.base) })
	return logs, others, nil
}

// Status is what a record is to the journal.
type Status uint8

// The states of a record. The zero value is invalid.
const (
	// StatusPending: it waits for its replay.
	StatusPending Status = iota + 1
	// StatusDead: it is a dead letter whose neighbours wait still, or was discarded; the
	// replay passes over it.
	StatusDead
	// StatusRetained: it is trimmed, and kept for a while. The ledger tells its fate.
	StatusRetained
)

// String names the status.
func (s Status) String() string {
	switch s {
	case StatusPending:
		return "pending"
	case StatusDead:
		return "dead"
	case StatusRetained:
		return "retained"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Records calls yield with the records of the log, trimmed ones that are still
// there included, in order of their sequences, until it returns false. The
// record's bytes are yield's only until it returns. What is damaged is passed
// over; Files tells of it. The error is of the system.
func (v *View) Records(yield func(Record, Status) bool) error {
	var faults []error
	for i := range v.state.logs {
		more := true
		report := v.scanLog(i, func(r Record) bool {
			more = yield(r, v.status(r.Seq))
			return more
		})
		if report.Err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", report.Name, report.Err))
		}
		if !more {
			break
		}
	}
	return errors.Join(faults...)
}

func (v *View) status(seq uint64) Status {
	if v.state.known && seq <= v.state.progress.trimmed {
		return StatusRetained
	}
	if _, dead := v.state.dead[seq]; dead || v.state.ended.has(seq) {
		return StatusDead
	}
	return StatusPending
}

// DeadLetters calls yield with each dead letter, as Journal.DeadLetters does.
func (v *View) DeadLetters(yield func(DeadLetter) bool) error {
	return deadLetters(v.files, v.id, yield)
}

// Fates calls yield with what is written of the ledger, as Journal.Fates does.
func (v *View) Fates(yield func(Fate) bool) error {
	_, err := scanLedger(v.files, v.id, yield)
	return err
}

// lastRecord is the last record of the log; 0: it has none. The error is of the
// system.
func (v *View) lastRecord() (last uint64, err error) {
	for i := len(v.state.logs) - 1; i >= 0 && last == 0; i-- {
		report := v.scanLog(i, func(r Record) bool { last = r.Seq; return true })
		if err := report.Err; err != nil && !errors.Is(err, errBadHeader) {
			return 0, fmt.Errorf("%s: %w", report.Name, err)
		}
	}
	return last, nil
}

// Info sums up a journal.
type Info struct {
	ID ClientID
	// Path is the directory.
	Path string
	// Target is View.Target.
	Target string
	// Live says that a process holds the journal.
	Live bool
	// Confirmed says that it bears the mark of Confirm for what waits in it.
	Confirmed bool
	// Entries and Bytes are the records that wait, dead ones among them included,
	// accepted from Oldest to Newest.
	Entries, Bytes int64
	Oldest, Newest time.Time
	// Last is the last record; Trimmed the last one given back; Acked the last one
	// that a primary is known to have executed.
	Last, Trimmed, Acked uint64
	// RunID and ReplID name that primary.
	RunID, ReplID string
	// Lineage is what its process saw of the servers.
	Lineage Lineage
	// Retained and RetainedBytes are the trimmed records that are still there.
	Retained, RetainedBytes int64
	// Dead counts dead letters, Fates entries of the ledger.
	Dead, Fates int
	// Damaged is set if a file is, or was set aside as damaged.
	Damaged bool
	// Files are the reports that all this was summed up from.
	Files []FileReport
}

// Info reads the whole journal and sums it up.
func (v *View) Info() Info {
	p := v.state.progress
	lineage, _ := readLineage(v.files) // none where it can't be read
	i := Info{
		ID: v.id, Path: v.path, Live: v.live(), Confirmed: v.confirmed(),
		Trimmed: p.trimmed, Acked: p.acked, Last: max(p.last, p.trimmed), RunID: p.runID, ReplID: p.replID,
		Target: v.Target(), Lineage: lineage, Dead: len(v.state.dead), Files: v.Files(), Damaged: !v.state.known,
	}
	last := uint64(0)
	for _, r := range i.Files {
		i.Damaged = i.Damaged || r.Damaged()
		switch r.Kind {
		case "log", "kept":
			n := r.pending
			if n.entries > 0 && i.Entries == 0 {
				i.Oldest = n.oldest
			}
			if n.entries > 0 {
				i.Newest = n.newest
			}
			i.Entries += n.entries
			i.Bytes += n.bytes
			i.Retained += int64(r.Entries) - n.entries
			last = max(last, r.Last)
			if r.Kind == "kept" {
				i.RetainedBytes += r.Bytes
			}
		case "ledger":
			i.Fates += r.Entries
		}
	}
	if last > 0 && len(v.state.logs) > 0 {
		i.Last = max(last, p.trimmed)
	}
	return i
}

// live reports whether a process holds the lock. It looks by taking a shared one
// for an instant; a process that starts at just that instant makes itself a
// journal of its own, and finds this one a little later.
func (v *View) live() bool {
	held, err := lockHeld(filepath.Join(v.path, lockName))
	return err == nil && held
}

// Inspect sums up every journal below dir, in order of their names. The error
// says that dir, or one of the journals, can't be read; the others are there.
func Inspect(dir string) ([]Info, error) {
	names, err := Journals(dir)
	if err != nil {
		return nil, err
	}
	var infos []Info
	var faults []error
	for _, name := range names {
		v, err := NewView(filepath.Join(dir, name))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		infos = append(infos, v.Info())
	}
	return infos, errors.Join(faults...)
}
