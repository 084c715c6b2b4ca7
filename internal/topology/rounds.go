package topology

import (
	"context"
	"math/rand/v2"
	"slices"
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
	roster    *roster
	sentinels *roster // during a round it belongs to the goroutine that asks them
	backoff   *backoff.ExponentialBackOff
	paced     State     // the state that the backoff was paced for
	began     time.Time // of the latest round
	forgot    time.Time // when connections were forgotten
	ask       *crew[NodeReport]
	hear      *crew[SentinelReport]
}

func (r *rounds) init(o Options) {
	r.roster = newRoster(o.Seeds)
	r.sentinels = newRoster(o.Sentinels)
	r.ask = newCrew(o.Probe, func(addr string, outcome Outcome, err error) NodeReport {
		return NodeReport{Addr: addr, Outcome: outcome, Err: err}
	})
	r.hear = newCrew(o.ProbeSentinel, func(addr string, outcome Outcome, err error) SentinelReport {
		return SentinelReport{Addr: addr, Outcome: outcome, Err: err}
	})
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

	m.rounds.began = time.Now()
	sentinels := m.roundOfSentinels(ctx)
	nodes, told := m.roundOfNodes(ctx, sentinels)
	if ctx.Err() != nil {
		// Silence that we made ourselves says nothing about the nodes.
		m.mu.Lock()
		m.kickLocked()
		m.mu.Unlock()
		return
	}
	var facts *ShardFacts
	if m.opts.Facts != nil {
		facts = m.opts.Facts()
	}
	m.mu.Lock()
	if !m.closed {
		m.stepLocked(ProbeRound{At: m.opts.Now(), Nodes: nodes, Sentinels: told, Cluster: facts})
		m.done = id
		m.finishRoundLocked()
	}
	v := m.View()
	m.mu.Unlock()
	m.rounds.settle(v, facts)
	m.forget(v, facts)
}

// forgetEvery is the least time between two rounds that forget connections.
const forgetEvery = time.Second

// forget has the connections to seeds made anew that led to no primary.
func (m *Monitor) forget(v *View, facts *ShardFacts) {
	r := &m.rounds
	if m.opts.Forget == nil || facts != nil || v.Live || r.began.Sub(r.forgot) < forgetEvery {
		return
	}
	r.forgot = r.began
	for i := range v.Nodes {
		if n := &v.Nodes[i]; n.Seed && n.Answered() && n.Role != RoleMaster {
			m.opts.Forget(n.Addr)
		}
	}
}

// roundOfNodes probes all known nodes and those that they, or the Sentinels, name; it returns what
// the Sentinels told, too.
func (m *Monitor) roundOfNodes(ctx context.Context, sentinels <-chan []SentinelReport) ([]NodeReport, []SentinelReport) {
	r := &m.rounds
	var (
		nodes []NodeReport
		told  []SentinelReport
	)
	wave := slices.Clone(r.roster.entries)
	for i := range maxWaves {
		got := r.ask.wave(ctx, m, addrsOf(wave))
		reports := make([]NodeReport, 0, len(wave))
		for _, e := range wave {
			n := got[e.addr]
			n.Addr, n.Seed = e.addr, e.seed
			reports = append(reports, n)
		}
		wave = nil
		if i == 0 {
			told = <-sentinels
			wave = r.roster.discover(namedBySentinels(told))
		}
		for j := range reports {
			if m.opts.Facts == nil { // the servers of a Cluster's shard are told by it
				wave = append(wave, r.roster.discover(named(&reports[j]))...)
			}
		}
		nodes = append(nodes, reports...)
		if len(wave) == 0 {
			break
		}
	}
	r.roster.order(nodes)
	return nodes, told
}

// roundOfSentinels asks the Sentinels meanwhile, and those that they name.
func (m *Monitor) roundOfSentinels(ctx context.Context) <-chan []SentinelReport {
	r := &m.rounds
	out := make(chan []SentinelReport, 1)
	if len(r.sentinels.entries) == 0 {
		out <- nil
		return out
	}
	m.wg.Go(func() {
		var all []SentinelReport
		wave := slices.Clone(r.sentinels.entries)
		for range 2 { // one Sentinel names all others
			got := r.hear.wave(ctx, m, addrsOf(wave))
			var fresh []rosterEntry
			for _, e := range wave {
				s := got[e.addr]
				s.Addr, s.Seed = e.addr, e.seed
				fresh = append(fresh, r.sentinels.discover(s.Sentinels)...)
				all = append(all, s)
			}
			if wave = fresh; len(wave) == 0 {
				break
			}
		}
		out <- all
	})
	return out
}

// settle forgets what nobody names any more.
func (r *rounds) settle(v *View, facts *ShardFacts) {
	if facts != nil {
		r.roster.become(facts.Members)
		return
	}
	if !v.Live {
		return
	}
	mentioned := map[string]bool{v.Primary.Addr: true}
	for i := range v.Nodes {
		mention(mentioned, named(&v.Nodes[i]))
	}
	mention(mentioned, namedBySentinels(v.Sentinels))
	r.roster.settle(mentioned)
	mentioned = map[string]bool{}
	for i := range v.Sentinels {
		mention(mentioned, v.Sentinels[i].Sentinels)
	}
	r.sentinels.settle(mentioned)
}

func mention(mentioned map[string]bool, addrs []string) {
	for _, addr := range addrs {
		mentioned[addr] = true
	}
}

// finishRoundLocked wakes all who wait for a round.
func (m *Monitor) finishRoundLocked() {
	close(m.roundCh)
	m.roundCh = make(chan struct{})
}
