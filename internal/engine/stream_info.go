package engine

// fullDefault is how many entries XINFO STREAM FULL shows without COUNT.
const fullDefault = 10

func execXInfoStream(c *Call) {
	_, s, ok := c.wholeStreamAt(2)
	if !ok {
		return
	}
	if s == nil {
		c.Error(errNoSuchKey)
		return
	}
	limit, full, ok := c.infoOptions()
	if !ok {
		return
	}
	if full {
		c.Map(9)
	} else {
		c.Map(10)
	}
	c.infoInt("length", s.length)
	c.infoInt("radix-tree-keys", int64(len(s.nodes)))
	c.infoInt("radix-tree-nodes", int64(s.radixNodes()))
	c.infoID("last-generated-id", s.lastID)
	c.infoID("max-deleted-entry-id", s.maxDeleted)
	c.infoInt("entries-added", s.added)
	c.infoID("recorded-first-entry-id", s.firstID())
	if full {
		c.BulkString("entries")
		c.streamRange(s, StreamID{}, maxStreamID, limit, false)
		c.BulkString("groups")
		c.Array(len(s.groups))
		for _, g := range s.groups {
			c.infoFullGroup(s, g, limit)
		}
		return
	}
	c.infoInt("groups", int64(len(s.groups)))
	c.infoEntry("first-entry", s, false)
	c.infoEntry("last-entry", s, true)
}

// infoOptions reads what stands behind the key.
func (c *Call) infoOptions() (limit int64, full, ok bool) {
	args := c.args
	limit = fullDefault
	switch {
	case len(args) == 3:
		return 0, false, true
	case !is(args[3], "full") || (len(args) != 4 && len(args) != 6):
		c.Error(errSubcommand(args))
		return 0, false, false
	case len(args) == 6:
		if !is(args[4], "count") {
			c.Error(errSubcommand(args))
			return 0, false, false
		}
		if limit, ok = parseInt(args[5]); !ok {
			c.Error(errNotInteger)
			return 0, false, false
		}
		if limit < 0 {
			limit = fullDefault
		}
	}
	return limit, true, true
}

func (s *stream) radixNodes() int {
	keys := make([]StreamID, len(s.nodes))
	for i, n := range s.nodes {
		keys[i] = n.first
	}
	return radixNodes(keys)
}

func (c *Call) infoInt(name string, n int64) {
	c.BulkString(name)
	c.Int(n)
}

func (c *Call) infoID(name string, id StreamID) {
	c.BulkString(name)
	c.streamID(id)
}

func (c *Call) infoEntry(name string, s *stream, last bool) {
	c.BulkString(name)
	p := s.first()
	if !s.valid(p) {
		c.Null()
		return
	}
	if last {
		p, _ = s.before(streamPos{len(s.nodes), 0})
	}
	c.streamEntry(s.nodes[p.node], s.at(p))
}

func (c *Call) infoRead(s *stream, g *streamGroup) {
	c.BulkString("entries-read")
	if g.read == -1 {
		c.Null()
	} else {
		c.Int(g.read)
	}
	c.BulkString("lag")
	if lag, ok := s.lag(c, g); ok {
		c.Int(lag)
	} else {
		c.Null()
	}
}

func (c *Call) infoFullGroup(s *stream, g *streamGroup, limit int64) {
	c.Map(7)
	c.BulkString("name")
	c.BulkString(g.name)
	c.infoID("last-delivered-id", g.lastID)
	c.infoRead(s, g)
	c.infoInt("pel-count", int64(len(g.pending)))
	c.BulkString("pending")
	at, n := c.open(), int64(0)
	for i := 0; i < len(g.pending) && (limit == 0 || n < limit); i++ {
		p := &g.pending[i]
		c.Array(4)
		c.streamID(p.id)
		c.BulkString(p.consumer.name)
		c.Int(p.at)
		c.Int(p.count)
		n++
	}
	c.closeArray(at, int(n))
	c.BulkString("consumers")
	c.Array(len(g.consumers))
	for _, co := range g.consumers {
		c.infoFullConsumer(g, co, limit)
	}
}

func (c *Call) infoFullConsumer(g *streamGroup, co *streamConsumer, limit int64) {
	active := c.server.AtLeast(70200)
	if active {
		c.Map(5)
	} else {
		c.Map(4)
	}
	c.BulkString("name")
	c.BulkString(co.name)
	c.infoInt("seen-time", co.seen)
	if active {
		c.infoInt("active-time", co.active)
	}
	c.infoInt("pel-count", int64(co.pending))
	c.BulkString("pending")
	at, n := c.open(), int64(0)
	for i := 0; i < len(g.pending) && (limit == 0 || n < limit); i++ {
		p := &g.pending[i]
		if p.consumer != co {
			continue
		}
		c.Array(3)
		c.streamID(p.id)
		c.Int(p.at)
		c.Int(p.count)
		n++
	}
	c.closeArray(at, int(n))
}

func execXInfoGroups(c *Call) {
	_, s, ok := c.wholeStreamAt(2)
	if !ok {
		return
	}
	if s == nil {
		c.Error(errNoSuchKey)
		return
	}
	c.Array(len(s.groups))
	for _, g := range s.groups {
		c.Map(6)
		c.BulkString("name")
		c.BulkString(g.name)
		c.infoInt("consumers", int64(len(g.consumers)))
		c.infoInt("pending", int64(len(g.pending)))
		c.infoID("last-delivered-id", g.lastID)
		c.infoRead(s, g)
	}
}

func execXInfoConsumers(c *Call) {
	_, s, ok := c.wholeStreamAt(2)
	if !ok {
		return
	}
	if s == nil {
		c.Error(errNoSuchKey)
		return
	}
	g := s.group(c.args[3])
	if g == nil {
		c.Error("NOGROUP No such consumer group '" + errorWord(c.args[3]) + "' for key name '" + errorWord(c.args[2]) + "'")
		return
	}
	c.Array(len(g.consumers))
	for _, co := range g.consumers {
		active := c.server.AtLeast(70200)
		if active {
			c.Map(4)
		} else {
			c.Map(3)
		}
		c.BulkString("name")
		c.BulkString(co.name)
		c.infoInt("pending", int64(co.pending))
		c.infoInt("idle", max(c.now-co.seen, 0))
		if active {
			inactive := int64(-1)
			if co.active != -1 {
				inactive = max(c.now-co.active, 0)
			}
			c.infoInt("inactive", inactive)
		}
	}
}
