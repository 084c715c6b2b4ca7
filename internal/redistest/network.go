package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// Network is the way of one process to its servers, with a Proxy in front of
// each. A client whose Dialer is Dial goes by it whatever address it has learned
// and from whom; all others reach the servers directly. So a server can be cut
// off from one process while the rest of the world goes on using it. It is safe
// for concurrent use.
type Network struct {
	tls     *Authority
	proxies map[string]*Proxy // by the server's address; constant

	mu   sync.Mutex
	lost map[string]chan struct{} // guarded by mu: servers whose packets vanish; closed when they don't any more
}

// NewNetwork makes a way to the servers at the addresses. An authority means that
// clients speak TLS to them: a Dialer has to do that itself.
func NewNetwork(addrs []string, authority *Authority) (*Network, error) {
	w := &Network{tls: authority, proxies: make(map[string]*Proxy), lost: make(map[string]chan struct{})}
	for _, addr := range addrs {
		p, err := NewProxy(addr)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.proxies[addr] = p
	}
	return w, nil
}

// Dial is a Dialer for clients. Servers that the network doesn't know are dialed
// directly.
func (w *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	lost := w.lost[addr]
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if lost != nil {
		select {
		case <-lost:
		case <-ctx.Done(): // as a dial whose packets vanish
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
	}
	to := addr
	if p := w.proxies[addr]; p != nil {
		to = p.Addr()
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, to)
	if err != nil || w.tls == nil {
		return conn, err
	}
	secured := tls.Client(conn, w.tls.ClientConfig())
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// Proxy is what stands in front of the server at addr, or nil.
func (w *Network) Proxy(addr string) *Proxy { return w.proxies[addr] }

// Lose makes all packets to and from the server vanish if lose is true: dials
// time out, what was sent waits, and arrives after all when lose is false again.
func (w *Network) Lose(addr string, lose bool) error {
	p := w.proxies[addr]
	if p == nil {
		return fmt.Errorf("redistest: the network has no server at %s", addr)
	}
	w.mu.Lock()
	switch end := w.lost[addr]; {
	case lose && end == nil:
		w.lost[addr] = make(chan struct{})
	case !lose && end != nil:
		close(end)
		delete(w.lost, addr)
	}
	w.mu.Unlock()
	p.HoldRequests(lose)
	p.Hold(lose)
	return nil
}

// Refuse makes the server's address refuse dials, and breaks connections to it,
// if refuse is true: a firewall that says so.
func (w *Network) Refuse(addr string, refuse bool) error {
	p := w.proxies[addr]
	if p == nil {
		return fmt.Errorf("redistest: the network has no server at %s", addr)
	}
	if err := p.Refuse(refuse); err != nil {
		return err
	}
	if refuse {
		p.Drop()
	}
	return nil
}

// Close ends all proxies.
func (w *Network) Close() error {
	var errs []error
	for _, p := range w.proxies {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
