package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// callTimeout is how long the application is willing to wait for one call.
	callTimeout = 10 * time.Second
	// usersPerWorker is how many users, rules or outboxes a worker looks after.
	usersPerWorker = 5
	// rotateAfter is how many operations go into one log or history hash.
	rotateAfter = 500
)

// side is one of the two applications that live through the same morning.
type side struct {
	name   string
	prefix string // of all its keys
	ok     atomic.Uint64
	failed atomic.Uint64

	client  atomic.Pointer[redis.UniversalClient]
	workers []*worker
	running sync.WaitGroup
	ended   chan struct{} // closed when all workers have ended
}

func newSide(name, prefix string, client redis.UniversalClient) *side {
	s := &side{name: name, prefix: prefix, ended: make(chan struct{})}
	s.use(client)
	return s
}

// use makes operations that begin from now on go through client.
func (s *side) use(client redis.UniversalClient) { s.client.Store(&client) }

// await reports whether all workers have ended before ctx did.
func (s *side) await(ctx context.Context) bool {
	select {
	case <-s.ended:
		return true
	case <-ctx.Done():
	}
	select { // both may be so
	case <-s.ended:
		return true
	default:
		return false
	}
}

// writes are all writes of the side, each worker's in their order. Only for
// after the workload has ended.
func (s *side) writes() []*write {
	var all []*write
	for _, w := range s.workers {
		all = append(all, w.log...)
	}
	return all
}

// workload lets the same operations happen on several sides: same kinds, same
// times, same random choices, each side with its own workers so that a slow one
// holds up nobody else.
type workload struct {
	clock *phaseClock
	rate  float64 // operations a second, for each kind and side
	seed  uint64

	stopped chan struct{} // closed by stop
	until   time.Time     // set before stopped is closed: what was due by then is still done
}

func newWorkload(clock *phaseClock, rate float64, seed uint64) *workload {
	return &workload{clock: clock, rate: rate, seed: seed, stopped: make(chan struct{})}
}

// start lets the workers of every side begin. They end by themselves after
// stop, or when ctx ends.
func (l *workload) start(ctx context.Context, sides ...*side) {
	// A write that fails by READONLY takes plain go-redis 40 to 250 ms, an
	// operation has three: so many workers keep up even then.
	perKind := max(4, int(l.rate*0.8+0.5))
	interval := time.Duration(float64(perKind) / l.rate * float64(time.Second))
	begin := time.Now()
	for _, s := range sides {
		for _, k := range kinds {
			for i := range perKind {
				w := &worker{
					side: s, kind: k, id: i, clock: l.clock,
					rnd:     rand.New(rand.NewPCG(l.seed, uint64(k)<<32|uint64(i))), //nolint:gosec // chooses users, not secrets
					counted: map[string]int64{},
				}
				s.workers = append(s.workers, w)
				offset := interval * time.Duration(i*len(kinds)+int(k)) / time.Duration(perKind*len(kinds))
				s.running.Go(func() { w.run(ctx, l, begin.Add(offset), interval) })
			}
		}
		go func() {
			s.running.Wait()
			close(s.ended)
		}()
	}
}

// stop ends the workload: what is due by now is still done, on both sides
// alike, for which side.await waits. Call it once.
func (l *workload) stop() {
	l.until = time.Now()
	close(l.stopped)
}

// await waits until due and reports whether the operation is to be done.
func (l *workload) await(ctx context.Context, timer *time.Timer, due time.Time) bool {
	timer.Reset(time.Until(due))
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	case <-l.stopped:
		return ctx.Err() == nil && !due.After(l.until)
	}
}

// worker does one kind of operation for some users, one after the other. Its
// fields belong to its goroutine until the workload has ended.
type worker struct {
	side  *side
	kind  kind
	id    int
	clock *phaseClock
	rnd   *rand.Rand

	log     []*write
	counted map[string]int64 // the latest reply of each counter
}

func (w *worker) run(ctx context.Context, l *workload, first time.Time, interval time.Duration) {
	timer := time.NewTimer(time.Until(first))
	defer timer.Stop()
	for n := 0; l.await(ctx, timer, first.Add(time.Duration(n)*interval)); n++ {
		w.operate(ctx, n)
	}
}

