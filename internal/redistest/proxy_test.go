package redistest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/redis/go-redis/v9"
)

// proxied is a server, a proxy in front of it, and a client through that.
type proxied struct {
	*Proxy
	node   *Node
	client *redis.Client
}

func startProxied(t *testing.T) proxied {
	t.Helper()
	n := StartT(t, Options{}).Node(0)
	p, err := NewProxy(n.Addr())
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return proxied{Proxy: p, node: n, client: dialing(t, p.Addr())}
}

// dialing returns a client that tries everything once.
func dialing(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// value is what the server has, asked without the proxy.
func (p proxied) value(t *testing.T, key string) string {
	t.Helper()
	got, err := p.node.Client().Get(testContext(t), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return got
}

func TestProxyPassesEverythingOn(t *testing.T) {
	ctx := testContext(t)
	p := startProxied(t)
	named := p.Count(Contains("LARGE"))
	large := strings.Repeat("x\r\n$5", 1<<18)
	must(t, p.client.Set(ctx, "large", large, 0).Err())
	if got, err := p.client.Get(ctx, "large").Result(); err != nil || got != large {
		t.Errorf("%d bytes came back (%v), want %d", len(got), err, len(large))
	}
	pipe := p.client.Pipeline()
	for range 1000 {
		pipe.Incr(ctx, "n")
	}
	_, err := pipe.Exec(ctx)
	must(t, err)
	if got := p.value(t, "n"); got != "1000" {
		t.Errorf("n = %s after 1000 INCRs in a pipeline", got)
	}
	named.Disarm()
	must(t, p.client.Del(ctx, "large").Err())
	if named.Hits() != 2 {
		t.Errorf("%d requests counted, want the SET and the GET", named.Hits())
	}
}

func TestProxyCuts(t *testing.T) {
	for _, c := range []struct {
		about string
		arm   func(*Proxy, Match) *Rule
		want  string // of n on the server
	}{
		{"before send", (*Proxy).CutBeforeSend, ""},
		{"after send", (*Proxy).CutAfterSend, "1"},
		{"mid-reply", (*Proxy).CutMidReply, "1"},
	} {
		t.Run(c.about, func(t *testing.T) {
			ctx := testContext(t)
			p := startProxied(t)
			must(t, p.client.Ping(ctx).Err())
			rule := c.arm(p.Proxy, Once(Contains("INCR")))
			if err := p.client.Incr(ctx, "n").Err(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("INCR: %v, want that the connection was cut", err)
			}
			if got := p.value(t, "n"); got != c.want {
				t.Errorf("n = %q after the cut, want %q", got, c.want)
			}
			if rule.Hits() != 1 {
				t.Errorf("the rule was applied %d times", rule.Hits())
			}
			must(t, p.client.Incr(ctx, "n").Err()) // once is once
			if rule.Hits() != 1 {
				t.Errorf("the rule was applied %d times", rule.Hits())
			}
		})
	}
}

// exchange sends requests in one piece and returns all that comes back until
// the connection closes.
func exchange(t *testing.T, addr string, requests ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(waitLimit)))
	var b []byte
	for _, r := range requests {
		b = resp.AppendCommandStrings(b, strings.Fields(r)...)
	}
	_, err = conn.Write(b)
	must(t, err)
	got, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("reading to the end of the connection: %v", err)
	}
	return string(got)
}

func TestProxyCutsInAPipeline(t *testing.T) {
	pipeline := []string{"SET a 1", "INCR n", "SET b 1"}
	for _, c := range []struct {
		about   string
		arm     func(*Proxy, Match) *Rule
		replies string
		n, b    string // on the server
	}{
		{"before send", (*Proxy).CutBeforeSend, "+OK\r\n", "", ""},
		{"after send", (*Proxy).CutAfterSend, "+OK\r\n", "1", "1"},
		{"mid-reply", (*Proxy).CutMidReply, "+OK\r\n:1", "1", "1"},
	} {
		t.Run(c.about, func(t *testing.T) {
			p := startProxied(t)
			c.arm(p.Proxy, Contains("incr"))
			sets := p.Count(Contains("set"))
			if got := exchange(t, p.Addr(), pipeline...); got != c.replies {
				t.Errorf("replies %q, want %q", got, c.replies)
			}
			if a, n, b := p.value(t, "a"), p.value(t, "n"), p.value(t, "b"); a != "1" || n != c.n || b != c.b {
				t.Errorf("a = %q, n = %q, b = %q, want 1, %q, %q", a, n, b, c.n, c.b)
			}
			if want := 1 + len(c.b); sets.Hits() != want {
				t.Errorf("%d SETs counted, want %d", sets.Hits(), want)
			}
		})
	}
}

