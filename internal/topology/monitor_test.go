package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNodes answers probes from memory. It is safe for concurrent use.
type fakeNodes struct {
	mu     sync.Mutex // guards the fields below
	nodes  map[string]NodeReport
	probes map[string]int
	before func(ctx context.Context, addr string) // called outside the lock
}

func newFakeNodes(nodes ...NodeReport) *fakeNodes {
	f := &fakeNodes{nodes: map[string]NodeReport{}, probes: map[string]int{}}
	f.set(nodes...)
	return f
}

func (f *fakeNodes) set(nodes ...NodeReport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range nodes {
		f.nodes[n.Addr] = n
	}
}

func (f *fakeNodes) count(addr string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.probes[addr]
}

func (f *fakeNodes) probe(ctx context.Context, addr string) NodeReport {
	f.mu.Lock()
	f.probes[addr]++
	before := f.before
	f.mu.Unlock()
	if before != nil {
		before(ctx, addr)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[addr]
	if !ok {
		n.Outcome = OutcomeRefused
	}
	return n
}

func fakeMaster(addr, replid, replid2 string, replicas ...string) NodeReport {
	return NodeReport{
		Addr: addr, Outcome: OutcomeAnswered, Role: RoleMaster, RunID: "run-" + addr,
		ReplID: replid, ReplID2: replid2, Offset: 10, Priority: 100, Replicas: replicas,
	}
}

func fakeReplica(addr, of, replid string) NodeReport {
	return NodeReport{
		Addr: addr, Outcome: OutcomeAnswered, Role: RoleReplica, RunID: "run-" + addr,
		ReplID: replid, Offset: 10, Priority: 100, Master: of,
	}
}

// group is a primary a with the replicas b and c.
func group() *fakeNodes {
	return newFakeNodes(fakeMaster("a:1", "X", "", "b:1", "c:1"), fakeReplica("b:1", "a:1", "X"), fakeReplica("c:1", "a:1", "X"))
}

// cycle makes the nodes of group the replication cycle, promote ends it with b.
func (f *fakeNodes) cycle() {
	f.set(fakeReplica("a:1", "b:1", "X"), fakeReplica("b:1", "c:1", "X"), fakeReplica("c:1", "a:1", "X"))
}

func (f *fakeNodes) promote() {
	f.set(fakeReplica("a:1", "b:1", "Y"), fakeMaster("b:1", "Y", "X", "a:1", "c:1"), fakeReplica("c:1", "b:1", "Y"))
}

// startMonitor starts a monitor with the seed a:1 and closes it when the test ends.
func startMonitor(t *testing.T, f *fakeNodes, o Options) *Monitor {
	t.Helper()
	if o.Seeds == nil {
		o.Seeds = []string{"a:1"}
	}
	o.Probe = f.probe
	m := NewMonitor(o)
	t.Cleanup(m.Close)
	m.Start(t.Context())
	return m
}

func waitState(t *testing.T, m *Monitor, s State) *View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	v, err := m.Wait(ctx, func(v *View) bool { return v.State == s })
	if err != nil {
		t.Fatalf("state %s did not come: %v; %+v", s, err, v)
	}
	return v
}

func TestMonitorFindsThePrimaryFromOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMonitor(t, group(), Options{Seeds: []string{"c:1", "c:1", ""}})
		v := m.View()
		if v.State != StateHealthy || v.Primary.Addr != "a:1" || !v.Live {
			t.Fatalf("after Start: %+v", v)
		}
		if len(v.Nodes) != 3 || v.Nodes[0].Addr != "c:1" || !v.Nodes[0].Seed || v.Nodes[1].Seed {
			t.Fatalf("nodes %+v", v.Nodes)
		}
		if !v.Since.Equal(time.Now()) {
			t.Fatalf("since %s, now %s", v.Since, time.Now())
		}
	})
}

func TestMonitorOutageAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		var told []string
		orders := make(chan ReplayOrder, 10)
		m := startMonitor(t, f, Options{
			OnChange: func(c Change) { told = append(told, c.String()) },
			OnReplay: func(o ReplayOrder) {
				told = append(told, fmt.Sprintf("start=%t attempt=%d %s", o.Start, o.Attempt, o.Primary.Addr))
				orders <- o
			},
		})
		f.cycle()
		m.Signal(Signal{Kind: SignalNotWritable, Addr: "a:1"})
		if v := m.View(); v.Live || v.State != StateSuspect || v.Cause != CauseWriteRefused || !v.Since.Equal(time.Now()) {
			t.Fatalf("right after the signal: %+v", v)
		}
		m.Backlog(true)
		v := waitState(t, m, StateNoPrimary)
		if v.Cause != CauseAllReplicas || !v.Certain || v.Candidate.Addr != "a:1" || !strings.Contains(v.Diagnosis, "REPLICAOF NO ONE") {
			t.Fatalf("in the outage: %+v", v)
		}
		f.promote()
		o := <-orders
		if v := m.View(); v.State != StateReturning || v.Live {
			t.Fatalf("before the fence was read: %+v", v)
		}
		m.ReplayReady(o.Attempt, o.Primary.RunID)
		if v := m.View(); v.State != StateReplaying || !v.Live || v.Primary.Addr != "b:1" {
			t.Fatalf("after the fence was read: %+v", v)
		}
		m.Drained(o.Attempt)
		if v := m.View(); v.State != StateHealthy || v.ReadFrom != "b:1" {
			t.Fatalf("drained: %+v", v)
		}
		synctest.Wait()
		want := []string{
			"unknown -> healthy primary=a:1 epoch=1",
			"healthy -> suspect (write-refused) primary=a:1 epoch=2",
			"suspect -> no-primary (all-replicas, certain) primary=a:1 candidate=a:1 epoch=3",
			"no-primary -> returning primary=b:1 candidate=a:1 epoch=4",
			"start=true attempt=1 b:1",
			"returning -> replaying primary=b:1 candidate=a:1 epoch=5",
			"replaying -> healthy primary=b:1 epoch=6",
		}
		if !slices.Equal(told, want) {
			t.Fatalf("told:\n%s\nwant:\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestMonitorStopsAndRepeatsReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		orders := make(chan ReplayOrder, 10)
		m := startMonitor(t, f, Options{
			Pending:  func() bool { return true },
			OnReplay: func(o ReplayOrder) { orders <- o },
		})
		first := <-orders
		if !first.Start || m.View().State != StateReturning {
			t.Fatalf("a recovered backlog at start: %+v, %+v", first, m.View())
		}
		m.ReplayStopped(first.Attempt, StopParked)
		if v := m.View(); v.Cause != CauseReplayParked || v.Live {
			t.Fatalf("parked: %+v", v)
		}
		m.RetryReplay()
		second := <-orders
		m.ReplayReady(second.Attempt, second.Primary.RunID)
		f.cycle()
		if err := m.WaitRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if stop := <-orders; stop.Start || stop.Attempt != second.Attempt {
			t.Fatalf("want the second replay stopped, got %+v", stop)
		}
		m.ReplayStopped(second.Attempt, StopBroken) // late, and nothing to learn
		f.promote()
		third := <-orders
		if !third.Start || third.Attempt != 3 || third.Primary.Addr != "b:1" {
			t.Fatalf("want a third replay to b, got %+v", third)
		}
		m.ReplayReady(third.Attempt, third.Primary.RunID)
		m.Drained(third.Attempt)
		// Pending says that it was not drained after all: a Backlog call was overtaken.
		drained := time.Now()
		if fourth := <-orders; !fourth.Start || m.View().State != StateReplaying {
			t.Fatalf("want a fourth replay, got %+v, %+v", fourth, m.View())
		}
		if d := time.Since(drained); d != 0 {
			t.Errorf("the backlog was noticed after %s, not at once", d)
		}
	})
}

func TestMonitorPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		m := startMonitor(t, f, Options{})
		rounds := func(d time.Duration) int {
			before := f.count("a:1")
			sleepFake(d)
			return f.count("a:1") - before
		}
		if n := rounds(time.Minute); n < 54 || n > 67 {
			t.Errorf("%d rounds in a healthy minute", n)
		}
		f.cycle()
		waitState(t, m, StateNoPrimary)
		// 100 ms, 150 ms, 225 ms, … each up to a fifth longer or shorter.
		if n := rounds(800 * time.Millisecond); n < 3 || n > 5 {
			t.Errorf("%d rounds early in an outage", n)
		}
		if n := rounds(time.Minute); n < 48 || n > 80 {
			t.Errorf("%d rounds in a minute of outage", n)
		}
		f.promote()
		waitState(t, m, StateHealthy)
		f.cycle()
		waitState(t, m, StateNoPrimary)
		if n := rounds(800 * time.Millisecond); n < 3 || n > 5 {
			t.Errorf("%d rounds early in a second outage", n)
		}
	})
}

// sleepFake lets the fake time of a synctest bubble pass.
func sleepFake(d time.Duration) { <-time.After(d) }

func TestWaitRoundBeginsAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		m := startMonitor(t, f, Options{Interval: time.Hour})
		release := make(chan struct{})
		f.mu.Lock()
		f.before = func(_ context.Context, addr string) {
			if addr == "a:1" {
				<-release
			}
		}
		f.mu.Unlock()
		m.Signal(Signal{Kind: SignalNotWritable}) // a round begins, and a's probe is under way
		synctest.Wait()
		sleepFake(50 * time.Millisecond)
		waited := make(chan error, 1)
		go func() { waited <- m.WaitRound(t.Context()) }()
		synctest.Wait()
		f.mu.Lock()
		f.before = nil
		f.mu.Unlock()
		f.cycle()
		before := f.count("b:1")
		close(release)
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		if f.count("b:1") <= before {
			t.Fatal("WaitRound was content with the round that had begun before it")
		}
		if v := m.View(); v.State != StateNoPrimary {
			t.Fatalf("state %s after the round", v.State)
		}
	})
}

func TestWaitRoundKeepsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMonitor(t, group(), Options{Interval: time.Hour})
		begin := time.Now()
		for range 5 {
			if err := m.WaitRound(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d != 5*minGap {
			t.Fatalf("five rounds took %s, want %s", d, 5*minGap)
		}
	})
}

func TestWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		m := startMonitor(t, f, Options{Interval: time.Hour})
		f.mu.Lock()
		f.before = func(ctx context.Context, _ string) { <-ctx.Done() }
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := m.WaitRound(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitRound: %v", err)
		}
		if v, err := m.Wait(ctx, func(*View) bool { return false }); !errors.Is(err, context.DeadlineExceeded) || v == nil {
			t.Errorf("Wait: %v %v", v, err)
		}
		errs := make(chan error, 2)
		go func() { errs <- m.WaitRound(t.Context()) }()
		go func() {
			_, err := m.Wait(t.Context(), func(*View) bool { return false })
			errs <- err
		}()
		synctest.Wait()
		m.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("a wait ended by Close: %v", err)
			}
		}
		if err := m.WaitRound(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("WaitRound after Close: %v", err)
		}
	})
}

// A probe that does not heed its context holds up neither the round nor the other nodes, and is not
// started a second time.
func TestMonitorSurvivesAProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		m := startMonitor(t, f, Options{})
		release := make(chan struct{})
		f.mu.Lock()
		f.before = func(_ context.Context, addr string) {
			if addr == "a:1" {
				<-release
			}
		}
		f.mu.Unlock()
		asked := f.count("a:1")
		v := waitState(t, m, StateNoPrimary)
		if v.Cause != CausePrimaryDown || v.Nodes[0].Outcome != OutcomeTimeout || v.Nodes[0].Err == nil {
			t.Fatalf("%+v", v)
		}
		sleepFake(10 * time.Second)
		if n := f.count("a:1") - asked; n != 1 {
			t.Fatalf("the hanging node was asked %d times", n)
		}
		f.mu.Lock()
		f.before = nil
		f.mu.Unlock()
		close(release)
		waitState(t, m, StateHealthy)
	})
}

// The same where there is no other node whose answers would be waited for.
func TestMonitorSurvivesTheOnlyProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNodes(fakeMaster("a:1", "X", ""))
		m := startMonitor(t, f, Options{})
		release := make(chan struct{})
		f.mu.Lock()
		f.before = func(context.Context, string) { <-release }
		f.mu.Unlock()
		waitState(t, m, StateUnreachable)
		f.mu.Lock()
		f.before = nil
		f.mu.Unlock()
		close(release)
		waitState(t, m, StateHealthy)
	})
}

func TestMonitorContainsPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		var log strings.Builder
		told := 0
		m := startMonitor(t, f, Options{
			Logger:   slog.New(slog.NewTextHandler(&log, nil)),
			OnChange: func(Change) { told++; panic("secret value") },
		})
		f.mu.Lock()
		f.before = func(context.Context, string) { panic(errors.New("secret value")) }
		f.mu.Unlock()
		v := waitState(t, m, StateUnreachable)
		if v.Nodes[0].Outcome != OutcomeBroken || v.Nodes[0].Addr == "" {
			t.Fatalf("a panicking probe: %+v", v.Nodes)
		}
		f.mu.Lock()
		f.before = nil
		f.mu.Unlock()
		waitState(t, m, StateHealthy)
		m.Close()
		if told < 3 {
			t.Errorf("told %d changes", told)
		}
		if text := log.String(); !strings.Contains(text, "OnChange") || !strings.Contains(text, "Probe") || strings.Contains(text, "secret") {
			t.Errorf("log: %s", text)
		}
	})
}

// A callback that takes its time holds up nothing but the later ones.
func TestSlowCallbackBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := group()
		release := make(chan struct{})
		var told []State
		m := startMonitor(t, f, Options{OnChange: func(c Change) {
			<-release
			told = append(told, c.To)
		}})
		f.cycle()
		m.Signal(Signal{Kind: SignalNotWritable})
		waitState(t, m, StateNoPrimary)
		f.promote()
		waitState(t, m, StateHealthy)
		close(release)
		synctest.Wait()
		if want := []State{StateHealthy, StateSuspect, StateNoPrimary, StateReturning, StateHealthy}; !slices.Equal(told, want) {
			t.Fatalf("told %v, want %v", told, want)
		}
	})
}
