package engine

// Deadlines of hash fields: Redis 7.4 has them, Valkey 8 does not.

func fieldCommands() []Command {
	return []Command{
		{Name: "hexpire", Arity: -6, Write: true, needs: NeedValue, exec: func(c *Call) { execHExpire(c, unitEX) }},
		{Name: "hpexpire", Arity: -6, Write: true, needs: NeedValue, exec: func(c *Call) { execHExpire(c, unitPX) }},
		{Name: "hexpireat", Arity: -6, Write: true, needs: NeedValue, exec: func(c *Call) { execHExpire(c, unitEXAT) }},
		{Name: "hpexpireat", Arity: -6, Write: true, needs: NeedValue, exec: func(c *Call) { execHExpire(c, unitPXAT) }},
		{Name: "hpersist", Arity: -5, Write: true, needs: NeedValue, exec: execHPersist},
		{Name: "hgetex", Arity: -5, Write: true, needs: NeedValue, exec: execHGetEx},
		{Name: "hsetex", Arity: -6, Write: true, needs: NeedValue, exec: execHSetEx},

		{Name: "httl", Arity: -5, needs: NeedValue, exec: func(c *Call) {
			c.fieldTimes(func(at int64) int64 { return ceilSeconds(at - c.now) })
		}},
		{Name: "hpttl", Arity: -5, needs: NeedValue, exec: func(c *Call) {
			c.fieldTimes(func(at int64) int64 { return at - c.now })
		}},
		{Name: "hexpiretime", Arity: -5, needs: NeedValue, exec: func(c *Call) { c.fieldTimes(ceilSeconds) }},
		{Name: "hpexpiretime", Arity: -5, needs: NeedValue, exec: func(c *Call) {
			c.fieldTimes(func(at int64) int64 { return at })
		}},
	}
}

const (
	errFieldsMissing = "ERR Mandatory argument FIELDS is missing or not at the right position"
	errFieldsMatch   = "ERR The `numfields` parameter must match the number of arguments"
	errFieldsGreater = "ERR Parameter `numFields` should be greater than 0"
	errFieldsInteger = "ERR Number of fields must be a positive integer"
	errFieldTime     = "ERR invalid expire time, must be >= 0"
)

// fieldTimeMax is the last deadline, in milliseconds, that a field can have.
const fieldTimeMax = 1<<46 - 1

// The replies about one field.
const (
	fieldNone    = -2 // it does not exist
	fieldForever = -1 // it has no deadline
	fieldKept    = 0  // the condition was not met
	fieldDone    = 1
	fieldEnded   = 2 // the deadline that was set had passed
)

func ceilSeconds(ms int64) int64 { return (ms + 999) / 1000 }

// fieldDeadline reads the time of a command on fields. Zero is a deadline too,
// and has passed.
func (c *Call) fieldDeadline(arg []byte, u unit) (ms int64, ok bool) {
	ms, ok = parseInt(arg)
	base, limit := int64(0), int64(fieldTimeMax)
	if u == unitEX || u == unitPX {
		base = c.now
	}
	switch seconds := u == unitEX || u == unitEXAT; {
	case !ok:
		c.Error(errNotInteger)
		return 0, false
	case ms < 0:
		c.Error(errFieldTime)
		return 0, false
	case seconds && ms > limit/1000:
		c.Error(errExpireTime(c.cmd.Name))
		return 0, false
	case seconds:
		ms *= 1000
	}
	if ms > limit-base {
		c.Error(errExpireTime(c.cmd.Name))
		return 0, false
	}
	return ms + base, true
}

// fieldNames are the fields of FIELDS numfields field …, of which the word must
// be argument at and nothing may follow. badNumber is the error for a number that
// is none.
func (c *Call) fieldNames(at int, badNumber string) (names [][]byte, ok bool) {
	if at >= len(c.args) || !is(c.args[at], "fields") {
		c.Error(errFieldsMissing)
		return nil, false
	}
	if at+1 >= len(c.args) {
		c.Error(errArity(c.cmd.Name))
		return nil, false
	}
	n, ok := parseInt(c.args[at+1])
	if !ok || n < 1 {
		c.Error(badNumber)
		return nil, false
	}
	if names = c.args[at+2:]; n != int64(len(names)) {
		c.Error(errFieldsMatch)
		return nil, false
	}
	return names, true
}

