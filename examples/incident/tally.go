package main

import (
	"errors"
	"time"

	"github.com/holdfast-cache/holdfast/resilient"
)

// kind is one of the three kinds of operation that failed on the morning of
// the incident. The zero value is none of them.
type kind uint8

const (
	kindNone kind = iota
	kindLogin
	kindMessage
	kindAutomation
)

var (
	kinds     = [...]kind{kindLogin, kindMessage, kindAutomation}
	kindNames = [...]string{"none", "logins", "message sends", "automation triggers"}
)

// String is the kind's name in the table.
func (k kind) String() string { return kindNames[k] }

// outcome is what a write's caller was told. The zero value is unknown.
type outcome uint8

const (
	outcomeUnknown  outcome = iota
	outcomeAccepted         // no error
	outcomeRefused          // an error; nobody sends the write again
	outcomeInDoubt          // resilient.ErrInDoubt: it may or may not have been applied
)

// outcomeOf sorts the error of a write. Plain go-redis has no word for "in
// doubt": all of its errors count as refusals.
func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return outcomeAccepted
	case errors.Is(err, resilient.ErrInDoubt):
		return outcomeInDoubt
	default:
		return outcomeRefused
	}
}

// effectSort is how a write shows in Redis afterwards. The zero value is
// invalid.
type effectSort uint8

const (
	effectUnknown    effectSort = iota
	effectValue                 // the string at key equals want; applied twice looks like once
	effectField                 // the hash at key has want in field; applied twice looks like once
	effectFieldCount            // the number in the hash's field is how often it was applied
	effectCounter               // the number at key is how often all its writes were applied
	effectLog                   // the string at key has want as a line, once for each time it was applied
)

// effect is the trace that a write leaves in Redis.
type effect struct {
	sort  effectSort
	key   string
	field string
	want  string
}

// write is one attempted write: what its caller was told, and, once verify has
// looked, how often it is in Redis.
type write struct {
	kind    kind
	effect  effect
	outcome outcome
	began   phase         // when the call began
	ended   phase         // when it returned
	took    time.Duration // the longer of the write and its read-back
	unseen  bool          // accepted, and the read-back through the same client did not show it
	err     error         // why it was not accepted, or could not be read back
	applied int           // how often it is in Redis
}

// row is a line of the table: sums over writes.
type row struct {
	attempted, accepted, refused, inDoubt int
	lost                                  int // attempted and not in Redis
	lostAccepted                          int // those of them that had been accepted
	doubled                               int // how often writes are in Redis beyond the first time
	unseen                                int // read-your-writes violations
	slowest                               time.Duration
}

func (r *row) add(w *write) {
	r.attempted++
	switch w.outcome {
	case outcomeAccepted:
		r.accepted++
	case outcomeInDoubt:
		r.inDoubt++
	case outcomeRefused, outcomeUnknown:
		r.refused++
	}
	switch {
	case w.applied == 0:
		r.lost++
		if w.outcome == outcomeAccepted {
			r.lostAccepted++
		}
	case w.applied > 1:
		r.doubled += w.applied - 1
	}
	if w.unseen {
		r.unseen++
	}
	r.slowest = max(r.slowest, w.took)
}

// tally is the account of one side.
type tally struct {
	byKind           map[kind]row
	all              row
	outage           row // the writes that began in the certain outage
	acceptedInOutage int // those of them that were accepted before it ended
	misordered       int // log entries that stand elsewhere than where their worker put them
	firstErr         error
}

// count makes the account of writes that verify has looked at.
func count(writes []*write, misordered int) tally {
	t := tally{byKind: make(map[kind]row, len(kinds)), misordered: misordered}
	for _, w := range writes {
		byKind := t.byKind[w.kind]
		byKind.add(w)
		t.byKind[w.kind] = byKind
		t.all.add(w)
		if w.began == phaseOutage {
			t.outage.add(w)
			if w.ended == phaseOutage && w.outcome == outcomeAccepted {
				t.acceptedInOutage++
			}
		}
		if t.firstErr == nil {
			t.firstErr = w.err
		}
	}
	return t
}
