package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// first makes the claim of a key's first entry.
func first(key string, b basis.Basis) Claim { return Claim{Key: []byte(key), First: true, Base: b} }

// later makes the claim of an entry of a key that has one before it.
func later(key string) Claim { return Claim{Key: []byte(key)} }

// claim gives the entry that was added last its claims.
func (m *memSource) claim(claims ...Claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[len(m.entries)-1].Claims = claims
}

// more adds a command to the entry that was added last: a unit.
func (m *memSource) more(args ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, Entry{Seq: m.last, Cmd: command(args...), Uncounted: true})
}

// conflicted are the sequences of the dead letters with that reason.
func (m *memSource) conflicted() (seqs []uint64) {
	for seq, d := range m.letters() {
		if d.Reason == ReasonConflicted {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// leftKeys is what Conflicts.Left of the journal tells.
func (m *memSource) leftKeys(claims map[uint64][]Claim) func(func([]byte)) error {
	return func(yield func([]byte)) error {
		for seq, d := range m.letters() {
			for _, k := range d.Keys {
				yield(claims[seq][k].Key)
			}
		}
		return nil
	}
}

func str(s string) basis.Basis { return basis.OfString([]byte(s)) }

func (r *rig) wantConflicted(want ...uint64) {
	r.t.Helper()
	if got := r.src.conflicted(); !slices.Equal(got, want) {
		r.t.Errorf("conflicted: %v, want %v", got, want)
	}
}

func TestConflictsOfEachType(t *testing.T) {
	t.Parallel()
	cases := conflictCases()
	for _, policy := range []string{"overwrite", "keep", "keep, unchanged", "ask, overwrite", "ask, keep"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			var asked atomic.Int32
			switch policy {
			case "overwrite":
			case "keep", "keep, unchanged":
				r.opt.Conflicts = &Conflicts{}
			default:
				r.opt.Conflicts = &Conflicts{Overwrite: func(_ context.Context, c Conflict) bool {
					asked.Add(1)
					if len(c.Commands) != 1 || c.Seq == 0 || c.Server == "" || c.Server == "unknown" {
						t.Errorf("asked of %+v", c)
					}
					return policy == "ask, overwrite"
				}}
			}
			foreign := policy != "keep, unchanged"
			written := policy != "keep" && policy != "ask, keep"
			want := make(map[string]string)
			for _, c := range cases {
				for _, cmd := range c.before {
					r.do(0, cmd...)
				}
				if foreign {
					r.do(0, c.foreign...)
				}
				want[c.name] = fmt.Sprint(r.read(c.read))
				r.src.add(c.write...)
				r.src.claim(first(c.write[1], c.base))
			}
			rp := r.drain(0)
			for _, c := range cases {
				if got := fmt.Sprint(r.read(c.read)); (got != want[c.name]) != written {
					t.Errorf("%s: %s, before the replay %s", c.name, got, want[c.name])
				}
			}
			n := 0
			if !written {
				n = len(cases)
			}
			if st := rp.Stats(); len(r.src.conflicted()) != n || st.Conflicted != uint64(n) || st.DeadLettered != uint64(n) || st.Replayed != uint64(len(cases)-n) {
				t.Errorf("conflicted %v, stats %+v", r.src.conflicted(), st)
			}
			if got := int(asked.Load()); got != len(cases) && strings.HasPrefix(policy, "ask") {
				t.Errorf("asked %d times for %d conflicts", got, len(cases))
			}
		})
	}
}

// read is do where nil is an answer too.
func (r *rig) read(args []any) any {
	v, err := r.g.Node(0).Do(context.Background(), args...)
	if err != nil {
		return err
	}
	return v
}

func TestWhatTimeAndCountingDoIsNoConflict(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Conflicts = &Conflicts{}
	r.do(0, "PFADD", "hll", "a", "b", "c")
	before := fmt.Sprint(r.do(0, "GET", "hll"))
	r.do(0, "PFCOUNT", "hll")
	if fmt.Sprint(r.do(0, "GET", "hll")) == before {
		t.Fatal("PFCOUNT has not touched the value")
	}
	r.src.add("PFADD", "hll", "d")
	r.src.claim(first("hll", str(before)))

	expired := str("v")
	expired.Until = time.Now().Add(-time.Minute).UnixMilli()
	r.src.add("SET", "expired", "w")
	r.src.claim(first("expired", expired))

	r.do(0, "SET", "longer", "v", "EX", 1000)
	r.src.add("SET", "longer", "w")
	r.src.claim(first("longer", str("v")))

	r.src.add("SET", "nobody knows", "w")
	r.src.claim(first("nobody knows", basis.Basis{}))

	r.drain(0)
	r.wantConflicted()
	for _, key := range []string{"expired", "longer", "nobody knows"} {
		r.want(0, key, "w")
	}
}

func TestABaseNobodyKnowsCountsAsChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	var told []Conflict
	r.opt.Conflicts = &Conflicts{}
	r.opt.Hooks.Conflict = func(c Conflict) { r.note(func() { told = append(told, c) }) }
	r.do(0, "SET", "k", "v")
	r.src.add("SET", "k", "w")
	r.src.claim(first("k", basis.Basis{}))
	r.drain(0)
	r.wantConflicted(1)
	r.want(0, "k", "v")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(told) != 1 || !told[0].Kept || told[0].Server != "string" || told[0].Seq != 1 || !slices.Equal(told[0].Commands, []string{"SET"}) {
		t.Errorf("told of %+v", told)
	}
}

func TestAConflictTakesAllEntriesOfItsKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Conflicts, r.opt.BatchEntries = &Conflicts{}, 3
	r.do(0, "SET", "bad", "foreign")
	for i := range 10 {
		for _, key := range []string{"bad", "good"} {
			c := later(key)
			if i == 0 {
				c = first(key, basis.None())
			}
			r.src.add("APPEND", key, strconv.Itoa(i)+",")
			r.src.claim(c)
		}
	}
	rp := r.drain(0)
	r.want(0, "bad", "foreign")
	r.want(0, "good", order(10))
	if st := rp.Stats(); st.Conflicted != 10 || st.Replayed != 10 {
		t.Errorf("stats %+v", st)
	}

	// A later outage is another matter.
	r.src.add("APPEND", "bad", "!")
	r.src.claim(first("bad", str("foreign")))
	r.drain(0)
	r.want(0, "bad", "foreign!")
}

func TestAUnitConflictsAsAWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Conflicts = &Conflicts{}
	r.do(0, "SET", "a", "foreign")
	r.src.add("SET", "a", "w") // 1: a unit
	r.src.more("SET", "b", "w")
	r.src.more("INCR", "n")
	r.src.entries[0].Claims = []Claim{first("a", basis.None()), first("b", basis.None()), first("n", basis.None())}
	r.src.add("INCR", "n") // 2: n is as it was
	r.src.claim(later("n"))
	r.src.add("MSET", "c", "w", "a", "w") // 3
	r.src.claim(first("c", basis.None()), later("a"))
	r.src.add("SET", "c", "later") // 4
	r.src.claim(later("c"))
	r.drain(0)
	r.wantConflicted(1, 3)
	r.want(0, "a", "foreign")
	r.want(0, "n", "1")
	r.want(0, "c", "later")
	if n := r.do(0, "EXISTS", "b"); n != int64(0) {
		t.Error("half of a unit was applied")
	}
	if keys := r.src.letters()[3].Keys; !slices.Equal(keys, []int{1}) {
		t.Errorf("the reason is key %v", keys)
	}
}

func TestABaseIsComparedThoughItsEntryIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"for another key's sake", "as the server declines it"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.opt.Conflicts, r.opt.BatchEntries = &Conflicts{}, 1
			r.do(0, "RPUSH", "other", "foreign")
			if how == "for another key's sake" {
				r.src.add("MSET", "other", "w", "k", "w")
				r.src.claim(first("other", basis.None()), first("k", basis.None()))
			} else {
				r.src.add("LMOVE", "other", "k", "LEFT", "NOWHERE")
				r.src.claim(first("other", elements("foreign")), first("k", basis.None()))
			}
			r.src.add("SET", "filler", "w")
			r.src.add("SET", "k", "w")
			r.src.claim(later("k"))
			var sent atomic.Int32
			l := &link{decide: func(int, []byte) fate {
				if sent.Add(1) == 2 {
					r.do(0, "SET", "k", "foreign too")
				}
				return forward
			}}
			r.opt.Dial = l.dial
			r.drain(0)
			r.want(0, "k", "foreign too")
			r.want(0, "filler", "w")
			if seqs := r.src.conflicted(); !slices.Contains(seqs, 3) || len(r.src.letters()) != 2 {
				t.Errorf("conflicted: %v of %d dead letters", seqs, len(r.src.letters()))
			}
		})
	}
}

func TestABaseThatWasOwedIsComparedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Conflicts, r.opt.BatchEntries = &Conflicts{}, 1
	r.do(0, "SET", "other", "foreign")
	r.src.add("MSET", "other", "w", "k", "w")
	r.src.claim(first("other", basis.None()), first("k", basis.None()))
	for i := range 4 {
		r.src.add("APPEND", "k", strconv.Itoa(i)+",")
		r.src.claim(later("k"))
	}
	var sent atomic.Int32
	l := &link{decide: func(int, []byte) fate {
		if sent.Add(1) == 3 {
			return cutAfter // which the fence tells of
		}
		return forward
	}}
	r.opt.Dial = l.dial
	r.drain(0)
	r.wantConflicted(1)
	r.want(0, "k", order(4))
}

func elements(all ...string) basis.Basis {
	var c basis.Content
	for _, e := range all {
		c.Element([]byte(e))
	}
	return c.Basis(basis.KindList)
}

func TestAForeignWriteRacesWithABatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Conflicts = &Conflicts{}
	var sent atomic.Int32
	l := &link{decide: func(int, []byte) fate {
		if n := sent.Add(1); n <= 2 { // between the comparison and the batch
			r.do(0, "SET", "k"+strconv.Itoa(int(n)), "foreign")
		}
		return forward
	}}
	r.opt.Dial = l.dial
	for i := range 5 {
		key := "k" + strconv.Itoa(i)
		r.src.add("SET", key, "w")
		r.src.claim(first(key, basis.None()))
		r.src.add("APPEND", key, "!")
		r.src.claim(later(key))
	}
	rp := r.drain(0)
	for i := range 5 {
		want := "w!"
		if i == 1 || i == 2 {
			want = "foreign"
		}
		r.want(0, "k"+strconv.Itoa(i), want)
	}
	r.wantConflicted(3, 4, 5, 6)
	if st := rp.Stats(); st.Sessions != 1 || sent.Load() != 3 {
		t.Errorf("%d batches were sent, stats %+v", sent.Load(), st)
	}
}

