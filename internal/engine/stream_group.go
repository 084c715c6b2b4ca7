package engine

import (
	"slices"
	"sort"
	"strings"
)

// streamGroup is a consumer group.
type streamGroup struct {
	name      string
	lastID    StreamID
	read      int64             // entries read; -1 is unknown
	pending   []streamNack      // by id
	consumers []*streamConsumer // by name
}

// streamNack is an entry that was delivered and not acknowledged.
type streamNack struct {
	id       StreamID
	consumer *streamConsumer
	at       int64 // Unix milliseconds of the last delivery
	count    int64
}

type streamConsumer struct {
	name         string
	seen, active int64 // Unix milliseconds; active is -1 for never
	pending      int
}

// seekGroup is where the group of that name is, or would be.
func (s *stream) seekGroup(name []byte) int {
	return sort.Search(len(s.groups), func(i int) bool { return s.groups[i].name >= string(name) })
}

// group is the group of that name, nil when there is none.
func (s *stream) group(name []byte) *streamGroup {
	if i := s.seekGroup(name); i < len(s.groups) && s.groups[i].name == string(name) {
		return s.groups[i]
	}
	return nil
}

func (g *streamGroup) memory() int64 {
	m := int64(groupOverhead+len(g.name)) + pendingOverhead*int64(len(g.pending))
	for _, co := range g.consumers {
		m += co.memory()
	}
	return m
}

func (co *streamConsumer) memory() int64 { return consumerOverhead + int64(len(co.name)) }

func (g *streamGroup) consumer(name []byte) *streamConsumer {
	for _, co := range g.consumers {
		if co.name == string(name) {
			return co
		}
	}
	return nil
}

// seek is the index of the first pending entry whose id is not before id.
func (g *streamGroup) seek(id StreamID) int {
	return sort.Search(len(g.pending), func(i int) bool { return !g.pending[i].id.less(id) })
}

func (g *streamGroup) find(id StreamID) (int, bool) {
	i := g.seek(id)
	return i, i < len(g.pending) && g.pending[i].id == id
}

// insertNack and dropNack change the pending entries, without a way back.
func (s *stream) insertNack(g *streamGroup, p streamNack) {
	g.pending = slices.Insert(g.pending, g.seek(p.id), p)
	p.consumer.pending++
	s.bytes += pendingOverhead
}

func (s *stream) dropNack(g *streamGroup, i int) {
	g.pending[i].consumer.pending--
	if i == 0 { // the usual order of acknowledgements
		g.pending[0] = streamNack{}
		g.pending = g.pending[1:]
	} else {
		g.pending = slices.Delete(g.pending, i, i+1)
	}
	s.bytes -= pendingOverhead
}

// addNack and removeNack do the same with a way back.
func (c *Call) addNack(o *Object, s *stream, g *streamGroup, p streamNack) {
	c.streamUndo(o, 0, func() {
		i, _ := g.find(p.id)
		s.dropNack(g, i)
	})
	s.insertNack(g, p)
}

func (c *Call) removeNack(o *Object, s *stream, g *streamGroup, i int) {
	p := g.pending[i]
	c.streamUndo(o, pendingOverhead, func() { s.insertNack(g, p) })
	s.dropNack(g, i)
}

func (c *Call) addGroup(o *Object, s *stream, g *streamGroup) {
	c.streamUndo(o, 0, func() {
		i := s.seekGroup([]byte(g.name))
		s.groups = slices.Delete(s.groups, i, i+1)
		s.bytes -= g.memory()
	})
	s.insertGroup(g)
}

func (s *stream) insertGroup(g *streamGroup) {
	s.groups = slices.Insert(s.groups, s.seekGroup([]byte(g.name)), g)
	s.bytes += g.memory()
}

func (s *stream) insertConsumer(g *streamGroup, co *streamConsumer) {
	i, _ := slices.BinarySearchFunc(g.consumers, co.name, func(a *streamConsumer, name string) int {
		return strings.Compare(a.name, name)
	})
	g.consumers = slices.Insert(g.consumers, i, co)
	s.bytes += co.memory()
}

func (s *stream) dropConsumer(g *streamGroup, co *streamConsumer) {
	i := slices.Index(g.consumers, co)
	g.consumers = slices.Delete(g.consumers, i, i+1)
	s.bytes -= co.memory()
}

// ensureConsumer is the consumer of that name, made if need be.
func (c *Call) ensureConsumer(o *Object, s *stream, g *streamGroup, name []byte) *streamConsumer {
	if co := g.consumer(name); co != nil {
		return co
	}
	co := &streamConsumer{name: string(name), seen: c.now, active: -1}
	c.streamUndo(o, 0, func() { s.dropConsumer(g, co) })
	s.insertConsumer(g, co)
	return co
}

