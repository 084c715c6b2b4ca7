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
	Merged       uint64 // of these: executed as part of another one's command, see Options.NoCoalescing
	Diverged     uint64 // of these: answered otherwise by the primary than their callers had been
	Expired      uint64 // entries whose key's deadline passed before their replay, which left nothing to send
	DeadLettered uint64 // entries kept aside, including those of earlier runs
	Conflicted   uint64 // of these: left out since then as somebody else had written their keys, see Options.Conflicts
	Unconfirmed  uint64 // entries given up waiting for: fewer replicas than asked for have them

	// ReplayPace is how many entries per second the replays may send at present, as
	// Options.ReplayRate says; 0 where none is on its way, or has no pace.
	ReplayPace float64

	// Adopted is the number of journals of dead processes that this client has
	// replayed beside its own. Their writes count in Replayed, Expired, DeadLettered,
	// Merged, Diverged and Unconfirmed; AdoptedEntries are those of the one under way that are still to go.
	Adopted        uint64
	AdoptedEntries int
	// Parked is the number of journals that wait for a decision: see Client.Parked.
	Parked int
	// RetainedBytes are on disk for the ledger alone: see Options.LedgerRetention.
	RetainedBytes int64

	// MissingRights are what the client's Redis user lacks and the replay needs, such as
	// "MULTI". While there are any, nothing is deferred.
	MissingRights []string

	// Observed is what would have become of writes, with Options.Observe.
	Observed ObservedStats

	// JournalProblems are the faults met in the journal directory, a sentence each:
	// damaged or foreign journals left intact; and, while it lasts, that the disk
	// does not take the journal or the ledger.
	JournalProblems []string
}

// State tells what the client believes about its shard. It is two atomic loads
// and a copy. Over a Cluster or a Ring it is the state of the shard that is off worst;
// Shards tells of all.
func (c *Client) State() ShardState { return c.backend.state() }

func (l *lifecycle) state() ShardState {
	return l.shard.state()
}

// join puts a sentence behind another.
func join(next string) string {
	if next == "" {
		return ""
	}
	return "; " + next
}

// Stats returns the client's figures. It takes locks for a moment; don't call it
// for each command. Over a Cluster or a Ring they are those of all shards together.
func (c *Client) Stats() Stats { return c.backend.stats() }

func (l *lifecycle) stats() Stats {
	s := l.foundation.stats()
	s.MissingRights = l.router.rights()
	l.drain.stats(&s)
	if l.adopter != nil {
		l.adopter.stats(&s)
	}
	return s
}

// stats are the figures but for those of replays.
func (f *foundation) stats() Stats {
	js, os := f.journal.Stats(), f.overlay.Stats()
	s := Stats{
		Entries: int(js.Entries), Bytes: js.Bytes,
		OverlayKeys: int(os.Keys), OverlayBytes: os.Bytes,
		Deferred:        f.core.stats.deferred.Load(),
		Refused:         f.core.stats.refused.Load(),
		InDoubt:         f.core.stats.inDoubt.Load(),
		DeadLettered:    js.Dead,
		Parked:          f.parking.count(),
		RetainedBytes:   js.Retained,
		JournalProblems: f.problems.list(),
	}
	if failure := f.journal.Failure(); failure != nil {
		s.JournalProblems = append(s.JournalProblems, failureText(failure))
	}
	if js.LedgerErr != nil {
		s.JournalProblems = append(s.JournalProblems, "the ledger can't be written: "+js.LedgerErr.Error())
	}
	if !js.Oldest.IsZero() {
		s.OldestAge = max(0, time.Since(js.Oldest))
	}
	return s
}
