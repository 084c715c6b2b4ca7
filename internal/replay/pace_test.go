package replay

import (
	"testing"
	"time"
)

// course is a replay in simulated time, to a primary that takes so long for a batch.
type course struct {
	pace
	now      time.Duration
	primary  func(entries int) time.Duration
	last     uint64  // of the journal
	arriving float64 // entries per second
	whole    float64 // arrived, with fractions
	sent     uint64
}

// quick is a primary of two million entries per second, a tenth of a millisecond away.
func quick(entries int) time.Duration {
	return 100*time.Microsecond + time.Duration(entries)*500*time.Nanosecond
}

// late is a primary that takes two milliseconds more for each batch than for the last.
func late() func(int) time.Duration {
	n := time.Duration(0)
	return func(entries int) time.Duration {
		n++
		return quick(entries) + 2*n*time.Millisecond
	}
}

func newCourse(bound float64) *course {
	c := &course{primary: quick, last: 1 << 40}
	c.bound, c.batch, c.burst, c.random = bound, paceBatch, paceBurst, func() float64 { return 0.5 }
	c.restart(0, c.last, c.last)
	return c
}

// step sends one batch.
func (c *course) step() {
	begun := c.now
	c.now += c.wait(c.now)
	entries := int(min(uint64(c.limit(c.now)), c.last-c.sent))
	sent := c.now
	c.now += c.primary(entries)
	c.sent += uint64(entries)
	if c.landed(sent, c.now, entries, 100*entries) {
		c.turn(c.now, c.last, c.last-c.sent)
	}
	c.whole += c.arriving * (c.now - begun).Seconds()
	c.last += uint64(c.whole)
	c.whole -= float64(uint64(c.whole))
}

// run goes on for so long and returns the entries sent meanwhile.
func (c *course) run(d time.Duration) uint64 {
	before, end := c.sent, c.now+d
	for c.now < end {
		c.step()
	}
	return c.sent - before
}

func TestPaceStartsSmallAndSurges(t *testing.T) {
	for _, random := range []float64{0, 0.5, 0.99} {
		c := newCourse(0)
		c.random = func() float64 { return random }
		c.restart(0, c.last, c.last)
		if want := paceStart * (0.5 + random); c.rate != want {
			t.Errorf("with random %v it starts at %v, want %v", random, c.rate, want)
		}
	}
	c := newCourse(0)
	for c.sent < 1000 {
		c.step()
	}
	// A small backlog is not worth a pace.
	if c.now > 200*time.Millisecond {
		t.Errorf("1000 entries took %v", c.now)
	}
	if c.run(time.Second); c.rate < 20*paceStart || !c.surging {
		t.Errorf("after a second of quick batches the pace is %.0f, surging %t", c.rate, c.surging)
	}
}

func TestPaceGrowsNoFurtherThanItIsUsed(t *testing.T) {
	c := newCourse(0)
	c.primary = func(int) time.Duration { return 2 * time.Millisecond } // 50,000 entries per second
	if c.run(10 * time.Second); c.rate < 50_000 || c.rate > 100_000 {
		t.Errorf("the pace is %.0f where 50000 get through", c.rate)
	}
}

func TestPaceShrinksToItsFloorAndGrowsStepwise(t *testing.T) {
	c := newCourse(0)
	c.run(time.Second)
	c.window(t)
	high := c.rate
	c.primary = late()
	c.window(t)
	if c.rate >= high || c.surging {
		t.Errorf("a slow window left %.0f of %.0f, surging %t", c.rate, high, c.surging)
	}
	for range 100 {
		if c.turned(t); c.rate <= paceFloor {
			break
		}
	}
	if c.rate != paceFloor {
		t.Errorf("with slow batches alone the pace is %.0f", c.rate)
	}
	if limit := c.limit(c.due); limit != 5 {
		t.Errorf("at the floor a batch has %d entries, want those of 5 ms", limit)
	}
	c.primary = quick
	c.open(c.now, c.last)
	c.window(t)
	if want := paceFloor + paceStep; c.rate != want {
		t.Errorf("a quick window raised the pace to %.0f, want %.0f", c.rate, want)
	}
}

// window goes on to the end of a window.
func (c *course) window(t *testing.T) {
	t.Helper()
	for over := false; !over; {
		over = c.turned(t)
	}
}

// turned steps, and reports whether a window was over.
func (c *course) turned(t *testing.T) bool {
	t.Helper()
	if c.now > time.Hour {
		t.Fatal("no window ends")
	}
	began := c.began
	c.step()
	return c.began != began
}

func TestPaceOneSlowBatchOfManyIsNone(t *testing.T) {
	c := newCourse(0)
	n := 0
	c.primary = func(entries int) time.Duration {
		if n++; n%20 == 0 {
			return quick(entries) + 3*time.Millisecond
		}
		return quick(entries)
	}
	if c.run(5 * time.Second); c.rate < 20*paceStart {
		t.Errorf("the pace is %.0f although one batch of 20 was slow", c.rate)
	}
}

func TestPaceKeepsItsBound(t *testing.T) {
	for _, bound := range []float64{1, 30, 700, 20_000} {
		c := newCourse(bound)
		var sent []time.Duration
		for c.now < 20*time.Second {
			before := c.sent
			c.step()
			for range c.sent - before {
				sent = append(sent, c.now)
			}
		}
		// In no second more than the bound, and what the credit made good.
		most := int(bound*(1+paceCredit.Seconds()+paceStride.Seconds())) + 1
		first := 0
		for i, at := range sent {
			for sent[first] <= at-time.Second {
				first++
			}
			if n := i - first + 1; n > most {
				t.Fatalf("bound %v: %d entries in the second up to %v, want %d at most", bound, n, at, most)
			}
		}
		if n := float64(len(sent)) / 20; n < 0.9*bound {
			t.Errorf("bound %v: only %.1f entries per second", bound, n)
		}
	}
}

