package resilient

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// side turns RESP replies made in this process into go-redis results. A Cmder
// can only be filled by go-redis, which reads the reply from a connection; so
// each one runs through a small go-redis client whose connection is a buffer.
// Every reply shape, in either protocol version, is thereby go-redis's own.
//
// A side is safe for concurrent use: each run has a client to itself.
type side struct {
	proto int

	mu     sync.Mutex // guards idle and closed
	idle   []*sideClient
	closed bool
}

type sideClient struct {
	redis *redis.Client
	reply []byte // what the next command is answered with
	sent  []byte // what go-redis wrote, while recording
	// recording keeps what is written, for encode.
	recording bool
}

func newSide(proto int) *side { return &side{proto: proto} }

// deliver has cmd read reply, one RESP value. The error is what go-redis makes
// of it: redis.Nil for a null, a redis.Error for an error reply.
func (s *side) deliver(ctx context.Context, cmd redis.Cmder, reply []byte) error {
	if done, err := direct(cmd, reply); done {
		return err
	}
	return s.read(ctx, cmd, reply)
}

// read is deliver through go-redis's reader, for any type of command and reply.
func (s *side) read(ctx context.Context, cmd redis.Cmder, reply []byte) (err error) {
	c, err := s.take()
	if err != nil {
		cmd.SetErr(err)
		return err
	}
	defer func() {
		// go-redis panics on some replies that the command does not expect. What is
		// left of this client is not used again.
		if p := recover(); p != nil {
			_ = c.redis.Close() // a buffer: nothing to fail
			err = fail(cmd, errReplyShape)
			return
		}
		s.put(c)
	}()
	c.reply = reply
	// The answer is there already: a context that ends now must not leave half
	// of it on the connection.
	return c.redis.Process(context.WithoutCancel(ctx), cmd)
}

// encode returns the RESP encoding that go-redis gives to args, of whatever
// type they are.
func (s *side) encode(ctx context.Context, args []any) ([]byte, error) {
	c, err := s.take()
	if err != nil {
		return nil, err
	}
	defer s.put(c)
	// One run before the recording makes sure that the handshake is over.
	for _, recording := range []bool{false, true} {
		c.recording = recording
		c.reply = resp.AppendSimple(nil, "OK")
		cmd := redis.NewCmd(ctx, "ping")
		if recording {
			cmd = redis.NewCmd(ctx, args...)
		}
		if err := c.redis.Process(context.WithoutCancel(ctx), cmd); err != nil {
			return nil, err
		}
	}
	return c.sent, nil
}

func (s *side) take() (*sideClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return c, nil
	}
	return newSideClient(s.proto), nil
}

func (s *side) put(c *sideClient) {
	c.reply, c.sent, c.recording = nil, nil, false
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.idle = append(s.idle, c)
	}
	s.mu.Unlock()
	if closed {
		_ = c.redis.Close() // a buffer: nothing to fail
	}
}

func (s *side) close() {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range idle {
		_ = c.redis.Close() // a buffer: nothing to fail
	}
}

func newSideClient(proto int) *sideClient {
	c := &sideClient{}
	c.redis = redis.NewClient(&redis.Options{
		Addr:     "holdfast-overlay:0",
		Protocol: proto,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return &sideConn{owner: c, unread: helloReply(proto)}, nil
		},
		PoolSize:                 1,
		MaxRetries:               -1,
		ReadTimeout:              -2, // no deadlines on a buffer
		WriteTimeout:             -2,
		ConnMaxIdleTime:          -1,
		ReadBufferSize:           4 << 10,
		WriteBufferSize:          4 << 10,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return c
}

// helloReply answers HELLO, with DisableIdentity the whole handshake.
func helloReply(proto int) []byte {
	b := resp.AppendMap(nil, 2, proto)
	b = resp.AppendBulkString(b, "server")
	b = resp.AppendBulkString(b, "redis")
	b = resp.AppendBulkString(b, "proto")
	return resp.AppendInt(b, int64(proto))
}

// sideConn is the connection of a sideClient. go-redis writes a command and
// reads its reply on one goroutine, so nothing here waits or locks.
type sideConn struct {
	owner  *sideClient
	unread []byte
}

func (c *sideConn) Write(b []byte) (int, error) {
	if c.owner.recording {
		c.owner.sent = append(c.owner.sent, b...)
	}
	return len(b), nil
}

func (c *sideConn) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		c.unread, c.owner.reply = c.owner.reply, nil
		if len(c.unread) == 0 {
			return 0, io.ErrUnexpectedEOF // one reply to a command, no more
		}
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *sideConn) Close() error                     { return nil }
func (c *sideConn) LocalAddr() net.Addr              { return sideAddr{} }
func (c *sideConn) RemoteAddr() net.Addr             { return sideAddr{} }
func (c *sideConn) SetDeadline(time.Time) error      { return nil }
func (c *sideConn) SetReadDeadline(time.Time) error  { return nil }
func (c *sideConn) SetWriteDeadline(time.Time) error { return nil }

type sideAddr struct{}

func (sideAddr) Network() string { return "in-process" }
func (sideAddr) String() string  { return "holdfast-overlay" }
