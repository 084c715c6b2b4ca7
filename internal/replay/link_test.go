package replay

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// fate is what becomes of a request that passes the link.
type fate int

const (
	forward   fate = iota
	hold           // kept back, also when the client hangs up, until release
	cutBefore      // never sent; both ends closed
	cutAfter       // sent and executed; the reply dropped, both ends closed
)

// link carries a Replayer's connections and decides over each request.
type link struct {
	// decide is asked before a request is passed on; nth counts connections from
	// 1. It may block.
	decide func(nth int, request []byte) fate
	// parts has it asked about a batch that is queued, and then about the rest of it,
	// rather than about both together when the rest comes.
	parts bool

	mu     sync.Mutex // guards what follows
	dialed int
	held   []*heldBatch
}

// heldBatch is a request that the network has kept back.
type heldBatch struct {
	server  net.Conn
	request []byte
}

// dial is an Options.Dial.
func (l *link) dial(ctx context.Context, addr string) (net.Conn, error) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.dialed++
	nth := l.dialed
	l.mu.Unlock()
	return &linkConn{Conn: server, link: l, nth: nth}, nil
}

// linkConn applies the fates at the client's end, where a write is one batch, or, where
// batches are queued, one of its two parts.
type linkConn struct {
	net.Conn
	link *link
	nth  int
	head []byte // of a batch whose rest is to come; of the writer

	mu   sync.Mutex // guards gone
	gone bool       // what is held back now belongs to the network
}

func (c *linkConn) Write(b []byte) (int, error) {
	whole := c.join(b)
	if whole == nil {
		return len(b), nil
	}
	if _, err := c.pass(whole); err != nil {
		return 0, err
	}
	return len(b), nil
}

// join keeps the head of a batch until its rest comes, and returns what is to be passed
// on now; nil: nothing.
func (c *linkConn) join(b []byte) []byte {
	if c.link.parts {
		return b
	}
	if bytes.HasPrefix(b, multi) && !bytes.Contains(b, []byte("\nEXEC\r\n")) {
		c.head = bytes.Clone(b)
		return nil
	}
	whole := append(c.head, b...)
	c.head = nil
	return whole
}

func (c *linkConn) pass(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("\nSET\r\n")) && !bytes.Contains(b, []byte("\nINCR\r\n")) {
		return c.Conn.Write(b) // a handshake
	}
	switch c.link.decide(c.nth, b) {
	case hold:
		c.mu.Lock()
		c.gone = true
		c.mu.Unlock()
		c.link.mu.Lock()
		c.link.held = append(c.link.held, &heldBatch{server: c.Conn, request: bytes.Clone(b)})
		c.link.mu.Unlock()
		return len(b), nil
	case cutBefore:
		_ = c.Conn.Close()
		return 0, net.ErrClosed
	case cutAfter:
		n, err := c.Conn.Write(b)
		if err == nil {
			// The first byte of the reply shows that the server has read all of
			// the batch; it executes it in one go.
			_, err = c.Conn.Read(make([]byte, 1))
		}
		_ = c.Conn.Close()
		return n, err
	case forward:
	}
	return c.Conn.Write(b)
}

// Close leaves the connection open for what is held back.
func (c *linkConn) Close() error {
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone {
		return nil
	}
	return c.Conn.Close()
}

// release delivers what was held back, and returns when the server has answered
// it in full: the last answer is that of GET.
func (l *link) release(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	if len(held) == 0 {
		t.Error("nothing was held back")
	}
	for _, h := range held {
		// The client's deadline does not bind the network.
		if err := h.server.SetDeadline(noDeadline); err != nil {
			t.Errorf("late batch: %v", err)
		}
		if _, err := h.server.Write(h.request); err != nil {
			t.Errorf("late batch: %v", err)
		}
		n := -1 // the fence
		for _, name := range []string{"INCR", "APPEND", "SET"} {
			n += bytes.Count(h.request, []byte("\n"+name+"\r\n"))
		}
		var o outcome
		if err := newReplies(h.server).outcome(n, &o); err != nil {
			t.Errorf("late batch: %v", err)
		} else if o.exec != execNil {
			t.Errorf("late batch: EXEC was answered %d, want nil", o.exec)
		}
		_ = h.server.Close()
	}
}
