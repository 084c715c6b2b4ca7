package resilient_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// callers are goroutines that use the same few keys through one client, and the
// history of what they called and heard.
type callers struct {
	t      *testing.T
	c      *resilient.Client
	begun  time.Time
	keys   []string // of which the first letter tells the kind
	seed   uint64
	many   int  // who have begun so far
	shared bool // the client has other writes beside these, of keys that others write too
	quit   chan struct{}
	end    sync.Once // closes quit
	wg     sync.WaitGroup

	refused atomic.Int64
	unique  atomic.Int64 // numbers the values

	mu        sync.Mutex // guards what follows
	history   []porcupine.Operation
	doubts    int
	estimates int
	faults    []error
}

// callers begin with the test and end with it at the latest. tags are what keys end
// in: with each there is one key of every kind.
func startCallers(t *testing.T, c *resilient.Client, many int, tags ...string) *callers {
	t.Helper()
	return startCallersOf(t, c, many, "snlhp", tags...)
}

// startCallersOf is startCallers for some kinds of keys only.
func startCallersOf(t *testing.T, c *resilient.Client, many int, kinds string, tags ...string) *callers {
	t.Helper()
	l := &callers{t: t, c: c, begun: time.Now(), quit: make(chan struct{})}
	for _, tag := range tags {
		for _, kind := range kinds {
			l.keys = append(l.keys, string(kind)+"{"+tag+"}")
		}
	}
	t.Cleanup(func() {
		l.stop()
		if t.Failed() {
			t.Logf("at the end: %v, %+v", c.State(), c.Stats())
		}
	})
	l.seed = uint64(time.Now().UnixNano())
	t.Logf("seed %d", l.seed)
	l.join(many)
	return l
}

// join has more callers begin.
func (l *callers) join(many int) {
	for range many {
		who := l.many
		l.many++
		l.wg.Go(func() { l.run(who, rand.New(rand.NewPCG(l.seed, uint64(who)))) })
	}
}

// run is one caller: calls close together, then a pause. Without pauses histories grow
// longer than they can be judged.
func (l *callers) run(who int, r *rand.Rand) {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		for range 1 + r.IntN(8) {
			l.call(who, r)
		}
		select {
		case <-l.quit:
			return
		case <-tick.C:
		}
	}
}

// call makes one call, or several in a pipeline or transaction.
func (l *callers) call(who int, r *rand.Rand) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if r.IntN(200) == 0 { // somebody has no time
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.Int64N(int64(2*time.Millisecond))))
	}
	defer cancel()
	ctx, receipt := resilient.WithReceipt(ctx)
	ins := []invocation{l.draw(r)}
	way := r.IntN(10)
	for way < 2 && len(ins) < 3 && ins[0].key[0] != 'p' { // a pair is a transaction of its own
		if in := l.draw(r); in.key[0] != 'p' {
			ins = append(ins, in)
		}
	}
	begun := time.Since(l.begun)
	var replies []hearing
	switch {
	case way == 0 && len(ins) > 1 && sameTag(ins):
		p := l.c.TxPipeline()
		replies = queueAll(ctx, p, ins)
		_, _ = p.Exec(ctx) // each command has its error
	case len(ins) > 1:
		p := l.c.Pipeline()
		replies = queueAll(ctx, p, ins)
		_, _ = p.Exec(ctx)
	default:
		replies = queueAll(ctx, l.c, ins)
	}
	l.note(who, ins, replies, begun, time.Since(l.begun), receipt.Exact())
}

