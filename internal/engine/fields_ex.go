package engine

// execHGetEx is HGETEX.
func execHGetEx(c *Call) {
	o, h, ok := c.hashAt(0)
	if !ok {
		return
	}
	var (
		from     = 2
		change   bool
		deadline int64 // 0 when the fields are to lose theirs
	)
	if u := parseUnit(c.args[2]); u != unitNone {
		if deadline, ok = c.fieldDeadline(c.args[3], u); !ok {
			return
		}
		from, change = 4, true
	} else if is(c.args[2], "persist") {
		from, change = 3, true
	}
	names, ok := c.fieldNames(from, errFieldsInteger)
	if !ok || !c.knowNames(o, h, names) {
		return
	}
	expired := from == 4 && deadline <= c.now
	removed := false
	c.Array(len(names))
	for _, name := range names {
		s := h.get(name)
		c.hashValue(s)
		switch {
		case s == nil || !change:
		case expired:
			c.removeField(o, h, h.find(name))
			removed = true
		default:
			c.timeField(o, h, h.find(name), deadline)
		}
	}
	if removed {
		c.tidyHash(o, h)
	}
}

// fieldSet is what the arguments of HSETEX say.
type fieldSet struct {
	condition bool // FNX or FXX:
	existing  bool // FXX

	timed    bool // there is a deadline, which may be 0
	deadline int64
	keep     bool // the fields keep theirs

	pairs [][]byte
}

// execHSetEx is HSETEX.
func execHSetEx(c *Call) {
	set, ok := c.parseHSetEx()
	if !ok {
		return
	}
	o, h, ok := c.hashAt(0)
	if !ok || !c.knowPairs(o, h, set.pairs) {
		return
	}
	if set.condition && !c.fieldsMeet(h, set) {
		c.Int(0)
		return
	}
	c.Int(1)
	if set.timed && set.deadline <= c.now {
		c.endFields(o, h, set.pairs)
		return
	}
	h = c.makeHash(o, h)
	for i := 0; i < len(set.pairs); i += 2 {
		deadline := set.deadline
		if s := h.get(set.pairs[i]); s != nil && set.keep {
			deadline = s.deadline()
			c.dependsOn(deadline)
		}
		c.setField(o, h, set.pairs[i], set.pairs[i+1], deadline)
	}
}

func (c *Call) knowPairs(o *Object, h *hash, pairs [][]byte) bool {
	known := true
	for i := 0; i < len(pairs); i += 2 {
		known = c.knowField(o, h, pairs[i]) && known
	}
	return known
}

// fieldsMeet reports whether all fields exist, or with FNX none does.
func (c *Call) fieldsMeet(h *hash, set fieldSet) bool {
	for i := 0; i < len(set.pairs); i += 2 {
		s := h.get(set.pairs[i])
		if (s != nil) != set.existing {
			return false
		}
		if s != nil {
			c.dependsOn(s.deadline())
		}
	}
	return true
}

// endFields removes the fields that have been set with a deadline that has passed.
func (c *Call) endFields(o *Object, h *hash, pairs [][]byte) {
	if h == nil {
		return
	}
	removed := false
	for i := 0; i < len(pairs); i += 2 {
		if at := h.find(pairs[i]); at >= 0 && h.slots[at].exists() {
			c.removeField(o, h, at)
			removed = true
		}
	}
	if removed {
		c.tidyHash(o, h)
	}
}

func (c *Call) parseHSetEx() (set fieldSet, ok bool) {
	const (
		errOneTime      = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
		errOneCondition = "ERR Only one of FXX or FNX arguments can be specified"
	)
	for i := 2; i < len(c.args); i++ {
		arg := c.args[i]
		u := parseUnit(arg)
		switch {
		case is(arg, "fields"):
			if set.pairs, ok = c.parsePairs(i + 1); !ok {
				return set, false
			}
			return set, true
		case is(arg, "fnx"), is(arg, "fxx"):
			if set.condition {
				c.Error(errOneCondition)
				return set, false
			}
			set.condition, set.existing = true, is(arg, "fxx")
		case u != unitNone, is(arg, "keepttl"):
			if set.timed || set.keep {
				c.Error(errOneTime)
				return set, false
			}
			if u == unitNone {
				set.keep = true
				continue
			}
			if i++; i == len(c.args) {
				c.Error(errArity(c.cmd.Name))
				return set, false
			}
			if set.deadline, ok = c.fieldDeadline(c.args[i], u); !ok {
				return set, false
			}
			set.timed = true
		default:
			c.Error("ERR unknown argument: " + string(cString(arg)))
			return set, false
		}
	}
	c.Error(errArity(c.cmd.Name))
	return set, false
}

// parsePairs are the fields and values that follow FIELDS, from their number on.
func (c *Call) parsePairs(at int) ([][]byte, bool) {
	if at >= len(c.args) {
		c.Error(errArity(c.cmd.Name))
		return nil, false
	}
	pairs := c.args[at+1:]
	n, ok := parseInt(c.args[at])
	switch {
	case len(pairs) < 2:
		c.Error(errArity(c.cmd.Name))
	case !ok || n < 1 || n > 1<<31-1:
		c.Error("ERR invalid number of fields")
	case int64(len(pairs)) != 2*n:
		c.Error(errArity(c.cmd.Name))
	default:
		return pairs, true
	}
	return nil, false
}
