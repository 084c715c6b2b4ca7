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
// Therefore a batch is sent only after the replies of the one before it.
//
// # Retention
//
// An EXEC reply is not the end of an entry: a failover may still lose it, and
// the fence with it, and then the tail must be sent again. Entries are trimmed
// when the replicas confirm them by their own offset under the primary's
// replication id, or when a bound has passed.
//
// # Limits
//
//   - After a lost EXEC reply the errors of single entries of that batch are
//     unknown: such an entry is neither applied nor a dead letter.
//   - Trimming on fewer confirmations than there are promotable replicas does not
//     protect against the promotion of another one; that shows as a [Gap].
//   - A fence that was evicted or deleted while its entries were not is
//     recognised only on the primary that acknowledged them, or on a successor
//     whose history provably holds them.
//   - The right to MULTI is checked when a session opens. Revoked during one, the
//     batch in flight is applied command by command rather than atomically; the
//     fence, which comes last, still tells the truth about it.
//   - One hash slot and one database: a shard of a Cluster needs a fence per slot.
package replay
