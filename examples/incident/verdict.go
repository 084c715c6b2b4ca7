package main

import (
	"fmt"

	"github.com/holdfast-cache/holdfast/resilient"
)

// report is everything that the run ended with.
type report struct {
	plain, holdfast tally
	stats           resilient.Stats // of the Holdfast client, after its flush
	flushErr        error           // why the backlog could not be flushed
	claims          *claims
	reenacted       bool // the outage was made here, not on somebody's deployment
	cutOff          bool // Holdfast's last operations did not end in time
}

// faults says in sentences what Holdfast did wrong; nil when it kept its
// promise.
func (r *report) faults() []string {
	var faults []string
	fault := func(n int, format string, args ...any) {
		if n > 0 {
			faults = append(faults, fmt.Sprintf(format, append([]any{n}, args...)...))
		}
	}
	h := r.holdfast
	fault(h.all.lost, "Holdfast lost %d writes (%d of them had been accepted)", h.all.lostAccepted)
	fault(h.all.doubled, "Holdfast applied writes twice: %d times")
	fault(h.all.unseen, "Holdfast did not show %d accepted writes to the one who made them")
	fault(h.all.refused, "Holdfast refused %d writes that can be deferred")
	fault(h.misordered, "Holdfast left %d log entries out of order")
	fault(int(r.claims.wrongGrants.Load()), "Holdfast answered %d locks or queue reads that only a primary can grant")
	fault(int(r.claims.wrongErrors.Load()), "Holdfast refused %d locks or queue reads with another error than a CommandError that is ErrNoPrimary")
	fault(r.stats.Entries, "%d deferred writes are still in Holdfast's journal")
	fault(int(r.stats.DeadLettered), "%d deferred writes were rejected by the server")
	if r.flushErr != nil {
		faults = append(faults, fmt.Sprintf("the backlog could not be flushed: %v", r.flushErr))
	}
	if len(faults) > 0 && h.firstErr != nil {
		faults = append(faults, fmt.Sprintf("the first error of a deferrable write or its read-back was: %v", h.firstErr))
	}
	return faults
}

// flaws says in sentences why the run shows nothing: there was no outage to
// survive, or not enough of a machine. On somebody's deployment no outage is
// made, so none is missed.
func (r *report) flaws() []string {
	var flaws []string
	if r.cutOff {
		flaws = append(flaws, fmt.Sprintf("operations through Holdfast had to be cut off %v after the end: "+
			"their calls hang, or this machine can't keep up with -rate", finishLimit))
	}
	if !r.reenacted {
		return flaws
	}
	if r.plain.outage.attempted == 0 || r.holdfast.outage.attempted == 0 {
		flaws = append(flaws, "no write was attempted in the outage: raise -rate or -outage")
	}
	if n := r.plain.acceptedInOutage; n > 0 {
		flaws = append(flaws, fmt.Sprintf("a primary took %d plain writes while every server was to be a replica", n))
	}
	if r.holdfast.outage.accepted > 0 && r.stats.Deferred == 0 {
		flaws = append(flaws, "Holdfast deferred no write, so nothing was to be survived")
	}
	return flaws
}

// verdict is the last word, and the exit code.
func (r *report) verdict() (lines []string, code int) {
	for _, f := range r.flaws() {
		lines = append(lines, "VERDICT  the demonstration failed: "+f)
	}
	for _, f := range r.faults() {
		lines = append(lines, "VERDICT  "+f)
	}
	if len(lines) > 0 {
		return lines, exitFailed
	}
	h, p := r.holdfast, r.plain
	kept := fmt.Sprintf("Holdfast: all %d writes accepted, each of them in Redis exactly once, 0 lost, 0 doubled.", h.all.attempted)
	if h.all.inDoubt > 0 {
		kept = fmt.Sprintf("Holdfast: all %d writes are in Redis exactly once, 0 lost, 0 doubled; it answered %d that they were in doubt.",
			h.all.attempted, h.all.inDoubt)
	}
	if !r.reenacted {
		return []string{
			"VERDICT  " + kept,
			fmt.Sprintf("         Plain go-redis lost %d of %d.", p.all.lost, p.all.attempted),
		}, exitKept
	}
	return []string{
		"VERDICT  " + kept,
		fmt.Sprintf("         Plain go-redis lost %d of the %d writes of the outage.", p.outage.lost, p.outage.attempted),
	}, exitKept
}
