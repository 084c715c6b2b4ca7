package main

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// oneServer is a single real server.
func oneServer(t *testing.T) *redis.Client {
	t.Helper()
	return redistest.StartT(t, redistest.Options{}).Node(0).Client()
}

// oneWorker is a worker whose writes go to server while in the given phase.
func oneWorker(k kind, p phase, server redis.UniversalClient) *worker {
	clock := &phaseClock{}
	clock.set(p)
	return &worker{side: newSide("test", "test:", server), kind: k, clock: clock, counted: map[string]int64{}}
}

// allSorts makes one write of every sort of effect through the worker.
func allSorts(ctx context.Context, w *worker, server redis.UniversalClient) {
	w.set(ctx, server, "test:value", "a", time.Minute)
	w.setField(ctx, server, "test:hash", "field", "b")
	w.incrField(ctx, server, "test:counts", "field")
	w.incr(ctx, server, "test:counter")
	w.appendLine(ctx, server, "test:log", "line\n")
}

// account verifies the worker's writes and counts them.
func account(t *testing.T, server redis.UniversalClient, w *worker) tally {
	t.Helper()
	misordered, err := verify(t.Context(), server, w.log)
	if err != nil {
		t.Fatal(err)
	}
	return count(w.log, misordered)
}

func TestVerifyFindsEveryWriteOnce(t *testing.T) {
	server := oneServer(t)
	w := oneWorker(kindLogin, phaseHealthy, server)
	allSorts(t.Context(), w, server)
	got := account(t, server, w)
	want := row{attempted: 5, accepted: 5, slowest: got.all.slowest}
	if got.all != want || got.byKind[kindLogin] != want || got.misordered != 0 || got.firstErr != nil {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.all.slowest <= 0 {
		t.Error("no call took any time")
	}
}

// TestVerifySees takes accepted writes away, or repeats them, behind the
// worker's back.
func TestVerifySees(t *testing.T) {
	server := oneServer(t)
	tests := []struct {
		name          string
		tamper        func(ctx context.Context) error
		lost, doubled int
		misordered    int
	}{
		{"nothing", func(context.Context) error { return nil }, 0, 0, 0},
		{"a lost value", func(ctx context.Context) error { return server.Del(ctx, "test:value").Err() }, 1, 0, 0},
		{"an overwritten value", func(ctx context.Context) error { return server.Set(ctx, "test:value", "x", 0).Err() }, 1, 0, 0},
		{"a lost field", func(ctx context.Context) error { return server.HDel(ctx, "test:hash", "field").Err() }, 1, 0, 0},
		{"a lost field count", func(ctx context.Context) error { return server.Del(ctx, "test:counts").Err() }, 1, 0, 0},
		{"a doubled field count", func(ctx context.Context) error { return server.HIncrBy(ctx, "test:counts", "field", 1).Err() }, 0, 1, 0},
		{"a lost increment", func(ctx context.Context) error { return server.Decr(ctx, "test:counter").Err() }, 1, 0, 0},
		{"a doubled increment", func(ctx context.Context) error { return server.Incr(ctx, "test:counter").Err() }, 0, 1, 0},
		{"an increment four times", func(ctx context.Context) error { return server.IncrBy(ctx, "test:counter", 3).Err() }, 0, 3, 0},
		{"a lost log entry", func(ctx context.Context) error { return server.Set(ctx, "test:log", "", 0).Err() }, 1, 0, 0},
		{"a doubled log entry", func(ctx context.Context) error { return server.Append(ctx, "test:log", "line\n").Err() }, 0, 1, 0},
		{"a log entry of nobody", func(ctx context.Context) error { return server.Append(ctx, "test:log", "alien\n").Err() }, 0, 0, 1},
		{"everything lost", func(ctx context.Context) error { return server.FlushAll(ctx).Err() }, 5, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := server.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			w := oneWorker(kindMessage, phaseOutage, server)
			allSorts(t.Context(), w, server)
			if err := test.tamper(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := account(t, server, w)
			want := row{
				attempted: 5, accepted: 5, lost: test.lost, lostAccepted: test.lost,
				doubled: test.doubled, slowest: got.all.slowest,
			}
			if got.all != want || got.outage != want || got.misordered != test.misordered {
				t.Errorf("got %+v, want %+v and %d misordered", got, want, test.misordered)
			}
		})
	}
}

func TestVerifyFailsOnAWrongType(t *testing.T) {
	server := oneServer(t)
	w := oneWorker(kindLogin, phaseHealthy, server)
	w.set(t.Context(), server, "test:missing", "a", 0)
	w.set(t.Context(), server, "test:value", "b", 0)
	server.Del(t.Context(), "test:missing", "test:value")
	server.LPush(t.Context(), "test:value", "b")
	if _, err := verify(t.Context(), server, w.log); err == nil {
		t.Error("a list where a string was written went unnoticed")
	}
}

// TestRefusedWritesAreLost has a replica refuse what plain go-redis sends it.
func TestRefusedWritesAreLost(t *testing.T) {
	group := redistest.StartT(t, redistest.Options{Replicas: 1})
	replica := openPlain(group.Node(1).Addr())
	t.Cleanup(func() { _ = replica.Close() })
	w := oneWorker(kindAutomation, phaseOutage, replica)
	allSorts(t.Context(), w, replica)
	got := account(t, group.Node(0).Client(), w)
	want := row{attempted: 5, refused: 5, lost: 5, slowest: got.all.slowest}
	if got.outage != want || got.firstErr == nil {
		t.Errorf("got %+v (first error %v), want %+v", got.outage, got.firstErr, want)
	}
}

func TestUnseenWrites(t *testing.T) {
	group := redistest.StartT(t, redistest.Options{Replicas: 0})
	server := group.Node(0).Client()
	// The writes go to database 0, the reads look into database 1.
	elsewhere := redis.NewClient(&redis.Options{Addr: group.Node(0).Addr(), DB: 1})
	t.Cleanup(func() { _ = elsewhere.Close() })
	blind := forgetful{UniversalClient: server, reads: elsewhere}
	w := oneWorker(kindLogin, phaseHealthy, blind)
	allSorts(t.Context(), w, blind)
	got := account(t, server, w)
	if got.all.unseen != 5 || got.all.accepted != 5 || got.all.lost != 0 {
		t.Errorf("got %+v, want all 5 accepted, there, and unseen", got.all)
	}
}

// forgetful is a client that does not read its own writes.
type forgetful struct {
	redis.UniversalClient
	reads redis.UniversalClient
}

func (f forgetful) Get(ctx context.Context, key string) *redis.StringCmd {
	return f.reads.Get(ctx, key)
}

func (f forgetful) HGet(ctx context.Context, key, field string) *redis.StringCmd {
	return f.reads.HGet(ctx, key, field)
}
