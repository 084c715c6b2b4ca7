package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/semantics"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestSemantics executes every row of docs/semantics.md that the installed server
// has: in health, with no primary and during a replay, each with keys of its own. A
// second group, which stays healthy, gets the same commands and says what the replies
// and the final state must be.
func TestSemantics(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("resp", proto), func(t *testing.T) {
			t.Parallel()
			newTrial(t, proto).run()
		})
	}
}

// TestSemanticsOfOtherServers executes the rows that the installed server does not have,
// in an outage.
func TestSemanticsOfOtherServers(t *testing.T) {
	t.Parallel()
	w := newTrial(t, 3)
	w.lacking(t.Context())
}

// What the rows say the overlay answers its engine knows, also of servers that no test
// has.
func TestSemanticsWithinTheEngine(t *testing.T) {
	t.Parallel()
	forms, err := semantics.Forms()
	check(t, err)
	for i := range forms {
		r := newRow(&forms[i], "")
		cmd := engine.Lookup(r.bytes())
		switch r.do.NoPrimary {
		case semantics.NoPrimaryRead, semantics.NoPrimaryReadAny:
			if cmd == nil {
				t.Errorf("%s is to be read from the overlay, which does not know it", r)
			}
		case semantics.NoPrimaryDeferred:
			if cmd == nil || !cmd.Write {
				t.Errorf("%s is to be deferred by the overlay, which does not know it as a write", r)
			}
		default:
		}
	}
}

// unexecuted are the forms that can't be sent to a server of a test, with reasons.
// Where they are refused they are executed all the same.
var unexecuted = map[string]string{
	"SHUTDOWN NOSAVE": "it would end the server",
	"PFSELFTEST":      "it keeps a slow server busy for longer than a client waits",
}

// trialPatience bounds a trial, which takes seconds.
const trialPatience = 3 * time.Minute

// forwardPatience bounds what is to wait for nothing but a server.
const forwardPatience = 10 * time.Second

// trial is one run of all rows.
type trial struct {
	t     *testing.T
	g     *redistest.Group // meets the outage
	ours  *resilient.Client
	sent  *sentLog
	other *redistest.Group // stays healthy
	plain *redis.Client

	have, lack []semantics.Form
	changes    map[string]bool // which forms of writes change something; written before the replay

	mu    sync.Mutex     // guards what follows
	loose []string       // prefixes of keys that may differ in the end: what was random or estimated
	done  map[string]int // executed rows, by occasion and kind
	spare map[string]int // rows not executed, by occasion and reason
}

func newTrial(t *testing.T, proto int) *trial {
	w := &trial{
		t:     t,
		g:     redistest.StartT(t, redistest.Options{Replicas: 2}),
		other: redistest.StartT(t, redistest.Options{}),
		sent:  &sentLog{},
		done:  map[string]int{}, spare: map[string]int{}, changes: map[string]bool{},
	}
	w.plain = redis.NewClient(&redis.Options{Addr: w.other.Node(0).Addr(), Protocol: proto, MaxRetries: -1})
	t.Cleanup(func() { _ = w.plain.Close() })
	w.have, w.lack = divide(t.Context(), t, w.plain)
	w.ours = openWith(t, w.g, redis.UniversalOptions{Protocol: proto},
		&resilient.Options{
			Dir: t.TempDir(), Fsync: resilient.FsyncNo, ReplicaAckTimeout: 10 * time.Minute, OnNewNode: w.sent.watch,
		})
	return w
}

