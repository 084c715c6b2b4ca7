package engine

// HSCAN gives all fields in one reply and ends the scan, as Redis does with small
// hashes. A cursor that a server gave earlier begins anew: a scan may give fields
// twice, and must not leave one out.
func execHScan(c *Call) {
	if !c.scanCursor(c.args[2]) {
		return
	}
	h, ok := c.wholeHash(0)
	if !ok {
		return
	}
	if h == nil {
		c.scanReply()
		c.Array(0)
		return
	}
	o, ok := c.scanOptions(3)
	if !ok {
		return
	}
	c.scanReply()
	at, n := c.open(), 0
	for i := range h.slots {
		s := &h.slots[i]
		if !s.exists() || !o.matches(s.name()) {
			continue
		}
		c.BulkString(s.name())
		n++
		if !o.noValues {
			c.BulkString(s.value())
			n++
		}
	}
	c.closeArray(at, n)
}

// scanReply begins the reply of a scan that ends; the array of elements must
// follow.
func (c *Call) scanReply() {
	c.Array(2)
	c.BulkString("0")
}

// scansAsOf74 reports whether the server scans as Redis 7.4 does and Valkey has
// from 8.0: with NOVALUES, and cursors read in another way.
func (c *Call) scansAsOf74() bool {
	return c.server.AtLeast(70400) || (c.server.Valkey && c.server.Version >= 80000)
}

// scanCursor checks a cursor as C's strtoul reads it. Servers before 7.4 take the
// empty one for 0 but no leading space; later ones the other way round, and no
// negative one if it is written as integers are.
func (c *Call) scanCursor(arg []byte) bool {
	if !c.cursorValid(arg) {
		c.Error("ERR invalid cursor")
		return false
	}
	return true
}

func (c *Call) cursorValid(arg []byte) bool {
	for i, ch := range arg {
		if ch == 0 {
			arg = arg[:i]
			break
		}
	}
	recent := c.scansAsOf74()
	if len(arg) == 0 {
		return !recent
	}
	if n, ok := parseInt(arg); ok && n < 0 && recent {
		return false
	}
	for len(arg) > 0 && isSpace(arg[0]) && recent {
		arg = arg[1:]
	}
	if len(arg) > 0 && (arg[0] == '-' || arg[0] == '+') {
		arg = arg[1:]
	}
	var n uint64
	for _, ch := range arg {
		digit := uint64(ch - '0')
		if digit > 9 || n > (1<<64-1)/10 || n*10 > 1<<64-1-digit {
			return false
		}
		n = n*10 + digit
	}
	return len(arg) > 0
}

// scanOptions are those of a scan of one key.
type scanOptions struct {
	pattern  []byte // nil when all match
	noValues bool
}

func (o *scanOptions) matches(name string) bool {
	return o.pattern == nil || globMatch(o.pattern, []byte(name))
}

// scanOptions reads the options of a scan of one key from an argument on. COUNT
// is checked, and has no other use.
func (c *Call) scanOptions(from int) (o scanOptions, ok bool) {
	for i := from; i < len(c.args); i++ {
		arg, last := c.args[i], i == len(c.args)-1
		switch {
		case is(arg, "count") && !last:
			i++
			n, ok := parseInt(c.args[i])
			if !ok {
				c.Error(errNotInteger)
				return o, false
			}
			if n < 1 {
				c.Error(errSyntax)
				return o, false
			}
		case is(arg, "match") && !last:
			i++
			if o.pattern = c.args[i]; string(o.pattern) == "*" {
				o.pattern = nil
			} else if o.pattern == nil {
				o.pattern = []byte{}
			}
		case is(arg, "novalues") && c.scansAsOf74():
			if c.cmd.Name != "hscan" {
				c.Error("ERR NOVALUES option can only be used in HSCAN")
				return o, false
			}
			o.noValues = true
		default:
			c.Error(errSyntax)
			return o, false
		}
	}
	return o, true
}
