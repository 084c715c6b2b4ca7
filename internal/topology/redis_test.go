package topology

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// patience bounds waits for real servers on a busy machine; no test depends on its length.
const patience = 30 * time.Second

// watch starts a monitor on a real group, with node seed as its only seed.
func watch(t *testing.T, g *redistest.Group, seed int, password string) *Monitor {
	t.Helper()
	p := NewProber(&redis.Options{Password: password})
	m := NewMonitor(Options{
		Seeds:    []string{g.Node(seed).Addr()},
		Interval: 200 * time.Millisecond,
		Timeout:  2 * time.Second, // a paused machine must not look like a paused server
		Probe:    p.Probe,
	})
	t.Cleanup(func() {
		m.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	m.Start(t.Context())
	return m
}

func await(t *testing.T, m *Monitor, what string, cond func(*View) bool) *View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v, err := m.Wait(ctx, cond)
	if err != nil {
		t.Fatalf("%s: %v\nlast view: %+v", what, err, v)
	}
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRedisCycleAndPromotionOfAnother(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	m := watch(t, g, 2, "")
	v := m.View()
	if v.State != StateHealthy || v.Primary.Addr != g.Node(0).Addr() || len(v.Nodes) != 3 {
		t.Fatalf("at start: %+v", v)
	}
	must(t, g.Cycle(t.Context()))
	m.Signal(Signal{Kind: SignalNotWritable, Addr: g.Node(0).Addr()})
	if m.View().Live {
		t.Fatal("live after a refused write")
	}
	v = await(t, m, "the cycle", func(v *View) bool { return v.State == StateNoPrimary && v.Certain })
	if v.Cause != CauseAllReplicas || v.Candidate.IsZero() || v.ReadFrom != v.Candidate.Addr {
		t.Fatalf("in the cycle: %+v", v)
	}
	if !strings.Contains(v.Diagnosis, "replicate from each other") || !strings.Contains(v.Diagnosis, "REPLICAOF NO ONE") {
		t.Errorf("diagnosis: %s", v.Diagnosis)
	}
	must(t, g.Promote(t.Context(), 1))
	v = await(t, m, "the promotion", func(v *View) bool { return v.State == StateHealthy })
	if v.Primary.Addr != g.Node(1).Addr() || !v.Live {
		t.Fatalf("after the promotion: %+v", v)
	}
	// The address that the topology names takes writes.
	if _, err := g.Node(1).Do(t.Context(), "set", "k", "v"); err != nil {
		t.Fatal(err)
	}
}

// Nobody tells the monitor: the rounds alone must find out.
func TestRedisCycleWithoutASignal(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	m := watch(t, g, 0, "")
	must(t, g.Cycle(t.Context()))
	v := await(t, m, "the cycle", func(v *View) bool { return v.State == StateNoPrimary })
	if v.Cause != CauseAllReplicas {
		t.Fatalf("%+v", v)
	}
}

func TestRedisPrimaryKilledAndRestarted(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	m := watch(t, g, 0, "")
	first := m.View().Primary
	must(t, g.Node(0).Kill())
	v := await(t, m, "the kill", func(v *View) bool { return v.State == StateNoPrimary })
	if v.Cause != CausePrimaryDown || v.Certain || v.Primary.Addr != first.Addr || v.Candidate.Addr == first.Addr {
		t.Fatalf("after the kill: %+v", v)
	}
	must(t, g.Node(0).Restart(t.Context()))
	v = await(t, m, "the restart", func(v *View) bool { return v.State == StateHealthy })
	if v.Primary.Addr != first.Addr || v.Primary.RunID == first.RunID {
		t.Fatalf("after the restart: %+v, first %+v", v.Primary, first)
	}
}

func TestRedisAllKilled(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	m := watch(t, g, 1, "")
	must(t, g.Node(0).Kill())
	must(t, g.Node(1).Kill())
	v := await(t, m, "the kills", func(v *View) bool { return v.State == StateUnreachable })
	if v.ReadFrom != "" || v.Live || v.Cause != CausePrimaryDown {
		t.Fatalf("%+v", v)
	}
	must(t, g.Node(0).Restart(t.Context()))
	must(t, g.Node(1).Restart(t.Context()))
	await(t, m, "the restarts", func(v *View) bool { return v.State == StateHealthy })
}

func TestRedisTwoMasters(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	m := watch(t, g, 0, "")
	must(t, g.PromoteOnly(t.Context(), 1))
	v := await(t, m, "two masters", func(v *View) bool { return v.Cause == CauseSplitBrain })
	if v.State != StateSuspect || !strings.Contains(v.Diagnosis, g.Node(1).Addr()+" is the successor") {
		t.Fatalf("%+v", v)
	}
	must(t, g.Promote(t.Context(), 1))
	v = await(t, m, "one master", func(v *View) bool { return v.State == StateHealthy })
	if v.Primary.Addr != g.Node(1).Addr() {
		t.Fatalf("%+v", v)
	}
}

func TestRedisMinReplicas(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1, Args: []string{"--min-replicas-to-write", "1"}})
	m := watch(t, g, 0, "")
	if v := m.View(); v.State != StateHealthy {
		t.Fatalf("at start: %+v", v)
	}
	if _, err := g.Node(0).Do(t.Context(), "config", "set", "min-replicas-to-write", "2"); err != nil {
		t.Fatal(err)
	}
	v := await(t, m, "too few", func(v *View) bool { return v.State == StateNoPrimary })
	if v.Cause != CauseMinReplicas || v.ReadFrom != g.Node(0).Addr() {
		t.Fatalf("%+v", v)
	}
	if _, err := g.Node(0).Do(t.Context(), "config", "set", "min-replicas-to-write", "1"); err != nil {
		t.Fatal(err)
	}
	await(t, m, "enough", func(v *View) bool { return v.State == StateHealthy })
}

