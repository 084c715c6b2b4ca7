package engine

import "sort"

// streamTrim is how XADD and XTRIM trim.
type streamTrim struct {
	by      trimBy
	approx  bool
	maxLen  int64
	minID   StreamID
	limit   int64 // entries looked at; 0 is no limit
	limited bool  // LIMIT was given
}

type trimBy uint8

const (
	trimNone trimBy = iota
	trimMaxLen
	trimMinID
)

// Limits of the server.
const (
	trimDefaultLimit = 100 * nodeMaxEntries // of a trim with ~
	maxEntrySize     = 1 << 30              // of an entry's names and values
)

// streamAdd is what XADD is asked for.
type streamAdd struct {
	trim       streamTrim
	noMkStream bool
	auto       bool // the id is *
	autoSeq    bool // the id is ms-*
	id         StreamID
	fields     [][]byte
}

// option reads one option at args[i] and returns how many more arguments it
// took. found is false when it is none.
func (t *streamTrim) option(c *Call, i int) (taken int, found, ok bool) {
	args := c.args
	more := len(args) - 1 - i
	switch {
	case more > 0 && (is(args[i], "maxlen") || is(args[i], "minid")):
		return t.strategy(c, i, more)
	case more > 0 && is(args[i], "limit"):
		n, ok := parseInt(args[i+1])
		switch {
		case !ok:
			c.Error(errNotInteger)
			return 0, true, false
		case n < 0:
			c.Error("ERR The LIMIT argument must be >= 0.")
			return 0, true, false
		}
		t.limit, t.limited = n, true
		return 1, true, true
	}
	return 0, false, true
}

func (t *streamTrim) strategy(c *Call, i, more int) (taken int, found, ok bool) {
	if t.by != trimNone {
		c.Error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
		return 0, true, false
	}
	at := i + 1
	t.approx = false
	if word := string(untilZero(c.args[at])); more >= 2 && (word == "~" || word == "=") {
		t.approx = word == "~"
		at++
	}
	if is(c.args[i], "maxlen") {
		t.by = trimMaxLen
		t.maxLen, ok = parseInt(c.args[at])
		switch {
		case !ok:
			c.Error(errNotInteger)
		case t.maxLen < 0:
			c.Error("ERR The MAXLEN argument must be >= 0.")
			ok = false
		}
		return at - i, true, ok
	}
	t.by = trimMinID
	if t.minID, ok = parseStreamID(c.args[at], 0); !ok {
		c.Error(errStreamID)
	}
	return at - i, true, ok
}

// check is for after the last option.
func (t *streamTrim) check(c *Call) bool {
	switch {
	case t.limit != 0 && t.by == trimNone:
		c.Error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
		return false
	case t.by == trimNone && c.cmd.Name == "xtrim":
		c.Error("ERR syntax error, XTRIM must be called with a trimming strategy")
		return false
	case t.limited && !t.approx:
		c.Error("ERR syntax error, LIMIT cannot be used without the special ~ option")
		return false
	case !t.limited && t.approx:
		t.limit = trimDefaultLimit
	}
	return true
}

// parse reads the arguments of XADD.
func (a *streamAdd) parse(c *Call) bool {
	i := 2
	for ; i < len(c.args); i++ {
		arg := c.args[i]
		if string(untilZero(arg)) == "*" {
			a.auto = true
			break
		}
		taken, found, ok := a.trim.option(c, i)
		if !ok {
			return false
		}
		i += taken
		if found {
			continue
		}
		if is(arg, "nomkstream") {
			a.noMkStream = true
			continue
		}
		if !a.parseID(arg) {
			c.Error(errStreamID)
			return false
		}
		break
	}
	if !a.trim.check(c) {
		return false
	}
	if rest := len(c.args) - i - 1; rest < 2 || rest%2 == 1 {
		c.Error(errArity("xadd"))
		return false
	}
	a.fields = c.args[i+1:]
	if !a.auto && !a.autoSeq && a.id == (StreamID{}) {
		c.Error(errStreamZero)
		return false
	}
	return true
}

func (a *streamAdd) parseID(b []byte) (ok bool) {
	text := untilZero(b)
	if n := len(text); n > 1 && string(text[n-2:]) == "-*" && len(b) <= maxIDText {
		a.autoSeq = true
		a.id.Ms, ok = parseStreamNumber(text[:n-2])
		return ok
	}
	a.id, ok = ParseStreamID(b)
	return ok
}

