package engine

import (
	"bytes"
	"encoding/binary"
	"math"
)

const (
	errBitFieldType     = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
	errBitFieldOverflow = "ERR Invalid OVERFLOW type specified"
	errBitFieldReadOnly = "ERR BITFIELD_RO only supports the GET subcommand"
)

// bitFieldType is the type of an integer inside a string.
type bitFieldType struct {
	signed bool
	width  uint // in bits: 1 to 64, of unsigned ones to 63
}

// overflowRule is what BITFIELD makes of a number that does not fit.
type overflowRule uint8

const (
	overflowWrap overflowRule = iota
	overflowSat               // the nearest that fits
	overflowFail              // nothing is written, and the answer is null
)

// bitFieldOp is one operation of a BITFIELD. The operations are what their
// verbs are called in lower case.
type bitFieldOp struct {
	verb     string
	typ      bitFieldType
	at       int64 // the number of its first bit
	value    int64 // of set and incrby
	overflow overflowRule
}

func (op *bitFieldOp) writes() bool { return op.verb != "get" }

func execBitField(c *Call)   { c.bitField(false) }
func execBitFieldRO(c *Call) { c.bitField(true) }

func (c *Call) bitField(readOnly bool) {
	var room [4]bitFieldOp
	ops, ok := c.parseBitField(room[:0])
	if !ok {
		return
	}
	longest := 0 // the bytes that the writing operations need there to be
	for i := range ops {
		if op := &ops[i]; op.writes() {
			longest = max(longest, int((op.at+int64(op.typ.width)-1)>>3)+1)
		}
	}
	if longest > 0 && readOnly {
		c.Error(errBitFieldReadOnly)
		return
	}
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	if longest > len(o.str) {
		// The string grows even where every operation fails.
		c.editString(o, longest, longest)
	}
	c.Array(len(ops))
	for i := range ops {
		c.runBitFieldOp(o, &ops[i])
	}
}

// parseBitField reads all operations.
func (c *Call) parseBitField(ops []bitFieldOp) (_ []bitFieldOp, ok bool) {
	overflow := overflowWrap
	for args := c.args[2:]; len(args) > 0; {
		var op bitFieldOp
		size := 4
		switch verb, rest := args[0], len(args)-1; {
		case is(verb, "get") && rest >= 2:
			op.verb, size = "get", 3
		case is(verb, "set") && rest >= 3:
			op.verb = "set"
		case is(verb, "incrby") && rest >= 3:
			op.verb = "incrby"
		case is(verb, "overflow") && rest >= 1:
			if overflow, ok = parseOverflowRule(args[1]); !ok {
				c.Error(errBitFieldOverflow)
				return nil, false
			}
			args = args[2:]
			continue
		default:
			c.Error(errSyntax)
			return nil, false
		}
		if op.typ, ok = parseBitFieldType(args[1]); !ok {
			c.Error(errBitFieldType)
			return nil, false
		}
		if op.at, ok = parseBitFieldOffset(args[2], op.typ); !ok {
			c.Error(errBitOffset)
			return nil, false
		}
		if op.writes() {
			if op.value, ok = parseInt(args[3]); !ok {
				c.Error(errNotInteger)
				return nil, false
			}
		}
		op.overflow = overflow
		ops, args = append(ops, op), args[size:]
	}
	return ops, true
}

func parseOverflowRule(b []byte) (overflowRule, bool) {
	switch {
	case is(b, "wrap"):
		return overflowWrap, true
	case is(b, "sat"):
		return overflowSat, true
	case is(b, "fail"):
		return overflowFail, true
	}
	return 0, false
}

// parseBitFieldType reads a type such as i16. To Redis it is a C string, which a
// zero byte ends.
func parseBitFieldType(b []byte) (t bitFieldType, ok bool) {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 || (b[0] != 'i' && b[0] != 'u') {
		return t, false
	}
	widest := int64(63)
	if t.signed = b[0] == 'i'; t.signed {
		widest = 64
	}
	width, ok := parseInt(b[1:])
	if !ok || width < 1 || width > widest {
		return t, false
	}
	t.width = uint(width)
	return t, true
}

