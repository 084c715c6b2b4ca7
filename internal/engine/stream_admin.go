package engine

import "slices"

// Callers with no primary are refused what this file executes: it decides who
// owns an entry. It is here for sequences that make groups, and for the entries of
// transactions that were accepted in another way.

const errGroupKey = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use " +
	"the MKSTREAM option to create an empty stream automatically."

// groupOptions reads the options behind the id of XGROUP CREATE and SETID.
func (c *Call) groupOptions(create bool) (read int64, mkStream, ok bool) {
	read = -1
	for i := 5; i < len(c.args); i++ {
		switch {
		case create && is(c.args[i], "mkstream"):
			mkStream = true
		case i+1 < len(c.args) && is(c.args[i], "entriesread"):
			i++
			n, ok := parseInt(c.args[i])
			if !ok {
				c.Error(errNotInteger)
				return 0, false, false
			}
			if n < -1 {
				c.Error("ERR value for ENTRIESREAD must be positive or -1")
				return 0, false, false
			}
			read = n
		default:
			c.Error(errSubcommand(c.args))
			return 0, false, false
		}
	}
	if len(c.args) > 8 {
		c.Error(errSubcommand(c.args))
		return 0, false, false
	}
	return read, mkStream, true
}

// errSubcommand is the complaint about a subcommand's arguments.
func errSubcommand(args [][]byte) string {
	return "ERR unknown subcommand or wrong number of arguments for '" + errorWord(args[1][:min(len(args[1]), 128)]) + "'. Try " +
		string(upper(args[0])) + " HELP."
}

// errorWord is an argument as an error quotes it.
func errorWord(b []byte) string { return string(untilZero(b)) }

func upper(b []byte) []byte {
	b = clone(b)
	for i, ch := range b {
		if 'a' <= ch && ch <= 'z' {
			b[i] = ch - 'a' + 'A'
		}
	}
	return b
}

// groupFor is the group that an XGROUP subcommand changes.
func (c *Call) groupFor() (o *Object, s *stream, g *streamGroup, ok bool) {
	if o, s, ok = c.wholeStreamAt(2); !ok {
		return
	}
	if s == nil {
		c.Error(errGroupKey)
		return o, nil, nil, false
	}
	if g = s.group(c.args[3]); g == nil {
		c.Error("NOGROUP No such consumer group '" + errorWord(c.args[3]) + "' for key name '" + errorWord(c.args[2]) + "'")
		return o, s, nil, false
	}
	return o, s, g, true
}

// groupID reads where a group begins.
func (c *Call) groupID(s *stream, arg []byte) (id StreamID, ok bool) {
	if string(untilZero(arg)) == "$" {
		if s != nil {
			id = s.lastID
		}
		return id, true
	}
	if id, ok = parseStreamBound(arg, 0); !ok {
		c.Error(errStreamID)
	}
	return id, ok
}

func execXGroupCreate(c *Call) {
	read, mkStream, ok := c.groupOptions(true)
	if !ok {
		return
	}
	o, s, ok := c.wholeStreamAt(2)
	if !ok {
		return
	}
	if s == nil && !mkStream {
		c.Error(errGroupKey)
		return
	}
	id, ok := c.groupID(s, c.args[4])
	if !ok {
		return
	}
	if s == nil {
		s = newStream()
		c.Change(o)
		o.typ, o.data = TypeStream, s
	}
	if s.group(c.args[3]) != nil {
		c.Error("BUSYGROUP Consumer Group name already exists")
		return
	}
	c.addGroup(o, s, &streamGroup{name: string(c.args[3]), lastID: id, read: read})
	c.OK()
}

func execXGroupSetID(c *Call) {
	read, _, ok := c.groupOptions(false)
	if !ok {
		return
	}
	o, s, g, ok := c.groupFor()
	if !ok {
		return
	}
	id, ok := c.groupID(s, c.args[4])
	if !ok {
		return
	}
	lastID, was := g.lastID, g.read
	c.streamUndo(o, 0, func() { g.lastID, g.read = lastID, was })
	g.lastID, g.read = id, read
	c.OK()
}

func execXGroupDestroy(c *Call) {
	o, s, ok := c.wholeStreamAt(2)
	if !ok {
		return
	}
	if s == nil {
		c.Error(errGroupKey)
		return
	}
	g := s.group(c.args[3])
	if g == nil {
		c.Int(0)
		return
	}
	c.streamUndo(o, g.memory(), func() { s.insertGroup(g) })
	i := s.seekGroup(c.args[3])
	s.groups = slices.Delete(s.groups, i, i+1)
	s.bytes -= g.memory()
	c.Int(1)
}

func execXGroupCreateConsumer(c *Call) {
	o, s, g, ok := c.groupFor()
	if !ok {
		return
	}
	if g.consumer(c.args[4]) != nil {
		c.Int(0)
		return
	}
	c.ensureConsumer(o, s, g, c.args[4])
	c.Int(1)
}

