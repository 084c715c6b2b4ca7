package engine

import (
	"slices"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// StreamState is all that a server tells of a stream, for NewStream.
type StreamState struct {
	Entries      []StreamEntry // in the order of their ids
	LastID       StreamID      // last-generated-id
	MaxDeletedID StreamID      // max-deleted-entry-id
	EntriesAdded int64         // entries-added
	Groups       []StreamGroup // in any order
}

// StreamEntry is one entry.
type StreamEntry struct {
	ID     StreamID
	Fields [][]byte // field, value, field, value …
}

// StreamGroup is a consumer group.
type StreamGroup struct {
	Name        []byte
	LastID      StreamID // last-delivered-id
	EntriesRead int64    // -1 is unknown
	Pending     []StreamPending
	Consumers   []StreamConsumer
}

// StreamPending is an entry that was delivered and not acknowledged.
type StreamPending struct {
	ID          StreamID
	Consumer    []byte // one of the group's consumers
	DeliveredAt int64  // Unix milliseconds
	Count       int64  // how often it was delivered
}

// StreamConsumer is a member of a group.
type StreamConsumer struct {
	Name   []byte
	SeenAt int64 // seen-time, Unix milliseconds

	// ActiveAt is active-time, Unix milliseconds; -1 is never. Servers before 7.2
	// don't know it: give SeenAt there.
	ActiveAt int64
}

// NewStream returns a stream, which may be empty and exist all the same. Entries
// out of order, or beyond LastID, are left out: no server has such.
//
// Names and fields are copied.
func NewStream(st StreamState) Object {
	s := newStream()
	var last StreamID
	for _, e := range st.Entries {
		if last.less(e.ID) && e.ID.atMost(st.LastID) && len(e.Fields) > 0 && len(e.Fields)%2 == 0 {
			s.push(e.ID, e.Fields, false)
			last = e.ID
		}
	}
	s.setLast(st.LastID)
	s.maxDeleted, s.added = st.MaxDeletedID, st.EntriesAdded
	for i := range st.Groups {
		if g := &st.Groups[i]; s.group(g.Name) == nil {
			s.insertGroup(&streamGroup{name: string(g.Name), lastID: g.LastID, read: max(g.EntriesRead, -1)})
			s.fillGroup(s.group(g.Name), g)
		}
	}
	return newObject(TypeStream, s)
}

func (s *stream) fillGroup(g *streamGroup, from *StreamGroup) {
	for _, co := range from.Consumers {
		if g.consumer(co.Name) == nil {
			s.insertConsumer(g, &streamConsumer{name: string(co.Name), seen: co.SeenAt, active: max(co.ActiveAt, -1)})
		}
	}
	for _, p := range from.Pending {
		co := g.consumer(p.Consumer)
		if co == nil {
			co = &streamConsumer{name: string(p.Consumer), seen: p.DeliveredAt, active: p.DeliveredAt}
			s.insertConsumer(g, co)
		}
		if _, found := g.find(p.ID); !found {
			s.insertNack(g, streamNack{id: p.ID, consumer: co, at: p.DeliveredAt, count: p.Count})
		}
	}
}

// NewPartialStream returns a stream of which only figures are known: how many
// entries it has, and what XINFO STREAM says in last-generated-id,
// max-deleted-entry-id and entries-added. It can be added to, and what was added
// can be read and deleted.
func NewPartialStream(length int64, lastID, maxDeletedID StreamID, entriesAdded int64) Object {
	s := newStream()
	s.setLast(lastID)
	s.length, s.maxDeleted, s.added = length, maxDeletedID, entriesAdded
	s.partial, s.known = true, lastID
	return newObject(TypeStream, s)
}

// restore rebuilds the stream: entries, ids, groups and what is pending. Not all
// can be rebuilt: when a consumer was last seen or active, and a pending entry
// whose id is beyond all that was ever deleted (XSETID can leave such).
//
// An entry that is pending although it is gone can only be claimed while there is
// one of its id. So it is added with the others, and taken away as it was before:
// by trimming where it lies before all entries, by deleting where it does not.
func (s *stream) restore(dst []byte, key string) []byte {
	gone := s.gonePending()
	if s.lastID == (StreamID{}) || (s.length == 0 && len(gone) == 0) {
		// Some stream has to be there; the group is not used.
		dst = appendStrings(dst, "XGROUP", "CREATE", key, "-", "0", "MKSTREAM")
		dst = appendStrings(dst, "XGROUP", "DESTROY", key, "-")
	}
	left := gone
	for p := s.first(); s.valid(p); p = s.after(p) {
		e := s.at(p)
		for ; len(left) > 0 && left[0].less(e.id); left = left[1:] {
			dst = appendStrings(dst, "XADD", key, left[0].String(), "", "")
		}
		dst = s.nodes[p.node].restoreEntry(dst, key, e)
	}
	for _, id := range left {
		dst = appendStrings(dst, "XADD", key, id.String(), "", "")
	}
	for _, g := range s.groups {
		dst = g.restore(dst, key)
	}
	first := s.firstID()
	switch {
	case len(gone) == 0:
	case s.length == 0:
		dst = appendStrings(dst, "XTRIM", key, "MAXLEN", "0")
	default:
		dst = appendStrings(dst, "XTRIM", key, "MINID", first.String())
		for _, id := range gone {
			if first.less(id) {
				dst = appendStrings(dst, "XDEL", key, id.String())
			}
		}
	}
	last := s.lastID
	if last.less(s.maxDeleted) { // XSETID of Redis 7.0 may leave it so, but not take it so
		last = s.maxDeleted
	}
	dst = appendStrings(dst, "XSETID", key, last.String(),
		"ENTRIESADDED", formatInt(max(s.added, s.length)), "MAXDELETEDID", s.maxDeleted.String())
	if last != s.lastID {
		dst = appendStrings(dst, "XSETID", key, s.lastID.String())
	}
	return dst
}

// gonePending are the ids of entries that are pending in some group and not in the
// stream, as far as they can be rebuilt.
func (s *stream) gonePending() []StreamID {
	var ids []StreamID
	first := s.firstID()
	for _, g := range s.groups {
		for i := range g.pending {
			id := g.pending[i].id
			if _, found := s.find(id); found || id == (StreamID{}) || s.lastID.less(id) {
				continue
			}
			if s.length == 0 || id.less(first) || id.atMost(s.maxDeleted) {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, StreamID.compare)
	return slices.Compact(ids)
}

func (n *streamNode) restoreEntry(dst []byte, key string, e *streamEntry) []byte {
	count, names, values := n.fields(e)
	dst = resp.AppendArray(dst, 3+2*count)
	dst = resp.AppendBulkString(dst, "XADD")
	dst = resp.AppendBulkString(dst, key)
	dst = resp.AppendBulkString(dst, e.id.String())
	var word string
	for range count {
		word, names = nextCounted(names)
		dst = resp.AppendBulkString(dst, word)
		word, values = nextCounted(values)
		dst = resp.AppendBulkString(dst, word)
	}
	return dst
}

func (g *streamGroup) restore(dst []byte, key string) []byte {
	dst = appendStrings(dst, "XGROUP", "CREATE", key, g.name, g.lastID.String(), "ENTRIESREAD", formatInt(g.read))
	for _, co := range g.consumers {
		dst = appendStrings(dst, "XGROUP", "CREATECONSUMER", key, g.name, co.name)
	}
	for i := range g.pending {
		p := &g.pending[i]
		dst = appendStrings(dst, "XCLAIM", key, g.name, p.consumer.name, "0", p.id.String(),
			"TIME", formatInt(p.at), "RETRYCOUNT", formatInt(p.count), "FORCE", "JUSTID")
	}
	return dst
}

// copyOf is a copy that shares nothing that may change. The server copies streams
// node by node too.
func (s *stream) copyOf() container {
	dup := *s
	dup.nodes = make([]*streamNode, len(s.nodes))
	for i, n := range s.nodes {
		node := *n
		node.entries = slices.Clone(n.entries)
		dup.nodes[i] = &node
	}
	dup.groups = make([]*streamGroup, len(s.groups))
	for i, g := range s.groups {
		dup.groups[i] = g.copyOf()
	}
	return &dup
}

func (g *streamGroup) copyOf() *streamGroup {
	dup := *g
	dup.consumers = make([]*streamConsumer, len(g.consumers))
	places := make(map[*streamConsumer]*streamConsumer, len(g.consumers))
	for i, co := range g.consumers {
		consumer := *co
		dup.consumers[i], places[co] = &consumer, &consumer
	}
	dup.pending = slices.Clone(g.pending)
	for i := range dup.pending {
		dup.pending[i].consumer = places[dup.pending[i].consumer]
	}
	return &dup
}
