package engine

const errSameObject = "ERR source and destination objects are the same"

func keyCommands() []Command {
	return []Command{
		{Name: "del", Arity: -2, Write: true, needs: NeedMeta, exec: execDel},
		{Name: "unlink", Arity: -2, Write: true, needs: NeedMeta, exec: execDel},
		{Name: "exists", Arity: -2, needs: NeedMeta, exec: execExists},
		{Name: "touch", Arity: -2, needs: NeedMeta, exec: execExists},
		{Name: "type", Arity: 2, needs: NeedMeta, exec: func(c *Call) { c.Simple(c.Key(0).TypeName()) }},
		{Name: "rename", Arity: 3, Write: true, needs: NeedValue, exec: execRename},
		{Name: "copy", Arity: -3, Write: true, needs: NeedValue, exec: execCopy},

		{Name: "expire", Arity: -3, Write: true, needs: NeedMeta, exec: func(c *Call) { c.expire(unitEX) }},
		{Name: "pexpire", Arity: -3, Write: true, needs: NeedMeta, exec: func(c *Call) { c.expire(unitPX) }},
		{Name: "expireat", Arity: -3, Write: true, needs: NeedMeta, exec: func(c *Call) { c.expire(unitEXAT) }},
		{Name: "pexpireat", Arity: -3, Write: true, needs: NeedMeta, exec: func(c *Call) { c.expire(unitPXAT) }},
		{Name: "persist", Arity: 2, Write: true, needs: NeedMeta, exec: execPersist},
		{Name: "ttl", Arity: 2, needs: NeedMeta, exec: func(c *Call) { c.timeToLive(unitEX) }},
		{Name: "pttl", Arity: 2, needs: NeedMeta, exec: func(c *Call) { c.timeToLive(unitPX) }},
		{Name: "expiretime", Arity: 2, needs: NeedMeta, exec: func(c *Call) { c.timeToLive(unitEXAT) }},
		{Name: "pexpiretime", Arity: 2, needs: NeedMeta, exec: func(c *Call) { c.timeToLive(unitPXAT) }},
	}
}

// execDel is UNLINK too.
func execDel(c *Call) {
	var n int64
	for i := range c.keys {
		if o := c.Key(i); o.Exists() {
			c.Replace(o, Object{})
			n++
		}
	}
	c.Int(n)
}

// execExists is TOUCH too. A key that is given twice counts twice.
func execExists(c *Call) {
	var n int64
	for i := range c.keys {
		if c.Key(i).Exists() {
			n++
		}
	}
	c.Int(n)
}

// execRename moves the value as it is, with its deadline, even if it is known in
// part or not at all.
func execRename(c *Call) {
	from, to := c.Key(0), c.Key(1)
	if !from.Exists() {
		c.Error(errNoSuchKey)
		return
	}
	if from != to {
		v := *from
		// The room behind a string stays with the old key, which may get it back.
		v.str = v.str[:len(v.str):len(v.str)]
		c.Replace(to, v)
		c.Replace(from, Object{})
	}
	c.OK()
}