func (w *trial) run() {
	t := w.t
	ctx, cancel := context.WithTimeout(t.Context(), trialPatience)
	defer cancel()
	defer func() {
		if t.Failed() {
			t.Logf("at the end: %v, %+v", w.ours.State(), w.ours.Stats())
		}
	}()
	w.healthy(ctx)

	base, pending := rowsOf(w.have, "base"), rowsOf(w.have, "pending")
	held, free, after := rowsOf(w.have, "held"), rowsOf(w.have, "free"), rowsOf(w.have, "after")
	for _, rows := range [][]*row{base, pending, held, free, after} {
		fill(ctx, t, w.g.Node(0).Client(), rows)
		fill(ctx, t, w.plain, rows)
	}
	w.library(ctx)
	check(t, w.g.WaitSynced(ctx))
	check(t, w.g.Cycle(ctx))
	waitState(t, w.ours, resilient.StateNoPrimary)
	w.noPrimary(ctx, base, pending)
	w.change(ctx, held)

	check(t, w.g.PromoteOnly(ctx, 2)) // the others keep following each other, and confirm nothing
	waitState(t, w.ours, resilient.StateReplaying)
	// The replay's fence is a key of the server too, which DBSIZE counts.
	check(t, w.plain.Set(ctx, "holdfast:other", "", 0).Err())
	w.library(ctx)
	w.replaying(ctx, held, free)
	w.released(ctx, after)
	w.sameData(ctx)
	w.report()
}

func (w *trial) report() {
	for _, m := range []map[string]int{w.done, w.spare} {
		total := 0
		for _, what := range sortedKeys(m) {
			w.t.Logf("  %4d %s", m[what], what)
			total += m[what]
		}
		w.t.Logf("%5d in all", total)
	}
}

// count enters an executed row.
func (w *trial) count(occasion string, kind fmt.Stringer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[occasion+": "+kind.String()]++
}

// skipped enters a row that is not executed, and reports whether it is one.
func (w *trial) skipped(occasion string, r *row) bool {
	reason, skip := unexecuted[r.String()]
	if skip {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.spare["not executed "+occasion+": "+r.String()+": "+reason]++
	}
	return skip
}

// healthy executes every row while all is well: what is forwarded reaches the
// primary, in the way that the row says.
func (w *trial) healthy(ctx context.Context) {
	for _, r := range rowsOf(w.have, "healthy") {
		w.prepare(ctx, r)
		switch {
		case w.skipped("in health", r):
			continue
		case r.do.Healthy == semantics.HealthyNotSupported:
			w.notSupported(ctx, r)
		default:
			w.forwarded(ctx, "in health", r, w.g.Node(0).Addr(), r.do.Healthy != semantics.HealthyForwarded)
		}
		w.count("in health", r.do.Healthy)
	}
}

// prepare makes the row's keys in both places.
func (w *trial) prepare(ctx context.Context, r *row) {
	rows := []*row{r}
	fill(ctx, w.t, w.g.Node(0).Client(), rows)
	fill(ctx, w.t, w.plain, rows)
	switch strings.ToLower(r.Args[0]) {
	case "evalsha", "evalsha_ro", "fcall", "fcall_ro": // rows before may have dropped them
		w.library(ctx)
	}
}

// library loads the script and the function that rows call on every server that
// takes them.
func (w *trial) library(ctx context.Context) {
	const code = "#!lua name=base\nredis.register_function{function_name='function', flags={'no-writes'}, " +
		"callback=function() return 1 end}"
	for _, n := range append(w.g.Nodes(), w.other.Node(0)) {
		check(w.t, n.Client().ScriptLoad(ctx, "return 1").Err())
		err := n.Client().FunctionLoadReplace(ctx, code).Err()
		if err != nil && !redis.IsReadOnlyError(err) { // a replica gets it from its primary
			w.t.Fatal(err)
		}
	}
}

// forwarded executes a row that is to reach one server, in both places; once says that
// go-redis must not repeat it.
func (w *trial) forwarded(ctx context.Context, occasion string, r *row, addr string, once bool) {
	mark := r.mark()
	w.sent.reset()
	bounded, cancel := context.WithTimeout(ctx, forwardPatience)
	got := ask(bounded, w.ours, r.args)
	cancel()
	sent := w.sent.of(mark)
	w.same(ctx, occasion, r, got)
	if len(sent) != 1 || sent[0].addr != addr || sent[0].name != strings.ToLower(r.Args[0]) || once && !sent[0].once {
		w.t.Errorf("%s %s: sent %+v, want it sent to %s, once: %v", r, occasion, sent, addr, once)
	}
}

