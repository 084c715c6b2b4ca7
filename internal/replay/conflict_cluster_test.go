package replay

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// TestConflictsInLanes: keys are compared and watched in their slot, beside its fence.
func TestConflictsInLanes(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	primary := r.c.Node(0)
	var keys []string
	for i := range 30 {
		keys = append(keys, "k"+strconv.Itoa(i))
	}
	for round := range 3 {
		for _, key := range keys {
			c := later(key)
			if round == 0 {
				c = first(key, basis.None())
			}
			r.journal.add("APPEND", key, strconv.Itoa(round)+",")
			r.journal.claim(c)
		}
	}
	want := make(map[string]string)
	for i, key := range keys {
		want[key] = order(3)
		if i%5 == 0 { // before the replay
			want[key] = "foreign"
			r.do(primary, "SET", key, "foreign")
		}
	}
	// In between comparing and sending: one that stays, and one that changes nothing that
	// is compared, each time.
	raced, busy := keys[1], keys[2]
	want[raced], want[busy] = "foreign", "0,1,2,"
	r.opt.Conflicts = &Conflicts{}
	var once atomic.Bool
	var sent atomic.Int32
	l := &link{decide: func(_ int, req []byte) fate {
		switch {
		case bytes.Contains(req, []byte("\n"+raced+"\r\n")) && !once.Swap(true):
			r.do(primary, "SET", raced, "foreign")
		case bytes.Contains(req, []byte("\n"+busy+"\r\n")) && sent.Add(1) < maxContested:
			// A key that is there for no time.
			r.do(primary, "SET", busy, "x")
			r.do(primary, "DEL", busy)
		}
		return forward
	}}
	r.opt.Dial = l.dial
	rp, src := r.replayer(everyLane)
	stop, ended := r.run(rp, primary)
	r.waitDrained(src, ended)
	_ = stop()
	for key, value := range want {
		if got := fmt.Sprint(r.do(primary, "GET", key)); got != value {
			t.Errorf("%s = %q, want %q", key, got, value)
		}
	}
	left := 3 * uint64(len(keys)/5+1)
	if st := rp.Stats(); st.Conflicted != left || st.Replayed != 3*uint64(len(keys))-left || st.Sessions != 1 {
		t.Errorf("stats %+v, want %d conflicted", st, left)
	}
}

// TestConflictsInASlotOnTheMove: what can't be compared here waits until the slot has
// arrived, and is compared there.
func TestConflictsInASlotOnTheMove(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 2})
	r.opt.Conflicts = &Conflicts{}
	const key = "{moving}a"
	lane := laneOf(command("GET", key))
	owner, _ := r.c.Owner(t.Context(), int(lane))
	other := r.c.Node(0)
	if other == owner {
		other = r.c.Node(1)
	}
	r.journal.add("SET", "{moving}first", "w") // so that the slot's fence is there
	r.drain(owner, everyLane)
	r.do(owner, "SET", key, "foreign")
	r.journal.add("SET", "{moving}b", "w")
	r.journal.claim(first("{moving}b", basis.None()))
	r.journal.add("SET", key, "w")
	r.journal.claim(first(key, basis.None()))
	r.must(r.c.BeginMove(t.Context(), int(lane), other))
	rp, _ := r.replayer(everyLane)
	stop, _ := r.run(rp, owner)
	redistest.Eventually(t, patience, "the replay to wait for the slot", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.paused) > 0
	})
	_ = stop()
	if n := len(r.journal.letters()); n > 0 {
		t.Errorf("%d dead letters of a slot on the move", n)
	}
	if _, err := r.c.MoveKeys(t.Context(), int(lane), 100, other); err != nil {
		t.Fatal(err)
	}
	r.must(r.c.FinishMove(t.Context(), int(lane), other))
	rp, src := r.replayer(everyLane)
	stop, ended := r.run(rp, other)
	r.waitDrained(src, ended)
	_ = stop()
	if got := fmt.Sprint(r.do(other, "GET", key)); got != "foreign" || rp.Stats().Conflicted != 1 {
		t.Errorf("%q, %+v", got, rp.Stats())
	}
	if got := fmt.Sprint(r.do(other, "GET", "{moving}b")); got != "w" {
		t.Errorf("the slot's other key is %q", got)
	}
}
