package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// journalSource is the journal as the replay reads it. Trimming an entry
// releases its keys from the overlay: there is no other way for them to leave. An
// adopted journal has none there, and no overlay.
type journalSource struct {
	ctx     context.Context // ends with the client
	journal *journal.Journal
	overlay *overlay.Overlay // nil for an adopted journal
	account account
	log     *slog.Logger
	now     func() time.Time // the server's
	expired atomic.Uint64    // entries whose deadline passed before they were sent

	mu       sync.Mutex // guards what follows
	reader   *journal.Reader
	next     uint64 // the sequence that reader is at
	progress replay.Progress
	fates    fates
}

func newJournalSource(
	ctx context.Context, j *journal.Journal, o *overlay.Overlay, now func() time.Time, log *slog.Logger,
) *journalSource {
	p := j.Progress()
	return &journalSource{
		ctx: ctx, journal: j, overlay: o, now: now, log: log,
		reader: j.NewReader(1), next: 1,
		progress: replay.Progress{Acked: p.Acked, ReplID: p.ReplID},
		fates:    fates{trimmed: make(chan struct{})},
	}
}

// Bounds implements replay.Source.
func (s *journalSource) Bounds() replay.Bounds {
	st := s.journal.Stats()
	return replay.Bounds{Trimmed: st.Trimmed, Last: max(st.Last, st.Trimmed)}
}

// Read implements replay.Source.
func (s *journalSource) Read(dst []replay.Entry, after uint64, maxEntries, maxBytes int) ([]replay.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != after+1 {
		if err := s.reader.Seek(after + 1); err != nil {
			return dst, err
		}
	}
	start := len(dst)
	for len(dst) == start {
		records, err := s.reader.Next(s.ctx, maxEntries, maxBytes)
		if err != nil {
			s.next = 0 // wherever it stands: seek next time
			return dst, err
		}
		if len(records) == 0 {
			break
		}
		for _, rec := range records {
			s.next = rec.Seq + 1
			if s.journal.IsDead(rec.Seq) {
				continue
			}
			if dst, err = s.appendEntries(dst, rec); err != nil {
				s.next = 0
				return dst[:start], err
			}
		}
	}
	return dst, nil
}

// appendEntries appends what is to be sent for a record at this time: the write;
// or, where its key's former deadline has passed, the commands that restore the
// key; or nothing, where the write's own has. Then, and for a record that can't
// be read, an entry still stands in for it, so that the fence counts it.
func (s *journalSource) appendEntries(dst []replay.Entry, rec journal.Record) ([]replay.Entry, error) {
	e, err := entry.Parse(rec.Meta, rec.Body)
	now := s.now()
	switch {
	case err != nil: // of a later version, perhaps: to send it as it stands could do anything
		if err := s.setAside(rec, "this version can't read it"); err != nil {
			return dst, err
		}
		return append(dst, replay.Entry{Seq: rec.Seq, Cmd: standIn, Repeatable: true, Uncounted: true}), nil
	case e.Stale(now):
		if err := s.setAside(rec, "its use had ended before it could be replayed"); err != nil {
			return dst, err
		}
		return append(dst, replay.Entry{Seq: rec.Seq, Cmd: standIn, Repeatable: true, Uncounted: true}), nil
	case e.Lapsed(now):
		if s.account.expire(rec.Seq) { // not again when it is read again
			s.expired.Add(1)
		}
		return append(dst, replay.Entry{Seq: rec.Seq, Cmd: lapsedForm(&e), Repeatable: true, Uncounted: true}), nil
	}
	commands := e.Write
	restored := !e.Stands(now)
	if restored {
		commands = e.Restore
	}
	start := len(dst)
	err = entry.EachCommand(commands, func(cmd []byte, _ [][]byte) error {
		dst = append(dst, replay.Entry{
			Seq: rec.Seq, Cmd: cmd, Uncounted: len(dst) > start,
			// A unit of several is as repeatable as its commands only where these
			// don't build on each other, which is not looked into.
			Repeatable: restored || e.Repeatable,
		})
		return nil
	})
	if err != nil {
		return append(dst[:start], replay.Entry{Seq: rec.Seq, Cmd: rec.Body}), nil // malformed: a dead letter
	}
	return dst, nil
}

