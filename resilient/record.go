package resilient

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// A record's Meta, 29 bytes, little endian:
//
//	 0  1  flags
//	 1  8  Effect.Lapses: from then on the write is not replayed; 0: never
//	 9  8  Effect.Until: from then on the restoring commands are replayed; 0: never
//	17  8  Decision.UsefulUntil: from then on the write is a dead letter; 0: never
//	25  4  length of the write itself, one command or those of a transaction; the
//	       restoring commands follow it in Body
const (
	metaSize       = 29
	metaRepeatable = 1 << 0 // executing it twice in a row is as executing it once
	metaSets       = 1 << 1 // Effect.Sets
)

var errRecord = errors.New("resilient: a journal record is not one of ours")

// newRecord is what the journal keeps of a write.
func newRecord(db int, body []byte, repeatable bool, useful int64, effect overlay.Effect) journal.Record {
	meta := make([]byte, metaSize)
	if repeatable {
		meta[0] |= metaRepeatable
	}
	if effect.Sets {
		meta[0] |= metaSets
	}
	binary.LittleEndian.PutUint64(meta[1:], uint64(effect.Lapses))
	binary.LittleEndian.PutUint64(meta[9:], uint64(effect.Until))
	binary.LittleEndian.PutUint64(meta[17:], uint64(useful))
	binary.LittleEndian.PutUint32(meta[25:], uint32(len(body)))
	if len(effect.Restore) > 0 {
		body = append(body[:len(body):len(body)], effect.Restore...)
	}
	return journal.Record{At: time.UnixMilli(effect.At), DB: db, Meta: meta, Body: body}
}

// entry is a record read back.
type entry struct {
	repeatable    bool
	sets          bool
	lapses, until int64
	useful        int64
	write         []byte // the command, or those of a transaction
	restore       []byte // the commands in its place after until; may be empty
}

func parseRecord(rec journal.Record) (entry, error) {
	m := rec.Meta
	if len(m) < metaSize {
		return entry{}, errRecord
	}
	n := int(binary.LittleEndian.Uint32(m[25:]))
	if n == 0 || n > len(rec.Body) {
		return entry{}, errRecord
	}
	return entry{
		repeatable: m[0]&metaRepeatable != 0,
		sets:       m[0]&metaSets != 0,
		lapses:     int64(binary.LittleEndian.Uint64(m[1:])),
		until:      int64(binary.LittleEndian.Uint64(m[9:])),
		useful:     int64(binary.LittleEndian.Uint64(m[17:])),
		write:      rec.Body[:n:n],
		restore:    rec.Body[n:],
	}, nil
}

// lapseMargin is how long before its deadline a write counts as lapsed: it must
// not reach the server before the deadline and be executed after it.
const lapseMargin = time.Second

// lapsed reports whether nothing is left of the write at a time of the server's.
func (e *entry) lapsed(now time.Time) bool {
	return e.lapses != 0 && e.lapses <= now.Add(lapseMargin).UnixMilli()
}

// stale reports whether the write's use has ended.
func (e *entry) stale(now time.Time) bool { return e.useful != 0 && e.useful <= now.UnixMilli() }

// stands reports whether the key that the write rests on is still there, so
// that the write itself can be sent.
func (e *entry) stands(now time.Time) bool {
	return len(e.restore) == 0 || e.until > now.Add(lapseMargin).UnixMilli()
}

// eachCommand calls f with each of the encoded commands in b.
func eachCommand(b []byte, f func(cmd []byte, args [][]byte) error) error {
	for len(b) > 0 {
		args, n, err := resp.ParseCommand(b, nil)
		if err != nil {
			return err
		}
		if err := f(b[:n:n], args); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
