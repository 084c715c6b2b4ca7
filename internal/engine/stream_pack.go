package engine

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// encodeNames lays out the names of an entry's fields: their number, and each
// behind its length.
func encodeNames(fields [][]byte) string {
	dst := binary.AppendUvarint(nil, uint64(len(fields)/2))
	for i := 0; i < len(fields); i += 2 {
		dst = appendCounted(dst, fields[i])
	}
	return string(dst)
}

// encodeFields lays out an entry: its flags, then what encodeNames makes, unless
// the names are the node's, then the values.
func encodeFields(fields [][]byte, same, promised bool) string {
	n := 1
	for i, f := range fields {
		if i%2 == 1 || !same {
			n += len(f) + 1 + bits.Len(uint(len(f)))/7
		}
	}
	var flags byte
	if promised {
		flags |= entryPromised
	}
	var b strings.Builder
	if !same {
		n += 2 // the number of pairs
	}
	b.Grow(n)
	var room [binary.MaxVarintLen64]byte
	put := func(f []byte) {
		b.Write(binary.AppendUvarint(room[:0], uint64(len(f))))
		b.Write(f)
	}
	if same {
		b.WriteByte(flags | entrySameNames)
	} else {
		b.WriteByte(flags)
		b.Write(binary.AppendUvarint(room[:0], uint64(len(fields)/2)))
		for i := 0; i < len(fields); i += 2 {
			put(fields[i])
		}
	}
	for i := 1; i < len(fields); i += 2 {
		put(fields[i])
	}
	return b.String()
}

func appendCounted(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// nextCounted takes a string off what appendCounted has laid out.
func nextCounted(s string) (word, rest string) {
	n, s := nextUvarint(s)
	return s[:n], s[n:]
}

func nextUvarint(s string) (n uint64, rest string) {
	for shift := 0; ; shift += 7 {
		ch := s[0]
		s = s[1:]
		n |= uint64(ch&0x7f) << shift
		if ch < 0x80 {
			return n, s
		}
	}
}

// hasNames reports whether an entry's field names are the node's.
func (n *streamNode) hasNames(fields [][]byte) bool {
	count, rest := nextUvarint(n.names)
	if count != uint64(len(fields)/2) {
		return false
	}
	var name string
	for i := 0; i < len(fields); i += 2 {
		if name, rest = nextCounted(rest); name != string(fields[i]) {
			return false
		}
	}
	return true
}

// fields are the names and values of an entry of the node, for reading on: the
// number of pairs, the names and the values as laid out.
func (n *streamNode) fields(e *streamEntry) (count int, names, values string) {
	values = e.data[1:]
	if e.data[0]&entrySameNames != 0 {
		c, rest := nextUvarint(n.names)
		return int(c), rest, values
	}
	c, rest := nextUvarint(values)
	names, values = rest, rest
	for range c {
		_, values = nextCounted(values)
	}
	return int(c), names, values
}

// What the server's listpacks take. A node begins with the number of its
// entries, that of its deleted ones, and the names of the first entry; all the
// numbers in it that are not of the application are small.
const (
	packedEmpty = 7 // header and end
	packedSmall = 2 // a number below 128 with its length behind it
)

// packedHeader is the size of a node without entries.
func packedHeader(fields [][]byte) int {
	n := packedEmpty + 2*packedSmall + packedInt(int64(len(fields)/2)) + packedSmall
	for i := 0; i < len(fields); i += 2 {
		n += packedBytes(fields[i])
	}
	return n
}

// packedEntry is what an entry adds to a node: flags, the distance of its id from
// the node's first, what it holds, and the number of those items.
func packedEntry(first, id StreamID, fields [][]byte, same bool) int {
	n := packedSmall + packedInt(int64(id.Ms-first.Ms)) + packedInt(int64(id.Seq-first.Seq))
	pairs := int64(len(fields) / 2)
	items := pairs + 3
	if !same {
		n += packedInt(pairs)
		items += pairs + 1
	}
	for i, f := range fields {
		if i%2 == 1 || !same {
			n += packedBytes(f)
		}
	}
	return n + packedInt(items)
}

// packedBytes is the size of a string, which is kept as a number where it is one.
func packedBytes(b []byte) int {
	if v, ok := parseInt(b); ok {
		return packedInt(v)
	}
	n := len(b)
	switch {
	case n < 64:
		n++
	case n < 4096:
		n += 2
	default:
		n += 5
	}
	return n + packedBack(n)
}

func packedInt(v int64) int {
	n := 9
	switch {
	case v >= 0 && v <= 127:
		n = 1
	case v >= -4096 && v <= 4095:
		n = 2
	case v >= -1<<15 && v < 1<<15:
		n = 3
	case v >= -1<<23 && v < 1<<23:
		n = 4
	case v >= -1<<31 && v < 1<<31:
		n = 5
	}
	return n + packedBack(n)
}

// packedBack is the size of the length that stands behind an item of n bytes.
func packedBack(n int) int {
	switch {
	case n <= 127:
		return 1
	case n < 16383:
		return 2
	case n < 2097151:
		return 3
	case n < 268435455:
		return 4
	}
	return 5
}

// radixNodes is the number of nodes of the server's radix tree of 16-byte keys,
// the first ids of the nodes in big-endian order. The tree has a node for each
// key's end, one wherever keys part, and one for each run of bytes between these,
// the root included. keys are sorted.
func radixNodes(keys []StreamID) int {
	if len(keys) == 0 {
		return 1
	}
	// parts are the depths at which the path to the current key parts from others.
	nodes, parts := 0, make([]int, 0, 16)
	closeFrom := func(depth, below int) int {
		// Leave the current path down to where the next key parts from it: each
		// parting below that is complete, with the run that leads to the next.
		for len(parts) > 0 && parts[len(parts)-1] > depth {
			at := parts[len(parts)-1]
			parts = parts[:len(parts)-1]
			nodes += 1 + run(at+1, below)
			below = at
		}
		return below
	}
	for i := 1; i < len(keys); i++ {
		depth := commonBytes(keys[i-1], keys[i])
		below := closeFrom(depth, 16)
		nodes += run(depth+1, below)
		if len(parts) == 0 || parts[len(parts)-1] != depth {
			parts = append(parts, depth)
		}
	}
	below := closeFrom(-1, 16)
	return nodes + run(0, below) + len(keys)
}

// run is 1 when there are bytes between two depths.
func run(from, to int) int {
	if to > from {
		return 1
	}
	return 0
}

// commonBytes is how many leading bytes two ids share as 16-byte keys.
func commonBytes(a, b StreamID) int {
	if a.Ms != b.Ms {
		return bits.LeadingZeros64(a.Ms^b.Ms) / 8
	}
	return 8 + bits.LeadingZeros64(a.Seq^b.Seq)/8
}
