package replay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// plainRig is a rig behind such a proxy.
func plainRig(t *testing.T) (*rig, *redistest.SimpleProxy) {
	t.Helper()
	r := newRig(t, 0)
	p := newPlainProxy(t, r.g)
	r.via = p.Addr()
	r.opt.Plain = true
	return r, p
}

func newPlainProxy(t *testing.T, g *redistest.Group) *redistest.SimpleProxy {
	t.Helper()
	p, err := redistest.NewSimpleProxy(g.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// writes makes a SimpleProxy's function of one that is asked about writes, with their
// number.
func writes(decide func(nth int, args [][]byte) redistest.Pass) func([][]byte) redistest.Pass {
	nth := 0
	return func(args [][]byte) redistest.Pass {
		switch string(args[0]) {
		case "SET", "INCR", "APPEND":
			nth++
			return decide(nth, args)
		}
		return redistest.PassOn
	}
}

// addUnit adds a write of several commands.
func (m *memSource) addUnit(cmds ...[]byte) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	for i, cmd := range cmds {
		m.entries = append(m.entries, Entry{Seq: m.last, Cmd: cmd, Uncounted: i > 0})
	}
	return m.last
}

func TestWithoutTransactionsNothingIsSentUnasked(t *testing.T) {
	t.Parallel()
	r, _ := plainRig(t)
	r.opt.Plain = false
	r.src.add("INCR", "n")
	_, ended := r.run(r.replayer(), 0)
	wantError(t, ended, ErrRefused)
	if n := r.do(0, "EXISTS", "n", FenceKey("test")); n != int64(0) {
		t.Errorf("%v keys were written", n)
	}
}

func TestPlainReplaysAll(t *testing.T) {
	t.Parallel()
	r, _ := plainRig(t)
	const n = 300
	for i := range n {
		r.src.add("INCR", "n")
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	bad := r.src.add("INCR", "log")
	malformed := r.src.add("MULTI")
	rp := r.replayer()
	stop, ended := r.run(rp, 0)
	r.waitDrained(ended)
	r.want(0, "n", strconv.Itoa(n))
	r.want(0, "log", order(n))
	r.want(0, FenceKey("test"), strconv.FormatUint(malformed, 10))
	if ttl := r.do(0, "PTTL", FenceKey("test")).(int64); ttl <= 0 {
		t.Errorf("the fence's time to live is %d ms once all is trimmed", ttl)
	}
	letters := r.src.letters()
	if len(letters) != 2 || letters[bad].Reason != ReasonRejected || letters[malformed].Reason != ReasonMalformed {
		t.Errorf("dead letters %+v", letters)
	}
	r.src.add("INCR", "n") // goes the same way, on the same session
	rp.Wake()
	r.waitDrained(ended)
	r.want(0, "n", strconv.Itoa(n+1))
	if st := rp.Stats(); st.Replayed != 2*n+1 || st.Sessions != 1 || st.DeadLettered != 2 {
		t.Errorf("stats %+v", st)
	}
	_ = stop()
	r.opt.Plain, r.via = false, "" // its fence is closed: any other replay may go on
	r.src.add("INCR", "n")
	r.drain(0)
	r.want(0, "n", strconv.Itoa(n+2))
}

// The connection is lost before and after each single command of a drain. At most the
// one write at that place is in doubt, and nothing is doubled, lost or out of order.
func TestPlainCutAtEveryPoint(t *testing.T) {
	t.Parallel()
	base, _ := plainRig(t)
	for name, f := range map[string]redistest.Pass{"before": redistest.PassNot, "after": redistest.PassNoReply} {
		for at := 1; at <= 32; at++ {
			t.Run(fmt.Sprintf("%s command %d", name, at), func(t *testing.T) {
				t.Parallel()
				p := newPlainProxy(t, base.g)
				r := &rig{t: t, g: base.g, src: newSource(), via: p.Addr()}
				r.opt = base.opt
				id := name + strconv.Itoa(at)
				r.opt.Source, r.opt.ClientID = r.src, id
				r.opt.Hooks = Hooks{Drained: func(upTo uint64) { r.note(func() { r.drained = upTo }) }}
				var hit atomic.Pointer[string] // the command that was cut
				p.Decide(writes(func(nth int, args [][]byte) redistest.Pass {
					if nth != at {
						return redistest.PassOn
					}
					cmd := string(bytes.Join(args, []byte(" ")))
					hit.Store(&cmd)
					return f
				}))
				r.checkPlainCut(id, &hit)
			})
		}
	}
}

// checkPlainCut drains a mix of writes and compares the outcome with what was cut.
func (r *rig) checkPlainCut(id string, cut *atomic.Pointer[string]) {
	t := r.t
	const rounds = 3
	for i := range rounds {
		r.src.add("INCR", id+"n")
		r.src.add("SET", id+"s", strconv.Itoa(i))
		r.src.add("APPEND", id+"log", strconv.Itoa(i)+",")
		r.src.addUnit(command("INCR", id+"u1"), command("INCR", id+"u2"))
	}
	all := slices.Clone(r.src.entries)
	rp := r.drain(0)
	if cut.Load() == nil {
		t.Fatal("nothing was cut: there are fewer commands than the test takes them to be")
	}
	letters := r.src.letters()
	if len(letters) > 1 {
		t.Fatalf("%d writes in doubt by one cut: %+v", len(letters), letters)
	}
	value := func(key string) string {
		if v, _ := r.g.Node(0).Do(t.Context(), "GET", id+key); v != nil {
			return fmt.Sprint(v)
		}
		return ""
	}
	missing := map[string]int{}
	for seq, d := range letters {
		if d.Reason != ReasonInDoubt {
			t.Errorf("dead letter %+v", d)
		}
		for _, e := range all {
			if e.Seq == seq {
				args, _, _ := resp.ParseCommand(e.Cmd, nil)
				missing[strings.TrimPrefix(string(args[1]), id)]++
			}
		}
	}
	for _, key := range []string{"n", "u1", "u2"} {
		n, _ := strconv.Atoi(value(key))
		if n > rounds || n < rounds-missing[key] {
			t.Errorf("%s is %d of %d with %d in doubt; cut at %q", key, n, rounds, missing[key], *cut.Load())
		}
	}
	log := value("log")
	full := order(rounds)
	ok := log == full
	for i := 0; missing["log"] == 1 && i < rounds; i++ {
		ok = ok || log == strings.Replace(full, strconv.Itoa(i)+",", "", 1)
	}
	if !ok {
		t.Errorf("order %q with %d in doubt", log, missing["log"])
	}
	if v := value("s"); v != strconv.Itoa(rounds-1) || missing["s"] > 0 {
		t.Errorf("the repeatable write is %q, %d in doubt", v, missing["s"])
	}
	if st := rp.Stats(); st.Replayed+st.DeadLettered != 4*rounds {
		t.Errorf("stats %+v", st)
	}
}

// A process dies in the middle of a batch: the next one has only the fence.
func TestPlainSuccessorGoesByTheFence(t *testing.T) {
	t.Parallel()
	r, p := plainRig(t)
	for range 20 {
		r.src.add("INCR", "n")
	}
	held := make(chan struct{})
	var once sync.Once
	p.Decide(writes(func(nth int, args [][]byte) redistest.Pass {
		if string(args[0]) == "INCR" && nth > 20 {
			once.Do(func() { close(held) })
			return redistest.PassNoReply
		}
		return redistest.PassOn
	}))
	stop, _ := r.run(r.replayer(), 0)
	<-held
	_ = stop()
	p.Decide(nil)
	r.drain(0)
	letters := r.src.letters()
	n, _ := strconv.Atoi(fmt.Sprint(r.do(0, "GET", "n")))
	if len(letters) == 0 || n > 20 || n < 20-len(letters) {
		t.Errorf("n = %d of 20 with %d in doubt", n, len(letters))
	}
}

// A fence that no batch left open says that nothing is in doubt.
func TestPlainRestartBetweenBatches(t *testing.T) {
	t.Parallel()
	r, _ := plainRig(t)
	for range 3 {
		r.src.add("INCR", "n")
		r.drain(0)
		r.src.add("INCR", "n") // waits for the next process
	}
	r.drain(0)
	r.want(0, "n", "6")
	if letters := r.src.letters(); len(letters) > 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

func TestPlainOpenFenceKeepsOtherReplaysOut(t *testing.T) {
	t.Parallel()
	r, _ := plainRig(t)
	r.opt.Plain, r.via = false, ""
	r.src.add("INCR", "n")
	r.do(0, "SET", FenceKey("test"), "0 1")
	_, ended := r.run(r.replayer(), 0)
	wantError(t, ended, ErrRefused)
	for _, value := range []string{"seven", "3 2", "1 2 3"} {
		r.opt.Plain = true
		r.do(0, "SET", FenceKey("test"), value)
		_, ended = r.run(r.replayer(), 0)
		wantError(t, ended, ErrRefused)
	}
	r.do(0, "SET", FenceKey("test"), "0 9")
	_, ended = r.run(r.replayer(), 0)
	wantError(t, ended, ErrFenceAhead)
	if n := r.do(0, "EXISTS", "n"); n != int64(0) {
		t.Error("an entry was sent")
	}
}

// A server out of memory is waited for, and no entry is lost or passed over.
func TestPlainWaitsForMemory(t *testing.T) {
	t.Parallel()
	r, p := plainRig(t)
	for i := range 50 {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	p.Decide(writes(func(nth int, _ [][]byte) redistest.Pass {
		if nth == 30 {
			r.do(0, "CONFIG", "SET", "maxmemory", "1")
		}
		return redistest.PassOn
	}))
	rp := r.replayer()
	_, ended := r.run(rp, 0)
	redistest.Eventually(t, patience, "the pause", func() bool { return rp.Stats().Paused == "OOM" })
	r.do(0, "CONFIG", "SET", "maxmemory", "0")
	r.waitDrained(ended)
	r.want(0, "log", order(50))
	if st := rp.Stats(); st.DeadLettered != 0 || st.Replayed != 50 {
		t.Errorf("stats %+v", st)
	}
}

func TestPlainFailoverSendsTheTailAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.opt.Plain = true
	for i := range 10 {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	r.drain(0)
	r.must(r.g.WaitSynced(t.Context()))
	r.sever(0, 1)
	for i := 10; i < 20; i++ {
		r.src.add("APPEND", "log", strconv.Itoa(i)+",")
	}
	rp := r.replayer()
	stop, _ := r.run(rp, 0)
	r.waitAcked(rp, 20)
	r.must(r.g.Node(0).Kill())
	_ = stop()
	r.must(r.g.Node(1).Resume())
	r.must(r.g.PromoteOnly(t.Context(), 1))
	r.opt.Replicas = nil
	r.drain(1)
	r.want(1, "log", order(20))
	if letters := r.src.letters(); len(letters) > 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

func TestJudgePlain(t *testing.T) {
	t.Parallel()
	const oom, wrong, demoted = "OOM command not allowed", "WRONGTYPE Operation", "READONLY You can't write"
	b := &batch{last: 4}
	for seq := range uint64(3) {
		b.entries = append(b.entries, Entry{Seq: seq + 1})
	}
	b.entries = append(b.entries, Entry{Seq: 3, Uncounted: true}) // a write of two commands
	for name, c := range map[string]struct {
		entries, marks [4]string
		opening        string
		after          fenceMark
		passed         uint64
		dead           int
		want           error
	}{
		"all executed":       {after: fenceMark{after: 4}, passed: 4},
		"the fence is other": {after: fenceMark{after: 9}, passed: 4, want: errReread},
		"one has its own error": {
			entries: [4]string{1: wrong}, after: fenceMark{after: 4}, passed: 4, dead: 1,
		},
		"the rest is declined": {
			entries: [4]string{1: oom, 2: oom, 3: oom}, marks: [4]string{1: oom, 3: oom}, passed: 1, want: &pauseError{"OOM"},
		},
		"all is declined": {
			entries: [4]string{oom, oom, oom, oom}, marks: [4]string{0: oom, 1: oom, 3: oom}, opening: oom, want: &pauseError{"OOM"},
		},
		"a declined one was passed over": {
			entries: [4]string{0: oom, 2: oom, 3: oom}, marks: [4]string{0: oom, 1: oom, 3: oom}, passed: 2, dead: 1, want: &pauseError{"OOM"},
		},
		"a mark passed over one": {
			entries: [4]string{1: oom, 2: oom, 3: oom}, marks: [4]string{3: oom}, passed: 2, dead: 1, want: &pauseError{"OOM"},
		},
		"part of a write": {
			entries: [4]string{3: oom}, marks: [4]string{3: oom}, passed: 3, dead: 1, want: &pauseError{"OOM"},
		},
		"demoted": {
			entries: [4]string{1: oom, 2: demoted, 3: demoted}, marks: [4]string{1: oom, 3: demoted}, passed: 1, want: ErrNotPrimary,
		},
		"no right to the fence": {
			marks: [4]string{0: "NOPERM this user", 1: "NOPERM this user", 3: "NOPERM this user"}, opening: "NOPERM this user",
			passed: 4, want: ErrRefused,
		},
	} {
		v := judgePlain(b, &plainOutcome{opening: c.opening, entries: c.entries[:], marks: c.marks[:], after: c.after})
		var pause, wanted *pauseError
		same := errors.Is(v.err, c.want)
		if errors.As(c.want, &wanted) {
			same = errors.As(v.err, &pause) && *pause == *wanted
		}
		if v.passed != c.passed || len(v.dead) != c.dead || !same || (v.err == nil) != (c.want == nil) {
			t.Errorf("%s: %+v, want passed %d, %d dead, %v", name, v, c.passed, c.dead, c.want)
		}
	}
}

func TestPlainIsForOneLane(t *testing.T) {
	t.Parallel()
	o := Options{ClientID: "x", Source: newLaneSource(newSource(), everyLane), Plain: true, Fence: func(uint16) string { return "f" }}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "Plain") {
		t.Errorf("Plain with lanes: %v", err)
	}
}
