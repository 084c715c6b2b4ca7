package engine

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// ended reports whether the call cannot give an answer: keys have yet to be
// fetched, or it was refused.
func (c *Call) ended() bool { return c.waiting || c.err != nil || len(c.misses) > 0 }

// sortLookup is what a pattern of SORT stands for: the element itself for #, else
// the value of the string whose name has the element in place of the first star,
// or the field of a hash so named, which follows an arrow.
func (c *Call) sortLookup(pattern []byte, elem string) (value string, found bool) {
	text := cString(pattern)
	if string(text) == "#" {
		return elem, true
	}
	star := bytes.IndexByte(text, '*')
	if star < 0 {
		return "", false
	}
	// What follows the arrow may hold a zero byte, but not begin with it.
	tail, field := pattern[star+1:], []byte(nil)
	if arrow := bytes.Index(text[star+1:], []byte("->")); arrow >= 0 && len(text) > star+1+arrow+2 {
		tail, field = tail[:arrow], tail[arrow+2:]
	}
	name := make([]byte, 0, len(pattern)+len(elem))
	name = append(append(append(name, pattern[:star]...), elem...), tail...)
	o, ok := c.foreign(name)
	if !ok {
		c.waiting = true
		return "", false
	}
	switch {
	case o.expireAt != 0 && o.expireAt <= c.now:
		return "", false // only its own commands may drop it
	case field != nil && o.typ == TypeHash, field == nil && o.typ == TypeString:
	default:
		return "", false
	}
	if o.opaque {
		c.tooBig()
		return "", false
	}
	if field == nil {
		return string(o.str), true
	}
	return c.sortField(o, field)
}

// sortField is a field of a hash.
func (c *Call) sortField(o *Object, field []byte) (value string, found bool) {
	h, ok := o.data.(*hash)
	if !ok {
		return "", false
	}
	slot := h.get(field)
	if slot == nil {
		if !h.whole() && h.find(field) < 0 {
			c.miss(o, field)
		}
		return "", false
	}
	if at := slot.deadline(); at != 0 && at <= c.now {
		return "", false
	}
	return slot.value(), true
}

// sortScore reads a number as SORT does, up to a zero byte; nothing is zero.
// Redis 8 follows its own rules: it knows no spaces and no hexadecimal, and what
// is too large or too small is infinity or zero. Before, and in Valkey, C's do.
func (c *Call) sortScore(text string) (float64, bool) {
	text = upToZero(text)
	if text == "" {
		return 0, true
	}
	modern := !c.server.Valkey && c.server.AtLeast(80000)
	if !modern {
		text = strings.TrimLeft(text, " \t\n\v\f\r")
	}
	hex := isHex(text)
	if strings.Contains(text, "_") || modern && hex {
		return 0, false
	}
	number := text
	if hex && !strings.ContainsAny(text, "pP") {
		number += "p0" // Go asks for the exponent
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case math.IsNaN(f):
		return 0, false
	case err != nil:
		return f, modern && math.IsInf(f, 0)
	case !modern && math.Abs(f) < minNormal && !sortZero(text):
		return 0, false // C calls that out of range
	}
	return f, true
}

// minNormal is the least positive double that has all its digits.
const minNormal = 0x1p-1022

// sortZero reports whether a number is zero as it is written.
func sortZero(number string) bool {
	number = strings.TrimLeft(number, "+-")
	if isHex(number) {
		number, _, _ = strings.Cut(number[2:], "p")
		number, _, _ = strings.Cut(number, "P")
	} else {
		number, _, _ = strings.Cut(strings.ToLower(number), "e")
	}
	return strings.Trim(number, "0.") == ""
}

// cString is what C sees of the bytes: those before the first zero.
func cString(b []byte) []byte {
	for i, ch := range b {
		if ch == 0 {
			return b[:i]
		}
	}
	return b
}
