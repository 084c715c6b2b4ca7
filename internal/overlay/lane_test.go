package overlay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/slot"
)

// checkRuns fails unless the entries of each lane stand together, between the ends that
// are kept of it. mu is held.
func (s *shard) checkRuns(tb testing.TB) {
	tb.Helper()
	if s.runs == nil {
		return
	}
	seen := 0
	for e := s.first; e != nil; e = e.next {
		r := s.runs[e.lane]
		if begins := e.prev == nil || e.prev.lane != e.lane; begins != (r.first == e) {
			tb.Errorf("lane %d begins in two places, or not where it is said to", e.lane)
		}
		if ends := e.next == nil || e.next.lane != e.lane; ends != (r.last == e) {
			tb.Errorf("lane %d ends in two places, or not where it is said to", e.lane)
		} else if ends {
			seen++
		}
		if e.next == nil && s.last != e || e.next != nil && e.next.prev != e {
			tb.Errorf("an entry of lane %d is linked in one direction", e.lane)
		}
	}
	if seen != len(s.runs) {
		tb.Errorf("%d lanes have entries, %d are kept", seen, len(s.runs))
	}
}

func laneIs(want uint16) func(uint16) bool { return func(lane uint16) bool { return lane == want } }

// byLastDigit is a lane of a key; keys of one are in many shards, and of many in one.
func byLastDigit(name string) uint16 { return uint16(name[len(name)-1] - '0') }

func TestTrimLanes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Lane: byLastDigit})
	const tag = "{shard}"
	r.do("SET " + tag + "a1 1") // 1
	r.do("SET " + tag + "a2 1") // 2
	r.do("SET " + tag + "b1 1") // 3
	r.do("SET " + tag + "c1 1") // 4
	r.do("INCR " + tag + "a1")  // 5
	r.do("SET " + tag + "b2 1") // 6
	r.checkBytes()
	waiting := make(chan error, 1)
	go func() { waiting <- r.o.Await(context.Background(), 0, tag+"b1") }()
	held := func(want ...string) {
		t.Helper()
		for _, name := range []string{"a1", "a2", "b1", "b2", "c1"} {
			_, got := r.o.Held(0, tag+name)
			expected := false
			for _, w := range want {
				expected = expected || w == name
			}
			if got != expected {
				t.Errorf("%s held: %v, want %v", name, got, expected)
			}
		}
		r.checkBytes()
	}
	if n := r.o.TrimLanes(4, laneIs(1)); n != 2 {
		t.Errorf("%d keys left, want 2", n)
	}
	held("a1", "a2", "b2")
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if n := r.o.TrimLanes(6, laneIs(2)); n != 2 {
		t.Errorf("%d keys left, want 2", n)
	}
	held("a1")
	r.do("SET " + tag + "b2 2") // 7
	r.o.Rollback(7)             // the key goes with its only write
	r.checkBytes()
	if n := r.o.Trim(6); n != 1 {
		t.Errorf("Trim: %d keys left, want 1", n)
	}
	r.checkBytes()
}

// Without lanes there is one.
func TestTrimLanesOfOneLane(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET a 1")
	if n := r.o.TrimLanes(1, laneIs(1)); n != 0 {
		t.Errorf("lane 1: %d keys left", n)
	}
	if n := r.o.TrimLanes(1, laneIs(0)); n != 1 {
		t.Errorf("lane 0: %d keys left, want 1", n)
	}
}

// More keys than leave at a time, all under one lock.
func TestTrimLanesOfManyKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Lane: byLastDigit})
	const each = trimStep*2 + 7
	for i := range each {
		r.do(fmt.Sprintf("SET {x}%d1 1", i))
		r.do(fmt.Sprintf("SET {x}%d2 1", i))
	}
	r.o.Durable(2 * each)
	if n, more := r.o.trimSome(r.o.shard("{x}"), 2*each, laneIs(1)); n != trimStep || !more {
		t.Errorf("%d keys left at a time, more %v; want %d and more", n, more, trimStep)
	}
	if n := r.o.TrimLanes(2*each, laneIs(1)); n != each-trimStep {
		t.Errorf("%d keys left, want %d", n, each-trimStep)
	}
	r.checkBytes()
	if got := r.o.Stats().Keys; got != each {
		t.Errorf("%d keys are held, want %d", got, each)
	}
	if n := r.o.TrimLanes(2*each, laneIs(2)); n != each {
		t.Errorf("%d keys left, want %d", n, each)
	}
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after trimming everything: %+v, want zero", got)
	}
}

// A rollback lowers sequences in the middle of a lane.
func TestTrimLanesAfterRollback(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Lane: byLastDigit})
	r.do("SET {x}a1 1") // 1
	r.do("SET {x}a2 1") // 2
	r.do("SET {x}b1 1") // 3
	r.do("INCR {x}a1")  // 4
	r.o.Rollback(4)
	r.checkBytes()
	if n := r.o.TrimLanes(1, laneIs(1)); n != 1 {
		t.Errorf("%d keys left, want 1", n)
	}
	if _, held := r.o.Held(0, "{x}b1"); !held {
		t.Error("the key with the later write left")
	}
	r.checkBytes()
}

// Writers beside trims of single lanes, for the race detector and the accounts.
func TestTrimLanesBesideWriters(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Lane: slot.Of[string]})
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 500 {
				res, err := r.try(fmt.Sprintf("SET k%d %d", rng.IntN(200), i))
				if err != nil {
					t.Error(err)
					return
				}
				switch rng.IntN(20) {
				case 0:
					half := uint16(rng.IntN(2))
					r.o.TrimLanes(res.Seq, func(lane uint16) bool { return lane%2 == half })
				case 1:
					r.o.Rollback(res.Seq)
				}
			}
		})
	}
	wg.Wait()
	r.checkBytes()
	r.o.TrimLanes(r.j.seq, func(lane uint16) bool { return lane%2 == 0 })
	r.checkBytes()
	for i := range 200 {
		name := fmt.Sprint("k", i)
		if _, held := r.o.Held(0, name); held && slot.Of(name)%2 == 0 {
			t.Errorf("%s is held after its lane was trimmed", name)
		}
	}
	r.o.Trim(r.j.seq)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after trimming everything: %+v, want zero", got)
	}
}

func BenchmarkTrimLanes(b *testing.B) {
	for _, c := range []struct {
		name string
		lane func(string) uint16
	}{{"one", nil}, {"slots", slot.Of[string]}} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, Options{Lane: c.lane})
			words := make([][][]byte, 1000)
			for i := range words {
				words[i] = split(fmt.Sprint("SET key:", i, " 1"))
			}
			b.ReportAllocs()
			for b.Loop() {
				var last uint64
				for _, w := range words {
					res, err := r.run(context.Background(), 0, w)
					if err != nil {
						b.Fatal(err)
					}
					last = res.Seq
				}
				r.o.TrimLanes(last, func(uint16) bool { return true })
			}
		})
	}
}
