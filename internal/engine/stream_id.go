package engine

import (
	"bytes"
	"math"
	"strconv"
)

// StreamID is the id of a stream entry. The zero value comes before every entry.
type StreamID struct {
	Ms, Seq uint64
}

var maxStreamID = StreamID{math.MaxUint64, math.MaxUint64}

// ParseStreamID reads an id as XADD takes it: ms-seq, or ms alone for ms-0.
func ParseStreamID(b []byte) (StreamID, bool) {
	return parseStreamID(b, 0)
}

// String is the id as Redis writes it.
func (id StreamID) String() string { return string(id.append(nil)) }

func (id StreamID) append(dst []byte) []byte {
	dst = append(strconv.AppendUint(dst, id.Ms, 10), '-')
	return strconv.AppendUint(dst, id.Seq, 10)
}

// compare is negative when id comes before other, 0 when they are the same.
func (id StreamID) compare(other StreamID) int {
	switch {
	case id == other:
		return 0
	case id.Ms < other.Ms || (id.Ms == other.Ms && id.Seq < other.Seq):
		return -1
	}
	return 1
}

// less and atMost read better than compare where it is about one order.
func (id StreamID) less(other StreamID) bool   { return id.compare(other) < 0 }
func (id StreamID) atMost(other StreamID) bool { return id.compare(other) <= 0 }

// next is the smallest id after id; there is none after the last.
func (id StreamID) next() (StreamID, bool) {
	switch {
	case id == maxStreamID:
		return StreamID{}, false
	case id.Seq == math.MaxUint64:
		return StreamID{id.Ms + 1, 0}, true
	}
	return StreamID{id.Ms, id.Seq + 1}, true
}

// previous is the greatest id before id; there is none before the zero id.
func (id StreamID) previous() (StreamID, bool) {
	switch {
	case id == StreamID{}:
		return StreamID{}, false
	case id.Seq == 0:
		return StreamID{id.Ms - 1, math.MaxUint64}, true
	}
	return StreamID{id.Ms, id.Seq - 1}, true
}

// maxIDText is the room that Redis has for the text of an id.
const maxIDText = 127

// parseStreamID reads ms or ms-seq; a missing sequence is seq.
func parseStreamID(b []byte, seq uint64) (StreamID, bool) {
	if len(b) > maxIDText {
		return StreamID{}, false
	}
	b = untilZero(b)
	msText, seqText, both := bytes.Cut(b, []byte("-"))
	ms, ok := parseStreamNumber(msText)
	if ok && both {
		seq, ok = parseStreamNumber(seqText)
	}
	return StreamID{ms, seq}, ok
}

// parseStreamBound is parseStreamID that also knows - and +, the ends of every
// stream.
func parseStreamBound(b []byte, seq uint64) (StreamID, bool) {
	switch string(untilZero(b)) {
	case "-":
		return StreamID{}, true
	case "+":
		return maxStreamID, true
	}
	return parseStreamID(b, seq)
}

// parseStreamNumber reads one half of an id. Redis is strict with what fits an
// int64 and hands the rest to C's strtoull, which allows space and a sign in
// front and leading zeros, and takes a negative number modulo 2^64.
func parseStreamNumber(b []byte) (uint64, bool) {
	if n, ok := parseInt(b); ok {
		return uint64(n), n >= 0
	}
	b = bytes.TrimLeft(b, " \t\n\v\f\r")
	negative := len(b) > 0 && b[0] == '-'
	if negative || (len(b) > 0 && b[0] == '+') {
		b = b[1:]
	}
	if len(b) == 0 || b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

// untilZero is the argument as a C string.
func untilZero(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}
