package engine

import (
	"slices"
	"sort"
)

// stream is the container of a stream: its entries in nodes, ordered by id.
//
// The nodes are cut as the server cuts its own: what XTRIM and XADD with ~ take
// away, and what XINFO STREAM counts, depends on them.
type stream struct {
	streamMeta
	nodes  []*streamNode
	groups []*streamGroup // by name

	// partial says that the stream has entries up to the id known that are not in
	// nodes. Of its groups nothing is known then.
	partial bool
	known   StreamID
}

// streamMeta is what an undo puts back as one.
type streamMeta struct {
	length     int64
	lastID     StreamID
	maxDeleted StreamID
	added      int64
	bytes      int64 // the memory of entries, nodes and groups

	// lastLow and lastHigh are bounds of what the last id will be on the server:
	// both lastID unless that was generated here.
	lastLow, lastHigh StreamID
}

// streamNode holds entries that lie together.
type streamNode struct {
	first   StreamID // of the first entry that was ever in it
	last    StreamID // of the last one
	entries []streamEntry
	deleted int    // entries that were in it
	packed  int    // the bytes of the server's listpack
	names   string // the field names of the first entry, encoded
}

// streamEntry is one entry: flags, then the fields as encodeFields lays them out.
type streamEntry struct {
	id   StreamID
	data string
}

// Flags of an entry.
const (
	entryPromised  = 1 << iota // its id was generated here
	entrySameNames             // only values follow: the names are the node's
)

// The memory of the parts beside what they hold, in bytes.
const (
	streamOverhead   = 240
	nodeOverhead     = 160
	entryOverhead    = 48
	groupOverhead    = 144
	consumerOverhead = 96
	pendingOverhead  = 48
)

// The limits of a node: the server's defaults of stream-node-max-entries and
// stream-node-max-bytes.
const (
	nodeMaxEntries = 100
	nodeMaxBytes   = 4096
)

func newStream() *stream { return &stream{streamMeta: streamMeta{bytes: streamOverhead}} }

func (s *stream) size() int64 { return s.bytes }
func (s *stream) whole() bool { return !s.partial }

// setLast sets the last id to one that is the server's too.
func (s *stream) setLast(id StreamID) { s.lastID, s.lastLow, s.lastHigh = id, id, id }

// firstID is the id of the first entry; of none the zero id.
func (s *stream) firstID() StreamID {
	if p := s.first(); s.valid(p) {
		return s.at(p).id
	}
	return StreamID{}
}

func (n *streamNode) promised(i int) bool { return n.entries[i].data[0]&entryPromised != 0 }

func (e *streamEntry) memory() int64 { return entryOverhead + int64(len(e.data)) }

// memory is what removing the node would free.
func (n *streamNode) memory() int64 {
	m := int64(nodeOverhead + len(n.names))
	for i := range n.entries {
		m += n.entries[i].memory()
	}
	return m
}

// streamPos is the place of an entry; a node index of len(nodes) is the end.
type streamPos struct{ node, entry int }

// seek is the place of the first entry whose id is not before id.
func (s *stream) seek(id StreamID) streamPos {
	i := sort.Search(len(s.nodes), func(i int) bool { return !s.nodes[i].last.less(id) })
	if i == len(s.nodes) {
		return streamPos{i, 0}
	}
	entries := s.nodes[i].entries
	j := sort.Search(len(entries), func(j int) bool { return !entries[j].id.less(id) })
	return s.settled(streamPos{i, j}) // what is there up to node.last may be deleted
}

// settled is the place itself, or where there is no entry in the node any more the
// first one behind it. A node can be without entries: see trimPoint.
func (s *stream) settled(p streamPos) streamPos {
	for p.node < len(s.nodes) && p.entry >= len(s.nodes[p.node].entries) {
		p = streamPos{p.node + 1, 0}
	}
	return p
}

// first is the place of the first entry.
func (s *stream) first() streamPos { return s.settled(streamPos{}) }

// before steps back; it reports false at the beginning.
func (s *stream) before(p streamPos) (streamPos, bool) {
	for p.entry == 0 {
		if p.node == 0 {
			return p, false
		}
		p = streamPos{p.node - 1, len(s.nodes[p.node-1].entries)}
	}
	return streamPos{p.node, p.entry - 1}, true
}

// after steps forward; the end is not valid.
func (s *stream) after(p streamPos) streamPos {
	return s.settled(streamPos{p.node, p.entry + 1})
}

