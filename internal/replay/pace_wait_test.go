package replay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// paced is a Replayer in a session, without a server.
func paced(t *testing.T, rate, entries int) (*Replayer, *session, *acker) {
	t.Helper()
	src := newSource()
	for range entries {
		src.add("INCR", "n")
	}
	r, err := New(Options{ClientID: "test", Source: src, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{pacing: r.pacing}
	r.pacing.begin(nil)
	return r, s, newAcker(r, s)
}

// land is a batch of so many entries that took no time.
func (r *Replayer) land(s *session, entries int) {
	s.after += uint64(entries)
	r.pacing.landed(r.pacing.now(), entries, 10*entries)
}

func TestAdmitWaitsForThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, a := paced(t, 10, 100)
		begun := time.Now()
		for range 21 {
			if err := r.admit(t.Context(), s, a, false); err != nil {
				t.Fatal(err)
			}
			r.land(s, r.pacing.entries())
		}
		// One goes at once and one on credit.
		if took := time.Since(begun); took < 1900*time.Millisecond || took > 2*time.Second {
			t.Errorf("21 entries at 10 per second took %v", took)
		}
		if r.Pace() != 10 {
			t.Errorf("the pace is %v", r.Pace())
		}
		r.pacing.end()
		if r.Pace() != 0 {
			t.Errorf("the pace is %v without a session", r.Pace())
		}
	})
}

func TestAdmitEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, a := paced(t, 1, 100)
		r.land(s, 50)
		begun := time.Now()
		if err := r.admit(t.Context(), &session{after: 100}, a, false); err != nil {
			t.Errorf("with nothing to send: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- r.admit(ctx, s, a, false) }()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("at the end of its context: %v", err)
		}
		go func() { result <- r.admit(t.Context(), s, a, true) }()
		synctest.Wait()
		a.err = errJournal
		close(a.done)
		if err := <-result; !errors.Is(err, errJournal) {
			t.Errorf("when the acker failed: %v", err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAdmitWaitsForReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, a := paced(t, -1, 100)
		held := &attachment{r: r, room: 15, open: make(chan struct{})}
		r.pacing.begin(held)
		r.land(s, 1)
		if err := r.admit(t.Context(), s, a, false); err != nil {
			t.Fatal(err)
		}
		r.land(s, 1) // more than there is room for
		result := make(chan error)
		go func() { result <- r.admit(t.Context(), s, a, false) }()
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("a batch was admitted before the replicas were there: %v", err)
		default:
		}
		close(held.open)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if r.Pace() != 0 {
			t.Errorf("the pace is %v without one", r.Pace())
		}
	})
}

func TestAdvancedComesOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := paced(t, 0, 1000)
		var rates []float64
		r.opt.Hooks.Advanced = func(rate float64) { rates = append(rates, rate) }
		for range 40 {
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // simulated time
			r.mu.Lock()
			r.stats.Replayed += 10
			r.mu.Unlock()
			r.land(s, 10)
		}
		if len(rates) != 4 || rates[0] != 100 || rates[3] != 100 {
			t.Errorf("rates %v", rates)
		}
		if st := r.Stats(); st.Bytes != 4000 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestThePaceBeginsAnewAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, a := paced(t, 0, 1000)
		r.pacing.rate, r.pacing.surging = paceFloor, false
		time.Sleep(2*paceMemory + time.Second) //nolint:forbidigo // simulated time
		if err := r.admit(t.Context(), s, a, false); err != nil {
			t.Fatal(err)
		}
		if !r.pacing.surging || r.pacing.rate < paceStart/2 {
			t.Errorf("the pace is %.0f, surging %t", r.pacing.rate, r.pacing.surging)
		}
	})
}

func TestPacingAllocatesNothing(t *testing.T) {
	r, s, a := paced(t, 1e9, 1)
	s.after = 0
	if n := testing.AllocsPerRun(1000, func() {
		if err := r.admit(t.Context(), s, a, true); err != nil {
			t.Fatal(err)
		}
		r.pacing.landed(r.pacing.now(), 5, 500)
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
