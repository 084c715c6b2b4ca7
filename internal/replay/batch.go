package replay

import (
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// A buffer that one huge entry has grown beyond this is not kept.
const keepBuffer = 1 << 20

// batch is what is sent in one write. It is reused from one to the next.
type batch struct {
	entries []Entry
	last    uint64 // the fence's value once the batch is applied
	buf     []byte
	args    [][]byte // for vet
}

// encode builds the bytes to send.
func (b *batch) encode(fence string) []byte {
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	buf := resp.AppendCommandStrings(b.buf[:0], "MULTI")
	for _, e := range b.entries {
		buf = append(buf, e.Cmd...)
	}
	var digits [20]byte
	buf = resp.AppendArray(buf, 3)
	buf = resp.AppendBulkString(buf, "SET")
	buf = resp.AppendBulkString(buf, fence)
	// The fence comes last, so that a FLUSHDB among the entries can't remove it.
	buf = resp.AppendBulk(buf, strconv.AppendUint(digits[:0], b.last, 10))
	buf = resp.AppendCommandStrings(buf, "EXEC")
	buf = resp.AppendCommandStrings(buf, "WATCH", fence)
	buf = resp.AppendCommandStrings(buf, "GET", fence)
	b.buf = buf
	return buf
}

// vet reports whether cmd is exactly one command that may stand in a batch.
// Anything else would shift the replies against the entries, or end the
// transaction before its fence.
func (b *batch) vet(cmd []byte) bool {
	args, n, err := resp.ParseCommand(cmd, b.args[:0])
	b.args = args[:0]
	return err == nil && n == len(cmd) && len(args) > 0 && !ofSession(args[0])
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
