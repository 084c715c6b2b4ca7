package topology

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// minGap is the least time between the beginnings of two rounds, however often one is asked for.
	minGap = 20 * time.Millisecond
	// maxWaves is how often a round follows newly named addresses: replica → master → its replicas.
	maxWaves = 3
	// jitter spreads the rounds of a fleet: each interval is up to this part shorter or longer.
	jitter = 0.1
)

// rounds is what the goroutine that makes the rounds keeps between them.
type rounds struct {
	roster  *roster
	backoff *backoff.ExponentialBackOff
	paced   State     // the state that the backoff was paced for
	began   time.Time // of the latest round
	// late are probes that had not returned when their round ended. Their nodes are not asked again
	// before they do, or a probe that hangs would pile up.
	late    map[string]bool
	results chan NodeReport // from the probes, late ones too
}

func (r *rounds) init(o Options) {
	r.roster = newRoster(o.Seeds)
	r.late = map[string]bool{}
	// Each address has at most one probe under way, so that probes need not wait to hand in.
	r.results = make(chan NodeReport, rosterLimit)
	r.backoff = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(o.Interval/10),
		backoff.WithMaxInterval(o.Interval),
		backoff.WithMultiplier(1.5),
		backoff.WithRandomizationFactor(2*jitter),
		backoff.WithMaxElapsedTime(0),
	)
}

// probeLoop makes rounds until the monitor is closed.
func (m *Monitor) probeLoop() {
	for {
		if !m.sleep(m.pace(), m.kick) || !m.sleep(minGap-time.Since(m.rounds.began), nil) {
			return
		}
		m.askPending()
		m.round(m.ctx)
	}
}

// sleep waits for d or, if it is not nil, for early; false when the monitor was closed.
func (m *Monitor) sleep(d time.Duration, early <-chan struct{}) bool {
	if d <= 0 {
		return m.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-m.ctx.Done():
		return false
	case <-early:
	case <-timer.C:
	}
	return true
}

// pace returns the time to the next round: the interval while live; in an outage the backoff,
// begun anew with each state, as a change makes the next one likely.
func (m *Monitor) pace() time.Duration {
	r := &m.rounds
	state := m.View().State
	if state.Live() {
		r.paced = state
		return time.Duration(float64(m.opts.Interval) * (1 + jitter*(2*rand.Float64()-1)))
	}
	if state != r.paced {
		r.paced = state
		r.backoff.Reset()
	}
	return r.backoff.NextBackOff()
}

// round probes all known nodes, and those that they name, and steps the machine.
func (m *Monitor) round(ctx context.Context) {
	m.mu.Lock()
	m.begun++
	id := m.begun
	// A kick from before this moment asked for this round; WaitRound counts on one from after it
	// being kept, and takes its target under the same lock.
	select {
	case <-m.kick:
	default:
	}
	m.mu.Unlock()

	r := &m.rounds
	r.began = time.Now()
	var nodes []NodeReport
	wave := append([]rosterEntry(nil), r.roster.entries...)
	for range maxWaves {
		reports := m.wave(ctx, wave)
		wave = nil
		for i := range reports {
			wave = append(wave, r.roster.discover(&reports[i])...)
		}
		nodes = append(nodes, reports...)
		if len(wave) == 0 {
			break
		}
	}
	if ctx.Err() != nil {
		// Silence that we made ourselves says nothing about the nodes.
		m.mu.Lock()
		m.kickLocked()
		m.mu.Unlock()
		return
	}
	r.roster.order(nodes)
	m.mu.Lock()
	if !m.closed {
		m.stepLocked(ProbeRound{At: m.opts.Now(), Nodes: nodes})
		m.done = id
		m.finishRoundLocked()
	}
	v := m.View()
	m.mu.Unlock()
	if v.Live {
		r.roster.settle(nodes, v.Primary)
	}
}

// finishRoundLocked wakes all who wait for a round.
func (m *Monitor) finishRoundLocked() {
	close(m.roundCh)
	m.roundCh = make(chan struct{})
}

// wave probes some nodes at once and returns a report for each.
func (m *Monitor) wave(ctx context.Context, entries []rosterEntry) []NodeReport {
	r := &m.rounds
	ctx, cancel := context.WithTimeout(ctx, m.opts.Timeout)
	defer cancel()
	r.drainLate()
	waiting := map[string]bool{}
	for _, e := range entries {
		if !r.late[e.addr] {
			waiting[e.addr] = true
			m.wg.Go(func() {
				select {
				case r.results <- m.probe(ctx, e.addr):
				case <-m.ctx.Done():
				}
			})
		}
	}
	// A probe that ends with its context knows best how far it came, so it gets a little longer.
	limit := time.NewTimer(m.opts.Timeout + m.opts.Timeout/4)
	defer limit.Stop()
	got := map[string]NodeReport{}
	for expired := false; len(waiting) > 0 && !expired; {
		select {
		case n := <-r.results:
			if r.late[n.Addr] {
				delete(r.late, n.Addr)
				continue
			}
			delete(waiting, n.Addr)
			got[n.Addr] = n
		case <-limit.C:
			expired = true
		case <-m.ctx.Done():
			expired = true // the round will be dropped
		}
	}
	out := make([]NodeReport, 0, len(entries))
	for _, e := range entries {
		n, ok := got[e.addr]
		if !ok {
			n = NodeReport{Addr: e.addr, Outcome: OutcomeTimeout, Err: fmt.Errorf("topology: the probe has not returned within %s, so the node counts as not answering", m.opts.Timeout)}
		}
		if waiting[e.addr] {
			r.late[e.addr] = true
		}
		n.Seed = e.seed
		out = append(out, n)
	}
	return out
}

// drainLate takes what probes of earlier rounds have handed in since: too old to tell anything, but
// their nodes may be asked again.
func (r *rounds) drainLate() {
	for {
		select {
		case n := <-r.results:
			delete(r.late, n.Addr)
		default:
			return
		}
	}
}

// probe calls Options.Probe and holds it to its contract.
func (m *Monitor) probe(ctx context.Context, addr string) (n NodeReport) {
	defer func() {
		if r := recover(); r != nil {
			m.logPanic("Probe", r)
			n = NodeReport{Outcome: OutcomeBroken, Err: fmt.Errorf("topology: the probe panicked (%T)", r)}
		}
		n.Addr = addr // results are told apart by it
	}()
	return m.opts.Probe(ctx, addr)
}
