package replay

import (
	"math/bits"
	"time"
)

// The pace of a replay. The figures were found by measuring the latency of other
// clients beside 1, 8 and 32 replays at once: see docs/benchmarks.md.
const (
	// paceStart is where a session begins, in entries per second, give or take half:
	// the replays of a fleet come back at once, and should not rise in step.
	paceStart = 5000.0
	// paceFloor is what no slowness of the primary takes away.
	paceFloor = 1000.0

	// Once in a paceWindow, give or take a fifth, the pace is set anew.
	paceWindow = 50 * time.Millisecond
	// Until the first slow window it grows by the factor paceSurge, from then on by
	// paceShare of itself, yet at least by paceStep.
	paceSurge = 1.5
	paceShare = 0.05
	paceStep  = 2000.0
	// A slow window, in which one batch of slowEvery was slow, leaves paceCut of it.
	paceCut   = 0.7
	slowEvery = 5
	// A pace of which less than usedUp was used does not grow.
	usedUp = 0.8
	// A batch is slow when it took twice as long as the fastest of its size of late,
	// and slowMargin longer.
	slowMargin = time.Millisecond
	// paceMemory is how long the fastest batch is remembered, up to twice as long: a
	// primary that has become slower for good is measured by what it is now.
	paceMemory = 5 * time.Second

	// paceBatch bounds the entries of a batch. Other clients wait for the batches of all
	// replays that are on the server when they come, one of each: this bounds the sum.
	// Smaller batches cost more of the primary than they give.
	paceBatch = 100
	// Where no batch came back in less than this for each entry, it is the way there that
	// takes the time, and batches may be larger, up to paceBurst.
	paceWay = 20 * time.Microsecond
	// paceBurst bounds these, and what goes at once where time was not used.
	paceBurst = 500
	// paceStride is how much time a batch may stand for: a slow replay sends smaller
	// batches rather than the same at long intervals, so that a window has several by
	// which to tell slowness.
	paceStride = paceWindow / 10
	// paceCredit is how much time that was not used may be made up for, by paceBurst at
	// most. It lets a small backlog go at once, and makes good what timers oversleep.
	paceCredit = 100 * time.Millisecond
	// paceWindowful is how much time a window of entries of several lanes stands for.
	paceWindowful = 250 * time.Millisecond
	// arrivalSpan is what the rate of arriving entries is averaged over.
	arrivalSpan = time.Second
	// lagSpan is for how long the replay may be behind before it is seen to be. What it
	// then has yet to send must be less than what makes writers wait at the end of a
	// drain: see cut-over in package resilient.
	lagSpan = 200 * time.Millisecond
)

// pace says how fast entries may be sent: adaptive to the time that the primary takes
// for a batch, as TCP is to loss. It reads no clock: times are since any one moment.
// It belongs to one goroutine.
//
// What arrives while the replay goes on comes on top of the pace: these writes would
// have gone to the primary at that rate anyway. And it is looked at what comes of that:
// the backlog has to shrink by half of paceFloor, or of the bound, in a second. Where it
// does not, as batches take long, they grow up to what Options allow, and the pace grows
// however slow the primary is, up to its bound. So a paced replay falls behind those who
// write meanwhile only where one without a pace would.
type pace struct {
	bound  float64 // the pace never exceeds this; 0: no bound
	batch  int     // the most entries of a batch to a primary that is near
	burst  int     // the most of any batch, and the most that are made up for
	random func() float64

	rate     float64 // of the backlog, in entries per second
	arrivals float64 // of new entries, likewise
	surging  bool    // there was no slow window yet
	started  time.Duration
	due      time.Duration // when everything that was sent is paid for
	latest   time.Duration // when a batch was sent last
	goal     float64       // what should be left at most, but for what has just arrived
	lagging  bool          // more is
	most     int           // the most entries of a batch now
	fastest  fastest

	// Of the window that is open:
	began, length time.Duration
	batches, slow int
	entries       int
	last          uint64 // the journal's last sequence at its beginning
}

// restart begins anew. last is the journal's last sequence, and left how many are to go.
func (p *pace) restart(now time.Duration, last, left uint64) {
	p.rate = paceStart * (0.5 + p.random())
	if p.bound > 0 {
		p.rate = min(p.rate, p.bound)
	}
	p.arrivals, p.surging, p.started = 0, true, now
	p.goal, p.lagging, p.most = float64(left), false, p.batch
	p.due, p.latest = now-p.credit(), now
	p.fastest = fastest{turned: now}
	p.open(now, last)
}

// open begins a window.
func (p *pace) open(now time.Duration, last uint64) {
	p.began, p.last = now, last
	p.length = time.Duration(float64(paceWindow) * (0.8 + 0.4*p.random()))
	p.batches, p.slow, p.entries = 0, 0, 0
}

// total is the rate at which entries may be sent.
func (p *pace) total() float64 { return p.rate + p.arrivals }

