// Package backlog is a journal as a [replay.Source]: what is to be sent for an
// entry at a time, what becomes a dead letter, and what is entered into the ledger.
// The client replays its own journal and adopted ones through it, and the command
// line those that an operator sends by hand, so that all of them do the same.
//
// FormOf makes the choice, and is pure; Source carries it out.
//
// Several Sources share a journal where its entries are for several primaries: the
// shards of a Cluster, or of a Ring. Lanes then knows how far each is, so that what one
// primary has leaves although another one is down, and the journal gives back what is
// over for all.
package backlog
