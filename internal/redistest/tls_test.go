package redistest

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestTLS: servers with certificates, an ACL user and a password talk to each
// other, and only to who trusts them and knows the password.
func TestTLS(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	ca, err := NewAuthority()
	must(t, err)
	g := StartT(t, Options{Replicas: 1, User: "app", Password: "pass word", TLS: ca})
	ping := func(user, password string, config *tls.Config) error {
		c := redis.NewClient(&redis.Options{
			Addr: g.Node(0).Addr(), Username: user, Password: password, TLSConfig: config, MaxRetries: -1,
		})
		defer c.Close()
		return c.Ping(ctx).Err()
	}
	if err := ping("app", "pass word", ca.ClientConfig()); err != nil {
		t.Errorf("with all that it takes: %v", err)
	}
	other, err := NewAuthority()
	must(t, err)
	if ping("app", "pass word", other.ClientConfig()) == nil {
		t.Error("a client that trusts another authority is served")
	}
	if ping("app", "wrong", ca.ClientConfig()) == nil || ping("", "", ca.ClientConfig()) == nil {
		t.Error("a client without the password is served")
	}
	if ping("app", "pass word", nil) == nil {
		t.Error("a client without TLS is served")
	}

	// The certificates stay with the server's verbs.
	must(t, g.Node(1).Restart(ctx))
	must(t, g.WaitSynced(ctx))
	must(t, g.Cycle(ctx))
	must(t, g.Promote(ctx, 1))
	must(t, g.WaitSynced(ctx))
}

// TestNetwork: one process loses a server that others reach, by silence or by
// refusal, whatever the client has open.
func TestNetwork(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	g := StartT(t, Options{})
	n := g.Node(0)
	w, err := NewNetwork(g.Addrs(), nil)
	must(t, err)
	defer w.Close()
	c := redis.NewClient(&redis.Options{Addr: n.Addr(), Dialer: w.Dial, MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1})
	defer c.Close()
	s := &Stage{}
	count := w.Proxy(n.Addr()).Count(Contains("absent"))
	must(t, s.accepts(ctx, c))
	if count.Hits() != 1 {
		t.Fatalf("%d requests went by the network, want 1", count.Hits())
	}

	must(t, w.Lose(n.Addr(), true))
	must(t, w.Lose(n.Addr(), true)) // once more is the same
	for range 2 {                   // on the open connection, and on a new one
		if err := s.accepts(ctx, c); err == nil {
			t.Error("a lost server answers")
		}
	}
	must(t, s.accepts(ctx, n.Client()))
	must(t, w.Lose(n.Addr(), false))
	must(t, s.accepts(ctx, c))

	must(t, w.Refuse(n.Addr(), true))
	conn, err := w.Dial(ctx, "tcp", n.Addr())
	if err == nil {
		conn.Close()
		t.Error("a refused dial connects")
	}
	must(t, w.Refuse(n.Addr(), false))
	must(t, s.accepts(ctx, c))

	// An address that it doesn't know is dialed as it is, but can't be lost.
	ln, err := net.Listen("tcp", loopback+":0")
	must(t, err)
	defer ln.Close()
	conn, err = w.Dial(ctx, "tcp", ln.Addr().String())
	must(t, err)
	conn.Close()
	if w.Lose("nowhere:1", true) == nil || w.Refuse("nowhere:1", true) == nil || w.Proxy("nowhere:1") != nil {
		t.Error("the network has a server that it was not given")
	}
}
