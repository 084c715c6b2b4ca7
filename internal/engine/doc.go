// Package engine executes Redis commands on values in memory and answers them
// byte for byte as a Redis server would.
//
// It holds no keys. Its user, the overlay, finds the objects that a command
// names, locks them, and runs the command on them in a [Call]. What the call
// changed can be taken back, at once or later ([Change.Revert]); what it answers
// is appended to a buffer as RESP, in either protocol version.
//
// # Objects
//
// An [Object] is what one key holds. The zero Object is a key that does not
// exist. An object may be opaque: its type and deadline are known, its value is
// not. Or it may be partial: of a big hash, list, set, sorted set or stream it
// knows the number of elements and only those members that have been asked for.
// A command that needs more of a partial object reports what it misses
// ([Call.Misses]), or that it needs the whole ([ErrTooBig]).
//
// # Rules for an executing function
//
// It reads its objects through [Call.Key], checks all its arguments in the order
// in which Redis does, writes exactly one reply, and calls [Call.Change] before
// the first change to an object. Changes inside a container are undone by
// functions that it leaves with the Change. Objects and containers own their
// bytes: arguments are copied into them, and replies are copied out. It must not
// panic; if it does all the same, the overlay takes the call back and refuses it.
//
// # Concurrency
//
// A Call and its Objects belong to one goroutine at a time: the one that holds
// the locks of their keys. The table of commands does not change.
package engine
