package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

// awaitRequests waits until the source has been asked n times.
func awaitRequests(t *testing.T, src *fakeSource, n int) {
	t.Helper()
	redistest.Eventually(t, 10*time.Second, "requests to the source", func() bool { return src.requests() >= n })
}

func TestTrimKeepsKeysWithLaterWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET a 1") // 1
	r.do("SET b 1") // 2
	r.do("INCR a")  // 3
	if n := r.o.Trim(2); n != 1 {
		t.Errorf("Trim(2) removed %d keys, want 1", n)
	}
	r.want("GET a", "$1 2")
	if _, err := r.try("GET b"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("GET of a trimmed key: %v, want ErrNotHeld", err)
	}
	r.checkBytes()
}

// A rollback lowers sequences; keys must then leave in the order of the new ones.
func TestTrimAfterRollback(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.do("SET {shard}a 1") // 1
	r.do("SET {shard}b 1") // 2
	r.do("INCR {shard}a")  // 3
	r.o.Rollback(3)
	r.checkBytes()
	if n := r.o.Trim(1); n != 1 {
		t.Errorf("Trim(1) removed %d keys, want 1", n)
	}
	if _, held := r.o.Held(0, "{shard}b"); !held {
		t.Error("the key with the later write left")
	}
	r.checkBytes()
}

func TestAwait(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	if err := r.o.Await(context.Background(), 0, "k"); err != nil {
		t.Errorf("Await of a key that is not held: %v", err)
	}
	r.do("SET k 1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.o.Await(ctx, 0, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("Await with an ended context: %v", err)
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- r.o.Await(context.Background(), 0, "k") }()
	}
	select {
	case err := <-done:
		t.Fatalf("Await of a held key returned %v", err)
	default:
	}
	r.o.Trim(1)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Replies of one key are computed in the order of the journal, whoever asks.
func TestConcurrentWritersShareOneSeed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("n", stringSeed("1000"))
	release := make(chan struct{})
	r.src.hold(func(context.Context) error { <-release; return nil })

	const writers, each = 20, 50
	replies := make(map[uint64]int64)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				res, err := r.try("INCR n")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				replies[res.Seq] = r.number(res)
				mu.Unlock()
			}
		})
	}
	awaitRequests(t, r.src, 1)
	close(release)
	wg.Wait()
	for seq := uint64(1); seq <= writers*each; seq++ {
		if replies[seq] != 1000+int64(seq) {
			t.Fatalf("sequence %d was answered %d, want %d", seq, replies[seq], 1000+int64(seq))
		}
	}
	// Who comes between the seed's arrival and its first use joins it too, so
	// one request is enough for all.
	if got := r.src.requests(); got != 1 {
		t.Errorf("the source was asked %d times, want 1", got)
	}
	r.checkBytes()
}

// A seed read before a key was written, drained and trimmed lacks those writes.
func TestSeedOlderThanATrimIsNotUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("n", stringSeed("5"))
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	base := r.src
	src := seedFunc{base, func(ctx context.Context, keys []Key, d Depth) ([]Seed, error) {
		seeds, err := base.Seed(ctx, keys, d) // read now, delivered later
		once.Do(func() { close(arrived); <-release })
		return seeds, err
	}}
	o, err := New(Options{Source: src})
	if err != nil {
		t.Fatal(err)
	}
	r.o = o
	slow := make(chan Result, 1)
	go func() {
		res, err := r.try("INCR n")
		if err != nil {
			t.Error(err)
		}
		slow <- res
	}()
	<-arrived
	seq := r.do("SET n 100").Seq
	base.set("n", stringSeed("100")) // replayed
	r.o.Trim(seq)
	close(release)
	if res := <-slow; show(res.Reply) != ":101" {
		t.Errorf("INCR answered %s from a seed that was older than a trimmed write, want 101", res.Reply)
	}
	r.checkBytes()
}

// seedFunc is a source whose seeds come from a function.
type seedFunc struct {
	Source
	f func(context.Context, []Key, Depth) ([]Seed, error)
}

func (s seedFunc) Seed(ctx context.Context, keys []Key, d Depth) ([]Seed, error) {
	return s.f(ctx, keys, d)
}

// The context of the caller that happens to fetch must not fail the others.
func TestOwnersContextDoesNotFailFollowers(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.src.set("n", stringSeed("1"))
	r.src.hold(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	ctx, cancel := context.WithCancel(context.Background())
	owner, follower := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := r.run(ctx, 0, split("INCR n"))
		owner <- err
	}()
	awaitRequests(t, r.src, 1)
	r.src.hold(nil)
	go func() {
		res, err := r.try("INCR n")
		if err == nil && show(res.Reply) != ":2" {
			err = fmt.Errorf("reply %s, want 2", res.Reply)
		}
		follower <- err
	}()
	redistest.Eventually(t, 10*time.Second, "the follower joins the flight", func() bool {
		k := Key{Name: "n"}
		s := r.o.shard(k.Name)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.flights[k].refs == 2
	})
	cancel()
	if err := <-owner; !errors.Is(err, context.Canceled) {
		t.Errorf("the owner's error: %v, want its context's", err)
	}
	if err := <-follower; err != nil {
		t.Errorf("the follower: %v", err)
	}
	if r.j.len() != 1 {
		t.Errorf("%d records, want only the follower's", r.j.len())
	}
	r.checkBytes()
}

// Random traffic with trims and rollbacks, and a server that comes and goes, for
// the race detector and the accounts.
func TestConcurrentEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{EstimateCounters: true})
	for name, k := range someKeys() {
		r.src.set(name, k)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			gen := workload.New(uint64(w), workload.Options{Keys: 2, ExplicitIDs: true, Deferrable: true})
			for i := range 400 {
				res := randomTraffic(r, gen, rng)
				switch {
				case i%37 == 0:
					r.o.Trim(res.Seq / 2)
				case i%53 == 0:
					r.o.Durable(res.Seq)
				case i%101 == 0 && res.Seq > 0:
					r.o.Rollback(res.Seq)
				case i%71 == 0:
					if _, err := r.o.Resolve(context.Background()); err != nil && !errors.Is(err, ErrBaseUnknown) {
						t.Error(err)
					}
				case i%61 == 0:
					r.src.fail([]error{nil, nil, errSourceDown}[rng.IntN(3)])
				}
			}
		})
	}
	wg.Wait()
	r.src.fail(nil)
	r.checkBytes()
	r.o.Trim(r.j.seq)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after trimming everything: %+v, want zero", got)
	}
}

// randomTraffic runs a command, or a few as a unit. No error but a refusal may
// come of it.
func randomTraffic(r *rig, gen *workload.Generator, rng *rand.Rand) Result {
	req := Request{Commit: func(*Effect) (uint64, error) { return r.j.commit(split("UNIT")) }}
	for range 1 + rng.IntN(8)/6 {
		args := gen.Next()
		if engine.Lookup(args) != nil {
			req.Commands = append(req.Commands, commandOf(args))
		}
	}
	if len(req.Commands) == 0 {
		return Result{}
	}
	do := r.o.Write
	if len(req.Commands) == 1 && !engine.Lookup(req.Commands[0].Args).Write {
		do = r.o.Read
	}
	res, err := do(context.Background(), req)
	if errors.Is(err, ErrInternal) || errors.Is(err, ErrFull) {
		r.tb.Errorf("%s: %v", req.Commands[0].Args[0], err)
	}
	return res
}
