package replay

import (
	"errors"
	"slices"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/slot"
)

func TestFenceKeyOf(t *testing.T) {
	t.Parallel()
	for _, s := range []uint16{0, 1, 5461, 16383} {
		if key := FenceKeyOf("0af3", s); slot.Of(key) != s {
			t.Errorf("the fence %s of slot %d is in slot %d", key, s, slot.Of(key))
		}
	}
	// It is kept in servers, and must never change.
	if got := FenceKeyOf("0af3", 12182); got != "holdfast:fence:0af3:{"+slot.Tag(12182)+"}" {
		t.Errorf("the fence of slot 12182 is %s", got)
	}
}

func TestMovedTo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"MOVED 3999 127.0.0.1:6381": "127.0.0.1:6381",
		"MOVED 3999 [::1]:6381":     "[::1]:6381",
		"MOVED 3999 ":               "",
		"MOVED 3999":                "",
		"MOVED":                     "",
		"":                          "",
	} {
		if got := movedTo(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	var err error = &MovedError{Lane: 3, Addr: "a:1"}
	if !errors.Is(err, ErrMoved) || errors.Is(err, ErrNotPrimary) || err.Error() != ErrMoved.Error() {
		t.Errorf("%v", err)
	}
}

func TestJudgeLane(t *testing.T) {
	t.Parallel()
	next := fenceValue{found: true, value: 4}
	aborted := func(o outcome) outcome {
		o.exec, o.after = execError, next
		if o.execE == "" {
			o.execE = "EXECABORT Transaction discarded because of previous errors."
		}
		return o
	}
	type want struct {
		err              error
		applied, watched bool
		own, next        laneState
		resend           bool
		dead             int
	}
	var pause *pauseError
	for name, c := range map[string]struct {
		o    outcome
		want want
	}{
		"applied":                    {outcome{exec: execApplied, after: next}, want{applied: true, watched: true}},
		"applied, an entry failed":   {outcome{exec: execApplied, after: next, failed: []fault{{1, "WRONGTYPE"}}}, want{applied: true, watched: true, dead: 1}},
		"applied, the fence was not": {outcome{exec: execApplied, after: next, fenceE: "NOPERM"}, want{applied: true, err: ErrRefused}},
		"the next fence has moved":   {outcome{exec: execApplied}, want{applied: true, err: errReread}},
		"the next can't be watched":  {outcome{exec: execApplied, watch: "NOPERM", after: next}, want{applied: true, err: errReread}},
		"the next's slot moves": {
			outcome{exec: execApplied, watch: "ASK 3 a:1", after: fenceValue{err: "ASK 3 a:1"}},
			want{applied: true, next: laneMoving},
		},
		"the next's slot has moved": {
			outcome{exec: execApplied, watch: "MOVED 3 a:1", after: fenceValue{err: "MOVED 3 a:1"}},
			want{applied: true, next: laneMoved},
		},
		"the watched fence had moved": {outcome{exec: execNil, after: next}, want{err: errReread}},
		"MULTI refused":               {outcome{multi: "NOPERM"}, want{err: ErrRefused}},
		"its slot has moved":          {aborted(outcome{queue: []fault{{0, "MOVED 3 a:1"}}}), want{own: laneMoved, watched: true}},
		"its slot moves":              {aborted(outcome{queue: []fault{{0, "ASK 3 a:1"}}}), want{own: laneMoving, watched: true}},
		"its slot moves, two keys":    {aborted(outcome{queue: []fault{{0, "TRYAGAIN Multiple keys"}}}), want{own: laneMoving, watched: true}},
		"its fence's slot moves":      {aborted(outcome{fenceQ: "ASK 3 a:1"}), want{own: laneMoving, watched: true}},
		"it had moved at EXEC":        {aborted(outcome{execE: "MOVED 3 a:1"}), want{own: laneMoved, watched: true}},
		"moved comes before an entry's own fault": {
			aborted(outcome{queue: []fault{{0, "NOPERM"}, {1, "MOVED 3 a:1"}}}),
			want{own: laneMoved, watched: true},
		},
		"an entry's own fault": {
			aborted(outcome{queue: []fault{{1, "NOPERM"}}}),
			want{resend: true, dead: 1, watched: true},
		},
		"the Cluster is down": {aborted(outcome{queue: []fault{{0, "CLUSTERDOWN"}}}), want{err: &pauseError{}}},
		"a replica":           {aborted(outcome{queue: []fault{{0, "READONLY"}}}), want{err: ErrNotPrimary}},
		"the fence refused":   {aborted(outcome{fenceQ: "NOPERM"}), want{err: ErrRefused}},
		"EXEC refused":        {aborted(outcome{execE: "NOPERM"}), want{err: ErrRefused}},
	} {
		v := judgeLane(&c.o, next)
		failed := !errors.Is(v.err, c.want.err)
		if errors.As(c.want.err, &pause) {
			failed = !errors.As(v.err, &pause)
		}
		got := want{applied: v.applied, watched: v.watched, own: v.own, next: v.next, resend: v.resend, dead: len(v.dead)}
		c.want.err = nil
		if got != c.want || failed {
			t.Errorf("%s: %+v, %v; want %+v", name, got, v.err, c.want)
		}
	}
}

// TestLaneMemory: what a fence tells of a lane, by what was known of it.
func TestLaneMemory(t *testing.T) {
	t.Parallel()
	here := node{replID: "A"}
	for name, c := range map[string]struct {
		m       laneMemory
		f       fenceValue
		trimmed uint64
		before  Progress // of the session before
		node    node
		want    resumption
		then    laneMemory
	}{
		"never met": {
			trimmed: 100, node: here,
			want: resumption{after: 100}, then: laneMemory{replID: "A"},
		},
		"an earlier process's, from before what was trimmed": {
			f: fenceValue{found: true, value: 10}, trimmed: 100, node: here,
			want: resumption{after: 10}, then: laneMemory{acked: 10, replID: "A"},
		},
		"as it was": {
			m: laneMemory{sent: 50, acked: 50, given: 10, replID: "A"}, f: fenceValue{found: true, value: 50}, trimmed: 40, node: here,
			want: resumption{after: 50}, then: laneMemory{sent: 50, acked: 50, given: 10, replID: "A"},
		},
		"a lost tail, not given back": {
			m: laneMemory{sent: 50, acked: 50, given: 10, replID: "A"}, f: fenceValue{found: true, value: 10}, trimmed: 40, node: here,
			want: resumption{after: 10}, then: laneMemory{sent: 50, acked: 10, given: 10, replID: "A"},
		},
		"a gap": {
			m: laneMemory{sent: 50, acked: 50, given: 10, replID: "A"}, f: fenceValue{found: true, value: 10}, trimmed: 50, node: here,
			want: resumption{after: 50, gapTo: 50}, then: laneMemory{sent: 50, acked: 10, given: 10, replID: "A"},
		},
		"vanished, all trimmed": {
			m: laneMemory{sent: 50, acked: 50, replID: "A"}, trimmed: 50, node: here,
			want: resumption{after: 50}, then: laneMemory{sent: 50, replID: "A"},
		},
		"vanished from the same history": {
			m: laneMemory{sent: 60, acked: 50, given: 10, replID: "A"}, trimmed: 40, node: here,
			want: resumption{after: 50, doubtTo: 60}, then: laneMemory{sent: 60, acked: 50, given: 10, doubtTo: 60, replID: "A"},
		},
		"vanished from a successor that had part of it": {
			m: laneMemory{sent: 60, acked: 50, given: 10, replID: "A"}, trimmed: 40,
			before: Progress{ReplID: "A", Covered: 45, Offset: 7}, node: node{replID: "B", replID2: "A", second: 8},
			want: resumption{after: 45, doubtTo: 60}, then: laneMemory{sent: 60, acked: 45, given: 10, doubtTo: 60, replID: "B"},
		},
		"vanished with another data set": {
			m: laneMemory{sent: 60, acked: 50, given: 10, replID: "A"}, trimmed: 40, node: node{replID: "Z"},
			want: resumption{after: 40}, then: laneMemory{sent: 60, replID: "Z"},
		},
	} {
		s := &session{node: c.node}
		s.lanes.before = c.before
		p := c.m.position(c.f, s, Bounds{Trimmed: c.trimmed, Last: 1000}, 1000)
		// What was sent before this Replayer is as much in doubt; here it is left out.
		p.sent = max(c.m.sent, c.f.value)
		p.reach = p.sent
		to, err := decideLane(p, c.m.settled(c.trimmed))
		if err != nil || to != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, to, err, c.want)
		}
		c.m.resumed(p, to)
		if !c.m.met || c.m.reach != max(to.after, to.doubtTo) {
			t.Errorf("%s: then %+v, of which nothing else can be applied by %+v", name, c.m, to)
		}
		if c.m.met, c.m.reach = false, 0; c.m != c.then {
			t.Errorf("%s: then %+v, want %+v", name, c.m, c.then)
		}
	}
	m := laneMemory{acked: 10, doubtTo: 15, retired: true}
	m.landed(14, 20)
	if m != (laneMemory{acked: 14, given: 10, doubtTo: 15}) {
		t.Errorf("after a batch: %+v", m)
	}
	if m.landed(15, 13); m != (laneMemory{acked: 15, given: 10}) {
		t.Errorf("after the next: %+v", m)
	}
}

