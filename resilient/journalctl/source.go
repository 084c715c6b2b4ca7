package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// source is a journal as the replay reads it. It does what the client does with
// one of its own, but for the overlay. Safe for concurrent use.
type source struct {
	ctx     context.Context
	journal *journal.Journal
	db      int // of every record
	now     func() time.Time

	mu       sync.Mutex // guards what follows
	reader   *journal.Reader
	next     uint64 // the sequence that reader is at; 0: seek
	progress replay.Progress
	runID    string
	expired  []journal.Fate // of entries that are not trimmed yet, ascending
	count    map[formKind]int
}

func newSource(ctx context.Context, j *journal.Journal, db int, now func() time.Time) *source {
	p := j.Progress()
	return &source{
		ctx: ctx, journal: j, db: db, now: now, reader: j.NewReader(1), next: 1,
		progress: replay.Progress{Acked: p.Acked, ReplID: p.ReplID}, count: make(map[formKind]int),
	}
}

// Bounds implements replay.Source.
func (s *source) Bounds() replay.Bounds {
	st := s.journal.Stats()
	return replay.Bounds{Trimmed: st.Trimmed, Last: max(st.Last, st.Trimmed)}
}

// Read implements replay.Source.
func (s *source) Read(dst []replay.Entry, after uint64, maxEntries, maxBytes int) ([]replay.Entry, error) {
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
			s.next = 0
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

// standIn is sent where nothing is, so that the fence counts the entry: it changes
// nothing on any server.
var standIn = resp.AppendCommandStrings(nil, "ECHO", "")

const uselessReason = "its use had ended before it could be replayed"

// appendEntries appends what is to be sent for a record at this time.
func (s *source) appendEntries(dst []replay.Entry, rec journal.Record) ([]replay.Entry, error) {
	if rec.DB != s.db {
		return dst, fmt.Errorf("write %d is of database %d, those before it of %d: export it and send it by hand", rec.Seq, rec.DB, s.db)
	}
	w := readWrite(rec)
	f := formOf(w, s.now())
	switch f.kind {
	case formUnreadable:
		return append(dst, replay.Entry{Seq: rec.Seq, Cmd: rec.Body}), nil // malformed: a dead letter
	case formUseless:
		if err := s.journal.DeadLetter(s.ctx, rec, uselessReason); err != nil {
			return dst, err
		}
		s.count[formUseless]++
		f.commands = nil
		if err := s.journal.Record(journal.Fate{From: rec.Seq, To: rec.Seq, Outcome: journal.OutcomeDeadLettered, Detail: uselessReason}); err != nil {
			return dst, err
		}
	case formExpired:
		s.expire(rec.Seq)
	case formWrite, formRestore:
		start := len(dst)
		err := entry.EachCommand(f.commands, func(cmd []byte, _ [][]byte) error {
			dst = append(dst, replay.Entry{
				Seq: rec.Seq, Cmd: cmd, Uncounted: len(dst) > start,
				Repeatable: f.kind == formRestore || w.entry.Repeatable,
			})
			return nil
		})
		if err != nil {
			return append(dst[:start], replay.Entry{Seq: rec.Seq, Cmd: rec.Body}), nil // malformed: a dead letter
		}
		return dst, nil
	}
	if len(f.commands) == 0 {
		f.commands = standIn
	}
	return append(dst, replay.Entry{Seq: rec.Seq, Cmd: f.commands, Repeatable: true, Uncounted: true}), nil
}

// expire notes an expired entry, once however often it is read.
func (s *source) expire(seq uint64) {
	if n := len(s.expired); n == 0 || seq > s.expired[n-1].To {
		s.expired = append(s.expired, journal.Fate{From: seq, To: seq, Outcome: journal.OutcomeExpired})
		s.count[formExpired]++
	}
}

// Progress implements replay.Source.
func (s *source) Progress() replay.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// SaveProgress implements replay.Source.
func (s *source) SaveProgress(p replay.Progress) error {
	s.mu.Lock()
	s.progress = p
	runID := s.runID
	s.mu.Unlock()
	return s.journal.Acknowledge(journal.Progress{Acked: p.Acked, ReplID: p.ReplID, RunID: runID})
}

// DeadLetter implements replay.Source.
func (s *source) DeadLetter(d replay.DeadLetter) error {
	reader := s.journal.NewReader(d.Seq)
	defer func() { _ = reader.Close() }() // it was only read from
	records, err := reader.Next(s.ctx, 1, 0)
	if err != nil {
		return err
	}
	if len(records) == 0 || records[0].Seq != d.Seq {
		return fmt.Errorf("write %d is not in the journal", d.Seq)
	}
	reason := d.Reason.String()
	if d.Text != "" {
		reason += ": " + d.Text
	}
	if err := s.journal.DeadLetter(s.ctx, records[0], reason); err != nil {
		return err
	}
	// The server's words may quote the write: they are beside the letter alone.
	return s.journal.Record(journal.Fate{From: d.Seq, To: d.Seq, Outcome: journal.OutcomeDeadLettered, Detail: d.Reason.String()})
}

// Trim implements replay.Source: first the ledger is told.
func (s *source) Trim(upTo uint64, confirmed bool) error {
	from := s.Bounds().Trimmed + 1
	s.mu.Lock()
	var expired []journal.Fate
	for len(s.expired) > 0 && s.expired[0].To <= upTo {
		expired = append(expired, s.expired[0])
		s.expired = s.expired[1:]
	}
	runID, replID := s.runID, s.progress.ReplID
	s.mu.Unlock()
	if from <= upTo {
		how := journal.OutcomeReplayed
		if !confirmed {
			how = journal.OutcomeUnconfirmed
		}
		for _, f := range append([]journal.Fate{{From: from, To: upTo, Outcome: how}}, expired...) {
			f.RunID, f.ReplID = runID, replID
			if err := s.journal.Record(f); err != nil {
				return err
			}
		}
	}
	return s.journal.Trim(s.ctx, upTo)
}

// met notes the primary that a session talks to.
func (s *source) met(runID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runID = runID
}

// counted is how many entries went otherwise than sent.
func (s *source) counted(kind formKind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[kind]
}

func (s *source) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader.Close()
}
