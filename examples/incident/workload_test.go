package main

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// TestSidesAttemptTheSame runs both sides, one of which is refused everything
// and slow.
func TestSidesAttemptTheSame(t *testing.T) {
	group := redistest.StartT(t, redistest.Options{Replicas: 1})
	primary, replica := openPlain(group.Node(0).Addr()), openPlain(group.Node(1).Addr())
	t.Cleanup(func() { _, _ = primary.Close(), replica.Close() })
	fast, slow := newSide("fast", "fast:", primary), newSide("slow", "slow:", replica)
	load := newWorkload(&phaseClock{}, 20, 1)
	load.start(t.Context(), slow, fast)
	redistest.Eventually(t, 10*time.Second, "some writes on both sides", func() bool {
		return fast.ok.Load() > 100 && slow.failed.Load() > 20
	})
	load.stop()
	limit, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if !fast.await(limit) || !slow.await(limit) {
		t.Fatal("the workers did not end")
	}
	byKind := func(s *side) (n [len(kinds) + 1]int) {
		for _, w := range s.writes() {
			n[w.kind]++
		}
		return n
	}
	if byKind(fast) != byKind(slow) {
		t.Errorf("fast side attempted %v of the kinds, slow side %v", byKind(fast), byKind(slow))
	}
	for _, k := range kinds {
		if byKind(fast)[k] == 0 {
			t.Errorf("no %v were attempted", k)
		}
	}
	misordered, err := verify(t.Context(), group.Node(0).Client(), fast.writes())
	if err != nil {
		t.Fatal(err)
	}
	got := count(fast.writes(), misordered)
	want := row{attempted: got.all.attempted, accepted: got.all.attempted, slowest: got.all.slowest}
	if got.all != want || misordered != 0 {
		t.Errorf("healthy: got %+v and %d misordered, want %+v", got.all, misordered, want)
	}
}

func TestAwait(t *testing.T) {
	s := newSide("side", "", nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if s.await(over) {
		t.Error("await said that workers which still run have ended")
	}
	close(s.ended)
	for range 100 { // a select with two ready cases chooses either
		if !s.await(over) {
			t.Fatal("await said that workers which have ended still run")
		}
	}
}
