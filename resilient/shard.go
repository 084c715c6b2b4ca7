package resilient

import (
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// shard is what a client has for each replication group: who watches it, the way of
// its commands, and what replays to it.
type shard struct {
	name    string       // in errors and events; empty where there is only one
	seeds   *nodeClients // for base values: one attempt each, own connections
	monitor *topology.Monitor
	bases   *seedSource
	router  *router
	source  *journalSource
	drain   *drain

	adopting chan struct{} // of capacity 1: whose value is in it replays a dead process's journal

	preflight *preflight

	// Over a Cluster:
	mapped atomic.Uint64 // the topology's epoch in which the Cluster client's map agreed; see slotMap
	slots  *slotMap      // nil before the shard is watched
}

// singleAttempt are the options of clients whose every failure is to be heard at
// once: for base values and questions of our own.
func singleAttempt(base *redis.Options) *redis.Options {
	o := *base
	o.MaxRetries, o.DialerRetries, o.Protocol = -1, 1, 2
	o.ContextTimeoutEnabled = true
	o.OnConnect = nil
	return &o
}

// newRouter makes the shard's router. The monitor is bound later: it is made with
// functions of the shard.
func (f *foundation) newRouter(nodes servers, seed func(*topology.View) string) *router {
	r := &router{core: f.core, nodes: nodes, seed: seed}
	r.newBreaker()
	return r
}

// bind joins the shard to its monitor, before that starts.
func (s *shard) bind(m *topology.Monitor, first redis.UniversalClient) {
	s.monitor, s.router.monitor, s.bases.monitor = m, m, m
	if s.drain != nil {
		s.drain.monitor = m
	}
	s.router.route.Store(&route{view: m.View(), read: first})
}

// newSeedSource makes the source of base values of a shard.
func (f *foundation) newSeedSource(r *router, clients *nodeClients, o overlay.SeederOptions) *seedSource {
	o.MaxBytes, o.MaxElements = int(f.options.MaxSeedBytes), int(f.options.MaxSeedFields)
	return &seedSource{route: r.current, clients: clients, options: o, seeders: make(map[string]*overlay.Seeder)}
}

// replayOptions are those of a replay to a shard, without ClientID, Source and Hooks.
func (f *foundation) replayOptions(base *redis.Options, replicas func() []string) replay.Options {
	return replay.Options{
		Dial:        dialer(base),
		Credentials: credentials(base),
		DB:          base.DB,
		Replicas:    replicas,
		ReplicaAcks: f.options.ReplicaAcks,
		AckBound:    f.options.ReplicaAckTimeout,
		Plain:       f.options.ReplayWithoutTransactions,
		Rate:        f.options.ReplayRate,

		NoCoalescing: f.options.NoCoalescing,
	}
}

// accept makes what a router calls when an entry is durable.
func (s *shard) accept(wake func()) func() {
	return func() {
		wake()
		if s.monitor.View().State == topology.StateHealthy {
			s.monitor.Backlog(true) // accepted at the moment of return
		}
	}
}

// changed makes the monitor's OnChange.
func (f *foundation) changed(name string) func(topology.Change) {
	last := ShardState{}
	return func(c topology.Change) {
		now := changedState(&c)
		now.Shard = name
		if now.State != last.State || now.Cause != last.Cause {
			f.events.stateChanged(StateInfo{From: last, To: now})
		} else {
			now.Since = last.Since
		}
		last = now
	}
}

// state is the shard's, in public terms.
func (s *shard) state() ShardState {
	state := fullState(s.monitor.View())
	state.Shard = s.name
	if missing := s.router.rights(); missing != nil {
		state.Diagnosis = (RightsInfo{Missing: missing}).String() + join(state.Diagnosis)
	}
	return state
}

// live reports whether the shard takes writes, and no write of late got no answer.
func (s *shard) live() bool { return s.monitor.View().Live && !s.router.tripped.Load() }

// now is the time of the shard's server.
func (s *shard) now() time.Time { return s.router.now() }

// groupServers are the clients of a standalone group, as the router takes them.
type groupServers struct{ *nodeClients }

func (g groupServers) live(addr string, alone bool) redis.UniversalClient {
	return orNil(g.nodeClients.live(addr, alone))
}

func (g groupServers) get(addr string) redis.UniversalClient { return orNil(g.nodeClients.get(addr)) }

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil(c *redis.Client) redis.UniversalClient {
	if c == nil {
		return nil
	}
	return c
}

func retries(n int) int {
	switch {
	case n == 0:
		return 3 // go-redis's default
	case n < 0:
		return 0
	}
	return n
}