// draw makes up a call. Claims, which are refused in an outage, are among them.
func (l *callers) draw(r *rand.Rand) invocation {
	key := l.keys[r.IntN(len(l.keys))]
	value := fmt.Sprint("v", l.unique.Add(1))
	pick := func(verbs string) string {
		all := strings.Fields(verbs)
		return all[r.IntN(len(all))]
	}
	in := invocation{key: key}
	switch key[0] {
	case 's':
		in.verb = pick("get get get set set set del getset setnx")
		if in.verb != "get" && in.verb != "del" {
			in.arg = value
		}
	case 'n':
		in.verb = pick("incrby incrby incrby incrby incrby incrby get get get del")
		if in.verb == "incrby" {
			in.arg = strconv.Itoa(1 + r.IntN(3))
		}
	case 'l':
		in.verb = pick("rpush rpush rpush rpush rpush rpush rpush rpush llen lrange lrange del")
		if in.verb == "rpush" {
			in.arg = value
		}
	case 'h':
		in.verb = pick("hset hset hset hget hget hgetall hincrby hincrby hdel")
		in.arg = map[string]string{
			"hset": pick("f g") + " " + value, "hget": pick("f g n"), "hdel": pick("f g n"),
			"hincrby": "n " + strconv.Itoa(1+r.IntN(3)),
		}[in.verb]
	case 'p':
		in.verb = pick("pair pair pair?")
	}
	return in
}

// sameTag reports whether calls may stand in one transaction over a Cluster, too.
func sameTag(ins []invocation) bool {
	tag := func(in invocation) string { _, t, _ := strings.Cut(in.key, "{"); return t }
	for _, in := range ins {
		if tag(in) != tag(ins[0]) {
			return false
		}
	}
	return true
}

// hearing is the answer to a call, once its pipeline has been executed.
type hearing func() (string, error)

func queueAll(ctx context.Context, c redis.Cmdable, ins []invocation) []hearing {
	var out []hearing
	for _, in := range ins {
		out = append(out, queue(ctx, c, in))
	}
	return out
}

// queue makes a call, or puts it into a pipeline.
func queue(ctx context.Context, c redis.Cmdable, in invocation) hearing {
	field, value, _ := strings.Cut(in.arg, " ")
	number, _ := strconv.ParseInt(in.arg, 10, 64)
	switch in.verb {
	case "get":
		return ofString(c.Get(ctx, in.key))
	case "set":
		cmd := c.Set(ctx, in.key, in.arg, 0)
		return func() (string, error) { return cmd.Result() }
	case "getset":
		return ofString(c.GetSet(ctx, in.key, in.arg))
	case "setnx":
		cmd := c.SetNX(ctx, in.key, in.arg, 0)
		return func() (string, error) { return bit(cmd.Val()), cmd.Err() }
	case "del":
		return ofInt(c.Del(ctx, in.key))
	case "incrby":
		return ofInt(c.IncrBy(ctx, in.key, number))
	case "rpush":
		return ofInt(c.RPush(ctx, in.key, in.arg))
	case "llen":
		return ofInt(c.LLen(ctx, in.key))
	case "lrange":
		cmd := c.LRange(ctx, in.key, 0, -1)
		return func() (string, error) { return listText(cmd.Val()), cmd.Err() }
	case "hset":
		return ofInt(c.HSet(ctx, in.key, field, value))
	case "hdel":
		return ofInt(c.HDel(ctx, in.key, field))
	case "hget":
		return ofString(c.HGet(ctx, in.key, field))
	case "hincrby":
		by, _ := strconv.ParseInt(value, 10, 64)
		return ofInt(c.HIncrBy(ctx, in.key, field, by))
	case "hgetall":
		cmd := c.HGetAll(ctx, in.key)
		return func() (string, error) { return hashText(cmd.Val()), cmd.Err() }
	}
	return queuePair(ctx, c, in)
}

// queuePair increments two counters in a transaction, or reads them at once.
func queuePair(ctx context.Context, c redis.Cmdable, in invocation) hearing {
	one, other := "1"+in.key, "2"+in.key
	if in.verb == "pair" {
		p, transaction := c, func() error { return nil }
		if client, ok := c.(*resilient.Client); ok {
			tx := client.TxPipeline()
			p, transaction = tx, func() error { _, err := tx.Exec(ctx); return err }
		}
		a, b := p.Incr(ctx, one), p.Incr(ctx, other)
		err := transaction()
		return func() (string, error) {
			return fmt.Sprint(a.Val(), " ", b.Val()), cmp.Or(err, a.Err(), b.Err())
		}
	}
	cmd := c.MGet(ctx, one, other)
	return func() (string, error) {
		v := cmd.Val()
		for i := range v {
			if v[i] == nil {
				v[i] = "0"
			}
		}
		return strings.Trim(fmt.Sprint(v), "[]"), cmd.Err()
	}
}