func TestPaceForgetsTheFastestBatch(t *testing.T) {
	c := newCourse(0)
	c.run(10 * time.Second)
	high := c.rate
	c.primary = func(entries int) time.Duration { return quick(entries) + 4*time.Millisecond } // for good
	if c.run(3 * time.Second); c.rate > high/2 {
		t.Errorf("the pace is %.0f, was %.0f, with each batch slow", c.rate, high)
	}
	low := c.rate
	if c.run(2*paceMemory + time.Second); c.rate < 2*low {
		t.Errorf("the pace is %.0f, was %.0f, once the batches are as fast as they ever were", c.rate, low)
	}
}

func TestPaceTellsSlownessByBatchesOfOneSize(t *testing.T) {
	f := fastest{}
	if f.slow(100*time.Microsecond, 0, 1, 100) {
		t.Error("the first batch was slow")
	}
	if f.slow(5*time.Millisecond, 0, 500, 64<<10) {
		t.Error("the first large batch was slow")
	}
	if !f.slow(11*time.Millisecond, 0, 480, 63<<10) {
		t.Error("a large batch of twice the time was not slow")
	}
	if f.slow(time.Millisecond, 0, 1, 100) || !f.slow(1200*time.Microsecond, 0, 1, 100) {
		t.Error("what is a millisecond more than the fastest is slow")
	}
	if f.slow(time.Hour, 0, 1<<40, 1<<40) {
		t.Error("the first huge batch was slow")
	}
	if !f.slow(11*time.Millisecond, 0, 100, 10<<10) {
		t.Error("a batch that took twice as long as a larger one was not slow")
	}
}

// least is how few entries are left at best, looked at so often within a minute, until
// they are few.
func (c *course) least(every time.Duration) uint64 {
	least := uint64(1 << 62)
	for c.now < time.Minute && least > 2*paceBurst {
		c.run(every)
		least = min(least, c.last-c.sent)
	}
	return least
}

func TestPaceIsAheadOfWhatArrives(t *testing.T) {
	// Every batch is slow, so that the pace is at its floor or at its bound, and writers
	// add many times as much.
	for _, bound := range []float64{0, 200} {
		c := newCourse(bound)
		c.last, c.arriving = 3000, 40_000
		c.restart(0, c.last, c.last)
		n := 0
		c.primary = func(entries int) time.Duration {
			n++
			return quick(entries) * time.Duration(1+3*(n%4))
		}
		least := c.least(5 * time.Second)
		// What two batches can take makes writers wait: see cut-over in package resilient.
		if least > 2*paceBurst && bound == 0 {
			t.Errorf("bound %v: %d entries are left after %v", bound, least, c.now)
		}
		if bound > 0 && c.arrivals < 0.9*c.arriving {
			t.Errorf("bound %v: %.0f entries arrive, %.0f are allowed for", bound, c.arriving, c.arrivals)
		}
	}
}

// TestPaceFollowsWhatArrives: a primary that is busy with others takes long for most
// batches, and many entries arrive meanwhile. More must be sent, however slow it is.
func TestPaceFollowsWhatArrives(t *testing.T) {
	for _, busy := range []time.Duration{8, 20, 35} {
		c := newCourse(0)
		c.last, c.arriving = 3000, 10_000
		c.restart(0, c.last, c.last)
		n := 0
		c.primary = func(entries int) time.Duration {
			if n++; n%20 == 0 {
				return quick(entries)
			}
			return quick(entries) + busy*time.Millisecond
		}
		least := c.least(100 * time.Millisecond)
		if least > 2*paceBurst {
			t.Errorf("%d ms for a batch: %d entries are left after %v", busy, c.last-c.sent, c.now)
		}
	}
}

// TestPaceIsGentleWhereTheBacklogShrinks: that writers add to it is no reason to press a
// primary that keeps up with them.
func TestPaceIsGentleWhereTheBacklogShrinks(t *testing.T) {
	c := newCourse(0)
	c.last, c.arriving = 1_000_000, 2000
	c.restart(0, c.last, c.last)
	n := 0
	c.primary = func(entries int) time.Duration {
		if n++; n%3 == 0 {
			return quick(entries) + 2*time.Millisecond
		}
		return quick(entries)
	}
	for c.now < 20*time.Second {
		if c.step(); c.lagging {
			t.Fatalf("after %v it takes itself to be behind, with %d of %d left", c.now, c.last-c.sent, c.last)
		}
	}
	if c.rate > 10*paceFloor {
		t.Errorf("the pace is %.0f with a third of the batches slow", c.rate)
	}
}

func TestPaceHasLargerBatchesFarAway(t *testing.T) {
	for _, c := range []struct {
		far   time.Duration
		least uint64 // entries per second
		batch int
	}{
		{time.Millisecond, 50_000, paceBatch},
		{5 * time.Millisecond, 40_000, 255},
		{50 * time.Millisecond, 9000, paceBurst},
	} {
		p := newCourse(0)
		p.primary = func(entries int) time.Duration { return quick(entries) + c.far }
		p.run(5 * time.Second)
		if n := p.run(time.Second); n < c.least || p.most > c.batch || p.lagging {
			t.Errorf("%v away: %d entries per second, of %d at a time", c.far, n, p.most)
		}
	}
}
