package replay

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

// free appends an entry that may be merged, with the reply that was promised; "" is
// none.
func (m *memSource) free(line, reply string) uint64 {
	e := Entry{Cmd: command(strings.Fields(line)...), Free: true, Lane: slot.Of(strings.Fields(line)[1])}
	if reply != "" {
		e.Reply = promise(reply)
	}
	return m.put(e)
}

func (m *memSource) put(e Entry) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	e.Seq = m.last
	m.entries = append(m.entries, e)
	return m.last
}

// promise is the digest of replies.
func promise(replies ...string) uint64 {
	d := resp.NewDigest()
	for _, reply := range replies {
		d, _, _ = d.Add([]byte(reply))
	}
	return d.Sum()
}

// calls is how often the server has executed a command.
func (r *rig) calls(command string) int {
	r.t.Helper()
	var n int
	for _, line := range strings.Split(fmt.Sprint(r.do(0, "INFO", "commandstats")), "\r\n") {
		_, _ = fmt.Sscanf(line, "cmdstat_"+command+":calls=%d", &n)
	}
	return n
}

func TestMergedEntriesAreReplayed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for i := range 100 {
		r.src.free("INCR n", fmt.Sprintf(":%d\r\n", i+1))
		r.src.free(fmt.Sprint("SET k ", i), "+OK\r\n")
		r.src.free(fmt.Sprint("RPUSH list ", i), fmt.Sprintf(":%d\r\n", i+1))
		r.src.free(fmt.Sprint("HSET hash f", i, " v"), ":1\r\n")
		r.src.add("INCR", "apart")
	}
	st := r.drain(0).Stats()
	if st.Replayed != 500 || st.Merged != 4*99 || st.Diverged != 0 || st.DeadLettered != 0 || st.Batches != 1 {
		t.Errorf("stats %+v", st)
	}
	r.want(0, "n", "100")
	r.want(0, "k", "99")
	r.want(0, "apart", "100")
	if n, m := r.do(0, "LLEN", "list"), r.do(0, "HLEN", "hash"); n != int64(100) || m != int64(100) {
		t.Errorf("%v elements, %v fields", n, m)
	}
	for name, want := range map[string]int{"incrby": 1, "incr": 100, "rpush": 1, "hset": 1} {
		if got := r.calls(name); got != want {
			t.Errorf("%d calls of %s, want %d", got, name, want)
		}
	}
}

func TestNoCoalescing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.NoCoalescing = true
	for range 10 {
		r.src.free("INCR n", "")
	}
	if st := r.drain(0).Stats(); st.Replayed != 10 || st.Merged != 0 || r.calls("incr") != 10 {
		t.Errorf("stats %+v", st)
	}
}

// A merged command that fails is a dead letter for each write that it stands for.
func TestEachEntryOfARejectedCommandIsADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.do(0, "SET", "n", "9223372036854775800")
	r.do(0, "SET", "text", "x")
	var dead []uint64
	for range 10 {
		dead = append(dead, r.src.free("INCR n", ""))
		r.src.free("INCR m", "")
		dead = append(dead, r.src.free("LPUSH text x", ""))
	}
	st := r.drain(0).Stats()
	if st.Replayed != 10 || st.DeadLettered != 20 || st.Merged != 9 {
		t.Errorf("stats %+v", st)
	}
	letters := r.src.letters()
	if got := slices.Sorted(maps.Keys(letters)); !slices.Equal(got, dead) {
		t.Errorf("dead letters %v, want %v", got, dead)
	}
	for seq, d := range letters {
		if d.Reason != ReasonRejected || d.Text == "" {
			t.Errorf("%d: %+v", seq, d)
		}
	}
	r.want(0, "n", "9223372036854775800")
	r.want(0, "m", "10")
	r.want(0, "text", "x")
}

// A user without the right to the command that others were merged into loses nothing.
func TestACommandThatIsNotAllowedIsNotMergedInto(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.do(0, "ACL", "SETUSER", "default", "-incrby", "-decr")
	r.opt.BatchEntries = 50
	for i := range 200 {
		r.src.free("INCR n", fmt.Sprintf(":%d\r\n", i+1))
		r.src.free(fmt.Sprint("SET k ", i), "+OK\r\n")
	}
	bad := r.src.free("DECR n", ":199\r\n")
	st := r.drain(0).Stats()
	if st.Replayed != 400 || st.DeadLettered != 1 || st.Merged != 0 || st.Diverged != 0 || st.Sessions != 1 {
		t.Errorf("stats %+v", st)
	}
	if d, ok := r.src.letters()[bad]; !ok || !strings.HasPrefix(d.Text, "NOPERM") {
		t.Errorf("letters %+v", r.src.letters())
	}
	r.want(0, "n", "200")
	r.want(0, "k", "199")
}

