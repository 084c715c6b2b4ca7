package engine

// execSScan gives all members at once and ends the scan, whatever the cursor: a
// scan that began on a server goes on here with one that means nothing to us,
// and a member told twice is within what SSCAN promises; one left out is not.
func execSScan(c *Call) {
	if !c.scanCursor(c.args[2]) {
		return
	}
	o, s, ok := c.setAt(0)
	switch {
	case !ok:
		return
	case !o.Exists(): // Redis does not look at the options then
		c.scanReply()
		c.Array(0)
		return
	}
	options, ok := c.scanOptions(3)
	if !ok {
		return
	}
	if !s.whole() {
		c.tooBig()
		return
	}
	c.scanReply()
	at, n := c.open(), 0
	for _, m := range s.list {
		if options.matches(m) {
			c.BulkString(m)
			n++
		}
	}
	c.closeArray(at, n)
}
