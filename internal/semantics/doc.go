// Package semantics says what becomes of every Redis command: while the shard is
// healthy, while it has no primary, and while deferred writes are being replayed.
//
// The folder forms holds at least one well-formed example of every command of the
// command table, and one more for each form that is treated in another way. What
// becomes of a form is not written there: Behave derives it from the command table,
// as the router does, and Document makes docs/semantics.md of it. Tests execute each
// form against real servers and compare.
//
// Everything in this package is a pure function of the command table and may be used
// concurrently.
package semantics

//go:generate go test -run TestDocument -write-docs .
