package engine

import "math/rand/v2"

func hashCommands() []Command {
	return []Command{
		{Name: "hset", Arity: -4, Write: true, needs: NeedValue, exec: execHSet},
		{Name: "hmset", Arity: -4, Write: true, needs: NeedValue, exec: execHSet},
		{Name: "hdel", Arity: -3, Write: true, needs: NeedValue, exec: execHDel},
		{Name: "hincrby", Arity: 4, Write: true, needs: NeedValue, exec: execHIncrBy},
		{Name: "hincrbyfloat", Arity: 4, Write: true, needs: NeedValue, exec: execHIncrByFloat},

		{Name: "hget", Arity: 3, needs: NeedValue, exec: execHGet},
		{Name: "hmget", Arity: -3, needs: NeedValue, exec: execHMGet},
		{Name: "hgetall", Arity: 2, needs: NeedValue, exec: execHGetAll},
		{Name: "hkeys", Arity: 2, needs: NeedValue, exec: func(c *Call) { c.hashList((*hashSlot).name) }},
		{Name: "hvals", Arity: 2, needs: NeedValue, exec: func(c *Call) { c.hashList((*hashSlot).value) }},
		{Name: "hlen", Arity: 2, needs: NeedValue, exec: execHLen},
		{Name: "hstrlen", Arity: 3, needs: NeedValue, exec: execHStrLen},
		{Name: "hexists", Arity: 3, needs: NeedValue, exec: execHExists},
		{Name: "hrandfield", Arity: -2, needs: NeedValue, exec: execHRandField},
		{Name: "hscan", Arity: -3, needs: NeedValue, exec: execHScan},
	}
}

// hashAt is the hash of the i-th key argument, nil if the key does not exist.
// When ok is false the reply, or the refusal, has been given.
func (c *Call) hashAt(i int) (o *Object, h *hash, ok bool) {
	if o, ok = c.typed(i, TypeHash); ok {
		h, _ = o.data.(*hash)
	}
	return o, h, ok
}

// wholeHash is hashAt for a command that needs every field.
func (c *Call) wholeHash(i int) (h *hash, ok bool) {
	_, h, ok = c.hashAt(i)
	if ok && h != nil && h.partial {
		c.tooBig()
		return nil, false
	}
	return h, ok
}

// knowField reports whether it is known if the field exists, and asks where not.
func (c *Call) knowField(o *Object, h *hash, name []byte) bool {
	if h == nil || !h.partial || h.find(name) >= 0 {
		return true
	}
	c.miss(o, name)
	return false
}

// knowFields is knowField for every step-th of the arguments from one on.
func (c *Call) knowFields(o *Object, h *hash, from, step int) bool {
	if h == nil || !h.partial {
		return true
	}
	known := true
	for i := from; i < len(c.args); i += step {
		known = c.knowField(o, h, c.args[i]) && known
	}
	return known
}

// hashField is the field that args[2] names, nil when it does not exist.
func (c *Call) hashField() (s *hashSlot, ok bool) {
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowField(o, h, c.args[2]) {
		return nil, false
	}
	return h.get(c.args[2]), true
}

func (c *Call) hashValue(s *hashSlot) {
	if s == nil {
		c.Null()
		return
	}
	c.BulkString(s.value())
}

func execHGet(c *Call) {
	if s, ok := c.hashField(); ok {
		c.hashValue(s)
	}
}

func execHExists(c *Call) {
	if s, ok := c.hashField(); ok {
		c.Bool(s != nil)
	}
}

func execHStrLen(c *Call) {
	s, ok := c.hashField()
	switch {
	case !ok:
	case s == nil:
		c.Int(0)
	default:
		c.Int(int64(len(s.value())))
	}
}

func execHMGet(c *Call) {
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowFields(o, h, 2, 1) {
		return
	}
	c.Array(len(c.args) - 2)
	for _, name := range c.args[2:] {
		c.hashValue(h.get(name))
	}
}