// standIn is sent where nothing is: it changes nothing on any server.
var standIn = resp.AppendCommandStrings(nil, "ECHO", "")

// setAside makes a dead letter of a record that is not to be sent.
func (s *journalSource) setAside(rec journal.Record, reason string) error {
	if err := s.journal.DeadLetter(s.ctx, rec, reason); err != nil {
		return err
	}
	s.fates.bury(rec.Seq)
	s.enter(journal.Fate{From: rec.Seq, To: rec.Seq, Outcome: journal.OutcomeDeadLettered, Detail: reason})
	s.log.Warn("a deferred write is kept as a dead letter", slog.Uint64("seq", rec.Seq), slog.String("reason", reason))
	return nil
}

// lapsedForm is what is sent for a write whose key's deadline has passed. Where
// the write itself set the deadline, the key is deleted by it. Otherwise the key
// had the deadline from before, so that it is gone already, and anything the write
// did would bring it back: a command that changes nothing stands in for it.
func lapsedForm(e *entry.Entry) []byte {
	args, _, err := resp.ParseCommand(e.Write, nil)
	if err != nil || len(args) == 0 {
		return e.Write // malformed: a dead letter
	}
	keys, err := keysOf(args)
	if err != nil || len(keys) == 0 {
		return e.Write
	}
	key := args[keys[0]]
	if e.Sets {
		return resp.AppendCommand(nil, []byte("PEXPIREAT"), key, strconv.AppendInt(nil, e.Lapses, 10))
	}
	return resp.AppendCommand(nil, []byte("EXISTS"), key)
}

// Progress implements replay.Source.
func (s *journalSource) Progress() replay.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// SaveProgress implements replay.Source. What the journal has no room for is
// known to this process only, and its loss costs certainty, never an entry.
func (s *journalSource) SaveProgress(p replay.Progress) error {
	s.mu.Lock()
	s.progress = p
	s.mu.Unlock()
	return s.journal.Acknowledge(journal.Progress{Acked: p.Acked, ReplID: p.ReplID})
}

// DeadLetter implements replay.Source.
func (s *journalSource) DeadLetter(d replay.DeadLetter) error {
	reader := s.journal.NewReader(d.Seq)
	defer func() { _ = reader.Close() }() // it was only read from
	records, err := reader.Next(s.ctx, 1, 0)
	if err != nil {
		return err
	}
	if len(records) == 0 || records[0].Seq != d.Seq {
		return fmt.Errorf("resilient: entry %d is not in the journal", d.Seq)
	}
	reason := d.Reason.String()
	if d.Text != "" {
		reason += ": " + d.Text
	}
	if err := s.journal.DeadLetter(s.ctx, records[0], reason); err != nil {
		return err
	}
	s.fates.bury(d.Seq)
	// The server's words may quote the write: they are beside the letter alone.
	s.enter(journal.Fate{From: d.Seq, To: d.Seq, Outcome: journal.OutcomeDeadLettered, Detail: d.Reason.String()})
	s.log.Warn("a deferred write was rejected and is kept as a dead letter",
		slog.Uint64("seq", d.Seq), slog.String("reason", d.Reason.String()))
	return nil
}

// Trim implements replay.Source.
func (s *journalSource) Trim(upTo uint64, confirmed bool) error {
	s.settle(upTo, confirmed)
	if err := s.journal.Trim(s.ctx, upTo); err != nil {
		if s.ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
			return err
		}
		// The entries count as trimmed; only their disk is not free yet.
		s.log.Warn("the journal could not give disk back", slog.Any("error", err))
	}
	if s.overlay != nil {
		s.overlay.Trim(upTo)
	}
	s.fates.progressed()
	return s.rest()
}

// rest lets go of the segment that the reader is in when there is nothing left
// to read: an open file keeps its disk, although it was removed.
func (s *journalSource) rest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next <= s.Bounds().Last {
		return nil
	}
	return s.reader.Seek(s.next)
}

func (s *journalSource) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader.Close()
}
