// Package overlay is the in-process state of the keys that have deferred
// writes: what a server said of each key, plus this process's own writes on top.
// It answers those writes as Redis would, and serves reads of the same keys until
// the writes are safe in a primary. The commands themselves are executed by
// package engine, on values in memory; the overlay knows which values, what is
// known of them, and how to take back what was done to them.
//
// # Model
//
// The overlay holds exactly the keys named by deferred writes that have not
// been trimmed. A write that needs to know what was there before (INCR, HSET,
// DEL…) first seeds its keys through a [Source]; a plain SET does not. A key
// that could not be seeded is unresolved: its writes are kept with it, replies
// are estimates, and the next successful seed puts them right. Writes on several
// keys tie those together that are unresolved: they are resolved at once, from
// seeds that contain the same writes of our journal.
//
// A request, one command or several as a unit, is executed under the locks of
// all its keys. A write takes its sequence there through [Request.Commit], and
// can be taken back by [Overlay.Rollback] until [Overlay.Durable] or
// [Overlay.Trim] has passed it. So the order of a key's writes in the journal is
// the order in which their replies were computed. Where a request turns out to
// need what is not at hand (a seed, the lock of another key, members of a big
// value, a key whose name SORT computes), it is taken back, the locks are given
// up, what is missing is fetched, and it is made again.
//
// # Big values
//
// Above the limits of the source, hashes, sets, sorted sets, lists and streams
// are seeded partial, with their number of elements only: commands on single
// members ask the source for these ([Source.Members]), and what needs the whole
// is refused with [ErrKeyTooBig]. Strings above the limit are opaque: they can
// be deleted, overwritten and expired. A partial value that was renamed can't be
// asked about any more, since the server knows it by its old name.
//
// # Replay
//
// [Effect] tells what the journal must keep beside a write because deadlines go
// on in the primary. Time is the server's throughout.
//
// # Limits
//
// The reply is the server's state plus this process's own writes: two processes
// that both defer INCR of one key both answer base+1. After a Rollback the
// elements of a hash or a set may have another order. What was done to a key by
// writes on several keys that were executed without their bases, and that the
// engine cannot repeat once it has them (the whole of a big value), stays open
// until the replay: such a key answers [ErrBaseUnknown].
package overlay
