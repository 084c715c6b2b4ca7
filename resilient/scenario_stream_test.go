package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/resilient"
)

// How an application of the scenarios works: so many goroutines of each kind, each
// of which begins its next call so long after the last one at the earliest.
const (
	scenarioCounters = 3
	scenarioLists    = 2
	scenarioPace     = 20 * time.Millisecond
)

// fate is what a caller hears of a write.
type fate uint8

const (
	fateLive     fate = iota // Redis has it
	fateDeferred             // the journal has it
	fateRefused              // a *CommandError: it was not made and will not be
	fateDoubt                // ErrInDoubt
	fateFailed               // an error of Redis, of go-redis or of the network, as it is
)

// scenarioWrite is one write and what its caller heard. A counter has a key of its
// own, so that 0, 1 and 2 tell lost, made and made twice; the pushes onto a list
// carry their numbers, so that their order shows.
type scenarioWrite struct {
	key          string
	number       int // of a push; -1 for a counter
	begun, ended time.Time
	fate         fate
}

// scenarioRead is one GET of a counter that was acknowledged before.
type scenarioRead struct {
	begun, ended time.Time
	answered     bool
	wrong        bool // the counter was deferred, and the answer is not 1
}

// stream is an application that writes and reads through one client all the time.
type stream struct {
	client redis.UniversalClient
	key    func(suffix string) string // of the shard that breaks
	other  func(suffix string) string // of another shard; nil where there is none
	quit   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	ending sync.Once // closes quit

	mu      sync.Mutex // guards what follows
	writes  []scenarioWrite
	others  []scenarioWrite // those of the other shard
	reads   []scenarioRead
	latest  scenarioWrite        // the last counter that was acknowledged
	current map[string]time.Time // when the writes began that have not ended, by key
	counts  [fateFailed + 1]int
}

// startStream begins to write and read. Its keys begin with what key and other make
// of the name.
func startStream(client redis.UniversalClient, name string, key, other func(string) string) *stream {
	under := func(f func(string) string) func(string) string {
		if f == nil {
			return nil
		}
		return func(suffix string) string { return f(name + ":" + suffix) }
	}
	s := &stream{
		client: client, key: under(key), other: under(other),
		quit: make(chan struct{}), current: make(map[string]time.Time),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for id := range scenarioCounters {
		s.repeat(func(n int) { s.write(s.key(fmt.Sprintf("counter:%d:%d", id, n)), -1, &s.writes) })
	}
	for id := range scenarioLists {
		s.repeat(func(n int) { s.write(s.key(fmt.Sprintf("list:%d", id)), n, &s.writes) })
	}
	if s.other != nil {
		s.repeat(func(n int) { s.write(s.other(fmt.Sprintf("counter:%d", n)), -1, &s.others) })
	}
	s.repeat(func(int) { s.read() })
	return s
}

// repeat calls f until the stream is stopped.
func (s *stream) repeat(f func(n int)) {
	s.work.Go(func() {
		pace := time.NewTicker(scenarioPace)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-s.quit:
				return
			case <-pace.C:
				f(n)
			}
		}
	})
}

// write makes one write and adds it to list.
func (s *stream) write(key string, number int, list *[]scenarioWrite) {
	w := scenarioWrite{key: key, number: number, begun: time.Now()}
	s.mu.Lock()
	s.current[key] = w.begun
	s.mu.Unlock()
	ctx, receipt := resilient.WithReceipt(s.ctx)
	var err error
	if number < 0 {
		err = s.client.Incr(ctx, key).Err()
	} else {
		err = s.client.RPush(ctx, key, number).Err()
	}
	w.ended = time.Now()
	w.fate = fateOf(err, receipt)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.current, key)
	*list = append(*list, w)
	if list == &s.writes {
		s.counts[w.fate]++
		if number < 0 && (w.fate == fateLive || w.fate == fateDeferred) {
			s.latest = w
		}
	}
}

func fateOf(err error, receipt *resilient.Receipt) fate {
	var refused *resilient.CommandError
	switch {
	case err == nil && receipt.Outcome() == resilient.OutcomeDeferred:
		return fateDeferred
	case err == nil:
		return fateLive
	case errors.Is(err, resilient.ErrInDoubt):
		return fateDoubt
	case errors.As(err, &refused):
		return fateRefused
	}
	return fateFailed
}

// read reads the counter that was acknowledged last.
func (s *stream) read() {
	s.mu.Lock()
	of := s.latest
	s.mu.Unlock()
	if of.key == "" {
		return
	}
	r := scenarioRead{begun: time.Now()}
	v, err := s.client.Get(s.ctx, of.key).Result()
	r.ended = time.Now()
	// A counter that Redis has taken by itself may be missing at a replica.
	r.answered = err == nil || errors.Is(err, redis.Nil)
	r.wrong = r.answered && of.fate == fateDeferred && v != "1"
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, r)
}

// count is the number of writes that have ended so, or in any way without a fate.
func (s *stream) count(fates ...fate) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(fates) == 0 {
		return len(s.writes)
	}
	n := 0
	for _, f := range fates {
		n += s.counts[f]
	}
	return n
}

// suffers reports whether a write that ended since the moment was not taken by
// Redis, or one has been waiting for a second.
func (s *stream) suffers(since time.Time) bool { return s.trouble(since, 1, time.Second) }

// failed is suffers for long enough to look at what it does to an application.
func (s *stream) failed(since time.Time) bool { return s.trouble(since, 15, 3*time.Second) }

