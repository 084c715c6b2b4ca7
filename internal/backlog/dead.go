package backlog

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// bury keeps a dead letter: with reason beside it, and detail for everybody else.
func (s *Source) bury(rec journal.Record, outcome journal.Outcome, reason, detail string) error {
	if err := s.opts.Journal.DeadLetter(s.lasting(), rec, reason); err != nil {
		return err
	}
	s.buried(rec, outcome, detail)
	return nil
}

// buried tells of a dead letter that is kept.
func (s *Source) buried(rec journal.Record, outcome journal.Outcome, detail string) {
	s.enter(journal.Fate{From: rec.Seq, To: rec.Seq, Outcome: outcome, Detail: detail})
	if s.opts.Hooks.Dead != nil {
		s.opts.Hooks.Dead(rec.Seq, detail)
	}
}

// lasting is for what has to be kept although the owner is about to end: he closes the
// journal when the replay has.
func (s *Source) lasting() context.Context { return context.WithoutCancel(s.ctx) }

// DeadLetter implements replay.Source.
func (s *Source) DeadLetter(d replay.DeadLetter) error {
	err := s.keep(d)
	if err != nil && d.Passed {
		s.owed.add(d)
	}
	return err
}

// keep is DeadLetter, of which nothing is remembered.
func (s *Source) keep(d replay.DeadLetter) error {
	reader := s.opts.Journal.NewReader(d.Seq)
	defer func() { _ = reader.Close() }() // it was only read from
	records, err := reader.Next(s.lasting(), 1, 0)
	if err != nil {
		return err
	}
	if len(records) == 0 || records[0].Seq != d.Seq {
		return fmt.Errorf("backlog: entry %d is not in the journal, and can't be made a dead letter", d.Seq)
	}
	outcome, reason := endOf(&d)
	return s.bury(records[0], outcome, reason, d.Reason.String())
}

// DeadLetters implements replay.Burier.
func (s *Source) DeadLetters(all []replay.DeadLetter) error {
	if len(all) == 0 {
		return nil
	}
	reader := s.opts.Journal.NewReader(all[0].Seq)
	defer func() { _ = reader.Close() }() // it was only read from
	for len(all) > 0 {
		records, err := reader.Next(s.ctx, 1024, 1<<20)
		if err != nil {
			return err
		}
		var letters []journal.DeadLetter
		n := 0
		for i := range records {
			if n < len(all) && records[i].Seq == all[n].Seq {
				_, reason := endOf(&all[n])
				letters = append(letters, journal.DeadLetter{Record: records[i], Reason: reason})
				n++
			}
		}
		if len(records) == 0 || n < len(all) && all[n].Seq < records[len(records)-1].Seq {
			return fmt.Errorf("backlog: entry %d is not in the journal, and can't be made a dead letter", all[n].Seq)
		}
		if err := s.opts.Journal.KeepDead(s.ctx, letters...); err != nil {
			return err
		}
		for i := range letters {
			outcome, _ := endOf(&all[i])
			s.buried(letters[i].Record, outcome, all[i].Reason.String())
		}
		all = all[n:]
	}
	return nil
}

// owed are dead letters that could not be kept, the disk being full for instance, and of
// which nothing else tells: their entries' fence has gone past them. Until they are kept
// nothing is trimmed, which the ledger would call replayed.
type owed struct {
	mu  sync.Mutex // guards all
	all []replay.DeadLetter
}

func (o *owed) add(d replay.DeadLetter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, d)
}

// settled is an error if some are owed still.
func (o *owed) settled() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.all); n > 0 {
		return fmt.Errorf("backlog: %d writes that the server rejected could not be kept as dead letters", n)
	}
	return nil
}

// keepOwed keeps what is owed.
func (s *Source) keepOwed() error {
	s.owed.mu.Lock()
	defer s.owed.mu.Unlock()
	for len(s.owed.all) > 0 {
		if err := s.keep(s.owed.all[0]); err != nil {
			return err
		}
		s.owed.all = s.owed.all[1:]
	}
	s.owed.all = nil
	return nil
}
