package overlay

import (
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Effect is what a write did to the deadline of its key, for whoever replays it
// later. Time goes on in the primary as well: a key whose deadline comes before
// the replay is gone there, and the write on its own would then make another
// key than the one that was promised. The zero value says that none of this
// matters, as for a write on several keys.
type Effect struct {
	// At is when the write was executed, in Unix milliseconds of the server's
	// clock.
	At int64

	// Lapses is the deadline that the key has after the write, in Unix
	// milliseconds of the server's clock; 0 is none. From then on nothing is left
	// of the write, and it must not be replayed: INCR would make a key for ever.
	Lapses int64

	// Until is the deadline that the write took off the key or put off, 0 if it
	// did neither. From then on the write finds no key any more, and Restore is
	// to be replayed in its place.
	Until int64

	// Restore is what brings the key, whatever there is, to the state after the
	// write: one or more commands, encoded. It is empty while Until is 0, and when
	// the value is not known (a key of another type, or above the seeding limit).
	Restore []byte
}

// effect looks at a write that was executed and not yet committed.
func (x *call) effect() Effect {
	if x.cmd.many || len(x.undo) != 1 || !x.entries[0].known {
		return Effect{At: x.now}
	}
	e, before := x.entries[0], &x.undo[0].before
	if e.val.kind == KindNone {
		return Effect{At: x.now}
	}
	f := Effect{At: x.now, Lapses: e.val.expireAt}
	if x.cmd.moves && before.known && before.val.expireAt != 0 &&
		(e.val.expireAt == 0 || e.val.expireAt > before.val.expireAt) {
		f.Until = before.val.expireAt
		f.Restore = e.val.restore(e.key.Name)
	}
	return f
}

// restore encodes the commands that make a key what v says.
func (v *value) restore(key string) []byte {
	deadline := strconv.FormatInt(v.expireAt, 10)
	switch v.kind {
	case KindString:
		n := 3
		if v.expireAt != 0 {
			n = 5
		}
		b := resp.AppendArray(nil, n)
		b = resp.AppendBulkString(b, "SET")
		b = resp.AppendBulkString(b, key)
		b = resp.AppendBulk(b, v.str)
		if v.expireAt != 0 {
			b = resp.AppendBulkString(b, "PXAT")
			b = resp.AppendBulkString(b, deadline)
		}
		return b
	case KindHash:
		b := resp.AppendCommandStrings(nil, "DEL", key)
		b = resp.AppendArray(b, 2+2*v.hash.live)
		b = resp.AppendBulkString(b, "HSET")
		b = resp.AppendBulkString(b, key)
		for i := range v.hash.fields {
			if f := &v.hash.fields[i]; !f.dead {
				b = resp.AppendBulkString(b, f.name)
				b = resp.AppendBulk(b, f.value)
			}
		}
		if v.expireAt != 0 {
			b = resp.AppendCommandStrings(b, "PEXPIREAT", key, deadline)
		}
		return b
	case KindNone, KindOpaque:
	}
	return nil
}
