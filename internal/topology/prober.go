package topology

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// errProberClosed is the failure of probes after Close.
var errProberClosed = errors.New("topology: the prober is closed")

// Prober asks nodes what they are, on connections of its own that share nothing with the
// application's clients. It keeps one connection per node. It is safe for concurrent use.
type Prober struct {
	base redis.Options

	mu     sync.Mutex        // guards the fields below; never held across I/O
	links  map[string]*link  // by address
	shards map[string]string // shard-ids that servers told of themselves, by run_id; "" for none
	closed bool
}

// link is a connection to one node.
type link struct {
	client *redis.Client
	dialer *firstDialer
	reused bool // it has answered before, so it may have died of age since; guarded by Prober.mu
}

// NewProber returns a prober that connects as base does: network, dialer, TLS and credentials are
// taken from it. All else is its own: one attempt, no pipelining pool, no hooks, no OnConnect, no
// limiter, RESP2, database 0. A context bounds each probe; without a deadline it is DefaultTimeout.
// A Dialer of base must heed its context. base may be nil; it is copied, but credentials and TLS
// settings that it points to are shared.
func NewProber(base *redis.Options) *Prober {
	if base == nil {
		base = &redis.Options{}
	}
	return &Prober{links: map[string]*link{}, shards: map[string]string{}, base: redis.Options{
		Network: base.Network, Dialer: base.Dialer, TLSConfig: base.TLSConfig,
		Username: base.Username, Password: base.Password,
		CredentialsProvider:          base.CredentialsProvider,
		CredentialsProviderContext:   base.CredentialsProviderContext,
		StreamingCredentialsProvider: base.StreamingCredentialsProvider,
		Protocol:                     2,
		MaxRetries:                   -1,
		DialerRetries:                1,
		// The context's deadline alone bounds a probe; go-redis would take the earlier of both.
		ContextTimeoutEnabled: true,
		DialTimeout:           time.Minute,
		ReadTimeout:           -1,
		WriteTimeout:          -1,
		// Two, as go-redis answers from memory for up to a second once as many dials have failed.
		PoolSize:                 2,
		PipelinePoolSize:         -1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}}
}

// Probe asks one node for ROLE, INFO server, INFO replication, INFO persistence and TIME in one
// write, and, where the server has min-replicas-to-write set, for its value in a second one. It
// never returns an error: Outcome tells how far it came. A connection that died unused since the
// last probe is replaced at once, once; nothing else is tried again.
func (p *Prober) Probe(ctx context.Context, addr string) NodeReport { return p.probe(ctx, addr, false) }

// ProbeCluster is Probe for a server of a Cluster: CLUSTER INFO and CLUSTER NODES go with the same write.
func (p *Prober) ProbeCluster(ctx context.Context, addr string) NodeReport {
	return p.probe(ctx, addr, true)
}

func (p *Prober) probe(ctx context.Context, addr string, cluster bool) NodeReport {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	var n NodeReport
	outcome, err := p.visit(ctx, addr, func(ctx context.Context, c *redis.Client) (err error) {
		n, err = p.ask(ctx, c, addr, cluster)
		return err
	})
	if err != nil {
		return NodeReport{Addr: addr, Outcome: outcome, Err: err}
	}
	return n
}

// visit asks a server something, on the connection kept for it.
func (p *Prober) visit(ctx context.Context, addr string, ask func(context.Context, *redis.Client) error) (Outcome, error) {
	for {
		outcome, again, err := p.attempt(ctx, addr, ask)
		if !again || ctx.Err() != nil {
			return outcome, err
		}
	}
}

// attempt makes one visit; again tells that only an old connection was found dead.
func (p *Prober) attempt(ctx context.Context, addr string, ask func(context.Context, *redis.Client) error) (o Outcome, again bool, err error) {
	l, reused, err := p.link(ctx, addr)
	if err != nil {
		return classify(err, OutcomeTimeout), false, err
	}
	err = ask(ctx, l.client)
	if err == nil {
		p.mu.Lock()
		l.reused = true
		p.mu.Unlock()
		return OutcomeAnswered, false, nil
	}
	o = classify(err, OutcomeHung)
	if o == OutcomeBroken && l.dialer.turnedAway.Load() {
		o = OutcomeFull
	}
	if o != OutcomeBusy { // what it says so on is the connection to keep
		p.drop(addr, l)
	}
	return o, reused && o == OutcomeBroken, err
}

