package redistest

import (
	"net"
	"sync"
)

// proxyConn is one client's connection through a Proxy. Two goroutines work on
// it, one a direction; both end when done closes, or with the connections.
type proxyConn struct {
	proxy          *Proxy
	client, server *net.TCPConn

	closing sync.Once
	done    chan struct{}

	mu       sync.Mutex
	sent     int  // guarded by mu: requests passed on
	answered int  // guarded by mu: replies to them that have come
	settled  int  // guarded by mu: those of them that were passed on or withheld
	cutting  bool // guarded by mu: the connection closes when all sent is settled
	cutFrom  int  // guarded by mu: number of the first reply to withhold
	cutHalf  bool // guarded by mu: the first half of that reply passes
}

const chunkSize = 64 << 10

func (c *proxyConn) run() {
	var replies sync.WaitGroup
	replies.Go(c.pumpReplies)
	c.pumpRequests()
	replies.Wait()
	c.close()
}

// close ends both connections and both goroutines.
func (c *proxyConn) close() {
	c.closing.Do(func() {
		close(c.done)
		c.client.Close()
		c.server.Close()
	})
}

// pumpRequests passes requests on until the client closes or a cut begins.
// Requests are passed on whole; those that arrive together go on together.
func (c *proxyConn) pumpRequests() {
	// The server answers what it has got and closes; that ends the other pump.
	defer c.finishRequests()
	var (
		frames  framer
		chunk   = make([]byte, chunkSize)
		pending []byte // of the request at work
	)
	for {
		n, err := c.client.Read(chunk)
		start := len(pending)
		pending = append(pending, chunk[:n]...)
		whole, cut := c.scan(&frames, pending, start)
		if frames.broken { // not RESP: pass everything on
			whole = len(pending)
		}
		if !c.deliver(pending[:whole]) || cut || err != nil {
			return
		}
		pending = append(pending[:0], pending[whole:]...)
	}
}

// scan applies the rules to the requests that end in pending[start:]. It returns
// the length of what is to be sent and whether a cut begins with that. Requests
// are counted as sent, and cuts noted, before anything of them goes out, so the
// other pump knows of a cut before the reply that it is for can come.
func (c *proxyConn) scan(frames *framer, pending []byte, start int) (whole int, cut bool) {
	for pos := start; pos < len(pending); {
		n, ended := frames.next(pending[pos:])
		pos += n
		if !ended {
			break
		}
		a := c.proxy.decide(pending[whole:pos], !cut)
		c.note(a)
		if a == actionCutBeforeSend {
			return whole, true
		}
		cut = cut || a != actionNone
		whole = pos
	}
	return whole, cut
}

// note counts the next request as sent, if it will be, and begins its cut.
func (c *proxyConn) note(a action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a != actionNone {
		c.cutting = true
		c.cutFrom = c.sent
		c.cutHalf = a == actionCutMidReply
	}
	if a != actionCutBeforeSend {
		c.sent++
	}
}

// deliver sends requests to the server and reports whether that was possible.
func (c *proxyConn) deliver(requests []byte) bool {
	if len(requests) == 0 {
		return true
	}
	if !c.proxy.requests.pass(c.done) {
		return false
	}
	_, err := c.server.Write(requests)
	return err == nil
}

// finishRequests is called when nothing more will be sent.
func (c *proxyConn) finishRequests() {
	c.mu.Lock()
	cut, complete := c.cutting, c.settled >= c.sent
	c.mu.Unlock()
	switch {
	case cut && complete:
		c.close()
	case cut: // the other pump closes when it is complete
	default:
		_ = c.server.CloseWrite() // it may be closed already
	}
}

// pumpReplies passes replies on until the server closes or a cut is complete.
func (c *proxyConn) pumpReplies() {
	defer c.close()
	var (
		frames framer
		chunk  = make([]byte, chunkSize)
		half   []byte // what has come of a reply that is cut in its middle
		gone   bool   // the client reads no more, but the server shall finish
	)
	for {
		n, err := c.server.Read(chunk)
		var out []byte
		out, half = c.withhold(&frames, chunk[:n], half)
		if len(out) > 0 && !gone {
			if !c.proxy.replies.pass(c.done) {
				return
			}
			_, werr := c.client.Write(out)
			gone = werr != nil
		}
		if c.settle() || err != nil {
			return
		}
	}
}

// withhold returns what of b passes, and what has come so far of a reply that is
// cut in its middle.
func (c *proxyConn) withhold(frames *framer, b, half []byte) (out, _ []byte) {
	for len(b) > 0 {
		n, ended := frames.next(b)
		part := b[:n]
		b = b[n:]
		c.mu.Lock()
		cut := c.cutting && c.answered >= c.cutFrom
		halve := c.cutHalf && c.answered == c.cutFrom
		if ended && frames.kind != '>' { // a push answers no request
			c.answered++
		}
		c.mu.Unlock()
		switch {
		case !cut:
			out = append(out, part...)
		case halve:
			half = append(half, part...)
			if ended {
				out = append(out, half[:len(half)/2]...)
			}
		}
	}
	return out, half
}

// settle notes that the replies that have come are dealt with, and reports
// whether a cut is complete by that.
func (c *proxyConn) settle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = c.answered
	return c.cutting && c.settled >= c.sent
}
