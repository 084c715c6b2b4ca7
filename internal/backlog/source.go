package backlog

import (
	"context"
	"errors"
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
	// Lanes and Mine make it a Source of some lanes of the journal, beside others of the
	// other lanes: its entries and Bounds are those of Mine, and Trim ends these, while
	// the journal gives back what is over in all lanes. Mine is asked once, by New: what
	// belongs to whom must not change, and when it does, a new Source is made once the
	// replay of the old one has ended. nil: all lanes. Without Lanes the Source is of
	// the whole journal.
	Lanes *Lanes
	Mine  func(lane uint16) bool
	// Check is asked before anything is done with a record. Its error ends the
	// replay. Nil: every record may be replayed.
	Check func(journal.Record) error
	// Conflicts gives entries their Claims: see replay.Options.Conflicts, whose Left is
	// Conflicted.
	Conflicts bool
	// Hooks are told what happens.
	Hooks Hooks
}

// Hooks are told what happens; each may be nil. They are called without any lock,
// from the goroutines of the replay, which wait for them.
type Hooks struct {
	// Dead: an entry has become a dead letter. reason holds no word of the server's,
	// which could quote the write.
	Dead func(seq uint64, reason string)
	// Trimmed: the entries up to upTo have been given back; with Options.Lanes those of
	// its lanes.
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
	ctx   context.Context // ends with the owner
	opts  Options
	lanes *laned // nil: the whole journal

	form    former              // of the goroutine of the replay
	carried map[string]*carried // with Options.Conflicts, by key; of the goroutine of the replay
	doubts  map[uint16]uint64   // by lane, the last entry that may have been applied; of the same
	owed    *owed

	// reading guards reader and next. It is held while the journal is read; only
	// Read, the end of Trim and Close take it.
	reading sync.Mutex
	reader  *journal.Reader
	next    uint64 // the sequence that reader is at; 0: somewhere, seek

	mu       sync.Mutex // guards what follows
	progress replay.Progress
	runID    string // of the primary's process, as the replay's session saw it
	expired  spans  // entries that had lapsed when they were read and are not trimmed
	diverged spans  // entries that were answered otherwise than promised, and are not trimmed
	unread   uint64 // up to there nothing has been read, as the primary has it already
	counts   Counts
}

var (
	_ replay.Laned   = (*Source)(nil)
	_ replay.Witness = (*Source)(nil)
	_ replay.Doubter = (*Source)(nil)
)

// New returns a Source that reads o.Journal from its beginning. ctx bounds what it
// does to the journal; its end is the owner's, not that of one replay. Close it.
func New(ctx context.Context, o Options) *Source {
	s := &Source{ctx: ctx, opts: o, reader: o.Journal.NewReader(1), next: 1, unread: math.MaxUint64, doubts: map[uint16]uint64{}, owed: new(owed)}
	if o.Conflicts {
		s.carried = make(map[string]*carried)
	}
	if o.Lanes != nil {
		// The journal keeps the progress of one replay, which would be none of theirs.
		s.lanes, s.owed = newLaned(o.Lanes, o.Mine), &o.Lanes.owed
		return s
	}
	p := o.Journal.Progress()
	s.progress = replay.Progress{Acked: p.Acked, ReplID: p.ReplID}
	return s
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
	if s.lanes != nil {
		return s.bounds(max(st.Last, st.Trimmed))
	}
	return replay.Bounds{Trimmed: st.Trimmed, Last: max(st.Last, st.Trimmed)}
}

// noteRead notes that entries behind a sequence are read.
func (s *Source) noteRead(after uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = min(s.unread, after)
}

