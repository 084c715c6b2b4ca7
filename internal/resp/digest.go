package resp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Digest is a running digest of replies, which is the same for a reply whether it came
// in RESP2 or RESP3: FNV-1a of 64 bits over its RESP2 encoding without the headers of
// its arrays, which is where the two nest differently; that of an empty array counts,
// and a null array counts as a null. It tells unequal replies apart by accident only as
// often as 64 bits do; it keeps no secret.
//
// Begin with NewDigest.
type Digest uint64

const (
	digestOffset = 14695981039346656037
	digestPrime  = 1099511628211
)

// NewDigest is the digest of nothing.
func NewDigest() Digest { return digestOffset }

// Sum is the digest as a number that is never 0, so that 0 can stand for none.
func (d Digest) Sum() uint64 {
	if d == 0 {
		return 1
	}
	return uint64(d)
}

func (d Digest) bytes(b []byte) Digest {
	for _, c := range b {
		d = (d ^ Digest(c)) * digestPrime
	}
	return d
}

func (d Digest) string(s string) Digest {
	for i := range len(s) {
		d = (d ^ Digest(s[i])) * digestPrime
	}
	return d
}

const lineEnd = "\r\n"

// scalar adds what stands on one line.
func (d Digest) scalar(kind byte, rest []byte) Digest {
	switch kind {
	case '_':
		return d.null()
	case '#':
		if string(rest) == "t" {
			return d.string(":1" + lineEnd)
		}
		return d.string(":0" + lineEnd)
	case ',', '(':
		return d.size(len(rest)).bytes(rest).string(lineEnd)
	}
	d = (d ^ Digest(kind)) * digestPrime
	return d.bytes(rest).string(lineEnd)
}

func (d Digest) null() Digest { return d.string("$-1" + lineEnd) }

// size adds the header of a string.
func (d Digest) size(n int) Digest {
	var digits [20]byte
	return d.string("$").bytes(strconv.AppendInt(digits[:0], int64(n), 10)).string(lineEnd)
}

// header reads the line that a reply begins with, and adds it if that is all of it. text
// is how many bytes follow, without their line end, of which the first skip don't count;
// elems how many replies; both are none where nothing follows. Attributes count as the
// elements that they are: a server sends them only to who asked for them.
func (d Digest) header(kind byte, rest []byte) (_ Digest, text, skip, elems int, err error) {
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return d.scalar(kind, rest), 0, 0, 0, nil
	case '$', '=', '!', '*', '~', '>', '%', '|':
	default:
		return d, 0, 0, 0, fmt.Errorf("%w: unknown reply type %q", ErrProtocol, kind)
	}
	n, err := parseInt(rest)
	switch {
	case err != nil:
		return d, 0, 0, 0, err
	case n == -1:
		return d.null(), 0, 0, 0, nil
	case n < 0 || n > maxBulkLen:
		return d, 0, 0, 0, fmt.Errorf("%w: length %d out of range", ErrProtocol, n)
	}
	switch kind {
	case '$', '!':
		return d.size(int(n)), int(n) + len(lineEnd), 0, 0, nil
	case '=':
		if n < 4 { // without the name of its format
			return d, 0, 0, 0, fmt.Errorf("%w: verbatim string of %d bytes", ErrProtocol, n)
		}
		return d.size(int(n) - 4), int(n) + len(lineEnd), 4, 0, nil
	case '%', '|':
		n *= 2
	}
	if n == 0 {
		return d.string("*0" + lineEnd), 0, 0, 0, nil
	}
	return d, 0, 0, int(n), nil
}

// Add adds the first reply in b and returns how long it is. The error is ErrIncomplete,
// or wraps ErrProtocol.
func (d Digest) Add(b []byte) (_ Digest, n int, err error) { return d.add(b, 0) }

// AddLine is Add for what nearly all writes are answered with, a simple string or an
// integer. n is 0, and nothing added, where b begins with anything else, or not with all
// of it.
func (d Digest) AddLine(b []byte) (_ Digest, n int) {
	if len(b) == 0 || b[0] != '+' && b[0] != ':' {
		return d, 0
	}
	sum := d
	for i, c := range b {
		sum = (sum ^ Digest(c)) * digestPrime
		if c != '\n' {
			continue
		}
		if i < 2 || b[i-1] != '\r' {
			break
		}
		return sum, i + 1
	}
	return d, 0
}

func (d Digest) add(b []byte, depth int) (_ Digest, n int, err error) {
	if depth > maxDepth {
		return d, 0, fmt.Errorf("%w: nested deeper than %d", ErrProtocol, maxDepth)
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return d, 0, ErrIncomplete
	}
	if end < 2 || b[end-1] != '\r' {
		return d, 0, fmt.Errorf("%w: malformed line", ErrProtocol)
	}
	d, text, skip, elems, err := d.header(b[0], b[1:end-1])
	if err != nil {
		return d, 0, err
	}
	n = end + 1
	if text > 0 {
		if len(b)-n < text {
			return d, 0, ErrIncomplete
		}
		d = d.bytes(b[n+skip : n+text])
		n += text
	}
	for range elems {
		var used int
		if d, used, err = d.add(b[n:], depth+1); err != nil {
			return d, 0, err
		}
		n += used
	}
	return d, n, nil
}

// ReadDigest reads the next reply as ReadValue does and adds it to d, with no memory but
// for an error reply, which is returned as its value.
func (r *Reader) ReadDigest(d Digest) (_ Digest, fault Value, err error) {
	first, err := r.rd.Peek(1)
	if err != nil {
		return d, Value{}, err
	}
	if first[0] == '-' || first[0] == '!' {
		fault, err = r.ReadValue()
		return d, fault, err
	}
	d, err = r.digest(d, 0)
	return d, Value{}, err
}

func (r *Reader) digest(d Digest, depth int) (Digest, error) {
	if depth > maxDepth {
		return d, fmt.Errorf("%w: nested deeper than %d", ErrProtocol, maxDepth)
	}
	line, err := r.line()
	if err != nil {
		return d, err
	}
	d, text, skip, elems, err := d.header(line[0], line[1:])
	if err != nil {
		return d, err
	}
	for text > 0 {
		if _, err := r.rd.Peek(1); err != nil {
			return d, err
		}
		b, err := r.rd.Peek(min(text, r.rd.Buffered()))
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return d, err
		}
		passed := min(skip, len(b))
		d = d.bytes(b[passed:])
		skip -= passed
		text -= len(b)
		if _, err := r.rd.Discard(len(b)); err != nil {
			return d, err
		}
	}
	for range elems {
		if d, err = r.digest(d, depth+1); err != nil {
			return d, err
		}
	}
	return d, nil
}
