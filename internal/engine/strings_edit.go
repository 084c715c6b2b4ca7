package engine

import (
	"math"
)

const (
	errDecrement     = "ERR decrement would overflow"
	errNaNOrInfinity = "ERR increment would produce NaN or Infinity"
)

func execIncrBy(c *Call) {
	by, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	c.incr(by)
}

func execDecrBy(c *Call) {
	by, ok := parseInt(c.args[2])
	switch {
	case !ok:
		c.Error(errNotInteger)
	case by == math.MinInt64: // it has no negative
		c.Error(errDecrement)
	default:
		c.incr(-by)
	}
}

func (c *Call) incr(by int64) {
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	var n int64
	if o.Exists() {
		if n, ok = parseInt(o.str); !ok {
			c.Error(errNotInteger)
			return
		}
	}
	if n, ok = add(n, by); !ok {
		c.Error(errOverflow)
		return
	}
	at := len(c.reply)
	c.Int(n)
	if by != 0 || !o.Exists() {
		digits := c.reply[at+1 : len(c.reply)-2] // between the colon and the line's end
		c.Change(o)
		o.typ, o.str = TypeString, clone(digits)
	}
}

func execIncrByFloat(c *Call) {
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	was := []byte("0")
	if o.Exists() {
		was = o.str
	}
	a, ok := parseLongDouble(was)
	if !ok {
		c.Error(errNotFloat)
		return
	}
	b, ok := parseLongDouble(c.args[2])
	if !ok {
		c.Error(errNotFloat)
		return
	}
	sum, ok := addLongDouble(a, b)
	if !ok {
		c.Error(errNaNOrInfinity)
		return
	}
	if !o.Exists() || string(sum) != string(o.str) {
		c.Change(o)
		o.typ, o.str = TypeString, clone(sum)
	}
	c.Bulk(sum)
}

func execAppend(c *Call) {
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	more := c.args[2]
	if len(o.str)+len(more) > maxStringLen {
		c.Error(errStringTooLong)
		return
	}
	if len(more) > 0 || !o.Exists() {
		c.Change(o) // the length in it is what takes the append back
		o.typ, o.str = TypeString, append(o.str, more...)
	}
	c.Int(int64(len(o.str)))
}

func execSetRange(c *Call) {
	offset, ok := parseInt(c.args[2])
	switch {
	case !ok:
		c.Error(errNotInteger)
		return
	case offset < 0:
		c.Error(errOffsetRange)
		return
	}
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	part := c.args[3]
	switch {
	case len(part) == 0:
	case offset > int64(maxStringLen-len(part)):
		c.Error(errStringTooLong)
		return
	default:
		from := int(offset)
		copy(c.editString(o, from, from+len(part))[from:], part)
	}
	c.Int(int64(len(o.str)))
}

// smallString is the length up to which a string is copied before bytes inside
// it change: a way back to bytes changed in place costs about as much.
const smallString = 128

// editString returns the bytes of a string, or of a key that does not exist,
// with zeros behind up to the index to. The bytes between from and to may be
// written then; they are taken back with the call.
func (c *Call) editString(o *Object, from, to int) []byte {
	ch := c.Change(o)
	was := o.str
	n := max(len(was), to)
	switch {
	case n > cap(was), from < len(was) && n <= smallString:
		room := n
		if n > len(was) {
			// Who writes behind the end does it again.
			room = max(n, len(was)+len(was)/4)
		}
		o.str = append(make([]byte, 0, room), was...)[:n]
	default:
		o.str = was[:n]
		clear(o.str[len(was):])
		if from < len(was) {
			saved := clone(was[from:min(to, len(was))])
			ch.Undo(int64(len(saved)), func() { copy(was[from:], saved) })
		}
	}
	o.typ = TypeString
	return o.str
}

// execGetRange is SUBSTR, its old name, too.
func execGetRange(c *Call) {
	start, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	end, ok := parseInt(c.args[3])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	n := int64(len(o.str))
	if n == 0 || (start < 0 && end < 0 && start > end) {
		c.Bulk(nil)
		return
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	if end = min(end, n-1); start > end {
		c.Bulk(nil)
		return
	}
	c.Bulk(o.str[start : end+1])
}
