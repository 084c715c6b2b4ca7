package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
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

// Rolled back to any point, the overlay is what the writes up to there make.
func TestRollbackEqualsNeverWritten(t *testing.T) {
	t.Parallel()
	for round := range 150 {
		rng := rand.New(rand.NewPCG(7, uint64(round)))
		seeds := map[string]fakeKey{
			"k0": stringSeed("10"), "k1": hashSeed("f0", "1", "f1", "x"), "k2": listSeed("a", "b"),
		}
		r := newRig(t, Options{EstimateCounters: true})
		for k, s := range seeds {
			r.src.set(k, s)
		}
		for range 60 {
			r.src.fail(nil)
			if rng.IntN(4) == 0 {
				r.src.fail(errSourceDown)
			}
			if _, err := r.run(context.Background(), 0, randomWrite(rng)); err != nil &&
				!errors.Is(err, ErrKeyTooBig) {
				t.Fatal(err)
			}
		}
		r.src.fail(nil)
		from := uint64(rng.IntN(r.j.len()) + 1)
		durable := uint64(rng.IntN(int(from)))
		r.o.Durable(durable)
		r.o.Rollback(from)
		r.checkBytes()

		again := newRig(t, Options{EstimateCounters: true})
		for k, s := range seeds {
			again.src.set(k, s)
		}
		for _, rec := range r.j.records {
			if rec.seq < from {
				again.recover(rec.seq, rec.args, time.Now().UnixMilli(), 0)
			}
		}
		for i := range 4 {
			for _, cmd := range []string{"TYPE", "GET", "PTTL", "HGETALL"} {
				line := fmt.Sprintf("%s k%d", cmd, i)
				a, errA := r.try(line)
				b, errB := again.try(line)
				if sorted(a, cmd) != sorted(b, cmd) || (errA == nil) != (errB == nil) {
					t.Fatalf("round %d, back to %d: %s: %q %v, want %q %v", round, from, line, show(a.Reply), errA, show(b.Reply), errB)
				}
			}
		}
	}
}

// sorted shows a reply; the fields of a hash have no order after a rollback, and
// times left no exact value.
func sorted(r Result, cmd string) string {
	if cmd == "PTTL" {
		return strconv.FormatBool(bytes.HasPrefix(r.Reply, []byte(":-")))
	}
	if cmd != "HGETALL" || !bytes.HasPrefix(r.Reply, []byte("*")) {
		return show(r.Reply)
	}
	v, err := resp.NewReader(bytes.NewReader(r.Reply)).ReadValue()
	if err != nil {
		return err.Error()
	}
	var pairs []string
	for i := 0; i+1 < len(v.Elems); i += 2 {
		pairs = append(pairs, v.Elems[i].Text()+"="+v.Elems[i+1].Text())
	}
	slices.Sort(pairs)
	return fmt.Sprint(pairs)
}

// randomWrite is a write on one of a few keys, most of them valid.
func randomWrite(rng *rand.Rand) [][]byte {
	key := fmt.Sprintf("k%d", rng.IntN(4))
	field := fmt.Sprintf("f%d", rng.IntN(20))
	number := []string{"1", "-3", "9223372036854775807", "x", "-9223372036854775808", "007"}[rng.IntN(6)]
	far := "99999999999999"
	lines := []string{
		"SET " + key + " " + number, "SET " + key + " v PXAT " + far, "SET " + key + " v KEEPTTL",
		"SET " + key + " v PXAT 1", "SET " + key + " v PXAT -1",
		"DEL " + key, "DEL k0 k1 " + key, "PEXPIREAT " + key + " " + far, "PEXPIREAT " + key + " -5",
		"PERSIST " + key, "INCR " + key, "DECR " + key, "INCRBY " + key + " " + number, "DECRBY " + key + " " + number,
		"APPEND " + key + " " + number, "HSET " + key + " " + field + " " + number, "HSET " + key + " f0 a " + field + " b f0 c",
		"HMSET " + key + " " + field + " 12", "HDEL " + key + " " + field + " f0 f0", "HINCRBY " + key + " " + field + " " + number,
		"HSET " + key + " f1 a f2", "HSET " + key + " " + field + " 5", "HINCRBY " + key + " " + field + " 2",
	}
	args := split(lines[rng.IntN(len(lines))])
	if rng.IntN(8) == 0 && args[0][0] != 'S' { // an empty last argument, but no empty option
		args[len(args)-1] = nil
	}
	args[0] = bytes.ToLower(args[0])
	if rng.IntN(2) == 0 {
		args[0] = bytes.ToUpper(args[0])
	}
	return args
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

// Random traffic with trims and rollbacks, for the race detector and the
// accounts.
func TestConcurrentEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{EstimateCounters: true})
	r.src.set("k0", stringSeed("1"))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 400 {
				args := randomWrite(rng)
				if i%3 == 0 {
					args = split("MGET k0 k1 k2 k3")
				}
				res, err := r.run(context.Background(), 0, args)
				if err != nil && !errors.Is(err, ErrNotHeld) {
					t.Errorf("%s: %v", args[0], err)
				}
				switch {
				case i%37 == 0:
					r.o.Trim(res.Seq / 2)
				case i%53 == 0:
					r.o.Durable(res.Seq)
				case i%101 == 0 && res.Seq > 0:
					r.o.Rollback(res.Seq)
				case i%71 == 0:
					if _, err := r.o.Resolve(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	r.checkBytes()
	r.o.Trim(r.j.seq)
	if got := r.o.Stats(); got != (Stats{}) {
		t.Errorf("after trimming everything: %+v, want zero", got)
	}
}
