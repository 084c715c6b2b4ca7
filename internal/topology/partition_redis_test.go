package topology

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// stage sets up one of redistest's scenarios and a monitor that reaches its servers as an application
// does, with all nodes as seeds.
func stage(t *testing.T, name string, seeds func(*redistest.Stage) []string, c Config) (*redistest.Stage, *Monitor) {
	t.Helper()
	sc, ok := redistest.ScenarioNamed(name)
	if !ok {
		t.Fatalf("no scenario %s", name)
	}
	s := redistest.SetupT(t, sc, redistest.StageOptions{})
	u := s.ClientOptions()
	p := NewProber(&redis.Options{Dialer: u.Dialer, Username: u.Username, Password: u.Password, TLSConfig: u.TLSConfig})
	m := NewMonitor(Options{Config: c, Seeds: seeds(s), Interval: 200 * time.Millisecond, Timeout: time.Second, Probe: p.Probe})
	t.Cleanup(func() {
		m.Close()
		must(t, p.Close())
	})
	m.Start(t.Context())
	if v := m.View(); v.State != StateHealthy {
		t.Fatalf("at start: %+v", v)
	}
	return s, m
}

// Cut off from a primary that others use, it is said so; and that a hang is none.
func TestRedisPartition(t *testing.T) {
	s, m := stage(t, "P1", (*redistest.Stage).Addrs, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, s.Break(ctx))
	for i := 0; ; i++ { // others write
		if _, err := s.Nodes()[0].Do(ctx, "set", "other", i); err != nil {
			t.Fatal(err)
		}
		if m.View().Cause == CausePartitioned {
			break
		}
	}
	if v := m.View(); v.State != StateNoPrimary || v.Certain || v.Elsewhere.Addr != s.Nodes()[0].Addr() || v.Diagnosis == "" {
		t.Errorf("%+v", v)
	}
	must(t, s.Mend(ctx))
	await(t, m, "the way back", func(v *View) bool { return v.Live })
	must(t, s.Nodes()[0].Pause())
	v := await(t, m, "the hang", func(v *View) bool { return v.State == StateNoPrimary })
	for range 8 {
		if v.Cause != CauseHung {
			t.Fatalf("a hang looks like %s: %s", v.Cause, v.Diagnosis)
		}
		must(t, m.WaitRound(ctx))
		v = m.View()
	}
	must(t, s.Nodes()[0].Resume())
}

// One address that moves to the promoted node, for a client that can write there only.
func TestRedisAddressMoves(t *testing.T) {
	var vip string
	sc, _ := redistest.ScenarioNamed("P2")
	s := redistest.SetupT(t, sc, redistest.StageOptions{})
	vip = s.VIP.Addr()
	p := NewProber(nil)
	m := NewMonitor(Options{Config: Config{Pinned: []string{vip}}, Seeds: []string{vip}, Interval: 200 * time.Millisecond, Timeout: time.Second, Probe: p.Probe})
	defer func() {
		m.Close()
		must(t, p.Close())
	}()
	m.Start(t.Context())
	before := m.View()
	if !before.Live || before.Primary.Addr != vip {
		t.Fatalf("at start: %+v", before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, s.Break(ctx))
	await(t, m, "the outage", func(v *View) bool { return v.State == StateNoPrimary })
	must(t, s.Mend(ctx))
	v := await(t, m, "the return", func(v *View) bool { return v.Live })
	if v.Primary.Addr != vip || v.Primary.RunID == before.Primary.RunID {
		t.Errorf("%+v", v.Primary)
	}
}

// A client that is pinned to an address stays without a primary when another node is promoted.
func TestRedisPinned(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	p := NewProber(nil)
	home := g.Node(0).Addr()
	m := NewMonitor(Options{Config: Config{Pinned: []string{home}}, Seeds: []string{home}, Interval: 200 * time.Millisecond, Timeout: 2 * time.Second, Probe: p.Probe})
	defer func() {
		m.Close()
		must(t, p.Close())
	}()
	m.Start(t.Context())
	must(t, g.Promote(t.Context(), 1))
	v := await(t, m, "another primary", func(v *View) bool { return v.Cause == CausePinned })
	if v.State != StateNoPrimary || v.Live || v.Elsewhere.Addr != g.Node(1).Addr() {
		t.Errorf("%+v", v)
	}
	must(t, g.Promote(t.Context(), 0))
	await(t, m, "its own again", func(v *View) bool { return v.Live && v.Primary.Addr == home })
}

// A name that leads to another server from now on, where the connections to the former one stay.
func TestRedisNameMoves(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	proxy, err := redistest.NewProxy(g.Node(0).Addr())
	must(t, err)
	defer func() { must(t, proxy.Close()) }()
	name := proxy.Addr()
	p := NewProber(nil)
	m := NewMonitor(Options{
		Config: Config{Pinned: []string{name}}, Seeds: []string{name}, Interval: 200 * time.Millisecond, Timeout: time.Second,
		Probe: p.Probe, Forget: p.Forget,
	})
	defer func() {
		m.Close()
		must(t, p.Close())
	}()
	m.Start(t.Context())
	before := await(t, m, "health", func(v *View) bool { return v.Live })
	must(t, g.WaitSynced(t.Context()))
	proxy.SetTarget(g.Node(1).Addr())
	must(t, g.Promote(t.Context(), 1))
	v := await(t, m, "the other server", func(v *View) bool { return v.Live && v.Primary.RunID != before.Primary.RunID })
	if v.Primary.Addr != name {
		t.Errorf("%+v", v.Primary)
	}
}