// A batch that is cut off is sent again whole, or not at all: merging is of no account.
func TestMergedEntriesOverCuts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.BatchEntries = 20
	r.atBatch(3, func() { r.do(0, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") })
	for range 300 {
		r.src.free("INCR n", "")
		r.src.free("RPUSH list x", "")
	}
	st := r.drain(0).Stats()
	if st.Replayed != 600 || st.Sessions < 2 || st.Merged == 0 {
		t.Errorf("stats %+v", st)
	}
	r.want(0, "n", "300")
	if n := r.do(0, "LLEN", "list"); n != int64(300) {
		t.Errorf("%v elements", n)
	}
}

func TestMergedEntriesOverLanes(t *testing.T) {
	t.Parallel()
	c := redistest.StartClusterT(t, redistest.ClusterOptions{Primaries: 1})
	src := &sliceLanes{sliceSource: sliceSource{memSource: *newSource()}}
	const n = 300
	for i := range n {
		for _, line := range []string{"INCR n%d", "SET k%d " + fmt.Sprint(i)} {
			words := strings.Fields(fmt.Sprintf(line, i%7))
			e := Entry{Seq: uint64(len(src.all) + 1), Lane: slot.Of(words[1]), Cmd: command(words...), Free: true}
			if words[0] == "SET" {
				e.Reply = promise("+OK\r\n")
			}
			src.all = append(src.all, e)
		}
	}
	drained := make(chan struct{}, 1)
	rp, err := New(Options{
		ClientID: "test", Source: src, Rate: -1, Fence: func(lane uint16) string { return FenceKeyOf("test", lane) },
		Hooks: Hooks{Drained: func(uint64) { notify(drained) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, src: &src.memSource}
	errc := make(chan error, 1)
	ctx := t.Context()
	go func() { errc <- rp.Run(ctx, Target{Addr: c.Node(0).Addr()}) }()
	redistest.Eventually(t, patience, "the drain", func() bool { return rp.Stats().Acked == uint64(len(src.all)) })
	if st := rp.Stats(); st.Replayed != 2*n || st.Merged < n || st.Diverged != 0 {
		t.Errorf("stats %+v", st)
	}
	for i := range 7 {
		if got, err := c.Node(0).Do(ctx, "GET", fmt.Sprint("n", i)); err != nil || fmt.Sprint(got) != fmt.Sprint((n-i+6)/7) {
			r.t.Errorf("n%d = %v, %v", i, got, err)
		}
	}
}

// Batches with little to merge are passed over, and never for good.
func TestLookingIsGivenUpAndBegunAgain(t *testing.T) {
	t.Parallel()
	m := &merging{on: true}
	looked := 0
	for range 1000 {
		if m.due() {
			looked++
			m.found(1, 500)
		}
	}
	if looked < 1000/(maxPassed+1) || looked > 1000/maxPassed+5 {
		t.Errorf("%d of 1000 batches were looked at", looked)
	}
	for range maxPassed + 1 {
		if m.due() {
			break
		}
	}
	m.found(100, 500)
	for range 10 {
		if !m.due() {
			t.Fatal("a batch is passed over where there is much to merge")
		}
		m.found(100, 500)
	}
}

func TestKnowsPXAT(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"6.2.0": true, "7.0.15": true, "10.1": true, "255.255.255": true, "6.0.16": false, "5.0.14": false, "": false, "6": false, "x.y": false,
	} {
		if knowsPXAT(version) != want {
			t.Errorf("%q: %v", version, !want)
		}
	}
}

// TestMergedEntriesStayWhenTheJournalReadsOn: what did not go into the buffer is needed
// once more when the batch is sent again, after the one behind it was read.
func TestMergedEntriesStayWhenTheJournalReadsOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.BatchEntries = 8
	for i := range 40 {
		r.src.free("INCR n", "")
		r.src.free("INCR n", "")
		r.src.free(fmt.Sprintf("APPEND log %d,", i), "")
		r.src.free("NOSUCH x", "")
	}
	r.opt.Source = &fleetingSource{memSource: r.src}
	st := r.drain(0).Stats()
	if st.Replayed != 120 || st.DeadLettered != 40 || st.Merged == 0 {
		t.Errorf("stats %+v", st)
	}
	r.want(0, "n", "80")
	r.want(0, "log", order(40))
}
