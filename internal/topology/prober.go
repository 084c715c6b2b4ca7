package topology

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
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

	mu     sync.Mutex       // guards the fields below; never held across I/O
	links  map[string]*link // by address
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
	return &Prober{links: map[string]*link{}, base: redis.Options{
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
func (p *Prober) Probe(ctx context.Context, addr string) NodeReport {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	for {
		n, again := p.attempt(ctx, addr)
		if !again || ctx.Err() != nil {
			return n
		}
	}
}

// attempt makes one probe; again tells that only an old connection was found dead.
func (p *Prober) attempt(ctx context.Context, addr string) (n NodeReport, again bool) {
	l, reused, err := p.link(ctx, addr)
	if err != nil {
		return NodeReport{Addr: addr, Outcome: classify(err, OutcomeTimeout), Err: err}, false
	}
	n, err = ask(ctx, l.client, addr)
	if err == nil {
		p.mu.Lock()
		l.reused = true
		p.mu.Unlock()
		return n, false
	}
	outcome := classify(err, OutcomeHung)
	p.drop(addr, l)
	return NodeReport{Addr: addr, Outcome: outcome, Err: err}, reused && outcome == OutcomeBroken
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
	opts := p.base
	opts.Addr, opts.Network, opts.Dialer = addr, p.network(addr), d.next
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
	dial dialFunc

	mu    sync.Mutex // guards ready
	ready net.Conn
}

func (d *firstDialer) connect(ctx context.Context, addr string) error {
	conn, err := d.dial(ctx, "", addr)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.ready = conn
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
	return d.dial(ctx, network, addr)
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
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		if errors.As(err, &opErr) && opErr.Op == "dial" {
			return OutcomeTimeout
		}
		return late
	}
	return OutcomeBroken
}

// serverSays reports whether err is a server's reply that begins with prefix.
func serverSays(err error, prefix string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), prefix)
}

// ask makes the probe on a client. An error means that the node has not told its role.
func ask(ctx context.Context, c *redis.Client, addr string) (NodeReport, error) {
	pipe := c.Pipeline()
	role := pipe.Do(ctx, "role")
	server := pipe.Info(ctx, "server") // 6.2 takes one section a call
	replication := pipe.Info(ctx, "replication")
	persistence := pipe.Info(ctx, "persistence")
	clock := pipe.Time(ctx)
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
	if limited {
		if err := n.askMinReplicas(ctx, c); err != nil {
			return NodeReport{}, err
		}
	}
	return n, nil
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