func TestProberReport(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1, Password: "pw"})
	p := NewProber(&redis.Options{Password: "pw", DB: 3, MaxRetries: 5, OnConnect: func(context.Context, *redis.Conn) error {
		t.Error("the application's OnConnect was called")
		return nil
	}})
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	primary, replica := g.Node(0).Addr(), g.Node(1).Addr()
	for range 2 { // on a new connection and on a kept one
		a, b := p.Probe(ctx, primary), p.Probe(ctx, replica)
		if a.Outcome != OutcomeAnswered || a.Role != RoleMaster || len(a.RunID) != 40 || len(a.ReplID) != 40 || a.ReplID2 != "" ||
			len(a.Replicas) != 1 || a.Replicas[0] != replica || a.Version == "" || a.Loading || a.RTT <= 0 {
			t.Errorf("primary: %+v", a)
		}
		if b.Outcome != OutcomeAnswered || b.Role != RoleReplica || b.Master != primary || !b.LinkUp || b.Writable ||
			b.ReplID != a.ReplID || b.Priority != 100 || b.LastIO < 0 || b.RunID == a.RunID {
			t.Errorf("replica: %+v", b)
		}
		// One machine, one clock: what remains is half a round trip.
		if !a.SkewKnown || a.Skew.Abs() > a.RTT {
			t.Errorf("skew %s at a round trip of %s", a.Skew, a.RTT)
		}
	}
	if _, err := g.Node(1).Do(ctx, "config", "set", "replica-read-only", "no"); err != nil {
		t.Fatal(err)
	}
	if b := p.Probe(ctx, replica); !b.Writable {
		t.Errorf("a writable replica: %+v", b)
	}
}

