package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

// someKeys are bases of all types for the keys of a workload.Generator, some of
// them too big to be seeded whole.
func someKeys() map[string]fakeKey {
	return map[string]fakeKey{
		"s0": stringSeed("10"), "s1": stringSeed("text").at(9_000_000_000_000), "b0": stringSeed("bits"),
		"h0": hashSeed("m0", "1", "m1", "x"), "h1": bigHash(9000, "m0", "5", "m1", "v", "3", "7"),
		"l0": listSeed("m1", "m2", "m3"), "t0": setSeed("m1", "m2", "1"), "t1": setSeed("1", "2", "3"),
		"l1": {value: func() engine.Object { return engine.NewPartialList(9000) }},
		"z0": {value: func() engine.Object { return engine.NewZSet(split("m1 m2"), []float64{1, 2.5}) }},
		"z1": {
			value:   func() engine.Object { return engine.NewPartialZSet(9000) },
			members: map[string]engine.Fact{"m1": {Present: true, Score: 3}},
		},
		"x0": {value: func() engine.Object { return engine.NewStream(engine.StreamState{LastID: engine.StreamID{Ms: 1}}) }},
	}
}

// Rolled back to any point, the overlay is what the writes up to there make,
// whatever was known of their keys when they came.
func TestRollbackEqualsNeverWritten(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	rounds := 60
	if s := os.Getenv("HOLDFAST_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	for round := range rounds {
		rollbackRound(t, seed+uint64(round))
	}
}

func rollbackRound(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	gen := workload.New(seed, workload.Options{ExplicitIDs: true, Deferrable: true, Keys: 3, Malformed: 3})
	r, again := newRig(t, Options{EstimateCounters: true}), newRig(t, Options{EstimateCounters: true})
	for name, k := range someKeys() {
		r.src.set(name, k)
		again.src.set(name, k)
	}
	down := 0 // in a hundred
	if rng.IntN(3) > 0 {
		down = 30
	}
	for range 120 {
		args := gen.Next()
		if cmd := engine.Lookup(args); cmd == nil || !cmd.Write || !fixed(args) {
			continue
		}
		r.src.fail(nil)
		if rng.IntN(100) < down {
			r.src.fail(errSourceDown)
		}
		_, err := r.run(context.Background(), 0, args)
		if err != nil && !errors.Is(err, ErrKeyTooBig) && !errors.Is(err, ErrNotServed) &&
			!errors.Is(err, ErrPromised) && !errors.Is(err, ErrBaseUnknown) {
			t.Fatalf("seed %d: %q: %v", seed, args, err)
		}
	}
	r.src.fail(nil)
	from := uint64(rng.IntN(r.j.len()) + 1)
	r.o.Durable(uint64(rng.IntN(int(from))))
	if rng.IntN(2) == 0 {
		r.resolve()
	}
	r.o.Rollback(from)
	r.checkBytes()
	r.resolve()
	r.checkBytes()
	for _, rec := range r.j.records {
		if rec.seq < from {
			again.recover(rec.seq, rec.args, time.Now().UnixMilli(), 0)
		}
	}
	again.resolve()
	again.checkBytes()
	r.sameAs(again, fmt.Sprintf("seed %d, back to %d", seed, from))
	r.o.Rollback(1)
	r.o.Trim(r.j.seq)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Fatalf("seed %d: after taking back or trimming everything: %+v", seed, got)
	}
}

func (r *rig) resolve() {
	r.tb.Helper()
	if left, err := r.o.Resolve(context.Background()); left != 0 || err != nil {
		r.tb.Fatalf("Resolve() = %d, %v", left, err)
	}
}

// sameAs compares what two overlays hold.
func (r *rig) sameAs(other *rig, when string) {
	r.tb.Helper()
	got, want := r.dump(), other.dump()
	for name, state := range want {
		if got[name] != state && state != "lost" && got[name] != "lost" {
			var writes [][][]byte
			for _, rec := range r.j.records {
				if slices.ContainsFunc(rec.args[1:], func(b []byte) bool { return string(b) == name }) {
					writes = append(writes, rec.args)
				}
			}
			r.tb.Fatalf("%s: %s is %q, want %q\nits writes: %q", when, name, got[name], state, writes)
		}
	}
	if len(got) != len(want) {
		r.tb.Fatalf("%s: %d keys are held, want %d", when, len(got), len(want))
	}
}

// dump says what each held key is.
func (r *rig) dump() map[string]string {
	out := make(map[string]string)
	now := time.Now().UnixMilli()
	for i := range r.o.shards {
		for e := r.o.shards[i].first; e != nil; e = e.next {
			e.obj.Expire(now)
			b, ok := e.obj.AppendRestore(nil, e.name)
			switch {
			case e.is(flagLost):
				out[e.name] = "lost"
			case !ok:
				out[e.name] = fmt.Sprintf("%s at %d", e.obj.TypeName(), e.obj.ExpireAt())
			default:
				out[e.name] = canonicalText(r.tb, b)
			}
		}
	}
	return out
}

// canonicalText shows restoring commands. The elements of hashes and sets have no
// order after a rollback.
func canonicalText(tb testing.TB, b []byte) string {
	tb.Helper()
	var text strings.Builder
	for len(b) > 0 {
		args, n, err := resp.ParseCommand(b, nil)
		if err != nil {
			tb.Fatal(err)
		}
		var words []string
		step := map[string]int{"HSET": 2, "SADD": 1}[string(args[0])]
		for i := 2; i < len(args); i += max(step, 1) {
			words = append(words, fmt.Sprintf("%q", args[i:min(i+max(step, 1), len(args))]))
		}
		if step > 0 {
			slices.Sort(words)
		}
		fmt.Fprintf(&text, "%s %s;", args[0], strings.Join(words, " "))
		b = b[n:]
	}
	return text.String()
}
