package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	// DefaultInterval is the time between probe rounds while healthy.
	DefaultInterval = time.Second
	// DefaultTimeout bounds the probe of one node.
	DefaultTimeout = 500 * time.Millisecond
)

// ErrClosed is returned by waits on a monitor that was closed.
var ErrClosed = errors.New("topology: the monitor is closed")

// Options of a Monitor.
type Options struct {
	// Config holds the numbers of the machine; the zero value means its defaults.
	Config
	// Seeds are the addresses to begin with. Others are discovered from the servers' answers, up to
	// 64 in all. Without seeds the shard is always unreachable.
	Seeds []string
	// Interval is the time between rounds while writes go to the network, ±10 %. In an outage the
	// rounds begin at a tenth of it and slow down to it again. Default 1 s.
	Interval time.Duration
	// Timeout bounds the probe of one node. Default 500 ms.
	Timeout time.Duration
	// Probe asks one node, usually [Prober.Probe]. It is called for all nodes at once and must
	// return soon after its context ends; until it does, that node counts as not answering and is
	// not asked again. Required.
	Probe func(ctx context.Context, addr string) NodeReport
	// Forget, if not nil, is told of seeds that answer and are no primary while there is none, at
	// most once a second: behind their names there may be another server by now, which a
	// connection that is kept does not tell. It is usually [Prober.Forget].
	Forget func(addr string)
	// Sentinels are the addresses of Sentinels to begin with; others are learned from them, as are
	// nodes. Empty means none. Config.MasterName names the group in recommended commands.
	Sentinels []string
	// ProbeSentinel asks one Sentinel, usually [SentinelProber.Probe], under the terms of Probe.
	// Required with Sentinels.
	ProbeSentinel func(ctx context.Context, addr string) SentinelReport
	// ListenSentinel follows what one Sentinel announces, usually [SentinelProber.Listen], and calls
	// hint for what may mean another primary, each of which asks for a probe round. It returns when the
	// connection or ctx ends, and is called again after a while. Nil means to do without hints.
	ListenSentinel func(ctx context.Context, addr string, hint func()) error
	// Facts tells, after each round's probes and from their goroutine, what a Cluster's servers say of
	// this shard; nil facts mean that nothing is known yet. Set by [ClusterMonitor]; nil outside a Cluster.
	Facts func() *ShardFacts
	// Pending tells whether the journal holds entries that are not trimmed. If set it is asked, from
	// any goroutine and outside locks, before each round and after each drain, and when it is true
	// taken for Backlog(true): so a Backlog call that was overtaken by Drained does no lasting harm.
	Pending func() bool
	// OnChange is told of each change, and OnReplay of each replay to start or stop. Both are
	// called from one goroutine, in the order of the changes, outside locks; a change comes before
	// the order that goes with it. A panic is contained and logged. They may call the monitor, but
	// not Close.
	OnChange func(Change)
	OnReplay func(ReplayOrder)
	// Now gives the times of events. Default time.Now.
	Now func() time.Time
	// Logger takes contained panics. Default slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Probe == nil {
		o.Probe = func(_ context.Context, addr string) NodeReport {
			return NodeReport{Addr: addr, Outcome: OutcomeBroken, Err: errors.New("topology: Options.Probe is not set, so no node can be asked; set it")}
		}
	}
	if o.ProbeSentinel == nil {
		o.ProbeSentinel = func(_ context.Context, addr string) SentinelReport {
			return SentinelReport{Addr: addr, Outcome: OutcomeBroken, Err: errors.New("topology: Options.ProbeSentinel is not set, so no Sentinel can be asked; set it")}
		}
	}
	if o.FlapWindow == 0 {
		o.FlapWindow = 30 * o.Interval
	}
	o.Seeds, o.Sentinels, o.Pinned = slices.Clone(o.Seeds), slices.Clone(o.Sentinels), slices.Clone(o.Pinned)
	return o
}

// ReplayOrder tells the replay what to do.
type ReplayOrder struct {
	// Start is true to begin a replay to Primary, false to stop the one with this Attempt.
	Start bool
	// Attempt numbers the replays; their events carry it, so that late ones do no harm.
	Attempt uint64
	// Primary is the verified primary, when Start is true.
	Primary NodeID
}

