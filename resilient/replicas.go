package resilient

import (
	"context"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// replicas remembers what each server last said of itself. A replica that does
// not answer at the moment of a replay may still be promoted later: it counts
// among those that must confirm, and what it does not confirm in time is
// reported as unconfirmed. A server that never answered, or was a primary when it
// went away, is not waited for. Safe for concurrent use.
type replicas struct {
	server func(version string) // told the version of each that answers

	mu   sync.Mutex // guards last
	last map[string]topology.NodeReport
}

// probe is ask, with a memory.
func (r *replicas) probe(
	ask func(context.Context, string) topology.NodeReport,
) func(context.Context, string) topology.NodeReport {
	return func(ctx context.Context, addr string) topology.NodeReport {
		n := ask(ctx, addr)
		if n.Answered() {
			r.server(n.Version)
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.last == nil {
				r.last = make(map[string]topology.NodeReport)
			}
			r.last[addr] = n
		}
		return n
	}
}

// promotable lists the addresses of the view's replicas, each server once,
// without those that are never to be promoted.
func (r *replicas) promotable(view *topology.View) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{view.Primary.RunID: true}
	var addrs []string
	for i := range view.Nodes {
		n := view.Nodes[i]
		if !n.Answered() {
			n = r.last[n.Addr]
		}
		if n.Role != topology.RoleReplica || n.Priority == 0 || seen[n.RunID] {
			continue
		}
		seen[n.RunID] = true
		addrs = append(addrs, n.Addr)
	}
	return addrs
}
