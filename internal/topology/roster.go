package topology

import (
	"cmp"
	"slices"
)

// Bounds of the roster.
const (
	// rosterLimit is how many addresses are probed at most, seeds included. A group that names more
	// is cut off: the seeds and what was learned first stay.
	rosterLimit = 64
	// rosterGrace is how many healthy rounds in a row a discovered address may go unnamed before it
	// is forgotten. A replica that restarts meanwhile must still be known when the primary is lost.
	rosterGrace = 60
)

// roster is the list of known addresses. It belongs to the goroutine that makes the rounds.
type roster struct {
	entries []rosterEntry
}

type rosterEntry struct {
	addr    string
	seed    bool
	unnamed int // healthy rounds in a row in which nobody named it
}

func newRoster(seeds []string) *roster {
	r := &roster{}
	for _, addr := range seeds {
		r.add(addr, true)
	}
	return r
}

func (r *roster) add(addr string, seed bool) bool {
	if addr == "" || len(r.entries) >= rosterLimit || r.index(addr) >= 0 {
		return false
	}
	r.entries = append(r.entries, rosterEntry{addr: addr, seed: seed})
	return true
}

func (r *roster) index(addr string) int {
	return slices.IndexFunc(r.entries, func(e rosterEntry) bool { return e.addr == addr })
}

// discover adds addresses that somebody names and returns those that are new.
func (r *roster) discover(addrs []string) []rosterEntry {
	var fresh []rosterEntry
	for _, addr := range addrs {
		if r.add(addr, false) {
			fresh = append(fresh, r.entries[len(r.entries)-1])
		}
	}
	return fresh
}

// settle forgets addresses that nobody has mentioned for long. It may only be called for healthy
// rounds: in an outage what was known last is all there is to go by.
func (r *roster) settle(mentioned map[string]bool) {
	r.entries = slices.DeleteFunc(r.entries, func(e rosterEntry) bool {
		return !e.seed && !mentioned[e.addr] && e.unnamed+1 > rosterGrace
	})
	for i := range r.entries {
		e := &r.entries[i]
		if e.unnamed++; mentioned[e.addr] {
			e.unnamed = 0
		}
	}
}

// order sorts reports as the roster has the addresses: seeds first, so that rounds with the same
// answers look the same.
func (r *roster) order(nodes []NodeReport) {
	slices.SortStableFunc(nodes, func(a, b NodeReport) int {
		return cmp.Compare(r.index(a.Addr), r.index(b.Addr))
	})
}

// named returns the other nodes that a node knows of: its replicas and its master.
func named(n *NodeReport) []string {
	if !n.Answered() {
		return nil
	}
	if n.Master == "" {
		return n.Replicas
	}
	return append([]string{n.Master}, n.Replicas...)
}

// become makes the list the given one, in its order.
func (r *roster) become(addrs []string) {
	if len(addrs) == 0 {
		return // nothing is known: what was known last is all there is to go by
	}
	r.entries = nil
	for _, addr := range addrs {
		r.add(addr, false)
	}
}

func addrsOf(entries []rosterEntry) []string {
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.addr)
	}
	return out
}

// namedBySentinels returns the nodes that Sentinels know of.
func namedBySentinels(reports []SentinelReport) []string {
	var out []string
	for i := range reports {
		r := &reports[i]
		if !r.answered() {
			continue
		}
		if r.Primary != "" {
			out = append(out, r.Primary)
		}
		for _, c := range r.Replicas {
			out = append(out, c.Addr)
		}
	}
	return out
}