// Monitor watches one shard. It is safe for concurrent use. A Monitor owns two goroutines, one that
// makes the rounds (and one more a node during a round) and one that calls OnChange and OnReplay,
// and one for each of Options.Sentinels that listens to it; Close ends them.
type Monitor struct {
	opts Options
	view atomic.Pointer[View]

	mu      sync.Mutex    // guards the fields below; never held across I/O or callbacks
	machine Machine       // the machine after the latest event
	changed chan struct{} // closed and replaced when a view is published
	begun   uint64        // probe rounds that have begun
	done    uint64        // the latest of them that was stepped through
	roundCh chan struct{} // closed and replaced when done is raised
	notices []notice      // what OnChange and OnReplay have still to be told
	started bool
	closed  bool

	kick   chan struct{} // capacity 1: a round is wanted at once
	wake   chan struct{} // capacity 1: there are notices
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the two goroutines and the probes
	rounds rounds         // belongs to Start, then to the goroutine that makes the rounds
}

// NewMonitor returns a monitor in StateUnknown that does nothing before Start.
func NewMonitor(o Options) *Monitor {
	m := &Monitor{
		opts:    o.withDefaults(),
		machine: NewMachine(o.Config),
		changed: make(chan struct{}),
		roundCh: make(chan struct{}),
		kick:    make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.rounds.init(m.opts)
	m.view.Store(m.machine.View())
	return m
}

// Start makes a first round, so that View tells a state when it returns, and then goes on in
// goroutines until Close. ctx bounds the first round only; when it ends early, that round is
// dropped and the next one decides. Start lasts at most one Timeout and a quarter for each wave of
// discovered nodes, of which there are at most three. Further calls, and calls after Close, do nothing.
func (m *Monitor) Start(ctx context.Context) {
	m.mu.Lock()
	if m.started || m.closed {
		m.mu.Unlock()
		return
	}
	m.started = true
	m.wg.Add(1)
	m.mu.Unlock()
	defer m.wg.Done()

	first, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.ctx, cancel)
	m.askPending()
	m.round(first)
	stop()
	cancel()
	m.wg.Go(m.probeLoop)
	m.wg.Go(m.noticeLoop)
	if m.opts.ListenSentinel != nil {
		for _, addr := range m.opts.Sentinels {
			m.wg.Go(func() { m.hintLoop(addr) })
		}
	}
}

// Close ends the goroutines and returns when they have, probes under way included. What is still to be told to OnChange and
// OnReplay is dropped; neither is called after Close has returned. Waits return ErrClosed. Further
// calls do nothing.
func (m *Monitor) Close() {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		m.publishLocked()
		m.finishRoundLocked()
	}
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
}

// View returns the present snapshot. It is one atomic load.
func (m *Monitor) View() *View { return m.view.Load() }

// Changed returns a channel that is closed when a view is published after this call, at the latest
// with the next round, or when the monitor is closed. Take it before looking at View. Wait is
// simpler.
func (m *Monitor) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return closedChan
	}
	return m.changed
}

// Wait returns the first view from now on, the present one included, for which cond holds. The
// error is ErrClosed, or tells that ctx has ended and wraps its error; the view is then the latest.
// A state that lasts shorter than the way to this goroutine may be missed; OnChange misses none.
func (m *Monitor) Wait(ctx context.Context, cond func(*View) bool) (*View, error) {
	for {
		ch := m.Changed()
		v := m.View()
		if cond(v) {
			return v, nil
		}
		if ch == closedChan {
			return v, ErrClosed
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return m.View(), fmt.Errorf("topology: wait for a state ended while %s: %w", m.View().State, ctx.Err())
		}
	}
}

// WaitRound asks for a probe round at once and returns when one that began after this call has been
// stepped through, so that View tells what was true after the call. The error is ErrClosed, or tells
// that ctx has ended and wraps its error. Before Start it waits for that.
func (m *Monitor) WaitRound(ctx context.Context) error {
	m.mu.Lock()
	target := m.begun + 1
	m.kickLocked()
	for m.done < target {
		if m.closed {
			m.mu.Unlock()
			return ErrClosed
		}
		ch := m.roundCh
		m.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("topology: wait for a probe round ended: %w", ctx.Err())
		}
		m.mu.Lock()
	}
	m.mu.Unlock()
	return nil
}