func TestProxyCutsAtTheRightReplyWhateverThePieces(t *testing.T) {
	p := startProxied(t)
	p.CutAfterSend(Contains("incr"))
	conn, err := net.Dial("tcp", p.Addr())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(waitLimit)))
	request := resp.AppendCommandStrings(nil, "SET", "incomplete", "v")
	request = resp.AppendCommandStrings(request, "INCR", "n")
	for i := range request {
		_, err := conn.Write(request[i : i+1])
		must(t, err)
	}
	if got, _ := io.ReadAll(conn); string(got) != "+OK\r\n" {
		t.Errorf("replies %q, want one OK", got)
	}
	if got := p.value(t, "n"); got != "1" {
		t.Errorf("n = %q, want 1", got)
	}
}

func TestProxyCutWaitsForEarlierReplies(t *testing.T) {
	t.Run("large", func(t *testing.T) {
		p := startProxied(t)
		large := strings.Repeat("x", 16*chunkSize)
		_, err := p.node.Do(testContext(t), "SET", "large", large)
		must(t, err)
		p.CutAfterSend(Contains("incr"))
		want := string(resp.AppendBulkString(nil, large))
		if got := exchange(t, p.Addr(), "GET large", "INCR n"); got != want {
			t.Errorf("%d bytes of replies, want the %d of the GET", len(got), len(want))
		}
	})
	t.Run("held", func(t *testing.T) {
		p := startProxied(t)
		cut := p.CutBeforeSend(Contains("incr"))
		p.Hold(true)
		conn, err := net.Dial("tcp", p.Addr())
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(waitLimit)))
		_, err = conn.Write(resp.AppendCommandStrings(nil, "SET", "a", "1"))
		must(t, err)
		Eventually(t, waitLimit, "the SET", func() bool { return p.value(t, "a") == "1" })
		_, err = conn.Write(resp.AppendCommandStrings(nil, "INCR", "n"))
		must(t, err)
		Eventually(t, waitLimit, "the cut", func() bool { return cut.Hits() == 1 })
		p.Hold(false)
		if got, err := io.ReadAll(conn); err != nil || string(got) != "+OK\r\n" {
			t.Errorf("replies %q (%v), want that of the SET", got, err)
		}
	})
}

func TestProxyTellsPushesFromReplies(t *testing.T) {
	p := startProxied(t)
	p.CutAfterSend(Contains("incr"))
	conn, err := net.Dial("tcp", p.Addr())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(waitLimit)))
	send := func(commands ...string) {
		var b []byte
		for _, c := range commands {
			b = resp.AppendCommandStrings(b, strings.Fields(c)...)
		}
		_, err := conn.Write(b)
		must(t, err)
	}
	replies := resp.NewReader(conn)
	send("HELLO 3", "CLIENT TRACKING ON BCAST NOLOOP")
	for range 2 {
		reply, err := replies.ReadValue()
		must(t, err)
		if reply.IsError() {
			t.Fatal(reply.Text())
		}
	}
	_, err = p.node.Do(testContext(t), "SET", "k", "v")
	must(t, err)
	if _, err := replies.ReadValue(); err != nil { // the push
		t.Fatal(err)
	}
	send("PING", "INCR n")
	if reply, err := replies.ReadValue(); err != nil || reply.Text() != "PONG" {
		t.Errorf("the PING before the cut was answered %q (%v)", reply.Text(), err)
	}
	if reply, err := replies.ReadValue(); err == nil {
		t.Errorf("the cut INCR was answered %+v", reply)
	}
}

func TestProxyOldestCutWins(t *testing.T) {
	p := startProxied(t)
	first := p.CutBeforeSend(Contains("incr"))
	second := p.CutAfterSend(Contains("incr"))
	exchange(t, p.Addr(), "INCR n")
	if first.Hits() != 1 || second.Hits() != 0 || p.value(t, "n") != "" {
		t.Errorf("hits %d and %d, n = %q, want 1, 0 and none", first.Hits(), second.Hits(), p.value(t, "n"))
	}
	first.Disarm()
	exchange(t, p.Addr(), "INCR n")
	if first.Hits() != 1 || second.Hits() != 1 || p.value(t, "n") != "1" {
		t.Errorf("hits %d and %d, n = %q, want 1, 1 and 1", first.Hits(), second.Hits(), p.value(t, "n"))
	}
}