// trouble reports whether so many writes that ended since the moment were not taken
// by Redis, or one has been waiting for so long.
func (s *stream) trouble(since time.Time, failures int, wait time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, begun := range s.current {
		if time.Since(begun) > wait {
			return true
		}
	}
	for i := len(s.writes) - 1; i >= 0 && failures > 0 && s.writes[i].ended.After(since); i-- {
		if s.writes[i].fate != fateLive {
			failures--
		}
	}
	return failures == 0
}

// since counts the writes that began after the moment and were taken by Redis, and
// those that were not. It returns when the first of them was taken.
func (s *stream) since(moment time.Time) (taken, others int, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.writes {
		w := &s.writes[i]
		switch {
		case w.begun.Before(moment):
		case w.fate != fateLive:
			others++
		default:
			if taken++; first.IsZero() || w.ended.Before(first) {
				first = w.ended
			}
		}
	}
	return taken, others, first
}

// stop ends the stream. Calls that are under way end first; hurry gives up those of
// a client that would wait long.
func (s *stream) stop(hurry bool) {
	s.ending.Do(func() { close(s.quit) })
	if hurry {
		s.cancel()
	}
	s.work.Wait()
	s.cancel()
}

// tally is what has become of a stream. The data are those of the one primary in
// the end.
type tally struct {
	attempted, live, deferred, refused, doubt, failed int

	lostLive     int // acknowledged by Redis and not there
	lostDeferred int // acknowledged by the journal and not there
	doubled      int // made more than once, whatever the caller heard
	misordered   int // acknowledged pushes that stand before an earlier one
	made         int // refused or failed, and there all the same
	refusedMade  int // those of them that were refused: their callers were told that they are not

	reads, answered, wrong int // in the outage; wrong: of all
	slowest                time.Duration
	others, othersFailed   int // writes of another shard
}

// count makes the tally of a stream that was stopped, but for what the data tell.
// The outage is from one moment to the other.
func (s *stream) tally(from, to time.Time) *tally {
	t := &tally{
		attempted: len(s.writes), live: s.counts[fateLive], deferred: s.counts[fateDeferred],
		refused: s.counts[fateRefused], doubt: s.counts[fateDoubt], failed: s.counts[fateFailed],
		others: len(s.others),
	}
	for i := range s.writes {
		t.slowest = max(t.slowest, s.writes[i].ended.Sub(s.writes[i].begun))
	}
	for i := range s.others {
		if s.others[i].fate != fateLive {
			t.othersFailed++
		}
	}
	for i := range s.reads {
		r := &s.reads[i]
		if r.wrong {
			t.wrong++
		}
		if r.ended.After(from) && r.begun.Before(to) {
			t.reads++
			if r.answered {
				t.answered++
			}
		}
	}
	return t
}

// audit completes a tally with what the server holds.
func (s *stream) audit(ctx context.Context, t *tally, server redis.Cmdable) error {
	var counters, pushes []*scenarioWrite
	for i := range s.writes {
		if s.writes[i].number < 0 {
			counters = append(counters, &s.writes[i])
		} else {
			pushes = append(pushes, &s.writes[i])
		}
	}
	for len(counters) > 0 {
		some := counters[:min(1000, len(counters))]
		counters = counters[len(some):]
		keys := make([]string, len(some))
		for i, w := range some {
			keys[i] = w.key
		}
		values, err := server.MGet(ctx, keys...).Result()
		if err != nil {
			return fmt.Errorf("reading the counters: %w", err)
		}
		for i, w := range some {
			times := 0
			if text, ok := values[i].(string); ok {
				if times, err = strconv.Atoi(text); err != nil {
					return fmt.Errorf("a counter: %w", err)
				}
			}
			t.enter(w, times)
		}
	}
	return s.auditLists(ctx, t, server, pushes)
}

// auditLists looks at the lists: what is there how often, and in which order.
func (s *stream) auditLists(ctx context.Context, t *tally, server redis.Cmdable, pushes []*scenarioWrite) error {
	for id := range scenarioLists {
		key := s.key(fmt.Sprintf("list:%d", id))
		elements, err := server.LRange(ctx, key, 0, -1).Result()
		if err != nil {
			return fmt.Errorf("reading the lists: %w", err)
		}
		times, acknowledged := make(map[int]int), make(map[int]bool)
		for _, w := range pushes {
			if w.key == key {
				acknowledged[w.number] = w.fate == fateLive || w.fate == fateDeferred
			}
		}
		last := -1
		for _, text := range elements {
			n, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("a list: %w", err)
			}
			times[n]++
			switch {
			case times[n] > 1: // counted as doubled
			case !acknowledged[n]: // what is in doubt may come late
			case n < last:
				t.misordered++
			default:
				last = n
			}
		}
		for _, w := range pushes {
			if w.key == key {
				t.enter(w, times[w.number])
			}
		}
	}
	return nil
}

// enter counts a write that is in Redis so many times.
func (t *tally) enter(w *scenarioWrite, times int) {
	if times > 1 {
		t.doubled++
	}
	switch w.fate {
	case fateLive:
		if times == 0 {
			t.lostLive++
		}
	case fateDeferred:
		if times == 0 {
			t.lostDeferred++
		}
	case fateRefused, fateFailed:
		if times > 0 {
			t.made++
		}
		if times > 0 && w.fate == fateRefused {
			t.refusedMade++
		}
	case fateDoubt:
	}
}
