// Replay measures the drain of a journal into a primary that has returned.
//
// The subcommand throughput replays a million entries of one kind of write, and of a
// mix, in several ways, each into an empty server of its own machine:
//
//	raw       what the network and the server can: one goroutine writes the bytes of
//	          all commands, 64 KiB a write, while another reads the replies and looks
//	          at none but the last. So does redis-cli --pipe. Nothing tells how far
//	          the server got when it breaks
//	holdfast  internal/replay from a journal in memory, and from one on disk, through
//	          internal/backlog, as the library does it: checksums, fence, deadlines,
//	          replies compared, entries trimmed. Without a pace; and from memory with
//	          the default one, in a round or two
//	go-redis  pipelines of 500 commands, one after the other, as order demands
//	rueidis   the same by DoMulti
//
// All ways are measured in every round, in an order shuffled for each, so that a slow
// minute of the machine meets all of them; what is compared is the ratio within a
// round. The output is in the form of Go benchmarks, one line a measurement, so
// benchstat reads it too:
//
//	go run . throughput -o FILE                   measure
//	go run . throughput -table FILE               the medians of FILE as a table
//	go run . throughput -table FILE -into DOC.md  the same, between the marks in DOC.md
//
// It is a module of its own, so that what it measures beside the replay is no
// dependency of the library.
package main