func ofInt(cmd *redis.IntCmd) hearing {
	return func() (string, error) { return strconv.FormatInt(cmd.Val(), 10), cmd.Err() }
}

func ofString(cmd *redis.StringCmd) hearing {
	return func() (string, error) {
		if errors.Is(cmd.Err(), redis.Nil) {
			return absent, nil
		}
		return cmd.Result()
	}
}

// note enters calls into the history. What was refused has no place in it, since it
// was not made: had it been, a later answer would have no explanation. Of an estimate
// it is known that it was made, and when. A write in doubt
// never ends; nor does one whose context ended without a word of whether it was sent. A read that failed tells nothing.
func (l *callers) note(who int, ins []invocation, replies []hearing, from, to time.Duration, exact bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, in := range ins {
		text, err := replies[i]()
		op := porcupine.Operation{ClientId: who, Input: in, Call: int64(from), Return: int64(to), Output: heard{text: text}}
		switch {
		case err == nil && !exact:
			l.estimates++
			if !in.mutates() { // in a transaction that also writes
				continue
			}
			op.Output = heard{doubt: true} // it is made, and what was heard is an estimate
		case err == nil:
		case !in.mutates():
			continue
		case errors.Is(err, resilient.ErrInDoubt), errors.Is(err, context.DeadlineExceeded) && !resilient.SafeToRetry(err):
			op.Return, op.Output = math.MaxInt64, heard{doubt: true}
			l.doubts++
		case resilient.SafeToRetry(err):
			l.refused.Add(1)
			continue
		default:
			l.faults = append(l.faults, fmt.Errorf("%v: %w", in.verb, err))
			continue
		}
		l.history = append(l.history, op)
	}
}

func (l *callers) made() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.history)
}

// await waits for more calls.
func (l *callers) await(more int) {
	l.t.Helper()
	from := l.made()
	redistest.Eventually(l.t, testPatience, fmt.Sprint(more, " more calls"), func() bool { return l.made() >= from+more })
}

// awaitDeferred waits for more deferred writes.
func (l *callers) awaitDeferred(more int) {
	l.t.Helper()
	from := l.c.Stats().Deferred
	redistest.Eventually(l.t, testPatience, fmt.Sprint(more, " more deferred writes"), func() bool {
		return l.c.Stats().Deferred >= from+uint64(more)
	})
}

func (l *callers) stop() {
	l.end.Do(func() { close(l.quit) })
	l.wg.Wait()
}

// judge ends the calls, reads every key from the primaries themselves and through the
// client, and holds the whole against the model.
func (l *callers) judge(primary redis.Cmdable) {
	l.t.Helper()
	l.stop()
	eventuallyFlushed(l.t, l.c)
	for _, reader := range []redis.Cmdable{primary, l.c} {
		for _, key := range l.keys {
			in := invocation{key: key, verb: map[byte]string{'s': "get", 'n': "get", 'l': "lrange", 'h': "hgetall", 'p': "pair?"}[key[0]]}
			begun := time.Since(l.begun)
			text, err := queue(context.Background(), reader, in)()
			if err != nil {
				l.t.Errorf("the last %s: %v", in.verb, err)
			}
			l.history = append(l.history, porcupine.Operation{
				ClientId: 99, Input: in, Call: int64(begun), Return: int64(time.Since(l.begun)), Output: heard{text: text},
			})
		}
	}
	for i, err := range l.faults {
		if i < 5 {
			l.t.Errorf("one of %d errors: %v", len(l.faults), err)
		}
	}
	s := l.c.Stats()
	l.t.Logf("%d calls, %d refused, %d in doubt, %d estimated; %d deferred, %d replayed, %d diverged",
		len(l.history), l.refused.Load(), l.doubts, l.estimates, s.Deferred, s.Replayed, s.Diverged)
	if s.DeadLettered != 0 {
		l.t.Errorf("%d dead letters", s.DeadLettered)
	}
	if !l.shared && l.doubts+l.estimates == 0 && s.Diverged != 0 { // one in doubt may be made after a write that was deferred
		l.t.Errorf("%d writes were answered otherwise by the primary than their callers had been", s.Diverged)
	}
	linearizable(l.t, l.history)
}