// worth is how many entries a time is worth, at least one.
func (p *pace) worth(d time.Duration, most int) int {
	return int(max(1, min(p.total()*d.Seconds(), float64(most))))
}

// limit is the most entries of the next batch. Where batches take longer than paceStride,
// it is what the time since the last one is worth, or the pace would not be reached.
func (p *pace) limit(now time.Duration) int {
	return p.worth(max(paceStride, now-p.due), p.most)
}

// credit is the time that may be made up for.
func (p *pace) credit() time.Duration {
	return min(paceCredit, p.lasts(p.burst))
}

// lasts is the time that so many entries stand for.
func (p *pace) lasts(entries int) time.Duration {
	return time.Duration(float64(entries) / p.total() * float64(time.Second))
}

// wait is how long the next batch has to wait.
func (p *pace) wait(now time.Duration) time.Duration { return max(0, p.due-now) }

// stale reports whether nothing was sent for so long that nothing is known any more.
func (p *pace) stale(now time.Duration) bool { return now-p.latest > 2*paceMemory }

// landed notes a batch of so many entries and bytes, sent at one time and answered at
// another. It reports whether the window is over: then turn is due.
func (p *pace) landed(sent, answered time.Duration, entries, bytes int) (over bool) {
	p.due = max(p.due, sent-p.credit()) + p.lasts(entries)
	p.latest = sent
	if p.fastest.slow(answered-sent, answered, entries, bytes) {
		p.slow++
	}
	p.batches++
	p.entries += entries
	return answered-p.began >= p.length
}

// turn ends a window and sets the pace of the next one. last is the journal's last
// sequence now, and left how many are to go.
func (p *pace) turn(now time.Duration, last, left uint64) {
	elapsed := max(now-p.began, time.Microsecond).Seconds()
	used := float64(p.entries) / elapsed
	switch {
	case p.lagging:
		if used >= usedUp*p.total() {
			p.rate *= paceSurge
		}
	case p.slow*slowEvery >= p.batches && p.slow > 0:
		// A pace that was not used up is not what was too much.
		p.rate, p.surging = paceCut*min(p.rate, max(used, paceStart)), false
	case used < usedUp*p.total(): // something else than the pace is the limit
	case p.surging:
		p.rate *= paceSurge
	default:
		p.rate += max(paceStep, paceShare*p.rate)
	}
	p.rate = max(p.rate, paceFloor)
	if p.bound > 0 {
		p.rate = min(p.rate, p.bound)
	}
	// Where the entries of other lanes stand in between, they are counted too: too many
	// rather than too few, or the replay might fall behind for ever.
	if last > p.last || p.arrivals > 0 {
		arrived := float64(max(last, p.last)-p.last) / elapsed
		span := max(elapsed, min(arrivalSpan, now-p.started).Seconds())
		p.arrivals += (arrived - p.arrivals) * elapsed / span
	}
	p.measure(left, elapsed)
	p.open(now, last)
}

// measure looks whether so many entries are more than there should be.
func (p *pace) measure(left uint64, elapsed float64) {
	least := paceFloor
	if p.bound > 0 {
		least = min(least, p.bound)
	}
	p.goal = max(0, min(p.goal-least/2*elapsed, float64(left)))
	p.most = min(p.burst, max(p.batch, int(p.fastest.least()/paceWay)))
	if p.lagging = float64(left) > p.goal+float64(p.worth(lagSpan, max(p.burst, int(p.goal/4)))); p.lagging {
		p.most = p.burst
	}
}

// fastest remembers the fastest batch of late, by size: each class holds twice the work
// of the one before. Whether a batch is slow can be told only from its like.
type fastest struct {
	turned    time.Duration // when now began
	now, past [sizeClasses]time.Duration
}

// sizeClasses is enough for the largest entry.
const sizeClasses = 32

// bytesOfEntry is how many bytes are as much work for the primary as an entry.
const bytesOfEntry = 256

// slow notes a batch's time and reports whether it was slow.
func (f *fastest) slow(took, at time.Duration, entries, bytes int) bool {
	switch age := at - f.turned; {
	case age >= 2*paceMemory:
		*f = fastest{turned: at}
	case age >= paceMemory:
		f.past, f.now, f.turned = f.now, [sizeClasses]time.Duration{}, at
	}
	class := min(bits.Len(uint(entries+bytes/bytesOfEntry)), sizeClasses-1)
	took = max(took, 1) // 0 stands for none
	// A batch should not take longer than a larger one did: as the pace falls, so do the
	// batches, and the first one of a class may be slow itself.
	best := time.Duration(0)
	for c := class; c < sizeClasses; c++ {
		best = least(best, least(f.past[c], f.now[c]))
	}
	f.now[class] = least(f.now[class], took)
	return best > 0 && took > max(2*best, best+slowMargin)
}

// least is the fastest batch of late, of any size; 0: there was none.
func (f *fastest) least() (best time.Duration) {
	for c := range f.now {
		best = least(best, least(f.past[c], f.now[c]))
	}
	return best
}

// least is the smaller one of those that are not 0.
func least(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
