package overlay

import (
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/basis"
)

// Errors of the overlay. All but ErrInternal say that nothing was changed and
// nothing was journaled; what wraps them holds the reason. None names a key.
var (
	// ErrNotServed: the overlay does not execute this command, or this form.
	ErrNotServed = errors.New("overlay: command not served")
	// ErrNotHeld: none of the command's keys is in the overlay.
	ErrNotHeld = errors.New("overlay: key not held")
	// ErrFull: the write would exceed Options.MaxBytes.
	ErrFull = errors.New("overlay: full")
	// ErrKeyTooBig: the command needs the whole of a value that is above the
	// seeding limit.
	ErrKeyTooBig = errors.New("overlay: key too big")
	// ErrPromised: the command names a stream entry by an id that was promised to
	// the caller of a deferred XADD; the server will give it another.
	ErrPromised = errors.New("overlay: stream entry has a promised id only")
	// ErrBaseUnknown: no server told the key's state, and the command is not
	// answered without it.
	ErrBaseUnknown = errors.New("overlay: base unknown")
	// ErrUnseen: what a key holds cannot be told until its deferred writes are in
	// a primary: one of them was entered unseen, or rests on several keys of which
	// one is unknown.
	ErrUnseen = errors.New("overlay: key changed unseen")
	// ErrInternal: a fault of this package or of a callback. If it came from
	// Commit, whether the write was enqueued is unknown.
	ErrInternal = errors.New("overlay: internal fault")
)

func notServed(what string) error {
	return fmt.Errorf("%w: %s cannot be deferred; send it when there is a primary", ErrNotServed, what)
}

// Command is one command for the overlay.
type Command struct {
	// Args are the name and its arguments; a write's in canonical form. They are
	// only read, and not kept.
	Args [][]byte

	// Keys says which of Args are keys, in the order of the server's key specs.
	// Where they can't be told because the command is malformed it is nil.
	Keys []int

	// Counter says that the reply is used as an identity: without a base the
	// command is refused with ErrBaseUnknown rather than answered by an
	// estimate, unless Options.EstimateCounters is set.
	Counter bool

	// Unseen enters the write without executing it, whatever it is: a script, say.
	// No reply is appended. What its keys hold cannot be told from then on, until
	// they have left the overlay or a later write overwrites them whole; commands
	// that need to know are refused with ErrUnseen.
	Unseen bool
}

// Request is what is to be executed.
type Request struct {
	DB    int
	Proto int // 3 is RESP3, anything else RESP2

	// Now is the time by the server's clock, in Unix milliseconds, if the caller
	// has just read it; 0 asks Options.Now. An attempt that had to wait for the
	// source asks anew.
	Now int64

	// Commands is one command, or several that are one unit: they are applied
	// whole under the locks of all their keys, as by MULTI and EXEC, and are one
	// record of the journal. A unit may hold reads.
	Commands []Command

	// Reply is the buffer that replies are appended to; nil makes a new one.
	Reply []byte

	// OnlyHeld refuses the write with ErrNotHeld unless all the keys that it names are
	// held already: for the time of replay, when others write the other keys on the
	// primary.
	OnlyHeld bool

	// Unheld answers a read although none of the keys that it names is held: it
	// may look at others that are, as SORT BY does.
	Unheld bool

	// Commit takes the write's sequence and enqueues it in the journal. Required
	// for writes; called at most once, only when the write changes something or
	// may change something at the server, under the locks of the keys: it must
	// be quick, do no I/O and not call the overlay. Sequences begin at 1 and
	// rise with each call. Its error takes the write back and is returned as it
	// is. The effect is what the journal must keep beside the write;
	// it is the callback's only until it returns.
	Commit func(*Effect) (seq uint64, err error)
}

// Result is the answer to a Request.
type Result struct {
	// Reply is Request.Reply with one encoded reply for each command, as Redis
	// would answer it, error replies included. It shares no memory with the
	// overlay.
	Reply []byte

	// Ends says, for several commands, where in Reply each one's reply ends.
	Ends []int

	// Seq is the write's sequence, or 0 when nothing had to be journaled. Of a
	// read it is the last write's that names one of the keys: the reply may be
	// rolled back until that is durable.
	Seq uint64

	// Exact says that the replies rest on nothing unknown. When false they are
	// estimates from this process's own writes.
	Exact bool

	// Based says that the replies rest on a seed, and so are only as good as the
	// claim that nobody else writes.
	Based bool

	// ExpireAt is the deadline of the first key after the request, in Unix
	// milliseconds of the server's clock; 0 is none.
	ExpireAt int64
}

// KeyBasis is what a key held.
type KeyBasis struct {
	Name []byte
	basis.Basis
}

// Effect is what a write did to the deadlines of its keys, for whoever replays
// it later. Time goes on in the primary as well: a key whose deadline comes
// before the replay is gone there, and the write on its own would then make
// another key than the one that was promised. Of At alone it says that none of
// this matters.
type Effect struct {
	// At is when the write was executed, in Unix milliseconds of the server's
	// clock.
	At int64

	// Lapses is the deadline that the key has after the write, in Unix
	// milliseconds of the server's clock; 0 is none. From then on nothing is left
	// of the write, and it must not be replayed: INCR would make a key for ever.
	// Only one command on one key has it.
	Lapses int64

	// Sets says that the write itself set the deadline Lapses, or changed it: when
	// that has passed the key must be deleted. Otherwise the key had it before and
	// is gone by itself.
	Sets bool

	// Until is the earliest deadline that the result rests on without showing
	// it, 0 if there is none: of one command on one key, the deadline that it
	// took off or put off; of others, any deadline of a key they look at. From
	// then on the write finds another state than it had, and Restore is to be
	// replayed in its place.
	Until int64

	// Restore is what brings the changed keys, whatever there is, to the state
	// after the write: encoded commands. It is empty while Until is 0, and when
	// a value is not wholly known (unresolved, or above the seeding limit).
	Restore []byte

	// Reply is what the caller is answered, one encoded reply for each command,
	// and Exact whether that rests on nothing unknown. Reply is the callback's only
	// until it returns.
	Reply []byte
	Exact bool

	// Bases are, with Options.Bases, what those of the written keys held before that
	// had no deferred write; the zero basis where nobody could tell. They are the
	// callback's only until it returns.
	Bases []KeyBasis

	// Failed says of a unit which of its commands answered an error and changed
	// nothing; nil when none did.
	Failed []bool
}