// knowNames is knowField for some names.
func (c *Call) knowNames(o *Object, h *hash, names [][]byte) bool {
	known := true
	for _, name := range names {
		known = c.knowField(o, h, name) && known
	}
	return known
}

// fieldTimes replies with something of the deadline of each field.
func (c *Call) fieldTimes(of func(at int64) int64) {
	c.eachTimed(func(_ *Object, _ *hash, s *hashSlot, _ []byte) int64 { return of(s.deadline()) })
}

func execHPersist(c *Call) {
	c.eachTimed(func(o *Object, h *hash, _ *hashSlot, name []byte) int64 {
		c.timeField(o, h, h.find(name), 0)
		return fieldDone
	})
}

// eachTimed replies for each field: for one with a deadline what of says.
func (c *Call) eachTimed(of func(o *Object, h *hash, s *hashSlot, name []byte) int64) {
	o, h, ok := c.hashAt(0)
	if !ok {
		return
	}
	names, ok := c.fieldNames(2, errFieldsInteger)
	if !ok || !c.knowNames(o, h, names) {
		return
	}
	c.Array(len(names))
	for _, name := range names {
		switch s := h.get(name); {
		case s == nil:
			c.Int(fieldNone)
		case s.kind != slotTimed:
			c.Int(fieldForever)
		default:
			c.Int(of(o, h, s, name))
		}
	}
}

// timeField gives a field that exists another deadline, 0 for none. Where the
// field would have ended earlier without it, the effect rests on its not having
// ended.
func (c *Call) timeField(o *Object, h *hash, at int, deadline int64) {
	was := h.slots[at].deadline()
	if was == deadline {
		return
	}
	if deadline == 0 || was < deadline {
		c.dependsOn(was)
	}
	c.putField(o, h, at, h.slots[at].withDeadline(deadline))
}

// execHExpire is HEXPIRE and its like.
func execHExpire(c *Call, u unit) {
	o, h, ok := c.hashAt(0)
	if !ok {
		return
	}
	deadline, ok := c.fieldDeadline(c.args[2], u)
	if !ok {
		return
	}
	var allows func(was, deadline int64) bool
	from := 3
	if allows = fieldCondition(c.args[3]); allows != nil {
		from++
	}
	names, ok := c.fieldNames(from, errFieldsGreater)
	if !ok || !c.knowNames(o, h, names) {
		return
	}
	c.Array(len(names))
	removed := false
	for _, name := range names {
		s := h.get(name)
		switch {
		case s == nil:
			c.Int(fieldNone)
		case allows != nil && !allows(s.deadline(), deadline):
			c.Int(fieldKept)
		case deadline <= c.now:
			c.removeField(o, h, h.find(name))
			removed = true
			c.Int(fieldEnded)
		default:
			c.timeField(o, h, h.find(name), deadline)
			c.Int(fieldDone)
		}
	}
	if removed {
		c.tidyHash(o, h)
	}
}

// fieldCondition is the condition that an option names, nil when it names none.
// The deadline that was is 0 where there is none.
func fieldCondition(arg []byte) func(was, deadline int64) bool {
	switch {
	case is(arg, "nx"):
		return func(was, _ int64) bool { return was == 0 }
	case is(arg, "xx"):
		return func(was, _ int64) bool { return was != 0 }
	case is(arg, "gt"):
		return func(was, deadline int64) bool { return was != 0 && deadline > was }
	case is(arg, "lt"):
		return func(was, deadline int64) bool { return was == 0 || deadline < was }
	}
	return nil
}

// expireFields drops the fields whose deadline has passed, and the value when
// none is left. It is no change: it happens by itself.
func (o *Object) expireFields(now int64) {
	h, ok := o.data.(*hash)
	if !ok {
		return
	}
	h.expire(now)
	if h.length() == 0 {
		*o = Object{mark: o.mark}
	}
}
