// Peers measures the journal beside other stores that keep records on a disk:
// tidwall/wal, bbolt and pebble, each used as its documentation recommends for
// many callers whose records must be durable, and beside a bare loop of write
// and fdatasync, which is what the disk gives.
//
// Two things are measured. An append: so many callers, each of which appends a
// record, waits until it is durable and begins again. An open: a process that
// has appended a million records is killed in the middle of further ones, and
// another one opens what it left and reads all of it.
//
// All peers are measured in every round, in an order that is shuffled for each,
// so that a slow minute of the machine meets all of them; what is compared is
// the ratio within a round. The output is in the form of Go benchmarks, one line
// a measurement, so benchstat reads it too:
//
//	go run . -o FILE                      measure
//	go run . -table FILE                  the medians of FILE as tables
//	go run . -table FILE -into DOC.md     the same, between the marks in DOC.md
//
// The tables of docs/benchmarks.md are generated from the file named below; one
// that replaces it is to be named there and here.
//
// It is a module of its own, so that the peers are no dependency of the library.
package main

//go:generate go run . -table ../2026-11-journal-peers.txt -into ../../docs/benchmarks.md