func TestAKeyThatIsWrittenAllTheTime(t *testing.T) {
	t.Parallel()
	for _, overwrite := range []bool{false, true} {
		t.Run(strconv.FormatBool(overwrite), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.opt.Conflicts = &Conflicts{}
			if overwrite {
				r.opt.Conflicts.Overwrite = func(context.Context, Conflict) bool { return true }
			}
			r.do(0, "SET", "busy", "v")
			l := &link{decide: func(int, []byte) fate {
				r.do(0, "EXPIRE", "busy", 1000) // which changes nothing that is compared
				return forward
			}}
			r.opt.Dial = l.dial
			const n = 40
			for i := range n {
				key, b := "k"+strconv.Itoa(i), basis.None()
				if i == n/3 {
					key, b = "busy", str("v")
				}
				r.src.add("SET", key, "w")
				r.src.claim(first(key, b))
			}
			rp := r.drain(0)
			kept := uint64(1)
			if overwrite {
				kept = 0
			}
			if st := rp.Stats(); st.Conflicted != kept || st.Replayed != n-kept || st.Sessions != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestRestartsMakeNoConflicts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.BatchEntries = 2
	r.do(0, "SET", "bad", "foreign")
	claims := make(map[uint64][]Claim)
	add := func(key, value string, c Claim) {
		seq := r.src.add("APPEND", key, value)
		r.src.claim(c)
		claims[seq] = []Claim{c}
	}
	for i := range 12 {
		c, b := later("good"), later("bad")
		if i == 0 {
			c, b = first("good", basis.None()), first("bad", basis.None())
		}
		add("good", strconv.Itoa(i)+",", c)
		add("bad", "w", b)
	}
	// Each process gets one batch through, whose answer it does not see.
	for process := range 40 {
		var sent atomic.Int32
		l := &link{decide: func(int, []byte) fate {
			if sent.Add(1) == 2 {
				return cutAfter
			}
			return forward
		}}
		r.opt.Dial = l.dial
		r.opt.Conflicts = &Conflicts{Left: r.src.leftKeys(claims)}
		rp := r.replayer()
		stop, ended := r.run(rp, 0)
		redistest.Eventually(t, patience, "a cut or the drain", func() bool {
			return sent.Load() >= 2 || r.src.Bounds().Trimmed == r.src.Bounds().Last || len(ended) > 0
		})
		_ = stop()
		if b := r.src.Bounds(); b.Trimmed == b.Last {
			break
		} else if process == 39 {
			t.Fatalf("no end: %+v", b)
		}
	}
	r.want(0, "good", order(12))
	r.want(0, "bad", "foreign")
	if n := len(r.src.conflicted()); n != 12 || len(r.src.letters()) != 12 {
		t.Errorf("%d conflicted of %d dead letters", n, len(r.src.letters()))
	}
}

func TestABatchThatComesLateIsNoConflict(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Conflicts, r.opt.Timeout = &Conflicts{}, time.Second
	var held atomic.Bool
	l := &link{decide: func(int, []byte) fate {
		if !held.Swap(true) {
			return hold
		}
		return forward
	}}
	r.opt.Dial = l.dial
	r.opt.Hooks.Ready = func(Ready) {
		l.mu.Lock()
		late := l.held
		l.held = nil
		l.mu.Unlock()
		for _, h := range late { // the fence of the new session has just been read
			var o outcome
			err := errors.Join(h.server.SetDeadline(noDeadline), second(h.server.Write(h.request)), newReplies(h.server).outcome(2, &o))
			if err != nil || o.exec != execApplied {
				t.Errorf("the late batch: EXEC %d, %v", o.exec, err)
			}
			_ = h.server.Close()
		}
	}
	r.src.add("INCR", "n")
	r.src.claim(first("n", basis.None()))
	r.src.add("SET", "k", "w")
	r.src.claim(first("k", basis.None()))
	rp := r.drain(0)
	r.wantConflicted()
	r.want(0, "n", "1")
	if st := rp.Stats(); st.Sessions < 3 {
		t.Errorf("the late batch went unnoticed: %+v", st)
	}
}

func second(_ int, err error) error { return err }

func TestAFailoverThatLosesTheBase(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.opt.Conflicts, r.opt.ReplicaAcks = &Conflicts{}, -1
	r.do(0, "SET", "old", "1")
	r.do(0, "SET", "same", "1")
	r.must(r.g.WaitSynced(t.Context()))
	r.sever(0, 1)
	r.do(0, "SET", "old", "2") // the base, which the next primary never had
	r.src.add("INCR", "old")
	r.src.claim(first("old", str("2")))
	r.src.add("INCR", "same")
	r.src.claim(first("same", str("1")))
	r.must(r.g.Node(0).Kill())
	r.must(r.g.Node(1).Resume())
	r.must(r.g.PromoteOnly(t.Context(), 1))
	r.drain(1)
	r.wantConflicted(1)
	r.want(1, "old", "1")
	r.want(1, "same", "2")
}
