package redistest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// SimpleProxy stands before one server and executes no transactions, as some proxies
// do: MULTI, EXEC, DISCARD, WATCH and UNWATCH are answered with an error. It passes
// commands on one by one, so that what has been executed when a connection ends is
// known to the command. It is safe for concurrent use.
type SimpleProxy struct {
	ln     net.Listener
	target string
	ctx    context.Context // ends with the proxy
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	decide func(args [][]byte) Pass
	conns  map[net.Conn]struct{}
}

// Pass is what becomes of a command at a SimpleProxy.
type Pass uint8

// The choices.
const (
	// PassOn lets the command and its reply through.
	PassOn Pass = iota
	// PassNot closes the connection before the server sees the command.
	PassNot
	// PassNoReply closes it when the server has executed the command.
	PassNoReply
)

// NewSimpleProxy starts a proxy before target, a host:port, on a free loopback port.
func NewSimpleProxy(target string) (*SimpleProxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &SimpleProxy{ln: ln, target: target, conns: make(map[net.Conn]struct{})}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

// Addr is the host:port that the proxy listens on.
func (p *SimpleProxy) Addr() string { return p.ln.Addr().String() }

// Decide sets who is asked about each command before it is passed on, one call at a
// time; nil: all pass. The arguments are the function's only until it returns.
func (p *SimpleProxy) Decide(decide func(args [][]byte) Pass) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

func (p *SimpleProxy) fate(args [][]byte) Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decide == nil {
		return PassOn
	}
	return p.decide(args)
}

// Close ends the proxy and all connections, and waits for them.
func (p *SimpleProxy) Close() error {
	p.stop()
	err := p.ln.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close() // whoever uses it notices
	}
	p.mu.Unlock()
	p.work.Wait()
	return err
}

// hold keeps a connection for Close; false when that has begun.
func (p *SimpleProxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return p.ctx.Err() == nil
}

func (p *SimpleProxy) release(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // it may be closed already
}

// serve passes a connection's commands on until either end closes it.
func (p *SimpleProxy) serve(client net.Conn) {
	defer p.release(client)
	if !p.hold(client) {
		return
	}
	server, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return
	}
	defer p.release(server)
	if !p.hold(server) {
		return
	}
	var reply bytes.Buffer
	commands, replies := resp.NewReader(client), resp.NewReader(io.TeeReader(server, &reply))
	for {
		reply.Reset()
		if err := p.pass(client, server, commands, replies, &reply); err != nil {
			return
		}
	}
}

// errCut ends a connection on purpose.
var errCut = errors.New("redistest: cut")

// pass passes one command and its reply.
func (p *SimpleProxy) pass(client, server net.Conn, commands, replies *resp.Reader, reply *bytes.Buffer) error {
	v, err := commands.ReadValue()
	if err != nil {
		return err
	}
	if len(v.Elems) == 0 {
		return errCut
	}
	args := make([][]byte, 0, len(v.Elems))
	for _, e := range v.Elems {
		args = append(args, e.Str)
	}
	switch strings.ToUpper(string(args[0])) {
	case "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH":
		_, err := io.WriteString(client, "-ERR unsupported command\r\n")
		return err
	}
	fate := p.fate(args)
	if fate == PassNot {
		return errCut
	}
	if _, err := server.Write(resp.AppendCommand(nil, args...)); err != nil {
		return err
	}
	if _, err := replies.ReadValue(); err != nil {
		return err
	}
	if fate == PassNoReply {
		return errCut
	}
	_, err = client.Write(reply.Bytes())
	return err
}
