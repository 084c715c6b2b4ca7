package engine

import "math"

func execXLen(c *Call) {
	_, s, ok := c.streamAt(1)
	switch {
	case !ok:
	case s == nil:
		c.Int(0)
	default:
		c.Int(s.length)
	}
}

func (c *Call) xrange(reverse bool) {
	start, end := c.args[2], c.args[3]
	if reverse {
		start, end = end, start
	}
	from, to, ok := c.streamInterval(start, end)
	if !ok {
		return
	}
	limit := int64(-1)
	for i := 4; i < len(c.args); i += 2 {
		if i+1 == len(c.args) || !is(c.args[i], "count") {
			c.Error(errSyntax)
			return
		}
		if limit, ok = parseInt(c.args[i+1]); !ok {
			c.Error(errNotInteger)
			return
		}
		limit = max(limit, 0)
	}
	_, s, ok := c.streamAt(1)
	switch {
	case !ok:
	case s == nil:
		c.Array(0)
	case limit == 0:
		c.NullArray()
	case s.partial && from.atMost(s.known):
		c.tooBig()
	default:
		c.streamRange(s, from, to, max(limit, 0), reverse)
	}
}

// streamRead is what XREAD or XREADGROUP is asked for.
type streamRead struct {
	group    bool // it is XREADGROUP
	name     []byte
	consumer []byte
	noAck    bool
	limit    int64
	keys     int // index of the first key; 0 while it is not known
	count    int // of keys
	from     []StreamID
}

// xread answers XREAD and XREADGROUP. BLOCK is read and not heeded: who waits for
// entries gets the reply that the end of the waiting would bring.
func (c *Call) xread(group bool) {
	r := streamRead{group: group}
	if !r.parse(c) || !r.parseIDs(c) {
		return
	}
	at, n := c.open(), 0
	for i := range r.count {
		_, s, _ := c.streamAt(r.keys + i)
		if s == nil {
			continue
		}
		from := r.from[i]
		if r.group {
			n += r.readGroup(c, i, s)
			continue
		}
		if s.partial && from.less(s.known) {
			c.tooBig()
			return
		}
		if last := s.last(); last == nil || last.id.atMost(from) {
			continue
		}
		c.streamHeader(r.keys + i)
		from, _ = from.next()
		c.streamRange(s, from, maxStreamID, r.limit, false)
		n++
	}
	switch {
	case n == 0:
		c.NullArray()
	case c.proto == 3:
		c.closeMap(at, n)
	default:
		c.closeArray(at, n)
	}
}

// streamHeader begins the entries of one key.
func (c *Call) streamHeader(arg int) {
	if c.proto != 3 {
		c.Array(2)
	}
	c.Bulk(c.args[arg])
}

// closeMap is closeArray for a map of RESP3.
func (c *Call) closeMap(at, n int) {
	c.closeArray(at, n)
	c.reply[at] = '%'
}

