package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Proxy is a TCP proxy in front of one server that makes the faults of networks
// on demand. It understands the protocol well enough to tell requests and their
// replies apart, so a cut hits the same place whatever the packets are. It
// takes one reply a request for granted: rules don't fit connections that
// subscribe or monitor. It passes TLS on as it is, and no rule applies to that.
//
// Without rules it passes everything on. It is safe for concurrent use.
type Proxy struct {
	port int

	ctx  context.Context // ends dials when the proxy closes
	stop context.CancelFunc
	work sync.WaitGroup // connections at work

	replies  gate
	requests gate

	listening chan struct{} // one slot, held by whoever opens or closes the listener

	mu     sync.Mutex
	target string                  // guarded by mu
	ln     *listener               // guarded by mu; nil while dials are refused
	rules  []*Rule                 // guarded by mu, replaced rather than changed
	conns  map[*proxyConn]struct{} // guarded by mu
	closed bool                    // guarded by mu
}

// listener is a listening socket and the goroutine that accepts from it.
type listener struct {
	net.Listener
	done chan struct{} // closed when the goroutine has ended
}

// NewProxy starts a proxy in front of target, a host:port. It listens on a free
// loopback port, which stays its own until Close.
func NewProxy(target string) (*Proxy, error) {
	ln, port, err := listen()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		port:      port,
		ctx:       ctx,
		stop:      stop,
		listening: make(chan struct{}, 1),
		target:    target,
		conns:     make(map[*proxyConn]struct{}),
	}
	p.serve(ln)
	return p, nil
}

// Addr is the host:port that the proxy listens on.
func (p *Proxy) Addr() string { return address(p.port) }

// SetTarget sends further connections to another server. Those that exist stay
// where they are; Drop ends them.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// CutBeforeSend closes the connection of each request that match matches. The
// request and what follows it on the connection don't reach the server; what
// came before it is answered first.
func (p *Proxy) CutBeforeSend(match Match) *Rule { return p.arm(match, actionCutBeforeSend) }

// CutAfterSend sends the request on, drops its reply and closes the connection.
// What the client had sent along behind it, as the rest of a pipeline, reaches
// the server too and loses its replies as well. When the client sees the cut the
// server has done all of that.
func (p *Proxy) CutAfterSend(match Match) *Rule { return p.arm(match, actionCutAfterSend) }

// CutMidReply is CutAfterSend, except that the first half of the reply passes.
func (p *Proxy) CutMidReply(match Match) *Rule { return p.arm(match, actionCutMidReply) }

// Count changes nothing: the rule's hits are the requests sent to the server.
func (p *Proxy) Count(match Match) *Rule { return p.arm(match, actionCount) }

// arm adds a rule. The oldest cut that matches a request is applied, and every
// count.
func (p *Proxy) arm(match Match, a action) *Rule {
	r := &Rule{match: match, action: a}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(slices.Clip(p.rules), r)
	return r
}

// decide applies the rules to a request. mayCut is false when the request's
// connection is being cut already.
func (p *Proxy) decide(request []byte, mayCut bool) action {
	p.mu.Lock()
	rules := p.rules
	p.mu.Unlock()
	cut := actionNone
	for _, r := range rules {
		if r.action != actionCount && mayCut && cut == actionNone && r.applies(request) {
			cut = r.action
		}
	}
	if cut == actionCutBeforeSend {
		return cut
	}
	for _, r := range rules {
		if r.action == actionCount {
			r.applies(request)
		}
	}
	return cut
}

// Refuse closes the listening socket if refuse is true, so that dials are
// refused; existing connections stay. Otherwise it listens again, on the same
// port.
func (p *Proxy) Refuse(refuse bool) error {
	p.listening <- struct{}{}
	defer func() { <-p.listening }()
	p.mu.Lock()
	ln, closed := p.ln, p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return errors.New("redistest: the proxy is closed")
	case refuse && ln != nil:
		p.unlisten(ln)
	case !refuse && ln == nil:
		ctx, cancel := context.WithTimeout(p.ctx, startTimeout)
		defer cancel()
		return poll(ctx, "the proxy's port "+p.Addr(), func() error {
			again, err := net.Listen("tcp", p.Addr())
			if err == nil {
				p.serve(again)
			}
			return err
		})
	}
	return nil
}

// Hold keeps replies from clients, on all connections and new ones, while hold is
// true: the server hangs, for all that they can tell, but does what it is asked.
// Replies that are being passed on may still arrive. Hold(false) lets the kept
// ones go.
func (p *Proxy) Hold(hold bool) { p.replies.set(hold) }

// HoldRequests keeps requests from the server instead. HoldRequests(false)
// delivers the kept ones, even those whose client has given up and closed its
// connection: the late packets of a slow network.
func (p *Proxy) HoldRequests(hold bool) { p.requests.set(hold) }

// Drop closes all connections as they are. Requests that are kept are lost.
func (p *Proxy) Drop() {
	p.mu.Lock()
	conns := make([]*proxyConn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}

// Close drops all connections, stops listening and returns when the proxy's
// goroutines have ended. Further calls do nothing. It has nothing to fail; the
// error is there for io.Closer.
func (p *Proxy) Close() error {
	p.stop()
	p.listening <- struct{}{}
	defer func() { <-p.listening }()
	p.mu.Lock()
	ln, closed := p.ln, p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	if ln != nil {
		p.unlisten(ln)
	}
	p.Drop()
	p.work.Wait()
	releasePort(p.port)
	return nil
}

// serve accepts connections from a socket until it closes. The caller is
// NewProxy or holds the listening slot.
func (p *Proxy) serve(socket net.Listener) {
	ln := &listener{Listener: socket, done: make(chan struct{})}
	p.mu.Lock()
	p.ln = ln
	p.mu.Unlock()
	go func() {
		defer close(ln.done)
		for {
			client, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of descriptors, say: later there may be some again
				select {
				case <-time.After(pollInterval):
				case <-p.ctx.Done():
				}
				continue
			}
			p.work.Go(func() { p.connect(client) })
		}
	}()
}

func (p *Proxy) unlisten(ln *listener) {
	ln.Close()
	<-ln.done
	p.mu.Lock()
	p.ln = nil
	p.mu.Unlock()
}

// connect serves one connection of a client to its end. A server that can't be
// reached closes it.
func (p *Proxy) connect(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(p.ctx, "tcp", target)
	if err != nil {
		client.Close()
		return
	}
	c := &proxyConn{
		proxy:  p,
		client: client.(*net.TCPConn),
		server: server.(*net.TCPConn),
		done:   make(chan struct{}),
	}
	p.mu.Lock()
	closed := p.closed
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	if closed { // Drop may have missed it
		c.close()
	}
	c.run()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

const dialTimeout = 2 * time.Second

// gate holds up whoever passes it while it is shut. The zero value is open. It
// is safe for concurrent use.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // guarded by mu; nil while open, closed on opening
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

// pass returns true once the gate is open, or false if done closes before.
func (g *gate) pass(done <-chan struct{}) bool {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return true
		}
		select {
		case <-shut:
		case <-done:
			return false
		}
	}
}

// String is for messages, such as "proxy 127.0.0.1:12345 to 127.0.0.1:12346".
func (p *Proxy) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("proxy %s to %s", p.Addr(), p.target)
}
