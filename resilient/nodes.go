package resilient

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// nodeClients holds one go-redis client a server, made when the topology first
// sends a command there. A client is never repointed: after a promotion the
// commands go to another one, and what is in flight on the old one ends there.
// Safe for concurrent use.
type nodeClients struct {
	base      *redis.Options // copied for each server
	onNewNode func(*redis.Client)

	mu      sync.Mutex // guards what follows, as far as primary
	clients map[string]*redis.Client
	closed  bool
	spared  *redis.Client // stays open

	// primary is the client that finds the primary by itself, a failover client;
	// nil without one.
	primary *redis.Client
	leads   atomic.Pointer[string] // the primary's address that primary is taken for
	astray  atomic.Pointer[string] // the primary's address that it turned out not to lead to
}

func newNodeClients(base *redis.Options, onNewNode func(*redis.Client)) *nodeClients {
	return &nodeClients{base: base, onNewNode: onNewNode, clients: make(map[string]*redis.Client)}
}

// adopt takes the application's own client, for the server that it is made for.
// It is called before any other method.
func (n *nodeClients) adopt(c *redis.Client) {
	switch {
	case c == nil:
	case isFailover(c):
		n.primary = c
	default:
		n.clients[c.Options().Addr] = c
	}
}

// spare leaves the application's client open: it is not to be wrapped after all.
func (n *nodeClients) spare(c *redis.Client) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spared = c
}

// giveBack forgets all clients without closing them: they are not ours after all.
func (n *nodeClients) giveBack() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients = nil
}

// live returns the client that commands go to while the server at addr is the
// primary. alone says that no other server takes itself for one: else the client that
// Sentinels lead may be with that, which answers its writes as well.
func (n *nodeClients) live(addr string, alone bool) *redis.Client {
	if n.primary != nil && addr != "" && alone {
		if astray := n.astray.Load(); astray == nil || *astray != addr {
			n.leads.Store(&addr)
			return n.primary
		}
	}
	return n.get(addr)
}

// declined says that the client for the primary at addr came to a server that
// takes no writes, or to none. Should addr turn out to be the primary all the
// same, then the Sentinels name another one or don't answer, and it is better to
// go there without them.
func (n *nodeClients) declined(addr string) {
	if leads := n.leads.Load(); leads != nil && *leads == addr {
		n.astray.Store(&addr)
	}
}

// lost says that there is no primary: the next is for the Sentinels to name.
func (n *nodeClients) lost() {
	n.leads.Store(nil)
	n.astray.Store(nil)
}

// get returns the client of the server at addr; nil once closed, or without an
// address.
func (n *nodeClients) get(addr string) *redis.Client {
	if addr == "" {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c, ok := n.clients[addr]; ok || n.closed {
		return c
	}
	o := *n.base
	o.Addr = addr
	if addr == nowhere {
		o.Dialer, o.MinIdleConns = dialNowhere, 0
	}
	if o.DialerRetries == 0 {
		// Five dials a tenth of a second apart would hide for half a second
		// that nobody listens. Whoever can wait tries again above.
		o.DialerRetries = 1
	}
	c := redis.NewClient(&o)
	if n.onNewNode != nil && addr != nowhere {
		n.onNewNode(c)
	}
	n.clients[addr] = c
	return c
}

// poolStats adds up the main pools of all servers.
func (n *nodeClients) poolStats() *redis.PoolStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	var sum redis.PoolStats
	for _, c := range n.clients {
		addPool(&sum, c.PoolStats())
	}
	if n.primary != nil {
		addPool(&sum, n.primary.PoolStats())
	}
	return &sum
}

func addPool(sum, s *redis.PoolStats) {
	sum.Hits += s.Hits
	sum.Misses += s.Misses
	sum.Timeouts += s.Timeouts
	sum.WaitCount += s.WaitCount
	sum.Unusable += s.Unusable
	sum.WaitDurationNs += s.WaitDurationNs
	sum.TotalConns += s.TotalConns
	sum.IdleConns += s.IdleConns
	sum.StaleConns += s.StaleConns
	sum.PendingRequests += s.PendingRequests
}

func (n *nodeClients) close() error {
	n.mu.Lock()
	clients, spared := slices.Collect(maps.Values(n.clients)), n.spared
	n.clients, n.closed = nil, true
	n.mu.Unlock()
	if n.primary != nil {
		clients = append(clients, n.primary)
	}
	var faults []error
	for _, c := range clients {
		if c != spared {
			faults = append(faults, c.Close())
		}
	}
	return errors.Join(faults...)
}

// newPubSubClient makes the client of all subscriptions. go-redis reconnects a
// broken subscription by itself, through the dialer: that is where the
// subscription follows the topology.
func newPubSubClient(base *redis.Options, addr func() string) *redis.Client {
	o := *base
	dial := o.Dialer
	if dial == nil {
		dial = redis.NewDialer(&o)
	}
	o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
		at := addr()
		if at == nowhere {
			return dialNowhere(ctx, network, at)
		}
		return dial(ctx, network, at)
	}
	return redis.NewClient(&o)
}
