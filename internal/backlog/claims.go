package backlog

import (
	"strconv"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// carried is the base of a key whose first entry is not sent: the next one that names
// the key takes it over.
type carried struct {
	claim replay.Claim
	from  uint64 // the entry that it is of
	used  uint64 // the entry that took it over; 0: none did yet
}

// claims are the keys that a record names, and which of them it is the first to name.
// They alias the record.
func (s *Source) claims(rec *journal.Record) []replay.Claim {
	if !s.opts.Conflicts {
		return nil
	}
	claims := claimsOf(rec)
	for i := range claims {
		if c := &claims[i]; c.First {
			delete(s.carried, string(c.Key))
		} else if p := s.carried[string(c.Key)]; p != nil && p.from < rec.Seq && (p.used == 0 || p.used >= rec.Seq) {
			p.used = rec.Seq
			c.First, c.Carried, c.Base, c.At = true, true, p.claim.Base, p.claim.At
		}
	}
	return claims
}

// skip notes that a record is not sent, as it is a dead letter.
func (s *Source) skip(rec *journal.Record) {
	if !s.opts.Conflicts {
		return
	}
	for _, c := range s.claims(rec) {
		if !c.First {
			continue
		}
		c.Key = append([]byte(nil), c.Key...)
		s.carried[string(c.Key)] = &carried{claim: c, from: rec.Seq}
	}
}

// forget lets go of bases that nobody asks for any more.
func (s *Source) forget(trimmed uint64) {
	for key, c := range s.carried {
		if c.used != 0 && c.used <= trimmed {
			delete(s.carried, key)
		}
	}
}

// claimsOf are the keys of a record by itself.
func claimsOf(rec *journal.Record) (claims []replay.Claim) {
	e, err := entry.Parse(rec.Meta, rec.Body)
	if err != nil {
		return nil
	}
	bases := make(map[uint64]basis.Basis, len(e.Bases))
	for _, b := range e.Bases {
		bases[b.Name] = b.Basis
	}
	for _, key := range keysOf(e.Write) {
		b, first := bases[basis.Name(key)]
		claims = append(claims, replay.Claim{Key: key, First: first, Base: b, At: rec.At})
	}
	return claims
}

// keysOf are the keys that commands name, each once, in the order of their first
// places.
func keysOf(commands []byte) (keys [][]byte) {
	seen := make(map[string]struct{})
	eachCommand(commands, func(_ []byte, args [][]byte) {
		places, err := command.Lookup(string(args[0])).AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
		if err != nil {
			return
		}
		for _, at := range places {
			if _, known := seen[string(args[at])]; !known {
				seen[string(args[at])] = struct{}{}
				keys = append(keys, args[at])
			}
		}
	})
	return keys
}

// A conflicted dead letter's reason names the keys that are left to the server by
// their places among those of the write, as its words stand in a list for people, and
// a later replay reads it.
const (
	conflictedKeys = "conflicted: the server's value is not what the write was based on, of key "
	conflictedEnd  = " of the write"
)

func conflictedReason(keys []int) string {
	b := []byte(conflictedKeys)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(b, int64(k)+1, 10)
	}
	return string(append(b, conflictedEnd...))
}

// conflictedPlaces reads a reason; ok is false where it is another one. all is true
// where the list was too long to be kept whole.
func conflictedPlaces(reason string) (keys map[int]bool, all, ok bool) {
	list, ok := strings.CutPrefix(reason, conflictedKeys)
	if !ok {
		return nil, false, false
	}
	list, whole := strings.CutSuffix(list, conflictedEnd)
	keys = make(map[int]bool)
	for word := range strings.SplitSeq(list, ", ") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, true, true
		}
		keys[n-1] = true
	}
	return keys, !whole, true
}

// Conflicted calls yield with the keys of the journal's dead letters that are left to
// the server: see replay.Conflicts.Left. The bytes are yield's only until it returns.
func (s *Source) Conflicted(yield func(key []byte)) error {
	return s.opts.Journal.DeadLetters(func(d journal.DeadLetter) bool {
		places, all, ok := conflictedPlaces(d.Reason)
		if !ok {
			return true
		}
		e, err := entry.Parse(d.Meta, d.Body)
		if err != nil {
			return true
		}
		for i, key := range keysOf(e.Write) {
			if all || places[i] {
				yield(key)
			}
		}
		return true
	})
}

// endOf is what the ledger and the letter say of a dead letter.
func endOf(d *replay.DeadLetter) (outcome journal.Outcome, reason string) {
	if d.Reason == replay.ReasonConflicted {
		return journal.OutcomeConflicted, conflictedReason(d.Keys)
	}
	reason = d.Reason.String()
	if d.Text != "" {
		reason += ": " + d.Text
	}
	return journal.OutcomeDeadLettered, reason
}