func (s *stream) valid(p streamPos) bool { return p.node < len(s.nodes) }

func (s *stream) at(p streamPos) *streamEntry { return &s.nodes[p.node].entries[p.entry] }

// find is the place of the entry of that id.
func (s *stream) find(id StreamID) (streamPos, bool) {
	p := s.seek(id)
	return p, s.valid(p) && s.at(p).id == id
}

// last is the last entry, nil when there is none.
func (s *stream) last() *streamEntry {
	if p, ok := s.before(streamPos{len(s.nodes), 0}); ok {
		return s.at(p)
	}
	return nil
}

// push adds an entry behind all others. It does not touch the last id and the
// count of entries added.
func (s *stream) push(id StreamID, fields [][]byte, promised bool) {
	payload := 0
	for _, f := range fields {
		payload += len(f)
	}
	var n *streamNode
	if len(s.nodes) > 0 {
		n = s.nodes[len(s.nodes)-1]
		if n.packed+payload >= nodeMaxBytes || len(n.entries)+n.deleted >= nodeMaxEntries {
			n = nil
		}
	}
	if n == nil {
		names := encodeNames(fields)
		n = &streamNode{first: id, packed: packedHeader(fields), names: names}
		s.nodes = append(s.nodes, n)
		s.bytes += nodeOverhead + int64(len(names))
	}
	same := n.hasNames(fields)
	e := streamEntry{id, encodeFields(fields, same, promised)}
	n.entries = append(n.entries, e)
	n.last = id
	n.packed += packedEntry(n.first, id, fields, same)
	s.length++
	s.bytes += e.memory()
}

// unpush returns a function that takes a push to come back.
func (s *stream) unpush() func() {
	before, nodes := s.streamMeta, len(s.nodes)
	var last StreamID
	packed := 0
	if nodes > 0 {
		last, packed = s.nodes[nodes-1].last, s.nodes[nodes-1].packed
	}
	return func() {
		s.streamMeta = before
		if len(s.nodes) > nodes {
			s.nodes[nodes] = nil
			s.nodes = s.nodes[:nodes]
			return
		}
		n := s.nodes[nodes-1]
		n.entries[len(n.entries)-1] = streamEntry{}
		n.entries = n.entries[:len(n.entries)-1]
		n.last, n.packed = last, packed
	}
}

// remove takes out one entry and returns a function that puts it back.
func (s *stream) remove(p streamPos) (undo func(), cost int64) {
	before, n := s.streamMeta, s.nodes[p.node]
	e := n.entries[p.entry]
	s.length--
	if len(n.entries) == 1 {
		s.bytes -= n.memory()
		if p.node == 0 {
			s.nodes[0] = nil
			s.nodes = s.nodes[1:]
		} else {
			s.nodes = slices.Delete(s.nodes, p.node, p.node+1)
		}
		return func() {
			s.nodes = slices.Insert(s.nodes, p.node, n)
			s.streamMeta = before
		}, n.memory()
	}
	s.bytes -= e.memory()
	n.entries = slices.Delete(n.entries, p.entry, p.entry+1)
	n.deleted++
	return func() {
		n.entries = slices.Insert(n.entries, p.entry, e)
		n.deleted--
		s.streamMeta = before
	}, e.memory()
}

// cut takes the first nodes, and of the one behind them the first entries, away
// and returns a function that puts them back.
func (s *stream) cut(p streamPos) (undo func(), cost int64) {
	before := s.streamMeta
	nodes := slices.Clone(s.nodes[:p.node])
	for _, n := range nodes {
		s.length -= int64(len(n.entries))
		cost += n.memory()
	}
	clear(s.nodes[:p.node])
	s.nodes = s.nodes[p.node:]
	var part *streamNode
	var entries []streamEntry
	if p.entry > 0 {
		part = s.nodes[0]
		entries = slices.Clone(part.entries[:p.entry])
		for i := range entries {
			cost += entries[i].memory()
		}
		part.entries = slices.Delete(part.entries, 0, p.entry)
		part.deleted += p.entry
		s.length -= int64(p.entry)
	}
	s.bytes -= cost
	return func() {
		if part != nil {
			part.entries = slices.Concat(entries, part.entries)
			part.deleted -= len(entries)
		}
		s.nodes = slices.Concat(nodes, s.nodes)
		s.streamMeta = before
	}, cost
}