func TestProxyRefuse(t *testing.T) {
	ctx := testContext(t)
	p := startProxied(t)
	must(t, p.client.Ping(ctx).Err()) // leaves a connection
	must(t, p.Refuse(true))
	must(t, p.Refuse(true))
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, want it refused", err)
	}
	if err := p.client.Ping(ctx).Err(); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	p.Drop()
	if err := p.client.Ping(ctx).Err(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Drop: %v, want the dial refused", err)
	}
	must(t, p.Refuse(false))
	must(t, p.Refuse(false))
	if err := p.client.Ping(ctx).Err(); err != nil {
		t.Errorf("after Refuse(false): %v", err)
	}
}

func TestProxyHold(t *testing.T) {
	ctx := testContext(t)
	p := startProxied(t)
	must(t, p.client.Ping(ctx).Err())
	p.Hold(true)
	done := make(chan error, 1)
	go func() { done <- p.client.Incr(ctx, "n").Err() }()
	Eventually(t, waitLimit, "the server to do it", func() bool { return p.value(t, "n") == "1" })
	short, cancel := context.WithTimeout(ctx, 20*pollInterval)
	defer cancel()
	if err := p.client.Ping(short).Err(); err == nil {
		t.Error("a reply came while they are held")
	}
	select {
	case err := <-done:
		t.Fatalf("INCR returned while replies are held: %v", err)
	default:
	}
	p.Hold(false)
	must(t, <-done)
}

func TestProxyDeliversRequestsLate(t *testing.T) {
	p := startProxied(t)
	p.HoldRequests(true)
	sent := p.Count(Contains("incr"))
	conn, err := net.Dial("tcp", p.Addr())
	must(t, err)
	_, err = conn.Write(resp.AppendCommandStrings(nil, "INCR", "n"))
	must(t, err)
	Eventually(t, waitLimit, "the request to reach the proxy", func() bool { return sent.Hits() == 1 })
	must(t, conn.Close())
	if got := p.value(t, "n"); got != "" {
		t.Errorf("n = %q while requests are held", got)
	}
	p.HoldRequests(false)
	Eventually(t, waitLimit, "the late request", func() bool { return p.value(t, "n") == "1" })
}

func TestProxyTarget(t *testing.T) {
	ctx := testContext(t)
	p := startProxied(t)
	other := StartT(t, Options{}).Node(0)
	p.SetTarget(other.Addr())
	must(t, p.client.Set(ctx, "k", "v", 0).Err())
	if got, err := other.Do(ctx, "GET", "k"); got != "v" {
		t.Errorf("the new target has %v (%v)", got, err)
	}
	must(t, other.Kill())
	if err := p.client.Ping(ctx).Err(); err == nil {
		t.Error("an answer without a server")
	}
	if got := exchange(t, p.Addr(), "PING"); got != "" {
		t.Errorf("the proxy answers %q without a server", got)
	}
}

func TestProxyPassesOnWhatIsNotTheProtocol(t *testing.T) {
	echo, err := net.Listen("tcp", loopback+":0")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := echo.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	defer func() { echo.Close(); <-done }()
	p, err := NewProxy(echo.Addr().String())
	must(t, err)
	defer p.Close()
	conn, err := net.Dial("tcp", p.Addr())
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(waitLimit)))
	want := []byte("$not a length\r\n*1\r\nand so on")
	_, err = conn.Write(want)
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q came back (%v)", got, err)
	}
	conn.Close()
}

func TestProxyClose(t *testing.T) {
	ctx := testContext(t)
	p := startProxied(t)
	must(t, p.client.Ping(ctx).Err())
	second := dialing(t, p.Addr())
	// One connection waits with a reply, another with a request.
	p.Hold(true)
	held := make(chan error, 2)
	go func() { held <- p.client.Incr(ctx, "n").Err() }()
	Eventually(t, waitLimit, "the server to do it", func() bool { return p.value(t, "n") == "1" })
	p.HoldRequests(true)
	kept := p.Count(Contains("hello"))
	go func() { held <- second.Ping(ctx).Err() }()
	Eventually(t, waitLimit, "the request", func() bool { return kept.Hits() == 1 })
	must(t, p.Close())
	must(t, p.Close())
	for range 2 {
		if err := <-held; err == nil {
			t.Error("a held request was answered")
		}
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial after Close: %v", err)
	}
	if err := p.Refuse(false); err == nil {
		t.Error("a closed proxy can be opened again")
	}
}