func execXAdd(c *Call) {
	var a streamAdd
	if !a.parse(c) {
		return
	}
	o, s, ok := c.streamAt(1)
	if !ok {
		return
	}
	fresh := s == nil
	if fresh {
		if a.noMkStream {
			c.Null()
			return
		}
		s = newStream()
	}
	id, low, high, ok := c.nextStreamID(s, &a)
	if !ok {
		return
	}
	size := 0
	for _, f := range a.fields {
		size += len(f)
	}
	if size > maxEntrySize {
		c.Error(errStreamTooLarge)
		return
	}
	undo := s.unpush()
	ch := c.Change(o)
	if fresh {
		o.typ, o.data = TypeStream, s
	} else {
		ch.Undo(int64(len(a.fields)), undo)
	}
	s.push(id, a.fields, a.auto || a.autoSeq)
	s.lastID, s.lastLow, s.lastHigh = id, low, high
	s.added++
	if _, ok := c.trimStream(o, s, &a.trim); ok {
		c.streamID(id)
	}
}

// nextStreamID is the id of the entry to be added, and the bounds of the one that
// the server will give it. The reply is given when it reports false.
//
// Where the last entry was promised an id, the server's last id is not known, only
// bounds are: low and high. An id that is given must lie outside of them, else
// nobody can tell whether the server will find it great enough.
func (c *Call) nextStreamID(s *stream, a *streamAdd) (id, low, high StreamID, ok bool) {
	if s.lastID == maxStreamID {
		if s.lastLow != maxStreamID {
			c.refusePromised()
			return
		}
		c.Error(errStreamExhausted)
		return
	}
	switch {
	case a.auto:
		id, _ = s.lastID.next()
		if now := uint64(max(c.now, 0)); now > s.lastID.Ms {
			id = StreamID{now, 0}
		}
		low, _ = s.lastLow.next()
		return id, low, maxStreamID, true
	case a.autoSeq:
		return c.nextSequence(s, a.id.Ms)
	case a.id.atMost(s.lastLow):
		c.Error(errStreamOrder)
		return
	case a.id.atMost(s.lastHigh):
		c.refusePromised()
		return
	}
	return a.id, a.id, a.id, true
}

// nextSequence is nextStreamID for an id of which only the first half is given.
func (c *Call) nextSequence(s *stream, ms uint64) (id, low, high StreamID, ok bool) {
	high = StreamID{ms, maxStreamID.Seq}
	switch {
	case ms < s.lastLow.Ms:
		c.Error(errStreamOrder)
		return
	case s.lastLow == high:
		// Earlier servers report whatever error the system had last, mostly this.
		if c.server.AtLeast(70200) {
			c.Error(errStreamOrder)
		} else {
			c.Error(errStreamTooLarge)
		}
		return
	case ms > s.lastHigh.Ms:
		return StreamID{ms, 0}, StreamID{ms, 0}, high, true
	case ms != s.lastLow.Ms || ms != s.lastHigh.Ms || ms != s.lastID.Ms || s.lastID == high:
		c.refusePromised()
		return
	}
	id, _ = s.lastID.next()
	low, _ = s.lastLow.next()
	return id, low, high, true
}

func execXTrim(c *Call) {
	var t streamTrim
	for i := 2; i < len(c.args); i++ {
		taken, found, ok := t.option(c, i)
		if ok && !found {
			c.Error(errSyntax)
		}
		if !ok || !found {
			return
		}
		i += taken
	}
	if !t.check(c) {
		return
	}
	o, s, ok := c.streamAt(1)
	if !ok {
		return
	}
	if s == nil {
		c.Int(0)
		return
	}
	if n, ok := c.trimStream(o, s, &t); ok {
		c.Int(n)
	}
}

// trimStream trims and returns how many entries went. It reports false when it
// cannot tell: the call is refused then.
func (c *Call) trimStream(o *Object, s *stream, t *streamTrim) (int64, bool) {
	if t.by == trimNone {
		return 0, true
	}
	if s.partial {
		// What lies in the nodes that are not known is not known. With ~ the server
		// is free to trim nothing.
		if t.approx || (t.by == trimMaxLen && s.length <= t.maxLen) {
			return 0, true
		}
		c.tooBig()
		return 0, false
	}
	p := s.trimPoint(t)
	if p == (streamPos{}) {
		return 0, true
	}
	if t.by == trimMinID && s.promisedBefore(p) {
		c.refusePromised()
		return 0, false
	}
	before := s.length
	ch := c.Change(o)
	undo, cost := s.cut(p)
	ch.Undo(cost, undo)
	return before - s.length, true
}

