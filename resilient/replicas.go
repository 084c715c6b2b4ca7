package resilient

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// replicas remembers what each server last said of itself. A replica that does
// not answer at the moment of a replay may still be promoted later: it counts
// among those that must confirm, and what it does not confirm in time is
// reported as unconfirmed. A server that never answered, or was a primary when it
// went away, is not waited for. Safe for concurrent use.
type replicas struct {
	server func(engine.Server) // told the oldest of those that answered

	mu   sync.Mutex // guards last
	last map[string]heard
}

// heard is what a server said, and when.
type heard struct {
	topology.NodeReport
	at time.Time
}

// versionMemory is how long a server that does not answer counts among those which may be
// the next primary, by its version.
const versionMemory = 15 * time.Minute

// probe is ask, with a memory.
func (r *replicas) probe(
	ask func(context.Context, string) topology.NodeReport,
) func(context.Context, string) topology.NodeReport {
	return func(ctx context.Context, addr string) topology.NodeReport {
		n := ask(ctx, addr)
		if n.Answered() {
			r.server(r.remember(addr, n))
		}
		return n
	}
}

// remember keeps what a server said, and returns the oldest of all servers: any of
// them may be the next primary.
func (r *replicas) remember(addr string, n topology.NodeReport) (oldest engine.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = make(map[string]heard)
	}
	now := time.Now()
	r.last[addr] = heard{n, now}
	for _, n := range r.last {
		if now.Sub(n.at) > versionMemory {
			continue
		}
		s := parseVersion(n.Version)
		if s.Version != 0 && (oldest.Version == 0 || !s.AtLeast(oldest.Version)) {
			oldest = s
		}
	}
	return oldest
}

// parseVersion reads a version as the prober reports it.
func parseVersion(text string) engine.Server {
	number, valkey := strings.CutPrefix(text, "valkey ")
	var v [3]int
	for i, part := range strings.SplitN(number+".0.0", ".", 4)[:len(v)] {
		v[i], _ = strconv.Atoi(part) // a suffix such as -rc1 counts as 0
	}
	return engine.Server{Version: v[0]*10000 + v[1]*100 + v[2], Valkey: valkey}
}

// promotable lists the addresses of the view's replicas, each server once,
// without those that are never to be promoted, and of one that has been just now.
func (r *replicas) promotable(view *topology.View) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{view.Primary.RunID: true}
	var addrs []string
	for i := range view.Nodes {
		n := view.Nodes[i]
		if !n.Answered() {
			n = r.last[n.Addr].NodeReport
		}
		// A master that succeeds the primary does not confirm what that has executed.
		succeeds := n.Role == topology.RoleMaster && n.ReplID2 != "" && n.ReplID2 == view.Primary.ReplID
		if n.Role != topology.RoleReplica && !succeeds || n.Priority == 0 || seen[n.RunID] {
			continue
		}
		seen[n.RunID] = true
		addrs = append(addrs, n.Addr)
	}
	return addrs
}
