package replay

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
	// one that the latest Read returned. From then on Read leaves it out. A
	// sequence it already has is no error.
	DeadLetter(d DeadLetter) error
	// Trim gives back all entries up to and including upTo. confirmed is false
	// when the replicas' confirmation was not had within its bound. Dead letters
	// stay.
	Trim(upTo uint64, confirmed bool) error
}
