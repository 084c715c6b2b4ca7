// Package basis is what a key held when a deferred write was first made on it, kept
// so that a replay can tell whether somebody else has written the key since.
//
// A basis is a digest of the key's type and content. Whoever makes one, from a value
// in memory or from a server's replies, makes the same of the same content, whatever
// the encoding, the order of a set's members or the server's version. Deadlines are
// no part of it: a key that only lives longer or shorter holds what it held.
//
// It is pure, and imports nothing of ours.
package basis

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// Kind is what a key held. The values are part of the journal's format: none is ever
// changed or used again.
type Kind uint8

// The kinds.
const (
	// KindUnknown: nobody could tell. Only a key that does not exist is as it was then.
	KindUnknown Kind = 0
	KindNone    Kind = 1 // the key did not exist
	KindString  Kind = 2
	KindHash    Kind = 3
	KindList    Kind = 4
	KindSet     Kind = 5
	KindZSet    Kind = 6
	KindStream  Kind = 7
)

var kindNames = [...]string{"unknown", "none", "string", "hash", "list", "set", "zset", "stream"}

// String is the word that TYPE answers, and "unknown" for what has none here.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindUnknown]
}

// KindOf is the kind that TYPE calls by this name; KindUnknown for a module's.
func KindOf(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return KindUnknown
}

// Basis is what a key held. The zero value is that nobody could tell.
type Basis struct {
	Kind Kind
	// Partial: the value was too big to be read, and of its content only Length is
	// known.
	Partial bool
	// Length is the number of bytes of a string, of elements of anything else.
	Length int64
	// Sum is the digest of the content; 0 with Partial and without a value.
	Sum uint64
	// Until is the deadline that the key had, in Unix milliseconds; 0 is none.
	Until int64
}

// Matches reports whether a key that now holds what the server says may be taken for
// unchanged: it holds the same, or nothing where time alone explains that, or where
// there was nothing to be told of. at is the time in Unix milliseconds.
func (b Basis) Matches(now Basis, at int64) bool {
	switch {
	case now.Kind == KindNone:
		return b.Kind == KindNone || b.Kind == KindUnknown || b.Until != 0 && b.Until <= at
	case b.Kind == KindUnknown || b.Kind != now.Kind || b.Length != now.Length:
		return false
	}
	return b.Partial || b.Sum == now.Sum
}

// Size is the number of bytes that Append appends.
const Size = 1 + 8 + 8 + 8

const flagPartial = 1 << 7

// Append appends b as the journal keeps it:
//
//	 0  1  kind, and 128 for Partial
//	 1  8  length
//	 9  8  sum
//	17  8  until
func (b Basis) Append(dst []byte) []byte {
	kind := byte(b.Kind)
	if b.Partial {
		kind |= flagPartial
	}
	dst = append(dst, kind)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.Length))
	dst = binary.LittleEndian.AppendUint64(dst, b.Sum)
	return binary.LittleEndian.AppendUint64(dst, uint64(b.Until))
}

// ErrMalformed says that bytes are no basis.
var ErrMalformed = errors.New("basis: malformed")

// Parse reads what Append wrote. A kind of a later version is KindUnknown.
func Parse(p []byte) (Basis, error) {
	if len(p) != Size {
		return Basis{}, ErrMalformed
	}
	b := Basis{
		Kind: Kind(p[0] &^ flagPartial), Partial: p[0]&flagPartial != 0,
		Length: int64(binary.LittleEndian.Uint64(p[1:])),
		Sum:    binary.LittleEndian.Uint64(p[9:]),
		Until:  int64(binary.LittleEndian.Uint64(p[17:])),
	}
	if b.Length < 0 || b.Until < 0 {
		return Basis{}, ErrMalformed
	}
	if int(b.Kind) >= len(kindNames) {
		return Basis{Until: b.Until}, nil
	}
	return b, nil
}

// None is the basis of a key that does not exist.
func None() Basis { return Basis{Kind: KindNone} }

// OfLength is the basis of a value of which only the number of elements is known.
func OfLength(k Kind, length int64) Basis { return Basis{Kind: k, Partial: true, Length: length} }

// Of HyperLogLogs, which are strings: PFCOUNT keeps its last answer in the value, on
// each server for itself, which changes nothing.
const (
	sketchMagic = "HYLL"
	sketchCount = 8 // here the answer begins
	sketchData  = 16
)

// OfString is the basis of a string.
func OfString(s []byte) Basis {
	h := uint64(offset)
	rest := s
	if len(s) >= sketchData && bytes.HasPrefix(s, []byte(sketchMagic)) {
		h = feed(h, s[:sketchCount])
		rest = s[sketchData:]
	}
	return Basis{Kind: KindString, Length: int64(len(s)), Sum: mix(feed(h, rest))}
}

// OfStream is the basis of a stream: how many entries it has, and the last id that
// it gave. No stream whose entries were changed has both as before; its groups are
// not looked at.
func OfStream(length int64, lastMillis, lastSeq uint64) Basis {
	return Basis{Kind: KindStream, Length: length, Sum: mix(feed64(feed64(offset, lastMillis), lastSeq))}
}

// Content sums the elements of a hash, list, set or sorted set up. Its zero value is
// none yet.
type Content struct {
	n   int64
	sum uint64
}

// Element adds the next element of a list: their order counts.
func (c *Content) Element(e []byte) {
	c.n++
	c.sum = mix(feed(feed64(offset, c.sum), e))
}

// Member adds a member of a set, in any order.
func (c *Content) Member(m []byte) {
	c.n++
	c.sum += mix(feed(offset, m))
}

// Field adds a field of a hash, in any order.
func (c *Content) Field(name, value []byte) {
	c.n++
	c.sum += mix(feed(feed(feed64(offset, uint64(len(name))), name), value))
}

// Scored adds a member of a sorted set, in any order.
func (c *Content) Scored(member []byte, score float64) {
	if score == 0 {
		score = 0 // minus zero is the same score
	}
	c.n++
	c.sum += mix(feed(feed64(offset, math.Float64bits(score)), member))
}

// Basis is that of the elements added.
func (c *Content) Basis(k Kind) Basis { return Basis{Kind: k, Length: c.n, Sum: c.sum} }

// Name is what stands for a key's name beside its basis.
func Name[T string | []byte](key T) uint64 {
	h := uint64(offset)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * prime
	}
	return mix(h)
}

// The digest is FNV-1a, whose bits are then mixed so that sums of it keep telling
// unequal contents apart. It keeps no secret.
const offset, prime = 14695981039346656037, 1099511628211

func feed(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * prime
	}
	return h
}

func feed64(h, n uint64) uint64 {
	for range 8 {
		h = (h ^ n&0xff) * prime
		n >>= 8
	}
	return h
}

// mix spreads every bit of h over all of the result.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}
