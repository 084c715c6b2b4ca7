package topology

import "time"

// overloadHold is how long an overload counts after its latest signal. A server that is still short
// of means says so again to the next write.
const overloadHold = 5 * time.Second

// Overload is why a primary that is where it should be refuses writes. It is no fault of the topology,
// and no other node would do better. The zero value is OverloadNone.
type Overload uint8

// The kinds of overload.
const (
	OverloadNone Overload = iota
	// OverloadMemory: OOM, used memory is above maxmemory.
	OverloadMemory
	// OverloadDisk: MISCONF, the last snapshot or append-only write failed.
	OverloadDisk
	// OverloadBusy: BUSY, a script or function runs.
	OverloadBusy
	// OverloadClients: the server takes no more connections (maxclients).
	OverloadClients
)

var overloadNames = [...]string{
	OverloadNone: "none", OverloadMemory: "memory", OverloadDisk: "disk", OverloadBusy: "busy", OverloadClients: "clients",
}

// String returns the stable lower-case name of the overload.
func (o Overload) String() string { return nameOf(overloadNames[:], o) }

// overloaded notes that the primary refuses for want of means.
func (m *Machine) overloaded(kind Overload, at time.Time) {
	if kind == OverloadNone || int(kind) >= len(overloadNames) {
		return
	}
	m.overload, m.overloadAt = kind, at
}

// relieve forgets an overload of which nothing was heard for a while.
func (m *Machine) relieve(at time.Time) {
	if m.overload != OverloadNone && at.Sub(m.overloadAt) >= overloadHold {
		m.overload = OverloadNone
	}
}

// strained reports the overload that kept a probe from being answered: a primary in use that says so
// is still the primary.
func (o Outcome) strained() Overload {
	switch o {
	case OutcomeBusy:
		return OverloadBusy
	case OutcomeFull:
		return OverloadClients
	case OutcomeUnknown, OutcomeAnswered, OutcomeRefused, OutcomeTimeout, OutcomeHung, OutcomeDenied, OutcomeBroken:
	}
	return OverloadNone
}
