package resp

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrIncomplete says that the bytes end before the value does: more may come.
var ErrIncomplete = errors.New("resp: incomplete value")

// ErrProtocol says that the bytes are not RESP, or are beyond the limits that
// Redis sets itself. Errors that wrap it say where.
var ErrProtocol = errors.New("resp: protocol error")

// Limits of a real server: proto-max-bulk-len and the multibulk count.
const (
	maxBulkLen = 512 << 20
	maxArgs    = 1 << 20
)

// emptyBulk is the size of the shortest argument, an empty one.
const emptyBulk = len("$0\r\n\r\n")

// ParseCommand decodes one command from the start of b. The arguments are
// appended to args and alias b. n is the length of the command's encoding.
// ErrIncomplete asks for more bytes; an error that wraps ErrProtocol is final.
func ParseCommand(b []byte, args [][]byte) (_ [][]byte, n int, err error) {
	count, pos, err := parseHeader(b, '*', maxArgs)
	if err != nil {
		return args, 0, err
	}
	// All of them at once, but never more than can still come: a damaged count must not
	// become an allocation of its size.
	if args == nil && count > 0 {
		args = make([][]byte, 0, min(count, (len(b)-pos)/emptyBulk))
	}
	for range count {
		size, used, err := parseHeader(b[pos:], '$', maxBulkLen)
		if err != nil {
			return args, 0, err
		}
		pos += used
		if len(b)-pos < size+2 {
			return args, 0, ErrIncomplete
		}
		if b[pos+size] != '\r' || b[pos+size+1] != '\n' {
			return args, 0, fmt.Errorf("%w: bulk string without its line end", ErrProtocol)
		}
		args = append(args, b[pos:pos+size:pos+size])
		pos += size + 2
	}
	return args, pos, nil
}

// Single returns the name of the command that b is. ok is false where b is not exactly
// one command, whole and with a name.
func Single(b []byte) (name []byte, ok bool) {
	count, pos, err := parseHeader(b, '*', maxArgs)
	if err != nil || count == 0 {
		return nil, false
	}
	for i := range count {
		size, used, err := parseHeader(b[pos:], '$', maxBulkLen)
		if err != nil {
			return nil, false
		}
		start := pos + used
		pos = start + size + 2
		if len(b) < pos || b[pos-2] != '\r' || b[pos-1] != '\n' {
			return nil, false
		}
		if i == 0 {
			name = b[start : start+size : start+size]
		}
	}
	return name, pos == len(b)
}

// parseHeader reads "<kind><length>\r\n" with a length in [0, limit].
func parseHeader(b []byte, kind byte, limit int) (length, n int, err error) {
	// Nearly every header is a few digits: what else there is, errors above all, is left
	// to the rest.
	if len(b) > 3 && b[0] == kind {
		for n = 1; n < 9 && n < len(b) && b[n]-'0' <= 9; n++ {
			length = 10*length + int(b[n]-'0')
		}
		if n > 1 && n+1 < len(b) && b[n] == '\r' && b[n+1] == '\n' && length <= limit {
			return length, n + 2, nil
		}
	}
	return parseAnyHeader(b, kind, limit)
}

func parseAnyHeader(b []byte, kind byte, limit int) (length, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrIncomplete
	}
	if b[0] != kind {
		return 0, 0, fmt.Errorf("%w: expected '%c', got %q", ErrProtocol, kind, b[0])
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) > 32 {
			return 0, 0, fmt.Errorf("%w: header line too long", ErrProtocol)
		}
		return 0, 0, ErrIncomplete
	}
	if end < 2 || b[end-1] != '\r' {
		return 0, 0, fmt.Errorf("%w: header without its line end", ErrProtocol)
	}
	v, err := parseInt(b[1 : end-1])
	if err != nil {
		return 0, 0, err
	}
	if v < 0 || v > int64(limit) {
		return 0, 0, fmt.Errorf("%w: length %d out of range", ErrProtocol, v)
	}
	return int(v), end + 1, nil
}

// parseInt is strconv.ParseInt on bytes, without its allocation.
func parseInt(b []byte) (int64, error) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative || (len(b) > 0 && b[0] == '+') {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, fmt.Errorf("%w: bad integer", ErrProtocol)
	}
	var v uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w: bad integer", ErrProtocol)
		}
		v = v*10 + uint64(c-'0')
	}
	switch {
	case negative && v <= 1<<63:
		return -int64(v), nil
	case !negative && v < 1<<63:
		return int64(v), nil
	}
	return 0, fmt.Errorf("%w: integer out of range", ErrProtocol)
}
