package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Kind is the type of a decoded value.
type Kind byte

// The kinds a reply can have. KindInvalid is the zero value and never decoded.
const (
	KindInvalid Kind = iota
	KindSimple       // a simple string, such as OK
	KindError        // an error reply
	KindInt
	KindBulk   // a bulk or verbatim string
	KindNull   // any of the three nulls
	KindArray  // an array, set or push
	KindMap    // a map: keys and values alternate in Elems
	KindDouble // text in Str
	KindBool   // 0 or 1 in Int
	KindBigNum // text in Str
)

// Value is one decoded reply.
type Value struct {
	Kind  Kind
	Str   []byte
	Int   int64
	Elems []Value
}

// Text is the value's text, for strings, errors and numbers kept as text.
func (v Value) Text() string { return string(v.Str) }

// IsError reports whether the value is an error reply.
func (v Value) IsError() bool { return v.Kind == KindError }

// Nesting beyond this is refused rather than followed down the stack.
const maxDepth = 32

// Reader decodes replies from a stream. It is not safe for concurrent use.
type Reader struct {
	rd *bufio.Reader
}

// NewReader returns a Reader over rd.
func NewReader(rd io.Reader) *Reader {
	return &Reader{rd: bufio.NewReaderSize(rd, 16<<10)}
}

// Buffered is the number of bytes received and not yet decoded.
func (r *Reader) Buffered() int { return r.rd.Buffered() }

// ReadValue decodes the next reply. The value owns its bytes. Attributes of
// RESP3 are skipped. Errors are those of the stream, or wrap ErrProtocol; after
// either the stream's position is unknown.
func (r *Reader) ReadValue() (Value, error) { return r.read(0) }

func (r *Reader) read(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, fmt.Errorf("%w: nested deeper than %d", ErrProtocol, maxDepth)
	}
	line, err := r.line()
	if err != nil {
		return Value{}, err
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return Value{Kind: KindSimple, Str: clone(rest)}, nil
	case '-':
		return Value{Kind: KindError, Str: clone(rest)}, nil
	case ',':
		return Value{Kind: KindDouble, Str: clone(rest)}, nil
	case '(':
		return Value{Kind: KindBigNum, Str: clone(rest)}, nil
	case '_':
		return Value{Kind: KindNull}, nil
	case ':':
		n, err := parseInt(rest)
		return Value{Kind: KindInt, Int: n}, err
	case '#':
		if string(rest) == "t" {
			return Value{Kind: KindBool, Int: 1}, nil
		}
		return Value{Kind: KindBool}, nil
	case '$', '=', '!':
		return r.readBulk(kind, rest)
	case '*', '~', '>', '%', '|':
		return r.readAggregate(kind, rest, depth)
	}
	return Value{}, fmt.Errorf("%w: unknown reply type %q", ErrProtocol, kind)
}

func (r *Reader) readBulk(kind byte, header []byte) (Value, error) {
	n, err := parseInt(header)
	if err != nil {
		return Value{}, err
	}
	if n == -1 {
		return Value{Kind: KindNull}, nil
	}
	if n < 0 || n > maxBulkLen {
		return Value{}, fmt.Errorf("%w: bulk length %d out of range", ErrProtocol, n)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r.rd, b); err != nil {
		return Value{}, err
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return Value{}, fmt.Errorf("%w: bulk string without its line end", ErrProtocol)
	}
	b = b[:n:n]
	switch {
	case kind == '!':
		return Value{Kind: KindError, Str: b}, nil
	case kind == '=' && n >= 4: // "txt:" or "mkd:" before the text
		return Value{Kind: KindBulk, Str: b[4:]}, nil
	}
	return Value{Kind: KindBulk, Str: b}, nil
}

func (r *Reader) readAggregate(kind byte, header []byte, depth int) (Value, error) {
	n, err := parseInt(header)
	if err != nil {
		return Value{}, err
	}
	if n == -1 {
		return Value{Kind: KindNull}, nil
	}
	if n < 0 || n > maxBulkLen {
		return Value{}, fmt.Errorf("%w: aggregate length %d out of range", ErrProtocol, n)
	}
	v := Value{Kind: KindArray}
	if kind == '%' || kind == '|' {
		v.Kind = KindMap
		n *= 2
	}
	// Capacity is not taken from the header alone: a damaged length must not
	// become an allocation of its size.
	v.Elems = make([]Value, 0, min(n, 1024))
	for range n {
		elem, err := r.read(depth + 1)
		if err != nil {
			return Value{}, err
		}
		v.Elems = append(v.Elems, elem)
	}
	if kind == '|' { // attributes belong to the value that follows them
		return r.read(depth + 1)
	}
	return v, nil
}

// line reads up to CRLF and returns what precedes it, at least one byte, valid
// until the next read.
func (r *Reader) line() ([]byte, error) {
	line, err := r.rd.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: line too long", ErrProtocol)
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("%w: malformed line", ErrProtocol)
	}
	return line[:len(line)-2], nil
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
