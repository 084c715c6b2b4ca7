package journal

import (
	"errors"
	"fmt"
	"time"
)

// Fsync says when a commit counts as done, in the manner of Redis's appendfsync.
type Fsync uint8

const (
	// FsyncAlways means: a record is committed when it has been synced to the disk.
	// It survives the crash of the process and of the machine. The default.
	FsyncAlways Fsync = iota
	// FsyncEverySec means: a record is committed when it has been handed to the
	// operating system, which is told to sync about once a second. It survives
	// the crash of the process; that of the machine costs about a second.
	FsyncEverySec
	// FsyncNo is as FsyncEverySec, but the operating system chooses the time.
	FsyncNo
)

// String is the policy's name as Redis spells it.
func (p Fsync) String() string {
	switch p {
	case FsyncAlways:
		return "always"
	case FsyncEverySec:
		return "everysec"
	case FsyncNo:
		return "no"
	}
	return fmt.Sprintf("fsync(%d)", uint8(p))
}

// Defaults of Options.
const (
	DefaultMaxBytes       = 1 << 30
	DefaultMaxMemoryBytes = 64 << 20
	DefaultMaxEntries     = 10_000_000
	DefaultSegmentBytes   = 16 << 20
	DefaultRetention      = 24 * time.Hour
)

const (
	minSegmentBytes = 4 << 10
	maxSegmentBytes = 1 << 30

	// MaxRecordBytes is the most that one record's Body and Meta may hold
	// together, in bytes; a larger one gets ErrTooBig.
	MaxRecordBytes = 512 << 20

	// A batch's length is held in 32 bits; this also bounds the memory that
	// waits for a slow disk.
	maxBatchBytes = 1 << 30
)

// Options configures a journal. The zero value is a journal in memory.
type Options struct {
	// Dir is the parent directory of the journals, created if it is missing.
	// Default "": the journal lives in memory and dies with the process.
	Dir string

	// Target names what the records are meant for. A journal on disk that was
	// made for another target is not taken over. Only a hash of it is stored.
	// Default "": any journal below Dir is taken over, and keeps its target.
	Target string

	// Fsync is the promise behind a commit. Default FsyncAlways, which costs a
	// sync for each group of callers. Without Dir it has no meaning.
	Fsync Fsync

	// MaxBytes bounds the bytes of the records that are not trimmed yet, with
	// their framing. Beyond it Append returns ErrFull. It is no bound for the disk:
	// the files can be larger by one segment (SegmentBytes, as disk is given back by
	// the segment, and up to 1 MiB that is allocated ahead; in busy times by another
	// two, the rest of the present one and the next, made ready with zeros), by the dead letters, for
	// which there is no bound, by the ledger (64 MiB), and by what is kept as
	// damaged. Default DefaultMaxBytes, without Dir DefaultMaxMemoryBytes; -1: no
	// bound.
	MaxBytes int64

	// MaxEntries bounds the records that are not trimmed yet. Default
	// DefaultMaxEntries; -1: no bound.
	MaxEntries int64

	// SegmentBytes is the size at which a new segment is begun: disk is given
	// back in such pieces. From 4 KiB to 1 GiB; default DefaultSegmentBytes.
	SegmentBytes int64

	// Retention is how long trimmed segments, so that a write can still be looked
	// up, and the ledger are kept. Trimmed segments count towards MaxBytes, but
	// never keep a record out: they go before their time, the oldest first, where
	// that bound or the disk needs the room. Default DefaultRetention; -1: neither is kept.
	// Without Dir it has no meaning.
	Retention time.Duration

	// Admit, if set, is asked about each journal with records that Open could take
	// over. An error leaves it as it is, open to others, and stands in
	// Recovery.Skipped. It must not keep the journal.
	Admit func(*Journal, *Recovery) error

	// Committed, if set, is called by the writer after each commit, when Stats.Last
	// covers it. It must be quick and not call the journal back. Without Dir a
	// ticket is durable before that.
	Committed func()

	// readyAfter is how many bytes a segment must hold before the next one's file is
	// made ready, and beside runs what does that. 0 and nil: readyAfter, a goroutine.
	readyAfter int64
	beside     func(func())

	// fs replaces the operating system's files of the client's subdirectory.
	fs func(filesystem) filesystem
}

// Validate reports everything that is wrong with o, or nil.
func (o Options) Validate() error {
	var faults []error
	if o.Fsync > FsyncNo {
		faults = append(faults, fmt.Errorf("journal: Fsync: %d is not a policy: use FsyncAlways, FsyncEverySec or FsyncNo", uint8(o.Fsync)))
	}
	if o.MaxBytes < -1 {
		faults = append(faults, fmt.Errorf("journal: MaxBytes: %d is negative: use -1 for no bound", o.MaxBytes))
	}
	if o.MaxEntries < -1 {
		faults = append(faults, fmt.Errorf("journal: MaxEntries: %d is negative: use -1 for no bound", o.MaxEntries))
	}
	if o.Retention < -1 {
		faults = append(faults, fmt.Errorf("journal: Retention: %v is negative: use -1 for none", o.Retention))
	}
	if s := o.SegmentBytes; s != 0 && (s < minSegmentBytes || s > maxSegmentBytes) {
		faults = append(faults, fmt.Errorf("journal: SegmentBytes: %d is out of range: use %d to %d", s, minSegmentBytes, maxSegmentBytes))
	}
	return errors.Join(faults...)
}

// withDefaults is o with every zero replaced.
func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
		if o.Dir == "" {
			o.MaxBytes = DefaultMaxMemoryBytes
		}
	}
	if o.Dir == "" {
		o.Fsync = FsyncAlways // costs nothing there
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.readyAfter == 0 {
		o.readyAfter = readyAfter
	}
	if o.beside == nil {
		o.beside = func(f func()) { go f() }
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
		if o.Dir == "" {
			o.SegmentBytes = DefaultSegmentBytes / 4
		}
	}
	return o
}
