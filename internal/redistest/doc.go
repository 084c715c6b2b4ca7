// Package redistest runs real Redis servers for tests and for the example
// programs, and puts faults between them and their clients.
//
// A [Group] is one primary and its replicas: redis-server processes on free
// loopback ports, each with a directory of its own. Its verbs make what the
// library is about: [Group.Cycle] turns every server into a replica,
// [Group.Promote] ends that, [Group.CutLinks] parts replicas from their primary,
// [Node.Kill], [Node.Pause] and [Node.Restart] take single servers away and bring
// them back. [Sentinels] watch a Group. A [Cluster] is a Redis Cluster of shards,
// with verbs for failovers and for slots that move.
//
// A [Proxy] stands in front of one server and cuts connections before a request
// is sent, after it was sent, or in the middle of its reply; or it is an address
// that moves from one server to another. A [Network] is the way of one process to
// its servers, on which a server can be lost that others still reach.
//
// A [Scenario] is one way for Redis to have no primary, ready to be played: its
// [Stage] has the servers, and the verbs Break, Check, Mend and WaitWritable.
// [Scenarios] lists them all, for whoever wants to loop over them:
//
//	for _, scenario := range redistest.Scenarios() {
//		stage, err := scenario.Setup(ctx, redistest.StageOptions{})
//		…
//		client := redis.NewUniversalClient(stage.ClientOptions())
//		err = stage.Break(ctx)                 // it begins
//		err = stage.Check(ctx)                 // the servers show what the scenario says
//		err = stage.Mend(ctx)                  // an operator ends it
//		node, err := stage.WaitWritable(ctx)   // one primary takes writes again
//		err = stage.Close()
//	}
//
// Servers, Sentinels and Clusters speak TLS with certificates of an [Authority]
// if they are told to, and demand passwords of the default user or of an ACL user.
//
// Servers end with the program that started them, however it ends. Each has a
// guard, a small shell process that holds one end of a pipe: when the other
// end closes, because of [Group.Close], a panic, os.Exit or SIGKILL, the guard
// kills its server.
//
// A restarted server is empty unless it finds a primary to copy: servers write
// no append-only file, and snapshots only for a replica that needs a copy. They
// do keep their role: a change of role made through this package is written to
// the server's configuration, as Sentinel does it. [Node.RestartLoading] is the
// exception: that server loads what it had, slowly.
//
// Everything is built from two layers. A process (process.go) is one guarded
// server program; a [Node] (node.go, config.go) is a redis-server or a Sentinel
// with its address, configuration and lifecycle. A Group (group.go,
// replication.go, links.go), Sentinels (sentinel.go, sentinelverb.go) and a
// Cluster (cluster.go, clusterverb.go, clusterview.go) arrange nodes; scenarios
// (scenario*.go, stage.go) use all of it.
//
// The package needs a Unix system with /bin/sh. Only Eventually and what ends in
// T need a test.
package redistest