// Read implements replay.Source.
func (s *Source) Read(dst []replay.Entry, after uint64, maxEntries, maxBytes int) ([]replay.Entry, error) {
	s.noteRead(after)
	s.forget(s.Trimmed())
	start := len(dst)
	for len(dst) == start {
		records, err := s.records(after, maxEntries, maxBytes)
		if err != nil || len(records) == 0 {
			return dst, err
		}
		now, dead := s.opts.Now(), s.opts.Journal.HasDead()
		for i := range records {
			after = records[i].Seq
			lane, ok := s.wants(&records[i], dead)
			if !ok {
				s.pass(&records[i])
				continue
			}
			if s.lanes != nil {
				s.see(replay.Place{Seq: after, Lane: lane})
			}
			if dst, err = s.appendEntries(dst, &records[i], lane, now); err != nil {
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
func (s *Source) appendEntries(dst []replay.Entry, rec *journal.Record, lane uint16, now time.Time) ([]replay.Entry, error) {
	if s.opts.Check != nil {
		if err := s.opts.Check(*rec); err != nil {
			return dst, err
		}
	}
	f := s.form.of(rec, now)
	counted := false
	switch f.Kind {
	case KindWrite, KindRestore:
		counted = true
	case KindExpired:
		s.expire(rec.Seq)
	case KindUseless, KindUnreadable:
		reason := f.Kind.reason()
		if f.Kind == KindUseless && rec.Seq <= max(s.doubts[lane], s.doubts[replay.AllLanes]) && !s.form.entry.Repeatable {
			reason = replay.ReasonInDoubt.String() // that its use has ended says nothing of what was applied
		}
		if err := s.setAside(*rec, reason); err != nil {
			return dst, err
		}
	}
	at := len(dst)
	if len(f.Commands) == 0 {
		dst = append(dst, replay.Entry{Seq: rec.Seq, Lane: lane, Cmd: f.StandIn, Repeatable: true, Uncounted: true})
	}
	for i, cmd := range f.Commands {
		dst = append(dst, replay.Entry{
			Seq: rec.Seq, Lane: lane, Cmd: cmd, Repeatable: f.Repeatable, Uncounted: !counted || i > 0,
			Free: f.Kind == KindWrite && len(f.Commands) == 1, Reply: f.Reply,
		})
	}
	if f.Kind == KindUseless || f.Kind == KindUnreadable {
		s.skip(rec)
	} else {
		dst[at].Claims = s.claims(rec)
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
	if err := s.bury(rec, journal.OutcomeDeadLettered, reason, reason); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.SetAside++
	return nil
}

// Diverged implements replay.Witness: the ledger is told when the entry is trimmed. What
// becomes of it is the same as if it had not.
func (s *Source) Diverged(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.diverged.add(seq)
}

// Doubt implements replay.Doubter.
func (s *Source) Doubt(lane uint16, upTo uint64) {
	if upTo == 0 {
		delete(s.doubts, lane)
		return
	}
	s.doubts[lane] = upTo
}

// Progress implements replay.Source.
func (s *Source) Progress() replay.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// SaveProgress implements replay.Source. What the journal has no room for is
// known to this process only, and its loss costs certainty, never an entry. That of
// a Source with lanes is known to it alone.
func (s *Source) SaveProgress(p replay.Progress) error {
	s.mu.Lock()
	s.progress = p
	s.mu.Unlock()
	if s.lanes != nil {
		return nil
	}
	return s.opts.Journal.Acknowledge(journal.Progress{Acked: p.Acked, ReplID: p.ReplID})
}

// Trim implements replay.Source. The ledger is told first: after a crash in between
// it is told again, and never not at all.
func (s *Source) Trim(upTo uint64, confirmed bool) error {
	if err := s.keepOwed(); err != nil {
		return err
	}
	trim := s.trimAll
	if s.lanes != nil {
		trim = s.trimLanes
	}
	if err := trim(upTo, confirmed); err != nil {
		return err
	}
	return s.rest()
}

// trimAll is Trim of a Source of the whole journal.
func (s *Source) trimAll(upTo uint64, confirmed bool) error {
	s.settle(upTo, confirmed)
	if err := s.freed(s.opts.Journal.Trim(s.ctx, upTo)); err != nil {
		return err
	}
	if s.opts.Hooks.Trimmed != nil {
		s.opts.Hooks.Trimmed(upTo)
	}
	return nil
}

// freed takes the error of giving disk back: unless the journal is being closed, the
// entries count as trimmed, and only their disk is not free yet.
func (s *Source) freed(err error) error {
	if err == nil || s.ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
		return err
	}
	s.problem("the journal could not give disk back", err)
	return nil
}

// settle enters into the ledger how the entries up to upTo ended: as one range, and
// what went otherwise inside it.
func (s *Source) settle(upTo uint64, confirmed bool) {
	from := s.Bounds().Trimmed + 1
	s.mu.Lock()
	expired, diverged := s.expired.take(upTo), s.diverged.take(upTo)
	unread, fate := min(upTo, s.unread), s.fate(confirmed)
	s.mu.Unlock()
	if from > upTo {
		return
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
	s.enterSpans(fate, journal.OutcomeExpired, expired)
	s.enterSpans(fate, journal.OutcomeDiverged, diverged)
}

// fate is what the ledger says of entries that were sent; s.mu is held.
func (s *Source) fate(confirmed bool) journal.Fate {
	f := journal.Fate{Outcome: journal.OutcomeReplayed, RunID: s.runID, ReplID: s.progress.ReplID}
	if !confirmed {
		f.Outcome = journal.OutcomeUnconfirmed
	}
	return f
}

// enterSpans enters of entries that they ended otherwise than f says of all: lapsed
// before they were sent, or were answered otherwise than promised. Where they were sent,
// it keeps what f says of their confirmation.
func (s *Source) enterSpans(f journal.Fate, outcome journal.Outcome, of spans) {
	if outcome == journal.OutcomeDiverged && f.Outcome == journal.OutcomeUnconfirmed {
		f.Detail = f.Outcome.String()
	}
	f.Outcome = outcome
	for i, r := range of {
		f.From, f.To = r.from, r.to
		s.enter(f)
		s.letLedger(i + 1)
	}
}

// letLedger lets the ledger's writer work when many fates were entered: it holds only so
// many that are not written. A Trim of nothing returns when the writer has been there.
func (s *Source) letLedger(entered int) {
	if entered%fatesAtOnce != 0 {
		return
	}
	if err := s.opts.Journal.Trim(s.ctx, 0); err != nil {
		s.problem("the ledger's writer could not be waited for", err)
	}
}

// detailLapsed is what the ledger says of an entry that an earlier process sent, and
// of which its deadline was the end: before it was sent, or after.
const detailLapsed = "or expired: it was sent before a restart, and its deadline has passed"

// lapsed are those of the entries from the one to the other, which were sent before
// this Source was made, whose deadlines have passed by now.
func (s *Source) lapsed(from, to uint64) (found spans) {
	now := s.opts.Now()
	s.between(from, to, func(r *journal.Record) {
		if FormOf(*r, now).Kind == KindExpired {
			found.add(r.Seq)
		}
	})
	return found
}

// between calls f with the records from the one to the other, for the ledger: what
// can't be read is reported, and holds up nothing.
func (s *Source) between(from, to uint64, f func(*journal.Record)) {
	if from > to {
		return
	}
	reader := s.opts.Journal.NewReader(from)
	defer func() { _ = reader.Close() }() // it was only read from
	for from <= to {
		records, err := reader.Next(s.ctx, 1024, 1<<20)
		if err != nil {
			s.problem("the ledger can't tell replayed entries from expired ones", err)
		}
		if err != nil || len(records) == 0 {
			return
		}
		for i := range records {
			if from = records[i].Seq + 1; records[i].Seq > to {
				break
			}
			f(&records[i])
		}
	}
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
	var owed error
	if s.lanes == nil {
		owed = s.owed.settled()
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	return errors.Join(owed, s.reader.Close())
}
