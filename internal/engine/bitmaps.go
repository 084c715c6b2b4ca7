package engine

import (
	"encoding/binary"
	"math/bits"
)

const (
	errBitOffset   = "ERR bit offset is not an integer or out of range"
	errBitValue    = "ERR bit is not an integer or out of range"
	errBitArgument = "ERR The bit argument must be 1 or 0."
)

func bitmapCommands() []Command {
	return []Command{
		{Name: "setbit", Arity: 4, Write: true, needs: NeedValue, exec: execSetBit},
		{Name: "getbit", Arity: 3, needs: NeedValue, exec: execGetBit},
		{Name: "bitcount", Arity: -2, needs: NeedValue, exec: execBitCount},
		{Name: "bitpos", Arity: -3, needs: NeedValue, exec: execBitPos},
		{Name: "bitop", Arity: -4, Write: true, needs: NeedValue, exec: execBitOp},
		{Name: "bitfield", Arity: -2, Write: true, needs: NeedValue, exec: execBitField},
		{Name: "bitfield_ro", Arity: -2, needs: NeedValue, exec: execBitFieldRO},
	}
}

// parseBitOffset reads the number of a bit; Redis has them as far as a string
// may be long.
func parseBitOffset(b []byte) (int64, bool) {
	n, ok := parseInt(b)
	return n, ok && n >= 0 && n>>3 < maxStringLen
}

func execSetBit(c *Call) {
	at, ok := parseBitOffset(c.args[2])
	if !ok {
		c.Error(errBitOffset)
		return
	}
	bit, ok := parseInt(c.args[3])
	if !ok || bit&^1 != 0 {
		c.Error(errBitValue)
		return
	}
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	pos, mask := int(at>>3), byte(0x80)>>(at&7)
	was := bitAt(o.str, at)
	if was != (bit == 1) || pos >= len(o.str) {
		b := c.editString(o, pos, pos+1)
		if bit == 1 {
			b[pos] |= mask
		} else {
			b[pos] &^= mask
		}
	}
	c.Bool(was)
}

func execGetBit(c *Call) {
	at, ok := parseBitOffset(c.args[2])
	if !ok {
		c.Error(errBitOffset)
		return
	}
	if o, ok := c.typed(0, TypeString); ok {
		c.Bool(bitAt(o.str, at))
	}
}

// bitAt reads a bit; behind the end there are zeros.
func bitAt(b []byte, at int64) bool {
	pos := at >> 3
	return pos < int64(len(b)) && b[pos]&(0x80>>(at&7)) != 0
}

// bitRange is the part of a string that BITCOUNT or BITPOS looks at.
type bitRange struct {
	start, end int64 // as given: from either end, the last included
	inBits     bool  // they count bits, not bytes
	toEnd      bool  // no end was given
	badUnit    bool  // a syntax error, which the caller gives
}

var wholeBitRange = bitRange{end: -1, toEnd: true}

// parseBitRange reads start, end and unit. unitFirst says that a wrong unit is
// found before a wrong end.
func (c *Call) parseBitRange(args [][]byte, unitFirst bool) (r bitRange, ok bool) {
	r = wholeBitRange
	if len(args) == 0 {
		return r, true
	}
	if r.start, ok = parseInt(args[0]); !ok {
		c.Error(errNotInteger)
		return r, false
	}
	if len(args) == 1 {
		return r, true
	}
	if len(args) > 2 {
		r.inBits = is(args[2], "bit")
		r.badUnit = !r.inBits && !is(args[2], "byte")
	}
	r.toEnd = false
	if r.end, ok = parseInt(args[1]); !ok && !(unitFirst && r.badUnit) {
		c.Error(errNotInteger)
		return r, false
	}
	return r, true
}

// backwards reports a range counted from the end whose start is behind its end.
func (r bitRange) backwards() bool { return r.start < 0 && r.end < 0 && r.start > r.end }

