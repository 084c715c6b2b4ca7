package replay

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// advanceEvery is the least time between two calls of Hooks.Advanced.
const advanceEvery = time.Second

// pacing keeps the pace of a Replayer. It belongs to the goroutine of Run, but for
// allowed.
type pacing struct {
	pace
	r       *Replayer
	off     bool      // no pace: as fast as the primary takes it
	origin  time.Time // what the times of the pace are since
	timer   *time.Timer
	held    *attachment // of the session
	toldAt  time.Duration
	toldOf  uint64        // Stats.Replayed as of then
	allowed atomic.Uint64 // the bits of the rate; 0: there is none
}

func newPacing(r *Replayer) *pacing {
	p := &pacing{r: r, off: r.opt.Rate < 0, origin: time.Now()}
	p.batch, p.burst, p.random = min(r.opt.BatchEntries, paceBatch), min(r.opt.BatchEntries, paceBurst), rand.Float64
	if r.opt.Rate > 0 {
		p.bound = float64(r.opt.Rate)
	}
	p.timer = time.NewTimer(time.Hour)
	p.timer.Stop()
	return p
}

func (p *pacing) now() time.Duration { return time.Since(p.origin) }

// begin starts the pace of a session, whose first bytes go before its replicas are
// known to be attached.
func (p *pacing) begin(held *attachment) {
	p.held = held
	p.anew(p.now())
	p.toldAt, p.toldOf = p.now(), p.r.Stats().Replayed
	p.publish()
}

// anew begins anew.
func (p *pacing) anew(now time.Duration) {
	last, left := p.r.ahead()
	p.restart(now, last, left)
}

// end is the end of a session.
func (p *pacing) end() { p.allowed.Store(0) }

func (p *pacing) publish() {
	if !p.off {
		p.allowed.Store(math.Float64bits(p.total()))
	}
}

// entries is the most entries that the next batch may have.
func (p *pacing) entries() int {
	if p.off {
		return p.r.opt.BatchEntries
	}
	return p.limit(p.now())
}

// windowful is the most entries that the next window may have, where there are lanes.
func (p *pacing) windowful() int {
	if p.off {
		return windowBatches * p.r.opt.BatchEntries
	}
	return max(p.limit(p.now()), p.worth(paceWindowful, windowBatches*p.burst))
}

// admit waits until the next batch may be sent: for the pace, and for replicas that a
// fresh primary is to keep. It comes before the batch is read, so that what is read is not
// older for the wait. sure says that there is something to send; else admit returns at
// once when there is not. It fails when the session is over.
func (r *Replayer) admit(ctx context.Context, s *session, a *acker, sure bool) error {
	p := r.pacing
	for {
		wait, attached := p.delay()
		switch {
		case wait == 0 && attached == nil:
			return nil
		case !sure && !s.mend && r.opt.Source.Bounds().Last <= s.after:
			return nil
		}
		var paid <-chan time.Time
		if wait > 0 {
			p.timer.Reset(wait)
			paid = p.timer.C
		}
		select {
		case <-paid:
		case <-attached:
		case <-a.done:
			return alive(ctx, a)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// delay is what the next batch has to wait for: so long, or until a channel is closed
// that is not nil. One is waited for after the other.
func (p *pacing) delay() (wait time.Duration, attached <-chan struct{}) {
	if !p.off {
		now := p.now()
		if p.stale(now) {
			p.anew(now)
			p.publish()
		}
		if wait = p.wait(now); wait < minWaitFor {
			wait = 0
		}
	}
	if wait == 0 {
		attached = p.held.hold()
	}
	return wait, attached
}

// minWaitFor is what no timer is set for: what it is short of, later batches wait longer.
const minWaitFor = 50 * time.Microsecond

// landed notes that a batch was answered: so many entries and bytes, sent at that time.
func (p *pacing) landed(sent time.Duration, entries, bytes int) {
	now := p.now()
	p.held.sent(bytes)
	p.r.addBytes(bytes)
	if !p.off && p.pace.landed(sent, now, entries, bytes) {
		last, left := p.r.ahead()
		p.turn(now, last, left)
		p.publish()
	}
	p.tell(now)
}

// tell calls the hook, if it is time to.
func (p *pacing) tell(now time.Duration) {
	elapsed := now - p.toldAt
	if elapsed < advanceEvery || p.r.opt.Hooks.Advanced == nil {
		return
	}
	replayed := p.r.Stats().Replayed
	rate := float64(replayed-p.toldOf) / elapsed.Seconds()
	p.toldAt, p.toldOf = now, replayed
	p.r.opt.Hooks.Advanced(rate)
}

// ahead is the journal's last sequence, and how many are to go up to it.
func (r *Replayer) ahead() (last, left uint64) {
	last = r.opt.Source.Bounds().Last
	r.mu.Lock()
	defer r.mu.Unlock()
	return last, max(last, r.stats.Acked) - r.stats.Acked
}

// addBytes counts what was sent and answered.
func (r *Replayer) addBytes(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Bytes += uint64(n)
}

// Pace is the rate, in entries per second, at which entries may be sent at present; 0
// where there is no bound, or no session.
func (r *Replayer) Pace() float64 { return math.Float64frombits(r.pacing.allowed.Load()) }