func execHLen(c *Call) {
	_, h, ok := c.hashAt(0)
	switch {
	case !ok:
	case h == nil:
		c.Int(0)
	default:
		c.Int(h.length())
	}
}

func execHGetAll(c *Call) {
	h, ok := c.wholeHash(0)
	switch {
	case !ok:
		return
	case h == nil:
		c.Map(0)
		return
	}
	c.Map(int(h.live))
	for i := range h.slots {
		if s := &h.slots[i]; s.exists() {
			c.BulkString(s.name())
			c.BulkString(s.value())
		}
	}
}

// hashList replies with one thing of each field.
func (c *Call) hashList(what func(*hashSlot) string) {
	h, ok := c.wholeHash(0)
	switch {
	case !ok:
		return
	case h == nil:
		c.Array(0)
		return
	}
	c.Array(int(h.live))
	for i := range h.slots {
		if s := &h.slots[i]; s.exists() {
			c.BulkString(what(s))
		}
	}
}

// hashMaxDrawn bounds the fields that HRANDFIELD draws with repetitions: a count
// far below zero asks a server for a reply without end.
const hashMaxDrawn = 1 << 20

func execHRandField(c *Call) {
	if len(c.args) == 2 {
		h, ok := c.wholeHash(0)
		switch {
		case !ok:
		case h == nil:
			c.Null()
		default:
			c.BulkString(h.drawer()().name())
		}
		return
	}
	count, withValues, ok := c.randomCount()
	if !ok {
		return
	}
	h, ok := c.wholeHash(0)
	switch {
	case !ok:
	case h == nil || count == 0:
		c.Array(0)
	case count < -hashMaxDrawn:
		c.notServed("of so many fields")
	case count < 0:
		draw := h.drawer()
		c.openFields(int(-count), withValues)
		for range -count {
			c.randomField(draw(), withValues)
		}
	default:
		c.sampleHash(h, int(min(count, int64(h.live))), withValues)
	}
}

// randomCount reads the arguments of HRANDFIELD from the count on.
func (c *Call) randomCount() (count int64, withValues, ok bool) {
	const least = -1<<63 + 1
	count, ok = parseInt(c.args[2])
	switch {
	case !ok:
		c.Error(errNotInteger)
		return 0, false, false
	case count < least:
		c.Error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
		return 0, false, false
	case len(c.args) == 3:
		return count, false, true
	case len(c.args) > 4 || !is(c.args[3], "withvalues"):
		c.Error(errSyntax)
		return 0, false, false
	case count < least/2 || count > -(least/2):
		c.Error("ERR value is out of range")
		return 0, false, false
	}
	return count, true, true
}

// openFields begins the reply of HRANDFIELD with a count: RESP3 has pairs in it.
func (c *Call) openFields(n int, withValues bool) {
	if withValues && c.proto != 3 {
		n *= 2
	}
	c.Array(n)
}

func (c *Call) randomField(s *hashSlot, withValues bool) {
	if withValues && c.proto == 3 {
		c.Array(2)
	}
	c.BulkString(s.name())
	if withValues {
		c.BulkString(s.value())
	}
}

// sampleHash replies with n different fields, in their order.
func (c *Call) sampleHash(h *hash, n int, withValues bool) {
	c.openFields(n, withValues)
	left := int(h.live)
	for i := range h.slots {
		s := &h.slots[i]
		if !s.exists() {
			continue
		}
		// Of the fields that are left, so many must still be chosen.
		if rand.IntN(left) < n {
			c.randomField(s, withValues)
			n--
		}
		left--
	}
}

// drawer returns a function that gives any field of a hash that has one.
func (h *hash) drawer() func() *hashSlot {
	if int(h.live) == len(h.slots) {
		return func() *hashSlot { return &h.slots[rand.IntN(len(h.slots))] }
	}
	live := make([]int, 0, h.live)
	for i := range h.slots {
		if h.slots[i].exists() {
			live = append(live, i)
		}
	}
	return func() *hashSlot { return &h.slots[live[rand.IntN(len(live))]] }
}
