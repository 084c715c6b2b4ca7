package topology

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// slotCount is the number of slots that the servers of a Cluster share.
const slotCount = 16384

// clusterLimit is how many servers of one view are read at most.
const clusterLimit = 2000

// ClusterReport is one server's view of its Cluster. It is immutable once handed over.
type ClusterReport struct {
	// ID is the node id of the server that gave the view.
	ID string
	// ShardID is what it calls its shard (since 7.2); "" when it has no name for it.
	ShardID string
	// Members are all servers that it knows, itself included.
	Members []ClusterMember
}

// ClusterMember is one server in a view.
type ClusterMember struct {
	// ID is its node id, which outlives restarts and failovers.
	ID string
	// Addr is host:port for clients; "" when the view has none.
	Addr string
	// Master tells masters from replicas; MasterID is a replica's master.
	Master   bool
	MasterID string
	// Failed: the Cluster has agreed that it is down (fail). Doubted: this server alone thinks so (fail?).
	Failed, Doubted bool
	// Epoch is its configuration epoch: of two claims to a slot the one with the higher epoch holds.
	Epoch int64
	// Slots are those it serves, without slots on the move.
	Slots []SlotRange
}

// parseClusterNodes reads CLUSTER NODES, a server a line:
//
//	<id> <host:port@bus[,name]> <flags> <master|-> <ping> <pong> <epoch> <link> <slots>…
//
// A server that does not know its own host is at the address where it was asked. Lines that make no
// sense, servers in handshake and servers without an address are left out.
func parseClusterNodes(text, asked string) *ClusterReport {
	r := &ClusterReport{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 8 || len(r.Members) >= clusterLimit {
			continue
		}
		flags := strings.Split(words[2], ",")
		is := func(flag string) bool { return slices.Contains(flags, flag) }
		if is("handshake") || is("noaddr") {
			continue
		}
		m := ClusterMember{
			ID: words[0], Addr: memberAddr(words[1], asked), Master: is("master"),
			Failed: is("fail"), Doubted: is("fail?"), Epoch: number(words[6], 0),
		}
		if words[3] != "-" {
			m.MasterID = words[3]
		}
		for _, word := range words[8:] {
			if s, ok := parseSlots(word); ok {
				m.Slots = append(m.Slots, s)
			}
		}
		if is("myself") {
			r.ID = m.ID
		}
		r.Members = append(r.Members, m)
	}
	return r
}

// memberAddr reads "10.0.0.1:7000@17000,name", where the host may be missing, an IPv6 address or a name.
func memberAddr(text, asked string) string {
	text, _, _ = strings.Cut(text, "@")
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return ""
	}
	host := strings.Trim(text[:at], "[]")
	if host == "" {
		host, _, _ = net.SplitHostPort(asked)
	}
	return hostPort(host, text[at+1:])
}

// parseSlots reads "5" or "5-10"; slots on the move, "[5->-id]", are none.
func parseSlots(text string) (SlotRange, bool) {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(last)
	if errA != nil || errB != nil || a < 0 || b < a || b >= slotCount {
		return SlotRange{}, false
	}
	return SlotRange{First: a, Last: b}, true
}

// member returns a server of the view; nil when it is unknown there.
func (r *ClusterReport) member(id string) *ClusterMember {
	for i := range r.Members {
		if r.Members[i].ID == id {
			return &r.Members[i]
		}
	}
	return nil
}

// ownerOf returns who serves a slot in this view; nil when nobody does.
func (r *ClusterReport) ownerOf(slot int) *ClusterMember {
	for i := range r.Members {
		for _, s := range r.Members[i].Slots {
			if s.First <= slot && slot <= s.Last {
				return &r.Members[i]
			}
		}
	}
	return nil
}
