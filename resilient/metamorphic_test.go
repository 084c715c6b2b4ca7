package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/workload"
	"github.com/holdfast-cache/holdfast/resilient"
)

// variant is one way to go through the same outage with the same commands.
type variant struct {
	name      string
	proto     int
	options   resilient.Options
	disk      bool
	pipelined bool // commands travel in pipelines
	wrapped   bool // Wrap around a client of one address, whose server is promoted again
	restarted bool // the process ends in the outage, and another goes on
	twice     bool // two outages, the second of which begins with the first one's drain
}

// variants are equal by what is promised: none of these choices is to change a reply
// or what is in Redis at the end.
func variants() []variant {
	return []variant{
		{name: "memory", proto: 2},
		{name: "disk", proto: 3, disk: true},
		{name: "disk, synced every second", proto: 2, disk: true, options: resilient.Options{Fsync: resilient.FsyncEverySec}},
		{name: "disk, never synced, no ledger", proto: 3, disk: true, options: resilient.Options{Fsync: resilient.FsyncNo, LedgerRetention: -1}},
		{name: "no confirmation by replicas", proto: 3, options: resilient.Options{ReplicaAcks: -1}},
		{name: "not merged, not paced", proto: 2, options: resilient.Options{NoCoalescing: true, ReplayRate: -1}},
		{name: "conflicts looked for", proto: 3, disk: true, options: resilient.Options{Conflicts: resilient.ResolutionKeepServer}},
		{name: "pipelines", proto: 2, disk: true, pipelined: true, options: resilient.Options{ReplicaAcks: 1}},
		{name: "wrapped", proto: 3, wrapped: true},
		{name: "restarted", proto: 2, disk: true, restarted: true},
		{name: "two outages", proto: 3, disk: true, twice: true},
	}
}

// passage is what came of one variant.
type passage struct {
	variant
	replies []answer
	keys    map[string]string
}

// answer is a reply of any type.
type answer struct {
	value any
	err   error
}

// TestOptionsDoNotChangeResults: the same commands before, in and after an outage give
// the same replies and end in the same data, whatever the journal is kept in, whenever it
// is synced, and however the commands and the replay travel.
func TestOptionsDoNotChangeResults(t *testing.T) {
	t.Parallel()
	n, seed := 1_200, uint64(time.Now().UnixNano())
	if os.Getenv("HOLDFAST_SOAK") != "" {
		n = 30_000
	}
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	commands := sequence(seed, n)
	var mu sync.Mutex // guards passages
	var passages []*passage
	t.Run("each", func(t *testing.T) {
		for _, v := range variants() {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				p := goThrough(t, v, commands)
				mu.Lock()
				defer mu.Unlock()
				passages = append(passages, p)
			})
		}
	})
	if t.Failed() {
		return
	}
	slices.SortFunc(passages, func(a, b *passage) int { return strings.Compare(a.name, b.name) })
	reference := map[int]*passage{}
	for _, p := range passages {
		if first, ok := reference[p.proto]; ok {
			for _, fault := range compareReplies(commands, first, p) {
				t.Errorf("%q and %q: %s", first.name, p.name, fault)
			}
		} else {
			reference[p.proto] = p
		}
		for _, fault := range compareKeys(passages[0], p) {
			t.Errorf("%q and %q: %s", passages[0].name, p.name, fault)
		}
	}
	t.Logf("%d commands, %d keys, %d variants", n, len(passages[0].keys), len(passages))
}

// sequence makes commands that every variant can be asked.
func sequence(seed uint64, n int) [][][]byte {
	g := workload.New(seed, workload.Options{Deferrable: true, ExplicitIDs: true})
	var all [][][]byte
	for len(all) < n {
		if args := g.Next(); !readsCount(args) {
			all = append(all, args)
		}
	}
	return all
}

// goThrough plays the outage: a quarter of the commands before it, a half in it, the
// rest when it is over.
func goThrough(t *testing.T, v variant, commands [][][]byte) *passage {
	t.Helper()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	if v.disk {
		v.options.Dir = t.TempDir()
	}
	start := func() *resilient.Client {
		o := v.options
		if !v.wrapped {
			return openWith(t, g, redis.UniversalOptions{Protocol: v.proto}, &o)
		}
		o.Nodes = g.Addrs()
		inner := redis.NewClient(&redis.Options{Addr: g.Node(0).Addr(), Protocol: v.proto})
		return wrap(t, inner, &o)
	}
	p, c := &passage{variant: v}, start()
	quarter := len(commands) / 4
	p.run(ctx, c, commands[:quarter])
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	p.run(ctx, c, commands[quarter:2*quarter])
	if c.Stats().Deferred == 0 {
		t.Fatal("nothing was deferred")
	}
	switch {
	case v.restarted:
		check(t, c.Close())
		c = start()
	case v.twice:
		check(t, g.Promote(ctx, 1))
		redistest.Eventually(t, testPatience, "a replay to begin", func() bool {
			s := c.State().State
			return s == resilient.StateReplaying || s == resilient.StateHealthy
		})
		check(t, g.WaitSynced(ctx))
		check(t, g.Cycle(ctx))
	}
	p.run(ctx, c, commands[2*quarter:3*quarter])
	check(t, g.Promote(ctx, 0))
	flush(t, c)
	waitState(t, c, resilient.StateHealthy)
	p.run(ctx, c, commands[3*quarter:])
	if s := c.Stats(); s.DeadLettered != 0 || s.InDoubt != 0 || s.Entries != 0 || s.Diverged != 0 {
		t.Errorf("at the end: %+v", s)
	}
	p.keys = digests(t, g.Node(0).Client())
	return p
}

