package replay

import "math"

// Entry is one deferred write as the journal holds it.
type Entry struct {
	// Seq is the entry's place in the journal: above 0 and ascending. Sequences
	// may be missing, those of dead letters for instance.
	Seq uint64
	// Cmd is one command, encoded as RESP. It is sent as it is.
	Cmd []byte
	// Repeatable says that applying the command twice in a row leaves the same
	// state as applying it once. False is the safe choice. It matters only when
	// a fence has vanished; see ReasonInDoubt.
	Repeatable bool
	// Lane is what the entry has its order in: entries of different lanes may be
	// applied in any order. It matters only with Options.Fence.
	Lane uint16
	// Free says that the entry may be merged with others on its key: it is the whole of
	// one write, and a deadline that it sets is ahead. False is the safe choice.
	Free bool
	// Reply is the digest of the reply that the caller was promised, as resp.Digest has
	// it; of several entries of one sequence each has that of all their replies. 0: none
	// was, and nothing is compared.
	Reply uint64
	// Claims are, with Options.Conflicts, the keys that the write names, each once. Of
	// several entries of one sequence the first has those of all.
	Claims []Claim
	// Uncounted leaves the entry out of Stats.Replayed: it is one of several that
	// stand for one write, or stands for none. Entries of one sequence come from
	// one Read.
	Uncounted bool
}

// Bounds is the part of the journal that can be read.
type Bounds struct {
	// Trimmed is the last sequence that was given back; 0 before the first Trim.
	Trimmed uint64
	// Last is the last sequence that is durable; Trimmed when nothing is pending.
	// It never goes back, not even over a restart: sequences are what the fence
	// counts in.
	Last uint64
}

// Progress is what replay knows about its own advance. The fence in Redis is the
// truth; this is for the cases in which the fence is missing. The zero value says
// that nothing was acknowledged yet.
type Progress struct {
	// Acked is the last sequence whose EXEC reply was seen.
	Acked uint64
	// ReplID is the replication id of the primary that acknowledged it.
	ReplID string
	// Covered is a sequence that the primary's history of ReplID holds at the
	// replication offset Offset. Covered 0: not known.
	Covered uint64
	Offset  int64
}

// Reason is why an entry became a dead letter. The zero value is invalid.
type Reason uint8

const (
	// ReasonRejected means: the server answered the entry with an error of its own,
	// such as WRONGTYPE. It was not applied.
	ReasonRejected Reason = iota + 1
	// ReasonMalformed means: the entry is not one command that may stand in a
	// transaction. It was not sent.
	ReasonMalformed
	// ReasonInDoubt means: the entry had been sent, its outcome is unknown, the fence
	// that would have told has vanished, and the entry is not Repeatable. It was
	// applied once or not at all.
	ReasonInDoubt
	// ReasonConflicted means: somebody else has written a key of the entry, or of one
	// that it builds on, and that is left as it is: see Conflicts. The entry was not
	// applied.
	ReasonConflicted
)

// String names the reason.
func (r Reason) String() string {
	switch r {
	case ReasonRejected:
		return "rejected"
	case ReasonMalformed:
		return "malformed"
	case ReasonInDoubt:
		return "in doubt"
	case ReasonConflicted:
		return "conflicted"
	}
	return "unknown"
}

// DeadLetter is the end of an entry that replay could not deliver.
type DeadLetter struct {
	Seq    uint64
	Reason Reason
	// Text is the server's error for ReasonRejected. It may quote arguments of
	// the command, so it belongs beside the entry and never into a log.
	Text string
	// Passed, with ReasonRejected: the fence has gone past the entry, which no Read returns
	// again. A Source that can't keep the letter has to remember it, and to keep it before
	// it trims the entry.
	Passed bool
	// Keys are for ReasonConflicted the indexes in Claims of the keys that are left to
	// the server, ascending.
	Keys []int
}

// Source is the journal as replay needs it. Trim, SaveProgress and Bounds are
// called beside the other methods, from a second goroutine; Read and DeadLetter
// only from that of Run. An error of any of them ends the Run.
type Source interface {
	// Bounds is what can be read at this moment.
	Bounds() Bounds
	// Read appends to dst the pending entries behind sequence after, in order and
	// without dead letters: all durable, at most maxEntries, and of at most
	// maxBytes of Cmd together, yet always one if there is one. Every entry up to
	// a Last that Bounds gave before is seen. The entries' bytes must stay
	// unchanged until the next Read.
	Read(dst []Entry, after uint64, maxEntries, maxBytes int) ([]Entry, error)
	// Progress is what SaveProgress stored last, before a restart too.
	Progress() Progress
	// SaveProgress stores p. It is called once for a round of confirmations, not
	// for each batch. A value that a crash loses costs certainty only when the
	// fence is lost as well, so it need not be synced.
	SaveProgress(p Progress) error
	// DeadLetter keeps the entry aside, durably before it returns. The entry is
	// one that the latest Read returned, or the one before it. From then on Read leaves
	// it out. A sequence it already has is no error.
	DeadLetter(d DeadLetter) error
	// Trim gives back all entries up to and including upTo. confirmed is false
	// when the replicas' confirmation was not had within its bound. Dead letters
	// stay.
	Trim(upTo uint64, confirmed bool) error
}

// Burier is a Source that keeps several dead letters at less cost together.
type Burier interface {
	// DeadLetters is DeadLetter for several, in the order of their sequences.
	DeadLetters(all []DeadLetter) error
}

// Doubter is a Source that makes dead letters of its own. Which of the entries may have
// been applied it has to know then: such a one is in doubt, whatever else is its end.
type Doubter interface {
	// Doubt says that of a lane, or of AllLanes, the entries up to a sequence may have been
	// applied, of those that are read from now on; 0: none of them.
	Doubt(lane uint16, upTo uint64)
}

// AllLanes is no lane, but all that one fence is for.
const AllLanes = math.MaxUint16

// Place is where an entry stands.
type Place struct {
	Seq  uint64
	Lane uint16
}

// Laned is a Source of some lanes of a journal whose other lanes are others' to
// replay, at the same time. Its Bounds are in terms of its own entries: Trimmed is a
// sequence up to which all of them were given back, and Last that of the last one
// which is durable, Trimmed where none is pending.
type Laned interface {
	Source
	// HasLanes reports whether it is what this interface says. A type may serve for a
	// whole journal too: then it is a plain Source, whose other methods of this
	// interface are not called. It always says the same.
	HasLanes() bool
	// Highest is the journal's last sequence, whichever lane it is of: no fence of
	// this journal can be beyond it.
	Highest() uint64
	// Window replaces Read where each lane has a fence of its own. It appends the
	// places of pending entries behind sequence after, with the limits and the
	// promises of Read, and does nothing else with them: some may turn out to be
	// applied already. From now until the next Window they are what Entries and
	// DeadLetter are asked about.
	Window(dst []Place, after uint64, maxEntries, maxBytes int) ([]Place, error)
	// Entries appends what is to be sent for the places of the latest Window that are
	// alive and lie behind what applied says of their lane: up to there the lane is in
	// the primary. ok false: the lane is left out for now. It may be called several
	// times for a Window; the bytes stay unchanged until the next call of either.
	Entries(dst []Entry, applied func(lane uint16) (upTo uint64, ok bool)) ([]Entry, error)
}
