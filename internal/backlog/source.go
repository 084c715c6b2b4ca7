package backlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// Options are a Source's.
type Options struct {
	// Journal is what is replayed. It stays its owner's, who closes the Source first.
	Journal *journal.Journal
	// Now is the server's clock as well as it is known. It is called from the
	// goroutine of the replay.
	Now func() time.Time
	// Check is asked before anything is done with a record. Its error ends the
	// replay. Nil: every record may be replayed.
	Check func(journal.Record) error
	// Hooks are told what happens.
	Hooks Hooks
}

// Hooks are told what happens; each may be nil. They are called without any lock,
// from the goroutines of the replay, which wait for them.
type Hooks struct {
	// Dead: an entry has become a dead letter. reason holds no word of the server's,
	// which could quote the write.
	Dead func(seq uint64, reason string)
	// Trimmed: the entries up to upTo have been given back.
	Trimmed func(upTo uint64)
	// Problem: something failed that holds up no replay.
	Problem func(what string, err error)
}

// Counts are entries that went otherwise than sent, each counted once however often
// it is read.
type Counts struct {
	// Expired: their keys' deadlines had passed.
	Expired uint64
	// SetAside: they became dead letters without having been sent. Those that the
	// replay makes are in its own figures.
	SetAside uint64
}

// Source is a journal as the replay reads it. It is safe for concurrent use, but for
// the order of calls that replay.Source promises.
type Source struct {
	ctx  context.Context // ends with the owner
	opts Options

	// reading guards reader and next. It is held while the journal is read; only
	// Read, the end of Trim and Close take it.
	reading sync.Mutex
	reader  *journal.Reader
	next    uint64 // the sequence that reader is at; 0: somewhere, seek

	mu       sync.Mutex // guards what follows
	progress replay.Progress
	runID    string // of the primary's process, as the replay's session saw it
	expired  spans  // entries that had lapsed when they were read and are not trimmed
	unread   uint64 // up to there nothing has been read, as the primary has it already
	counts   Counts
}

var _ replay.Source = (*Source)(nil)

// New returns a Source that reads o.Journal from its beginning. ctx bounds what it
// does to the journal; its end is the owner's, not that of one replay. Close it.
func New(ctx context.Context, o Options) *Source {
	p := o.Journal.Progress()
	return &Source{
		ctx: ctx, opts: o, reader: o.Journal.NewReader(1), next: 1,
		progress: replay.Progress{Acked: p.Acked, ReplID: p.ReplID}, unread: math.MaxUint64,
	}
}

// Met names the process of the primary that the replay talks to: the ledger tells
// of it.
func (s *Source) Met(runID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runID = runID
}

// Counts returns the figures since New.
func (s *Source) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Bounds implements replay.Source.
func (s *Source) Bounds() replay.Bounds {
	st := s.opts.Journal.Stats()
	return replay.Bounds{Trimmed: st.Trimmed, Last: max(st.Last, st.Trimmed)}
}

// Read implements replay.Source.
func (s *Source) Read(dst []replay.Entry, after uint64, maxEntries, maxBytes int) ([]replay.Entry, error) {
	s.mu.Lock()
	s.unread = min(s.unread, after)
	s.mu.Unlock()
	start := len(dst)
	for len(dst) == start {
		records, err := s.records(after, maxEntries, maxBytes)
		if err != nil || len(records) == 0 {
			return dst, err
		}
		for _, rec := range records {
			after = rec.Seq
			if s.opts.Journal.IsDead(rec.Seq) {
				continue
			}
			if dst, err = s.appendEntries(dst, rec); err != nil {
				return dst[:start], err
			}
		}
	}
	return dst, nil
}

// records returns the next records behind after. They stay valid until the next call.
func (s *Source) records(after uint64, maxEntries, maxBytes int) ([]journal.Record, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.next != after+1 {
		if err := s.reader.Seek(after + 1); err != nil {
			return nil, err
		}
		s.next = after + 1
	}
	records, err := s.reader.Next(s.ctx, maxEntries, maxBytes)
	if err != nil {
		s.next = 0
		return nil, err
	}
	if n := len(records); n > 0 {
		s.next = records[n-1].Seq + 1
	}
	return records, nil
}

// appendEntries appends what is to be sent for a record at this time.
func (s *Source) appendEntries(dst []replay.Entry, rec journal.Record) ([]replay.Entry, error) {
	if s.opts.Check != nil {
		if err := s.opts.Check(rec); err != nil {
			return dst, err
		}
	}
	f := FormOf(rec, s.opts.Now())
	counted := false
	switch f.Kind {
	case KindWrite, KindRestore:
		counted = true
	case KindExpired:
		s.expire(rec.Seq)
	case KindUseless, KindUnreadable:
		if err := s.setAside(rec, f.Kind.reason()); err != nil {
			return dst, err
		}
	}
	if len(f.Commands) == 0 {
		return append(dst, replay.Entry{Seq: rec.Seq, Cmd: f.StandIn, Repeatable: true, Uncounted: true}), nil
	}
	for i, cmd := range f.Commands {
		dst = append(dst, replay.Entry{Seq: rec.Seq, Cmd: cmd, Repeatable: f.Repeatable, Uncounted: !counted || i > 0})
	}
	return dst, nil
}

// expire notes an entry whose deadline had passed when it was read.
func (s *Source) expire(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expired.add(seq) { // not again when it is read again, after a broken connection
		s.counts.Expired++
	}
}

