// Package replay sends a journal of deferred writes to a primary that has
// returned: in order, each exactly once, whatever is cut, killed or promoted
// meanwhile.
//
// # The fence
//
// Entries travel in batches over one pinned connection, each batch in one write:
//
//	MULTI · entry… · SET fence <last seq> · EXEC · WATCH fence · GET fence
//
// The fence is set by the transaction that applies the entries, so it tells how
// far the journal has been applied, and is lost exactly when they are. Whenever
// the outcome of a batch is unknown, and at the start of each session, the fence
// is read and replay goes on after it. Nothing is ever resent on a guess.
//
// The trailing WATCH guards the batch that comes next. A network may deliver a
// batch that was given up long after its successor has read the fence; without
// the WATCH it would be applied a second time. With it, whichever of the two
// executes first moves the fence, and the EXEC of the other answers nil.
// Therefore a batch is executed only after the replies of the one before it. Its MULTI
// and its entries may be sent before, and are queued by the server; its fence and its
// EXEC follow when the replies have come.
//
// # Retention
//
// An EXEC reply is not the end of an entry: a failover may still lose it, and
// the fence with it, and then the tail must be sent again. Entries are trimmed
// when the replicas confirm them by their own offset under the primary's
// replication id, or when a bound has passed.
//
// # Lanes
//
// In a Cluster a transaction holds one hash slot, and a journal has entries of many,
// some of them other primaries'. Each slot is a lane: its entries have an order, and
// those of different lanes have none. With [Options.Fence] every lane has a fence of
// its own, in the slot, so that it is lost, and moves to another primary, exactly as
// the slot's entries. A window of entries is read at a time and parted into batches of
// one lane each. The write of a batch ends with WATCH and GET of the fence of the batch
// that comes next, which must be as the session knows it.
//
// What a window's lanes have applied is asked first, and what is applied already is
// not even looked at: see [Laned]. A slot on the move is left alone, while the others
// go on, until it has arrived: neither its fence nor its entries are asked for at the
// new place (ASKING), where one of them could be without the other. Once it has moved,
// the Run ends with [ErrMoved], when the rest of the window is in the primary.
//
// The shard of a Ring is a server of its own: there one fence is enough for the
// entries of a shard, also where they stand between others'.
//
// # Merging and promises
//
// Within a batch entries on one key are merged into one command where that leaves the
// same, deadlines included: nobody can look in between, and the fence counts entries
// whatever was sent for them. See [Entry.Free] and package coalesce. A merged command that
// is rejected is a dead letter for each of its entries; one that is not even queued sets
// an end to merging for the session, and its entries go one by one.
//
// What an entry is answered with is held against [Entry.Reply], what its caller was told;
// of a merged command, where it is answered as the last of its entries would have been.
//
// # Limits
//
//   - After a lost EXEC reply the errors of single entries of that batch are
//     unknown: such an entry is neither applied nor a dead letter. Nor is it known whether
//     one was answered as promised.
//   - Trimming on fewer confirmations than there are promotable replicas does not
//     protect against the promotion of another one; that shows as a [Gap].
//   - A fence that was evicted or deleted while its entries were not is
//     recognised only on the primary that acknowledged them, or on a successor
//     whose history provably holds them.
//   - The right to MULTI is checked when a session opens. Revoked during one, the
//     batch in flight is applied command by command rather than atomically; the
//     fence, which comes last, still tells the truth about it. A batch that was queued
//     ahead then has no fence behind it yet: given the right back, it is applied again.
//   - One database; and one hash slot, unless each has a fence.
//   - How far each lane was acknowledged is known to the Replayer only. If a slot's
//     fence was evicted or deleted in mid-drain, and after that another Replayer took
//     over (of a restarted process, or of the slot's new owner), what it had applied
//     and not trimmed is applied again: a missing fence of which nothing is known means
//     that nothing was applied.
//   - A lane's gap is noticed by the Replayer that acknowledged what is missing.
//   - The fence of a lane stays for good, some 120 bytes, if its entries were trimmed
//     and the replay ended before everything was.
package replay
