package resilient

import (
	"log/slog"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// account holds what the ledger is to say of entries that are not trimmed yet. It is
// safe for concurrent use.
type account struct {
	mu      sync.Mutex     // guards what follows
	runID   string         // the primary's, as the replay's session saw it
	expired []journal.Fate // ascending; each a range of entries that had lapsed
}

// setPrimary names the process of the primary that the replay talks to.
func (s *journalSource) setPrimary(runID string) {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	s.account.runID = runID
}

// expire notes an entry whose deadline had passed when it was read; false when that
// is known. Entries are read in order, and again after a broken connection.
func (a *account) expire(seq uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.expired)
	switch {
	case n > 0 && seq <= a.expired[n-1].To:
		return false
	case n > 0 && seq == a.expired[n-1].To+1:
		a.expired[n-1].To = seq
	default:
		a.expired = append(a.expired, journal.Fate{From: seq, To: seq, Outcome: journal.OutcomeExpired})
	}
	return true
}

// settled takes the lapsed entries up to upTo out, and returns them.
func (a *account) settled(upTo uint64) (expired []journal.Fate, runID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.expired) > 0 && a.expired[0].From <= upTo {
		f := a.expired[0]
		if f.To > upTo {
			a.expired[0].From = upTo + 1
			f.To = upTo
		} else {
			a.expired = a.expired[1:]
		}
		expired = append(expired, f)
	}
	return expired, a.runID
}

// settle enters into the ledger how the entries up to upTo ended, just before they
// are trimmed: as one range, and what went otherwise inside it.
func (s *journalSource) settle(upTo uint64, confirmed bool) {
	from := s.Bounds().Trimmed + 1
	expired, runID := s.account.settled(upTo)
	if from > upTo {
		return
	}
	replID := s.Progress().ReplID
	outcome := journal.OutcomeReplayed
	if !confirmed {
		outcome = journal.OutcomeUnconfirmed
	}
	s.enter(journal.Fate{From: from, To: upTo, Outcome: outcome, RunID: runID, ReplID: replID})
	for _, f := range expired {
		f.RunID, f.ReplID = runID, replID
		s.enter(f)
	}
}

// enter enters a fate into the ledger. A ledger that can't be written holds up no
// replay: Stats tells.
func (s *journalSource) enter(f journal.Fate) {
	if err := s.journal.Record(f); err != nil {
		s.log.Warn("the ledger did not take an entry", slog.Any("error", err))
	}
}