// TestChunks: a batch is of one lane and within its bounds, and what is one write is
// never parted.
func TestChunks(t *testing.T) {
	t.Parallel()
	src := newLaneSource(newSource(), everyLane)
	r := &Replayer{opt: Options{BatchEntries: 2, BatchBytes: 1 << 10}, laned: src, memory: map[uint16]*laneMemory{}}
	r.pacing = &pacing{r: r, off: true}
	s := &session{}
	s.lanes.known, s.lanes.open = map[uint16]*laneView{}, map[uint16]int32{}
	a, b := slot.Of("a"), slot.Of("b")
	for _, lane := range []uint16{a, b} {
		s.lanes.known[lane], r.memory[lane] = &laneView{}, &laneMemory{}
	}
	for i, key := range []string{"a", "b", "a", "a", "a", "b", "b"} {
		cmd := command("INCR", key)
		src.window = append(src.window, Entry{Seq: []uint64{1, 2, 3, 3, 3, 4, 5}[i], Cmd: cmd, Lane: slot.Of(key)})
	}
	if err := r.part(s); err != nil {
		t.Fatal(err)
	}
	var got [][]uint64
	for i := range s.lanes.chunks {
		s.load(&s.lanes.chunks[i])
		seqs := []uint64{uint64(s.lanes.chunks[i].lane)}
		for _, e := range s.batch.entries {
			seqs = append(seqs, e.Seq)
		}
		got = append(got, append(seqs, s.batch.last))
	}
	want := [][]uint64{{uint64(a), 1, 3, 3, 3, 3}, {uint64(b), 2, 4, 4}, {uint64(b), 5, 5}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("chunks %v, want %v", got, want)
	}
}