func execXGroupDelConsumer(c *Call) {
	o, s, g, ok := c.groupFor()
	if !ok {
		return
	}
	co := g.consumer(c.args[4])
	if co == nil {
		c.Int(0)
		return
	}
	n := co.pending
	for i := len(g.pending) - 1; i >= 0; i-- {
		if g.pending[i].consumer == co {
			c.removeNack(o, s, g, i)
		}
	}
	c.streamUndo(o, co.memory(), func() { s.insertConsumer(g, co) })
	s.dropConsumer(g, co)
	c.Int(int64(n))
}

// streamClaim is what XCLAIM is asked for.
type streamClaim struct {
	minIdle       int64
	ids           []StreamID
	at            int64
	count         int64 // -1 is one more
	force, justID bool
	lastID        StreamID
}

func execXClaim(c *Call) {
	o, s, ok := c.wholeStreamAt(1)
	if !ok {
		return
	}
	g := c.groupOr(s, c.args[2])
	if g == nil {
		return
	}
	var r streamClaim
	if !r.parse(c) {
		return
	}
	if g.lastID.less(r.lastID) {
		before := g.lastID
		c.streamUndo(o, 0, func() { g.lastID = before })
		g.lastID = r.lastID
	}
	var co *streamConsumer
	if c.server.AtLeast(70200) || g.consumer(c.args[3]) != nil {
		co = c.ensureConsumer(o, s, g, c.args[3])
		c.touchConsumer(o, co, false)
	}
	at, n := c.open(), 0
	for _, id := range r.ids {
		if co, ok = c.claim(o, s, g, co, id, &r); !ok {
			continue
		}
		n++
		if r.justID {
			c.streamID(id)
			continue
		}
		p, _ := s.find(id)
		c.streamEntry(s.nodes[p.node], s.at(p))
	}
	c.closeArray(at, n)
}

// claim gives one entry to a consumer, which is made if there is none yet.
func (c *Call) claim(o *Object, s *stream, g *streamGroup, co *streamConsumer, id StreamID, r *streamClaim) (*streamConsumer, bool) {
	i, pending := g.find(id)
	if _, exists := s.find(id); !exists {
		if pending {
			c.removeNack(o, s, g, i)
		}
		return co, false
	}
	nack := streamNack{id: id, count: 1}
	switch {
	case pending:
		nack = g.pending[i]
		if r.minIdle > 0 && c.now-nack.at < r.minIdle {
			return co, false
		}
	case !r.force:
		return co, false
	}
	if co == nil {
		co = c.ensureConsumer(o, s, g, c.args[3])
	}
	if pending {
		c.removeNack(o, s, g, i)
	}
	nack.consumer, nack.at = co, r.at
	if r.count >= 0 {
		nack.count = r.count
	} else if !r.justID {
		nack.count++
	}
	c.addNack(o, s, g, nack)
	c.touchConsumer(o, co, true)
	return co, true
}

func (r *streamClaim) parse(c *Call) bool {
	args := c.args
	n, ok := parseInt(args[4])
	if !ok {
		c.Error("ERR Invalid min-idle-time argument for XCLAIM")
		return false
	}
	r.minIdle, r.at, r.count = max(n, 0), c.now, -1
	i := 5
	for ; i < len(args); i++ {
		id, ok := ParseStreamID(args[i])
		if !ok {
			break
		}
		r.ids = append(r.ids, id)
	}
	for ; i < len(args); i++ {
		if is(args[i], "force") {
			r.force = true
			continue
		}
		if is(args[i], "justid") {
			r.justID = true
			continue
		}
		if i+1 == len(args) || !r.option(c, args[i], args[i+1]) {
			if !c.failed {
				c.Error("ERR Unrecognized XCLAIM option '" + errorWord(args[i]) + "'")
			}
			return false
		}
		i++
	}
	if r.at < 0 || r.at > c.now {
		r.at = c.now
	}
	return true
}

// option reads an option with a value. It reports false when it is none, or when
// it has given the reply.
func (r *streamClaim) option(c *Call, name, value []byte) (ok bool) {
	what := ""
	switch {
	case is(name, "idle"):
		what = "IDLE"
		var idle int64
		idle, ok = parseInt(value)
		r.at = c.now - idle
	case is(name, "time"):
		what = "TIME"
		r.at, ok = parseInt(value)
	case is(name, "retrycount"):
		what = "RETRYCOUNT"
		r.count, ok = parseInt(value)
	case is(name, "lastid"):
		if r.lastID, ok = ParseStreamID(value); !ok {
			c.Error(errStreamID)
		}
		return ok
	default:
		return false
	}
	if !ok {
		c.Error("ERR Invalid " + what + " option argument for XCLAIM")
	}
	return ok
}
