package overlay

import (
	"math"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Error replies, word for word those of Redis 7.
const (
	replyWrongType    = "WRONGTYPE Operation against a key holding the wrong kind of value"
	replyNotInteger   = "ERR value is not an integer or out of range"
	replyHashNotInt   = "ERR hash value is not an integer"
	replyOverflow     = "ERR increment or decrement would overflow"
	replyDecrOverflow = "ERR decrement would overflow"
	replySetExpire    = "ERR invalid expire time in 'set' command"
	replyTooLong      = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
)

// replyOK is shared by all who get it: its capacity is cut against appending.
var replyOK = []byte("OK")

func okReply() resp.Value {
	return resp.Value{Kind: resp.KindSimple, Str: replyOK[:len(replyOK):len(replyOK)]}
}

func errorReply(text string) resp.Value {
	return resp.Value{Kind: resp.KindError, Str: []byte(text)}
}

func simpleReply(text string) resp.Value {
	return resp.Value{Kind: resp.KindSimple, Str: []byte(text)}
}

func intReply(n int64) resp.Value { return resp.Value{Kind: resp.KindInt, Int: n} }

func nullReply() resp.Value { return resp.Value{Kind: resp.KindNull} }

// bulkReply answers with stored bytes. Stored strings are never changed in
// place, so the reply may share them; its capacity is cut so that a caller that
// appends to it does not write into ours.
func bulkReply(b []byte) resp.Value {
	return resp.Value{Kind: resp.KindBulk, Str: b[:len(b):len(b)]}
}

func boolReply(b bool) resp.Value {
	if b {
		return intReply(1)
	}
	return intReply(0)
}

// AppendReply appends the encoding of a reply of this package, in RESP3 for
// proto 3 and in RESP2 for any other.
func AppendReply(dst []byte, v resp.Value, proto int) []byte {
	switch v.Kind {
	case resp.KindSimple:
		return resp.AppendSimple(dst, string(v.Str))
	case resp.KindError:
		return resp.AppendError(dst, string(v.Str))
	case resp.KindInt:
		return resp.AppendInt(dst, v.Int)
	case resp.KindBulk:
		return resp.AppendBulk(dst, v.Str)
	case resp.KindArray:
		dst = resp.AppendArray(dst, len(v.Elems))
	case resp.KindMap:
		dst = resp.AppendMap(dst, len(v.Elems)/2, proto)
	default:
		// Doubles, booleans and big numbers are in no reply of ours.
		return resp.AppendNull(dst, proto)
	}
	for _, elem := range v.Elems {
		dst = AppendReply(dst, elem, proto)
	}
	return dst
}

// parseInt reads an integer as strictly as Redis does: no sign but a minus, no
// leading zero, no space, 64 bits.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' {
		return 0, false
	}
	var v uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	switch {
	case negative && v <= 1<<63:
		return -int64(v), true
	case !negative && v <= math.MaxInt64:
		return int64(v), true
	}
	return 0, false
}

// add is a+b, and false when that overflows.
func add(a, b int64) (int64, bool) {
	if (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b) {
		return 0, false
	}
	return a + b, true
}
