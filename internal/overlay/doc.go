// Package overlay is the in-process state of the keys that have deferred
// writes: what a replica said of each key, plus this process's own writes on
// top. It executes those writes, answers them as Redis would, and serves reads
// of the same keys until the writes are safe in a primary.
//
// # Model
//
// The overlay holds exactly the keys named by deferred writes that have not
// been trimmed. A write that needs to know what was there before (INCR, HSET,
// DEL…) first seeds its key through a [Source]; a plain SET does not. A key
// that could not be seeded is unresolved: its writes are kept with it, replies
// are estimates, and the next successful seed puts them right.
//
// A write is applied under its key's lock, takes its sequence there through
// [Request.Commit], and can be taken back by [Overlay.Rollback] until
// [Overlay.Durable] or [Overlay.Trim] has passed it. So the order of a key's
// writes in the journal is the order in which their replies were computed.
//
// # Commands
//
// Writes are taken in the canonical form that goes into the journal, deadlines
// absolute: SET (plain, PXAT, KEEPTTL), DEL, PEXPIREAT, PERSIST, INCR, INCRBY,
// DECR, DECRBY, APPEND, HSET, HMSET, HDEL, HINCRBY. Reads: GET, MGET, STRLEN,
// EXISTS, TYPE, TTL, PTTL, HGET, HMGET, HGETALL, HLEN, HEXISTS. Everything else
// is [ErrNotServed].
//
// # Limits
//
// The reply is the replica's state plus this process's own writes: two
// processes that both defer INCR of one key both answer base+1. The order of
// HGETALL is that of insertion, as in Redis's small hashes; large ones have no
// order there either. A key of another type, or too big to seed, is held
// without its value: it can be deleted and expired, and answers TYPE, TTL, PTTL
// and EXISTS.
package overlay
