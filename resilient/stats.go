package resilient

import "time"

// Stats are counts since the client was made, and the size of the backlog now.
type Stats struct {
	// Entries, Bytes and OldestAge describe the journal: deferred writes that
	// are not yet in the primary and its replicas.
	Entries   int
	Bytes     int64
	OldestAge time.Duration
	// OverlayKeys and OverlayBytes are the keys those writes touch and the
	// memory held for them.
	OverlayKeys  int
	OverlayBytes int64

	Deferred     uint64 // writes accepted into the journal
	Refused      uint64 // commands refused with a CommandError
	InDoubt      uint64 // commands answered with ErrInDoubt
	Replayed     uint64 // entries executed by a primary
	Expired      uint64 // entries whose key's deadline passed before their replay, which left nothing to send
	DeadLettered uint64 // entries kept aside, including those of earlier runs
	Unconfirmed  uint64 // entries given up waiting for: fewer replicas than asked for have them

	// Adopted is the number of journals of dead processes that this client has
	// replayed beside its own. Their writes count in Replayed, Expired, DeadLettered and
	// Unconfirmed; AdoptedEntries are those of the one under way that are still to go.
	Adopted        uint64
	AdoptedEntries int
	// Parked is the number of journals that wait for a decision: see Client.Parked.
	Parked int
	// RetainedBytes are on disk for the ledger alone: see Options.LedgerRetention.
	RetainedBytes int64

	// JournalProblems are the faults met in the journal directory, a sentence each:
	// damaged or foreign journals left intact; and, while it lasts, that the disk
	// does not take the journal or the ledger.
	JournalProblems []string
}

// State tells what the client believes about its shard. It is two atomic loads
// and a copy. Over a Cluster or a Ring it is StateUnknown, with a Diagnosis that
// says so: their shards are not watched.
func (c *Client) State() ShardState { return c.backend.state() }

func (l *lifecycle) state() ShardState { return shardState(l.monitor.View()) }

// Stats returns the client's figures. It takes locks for a moment; don't call it
// for each command. Over a Cluster or a Ring only Refused and InDoubt count.
func (c *Client) Stats() Stats { return c.backend.stats() }

func (l *lifecycle) stats() Stats {
	js, os, rs := l.journal.Stats(), l.overlay.Stats(), l.drain.replayer.Stats()
	s := Stats{
		Entries: int(js.Entries), Bytes: js.Bytes,
		OverlayKeys: int(os.Keys), OverlayBytes: os.Bytes,
		Deferred: l.router.stats.deferred.Load(),
		Refused:  l.router.stats.refused.Load(),
		InDoubt:  l.router.stats.inDoubt.Load(),
		Replayed: rs.Replayed, Unconfirmed: rs.Unconfirmed, DeadLettered: js.Dead,
		Expired:         l.source.Counts().Expired,
		Parked:          l.parking.count(),
		RetainedBytes:   js.Retained,
		JournalProblems: l.problems.list(),
	}
	if f := l.journal.Failure(); f != nil {
		s.JournalProblems = append(s.JournalProblems, failureText(f))
	}
	if js.LedgerErr != nil {
		s.JournalProblems = append(s.JournalProblems, "the ledger can't be written: "+js.LedgerErr.Error())
	}
	if l.adopter != nil {
		l.adopter.stats(&s)
	}
	if !js.Oldest.IsZero() {
		s.OldestAge = max(0, time.Since(js.Oldest))
	}
	return s
}