// operate does one operation. Its writes count one by one: an error of the
// first does not stop the others, so that both sides attempt the same.
func (w *worker) operate(ctx context.Context, n int) {
	client := *w.side.client.Load()
	user := fmt.Sprintf("%d.%d", w.id, w.rnd.IntN(usersPerWorker))
	id := fmt.Sprintf("%s-%d-%d", w.kind.letter(), w.id, n)
	part := strconv.Itoa(n / rotateAfter)
	switch w.kind {
	case kindLogin:
		w.set(ctx, client, w.key("session", id), id, time.Hour)
		w.setField(ctx, client, w.key("profile", user, part), "login:"+id, "from 192.0.2."+strconv.Itoa(w.rnd.IntN(255)))
		w.incr(ctx, client, w.key("logins", user))
	case kindMessage:
		w.setField(ctx, client, w.key("message", user, part), id, strings.Repeat("words ", 1+w.rnd.IntN(40)))
		w.appendLine(ctx, client, w.key("outbox", user, part), id+"\n")
	case kindAutomation:
		w.setField(ctx, client, w.key("rule", user, part), "trigger:"+id, "birthday")
		w.incrField(ctx, client, w.key("fired", user, part), id)
		w.incr(ctx, client, w.key("runs", user))
	case kindNone:
	}
}

func (k kind) letter() string { return k.String()[:1] }

func (w *worker) key(parts ...string) string {
	return w.side.prefix + strings.Join(parts, ":")
}

func (w *worker) set(ctx context.Context, c redis.UniversalClient, key, value string, ttl time.Duration) {
	w.do(ctx, effect{sort: effectValue, key: key, want: value},
		func(ctx context.Context) error { return c.Set(ctx, key, value, ttl).Err() },
		func(ctx context.Context) (bool, error) {
			got, err := c.Get(ctx, key).Result()
			return got == value, err
		})
}

func (w *worker) setField(ctx context.Context, c redis.UniversalClient, key, field, value string) {
	w.do(ctx, effect{sort: effectField, key: key, field: field, want: value},
		func(ctx context.Context) error { return c.HSet(ctx, key, field, value).Err() },
		func(ctx context.Context) (bool, error) {
			got, err := c.HGet(ctx, key, field).Result()
			return got == value, err
		})
}

func (w *worker) incrField(ctx context.Context, c redis.UniversalClient, key, field string) {
	var reply int64
	w.do(ctx, effect{sort: effectFieldCount, key: key, field: field},
		func(ctx context.Context) (err error) {
			reply, err = c.HIncrBy(ctx, key, field, 1).Result()
			return err
		},
		func(ctx context.Context) (bool, error) {
			got, err := c.HGet(ctx, key, field).Int64()
			return reply == 1 && got == 1, err
		})
}

// incr counts up. Nobody else writes the counter, so the reply must be beyond
// the latest one and a read must give just the reply.
func (w *worker) incr(ctx context.Context, c redis.UniversalClient, key string) {
	var reply int64
	w.do(ctx, effect{sort: effectCounter, key: key},
		func(ctx context.Context) (err error) {
			reply, err = c.Incr(ctx, key).Result()
			return err
		},
		func(ctx context.Context) (bool, error) {
			grew := reply > w.counted[key]
			w.counted[key] = reply
			got, err := c.Get(ctx, key).Int64()
			return grew && got == reply, err
		})
}

func (w *worker) appendLine(ctx context.Context, c redis.UniversalClient, key, line string) {
	w.do(ctx, effect{sort: effectLog, key: key, want: line},
		func(ctx context.Context) error { return c.Append(ctx, key, line).Err() },
		func(ctx context.Context) (bool, error) {
			got, err := c.Get(ctx, key).Result()
			return strings.HasSuffix(got, line), err
		})
}

// do makes one write, reads it back if it was accepted, and keeps the record.
func (w *worker) do(ctx context.Context, e effect, send func(context.Context) error, seen func(context.Context) (bool, error)) {
	record := &write{kind: w.kind, effect: e, began: w.clock.phase()}
	record.took, record.err = timed(ctx, send)
	record.outcome = outcomeOf(record.err)
	record.ended = w.clock.phase()
	if record.outcome == outcomeAccepted {
		w.side.ok.Add(1)
		var shown bool
		took, err := timed(ctx, func(ctx context.Context) (err error) {
			shown, err = seen(ctx)
			return err
		})
		record.took = max(record.took, took)
		record.unseen = err != nil || !shown
		record.err = err
	} else {
		w.side.failed.Add(1)
	}
	w.log = append(w.log, record)
}

// timed makes one call with the application's time limit.
func timed(ctx context.Context, call func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	return time.Since(start), err
}
