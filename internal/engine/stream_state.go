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

// restore rebuilds the stream: entries, ids, groups and what is pending. Only when a
// consumer was last seen or active can't be rebuilt.
//
// Groups come last: newer servers take no more for read than were ever added.
func (s *stream) restore(dst []byte, key string) []byte {
	gone := s.gonePending()
	if s.length == 0 && len(gone) == 0 {
		// Some stream has to be there; the group is not used.
		dst = appendStrings(dst, "XGROUP", "CREATE", key, "-", "0", "MKSTREAM")
		dst = appendStrings(dst, "XGROUP", "DESTROY", key, "-")
	}
	dst = s.restoreGone(dst, key, gone)
	for p := s.first(); s.valid(p); p = s.after(p) {
		e := s.at(p)
		dst = s.nodes[p.node].restoreEntry(dst, key, e)
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
	how := "CREATE"
	if len(gone) > 0 {
		how = "SETID"
	}
	for _, g := range s.groups {
		dst = appendStrings(dst, "XGROUP", how, key, g.name, g.lastID.String(), "ENTRIESREAD", formatInt(g.read))
		if len(gone) == 0 {
			dst = g.restoreConsumers(dst, key)
		}
		dst = g.restorePending(dst, key, func(id StreamID) bool { return !isGone(gone, id) })
	}
	return dst
}

// restoreGone rebuilds the groups, and of what is pending in them only the entries
// that are gone. Such a one can be claimed while there is one of its id; so they are
// added, claimed, and trimmed away, which leaves no trace as deleting would. What has
// a smaller id can be added after that, as the ids begin anew.
func (s *stream) restoreGone(dst []byte, key string, gone []StreamID) []byte {
	if len(gone) == 0 {
		return dst
	}
	for _, id := range gone {
		dst = appendStrings(dst, "XADD", key, id.String(), "", "")
	}
	for _, g := range s.groups {
		dst = appendStrings(dst, "XGROUP", "CREATE", key, g.name, "0")
		dst = g.restoreConsumers(dst, key)
		dst = g.restorePending(dst, key, func(id StreamID) bool { return isGone(gone, id) })
	}
	dst = appendStrings(dst, "XTRIM", key, "MAXLEN", "0")
	return appendStrings(dst, "XSETID", key, "0-0")
}

// gonePending are the ids of entries that are pending in some group and not in the
// stream, in order. None is 0-0, which no entry can have.
func (s *stream) gonePending() []StreamID {
	var ids []StreamID
	for _, g := range s.groups {
		for i := range g.pending {
			id := g.pending[i].id
			if _, found := s.find(id); !found && id != (StreamID{}) {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, StreamID.compare)
	return slices.Compact(ids)
}

func isGone(gone []StreamID, id StreamID) bool {
	_, found := slices.BinarySearchFunc(gone, id, StreamID.compare)
	return found
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

func (g *streamGroup) restoreConsumers(dst []byte, key string) []byte {
	for _, co := range g.consumers {
		dst = appendStrings(dst, "XGROUP", "CREATECONSUMER", key, g.name, co.name)
	}
	return dst
}

// restorePending rebuilds what is pending, of the ids that which chooses.
func (g *streamGroup) restorePending(dst []byte, key string, which func(StreamID) bool) []byte {
	for i := range g.pending {
		p := &g.pending[i]
		if which(p.id) {
			dst = appendStrings(dst, "XCLAIM", key, g.name, p.consumer.name, "0", p.id.String(),
				"TIME", formatInt(p.at), "RETRYCOUNT", formatInt(p.count), "FORCE", "JUSTID")
		}
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
