package main

import "sync/atomic"

// phase is the part of the story that is being told. The zero value is unknown.
type phase uint32

const (
	phaseUnknown   phase = iota
	phaseHealthy         // a primary takes writes
	phaseCycling         // REPLICAOF is on its way to the primary
	phaseOutage          // every server is a replica, for certain
	phasePromoting       // another node is being promoted
	phaseReplaying       // there is a primary again, deferred writes are on their way to it
	phaseDrained         // no deferred write is left
	phaseVisiting        // on somebody's deployment: its servers tell their own story
)

var phaseNames = [...]string{
	"unknown", "healthy", "cycling", "OUTAGE", "promoting", "replaying", "drained", "visiting",
}

// String is the phase's name in the timeline.
func (p phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return phaseNames[phaseUnknown]
}

// phaseClock holds the present phase. It is safe for concurrent use.
type phaseClock struct{ now atomic.Uint32 }

func (c *phaseClock) set(p phase)  { c.now.Store(uint32(p)) }
func (c *phaseClock) phase() phase { return phase(c.now.Load()) }