// link returns the connection to a node and whether it has been used before, dialling it if there
// is none. The dial is made here rather than in the pool of a go-redis client, which would log each
// refused dial and remember it.
func (p *Prober) link(ctx context.Context, addr string) (*link, bool, error) {
	p.mu.Lock()
	l, closed := p.links[addr], p.closed
	reused := l != nil && l.reused
	p.mu.Unlock()
	if closed {
		return nil, false, errProberClosed
	}
	if l != nil {
		return l, reused, nil
	}
	d := &firstDialer{dial: p.dialer(addr)}
	if err := d.connect(ctx, addr); err != nil {
		return nil, false, err
	}
	opts := p.options(addr)
	opts.Dialer = d.next
	fresh := &link{client: redis.NewClient(&opts), dialer: d}
	p.mu.Lock()
	other := p.links[addr]
	if other == nil && !p.closed {
		p.links[addr] = fresh
		p.mu.Unlock()
		return fresh, false, nil
	}
	closed = p.closed
	p.mu.Unlock()
	fresh.close()
	if closed {
		return nil, false, errProberClosed
	}
	return other, false, nil // another probe of this node was quicker
}

// drop forgets a connection that failed.
func (p *Prober) drop(addr string, l *link) {
	p.mu.Lock()
	if p.links[addr] == l {
		delete(p.links, addr)
	}
	p.mu.Unlock()
	l.close()
}

// Forget closes the connection to a server, so that the next probe makes a new one.
func (p *Prober) Forget(addr string) {
	p.mu.Lock()
	l := p.links[addr]
	p.mu.Unlock()
	if l != nil {
		p.drop(addr, l)
	}
}

// Close closes the connections. Probes after it fail.
func (p *Prober) Close() error {
	p.mu.Lock()
	links := p.links
	p.links, p.closed = nil, true
	p.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	return nil
}

func (p *Prober) network(addr string) string {
	switch {
	case strings.HasPrefix(addr, "/"):
		return "unix"
	case p.base.Network == "" || p.base.Network == "unix":
		return "tcp" // nodes that servers name are host:port, also when the seed is a socket
	}
	return p.base.Network
}

// options are those of a client of one server.
func (p *Prober) options(addr string) redis.Options {
	opts := p.base
	opts.Addr, opts.Network, opts.Dialer = addr, p.network(addr), p.dialer(addr)
	return opts
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func (p *Prober) dialer(addr string) dialFunc {
	dial := p.base.Dialer
	switch {
	case dial != nil:
	case p.base.TLSConfig != nil:
		dial = (&tls.Dialer{Config: p.base.TLSConfig}).DialContext // go-redis's own does not heed contexts here
	default:
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, p.network(addr), addr) }
}

func (l *link) close() {
	_ = l.client.Close() // nothing was buffered; there is nothing to lose
	l.dialer.discard()
}

// firstDialer hands a connection that was dialled beforehand to the first dial of a pool; later
// ones, after an idle connection was found dead, dial anew.
type firstDialer struct {
	dial       dialFunc
	turnedAway atomic.Bool // the server said on a connection that it has too many

	mu    sync.Mutex // guards ready
	ready net.Conn
}

func (d *firstDialer) connect(ctx context.Context, addr string) error {
	conn, err := d.dial(ctx, "", addr)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.ready = &firstWords{Conn: conn, dialer: d}
	d.mu.Unlock()
	return nil
}

func (d *firstDialer) take() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.ready
	d.ready = nil
	return conn
}

func (d *firstDialer) next(ctx context.Context, network, addr string) (net.Conn, error) {
	if conn := d.take(); conn != nil {
		return conn, nil
	}
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &firstWords{Conn: conn, dialer: d}, nil
}

// firstWords is a connection whose first words are heard: a server that has no connection left says so
// and closes it, and go-redis takes that for an answer to its greeting.
type firstWords struct {
	net.Conn
	dialer *firstDialer
	heard  bool // belongs to the reader
}

var tooMany = []byte("-ERR max number of clients")

