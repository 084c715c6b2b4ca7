// Package topology knows whether one shard has a usable primary, and which node it is.
//
// It has three parts, each usable alone:
//
//   - [Step] is a pure machine: (machine, event) in, (machine, actions) out. It has no clock,
//     goroutine or randomness; times come in events, and what is to be done goes out as actions.
//     The scenario files in testdata/scenarios tell its behaviour as stories.
//   - [Prober] asks one node what it is: ROLE, INFO server, replication and persistence, TIME, in
//     one pipelined attempt on connections of its own. PING proves nothing and is not used: in the
//     replication cycle every node answers it.
//   - [Monitor] drives the machine: it probes every known node at an interval, takes signals from
//     the write path, and publishes an immutable [View].
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
//   - One shard; no Sentinel and no Cluster knowledge yet.
//   - Addresses that servers name for each other are used as they are. Where they can't be reached
//     from here (NAT, containers), list reachable ones as seeds; certainty is then never claimed.
//   - A primary that answers others but not us looks like primary-down or hung.
package topology
