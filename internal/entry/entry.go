// Package entry is the content of a journal record: what is kept of a deferred
// write beside its commands, and how the two share the record's Meta and Body.
// The journal below does not look at either; whoever writes, replays or shows
// entries does so through this package.
//
// It is pure: no clock, no goroutine, no I/O.
package entry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Meta, version 1, little endian:
//
//	 0  1  version, 1
//	 1  1  flags: 1 repeatable, 2 sets, 4 estimated, 8 the reply is RESP3
//	 2  1  class
//	 3  8  lapses, Unix milliseconds; 0: never
//	11  8  until, Unix milliseconds; 0: never
//	19  8  useful until, Unix milliseconds; 0: without end
//	27  4  length of the write, at least 1; the restoring commands follow it in Body
//	31     fields, each: tag (1), length (2), bytes
//
// Fields stand in any order; of a tag that stands twice the last counts, but for the
// bases, which add up. A reader passes over tags that it does not know, so that new
// ones need no new version.
const (
	version   = 1
	fixedSize = 31
	fieldHead = 3

	flagRepeatable = 1 << 0
	flagSets       = 1 << 1
	flagEstimated  = 1 << 2
	flagRESP3      = 1 << 3

	tagShard = 1 // name of the shard
	tagReply = 2 // digest of the promised reply, 8 bytes
	// 3 was kept for one base, and has never been written.
	tagTrace = 4 // W3C trace context: trace id (16), span id (8), flags (1)
	tagBases = 5 // of keys: digest of the name (8) and basis (25), one after the other

	baseSize = 8 + basis.Size
	maxBases = math.MaxUint16 / baseSize // in one field
)

// MaxShardBytes is the most that the name of a shard may hold; AppendMeta leaves
// out a longer one.
const MaxShardBytes = 1024

// MetaSize is the size of a buffer in which the Meta of an entry without a shard
// name, and with one base at most, has room.
const MetaSize = fixedSize + fieldHead + 8 + fieldHead + baseSize + fieldHead + len(Trace{})

var (
	// ErrMalformed says that the bytes are not an entry.
	ErrMalformed = errors.New("entry: malformed")
	// ErrNewer says that a later version of this package wrote the entry. Nothing
	// can be said about it; keep it.
	ErrNewer = errors.New("entry: written by a newer version")
)

// Class is what the command table said of the write when it was accepted. The
// values are part of the format: none is ever changed or used again. The zero
// value is ClassUnknown.
type Class uint8

// The classes, named as in internal/command.
const (
	ClassUnknown      Class = 0
	ClassRead         Class = 1
	ClassBlind        Class = 2
	ClassAccumulating Class = 3
	ClassConditional  Class = 4
	ClassClaiming     Class = 5
	ClassScript       Class = 6
	ClassTransaction  Class = 7
	ClassPublish      Class = 8
	ClassAdmin        Class = 9
)

var classNames = [...]string{
	"unknown", "read", "blind write", "accumulating write", "conditional write", "claiming write", "script",
	"transaction", "publish", "admin",
}

// String is the class in words; of one that a newer version knows its number.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Trace is a W3C trace context in binary: the trace's id (16 bytes), the span's (8)
// and its flags (1). The zero value is none.
type Trace [25]byte

// Base is what one key of a write held before it.
type Base struct {
	Name uint64 // basis.Name of the key
	basis.Basis
}

// Entry is one deferred write.
type Entry struct {
	// Repeatable: executing it twice in a row is as executing it once.
	Repeatable bool
	// Sets: the write itself set or changed the deadline Lapses, so that its key
	// must be deleted once that has passed.
	Sets bool
	// Estimated: the reply that the caller got was not certain to be Redis's.
	Estimated bool
	// RESP3: Reply is the digest of a RESP3 reply, else of a RESP2 one.
	RESP3 bool
	// Class is what the command table said of the write.
	Class Class

	// Lapses, Until and Useful are Unix milliseconds of the server's clock, and 0
	// for never. From Lapses on nothing is left of the write, and it is not
	// replayed; from Until on Restore is replayed in place of Write; from Useful
	// on the write is a dead letter.
	Lapses, Until, Useful int64

	// Shard names the shard; empty where a client has one only.
	Shard []byte
	// Reply is the sum of a resp.Digest of what the caller was answered, for the
	// commands in Write, one after the other; 0: not kept.
	Reply uint64
	// Bases are what keys held that had no deferred write before this one; kept only
	// where a replay is to look for conflicts.
	Bases []Base
	// Trace is the caller's span.
	Trace Trace

	// Write is the command, or those of a transaction one after the other, encoded
	// as RESP; never empty.
	Write []byte
	// Restore are the commands that bring the changed keys, whatever there is, to
	// the state after the write; may be empty.
	Restore []byte
}