func TestProberFailures(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Password: "pw"})
	addr := g.Node(0).Addr()
	probe := func(o *redis.Options, timeout time.Duration) NodeReport {
		p := NewProber(o)
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return p.Probe(ctx, addr)
	}
	for name, password := range map[string]string{"wrong": "no", "missing": ""} {
		if n := probe(&redis.Options{Password: password}, patience); n.Outcome != OutcomeDenied || n.Err == nil {
			t.Errorf("password %s: %+v", name, n)
		}
	}
	_, err := g.Node(0).Do(t.Context(), "acl", "setuser", "u", "on", ">up", "~*", "+@all", "-info", "-role")
	must(t, err)
	if n := probe(&redis.Options{Username: "u", Password: "up"}, patience); n.Outcome != OutcomeDenied {
		t.Errorf("neither ROLE nor INFO: %+v", n)
	}
	_, err = g.Node(0).Do(t.Context(), "acl", "setuser", "u", "+role", "-time")
	must(t, err)
	if n := probe(&redis.Options{Username: "u", Password: "up"}, patience); n.Outcome != OutcomeAnswered || n.Role != RoleMaster || n.RunID != "" || n.SkewKnown {
		t.Errorf("ROLE alone: %+v", n)
	}
	must(t, g.Node(0).Pause())
	// Nothing but the probe's own deadline ends this one.
	if n := probe(&redis.Options{Password: "pw"}, 300*time.Millisecond); n.Outcome != OutcomeHung || n.Err == nil {
		t.Errorf("paused: %+v", n)
	}
	must(t, g.Node(0).Resume())
	must(t, g.Node(0).Kill())
	if n := probe(nil, patience); n.Outcome != OutcomeRefused {
		t.Errorf("killed: %+v", n)
	}
}

// A server that runs an endless script answers all with BUSY.
func TestProberBusyScript(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Args: []string{"--busy-reply-threshold", "5"}})
	p := NewProber(nil)
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	addr := g.Node(0).Addr()
	before := p.Probe(ctx, addr)
	script := make(chan error, 1)
	go func() {
		_, err := g.Node(0).Do(ctx, "eval", "while true do end", "0")
		script <- err
	}()
	redistest.Eventually(t, patience, "the script to block the server", func() bool {
		return p.Probe(ctx, addr).Outcome == OutcomeBusy
	})
	redistest.Eventually(t, patience, "the script to be killed", func() bool {
		_, err := g.Node(0).Do(ctx, "script", "kill")
		return err == nil
	})
	if err := <-script; err == nil {
		t.Error("the script ended by itself")
	}
	if n := p.Probe(ctx, addr); n.Outcome != OutcomeAnswered || n.RunID != before.RunID {
		t.Errorf("after the script: %+v", n)
	}
}

// A kept connection that died since the last probe is not taken for a lost node: neither where
// go-redis notices it before use, nor where it can't, as with TLS, whose connections hide the socket.
func TestProberReplacesADeadConnection(t *testing.T) {
	for name, o := range map[string]*redis.Options{
		"plain": nil,
		"hidden socket": {Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return struct{ net.Conn }{conn}, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := redistest.StartT(t, redistest.Options{})
			p := NewProber(o)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			addr := g.Node(0).Addr()
			first := p.Probe(ctx, addr)
			must(t, g.Node(0).Kill())
			must(t, g.Node(0).Restart(ctx))
			if n := p.Probe(ctx, addr); n.Outcome != OutcomeAnswered || n.RunID == first.RunID {
				t.Errorf("after a restart: %+v", n)
			}
			_, err := g.Node(0).Do(ctx, "client", "kill", "type", "normal", "skipme", "yes")
			must(t, err)
			if n := p.Probe(ctx, addr); n.Outcome != OutcomeAnswered {
				t.Errorf("after CLIENT KILL: %+v", n)
			}
			must(t, p.Close())
			must(t, p.Close())
			if n := p.Probe(ctx, addr); n.Outcome != OutcomeBroken || n.Err == nil {
				t.Errorf("after Close: %+v", n)
			}
		})
	}
}

// A deadline longer than the default is used to its end.
func TestProberWaitsAsLongAsItMay(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	p := NewProber(&redis.Options{ReadTimeout: time.Millisecond})
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	addr := g.Node(0).Addr()
	for _, state := range []string{"a new connection", "a kept connection"} {
		must(t, g.Node(0).Pause())
		resume := time.AfterFunc(2*DefaultTimeout, func() { _ = g.Node(0).Resume() })
		n := p.Probe(ctx, addr)
		resume.Stop()
		must(t, g.Node(0).Resume())
		if n.Outcome != OutcomeAnswered || n.RTT < DefaultTimeout {
			t.Errorf("%s: %+v", state, n)
		}
	}
}

// A listener that accepts and says nothing is hung, not down; a probe without a deadline has one.
func TestProberHasADeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	p := NewProber(nil)
	defer p.Close()
	if n := p.Probe(context.Background(), l.Addr().String()); n.Outcome != OutcomeHung {
		t.Errorf("%+v", n)
	}
}
