package command

// Class says what a command does to the data set, and with that what may become
// of it while a shard has no primary. The zero value is ClassUnknown.
type Class uint8

// The classes.
const (
	// ClassUnknown is a command, subcommand or option that the table does not
	// have. It may do anything, so it fails closed: refused with no primary.
	ClassUnknown Class = iota
	// ClassRead changes nothing: answered from the overlay where that has the
	// key, else from a replica.
	ClassRead
	// ClassBlind is a write whose reply and effect do not depend on what was
	// there before: deferrable without a base.
	ClassBlind
	// ClassAccumulating is a write whose reply or effect builds on what was there
	// before: deferrable on top of a base.
	ClassAccumulating
	// ClassConditional is a write that happens or not depending on what was there
	// before, in a form that gives the caller nothing to hold exclusively, such
	// as ZADD GT or EXPIRE NX.
	ClassConditional
	// ClassClaiming is a write whose reply may make the caller the only owner of
	// something: a lock, an element, a job. Deferred it would make two owners, so
	// it is refused.
	ClassClaiming
	// ClassScript runs code that may do anything: EVAL, EVALSHA, FCALL.
	ClassScript
	// ClassTransaction is a MULTI … EXEC unit as a whole. No single command has
	// it: the words MULTI and EXEC themselves are ClassSession.
	ClassTransaction
	// ClassPublish is a message to subscribers, which on a replica reaches only
	// that replica's own.
	ClassPublish
	// ClassAdmin changes the server, the topology or whole databases, or waits
	// for replicas: never deferred.
	ClassAdmin
	// ClassSession is about the connection that carries it, and is never allowed
	// over pooled connections.
	ClassSession
	// ClassPassthrough neither reads nor changes keys in a way that matters here
	// (PING, INFO, CONFIG GET): forwarded whatever the state.
	ClassPassthrough
)

// String is the class in words, as it appears in errors, logs and documents.
func (c Class) String() string {
	switch c {
	case ClassRead:
		return "read"
	case ClassBlind:
		return "blind write"
	case ClassAccumulating:
		return "accumulating write"
	case ClassConditional:
		return "conditional write"
	case ClassClaiming:
		return "claiming write"
	case ClassScript:
		return "script"
	case ClassTransaction:
		return "transaction"
	case ClassPublish:
		return "publish"
	case ClassAdmin:
		return "admin"
	case ClassSession:
		return "session"
	case ClassPassthrough:
		return "passthrough"
	default:
		return "unknown"
	}
}