// resolve turns the range into the numbers of its first and last bit in a string
// of n bytes; ok is false when it has none.
func (r bitRange) resolve(n int) (first, last int64, ok bool) {
	total := int64(n)
	if r.inBits {
		total <<= 3
	}
	first, last = r.start, r.end
	if first < 0 {
		first = max(first+total, 0)
	}
	if last < 0 {
		last = max(last+total, 0)
	}
	if last = min(last, total-1); first > last {
		return 0, 0, false
	}
	if !r.inBits {
		first, last = first<<3, last<<3|7
	}
	return first, last, true
}

func execBitCount(c *Call) {
	// Valkey 8 lets the end be left out, and reads the unit before the end.
	valkey8 := c.server.Valkey && c.server.Version >= 80000
	early := c.server.AtLeast(70200) // the arguments are looked at before the key
	if !early {
		if o, ok := c.typed(0, TypeString); !ok || !o.Exists() {
			if ok {
				c.Int(0)
			}
			return
		}
	}
	args := c.args[2:]
	if len(args) > 3 || (len(args) == 1 && !valkey8) {
		c.Error(errSyntax)
		return
	}
	r, ok := c.parseBitRange(args, valkey8)
	switch {
	case !ok:
		return
	case !early && r.backwards(): // whatever the unit
		c.Int(0)
		return
	case r.badUnit:
		c.Error(errSyntax)
		return
	}
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	first, last, ok := r.resolve(len(o.str))
	if !ok || r.backwards() {
		c.Int(0)
		return
	}
	c.Int(countBits(o.str, first, last))
}

// countBits counts the ones from bit first to bit last.
func countBits(b []byte, first, last int64) int64 {
	b = b[first>>3 : last>>3+1]
	n := -bits.OnesCount8(b[0]&^(0xff>>(first&7))) - bits.OnesCount8(b[len(b)-1]&(0x7f>>(last&7)))
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return int64(n)
}

func execBitPos(c *Call) {
	bit, ok := parseInt(c.args[2])
	switch {
	case !ok:
		c.Error(errNotInteger)
		return
	case bit&^1 != 0:
		c.Error(errBitArgument)
		return
	}
	// Where there is nothing, the first zero is at once and the first one never.
	nothing := -bit
	if !c.server.AtLeast(70200) {
		if o, ok := c.typed(0, TypeString); !ok || !o.Exists() {
			if ok {
				c.Int(nothing)
			}
			return
		}
	}
	args := c.args[3:]
	if len(args) > 3 {
		c.Error(errSyntax)
		return
	}
	r, ok := c.parseBitRange(args, true)
	switch {
	case !ok:
		return
	case r.badUnit:
		c.Error(errSyntax)
		return
	}
	o, ok := c.typed(0, TypeString)
	switch {
	case !ok:
		return
	case !o.Exists():
		c.Int(nothing)
		return
	}
	first, last, ok := r.resolve(len(o.str))
	if !ok {
		c.Int(-1)
		return
	}
	pos := findBit(o.str, bit == 1, first, last)
	if pos < 0 && bit == 0 && r.toEnd {
		pos = int64(len(o.str)) << 3 // zeros follow a string
	}
	c.Int(pos)
}

// findBit is the number of the first bit of this value from first to last, -1 if
// there is none.
func findBit(b []byte, bit bool, first, last int64) int64 {
	var flip byte
	if !bit {
		flip = 0xff
	}
	at, end := first>>3, last>>3
	x := (b[at] ^ flip) & (0xff >> (first & 7))
	for x == 0 {
		if at++; at > end {
			return -1
		}
		// Long runs are passed over by words.
		skip := uint64(flip) * 0x0101010101010101
		for at+8 <= end && binary.LittleEndian.Uint64(b[at:]) == skip {
			at += 8
		}
		x = b[at] ^ flip
	}
	pos := at<<3 + int64(bits.LeadingZeros8(x))
	if pos > last {
		return -1
	}
	return pos
}