func (r *streamRead) parse(c *Call) bool {
	args := c.args
	for i := 1; i < len(args) && r.keys == 0; i++ {
		more := len(args) - i - 1
		switch {
		case more > 0 && is(args[i], "block"):
			i++
			if !c.checkTimeout(args[i]) {
				return false
			}
		case more > 0 && is(args[i], "count"):
			i++
			n, ok := parseInt(args[i])
			if !ok {
				c.Error(errNotInteger)
				return false
			}
			r.limit = max(n, 0)
		case more > 0 && is(args[i], "streams"):
			r.keys = i + 1
			if more%2 != 0 {
				c.Error(r.unbalanced(c))
				return false
			}
			r.count = more / 2
		case more > 1 && is(args[i], "group"):
			if !r.group {
				c.Error("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
				return false
			}
			r.name, r.consumer = args[i+1], args[i+2]
			i += 2
		case is(args[i], "noack"):
			if !r.group {
				c.Error("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
				return false
			}
			r.noAck = true
		default:
			c.Error(errSyntax)
			return false
		}
	}
	switch {
	case r.keys == 0:
		c.Error(errSyntax)
		return false
	case r.group && r.name == nil:
		c.Error("ERR Missing GROUP option for XREADGROUP")
		return false
	}
	return true
}

// plusServer reports whether XREAD takes + for the last entry.
func (c *Call) plusServer() bool {
	return c.server.AtLeast(70400) || (c.server.Valkey && c.server.Version >= 80000)
}

func (r *streamRead) unbalanced(c *Call) string {
	switch {
	case !c.server.AtLeast(70200):
		return "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
	case r.group:
		return "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
	case c.server.AtLeast(70400):
		return "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
	}
	return "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."
}

// checkTimeout reads milliseconds to block.
func (c *Call) checkTimeout(arg []byte) bool {
	ms, ok := parseInt(arg)
	switch {
	case !ok:
		c.Error("ERR timeout is not an integer or out of range")
	case ms < 0:
		c.Error("ERR timeout is negative")
	case ms > math.MaxInt64-c.now && c.server.AtLeast(70200): // earlier servers wait for ever
		c.Error("ERR timeout is out of range")
	default:
		return true
	}
	return false
}

// parseIDs reads the ids, of which some stand for what a stream holds.
func (r *streamRead) parseIDs(c *Call) bool {
	r.from = make([]StreamID, r.count)
	for i := range r.count {
		_, s, ok := c.streamAt(r.keys + i)
		if !ok {
			return false
		}
		if r.group && !r.hasGroup(c, r.keys+i, s) {
			return false
		}
		if r.from[i], ok = r.parseFrom(c, s, c.args[r.keys+r.count+i]); !ok {
			return false
		}
	}
	return true
}

func (r *streamRead) hasGroup(c *Call, key int, s *stream) bool {
	if s != nil && s.partial {
		c.tooBig()
		return false
	}
	if s == nil || s.group(r.name) == nil {
		c.Error("NOGROUP No such key '" + errorWord(c.args[key]) + "' or consumer group '" + errorWord(r.name) +
			"' in XREADGROUP with GROUP option")
		return false
	}
	return true
}

// parseFrom is the id after which to read.
func (r *streamRead) parseFrom(c *Call, s *stream, arg []byte) (id StreamID, ok bool) {
	const meaningless = " ID is meaningless in the context of XREADGROUP: you want to read the history of this " +
		"consumer by specifying a proper ID, or use the > ID to get new messages. The "
	word := string(untilZero(arg))
	switch {
	case word == "$" && r.group:
		c.Error("ERR The $" + meaningless + "$ ID would just return an empty result set.")
		return id, false
	case word == "$":
		if s != nil {
			id = s.lastID
		}
		return id, true
	case word == "+" && c.plusServer() && r.group:
		c.Error("ERR The +" + meaningless + "+ ID would just return an empty result set.")
		return id, false
	case word == "+" && c.plusServer():
		if s == nil {
			return id, true
		}
		if last := s.last(); last != nil {
			id = last.id
			if c.server.Valkey {
				id = s.lastID // finds nothing where the last entry was deleted
			}
			id, _ = id.previous()
		}
		return id, true
	case word == ">" && !r.group:
		c.Error("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")
		return id, false
	case word == ">":
		return maxStreamID, true
	}
	if id, ok = ParseStreamID(arg); !ok {
		c.Error(errStreamID)
	}
	return id, ok
}

// readGroup replies with the entries of one stream for a consumer, new ones or of
// its history, and returns 0 when there is nothing to reply for it.
func (r *streamRead) readGroup(c *Call, i int, s *stream) int {
	o := c.keyAt(r.keys + i)
	g := s.group(r.name)
	history := r.from[i] != maxStreamID
	last := s.last()
	nothing := !history && (last == nil || last.id.atMost(g.lastID))
	if nothing && !c.server.AtLeast(70200) {
		return 0
	}
	consumer := c.ensureConsumer(o, s, g, r.consumer)
	c.touchConsumer(o, consumer, false)
	if history {
		c.streamHeader(r.keys + i)
		r.history(c, o, s, g, consumer, r.from[i])
		return 1
	}
	if nothing {
		return 0
	}
	if !r.noAck {
		c.touchConsumer(o, consumer, true)
	}
	c.streamHeader(r.keys + i)
	from, _ := g.lastID.next()
	at, n := c.open(), 0
	for p := s.seek(from); s.valid(p) && (r.limit == 0 || int64(n) < r.limit); p = s.after(p) {
		e := s.at(p)
		c.streamEntry(s.nodes[p.node], e)
		c.deliverTo(o, s, g, consumer, e.id, r.noAck)
		n++
	}
	c.closeArray(at, n)
	return 1
}

// history replies with a consumer's pending entries, which are delivered anew.
func (r *streamRead) history(
	c *Call, o *Object, s *stream, g *streamGroup, consumer *streamConsumer, from StreamID,
) {
	at, n := c.open(), 0
	start, _ := from.next()
	for at := g.seek(start); at < len(g.pending); at++ {
		p := g.pending[at]
		if r.limit > 0 && int64(n) >= r.limit {
			break
		}
		if p.consumer != consumer {
			continue
		}
		n++
		if pos, found := s.find(p.id); found {
			c.streamEntry(s.nodes[pos.node], s.at(pos))
			c.streamUndo(o, pendingOverhead, func() { g.pending[at] = p })
			g.pending[at].at, g.pending[at].count = c.now, p.count+1
			continue
		}
		c.Array(2)
		c.streamID(p.id)
		c.NullArray()
	}
	c.closeArray(at, n)
}
