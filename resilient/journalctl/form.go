package main

import (
	"strconv"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// formKind is what the replay does with a write at a time. The zero value is invalid.
type formKind uint8

const (
	formWrite      formKind = iota + 1 // sends it
	formRestore                        // sends the state that it left: its key's former deadline has passed
	formExpired                        // deletes its key by the deadline, or sends nothing
	formUseless                        // makes a dead letter of it
	formUnreadable                     // makes a dead letter of it
)

// form is a write as the replay sends it.
type form struct {
	kind     formKind
	commands []byte // empty: nothing
}

// formOf chooses as the client does: see journalSource in package resilient.
func formOf(w *write, now time.Time) form {
	e := &w.entry
	switch {
	case w.err != nil:
		return form{kind: formUnreadable}
	case e.Stale(now):
		return form{kind: formUseless}
	case e.Lapsed(now):
		return form{formExpired, deadlineOf(w)}
	case !e.Stands(now):
		return form{formRestore, e.Restore}
	}
	return form{formWrite, e.Write}
}

// deadlineOf is what is left of a write whose key's deadline has passed: where the
// write itself set the deadline, the key has to go by it.
func deadlineOf(w *write) []byte {
	if !w.entry.Sets || len(w.keys) == 0 {
		return nil
	}
	return resp.AppendCommand(nil, []byte("PEXPIREAT"), []byte(w.keys[0]), strconv.AppendInt(nil, w.entry.Lapses, 10))
}
