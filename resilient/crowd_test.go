package resilient

import (
	"testing"
	"time"
)

// TestCrowdLetsEveryDrainEnd: writers add five entries for one that is replayed as long
// as they may.
func TestCrowdLetsEveryDrainEnd(t *testing.T) {
	const room, begun = 1000, 10_000
	for _, step := range []int{1, 100, 500} {
		c, f := crowd{}, &feed{}
		left, gone := begun, 0
		for left > 0 && gone <= 3*(begun+room) {
			n := min(step, left)
			left, gone = left-n, gone+n
			if c.look(headway{feed: f, attempt: 1, left: left, gone: uint64(gone)}, room); !c.full.Load() {
				left += 5 * n
			}
		}
		if left > 0 || gone > 2*(begun+room)+12*step {
			t.Errorf("by %d: %d are left of %d after %d", step, left, begun, gone)
		}
	}
}

func TestCrowdBegins(t *testing.T) {
	c, f := crowd{}, &feed{}
	look := func(h headway, want bool) {
		t.Helper()
		if c.look(h, 10); c.full.Load() != want {
			t.Errorf("%d are left, %d gone, attempt %d: full %t", h.left, h.gone, h.attempt, !want)
		}
	}
	look(headway{f, 1, 100, 0}, false)
	look(headway{f, 1, 110, 0}, false)
	look(headway{f, 1, 111, 0}, true)
	look(headway{f, 1, 111, 1}, true)
	look(headway{f, 1, 109, 2}, false)
	look(headway{f, 1, 11, 200}, true)
	look(headway{f, 1, 10, 200}, false)
	look(headway{f, 2, 500, 200}, false) // another replay
	look(headway{f, 2, 511, 200}, true)
	look(headway{&feed{}, 2, 600, 0}, false) // of other entries
	look(headway{&feed{}, 2, 700, 0}, false)
	c.reset()
	look(headway{f, 2, 900, 0}, false)
	look(headway{f, 2, 911, 0}, true)
}

// TestMotion: a replay whose batches take long is not one that stands still.
func TestMotion(t *testing.T) {
	for _, c := range []struct {
		batch, stall time.Duration
	}{
		{5 * time.Millisecond, stallAfter},
		{200 * time.Millisecond, 600 * time.Millisecond},
		{900 * time.Millisecond, 2700 * time.Millisecond},
		{time.Minute, 3 * time.Second},
	} {
		m, now := motion{}, time.Unix(1, 0)
		m.begin(now)
		batches := uint64(0)
		for range 50 {
			// Nobody may look for some batches.
			for _, n := range []uint64{1, 3} {
				now, batches = now.Add(time.Duration(n)*c.batch), batches+n
				if m.stalled(now, 500*batches, batches) {
					t.Fatalf("%v a batch: stalled after %d", c.batch, batches)
				}
			}
		}
		now = now.Add(c.batch)
		if m.stalled(now, 500*batches+1, batches) { // replicas have confirmed
			t.Errorf("%v a batch: stalled while replicas confirm", c.batch)
		}
		if at := now.Add(c.stall * 9 / 10); m.stalled(at, 500*batches+1, batches) {
			t.Errorf("%v a batch: stalled within %v", c.batch, c.stall*9/10)
		}
		if at := now.Add(c.stall + time.Millisecond); !m.stalled(at, 500*batches+1, batches) {
			t.Errorf("%v a batch: not stalled after %v", c.batch, c.stall)
		}
		m.begin(now.Add(time.Hour))
		if m.stalled(now.Add(time.Hour), 500*batches+1, batches) {
			t.Errorf("%v a batch: stalled at the beginning of a session", c.batch)
		}
	}
}
