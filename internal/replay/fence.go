package replay

import "github.com/holdfast-cache/holdfast/internal/slot"

// FenceKey is the key that holds the fence of a client id. Whoever needs to know
// which entries a value already contains reads it together with the value.
func FenceKey(clientID string) string { return "holdfast:fence:" + clientID }

// FenceKeyOf is the key that holds the fence of a client id for one hash slot of a
// Cluster. It is in that slot itself, so that it can stand in a transaction with the
// slot's entries, and moves with it when that gets another owner. The id must hold no
// brace; those of journals are hexadecimal.
func FenceKeyOf(clientID string, s uint16) string {
	return "holdfast:fence:" + clientID + ":{" + slot.Tag(s) + "}"
}

// node is a server's own account of itself.
type node struct {
	primary bool
	runID   string
	replID  string // of its present history
	replID2 string // of the history it descends from, up to second
	second  int64  // the first offset that is no longer of replID2
	offset  int64  // of the data it has
	backlog int    // the size of its replication backlog in bytes; 0: it has none
	pxat    bool   // it knows SET's option PXAT
}

// position is all that the choice of where to go on rests on.
type position struct {
	found  bool   // the fence exists
	fence  uint64 // its value
	bounds Bounds
	sent   uint64 // nothing beyond this was ever sent
	reach  uint64 // nothing beyond this can be applied: of what was sent since the fence was read
	prog   Progress
	node   node
}

// resumption is where to go on.
type resumption struct {
	after uint64 // the last entry that counts as applied
	// gap: entries before this one, and behind the fence, were trimmed and are
	// not in the primary. Zero: none.
	gapTo uint64
	// doubtTo: entries after 'after' up to this one may have been applied.
	doubtTo uint64
}

// decide chooses where to go on.
func decide(p position) (resumption, error) {
	if p.found {
		switch {
		case p.fence > p.sent:
			return resumption{}, ErrFenceAhead
		case p.fence < p.bounds.Trimmed:
			// A failover went further back than what was confirmed.
			return resumption{after: p.bounds.Trimmed, gapTo: p.bounds.Trimmed}, nil
		}
		// A fence below prog.Acked is a failover that lost the tail: it is sent
		// again.
		return resumption{after: p.fence}, nil
	}
	if p.prog.Acked <= p.bounds.Trimmed {
		// Nothing that is still here was acknowledged. A batch applied without
		// our knowing would have left its fence.
		return resumption{after: p.bounds.Trimmed}, nil
	}
	switch {
	case p.node.replID == p.prog.ReplID:
		// The same history that acknowledged the entries: they are in it, and the
		// fence was evicted, deleted or flushed since.
		return doubtful(p.prog.Acked, p), nil
	case p.prog.Covered > p.bounds.Trimmed && p.node.replID2 == p.prog.ReplID && p.prog.Offset < p.node.second:
		// A successor that took over after these entries: likewise, so far.
		return doubtful(p.prog.Covered, p), nil
	}
	// Another data set, or a successor that never had them: the fence was lost
	// with the entries.
	return resumption{after: p.bounds.Trimmed}, nil
}

// doubtful resumes after the last entry that is known to be applied; what was
// sent behind it, since the fence was there, is in doubt.
func doubtful(applied uint64, p position) resumption {
	return resumption{after: applied, doubtTo: max(applied, p.reach)}
}