// parseBitFieldOffset reads an offset in bits, or after # in fields of the type.
// The product wraps around, as on the server.
func parseBitFieldOffset(b []byte, t bitFieldType) (int64, bool) {
	if len(b) == 0 || b[0] != '#' {
		return parseBitOffset(b)
	}
	n, ok := parseInt(b[1:])
	n *= int64(t.width)
	return n, ok && n >= 0 && n>>3 < maxStringLen
}

// runBitFieldOp runs one operation on a string that is long enough, and replies.
func (c *Call) runBitFieldOp(o *Object, op *bitFieldOp) {
	old := op.typ.extend(loadBits(o.str, op.at, op.typ.width))
	if !op.writes() {
		c.Int(old)
		return
	}
	base, by := old, op.value
	if op.verb == "set" {
		base, by = op.value, 0
	}
	v, fits := op.typ.sum(base, by, op.overflow)
	if !fits && op.overflow == overflowFail {
		c.Null()
		return
	}
	from, to := int(op.at>>3), int((op.at+int64(op.typ.width)-1)>>3)+1
	storeBits(c.editString(o, from, to), op.at, op.typ.width, uint64(v))
	if op.verb == "set" {
		v = old
	}
	c.Int(v)
}

// extend makes a number of the bits read.
func (t bitFieldType) extend(v uint64) int64 {
	if t.signed {
		unused := 64 - t.width
		return int64(v<<unused) >> unused
	}
	return int64(v)
}

// sum is base+by as a number of the type, by the rule if it does not fit. Of a
// number to set, by is zero; base may then be any, of an unsigned type also one
// that the sign bit makes greater than all others.
func (t bitFieldType) sum(base, by int64, rule overflowRule) (v int64, fits bool) {
	low, high := int64(0), int64(1)<<t.width-1
	var above, below bool
	if t.signed {
		high = int64(uint64(math.MaxUint64) >> (65 - t.width)) // also right for 64
		low = -high - 1
		// A number to set that lies so low that the distance wraps around counts as
		// too high: the server does that.
		above = base > high || (t.width < 64 && by > high-base) || (base >= 0 && by > high-base)
		below = base < low || (by < 0 && (t.width < 64 || base < 0) && by < low-base)
	} else {
		above = uint64(base) > uint64(high) || by > high-base
		below = by < -base
	}
	switch {
	case !above && !below:
		return base + by, true
	case rule == overflowSat && above:
		return high, false
	case rule == overflowSat:
		return low, false
	}
	unused := 64 - t.width
	return t.extend(uint64(base+by) << unused >> unused), false
}

// bitWindow is the most bytes that a field of 64 bits touches.
const bitWindow = 9

// loadBits reads a field; behind the end there are zeros.
func loadBits(b []byte, at int64, width uint) uint64 {
	var w [bitWindow]byte
	if pos := at >> 3; pos < int64(len(b)) {
		copy(w[:], b[pos:])
	}
	shift := uint(at & 7)
	v := binary.BigEndian.Uint64(w[:])<<shift | uint64(w[8])>>(8-shift)
	return v >> (64 - width)
}

// storeBits writes a field, which lies within b.
func storeBits(b []byte, at int64, width uint, v uint64) {
	var w [bitWindow]byte
	part := b[at>>3:]
	part = part[:min(len(part), bitWindow)]
	copy(w[:], part)
	shift := uint(at & 7)
	unused := 64 - width
	v <<= unused
	mask := uint64(math.MaxUint64) << unused
	head := binary.BigEndian.Uint64(w[:])
	binary.BigEndian.PutUint64(w[:], head&^(mask>>shift)|v>>shift)
	w[8] = w[8]&^byte(mask<<(8-shift)) | byte(v<<(8-shift))
	copy(part, w[:])
}
