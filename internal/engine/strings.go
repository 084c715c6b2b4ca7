package engine

import (
	"math"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// maxStringLen is Redis's proto-max-bulk-len.
const maxStringLen = 512 << 20

func stringCommands() []Command {
	return []Command{
		{Name: "get", Arity: 2, needs: NeedValue, exec: execGet},
		{Name: "mget", Arity: -2, needs: NeedValue, exec: execMGet},
		{Name: "getex", Arity: -2, Write: true, needs: NeedValue, exec: execGetEx},
		{Name: "strlen", Arity: 2, needs: NeedValue, exec: execStrlen},
		{Name: "getrange", Arity: 4, needs: NeedValue, exec: execGetRange},
		{Name: "substr", Arity: 4, needs: NeedValue, exec: execGetRange},
		{Name: "lcs", Arity: -3, needs: NeedValue, exec: execLCS},

		{Name: "set", Arity: -3, Write: true, needsOf: needsOfSet, exec: execSet},
		{Name: "setex", Arity: 4, Write: true, exec: func(c *Call) { c.setEx(unitEX) }},
		{Name: "psetex", Arity: 4, Write: true, exec: func(c *Call) { c.setEx(unitPX) }},
		{Name: "mset", Arity: -3, Write: true, exec: execMSet},
		{Name: "msetex", Arity: -4, Write: true, needsOf: needsOfMSetEx, exec: execMSetEx},

		{Name: "append", Arity: 3, Write: true, needs: NeedValue, exec: execAppend},
		{Name: "setrange", Arity: 4, Write: true, needs: NeedValue, exec: execSetRange},
		{Name: "incr", Arity: 2, Write: true, needs: NeedValue, exec: func(c *Call) { c.incr(1) }},
		{Name: "decr", Arity: 2, Write: true, needs: NeedValue, exec: func(c *Call) { c.incr(-1) }},
		{Name: "incrby", Arity: 3, Write: true, needs: NeedValue, exec: execIncrBy},
		{Name: "decrby", Arity: 3, Write: true, needs: NeedValue, exec: execDecrBy},
		{Name: "incrbyfloat", Arity: 3, Write: true, needs: NeedValue, exec: execIncrByFloat},
	}
}

func (o *Object) restoreString(dst []byte, key string) []byte {
	n := 3
	if o.expireAt != 0 {
		n = 5
	}
	dst = resp.AppendArray(dst, n)
	dst = resp.AppendBulkString(dst, "SET")
	dst = resp.AppendBulkString(dst, key)
	dst = resp.AppendBulk(dst, o.str)
	if o.expireAt != 0 {
		dst = resp.AppendBulkString(dst, "PXAT")
		dst = resp.AppendBulkString(dst, formatInt(o.expireAt))
	}
	return dst
}

// replyString replies with the value of an object that is a string or none.
func (c *Call) replyString(o *Object) {
	if o.Exists() {
		c.Bulk(o.str)
	} else {
		c.Null()
	}
}

func execGet(c *Call) {
	if o, ok := c.typed(0, TypeString); ok {
		c.replyString(o)
	}
}

func execMGet(c *Call) {
	c.Array(len(c.keys))
	for i := range c.keys {
		o := c.Key(i)
		switch {
		case o.typ != TypeString:
			c.Null()
		case o.opaque:
			c.tooBig()
			return
		default:
			c.Bulk(o.str)
		}
	}
}

func execStrlen(c *Call) {
	if o, ok := c.typed(0, TypeString); ok {
		c.Int(int64(len(o.str)))
	}
}

// unit is how a deadline is given.
type unit uint8

const (
	unitNone unit = iota
	unitEX        // seconds from now
	unitPX        // milliseconds from now
	unitEXAT      // seconds since the epoch
	unitPXAT      // milliseconds since the epoch
)

func parseUnit(b []byte) unit {
	switch {
	case is(b, "ex"):
		return unitEX
	case is(b, "px"):
		return unitPX
	case is(b, "exat"):
		return unitEXAT
	case is(b, "pxat"):
		return unitPXAT
	}
	return unitNone
}

// positiveDeadline turns the time of a SET, or of one of its like, which take
// only times above zero, into Unix milliseconds. If it cannot it replies with the
// error and ok is false. Without a unit the answer is 0.
func (c *Call) positiveDeadline(u unit, value []byte) (ms int64, ok bool) {
	if u == unitNone {
		return 0, true
	}
	if ms, ok = parseInt(value); !ok {
		c.Error(errNotInteger)
		return 0, false
	}
	seconds := u == unitEX || u == unitEXAT
	ok = ms > 0 && (!seconds || ms <= math.MaxInt64/1000)
	if ok && seconds {
		ms *= 1000
	}
	if ok && (u == unitEX || u == unitPX) {
		ms, ok = add(ms, c.now)
	}
	if !ok {
		c.Error(errExpireTime(c.cmd.Name))
	}
	return ms, ok
}

// setOptions are the options of a SET, a GETEX or an MSETEX.
type setOptions struct {
	nx, xx, get, keepTTL, persist bool

	unit  unit
	value []byte // of the deadline
}

// parseSetOptions reads the options of the command from argument i on. If they
// are none, or exclude each other, it replies with the error and ok is false.
// An option that is given again counts once, a deadline the last time.
func (c *Call) parseSetOptions(i int) (o setOptions, ok bool) {
	set, getEx := c.cmd.Name == "set", c.cmd.Name == "getex"
	for ; i < len(c.args); i++ {
		arg := c.args[i]
		u := parseUnit(arg)
		switch {
		case u != unitNone && i+1 < len(c.args) && (o.unit == unitNone || o.unit == u) && !o.keepTTL && !o.persist:
			i++
			o.unit, o.value = u, c.args[i]
		case !getEx && is(arg, "nx") && !o.xx:
			o.nx = true
		case !getEx && is(arg, "xx") && !o.nx:
			o.xx = true
		case !getEx && is(arg, "keepttl") && o.unit == unitNone:
			o.keepTTL = true
		case set && is(arg, "get"):
			o.get = true
		case getEx && is(arg, "persist") && o.unit == unitNone:
			o.persist = true
		case set && c.comparesStrings() && isComparison(arg):
			c.notServed("with a comparison")
			return o, false
		default:
			c.Error(errSyntax)
			return o, false
		}
	}
	return o, true
}

// comparesStrings reports whether the server's SET knows IFEQ or its like.
func (c *Call) comparesStrings() bool {
	if c.server.Valkey {
		return c.server.Version >= 80100
	}
	return c.server.AtLeast(80400)
}

func isComparison(b []byte) bool {
	return is(b, "ifeq") || is(b, "ifne") || is(b, "ifdeq") || is(b, "ifdne")
}

// needsOfSet: the conditions and KEEPTTL ask whether there was something, and
// GET for what it was.
func needsOfSet(args [][]byte) Need {
	need := NeedNothing
	for _, arg := range args[3:] {
		switch {
		case is(arg, "get"):
			return NeedValue
		case is(arg, "nx"), is(arg, "xx"), is(arg, "keepttl"):
			need = NeedMeta
		}
	}
	return need
}

func execSet(c *Call) {
	if len(c.args) == 3 {
		c.Replace(c.Key(0), NewString(clone(c.args[2])))
		c.OK()
		return
	}
	opts, ok := c.parseSetOptions(3)
	if !ok {
		return
	}
	at, ok := c.positiveDeadline(opts.unit, opts.value)
	if !ok {
		return
	}
	o := c.Key(0)
	if opts.get && !c.isType(o, TypeString) {
		return
	}
	if opts.get {
		c.replyString(o)
	}
	if (opts.nx && o.Exists()) || (opts.xx && !o.Exists()) {
		if !opts.get {
			c.Null()
		}
		return
	}
	c.setString(o, c.args[2], at, opts)
	if !opts.get {
		c.OK()
	}
}

// setString sets an object as SET and its like do. A deadline that has passed
// leaves nothing.
func (c *Call) setString(o *Object, value []byte, at int64, opts setOptions) {
	v := NewString(clone(value))
	if v.expireAt = at; opts.keepTTL {
		v.expireAt = o.expireAt
	}
	v.Expire(c.now)
	if opts.nx || opts.xx || opts.keepTTL {
		c.Change(o)
		v.mark = o.mark
		*o = v
		return
	}
	c.Replace(o, v)
}

// setEx is SETEX, or with milliseconds PSETEX.
func (c *Call) setEx(u unit) {
	at, ok := c.positiveDeadline(u, c.args[2])
	if !ok {
		return
	}
	c.setString(c.Key(0), c.args[3], at, setOptions{})
	c.OK()
}

func execMSet(c *Call) {
	if len(c.args)%2 == 0 {
		c.Error(errArity(c.cmd.Name))
		return
	}
	for i := range c.keys {
		c.Replace(c.Key(i), NewString(clone(c.args[2*i+2])))
	}
	c.OK()
}

// msetExOptions is the index of the first option of an MSETEX, and false when
// the number of keys is no number or does not fit.
func msetExOptions(args [][]byte) (int, bool) {
	n, ok := parseInt(args[1])
	if !ok || n <= 0 || n > int64(len(args)-2)/2 {
		return 0, false
	}
	return 2 + 2*int(n), true
}

func needsOfMSetEx(args [][]byte) Need {
	if i, ok := msetExOptions(args); ok {
		for _, arg := range args[i:] {
			if is(arg, "nx") || is(arg, "xx") || is(arg, "keepttl") {
				return NeedMeta
			}
		}
	}
	return NeedNothing
}

// execMSetEx leaves malformed commands and the conditions alone: no server has
// been seen to answer them.
func execMSetEx(c *Call) {
	first, ok := msetExOptions(c.args)
	if !ok || len(c.keys) != first/2-1 {
		c.notServed("in this form")
		return
	}
	opts, ok := c.parseSetOptions(first)
	if ok && (opts.nx || opts.xx) {
		c.notServed("with a condition")
		return
	}
	var at int64
	if ok {
		at, ok = c.positiveDeadline(opts.unit, opts.value)
	}
	if !ok {
		return
	}
	for i := range c.keys {
		c.setString(c.Key(i), c.args[2*i+3], at, opts)
	}
	c.Int(1)
}

// execGetEx: without an option it is GET.
func execGetEx(c *Call) {
	opts, ok := c.parseSetOptions(2)
	if !ok {
		return
	}
	o, ok := c.typed(0, TypeString)
	if !ok {
		return
	}
	if !o.Exists() {
		c.Null()
		return
	}
	at, ok := c.positiveDeadline(opts.unit, opts.value)
	if !ok {
		return
	}
	c.Bulk(o.str)
	switch {
	case opts.unit != unitNone:
		c.setDeadline(o, at)
	case opts.persist && o.expireAt != 0:
		c.setDeadline(o, 0)
	}
}