func (c *firstWords) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.heard && n > 0 {
		c.heard = true
		c.dialer.turnedAway.Store(bytes.HasPrefix(b[:n], tooMany))
	}
	return n, err
}

func (d *firstDialer) discard() {
	if conn := d.take(); conn != nil {
		_ = conn.Close() // never used
	}
}

// classify tells how a probe failed. late is what a timeout means at this point.
func classify(err error, late Outcome) Outcome {
	var (
		netErr net.Error
		opErr  *net.OpError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT): // ENOENT: no such socket file
		return OutcomeRefused
	case redis.IsAuthError(err), redis.IsPermissionError(err):
		return OutcomeDenied
	case serverSays(err, "BUSY "):
		return OutcomeBusy
	case redis.IsMaxClientsError(err):
		return OutcomeFull
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		if errors.As(err, &opErr) && opErr.Op == "dial" {
			return OutcomeTimeout
		}
		return late
	}
	return OutcomeBroken
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// serverSays reports whether err is a server's reply that begins with prefix.
func serverSays(err error, prefix string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), prefix)
}

// ask makes the probe on a client. An error means that the node has not told its role.
func (p *Prober) ask(ctx context.Context, c *redis.Client, addr string, cluster bool) (NodeReport, error) {
	pipe := c.Pipeline()
	role := pipe.Do(ctx, "role")
	server := pipe.Info(ctx, "server") // 6.2 takes one section a call
	replication := pipe.Info(ctx, "replication")
	persistence := pipe.Info(ctx, "persistence")
	clock := pipe.Time(ctx)
	var info, nodes *redis.Cmd
	if cluster {
		info, nodes = pipe.Do(ctx, "cluster", "info"), pipe.Do(ctx, "cluster", "nodes")
	}
	sent := time.Now()
	_, err := pipe.Exec(ctx)
	rtt := time.Since(sent)
	if err != nil && !isReply(err) {
		return NodeReport{}, err
	}
	n := NodeReport{Addr: addr, Outcome: OutcomeAnswered, RTT: rtt, LastIO: -time.Second, Priority: defaultPriority}
	n.readServer(server.Val())
	limited := n.readReplication(replication.Val())
	n.readPersistence(persistence.Val())
	n.readRole(role.Val())
	if n.Role == RoleUnknown {
		return NodeReport{}, firstError(role.Err(), replication.Err(), err)
	}
	if at, err := clock.Result(); err == nil {
		n.Skew, n.SkewKnown = at.Sub(sent.Add(rtt/2)), true
	}
	if cluster {
		if err := p.readCluster(ctx, c, &n, info, nodes); err != nil {
			return NodeReport{}, err
		}
	}
	if limited {
		if err := n.askMinReplicas(ctx, c); err != nil {
			return NodeReport{}, err
		}
	}
	return n, nil
}

// readCluster takes the answers to CLUSTER INFO and NODES. A server is asked for its shard-id once: it
// keeps it as long as it runs. Only failures of the connection are errors.
func (p *Prober) readCluster(ctx context.Context, c *redis.Client, n *NodeReport, info, nodes *redis.Cmd) error {
	if text, err := info.Text(); err == nil {
		n.ClusterDown = infoFields(text)["cluster_state"] == "fail"
	}
	text, err := nodes.Text()
	if err != nil {
		return nil //nolint:nilerr // the server is in no Cluster, or our user may not ask
	}
	n.Cluster = parseClusterNodes(text, n.Addr)
	p.mu.Lock()
	id, known := p.shards[n.RunID]
	p.mu.Unlock()
	if !known {
		reply := c.Do(ctx, "cluster", "myshardid") // since 7.2
		if err := reply.Err(); err != nil && !isReply(err) {
			return err
		}
		id, _ = reply.Text()
		p.mu.Lock()
		if len(p.shards) >= clusterLimit {
			clear(p.shards) // of servers that were restarted often; those that run are asked again
		}
		p.shards[n.RunID] = id
		p.mu.Unlock()
	}
	n.Cluster.ShardID = id
	return nil
}

// isReply reports whether the server itself answered with an error, as opposed to a failure of the
// connection: single commands may be denied to our user.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return errors.New("topology: the server tells its role neither by ROLE nor by INFO replication, so it can't be judged; is it a Redis or Valkey server?")
}
