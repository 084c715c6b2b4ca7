package topology

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// watchSentinels starts a monitor that knows the Sentinels only.
func watchSentinels(t *testing.T, s *redistest.Sentinels, base, sentinel *redis.Options) *Monitor {
	t.Helper()
	p, sp := NewProber(base), NewSentinelProber(sentinel, s.Name())
	m := NewMonitor(Options{
		Config:         Config{MasterName: s.Name()},
		Sentinels:      s.Addrs()[:1],
		Interval:       200 * time.Millisecond,
		Timeout:        2 * time.Second,
		Probe:          p.Probe,
		ProbeSentinel:  sp.Probe,
		ListenSentinel: sp.Listen,
	})
	t.Cleanup(func() {
		m.Close()
		must(t, p.Close())
		must(t, sp.Close())
	})
	m.Start(t.Context())
	return m
}

// From one Sentinel all others and all nodes are learned; a failover on demand is followed without a
// write to the old primary once the Sentinels have settled.
func TestSentinelPlannedFailover(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2, Password: "pw"})
	s := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{InfoPeriod: 200 * time.Millisecond, User: "watcher", Password: "sp"})
	m := watchSentinels(t, s, &redis.Options{Password: "pw"}, SentinelOptions(&redis.FailoverOptions{SentinelUsername: "watcher", SentinelPassword: "sp"}))
	v := m.View()
	if v.State != StateHealthy || v.Primary.Addr != g.Node(0).Addr() || len(v.Nodes) != 3 || len(v.Sentinels) != 3 || v.Automation != AutomationReady {
		t.Fatalf("at start: %+v", v)
	}
	for _, r := range v.Sentinels {
		if !r.answered() || r.Primary != v.Primary.Addr || r.PrimaryRunID != v.Primary.RunID || len(r.ID) != 40 || r.Others != 2 ||
			r.Quorum != 2 || len(r.Replicas) != 2 || len(r.Sentinels) != 2 || r.DownAfter != time.Hour || r.NoQuorum != "" || r.SDown ||
			r.LastPing < 0 || r.LastPing > patience || r.choice() == nil {
			t.Errorf("%+v", r)
		}
	}
	must(t, s.Failover(t.Context()))
	v = await(t, m, "the new primary", func(v *View) bool { return v.Live && v.Primary.Addr != g.Node(0).Addr() })
	if w := m.current().word(); w.addr != v.Primary.Addr || !w.majority {
		t.Errorf("live on %s, named is %+v", v.Primary.Addr, w)
	}
}

// Sentinels that have lost their quorum: named so, and the failover that the advice orders works.
func TestSentinelQuorumLost(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	s := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{InfoPeriod: 200 * time.Millisecond, DownAfter: time.Second})
	m := watchSentinels(t, s, nil, nil)
	must(t, s.Kill(1, 2))
	must(t, g.Node(0).Kill())
	v := await(t, m, "the lost quorum", func(v *View) bool { return v.Cause == CauseQuorumLost && v.Advice != nil })
	if v.State != StateNoPrimary || v.Automation != AutomationQuorumLost || v.Advice.Losses != 0 {
		t.Fatalf("%+v", v)
	}
	v = await(t, m, "an order for the Sentinel", func(v *View) bool {
		return v.Advice != nil && len(v.Advice.Command) == 3 && v.Advice.Where == s.Addrs()[0]
	})
	obey(t, v.Advice.Order)
	await(t, m, "the promoted one", func(v *View) bool { return v.Live && v.Primary.Addr != g.Node(0).Addr() })
}

// In the cycle the command that is printed ends the outage, and nothing is lost.
func TestSentinelCycleEndsByTheAdvice(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	s := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{})
	m := watchSentinels(t, s, nil, nil)
	must(t, g.Cycle(t.Context()))
	v := await(t, m, "the cycle", func(v *View) bool { return v.State == StateNoPrimary && v.Cause == CauseAllReplicas })
	a := v.Advice
	if a == nil || len(a.Command) == 0 || a.Losses != 0 || !strings.Contains(v.Diagnosis, a.String()) {
		t.Fatalf("advice %+v in %s", a, v.Diagnosis)
	}
	obey(t, a.Order)
	v = await(t, m, "the end", func(v *View) bool { return v.Live })
	if v.Primary.Addr != a.Candidate.Addr || v.Primary.RunID != a.Candidate.RunID {
		t.Errorf("primary %+v, advised %+v", v.Primary, a.Candidate)
	}
}

// Replicas of priority 0 are none that a Sentinel promotes: it has to be persuaded.
func TestSentinelPriorityZeroEndsByTheAdvice(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 2, Args: []string{"--replica-priority", "0"}})
	s := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{InfoPeriod: 200 * time.Millisecond, DownAfter: time.Second})
	m := watchSentinels(t, s, nil, nil)
	must(t, g.Node(0).Kill())
	v := await(t, m, "unable Sentinels", func(v *View) bool {
		return v.State == StateNoPrimary && v.Automation == AutomationUnable && v.Advice != nil && len(v.Advice.Then) > 0
	})
	if !strings.Contains(v.Diagnosis, "NOGOODSLAVE") || v.Cause != CausePrimaryDown {
		t.Errorf("%+v", v)
	}
	obey(t, v.Advice.Order)
	await(t, m, "the end", func(n *View) bool { return n.Live && n.Primary.RunID == v.Advice.Candidate.RunID })
}

// obey does what an advice says.
func obey(t *testing.T, o Order) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: o.Where, MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := make([]any, len(o.Command))
	for i, word := range o.Command {
		args[i] = word
	}
	if err := c.Do(ctx, args...).Err(); err != nil {
		t.Fatalf("%s: %v", o, err)
	}
}

// current is the machine as it is.
func (m *Monitor) current() *Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.machine
	return &c
}

func TestSentinelProberFailures(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	s := redistest.StartSentinelT(t, g, redistest.SentinelOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	other := NewSentinelProber(nil, "other")
	defer other.Close()
	if r := other.Probe(ctx, s.Addr()); r.Outcome != OutcomeAnswered || r.Watches || r.Err == nil || r.answered() {
		t.Errorf("an unknown name: %+v", r)
	}
	if r := other.Probe(ctx, g.Node(0).Addr()); r.Outcome == OutcomeAnswered || r.Err == nil {
		t.Errorf("no Sentinel: %+v", r)
	}
	must(t, s.Node().Pause())
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if r := other.Probe(short, s.Addr()); r.Outcome != OutcomeHung {
		t.Errorf("paused: %+v", r)
	}
	must(t, s.Node().Resume())
	must(t, s.Node().Kill())
	if r := other.Probe(ctx, s.Addr()); r.Outcome != OutcomeRefused {
		t.Errorf("killed: %+v", r)
	}
}

// What a Sentinel announces comes as a hint.
func TestSentinelHints(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	s := redistest.StartSentinelsT(t, g, redistest.SentinelsOptions{InfoPeriod: 200 * time.Millisecond})
	p := NewSentinelProber(nil, s.Name())
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hints, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- p.Listen(ctx, s.Addrs()[0], func() { hints <- struct{}{} }) }()
	<-hints // it has begun
	must(t, s.Failover(ctx))
	<-hints
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended without a reason")
	}
}
