package engine

import "strconv"

const (
	errHashNotInteger = "ERR hash value is not an integer"
	errHashNotFloat   = "ERR hash value is not a float"
)

// makeHash is the hash of an object that is about to get a field.
func (c *Call) makeHash(o *Object, h *hash) *hash {
	c.Change(o)
	if h == nil {
		h = &hash{}
		o.typ, o.data = TypeHash, h
	}
	return h
}

// putField changes one slot of a hash, with the way back.
func (c *Call) putField(o *Object, h *hash, at int, s hashSlot) {
	ch := c.Change(o)
	if ch.before.data != container(h) { // made by this call: it goes as a whole
		h.put(at, s)
		return
	}
	var old hashSlot
	if at < len(h.slots) {
		old = h.slots[at]
	}
	ch.Undo(int64(len(old.data))+hashUndoSize, func() { h.put(at, old) })
	h.put(at, s)
}

// hashUndoSize is what the way back from putField holds beside the field.
const hashUndoSize = 48

// setField gives a field a value, and a deadline unless it is 0. It reports
// whether the field is new.
func (c *Call) setField(o *Object, h *hash, name, value []byte, deadline int64) bool {
	at, added := h.find(name), true
	if at < 0 {
		c.compactHash(o, h)
		at = len(h.slots)
	} else {
		added = !h.slots[at].exists()
	}
	c.putField(o, h, at, newSlot(name, value, deadline))
	return added
}

// removeField removes the field that a slot holds.
func (c *Call) removeField(o *Object, h *hash, at int) {
	c.putField(o, h, at, h.removed(&h.slots[at]))
}

// compactHash moves a hash together that has become sparse.
func (c *Call) compactHash(o *Object, h *hash) {
	if !h.sparse() {
		return
	}
	old := h.compact()
	if ch := c.Change(o); ch.before.data == container(h) {
		ch.Undo(int64(len(old))*hashFieldOverhead, func() { h.uncompact(old) })
	}
}

// tidyHash ends a command that has removed fields: an empty hash is no value.
func (c *Call) tidyHash(o *Object, h *hash) {
	if h.length() > 0 {
		c.compactHash(o, h)
		return
	}
	c.Change(o)
	*o = Object{mark: o.mark}
}

// execHSet is HSET and HMSET.
func execHSet(c *Call) {
	if len(c.args)%2 != 0 {
		c.Error(errArity(c.cmd.Name))
		return
	}
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowFields(o, h, 2, 2) {
		return
	}
	h = c.makeHash(o, h)
	var added int64
	for i := 2; i < len(c.args); i += 2 {
		if c.setField(o, h, c.args[i], c.args[i+1], 0) {
			added++
		}
	}
	if c.cmd.Name == "hmset" {
		c.OK()
		return
	}
	c.Int(added)
}

func execHDel(c *Call) {
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowFields(o, h, 2, 1) {
		return
	}
	var n int64
	if h != nil {
		for _, name := range c.args[2:] {
			if at := h.find(name); at >= 0 && h.slots[at].exists() {
				c.removeField(o, h, at)
				n++
			}
		}
	}
	if n > 0 {
		c.tidyHash(o, h)
	}
	c.Int(n)
}

// countField stores the result of HINCRBY or HINCRBYFLOAT in a field, which keeps
// its deadline. That the deadline had not passed does not show in the result: on
// a server where it has the field would begin anew.
func (c *Call) countField(o *Object, h *hash, text []byte) {
	var deadline int64
	if s := h.get(c.args[2]); s != nil {
		deadline = s.deadline()
		c.dependsOn(deadline)
	}
	h = c.makeHash(o, h)
	c.setField(o, h, c.args[2], text, deadline)
}

func execHIncrBy(c *Call) {
	by, ok := parseInt(c.args[3])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowField(o, h, c.args[2]) {
		return
	}
	var n int64
	if s := h.get(c.args[2]); s != nil {
		if n, ok = parseInt([]byte(s.value())); !ok {
			c.Error(errHashNotInteger)
			return
		}
	}
	if n, ok = add(n, by); !ok {
		c.Error(errOverflow)
		return
	}
	var room [20]byte
	c.countField(o, h, strconv.AppendInt(room[:0], n, 10))
	c.Int(n)
}

func execHIncrByFloat(c *Call) {
	by, ok := parseLongDouble(c.args[3])
	switch {
	case !ok:
		c.Error(errNotFloat)
		return
	case by.IsInf():
		c.Error("ERR value is NaN or Infinity")
		return
	}
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowField(o, h, c.args[2]) {
		return
	}
	was := []byte("0")
	if s := h.get(c.args[2]); s != nil {
		was = []byte(s.value())
	}
	n, ok := parseLongDouble(was)
	if !ok {
		c.Error(errHashNotFloat)
		return
	}
	sum, ok := addLongDouble(n, by)
	if !ok {
		c.Error("ERR increment would produce NaN or Infinity")
		return
	}
	c.countField(o, h, sum)
	c.Bulk(sum)
}
