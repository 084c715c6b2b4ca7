package replay

import (
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/coalesce"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// A buffer that one huge entry has grown beyond this is not kept.
const keepBuffer = 1 << 20

// batch is what is sent in one write. It is reused from one to the next.
type batch struct {
	entries []Entry
	last    uint64 // the fence's value once the batch is applied
	buf     []byte
	held    bool   // the entries' bytes are not the journal's
	settled bool   // they are in buf
	tail    []byte // what follows them, where that is sent later

	merging *merging // nil: nothing is merged
	merger  coalesce.Merger
	parts   []part // what was sent for the entries
	spoilt  int    // entries that went with others, and were rejected with them
	kept    []byte
}

// encode builds the bytes to send: next is the fence of the batch that will follow.
func (b *batch) encode(fence, next string) []byte {
	b.encodeHead()
	b.buf = b.appendTail(b.buf, fence, next)
	return b.buf
}

// encodeHead builds the part without any effect: the server queues it.
func (b *batch) encodeHead() []byte {
	if cap(b.buf) > keepBuffer || b.settled {
		b.buf, b.settled = nil, false
	}
	buf := append(b.buf[:0], multi...)
	for _, p := range b.plan() {
		buf = append(buf, p.cmd...)
	}
	b.buf = buf
	return buf
}

// multi begins a transaction.
var multi = resp.AppendCommandStrings(nil, "MULTI")

// appendTail appends the part that takes effect.
func (b *batch) appendTail(buf []byte, fence, next string) []byte {
	var digits [20]byte
	buf = resp.AppendArray(buf, 3)
	buf = resp.AppendBulkString(buf, "SET")
	buf = resp.AppendBulkString(buf, fence)
	// The fence comes last, so that a FLUSHDB among the entries can't remove it.
	buf = resp.AppendBulk(buf, strconv.AppendUint(digits[:0], b.last, 10))
	buf = resp.AppendCommandStrings(buf, "EXEC")
	buf = resp.AppendCommandStrings(buf, "WATCH", next)
	return resp.AppendCommandStrings(buf, "GET", next)
}

// settle makes the entries' bytes those in the buffer, into which they were encoded:
// there they stay when the journal reads on.
func (b *batch) settle() {
	if b.held {
		return
	}
	b.held = true
	b.settled = b.merged() == 0
	if !b.settled { // not all of them are there
		b.keep()
		return
	}
	at := len(multi)
	for i := range b.entries {
		e := &b.entries[i]
		e.Cmd = b.buf[at : at+len(e.Cmd) : at+len(e.Cmd)]
		at += len(e.Cmd)
	}
}

// vet reports whether cmd is exactly one command that may stand in a batch.
// Anything else would shift the replies against the entries, or end the
// transaction before its fence.
func vet(cmd []byte) bool {
	name, ok := resp.Single(cmd)
	return ok && !ofSession(name)
}

// ofSession reports whether a command acts on the connection or on the
// transaction rather than on data.
func ofSession(name []byte) bool {
	var lower [16]byte
	if len(name) > len(lower) {
		return false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "multi", "exec", "discard", "watch", "unwatch", "select", "auth", "hello",
		"reset", "quit", "client", "asking", "readonly", "readwrite", "monitor",
		"sync", "psync", "subscribe", "psubscribe", "ssubscribe", "unsubscribe",
		"punsubscribe", "sunsubscribe":
		return true
	}
	return false
}

// counted is how many writes the entries stand for, without the dead ones.
func (b *batch) counted(dead []fault) int {
	n := 0
	for _, e := range b.entries {
		if !e.Uncounted {
			n++
		}
	}
	for _, f := range dead {
		if !b.entries[f.index].Uncounted {
			n--
		}
	}
	return n
}

// drop removes the entries at the given ascending indexes.
func (b *batch) drop(faults []fault) {
	kept := b.entries[:0]
	for i, e := range b.entries {
		if len(faults) > 0 && faults[0].index == i {
			faults = faults[1:]
			continue
		}
		kept = append(kept, e)
	}
	b.entries = kept
}
