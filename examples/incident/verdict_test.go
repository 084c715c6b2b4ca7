package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/resilient"
)

// survived is the report of a run in which all went well.
func survived() *report {
	return &report{
		plain: tally{
			all:    row{attempted: 30, accepted: 20, refused: 10, lost: 10},
			outage: row{attempted: 10, refused: 10, lost: 10},
		},
		holdfast: tally{
			all:    row{attempted: 30, accepted: 30},
			outage: row{attempted: 10, accepted: 10},
		},
		stats:     resilient.Stats{Deferred: 10, Replayed: 10},
		claims:    &claims{},
		reenacted: true,
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name   string
		change func(*report)
		code   int
		says   string
	}{
		{"all well", func(*report) {}, exitKept, "lost 10 of the 10 writes of the outage"},
		{"in doubt but there", func(r *report) { r.holdfast.all.accepted, r.holdfast.all.inDoubt = 29, 1 }, exitKept, "1 that they were in doubt"},
		{"a loss", func(r *report) { r.holdfast.all.lost = 1 }, exitFailed, "lost 1 writes"},
		{"a doubling", func(r *report) { r.holdfast.all.doubled = 1 }, exitFailed, "applied writes twice: 1"},
		{"a violation", func(r *report) { r.holdfast.all.unseen = 1 }, exitFailed, "did not show 1 accepted"},
		{"a refusal", func(r *report) { r.holdfast.all.refused = 1 }, exitFailed, "refused 1 writes"},
		{"disorder", func(r *report) { r.holdfast.misordered = 1 }, exitFailed, "1 log entries out of order"},
		{"a lock for two", func(r *report) { r.claims.wrongGrants.Add(1) }, exitFailed, "answered 1 locks"},
		{"an untyped refusal", func(r *report) { r.claims.wrongErrors.Add(1) }, exitFailed, "refused 1 locks"},
		{"a backlog", func(r *report) { r.stats.Entries = 1 }, exitFailed, "1 deferred writes are still"},
		{"a dead letter", func(r *report) { r.stats.DeadLettered = 1 }, exitFailed, "1 deferred writes were rejected"},
		{"a failed flush", func(r *report) { r.flushErr = errors.New("too slow") }, exitFailed, "could not be flushed: too slow"},
		{"no outage", func(r *report) { r.plain.acceptedInOutage = 1 }, exitFailed, "a primary took 1 plain writes"},
		{"an overload", func(r *report) { r.cutOff = true }, exitFailed, "had to be cut off"},
		{"an overload on a visit", func(r *report) { r.cutOff, r.reenacted = true, false }, exitFailed, "had to be cut off"},
		{"an idle outage", func(r *report) { r.plain.outage = row{} }, exitFailed, "no write was attempted"},
		{"nothing deferred", func(r *report) { r.stats.Deferred = 0 }, exitFailed, "deferred no write"},
		{"a visit without outage", func(r *report) {
			r.reenacted, r.stats = false, resilient.Stats{}
			r.plain, r.holdfast = tally{all: row{attempted: 5, accepted: 5}}, tally{all: row{attempted: 5, accepted: 5}}
		}, exitKept, "Plain go-redis lost 0 of 5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := survived()
			test.change(r)
			lines, code := r.verdict()
			text := strings.Join(lines, "\n")
			if code != test.code || !strings.Contains(text, test.says) {
				t.Errorf("exit code %d, want %d; said %q, want it to say %q", code, test.code, text, test.says)
			}
		})
	}
}