// touchConsumer notes that a consumer has been seen, or was active.
func (c *Call) touchConsumer(o *Object, co *streamConsumer, active bool) {
	seen, was := co.seen, co.active
	c.streamUndo(o, 0, func() { co.seen, co.active = seen, was })
	co.seen = c.now
	if active {
		co.active = c.now
	}
}

// deliverTo notes that an entry was delivered to a consumer.
func (c *Call) deliverTo(o *Object, s *stream, g *streamGroup, co *streamConsumer, id StreamID, noAck bool) {
	lastID, read := g.lastID, g.read
	c.streamUndo(o, 0, func() { g.lastID, g.read = lastID, read })
	s.advance(c, g, id)
	if noAck {
		return
	}
	if i, found := g.find(id); found { // after SETID backwards
		c.removeNack(o, s, g, i)
	}
	c.addNack(o, s, g, streamNack{id: id, consumer: co, at: c.now, count: 1})
}

func execXAck(c *Call) {
	o, s, ok := c.wholeStreamAt(1)
	if !ok {
		return
	}
	var g *streamGroup
	if s != nil {
		g = s.group(c.args[2])
	}
	if g == nil {
		c.Int(0)
		return
	}
	ids, ok := c.streamIDs(3)
	if !ok {
		return
	}
	var n int64
	for _, id := range ids {
		if p, found := s.find(id); found && s.nodes[p.node].promised(p.entry) {
			c.refusePromised()
			return
		}
		if i, found := g.find(id); found {
			c.removeNack(o, s, g, i)
			n++
		}
	}
	c.Int(n)
}

// streamPendingRange is what the long form of XPENDING is asked for.
type streamPendingRange struct {
	from, to StreamID
	limit    int64
	idle     int64
	consumer []byte // nil is any
}

func execXPending(c *Call) {
	var r streamPendingRange
	short := len(c.args) == 3
	if !short && !r.parse(c) {
		return
	}
	_, s, ok := c.wholeStreamAt(1)
	if !ok {
		return
	}
	g := c.groupOr(s, c.args[2])
	switch {
	case g == nil:
	case short:
		c.pendingSummary(g)
	default:
		c.pendingRange(g, &r)
	}
}

// groupOr is the group, or gives the error.
func (c *Call) groupOr(s *stream, name []byte) *streamGroup {
	if s != nil {
		if g := s.group(name); g != nil {
			return g
		}
	}
	c.Error("NOGROUP No such key '" + errorWord(c.args[1]) + "' or consumer group '" + errorWord(name) + "'")
	return nil
}

func (r *streamPendingRange) parse(c *Call) (ok bool) {
	args := c.args
	if len(args) < 6 || len(args) > 9 {
		c.Error(errSyntax)
		return false
	}
	at := 3
	if is(args[3], "idle") {
		if r.idle, ok = parseInt(args[4]); !ok {
			c.Error(errNotInteger)
			return false
		}
		if len(args) < 8 {
			c.Error(errSyntax)
			return false
		}
		at = 5
	}
	if r.limit, ok = parseInt(args[at+2]); !ok {
		c.Error(errNotInteger)
		return false
	}
	if r.from, r.to, ok = c.streamInterval(args[at], args[at+1]); !ok {
		return false
	}
	if at+3 < len(args) {
		r.consumer = args[at+3]
	}
	return true
}

func (c *Call) pendingSummary(g *streamGroup) {
	c.Array(4)
	c.Int(int64(len(g.pending)))
	if len(g.pending) == 0 {
		c.Null()
		c.Null()
		c.NullArray()
		return
	}
	c.streamID(g.pending[0].id)
	c.streamID(g.pending[len(g.pending)-1].id)
	at, n := c.open(), 0
	for _, co := range g.consumers {
		if co.pending > 0 {
			c.Array(2)
			c.BulkString(co.name)
			c.BulkString(formatInt(int64(co.pending)))
			n++
		}
	}
	c.closeArray(at, n)
}

func (c *Call) pendingRange(g *streamGroup, r *streamPendingRange) {
	var only *streamConsumer
	if r.consumer != nil {
		if only = g.consumer(r.consumer); only == nil {
			c.Array(0)
			return
		}
	}
	at, n := c.open(), 0
	for i := g.seek(r.from); i < len(g.pending) && int64(n) < r.limit; i++ {
		p := &g.pending[i]
		if r.to.less(p.id) {
			break
		}
		idle := max(c.now-p.at, 0)
		if (only != nil && p.consumer != only) || idle < r.idle {
			continue
		}
		c.Array(4)
		c.streamID(p.id)
		c.BulkString(p.consumer.name)
		c.Int(idle)
		c.Int(p.count)
		n++
	}
	c.closeArray(at, n)
}
