package resilient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The errors a caller may meet beside those of go-redis. All of them are
// reached with errors.Is; most arrive inside a [*CommandError]. None of them
// ever matches redis.Nil.
var (
	// ErrNoPrimary says that the shard has no usable primary and that the
	// command was refused: it was not applied and will not be.
	ErrNoPrimary = errors.New("resilient: no primary can take this write")

	// ErrInDoubt says that it is not known whether the write was applied. It
	// was sent, or handed to the disk, and no answer came back; or one that tells
	// nothing, as others had deferred writes of the same key by then. It is never
	// repeated by this package; whether it may be repeated is the caller's
	// knowledge.
	ErrInDoubt = errors.New("resilient: the write is in doubt: it may or may not have been applied")

	// ErrJournalFull says that the journal has reached Options.MaxJournalBytes
	// or Options.MaxEntries, or that the disk is full. The write was refused.
	ErrJournalFull = errors.New("resilient: the journal is full")

	// ErrJournalFailed says that the disk failed below the journal. Writes are
	// refused until what is durable has been replayed.
	ErrJournalFailed = errors.New("resilient: the journal's disk failed")

	// ErrOverlayFull says that the pending keys have reached
	// Options.MaxOverlayBytes. The write was refused; or the read, if it is of a member of
	// a big pending collection that would have to be learnt and kept.
	ErrOverlayFull = errors.New("resilient: the overlay is full")

	// ErrKeyTooBig says that a command needs the whole value of a key with
	// deferred writes that is larger than Options.MaxSeedBytes or
	// Options.MaxSeedFields: ZRANGE, LTRIM or SINTER, say. Commands that name
	// members (HGET, SADD, ZINCRBY), pushes, deletion and expiry go on working on
	// such a key. The command was refused.
	ErrKeyTooBig = errors.New("resilient: the key is too big to be deferred")

	// ErrBaseUnknown says that a deferred write, or a read of a key with
	// deferred writes, needs the key's current value and no replica could
	// give it. The command was refused.
	ErrBaseUnknown = errors.New("resilient: the key's current value can't be read from any replica")

	// ErrPendingWrites says that a command was refused because its key has
	// deferred writes that it can't see: DUMP or OBJECT of such a key, or any read
	// of a key that a deferred script may have changed. Answering it from a replica
	// would be wrong.
	ErrPendingWrites = errors.New("resilient: deferred writes are in the way of this command")

	// ErrPromisedID says that a deferred command names a stream entry by an id
	// that was promised to the caller of a deferred XADD with a generated id. The
	// primary will give the entry another id. The command was refused.
	ErrPromisedID = errors.New("resilient: the stream entry's final id is not known yet")

	// ErrDeadLettered says that a deferred write was not executed: the primary
	// declined it with an error of its own, or its use had ended before the
	// replay. It is kept in the journal directory. Only Receipt.Wait gives it.
	ErrDeadLettered = errors.New("resilient: the deferred write is a dead letter")

	// ErrNotSupported says that the command or method can't work through this
	// client in any state: it would bind to one connection of the pool.
	ErrNotSupported = errors.New("resilient: not supported by this client")

	// ErrClosed says that the client has been closed. It matches
	// redis.ErrClosed too.
	ErrClosed = fmt.Errorf("resilient: %w", redis.ErrClosed)

	// ErrBacklogLost says that a client without a journal directory was closed
	// while it still held deferred writes: they are gone.
	ErrBacklogLost = errors.New("resilient: deferred writes were lost")
)

// CommandError is the refusal of one command, or the news that its outcome is
// in doubt. Its text names the command, its class and the reason, and never a
// key or a value.
type CommandError struct {
	// Name of the command in lower case, such as "lpop".
	Name string
	// Class is what the command table says of it, such as "claiming" or
	// "accumulating write". It is why the command was refused.
	Class string
	// Shard names the replication group; empty for a standalone client.
	Shard string
	// State of the shard when the command was decided.
	State State
	// Cause of that state.
	Cause Cause
	// Reason says in a sentence why, and what to do.
	Reason string
	// Err is what errors.Is and errors.As find: one of this package's errors
	// and, where a server or the network spoke, the original error beside it.
	Err error
}