// AppendMeta appends the entry's Meta to dst. It allocates nothing where dst has
// room.
func (e *Entry) AppendMeta(dst []byte) []byte {
	flags := byte(0)
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{e.Repeatable, flagRepeatable},
		{e.Sets, flagSets},
		{e.Estimated, flagEstimated},
		{e.RESP3, flagRESP3},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	dst = append(dst, version, flags, byte(e.Class))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Lapses))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Until))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Useful))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.Write)))
	if n := len(e.Shard); n > 0 && n <= MaxShardBytes {
		dst = append(appendHead(dst, tagShard, n), e.Shard...)
	}
	dst = appendDigest(dst, tagReply, e.Reply)
	for bases := range slices.Chunk(e.Bases, maxBases) {
		dst = appendHead(dst, tagBases, len(bases)*baseSize)
		for i := range bases {
			dst = bases[i].Append(binary.LittleEndian.AppendUint64(dst, bases[i].Name))
		}
	}
	if e.Trace != (Trace{}) {
		dst = append(appendHead(dst, tagTrace, len(e.Trace)), e.Trace[:]...)
	}
	return dst
}

func appendHead(dst []byte, tag byte, n int) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, tag), uint16(n))
}

func appendDigest(dst []byte, tag byte, digest uint64) []byte {
	if digest == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(appendHead(dst, tag, 8), digest)
}

// Body is the entry's Body: Write itself, or a new slice where Restore follows it.
func (e *Entry) Body() []byte {
	if len(e.Restore) == 0 {
		return e.Write
	}
	return append(e.Write[:len(e.Write):len(e.Write)], e.Restore...)
}

// Parse reads what AppendMeta and Body made. The entry's bytes alias meta and
// body. The error is ErrMalformed or ErrNewer.
func Parse(meta, body []byte) (Entry, error) {
	var e Entry
	err := e.Decode(meta, body)
	return e, err
}

// Decode is Parse into e, whatever that holds.
func (e *Entry) Decode(meta, body []byte) error {
	*e = Entry{}
	if len(meta) == 0 {
		return ErrMalformed
	}
	if meta[0] > version {
		return ErrNewer
	}
	if meta[0] == 0 || len(meta) < fixedSize {
		return ErrMalformed
	}
	n := int64(binary.LittleEndian.Uint32(meta[27:]))
	if n == 0 || n > int64(len(body)) {
		return ErrMalformed
	}
	e.Repeatable = meta[1]&flagRepeatable != 0
	e.Sets = meta[1]&flagSets != 0
	e.Estimated = meta[1]&flagEstimated != 0
	e.RESP3 = meta[1]&flagRESP3 != 0
	e.Class = Class(meta[2])
	e.Lapses = int64(binary.LittleEndian.Uint64(meta[3:]))
	e.Until = int64(binary.LittleEndian.Uint64(meta[11:]))
	e.Useful = int64(binary.LittleEndian.Uint64(meta[19:]))
	e.Write, e.Restore = body[:n:n], body[n:]
	return e.parseFields(meta[fixedSize:])
}

func (e *Entry) parseFields(b []byte) error {
	for len(b) > 0 {
		if len(b) < fieldHead {
			return ErrMalformed
		}
		tag, n := b[0], int(binary.LittleEndian.Uint16(b[1:]))
		b = b[fieldHead:]
		if n > len(b) {
			return ErrMalformed
		}
		if !e.field(tag, b[:n:n]) {
			return ErrMalformed
		}
		b = b[n:]
	}
	return nil
}

// field takes one field; false when its length can't be right.
func (e *Entry) field(tag byte, b []byte) bool {
	switch tag {
	case tagShard:
		e.Shard = b
		return len(b) > 0 && len(b) <= MaxShardBytes
	case tagReply:
		if len(b) != 8 {
			return false
		}
		e.Reply = binary.LittleEndian.Uint64(b)
	case tagBases:
		return e.parseBases(b)
	case tagTrace:
		if len(b) != len(e.Trace) {
			return false
		}
		e.Trace = Trace(b)
	}
	return true
}

func (e *Entry) parseBases(b []byte) bool {
	if len(b)%baseSize != 0 {
		return false
	}
	for ; len(b) > 0; b = b[baseSize:] {
		known, err := basis.Parse(b[8:baseSize])
		if err != nil {
			return false
		}
		e.Bases = append(e.Bases, Base{Name: binary.LittleEndian.Uint64(b), Basis: known})
	}
	return true
}

// Margin is how long before its deadline a write counts as lapsed: it must not
// reach the server before the deadline and be executed after it.
const Margin = time.Second

// Lapsed reports whether nothing is left of the write at a time of the server's.
func (e *Entry) Lapsed(now time.Time) bool {
	return e.Lapses != 0 && e.Lapses <= now.Add(Margin).UnixMilli()
}

// Stale reports whether the write's use has ended.
func (e *Entry) Stale(now time.Time) bool { return e.Useful != 0 && e.Useful <= now.UnixMilli() }

// Stands reports whether the key that the write rests on is still there, so that
// Write itself is what to send. Otherwise Restore is.
func (e *Entry) Stands(now time.Time) bool {
	return len(e.Restore) == 0 || e.Until > now.Add(Margin).UnixMilli()
}

// EachCommand calls f with each of the encoded commands in b, such as Write, until
// it returns an error. cmd and args alias b; there is at least one argument, the
// command's name. An error of its own says that b is not whole commands: it wraps
// resp's, or is ErrMalformed where a command is empty, which no server would take
// either.
func EachCommand(b []byte, f func(cmd []byte, args [][]byte) error) error {
	for len(b) > 0 {
		args, n, err := resp.ParseCommand(b, nil)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return ErrMalformed
		}
		if err := f(b[:n:n], args); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
