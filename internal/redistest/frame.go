package redistest

import (
	"bytes"
	"strconv"
)

// framer finds where the requests or replies of a RESP stream end, in whatever
// pieces the stream arrives. It keeps no payload. Not safe for concurrent use.
type framer struct {
	kind   byte   // of the frame at work or just ended; 0 before its first line
	line   []byte // the beginning of the header line at work
	skip   int    // payload bytes to come
	open   []int  // elements to come, per open aggregate
	broken bool   // not RESP: no frame ends any more
}

const (
	maxHeader  = 32 // what matters of a line: a type and a length
	maxNesting = 64
	maxSize    = 1 << 29 // what servers themselves take for a payload

	tlsHandshake = 0x16 // the first byte of a TLS connection; no request begins with it
)

// next consumes b up to the end of the frame at work. It returns how many bytes
// that were and whether the frame has ended; if not, all of b belongs to it.
func (f *framer) next(b []byte) (n int, ended bool) {
	if f.kind == 0 && len(f.line) == 0 && len(b) > 0 && b[0] == tlsHandshake {
		f.broken = true
	}
	for n < len(b) && !f.broken {
		if f.skip > 0 {
			take := min(f.skip, len(b)-n)
			f.skip -= take
			n += take
			if f.skip == 0 && f.element() {
				return n, true
			}
			continue
		}
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			f.keep(b[n:])
			return len(b), false
		}
		f.keep(b[n : n+end])
		n += end + 1
		if f.header() {
			return n, true
		}
	}
	return len(b), false
}

func (f *framer) keep(part []byte) {
	room := maxHeader - len(f.line)
	f.line = append(f.line, part[:min(room, len(part))]...)
}

// header handles a line that is complete and reports whether the frame is, too.
func (f *framer) header() bool {
	line := bytes.TrimSuffix(f.line, []byte("\r"))
	f.line = f.line[:0]
	if len(line) == 0 {
		return false // servers skip empty lines between requests
	}
	kind := line[0]
	if len(f.open) == 0 {
		f.kind = kind
	}
	var size int
	if bytes.IndexByte([]byte("$=!*~>%|"), kind) >= 0 {
		var err error
		size, err = strconv.Atoi(string(line[1:]))
		if err != nil || size > maxSize || len(f.open) == maxNesting {
			f.broken = true
			return false
		}
	}
	switch kind {
	case '$', '=', '!':
		if size < 0 {
			return f.element() // null
		}
		f.skip = size + len("\r\n")
		return false
	case '%':
		size *= 2
	case '|':
		size = 2*size + 1 // attributes, and the value that they belong to
	case '*', '~', '>':
	default:
		return f.element() // one line, or an inline request
	}
	if size <= 0 {
		return f.element()
	}
	f.open = append(f.open, size)
	return false
}

// element counts a complete element and reports whether the frame is complete.
func (f *framer) element() bool {
	for len(f.open) > 0 {
		top := len(f.open) - 1
		f.open[top]--
		if f.open[top] > 0 {
			return false
		}
		f.open = f.open[:top]
	}
	return true
}
