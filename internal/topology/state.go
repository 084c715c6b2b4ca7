package topology

// State is where a shard stands. The zero value is StateUnknown.
type State uint8

// The states of a shard.
const (
	// StateUnknown is the state before the first probe round.
	StateUnknown State = iota
	// StateHealthy means a verified primary; writes go to it.
	StateHealthy
	// StateSuspect means there is a reason to doubt the primary that no probe round has settled
	// yet, or a contradiction (two masters) that only an operator can. Writes are deferred.
	StateSuspect
	// StateNoPrimary means nodes answer and none is a usable primary.
	StateNoPrimary
	// StateUnreachable means that no known node answers.
	StateUnreachable
	// StateReturning means a usable primary was seen, but not yet often enough, or its fence has
	// not been read yet. Writes are still deferred.
	StateReturning
	// StateReplaying means the journal is being sent to a verified primary. Writes to keys without
	// a backlog go to it too.
	StateReplaying
)

var stateNames = [...]string{
	StateUnknown: "unknown", StateHealthy: "healthy", StateSuspect: "suspect", StateNoPrimary: "no-primary",
	StateUnreachable: "unreachable", StateReturning: "returning", StateReplaying: "replaying",
}

// String returns the stable lower-case name of the state.
func (s State) String() string { return nameOf(stateNames[:], s) }

// Live reports whether writes may go to the network in this state.
func (s State) Live() bool { return s == StateHealthy || s == StateReplaying }

// Cause says why a shard is not healthy. The zero value is CauseNone.
type Cause uint8

// The causes. Those of StateSuspect tell what raised the doubt.
const (
	// CauseNone: nothing is wrong, or nothing is known yet.
	CauseNone Cause = iota
	// CauseAllReplicas: nodes answer and every one of them is a replica.
	CauseAllReplicas
	// CausePrimaryDown: the primary refuses connections or does not answer, others do.
	CausePrimaryDown
	// CauseHung: the primary accepts connections and does not answer (stopped, or busy in a script).
	CauseHung
	// CauseLoading: the primary is loading its dataset. ROLE says master meanwhile.
	CauseLoading
	// CauseMinReplicas: the primary has fewer good replicas than min-replicas-to-write.
	CauseMinReplicas
	// CauseSplitBrain: two or more nodes are masters.
	CauseSplitBrain
	// CauseWritableReplica: there is no primary and a replica accepts writes, which would be lost.
	CauseWritableReplica
	// CauseForeignPrimary: the only master is of unknown lineage, at an address that was not the
	// last primary's.
	CauseForeignPrimary
	// CauseNoAnswer: no node answers, and not because it refuses.
	CauseNoAnswer
	// CauseDenied: nodes answer, but our user may neither ROLE nor INFO.
	CauseDenied
	// CauseWriteRefused: a server refused a write as not being a primary; not probed yet.
	CauseWriteRefused
	// CauseAmbiguous: connections to the primary fail without proof of anything.
	CauseAmbiguous
	// CauseReplayParked: the primary is fine, but replay cannot go on by itself.
	CauseReplayParked
	// CauseQuorumLost: the primary is down, and the Sentinels that answer are too few to replace it.
	CauseQuorumLost
	// CauseSlotsUncovered: in a Cluster nobody serves this shard's slots, or the Cluster refuses all
	// writes because nobody serves another's.
	CauseSlotsUncovered
	// CausePartitioned: the primary does not answer us, and others hear it: they go on writing.
	CausePartitioned
	// CausePinned: there is a usable primary, at none of the addresses that writes can go to.
	CausePinned
	// CauseUnnamed: the only master is not the one that the Sentinels, or the Cluster, name.
	CauseUnnamed
)

var causeNames = [...]string{
	CauseNone: "none", CauseAllReplicas: "all-replicas", CausePrimaryDown: "primary-down", CauseHung: "hung",
	CauseLoading: "loading", CauseMinReplicas: "min-replicas", CauseSplitBrain: "split-brain",
	CauseWritableReplica: "writable-replica", CauseForeignPrimary: "foreign-primary", CauseNoAnswer: "no-answer",
	CauseDenied: "denied", CauseWriteRefused: "write-refused", CauseAmbiguous: "ambiguous",
	CauseReplayParked: "replay-parked", CauseQuorumLost: "quorum-lost", CauseSlotsUncovered: "slots-uncovered",
	CausePartitioned: "partitioned", CausePinned: "pinned", CauseUnnamed: "unnamed",
}

// String returns the stable lower-case name of the cause.
func (c Cause) String() string { return nameOf(causeNames[:], c) }

// Role is what a node says of itself. The zero value is RoleUnknown.
type Role uint8

// The roles.
const (
	RoleUnknown Role = iota
	RoleMaster
	RoleReplica
)

var roleNames = [...]string{RoleUnknown: "unknown", RoleMaster: "master", RoleReplica: "replica"}

// String returns the stable lower-case name of the role.
func (r Role) String() string { return nameOf(roleNames[:], r) }

// Outcome is how a probe ended. The zero value, OutcomeUnknown, counts as not answered.
type Outcome uint8