// Signal takes what the write path has seen. When it returns, View tells the result: after a signal
// of a write that was certainly not applied, it is no longer Live. It does no I/O and never waits
// for any. A zero At is set to now.
func (m *Monitor) Signal(s Signal) {
	if v := m.View(); v.State == StateNoPrimary || v.State == StateUnreachable || v.State == StateSuspect {
		return // the machine would ignore it, and there may be thousands at once
	}
	if s.At.IsZero() {
		s.At = m.opts.Now()
	}
	if s.Kind == SignalOverload && s.Overload == m.View().Overload && s.At.Sub(m.View().overloadAt) < overloadHold/4 {
		return // known, and there may be thousands of these too
	}
	m.step(s)
}

// Backlog tells whether the journal holds entries that are not trimmed. Where writes are deferred
// while a replay drains, call it again after Drained, or set Options.Pending.
func (m *Monitor) Backlog(pending bool) { m.step(Backlog{At: m.opts.Now(), Pending: pending}) }

// ReplayReady tells that the replay has read the fence of the primary with that run_id.
func (m *Monitor) ReplayReady(attempt uint64, runID string) {
	m.step(ReplayReady{At: m.opts.Now(), Attempt: attempt, RunID: runID})
}

// Drained tells that the replay has ended and the journal is empty.
func (m *Monitor) Drained(attempt uint64) {
	m.step(Drained{At: m.opts.Now(), Attempt: attempt})
	m.askPending()
}

// ReplayStopped tells that the replay has ended before it was drained. After a stop that was
// ordered it may be called or not.
func (m *Monitor) ReplayStopped(attempt uint64, reason StopReason) {
	m.step(ReplayStopped{At: m.opts.Now(), Attempt: attempt, Reason: reason})
}

// RetryReplay starts a replay again that has ended as StopParked.
func (m *Monitor) RetryReplay() { m.step(RetryReplay{At: m.opts.Now()}) }

// WriteAnswered tells that the server with that run_id has answered a write. It is only heeded while
// View.AwaitsWrite.
func (m *Monitor) WriteAnswered(runID string) {
	m.step(WriteAnswered{At: m.opts.Now(), RunID: runID})
}

// askPending raises the backlog where an event for it was lost or overtaken. It never lowers it: the
// answer may be old by the time it is stepped, and a needless replay does no harm where a missing
// one would.
func (m *Monitor) askPending() {
	if m.opts.Pending != nil && m.opts.Pending() {
		m.step(Backlog{At: m.opts.Now(), Pending: true})
	}
}

// step takes one event. Events come from any goroutine; the machine is so quick that each is
// stepped by its own caller.
func (m *Monitor) step(ev Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.stepLocked(ev)
	}
}

func (m *Monitor) stepLocked(ev Event) {
	var actions []Action
	strain := m.machine.overloadAt
	m.machine, actions = Step(m.machine, ev)
	_, publish := ev.(ProbeRound)
	publish = publish || m.machine.overloadAt != strain
	for _, a := range actions {
		switch a := a.(type) {
		case Announce:
			publish = true
			c := a.Change
			m.noticeLocked(notice{change: &c})
		case StartReplay:
			m.noticeLocked(notice{order: &ReplayOrder{Start: true, Attempt: a.Attempt, Primary: a.Primary}})
		case StopReplay:
			m.noticeLocked(notice{order: &ReplayOrder{Attempt: a.Attempt}})
		case ProbeNow:
			m.kickLocked()
		}
	}
	if publish {
		m.view.Store(m.machine.View())
		m.publishLocked()
	}
}

// publishLocked wakes all who wait for a view.
func (m *Monitor) publishLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Hint asks for a probe round at once: something may have changed.
func (m *Monitor) Hint() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kickLocked()
}

func (m *Monitor) kickLocked() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// closedChan stands for "now".
var closedChan = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()
