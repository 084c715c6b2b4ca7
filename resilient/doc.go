// Package resilient is a go-redis client that keeps an application working
// while Redis has no primary.
//
//	client, err := resilient.NewClient(
//		&redis.UniversalOptions{Addrs: []string{"redis-1:6379"}},
//		&resilient.Options{
//			Nodes: []string{"redis-2:6379", "redis-3:6379"},
//			Dir:   "/var/lib/myapp/holdfast",
//		})
//
// The [Client] is a redis.UniversalClient: put it where the go-redis client was.
//
// # What can still be lost
//
//   - Without Options.Dir: every deferred write, when the process ends before
//     the replay.
//   - With Dir and FsyncAlways, the default: nothing acknowledged, as long as the
//     disk keeps what it has synced. FsyncEverySec and FsyncNo lose about the
//     last second and about the last half minute when the machine crashes.
//   - Writes that a primary acknowledged by itself, before the outage, and had
//     not sent to the node that is promoted: Redis replicates asynchronously.
//   - Replayed writes that fewer replicas confirmed than [Options.ReplicaAcks]
//     asks for within [Options.ReplicaAckTimeout], when the primary is lost
//     right after. [Stats].Unconfirmed counts them.
//   - A prolonged life (EXPIRE, PERSIST) of a key that is too big to be read from
//     a replica, when its former deadline passes before the replay.
//   - The id that XADD * was answered with: the entry gets another one at the
//     replay. [Receipt].Exact is false, and commands that name such an id are
//     refused with [ErrPromisedID].
//
// A write whose outcome is not known is never answered with OK: the error is
// [ErrInDoubt].
//
// # The model
//
// The client watches every server of the group by its ROLE; PING proves nothing.
// While there is a verified primary, commands go straight to it. A write is sent
// once: go-redis's own repetition after a broken connection, which can apply a
// write twice, is switched off for writes.
//
// When a server declines a write as a replica, or can't be reached, that write
// and those after it are decided here, without the network:
//
//   - Deferrable writes are executed in the overlay, appended to the journal and
//     answered when the journal has them: writes of strings, bitmaps, hashes,
//     lists, sets, sorted sets, streams, HyperLogLogs and places whose reply does
//     not make the caller the only owner of something. The commands of a
//     transaction (TxPipeline) are deferred as one unit, or refused as one.
//   - Every other write is refused with a [*CommandError] that matches
//     [ErrNoPrimary] and names the command's class: what could grant one thing to
//     two owners (SET NX, LPOP), scripts, messages, WATCH, and what is not in the
//     command table. Nothing was applied, see [SafeToRetry]. [Options.Rules] and
//     [Options.Policy] can decide otherwise.
//   - Reads of keys with deferred writes are answered from the overlay, others by
//     the replica that would be promoted, and reads over both (MGET, SINTER, SCAN,
//     DBSIZE) from both. The few that can't see deferred writes (DUMP, OBJECT) are
//     refused with [ErrPendingWrites] rather than answered wrongly.
//
// What becomes of every single command is listed in docs/semantics.md. A
// [WithReceipt] tells of a deferred write how durable and how exact it is, and
// when it has reached the primary.
//
// The overlay begins with the value that the promotion candidate has, read once
// for each key, so INCR and HSET answer what Redis would have answered. While all
// servers are replicas their data can't change, so that is exact, but for one
// thing that no client can know: what other processes have deferred. Two
// processes that both defer INCR of one key both answer its value plus one; after
// the replay the key holds both. Where a counter hands out identities, don't use
// it in an outage.
//
// When a primary returns and has been verified, the journal is replayed to it in
// order, in transactions that carry their own progress, so that a batch whose
// reply was lost is neither repeated nor skipped. Keys without deferred writes
// are live again at once; a key with some stays in the overlay, and newer writes
// to it queue behind, until its last entry is in the primary and its replicas.
// An entry that the server rejects is kept as a dead letter and does not stop the
// others.
//
// # Journals of other processes
//
// Options.Dir is shared by all processes of an application on a host: each has a
// journal of its own below it. A client that starts takes over one that a dead
// process left, and shows its writes again. What other dead processes left is adopted
// by those that live, about once a minute while the shard is healthy: replayed once,
// in its own order, under the dead one's fence. A journal whose writes all came before
// the client's own is replayed before these; of those that overlap, or are found later,
// the one that is replayed last wins.
//
// A journal is not replayed by itself but parked where its writes could do harm: when
// its newest one is older than [Options.MaxReplayAge], or when the primary does not
// descend from the servers that the dead process knew. [Client.Parked] lists what is
// parked, Listener.JournalParked tells of it, and [Client.ReplayParked] or journalctl
// confirm it. New writes go into another journal meanwhile. One case is different: when
// a client started while no server answered, and the primary that then comes is a
// stranger to what it took over, its own journal is parked, and writes go on being
// deferred into it until it is confirmed or the process starts anew.
//
// What becomes of a deferred write is written down in a ledger beside the journal, and
// its bytes are kept for [Options.LedgerRetention]: Receipt.ID names it for journalctl.
// A full disk or a damaged journal never keeps a client from starting; [Stats] and
// Listener.JournalProblem tell.
//
// # Limits at this time
//
// Deferral works for one replication group, found by its address and
// [Options.Nodes] or by its Sentinels; for each shard of a Cluster and of a Ring;
// or for a client of yours in [Wrap]. Other processes' writes to the same
// keys, after the promotion and before the replay, are overwritten by it in order
// of arrival. The fence of a journal is a key named holdfast:fence:<id>, which
// expires 30 days after its last use; the user needs the rights to it, and to
// MULTI, WATCH, ROLE and INFO.
//
// # Errors
//
// The errors of this package are reached with errors.Is and errors.As; the
// server's own error stays reachable behind them. None of them matches
// redis.Nil, and none quotes a key or a value.
package resilient
