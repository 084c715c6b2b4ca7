// Package journal is the ordered, durable log of deferred writes.
//
// A record is one deferred write: opaque bytes (a command, or the commands of
// one transaction, which are thereby indivisible) with a sequence number that
// never repeats under one client id. A record is committed once it is as safe
// as the fsync policy promises; only then may its caller hear success.
//
// # Files
//
// Options.Dir is a parent directory. Each open journal holds one subdirectory,
// named by its client id and locked for as long as it is open:
//
//	<dir>/<32 hex digits>/LOCK                     held by flock or LockFileEx
//	<dir>/<32 hex digits>/progress                 two slots, written in turn, in place
//	<dir>/<32 hex digits>/<first sequence>.seg     records
//	<dir>/<32 hex digits>/<number>.dead            records that the server rejected
//	<dir>/<32 hex digits>/<number>.ledger          how the records ended
//	<dir>/<32 hex digits>/<first sequence>.<when>.kept  trimmed records, for Options.Retention
//	<dir>/<32 hex digits>/*.damaged                set aside, never read again
//
// Directories have mode 0700, files 0600. A segment is a header, then batches;
// a batch is what one group commit wrote: a header, then records. Zeros behind
// the last batch are place that was allocated ahead. All integers are little
// endian, all checksums CRC-32C. format.go has every byte, docs/journal-format.md
// also the procedure at every point where a crash can come.
//
// # Rules that the format relies on
//
//   - A batch is written only after the sync of the one before it returned
//     (under FsyncAlways). A bad batch with a valid one behind it is therefore
//     damage to acknowledged data; a bad one at the very end is a torn write.
//   - A segment that was ever closed, recovered or failed is never written
//     again. The header of the next segment says how far the log counted
//     before it (its prev field), which settles the tail of the older segment
//     for good: what lies behind it is void, what is missing before it is lost.
//   - Sequence numbers of failed batches are burnt, so a number that reached a
//     replay never names another write later. For the same reason a Reader
//     hands out only what has been synced, whatever the policy.
//   - A record's checksum is seeded by its sequence and its segment's salt, so
//     that a valid record in the wrong place does not pass.
//   - Zero bytes never parse.
//   - What a restart finds is synced before anybody is shown it: a process that
//     was killed leaves bytes in the page cache only.
//
// # Failure
//
// A failed commit stops the journal: its callers, those queued behind it and
// all later ones get an error, until Resume has started a fresh segment and the
// owner has rebuilt what it derived from the records. A failed sync is never
// repeated over the same segment: the kernel may have dropped the pages and
// would answer the second one with success.
//
// # Limits
//
// What the disk acknowledged and then lost at the very end of the last segment
// cannot be told from a write that was torn by a crash. The truth about how far
// a replay came is the fence in Redis; the progress file is a hint beside it.
package journal