// mark is a text that no other row's command has, of those that run side by side.
func (r *row) mark() string {
	if len(r.keys) > 0 {
		return r.prefix
	}
	return fmt.Sprintf("%q", r.args)
}

// reply is what came of a command.
type reply struct {
	value any
	err   error
}

func ask(ctx context.Context, c redis.UniversalClient, args []any) reply {
	v, err := c.Do(ctx, args...).Result()
	return reply{v, err}
}

func (r reply) String() string { return fmt.Sprintf("%#v, %v", r.value, r.err) }

// same runs the row against the healthy server, and compares.
func (w *trial) same(ctx context.Context, occasion string, r *row, got reply) {
	w.t.Helper()
	if r.random() {
		w.mu.Lock()
		w.loose = append(w.loose, r.prefix)
		w.mu.Unlock()
	}
	want := ask(ctx, w.plain, r.args)
	err := r.compare(want, got)
	if r.Name() == "dbsize" {
		err = w.sameSize(ctx, want, got)
	}
	if err != nil {
		w.t.Errorf("%s %s: healthy %v; ours %v: %v", r, occasion, want, got, err)
	}
}

// notSupported executes a row that is refused in every state.
func (w *trial) notSupported(ctx context.Context, r *row) {
	w.sent.reset()
	got := ask(ctx, w.ours, r.args)
	refusal := (*resilient.CommandError)(nil)
	if !errors.As(got.err, &refusal) || !errors.Is(got.err, resilient.ErrNotSupported) || !resilient.SafeToRetry(got.err) {
		w.t.Errorf("%s: %v, want ErrNotSupported", r, got)
	}
	if sent := w.sent.of(""); len(sent) > 0 {
		w.t.Errorf("%s: sent %+v", r, sent)
	}
}

// sameData compares the data of the promoted server with that of the healthy one.
func (w *trial) sameData(ctx context.Context) {
	t, ours := w.t, w.g.Node(2).Client()
	keys := func(c *redis.Client) map[string]bool {
		all, err := c.Keys(ctx, "*").Result()
		check(t, err)
		set := map[string]bool{}
		for _, k := range all {
			if !strings.HasPrefix(k, "holdfast:") && !w.isLoose(k) {
				set[k] = true
			}
		}
		return set
	}
	want, got := keys(w.plain), keys(ours)
	for _, k := range sortedKeys(got) {
		if !want[k] {
			t.Errorf("%s exists after the outage, but not in health", k)
		}
	}
	for _, k := range sortedKeys(want) {
		if !got[k] {
			t.Errorf("%s exists in health, but not after the outage", k)
			continue
		}
		state := func(c *redis.Client) (string, time.Duration) {
			return fmt.Sprint(c.Do(ctx, "debug", "digest-value", k).Result()), c.PExpireTime(ctx, k).Val()
		}
		a, aEnd := state(w.plain)
		b, bEnd := state(ours)
		if d := aEnd - bEnd; a != b || d > time.Minute || d < -time.Minute {
			t.Errorf("%s is %s until %v in health, and %s until %v after the outage", k, a, aEnd, b, bEnd)
		}
	}
	t.Logf("%d keys are equal in the end", len(want))
}

func (w *trial) isLoose(key string) bool {
	prefix, _, _ := strings.Cut(key, ":")
	return slices.Contains(w.loose, prefix+":")
}

// refusedAs checks the refusal of a command whose error is kind.
func (w *trial) refusedAs(r *row, occasion string, got reply, kind error) {
	w.t.Helper()
	refusal := (*resilient.CommandError)(nil)
	switch {
	case !errors.As(got.err, &refusal) || !errors.Is(got.err, kind) || !resilient.SafeToRetry(got.err):
		w.t.Errorf("%s %s: %v, want a refusal by %v", r, occasion, got, kind)
	case refusal.Name != strings.ToLower(r.Args[0]) || refusal.Class != r.Class().String() || r.Class() == command.ClassUnknown:
		w.t.Errorf("%s %s: refused as %s, %s", r, occasion, refusal.Name, refusal.Class)
	}
}