// Error is one line: what, why and what to do.
func (e *CommandError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "resilient: %s", e.Name)
	if e.Class != "" {
		fmt.Fprintf(&b, " (%s)", e.Class)
	}
	if errors.Is(e.Err, ErrInDoubt) {
		b.WriteString(" is in doubt")
	} else {
		b.WriteString(" refused")
	}
	if e.Shard != "" {
		fmt.Fprintf(&b, " on shard %s", e.Shard)
	}
	fmt.Fprintf(&b, " [%s", e.State)
	if e.Cause != CauseNone {
		fmt.Fprintf(&b, ": %s", e.Cause)
	}
	b.WriteString("]: ")
	b.WriteString(e.Reason)
	return b.String()
}

// Unwrap gives errors.Is and errors.As the error inside.
func (e *CommandError) Unwrap() error { return e.Err }

// because joins one of this package's errors with the original one, whose text
// stays out of CommandError.Error: a server may quote arguments.
type because struct {
	kind  error
	cause error
}

func (b *because) Error() string   { return b.kind.Error() }
func (b *because) Unwrap() []error { return []error{b.kind, b.cause} }

// withCause returns kind alone, or kind with the original error beside it.
func withCause(kind, cause error) error {
	// redis.Nil among the causes (an unknown Sentinel master name wraps it)
	// would make a refusal look like a missing key.
	if cause == nil || errors.Is(cause, redis.Nil) {
		return kind
	}
	return &because{kind: kind, cause: cause}
}

// SafeToRetry reports whether the command that returned err was certainly not
// applied and will not be, so that sending it again can't double it. It is true
// for refusals and for connections that were never made; false for nil, for
// [ErrInDoubt], for timeouts and broken connections, and for every reply of a
// server, READONLY too: as the reply of a script or of a part of a transaction it
// proves nothing. Where it does, it arrives as the cause of a refusal.
func SafeToRetry(err error) bool {
	if err == nil || errors.Is(err, ErrInDoubt) {
		return false
	}
	var refused *CommandError
	if errors.As(err, &refused) {
		return true
	}
	f := faultOf(err)
	return f == faultUnsent || f == faultBusy
}

// fault is what the error of one attempt says about the write and the primary.
type fault uint8

const (
	faultNone        fault = iota // no error, or a reply that is the command's own
	faultNotWritable              // a reply by which a server declines to write now
	faultUnsent                   // no connection was made
	faultBusy                     // no connection came free: not sent, and no sign of an outage
	faultOverload                 // a reply by which a primary declines for want of means, where that is deferred
	faultHung                     // no answer in time: ambiguous
	faultBroken                   // the connection broke: ambiguous
	faultContext                  // the caller's context ended on the way: ambiguous
	faultMoving                   // a reply by which a Cluster names another server, or asks for patience
)

func (f fault) certainlyNotApplied() bool {
	return f == faultNotWritable || f == faultUnsent || f == faultBusy || f == faultMoving || f == faultOverload
}

func (f fault) ambiguous() bool {
	return f == faultHung || f == faultBroken || f == faultContext
}

// faultOf sorts the error of a single attempt. It is only right for attempts
// that go-redis did not repeat by itself: a later attempt's error says nothing
// about an earlier one.
func faultOf(err error) fault {
	if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is the hot case; wrapped ones are errors
		return faultNone
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return faultUnsent
	}
	var reply redis.Error
	if errors.As(err, &reply) {
		return faultOfReply(err)
	}
	switch {
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, redis.ErrClosed):
		return faultBusy
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return faultContext
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return faultHung
	}
	return faultBroken
}

// faultOfReply sorts a server's error reply. Replies of the command's own
// (WRONGTYPE, NOPERM, OOM…) are no fault of the topology.
func faultOfReply(err error) fault {
	switch {
	case redis.IsReadOnlyError(err), redis.IsMasterDownError(err), redis.IsNoReplicasError(err),
		redis.IsLoadingError(err), redis.IsClusterDownError(err),
		redis.HasErrorPrefix(err, "UNBLOCKED "):
		return faultNotWritable
	case redis.IsExecAbortError(err) && strings.Contains(err.Error(), "READONLY"):
		return faultNotWritable
	}
	return faultNone
}
