// Package topology knows whether one shard has a usable primary, and which node it is.
//
// Its parts, each usable alone:
//
//   - [Step] is a pure machine: (machine, event) in, (machine, actions) out. It has no clock,
//     goroutine or randomness; times come in events, and what is to be done goes out as actions.
//     The scenario files in testdata/scenarios tell its behaviour as stories.
//   - [Prober] asks one node what it is: ROLE, INFO server, replication and persistence, TIME, in
//     one pipelined attempt on connections of its own. PING proves nothing and is not used: in the
//     replication cycle every node answers it.
//   - [SentinelProber] asks a Sentinel what it knows of the group, and listens to what it announces.
//   - [Monitor] drives the machine: it probes every known node and Sentinel at an interval, takes
//     signals from the write path, and publishes an immutable [View].
//   - [Cluster] is a pure function, too: the views of a Cluster's servers in, its shards out.
//     [ClusterMonitor] watches each of them by a Monitor of its own. A Ring is a Monitor a shard.
//
// A probe costs one connection a node and one request an interval while healthy.
//
// # States
//
//	Unknown → Healthy ⇄ Replaying
//	             ↓          ↓
//	          Suspect → NoPrimary | Unreachable → Returning → Replaying → Healthy
//
// Writes may go to the network (View.Live) in Healthy and Replaying and nowhere else.
//
// # Rules
//
//   - From Unknown the first round decides: one good primary is enough when nothing contradicts it.
//   - A write that the server certainly did not apply (READONLY, a refused dial) moves a live shard
//     to Suspect at once; ambiguous failures (EOF, timeouts) are counted and are no proof.
//   - A lost probe is not an outage: a primary that does not answer must be lost in
//     Config.LostProbes rounds in a row. A refused dial is stronger: the first one already moves to
//     Suspect, as does a lost probe together with Config.AmbiguousLimit ambiguous failures.
//   - A primary that answers "replica" is proof at once.
//   - A primary is usable when its role is master, it is not loading, it has as many good replicas
//     as min-replicas-to-write asks for, no other master exists, and it is of our lineage (below).
//     Config.Confirmations rounds in a row must say so before it is used.
//   - A primary with another run_id or another replication id than before closes the live path,
//     also when no outage was seen: it has to return like any other.
//   - Two masters, a master of unknown lineage, and a writable replica where there is no primary
//     hold the shard in Suspect: writes deferred rather than lost. A writable replica beside a
//     usable primary is only mentioned in the diagnosis, as no write of ours goes there.
//   - A primary in use that answers BUSY, or takes no more connections, is the primary. So is one that
//     refuses for want of memory or disk: View.Overload tells, and the state does not heed it.
//   - A primary that let writes hang and looks well to probes (CLIENT PAUSE WRITE, a stuck disk) is held
//     in Suspect until it has answered a write: View.AwaitsWrite, WriteAnswered.
//   - A primary that is lost again soon after its return needs twice as many rounds the next time.
//
// # Who decides
//
// Where Sentinels are known, a primary must be the one that more than half of them name; where a
// majority has named another than the last primary, that one is not used again before they name it,
// be they silent meanwhile. Without a majority, and before one was heard, the lineage decides. Of two
// masters the one that is named is used, unless the other is its successor: Sentinels lag behind the
// roles. In a Cluster the same holds for the owner of the slots by the view of most masters. Neither
// says whether a primary works: that only its own answers do.
//
// # Partitions
//
// A primary that does not answer us is partitioned, and not down, when somebody else has heard it
// since: a replica whose offset grows or that had input from it, or a Sentinel that it answered. It
// takes a few rounds while others write, and up to 12 s while nobody does.
//
// # Lineage
//
// A replica that is promoted takes a new replication id and keeps the former one as its second, so
// ids form a chain. A master is ours when its replid or replid2 is the id of the last primary, or of
// a descendant seen since; or when it has the last primary's run_id or address (a restart without
// persistence begins a new chain). A master that only shares an older id with us (a sibling or the
// ancestor of the last primary, so later writes are missing from it) is accepted only when every
// known node answers: otherwise the newer primary may merely be out of our sight. Ids that came and
// went unseen, as in two failovers between two rounds, break the chain; then a master is ours when
// more than half of the known addresses, and not it alone, have its replid. Whatever else is a
// master has the cause foreign-primary.
//
// # Limits
//
//   - Addresses that servers name for each other are used as they are. Where they can't be reached
//     from here (NAT, containers), list reachable ones as seeds; certainty is then never claimed.
//   - Of a Cluster's servers the ip is used, not the announced host name. Each tells its whole view
//     with each probe, about 150 bytes a server: a hundred servers are 1.5 MB a second in all.
//   - A primary without replicas and Sentinels that answers others but not us looks like primary-down
//     or hung.
//   - Whether Sentinels would promote a replica is judged by what they tell and their documented rules
//     (Redis 6.2 to 8); they may have tuned INFO periods, and nothing is told of orders that servers refuse.
package topology
