// Package redistest runs real Redis servers for tests and for the example
// programs, and puts faults between them and their clients.
//
// A [Group] is one primary and its replicas: redis-server processes on free
// loopback ports, each with a directory of its own. Its verbs make what the
// library is about: [Group.Cycle] turns every server into a replica,
// [Group.Promote] ends that, [Node.Kill], [Node.Pause] and [Node.Restart] take
// single servers away and bring them back. A [Proxy] stands in front of one
// server and cuts connections before a request is sent, after it was sent, or
// in the middle of its reply. A [Cluster] is a Redis Cluster of primaries; a
// [Sentinel] watches a Group.
//
// Servers end with the program that started them, however it ends. Each has a
// guard, a small shell process that holds one end of a pipe: when the other
// end closes, because of [Group.Close], a panic, os.Exit or SIGKILL, the guard
// kills its server.
//
// A restarted server is empty unless it finds a primary to copy: servers write
// no append-only file, and snapshots only for a replica that needs a copy. They
// do keep their role: a change of role made through this package is written to
// the server's configuration, as Sentinel does it.
//
// Everything is built from two layers. A process (process.go) is one guarded
// server program; a [Node] (node.go) is a redis-server with its address,
// configuration and lifecycle; a Group (group.go, replication.go) and a Cluster
// (cluster.go) arrange nodes. Other topologies belong beside them and use the
// same two layers.
//
// The package needs a Unix system with /bin/sh. Only Eventually and what ends in
// T need a test.
package redistest