// trimPoint is the place of the first entry that stays. With ~ nodes go or stay
// as a whole. Else a node can stay although all its entries go: where they lie
// before minID, but one that was deleted does not.
func (s *stream) trimPoint(t *streamTrim) streamPos {
	length, gone := s.length, int64(0)
	for i, n := range s.nodes {
		if t.by == trimMaxLen && length <= t.maxLen {
			return streamPos{i, 0}
		}
		entries := int64(len(n.entries))
		if t.limit > 0 && gone+entries > t.limit {
			return streamPos{i, 0}
		}
		all := length-entries >= t.maxLen
		if t.by == trimMinID {
			all = n.last.less(t.minID)
		}
		switch {
		case all:
			length, gone = length-entries, gone+entries
			continue
		case t.approx:
			return streamPos{i, 0}
		case t.by == trimMaxLen:
			return streamPos{i, int(length - t.maxLen)}
		}
		j := sort.Search(len(n.entries), func(j int) bool { return !n.entries[j].id.less(t.minID) })
		return streamPos{i, j}
	}
	return streamPos{len(s.nodes), 0}
}

// promisedBefore reports whether an entry before p has an id that was generated
// here.
func (s *stream) promisedBefore(p streamPos) bool {
	for i, n := range s.nodes[:min(p.node+1, len(s.nodes))] {
		for j := range n.entries {
			if i == p.node && j == p.entry {
				return false
			}
			if n.promised(j) {
				return true
			}
		}
	}
	return false
}

// streamIDs reads the ids from args[from] on.
func (c *Call) streamIDs(from int) ([]StreamID, bool) {
	ids := make([]StreamID, 0, len(c.args)-from)
	for _, arg := range c.args[from:] {
		id, ok := ParseStreamID(arg)
		if !ok {
			c.Error(errStreamID)
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

func execXDel(c *Call) {
	o, s, ok := c.streamAt(1)
	if !ok {
		return
	}
	if s == nil {
		c.Int(0)
		return
	}
	ids, ok := c.streamIDs(2)
	if !ok {
		return
	}
	var n int64
	for _, id := range ids {
		if s.partial && id.atMost(s.known) {
			c.tooBig()
			return
		}
		p, found := s.find(id)
		if !found {
			continue
		}
		if s.nodes[p.node].promised(p.entry) {
			c.refusePromised()
			return
		}
		ch := c.Change(o)
		undo, cost := s.remove(p)
		ch.Undo(cost, undo)
		if s.maxDeleted.less(id) {
			s.maxDeleted = id
		}
		n++
	}
	c.Int(n)
}

func execXSetID(c *Call) {
	id, ok := ParseStreamID(c.args[2])
	if !ok {
		c.Error(errStreamID)
		return
	}
	added, maxDeleted := int64(-1), StreamID{}
	for i := 3; i < len(c.args); i += 2 {
		more := i+1 < len(c.args)
		switch {
		case more && is(c.args[i], "entriesadded"):
			if added, ok = parseInt(c.args[i+1]); !ok {
				c.Error(errNotInteger)
				return
			}
			if added < 0 {
				c.Error("ERR entries_added must be positive")
				return
			}
		case more && is(c.args[i], "maxdeletedid"):
			if maxDeleted, ok = ParseStreamID(c.args[i+1]); !ok {
				c.Error(errStreamID)
				return
			}
			if id.less(maxDeleted) {
				c.Error("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
				return
			}
		default:
			c.Error(errSyntax)
			return
		}
	}
	c.setStreamID(id, added, maxDeleted)
}

func (c *Call) setStreamID(id StreamID, added int64, maxDeleted StreamID) {
	o, s, ok := c.wholeStreamAt(1)
	if !ok {
		return
	}
	switch {
	case s == nil:
		c.Error(errNoSuchKey)
		return
	case s.lastLow != s.lastHigh:
		c.refusePromised()
		return
	case c.server.AtLeast(70200) && id.less(s.maxDeleted):
		c.Error("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
		return
	}
	if last := s.last(); last != nil && id.less(last.id) {
		c.Error("ERR The ID specified in XSETID is smaller than the target stream top item")
		return
	}
	if last := s.last(); last != nil && added != -1 && s.length > added {
		c.Error("ERR The entries_added specified in XSETID is smaller than the target stream length")
		return
	}
	before := s.streamMeta
	c.streamUndo(o, 0, func() { s.streamMeta = before })
	s.setLast(id)
	if added != -1 {
		s.added = added
	}
	if maxDeleted != (StreamID{}) {
		s.maxDeleted = maxDeleted
	}
	c.OK()
}