// setAside makes a dead letter of a record that is not to be sent.
func (s *Source) setAside(rec journal.Record, reason string) error {
	if err := s.bury(rec, reason, reason); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.SetAside++
	return nil
}

// bury keeps a dead letter: with reason beside it, and detail for everybody else.
func (s *Source) bury(rec journal.Record, reason, detail string) error {
	if err := s.opts.Journal.DeadLetter(s.ctx, rec, reason); err != nil {
		return err
	}
	s.enter(journal.Fate{From: rec.Seq, To: rec.Seq, Outcome: journal.OutcomeDeadLettered, Detail: detail})
	if s.opts.Hooks.Dead != nil {
		s.opts.Hooks.Dead(rec.Seq, detail)
	}
	return nil
}

// Progress implements replay.Source.
func (s *Source) Progress() replay.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// SaveProgress implements replay.Source. What the journal has no room for is
// known to this process only, and its loss costs certainty, never an entry.
func (s *Source) SaveProgress(p replay.Progress) error {
	s.mu.Lock()
	s.progress = p
	s.mu.Unlock()
	return s.opts.Journal.Acknowledge(journal.Progress{Acked: p.Acked, ReplID: p.ReplID})
}

// DeadLetter implements replay.Source.
func (s *Source) DeadLetter(d replay.DeadLetter) error {
	reader := s.opts.Journal.NewReader(d.Seq)
	defer func() { _ = reader.Close() }() // it was only read from
	records, err := reader.Next(s.ctx, 1, 0)
	if err != nil {
		return err
	}
	if len(records) == 0 || records[0].Seq != d.Seq {
		return fmt.Errorf("backlog: entry %d is not in the journal, and can't be made a dead letter", d.Seq)
	}
	reason := d.Reason.String()
	if d.Text != "" {
		reason += ": " + d.Text
	}
	return s.bury(records[0], reason, d.Reason.String())
}

// Trim implements replay.Source. The ledger is told first: after a crash in between
// it is told again, and never not at all.
func (s *Source) Trim(upTo uint64, confirmed bool) error {
	s.settle(upTo, confirmed)
	if err := s.opts.Journal.Trim(s.ctx, upTo); err != nil {
		if s.ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
			return err
		}
		// The entries count as trimmed; only their disk is not free yet.
		s.problem("the journal could not give disk back", err)
	}
	if s.opts.Hooks.Trimmed != nil {
		s.opts.Hooks.Trimmed(upTo)
	}
	return s.rest()
}

// settle enters into the ledger how the entries up to upTo ended: as one range, and
// what went otherwise inside it.
func (s *Source) settle(upTo uint64, confirmed bool) {
	from := s.Bounds().Trimmed + 1
	s.mu.Lock()
	expired, runID, replID := s.expired.take(upTo), s.runID, s.progress.ReplID
	unread := min(upTo, s.unread)
	s.mu.Unlock()
	if from > upTo {
		return
	}
	fate := journal.Fate{Outcome: journal.OutcomeReplayed, RunID: runID, ReplID: replID}
	if !confirmed {
		fate.Outcome = journal.OutcomeUnconfirmed
	}
	enter := func(from, to uint64, detail string) {
		if f := fate; from <= to {
			f.From, f.To, f.Detail = from, to, detail
			s.enter(f)
		}
	}
	for _, r := range s.lapsed(from, unread) {
		enter(from, r.from-1, "")
		enter(r.from, r.to, detailLapsed)
		from = r.to + 1
	}
	enter(from, upTo, "")
	for _, r := range expired {
		s.enter(journal.Fate{From: r.from, To: r.to, Outcome: journal.OutcomeExpired, RunID: runID, ReplID: replID})
	}
}

// detailLapsed is what the ledger says of an entry that an earlier process sent, and
// of which its deadline was the end: before it was sent, or after.
const detailLapsed = "or expired: it was sent before a restart, and its deadline has passed"

// lapsed are those of the entries from the one to the other, which were sent before
// this Source was made, whose deadlines have passed by now.
func (s *Source) lapsed(from, to uint64) (found spans) {
	if from > to {
		return nil
	}
	reader := s.opts.Journal.NewReader(from)
	defer func() { _ = reader.Close() }() // it was only read from
	now := s.opts.Now()
	for from <= to {
		records, err := reader.Next(s.ctx, 1024, 1<<20)
		if err != nil {
			s.problem("the ledger can't tell replayed entries from expired ones", err)
		}
		if err != nil || len(records) == 0 {
			return found
		}
		for _, r := range records {
			if from = r.Seq + 1; r.Seq > to {
				break
			}
			if FormOf(r, now).Kind == KindExpired {
				found.add(r.Seq)
			}
		}
	}
	return found
}

// enter enters a fate into the ledger. A ledger that can't be written holds up no
// replay.
func (s *Source) enter(f journal.Fate) {
	if err := s.opts.Journal.Record(f); err != nil {
		s.problem("the ledger did not take an entry", err)
	}
}

func (s *Source) problem(what string, err error) {
	if s.opts.Hooks.Problem != nil {
		s.opts.Hooks.Problem(what, err)
	}
}

// rest lets go of the segment that the reader is in when there is nothing left
// to read: an open file keeps its disk, although it was removed.
func (s *Source) rest() error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.next <= s.Bounds().Last {
		return nil
	}
	return s.reader.Seek(s.next)
}

// Close gives up the journal's files. The replay must have ended.
func (s *Source) Close() error {
	s.reading.Lock()
	defer s.reading.Unlock()
	return s.reader.Close()
}
