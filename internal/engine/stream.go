package engine

import (
	"fmt"
)

// Errors of streams, word for word.
const (
	errStreamID        = "ERR Invalid stream ID specified as stream command argument"
	errStreamOrder     = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
	errStreamExhausted = "ERR The stream has exhausted the last possible ID, unable to add more items"
	errStreamTooLarge  = "ERR Elements are too large to be stored"
	errStreamZero      = "ERR The ID specified in XADD must be greater than 0-0"
	errIntervalStart   = "ERR invalid start ID for the interval"
	errIntervalEnd     = "ERR invalid end ID for the interval"
)

func streamCommands() []Command {
	return []Command{
		{Name: "xadd", Arity: -5, Write: true, needs: NeedValue, exec: execXAdd},
		{Name: "xlen", Arity: 2, needs: NeedValue, exec: execXLen},
		{Name: "xrange", Arity: -4, needs: NeedValue, exec: func(c *Call) { c.xrange(false) }},
		{Name: "xrevrange", Arity: -4, needs: NeedValue, exec: func(c *Call) { c.xrange(true) }},
		{Name: "xread", Arity: -4, needs: NeedValue, exec: func(c *Call) { c.xread(false) }},
		{Name: "xdel", Arity: -3, Write: true, needs: NeedValue, exec: execXDel},
		{Name: "xtrim", Arity: -4, Write: true, needs: NeedValue, exec: execXTrim},
		{Name: "xack", Arity: -4, Write: true, needs: NeedValue, exec: execXAck},
		{Name: "xpending", Arity: -3, needs: NeedValue, exec: execXPending},
		{Name: "xinfo|stream", Arity: -3, needs: NeedValue, exec: execXInfoStream},
		{Name: "xinfo|groups", Arity: 3, needs: NeedValue, exec: execXInfoGroups},
		{Name: "xinfo|consumers", Arity: 4, needs: NeedValue, exec: execXInfoConsumers},
		{Name: "xsetid", Arity: -3, Write: true, needs: NeedValue, exec: execXSetID},
		{Name: "xgroup|create", Arity: -5, Write: true, needs: NeedValue, exec: execXGroupCreate},
		{Name: "xgroup|setid", Arity: -5, Write: true, needs: NeedValue, exec: execXGroupSetID},
		{Name: "xgroup|destroy", Arity: 4, Write: true, needs: NeedValue, exec: execXGroupDestroy},
		{Name: "xgroup|createconsumer", Arity: 5, Write: true, needs: NeedValue, exec: execXGroupCreateConsumer},
		{Name: "xgroup|delconsumer", Arity: 5, Write: true, needs: NeedValue, exec: execXGroupDelConsumer},
		{Name: "xreadgroup", Arity: -7, Write: true, needs: NeedValue, exec: func(c *Call) { c.xread(true) }},
		{Name: "xclaim", Arity: -6, Write: true, needs: NeedValue, exec: execXClaim},
	}
}

// streamAt is the stream of the key that is argument arg; nil when there is none.
// ok is false when the reply, or a refusal, has been given.
func (c *Call) streamAt(arg int) (o *Object, s *stream, ok bool) {
	if o = c.keyAt(arg); o == nil {
		c.notServed("without telling its keys")
		return nil, nil, false
	}
	if !c.isType(o, TypeStream) {
		return o, nil, false
	}
	s, _ = o.data.(*stream)
	return o, s, true
}

// wholeStreamAt is streamAt for commands that need all of the stream.
func (c *Call) wholeStreamAt(arg int) (o *Object, s *stream, ok bool) {
	o, s, ok = c.streamAt(arg)
	if ok && s != nil && s.partial {
		c.tooBig()
		return o, s, false
	}
	return o, s, ok
}

// refusePromised refuses a command whose answer would rest on an id that was
// generated here: the server will generate another.
func (c *Call) refusePromised() {
	c.refuse(fmt.Errorf("%w: the answer of %s would rest on it", ErrPromised, c.cmd.Name))
}

// streamUndo leaves an undo with the object. Call it after c.Change.
func (c *Call) streamUndo(o *Object, cost int64, undo func()) {
	c.Change(o).Undo(cost, undo)
}

// streamID replies with the id of a stream entry.
func (c *Call) streamID(id StreamID) {
	var room [48]byte
	c.Bulk(id.append(room[:0]))
}

// streamEntry replies with an entry: its id and its fields.
func (c *Call) streamEntry(n *streamNode, e *streamEntry) {
	c.Array(2)
	c.streamID(e.id)
	count, names, values := n.fields(e)
	c.Array(2 * count)
	var word string
	for range count {
		word, names = nextCounted(names)
		c.BulkString(word)
		word, values = nextCounted(values)
		c.BulkString(word)
	}
}

// streamRange replies with the entries from one id to another, in reverse from
// the greatest; a limit of 0 is none. It returns the number of entries.
func (c *Call) streamRange(s *stream, from, to StreamID, limit int64, reverse bool) int {
	at, n := c.open(), 0
	p := s.seek(from)
	if reverse {
		if p = s.seek(to); !s.valid(p) || s.at(p).id != to {
			var ok bool
			if p, ok = s.before(p); !ok {
				c.closeArray(at, 0)
				return 0
			}
		}
	}
	for ok := s.valid(p); ok; n++ {
		e := s.at(p)
		if e.id.less(from) || to.less(e.id) || (limit > 0 && int64(n) >= limit) {
			break
		}
		c.streamEntry(s.nodes[p.node], e)
		if reverse {
			p, ok = s.before(p)
		} else {
			p = s.after(p)
			ok = s.valid(p)
		}
	}
	c.closeArray(at, n)
	return n
}

// streamInterval reads the two ends of a range; an id behind a parenthesis is not
// part of it. The reply is given when it reports false.
func (c *Call) streamInterval(start, end []byte) (from, to StreamID, ok bool) {
	from, open, ok := parseInterval(start, 0)
	if ok && open {
		if from, ok = from.next(); !ok {
			c.Error(errIntervalStart)
			return from, to, false
		}
	}
	if !ok {
		c.Error(errStreamID)
		return from, to, false
	}
	to, open, ok = parseInterval(end, maxStreamID.Seq)
	if ok && open {
		if to, ok = to.previous(); !ok {
			c.Error(errIntervalEnd)
			return from, to, false
		}
	}
	if !ok {
		c.Error(errStreamID)
	}
	return from, to, ok
}

func parseInterval(b []byte, seq uint64) (id StreamID, open, ok bool) {
	if len(b) > 1 && b[0] == '(' {
		id, ok = parseStreamID(b[1:], seq)
		return id, true, ok
	}
	id, ok = parseStreamBound(b, seq)
	return id, false, ok
}