// run executes commands, in pipelines of changing length where the variant says so.
func (p *passage) run(ctx context.Context, c *resilient.Client, commands [][][]byte) {
	for i := 0; i < len(commands); {
		some := commands[i:min(i+1, len(commands))]
		if p.pipelined {
			some = commands[i:min(i+1+i%13, len(commands))]
		}
		i += len(some)
		var cmds []*redis.Cmd
		do := c.Do
		pipe := c.Pipeline()
		if p.pipelined {
			do = pipe.Do
		}
		for _, args := range some {
			words := make([]any, len(args))
			for i, a := range args {
				words[i] = a
			}
			cmds = append(cmds, do(ctx, words...))
		}
		if p.pipelined {
			_, _ = pipe.Exec(ctx) // each command has its error
		}
		for _, cmd := range cmds {
			value, err := cmd.Result()
			p.replies = append(p.replies, answer{value, err})
		}
	}
}

// compareReplies compares what two passages were answered. A read may be refused in one
// of them, where its key waits for the replay, and not in the other.
func compareReplies(commands [][][]byte, a, b *passage) (faults []string) {
	for i, args := range commands {
		x, y := a.replies[i], b.replies[i]
		var refusedX, refusedY *resilient.CommandError
		isX, isY := errors.As(x.err, &refusedX), errors.As(y.err, &refusedY)
		spec := command.Lookup(strings.ToLower(string(args[0])))
		switch writes := spec == nil || spec.MayWrite(); {
		case isX != isY && writes:
			faults = append(faults, fmt.Sprintf("command %d, %q: %v, and %v", i, args, x.err, y.err))
		case isX || isY:
		case fmt.Sprint(x.err) != fmt.Sprint(y.err):
			faults = append(faults, fmt.Sprintf("command %d, %q: %v, and %v", i, args, x.err, y.err))
		default:
			if err := workload.CompareValues(args, x.value, y.value); err != nil {
				faults = append(faults, fmt.Sprintf("command %d, %q: %v", i, args, err))
			}
		}
		if len(faults) == 5 {
			return append(faults, "and so on")
		}
	}
	return faults
}

// digests are the keys of a server, with their values and deadlines.
func digests(t *testing.T, c *redis.Client) map[string]string {
	t.Helper()
	ctx := context.Background()
	names, err := c.Keys(ctx, "*").Result()
	check(t, err)
	out := make(map[string]string)
	for _, key := range names {
		if strings.HasPrefix(key, "holdfast:") {
			continue
		}
		_ = c.PFCount(ctx, key) // a primary keeps the last count inside a HyperLogLog
		digest, err := c.Do(ctx, "debug", "digest-value", key).StringSlice()
		check(t, err)
		out[key] = fmt.Sprint(digest, c.Type(ctx, key).Val(), c.PExpireTime(ctx, key).Val())
	}
	return out
}

// compareKeys compares the data that two passages ended in.
func compareKeys(a, b *passage) (faults []string) {
	for key, digest := range a.keys {
		if other := b.keys[key]; other != digest {
			faults = append(faults, fmt.Sprintf("key %q is %s, and %s", key, digest, other))
		}
	}
	for key := range b.keys {
		if _, both := a.keys[key]; !both {
			faults = append(faults, fmt.Sprintf("key %q is in the second only", key))
		}
	}
	return faults
}

// TestPassagesAreCompared: what differs is seen.
func TestPassagesAreCompared(t *testing.T) {
	refusal := &resilient.CommandError{Err: resilient.ErrNoPrimary}
	commands := [][][]byte{{[]byte("get"), []byte("k")}, {[]byte("incr"), []byte("k")}}
	made := func(key string, replies ...answer) *passage {
		return &passage{replies: replies, keys: map[string]string{key: "digest"}}
	}
	same := made("k", answer{"1", nil}, answer{int64(2), nil})
	for name, test := range map[string]struct {
		other *passage
		want  int
	}{
		"equal":              {made("k", answer{"1", nil}, answer{int64(2), nil}), 0},
		"a reply":            {made("k", answer{"1", nil}, answer{int64(3), nil}), 1},
		"an error":           {made("k", answer{nil, redis.Nil}, answer{int64(2), nil}), 1},
		"a read refused":     {made("k", answer{nil, refusal}, answer{int64(2), nil}), 0},
		"a write refused":    {made("k", answer{"1", nil}, answer{nil, refusal}), 1},
		"a key in its stead": {made("l", answer{"1", nil}, answer{int64(2), nil}), 2},
	} {
		if got := append(compareReplies(commands, same, test.other), compareKeys(same, test.other)...); len(got) != test.want {
			t.Errorf("%s: %q, want %d faults", name, got, test.want)
		}
	}
}
