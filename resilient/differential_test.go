package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/workload"
	"github.com/holdfast-cache/holdfast/resilient"
)

// An application that goes through an outage must not be able to tell: the same
// random commands run against a healthy server and, in an outage, against a
// client of ours. The replies must be equal, and after the replay the data sets.
func TestOutageIsAsHealth(t *testing.T) {
	n := 6_000
	if os.Getenv("HOLDFAST_SOAK") != "" {
		n = 300_000
	}
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if s := os.Getenv("HOLDFAST_SEED"); s != "" {
				seed, _ = strconv.ParseUint(s, 10, 64)
			}
			t.Logf("HOLDFAST_SEED=%d", seed)
			newTwins(t, proto, seed).run(n)
		})
	}
}

// twins are one application that meets an outage and one that doesn't.
type twins struct {
	t        *testing.T
	g        *redistest.Group // meets the outage
	ours     *resilient.Client
	other    *redistest.Group // stays healthy
	plain    *redis.Client
	commands *workload.Generator
	trace    []string

	answered, refused int
}

func newTwins(t *testing.T, proto int, seed uint64) *twins {
	w := &twins{
		t:     t,
		g:     redistest.StartT(t, redistest.Options{Replicas: 2}),
		other: redistest.StartT(t, redistest.Options{}),
		commands: workload.New(seed, workload.Options{
			Deferrable: true, ExplicitIDs: true,
		}),
	}
	w.plain = redis.NewClient(&redis.Options{Addr: w.other.Node(0).Addr(), Protocol: proto, MaxRetries: -1})
	t.Cleanup(func() { _ = w.plain.Close() })
	w.ours = openWith(t, w.g, redis.UniversalOptions{Addrs: []string{w.g.Node(0).Addr()}, Protocol: proto}, &resilient.Options{
		Nodes: w.g.Addrs(), Dir: t.TempDir(),
	})
	return w
}

func (w *twins) run(n int) {
	t, ctx := w.t, w.t.Context()
	for range n / 4 { // what there is before the outage
		w.both(ctx)
	}
	check(t, w.g.WaitSynced(ctx))
	check(t, w.g.Cycle(ctx))
	waitState(t, w.ours, resilient.StateNoPrimary)
	before := w.ours.Stats()
	for range n {
		w.both(ctx)
	}
	s := w.ours.Stats()
	t.Logf("%d commands in the outage: %d answered alike, %d refused; %d entries", n, w.answered, w.refused, s.Entries)
	if s.Deferred == before.Deferred || w.answered < n/2 {
		t.Fatalf("hardly anything was deferred: %+v", s)
	}
	check(t, w.g.Promote(ctx, 1))
	waitState(t, w.ours, resilient.StateHealthy)
	check(t, w.ours.Flush(ctx))
	if s := w.ours.Stats(); s.DeadLettered != 0 || s.InDoubt != 0 || s.Diverged != 0 || s.Merged == 0 {
		t.Errorf("after the replay: %+v", s)
	}
	w.sameData(ctx)
}

// readsCount reports whether a command other than the PF* reads a HyperLogLog as a
// string. A server writes its last count into it at a PFCOUNT, a replica as well,
// each for itself, so that these bytes depend on who was asked.
func readsCount(args [][]byte) bool {
	if name := strings.ToLower(string(args[0])); strings.HasPrefix(name, "pf") {
		return false
	}
	return slices.ContainsFunc(args[1:], func(arg []byte) bool {
		return len(arg) == 2 && arg[0] == 'p' && '0' <= arg[1] && arg[1] <= '9'
	})
}

// both runs the next command in both places. What ours refuses, the other does
// not run either.
func (w *twins) both(ctx context.Context) {
	args := w.commands.Next()
	for readsCount(args) {
		args = w.commands.Next()
	}
	words := make([]any, len(args))
	for i, a := range args {
		words[i] = a
	}
	if w.trace = append(w.trace, fmt.Sprintf("%q", args)); len(w.trace) > 40 {
		w.trace = w.trace[1:]
	}
	got, gotErr := w.ours.Do(ctx, words...).Result()
	var refusal *resilient.CommandError
	if errors.As(gotErr, &refusal) {
		if errors.Is(gotErr, resilient.ErrInDoubt) {
			w.t.Fatalf("%q: %v", args, gotErr)
		}
		w.refused++
		return
	}
	want, wantErr := w.plain.Do(ctx, words...).Result()
	w.answered++
	if err := workload.CompareValues(args, want, got); err != nil || fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
		w.t.Fatalf("%q: healthy %v %v, in the outage %v %v: %v\n%s",
			args, want, wantErr, got, gotErr, err, strings.Join(w.trace, "\n"))
	}
}

// sameData compares the data sets key by key.
func (w *twins) sameData(ctx context.Context) {
	t := w.t
	ours := w.g.Node(1).Client()
	keys := func(c *redis.Client) []string {
		all, err := c.Keys(ctx, "*").Result()
		check(t, err)
		all = slices.DeleteFunc(all, func(k string) bool { return strings.HasPrefix(k, "holdfast:") })
		slices.Sort(all)
		return all
	}
	want, got := keys(w.plain), keys(ours)
	if !slices.Equal(want, got) {
		t.Fatalf("keys differ: want %q, got %q", want, got)
	}
	for _, key := range want {
		digest := func(c *redis.Client) string {
			// A primary keeps the last count inside a HyperLogLog, and a PFCOUNT that
			// was answered in the outage did not.
			_ = c.PFCount(ctx, key)
			return fmt.Sprint(c.Do(ctx, "debug", "digest-value", key).Result())
		}
		if a, b := digest(w.plain), digest(ours); a != b {
			t.Errorf("%q (%s) has digest %s in health and %s after the outage: %.200q, %.200q", key,
				w.plain.Type(ctx, key).Val(), a, b, w.plain.Get(ctx, key).Val(), ours.Get(ctx, key).Val())
		}
		a, b := w.plain.PExpireTime(ctx, key).Val(), ours.PExpireTime(ctx, key).Val()
		if d := a - b; d > time.Minute || d < -time.Minute {
			t.Errorf("%q: deadlines %v and %v", key, a, b)
		}
	}
	t.Logf("%d keys are equal", len(want))
}