// The outcomes. Only OutcomeAnswered makes the other fields of a NodeReport meaningful.
const (
	OutcomeUnknown Outcome = iota
	// OutcomeAnswered: the node told its role.
	OutcomeAnswered
	// OutcomeRefused: nothing listens at the address.
	OutcomeRefused
	// OutcomeTimeout: no connection in time.
	OutcomeTimeout
	// OutcomeHung: connected, but no reply in time.
	OutcomeHung
	// OutcomeBusy: the server is blocked by a script or function (BUSY).
	OutcomeBusy
	// OutcomeDenied: wrong credentials, or neither ROLE nor INFO is allowed to our user.
	OutcomeDenied
	// OutcomeBroken: the connection failed in another way.
	OutcomeBroken
	// OutcomeFull: the server takes no more connections (maxclients), so it could not be asked.
	OutcomeFull
)

var outcomeNames = [...]string{
	OutcomeUnknown: "unknown", OutcomeAnswered: "answered", OutcomeRefused: "refused", OutcomeTimeout: "timeout",
	OutcomeHung: "hung", OutcomeBusy: "busy", OutcomeDenied: "denied", OutcomeBroken: "broken",
	OutcomeFull: "full",
}

// String returns the stable lower-case name of the outcome.
func (o Outcome) String() string { return nameOf(outcomeNames[:], o) }

// cause says what the outcome of the primary's own probe means for the shard.
func (o Outcome) cause() Cause {
	switch o {
	case OutcomeRefused, OutcomeTimeout, OutcomeBroken, OutcomeFull, OutcomeUnknown:
		return CausePrimaryDown
	case OutcomeHung, OutcomeBusy:
		return CauseHung
	case OutcomeDenied:
		return CauseDenied
	case OutcomeAnswered:
		return CauseNone
	}
	return CausePrimaryDown
}

// SignalKind is what the write path has seen. The zero value, SignalUnknown, is ignored.
type SignalKind uint8

// The kinds of signals.
const (
	SignalUnknown SignalKind = iota
	// SignalNotWritable: READONLY, UNBLOCKED, MASTERDOWN; the write was certainly not applied.
	SignalNotWritable
	// SignalLoading: LOADING; certainly not applied.
	SignalLoading
	// SignalMinReplicas: NOREPLICAS; certainly not applied.
	SignalMinReplicas
	// SignalDialRefused: no connection could be made (of a single attempt); certainly not applied.
	SignalDialRefused
	// SignalAmbiguous: EOF, reset, timeout, an ended context; the write may have been applied.
	SignalAmbiguous
	// SignalHung: the breaker of the write path has opened on hangs.
	SignalHung
	// SignalUncovered: CLUSTERDOWN; certainly not applied.
	SignalUncovered
	// SignalOverload: the primary is there and refuses for want of means, which Signal.Overload
	// tells. It never moves the state.
	SignalOverload
)

var signalNames = [...]string{
	SignalUnknown: "unknown", SignalNotWritable: "not-writable", SignalLoading: "loading",
	SignalMinReplicas: "min-replicas", SignalDialRefused: "dial-refused", SignalAmbiguous: "ambiguous",
	SignalHung: "hung", SignalUncovered: "uncovered", SignalOverload: "overload",
}

// String returns the stable lower-case name of the kind.
func (k SignalKind) String() string { return nameOf(signalNames[:], k) }

// cause is what a live shard is suspected of after such a signal; false for signals that are no
// reason to stop using the primary by themselves.
func (k SignalKind) cause() (Cause, bool) {
	switch k {
	case SignalNotWritable:
		return CauseWriteRefused, true
	case SignalLoading:
		return CauseLoading, true
	case SignalMinReplicas:
		return CauseMinReplicas, true
	case SignalDialRefused:
		return CausePrimaryDown, true
	case SignalHung:
		return CauseHung, true
	case SignalUncovered:
		return CauseSlotsUncovered, true
	case SignalUnknown, SignalAmbiguous, SignalOverload:
		return CauseNone, false
	}
	return CauseNone, false
}

// StopReason is why a replay ended without having drained. The zero value, StopUnknown, is taken
// for StopBroken.
type StopReason uint8

// The reasons.
const (
	StopUnknown StopReason = iota
	// StopNotPrimary: the node refused as a replica (READONLY) or turned out to be another one.
	StopNotPrimary
	// StopBroken: the connection was lost; the node has to be verified before the next attempt.
	StopBroken
	// StopParked: replay can't go on by itself (the fence is refused, the journal is not ours). It
	// is not started again for this primary before RetryReplay.
	StopParked
)

var stopNames = [...]string{
	StopUnknown: "unknown", StopNotPrimary: "not-primary", StopBroken: "broken", StopParked: "parked",
}

// String returns the stable lower-case name of the reason.
func (r StopReason) String() string { return nameOf(stopNames[:], r) }

// nameOf looks a name up; values that no constant has are "invalid".
func nameOf[T ~uint8](names []string, v T) string {
	if int(v) >= len(names) {
		return "invalid"
	}
	return names[v]
}
