package semantics

import (
	"slices"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// Healthy is what becomes of a command while the primary takes writes and no key has
// deferred ones. The zero value is invalid.
type Healthy uint8

// What becomes of a command in health.
const (
	// HealthyForwarded: sent to the primary; go-redis may repeat it.
	HealthyForwarded Healthy = iota + 1
	// HealthyOnce: sent to the primary, and not again when no answer comes.
	HealthyOnce
	// HealthyRepeatable: sent to the primary, and again when no answer comes, since
	// repetition changes neither state nor reply.
	HealthyRepeatable
	// HealthyNotSupported: refused in every state.
	HealthyNotSupported
)

// NoPrimary is what becomes of a command while its shard has no primary. The zero
// value is invalid.
type NoPrimary uint8

// What becomes of a command without a primary.
const (
	// NoPrimaryAny: sent to whatever server answers.
	NoPrimaryAny NoPrimary = iota + 1
	// NoPrimaryRead: answered by the overlay if one of its keys is pending, else by a
	// replica.
	NoPrimaryRead
	// NoPrimaryReadAny: it computes keys from what it reads; answered by the overlay if
	// any key is pending, else by a replica.
	NoPrimaryReadAny
	// NoPrimaryUnseen: answered by a replica; refused if one of its keys is pending.
	NoPrimaryUnseen
	// NoPrimaryReplica: a read without keys, answered by a replica.
	NoPrimaryReplica
	// NoPrimaryMerged: a read over all keys, answered by a replica and the overlay.
	NoPrimaryMerged
	// NoPrimaryUnmerged: a read over all keys, answered by a replica; refused if any
	// key is pending.
	NoPrimaryUnmerged
	// NoPrimaryDeferred: executed by the overlay and kept in the journal.
	NoPrimaryDeferred
	// NoPrimaryRefused: refused with ErrNoPrimary.
	NoPrimaryRefused
	// NoPrimaryNotSupported: refused in every state.
	NoPrimaryNotSupported
)

// Replaying is what becomes of a command while a primary takes writes but keys have
// writes that are not safe there yet. The zero value is invalid.
type Replaying uint8

// What becomes of a command during a replay.
const (
	// ReplayingForwarded: sent to the primary.
	ReplayingForwarded Replaying = iota + 1
	// ReplayingRead: answered by the overlay if one of its keys is pending, else by
	// the primary.
	ReplayingRead
	// ReplayingReadAny: it computes keys from what it reads; answered by the overlay if
	// any key is pending, which is so.
	ReplayingReadAny
	// ReplayingUnseen: answered by the primary; refused if one of its keys is pending.
	ReplayingUnseen
	// ReplayingMerged: a read over all keys, answered by the primary and the overlay.
	ReplayingMerged
	// ReplayingUnmerged: a read over all keys, answered by the primary; refused if any
	// key is pending.
	ReplayingUnmerged
	// ReplayingQueued: deferred too if one of its keys is pending, else forwarded.
	ReplayingQueued
	// ReplayingKey: waits until none of its keys is pending, then forwarded.
	ReplayingKey
	// ReplayingBarrier: waits until no key at all is pending, then forwarded.
	ReplayingBarrier
	// ReplayingNotSupported: refused in every state.
	ReplayingNotSupported
)

// Behaviour is what becomes of one form in each state, unless a rule says otherwise.
type Behaviour struct {
	Healthy   Healthy
	NoPrimary NoPrimary
	Replaying Replaying

	// SentAs is the name under which a replica is asked, when it is another one.
	SentAs string
	// Estimated says that the reply of a deferred write is never exact.
	Estimated bool
	// Counter says that a deferred write needs to know its base.
	Counter bool
	// Why says why a command is refused; empty when it is not.
	Why string
}

// merged are the reads over all keys to which the overlay adds its own.
var merged = map[string]bool{"keys": true, "scan": true, "dbsize": true, "randomkey": true}

// Behave derives what becomes of a form from the command table. It follows the order
// in which the router asks: what may never pass, what reads, what writes.
func (f Form) Behave() Behaviour {
	class := f.Class()
	switch {
	case class == command.ClassSession:
		return Behaviour{
			Healthy: HealthyNotSupported, NoPrimary: NoPrimaryNotSupported, Replaying: ReplayingNotSupported,
		}
	case !f.spec.MayWrite(), class == command.ClassPassthrough, class == command.ClassRead:
		return f.behaveRead(class)
	}
	b := Behaviour{Healthy: HealthyOnce, NoPrimary: NoPrimaryRefused, Replaying: ReplayingForwarded}
	if f.spec.Repeatable(f.bytes) {
		b.Healthy = HealthyRepeatable
	}
	keys, _ := f.Keys() // a form whose keys can't be told has none, and fails its test
	switch {
	case f.spec.Deferrable(f.bytes):
		b.NoPrimary, b.Replaying = NoPrimaryDeferred, ReplayingQueued
		b.Estimated, b.Counter = f.spec.Estimated(f.bytes), f.spec.Counter()
		return b
	case f.spec.Barrier(f.bytes):
		b.Replaying = ReplayingBarrier
	case len(keys) > 0:
		b.Replaying = ReplayingKey
	}
	b.Why = reasons[class]
	return b
}

func (f Form) behaveRead(class command.Class) Behaviour {
	b := Behaviour{Healthy: HealthyForwarded}
	if f.spec.MayWrite() || f.spec.Container() {
		b.Healthy = HealthyOnce // by the name alone it could be a write
	}
	if name := f.spec.ReplicaName(); name != f.spec.Name && class == command.ClassRead {
		b.SentAs = strings.ToUpper(name)
	}
	keys, _ := f.Keys() // as in Behave
	switch {
	case class == command.ClassPassthrough:
		b.NoPrimary, b.Replaying = NoPrimaryAny, ReplayingForwarded
	case merged[f.spec.Name]:
		b.NoPrimary, b.Replaying = NoPrimaryMerged, ReplayingMerged
	case f.spec.Keyspace():
		b.NoPrimary, b.Replaying = NoPrimaryUnmerged, ReplayingUnmerged
	case len(keys) == 0:
		b.NoPrimary, b.Replaying = NoPrimaryReplica, ReplayingForwarded
	case f.computesKeys():
		b.NoPrimary, b.Replaying = NoPrimaryReadAny, ReplayingReadAny
	case f.spec.Served():
		b.NoPrimary, b.Replaying = NoPrimaryRead, ReplayingRead
	default:
		b.NoPrimary, b.Replaying = NoPrimaryUnseen, ReplayingUnseen
	}
	return b
}

// computesKeys reports whether a read looks at keys whose names it makes of what it
// reads: SORT by a pattern.
func (f Form) computesKeys() bool {
	if name := f.spec.Name; name != "sort" && name != "sort_ro" {
		return false
	}
	return slices.ContainsFunc(f.Args[1:], func(arg string) bool { return strings.Contains(arg, "*") })
}

// reasons say why a command is refused, by its class.
var reasons = map[command.Class]string{
	command.ClassBlind:        "the overlay does not execute it",
	command.ClassAccumulating: "the overlay does not execute it",
	command.ClassConditional:  "the overlay does not execute it",
	command.ClassClaiming:     "two callers could win",
	command.ClassScript:       "a script may do anything",
	command.ClassPublish:      "it would reach the subscribers of one replica",
	command.ClassAdmin:        "it concerns the server",
	command.ClassUnknown:      "it may write",
}

// String is the healthy column of the document.
func (h Healthy) String() string {
	switch h {
	case HealthyForwarded:
		return "forwarded"
	case HealthyOnce:
		return "forwarded, once"
	case HealthyRepeatable:
		return "forwarded, repeatable"
	case HealthyNotSupported:
		return "not supported"
	}
	return "invalid"
}

// String is the replaying column of the document.
func (r Replaying) String() string {
	switch r {
	case ReplayingForwarded:
		return "forwarded"
	case ReplayingRead:
		return "key pending: overlay; else forwarded"
	case ReplayingReadAny:
		return "any key pending: overlay; else forwarded"
	case ReplayingUnseen:
		return "key pending: refused; else forwarded"
	case ReplayingMerged:
		return "primary and overlay, merged"
	case ReplayingUnmerged:
		return "any key pending: refused; else forwarded"
	case ReplayingQueued:
		return "key pending: queues behind it; else forwarded"
	case ReplayingKey:
		return "waits for its key, then forwarded"
	case ReplayingBarrier:
		return "waits for the whole drain, then forwarded"
	case ReplayingNotSupported:
		return "not supported"
	}
	return "invalid"
}

// String is the no-primary column of the document, but for what the other fields of
// a Behaviour add.
func (n NoPrimary) String() string {
	switch n {
	case NoPrimaryAny:
		return "any server that answers"
	case NoPrimaryRead:
		return "key pending: overlay; else replica"
	case NoPrimaryReadAny:
		return "any key pending: overlay; else replica"
	case NoPrimaryUnseen:
		return "key pending: refused; else replica"
	case NoPrimaryReplica:
		return "replica"
	case NoPrimaryMerged:
		return "replica and overlay, merged"
	case NoPrimaryUnmerged:
		return "any key pending: refused; else replica"
	case NoPrimaryDeferred:
		return "deferred"
	case NoPrimaryRefused:
		return "refused"
	case NoPrimaryNotSupported:
		return "not supported"
	}
	return "invalid"
}

// WithoutPrimary is the no-primary column of the document.
func (b Behaviour) WithoutPrimary() string {
	text := b.NoPrimary.String()
	switch {
	case b.NoPrimary == NoPrimaryRefused:
		return text + ": " + b.Why
	case b.Estimated:
		return text + ", estimated"
	case b.Counter:
		return text + ", exact; refused while no server tells the base"
	case b.NoPrimary == NoPrimaryDeferred:
		return text + ", exact"
	case b.SentAs != "":
		return text + ", as " + b.SentAs
	}
	return text
}
