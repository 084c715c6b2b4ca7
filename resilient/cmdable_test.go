package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestCmdable calls every method of redis.Cmdable while there is no primary. Each gets
// what it gets from a healthy server with the same data, in its own type, or a typed
// refusal, and that only where the command table has no better answer. None hangs or
// panics, or answers with nothing and no error.
func TestCmdable(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("resp", proto), func(t *testing.T) {
			t.Parallel()
			newTypedTrial(t, proto).run()
		})
	}
}

// typedTrial is one run of all methods.
type typedTrial struct {
	t     *testing.T
	g     *redistest.Group // meets the outage
	ours  *resilient.Client
	other *redistest.Group // stays healthy
	plain *redis.Client

	known   map[string]bool // the commands that the servers have
	changed bool            // some key has deferred writes
	loose   []string        // prefixes of keys that may differ in the end
	counts  map[string]int
	lacking map[string][]string // calls of commands that the servers lack, by what came of them
}

func newTypedTrial(t *testing.T, proto int) *typedTrial {
	w := &typedTrial{
		t:      t,
		g:      redistest.StartT(t, redistest.Options{Replicas: 2}),
		other:  redistest.StartT(t, redistest.Options{}),
		counts: map[string]int{}, lacking: map[string][]string{},
	}
	w.plain = redis.NewClient(&redis.Options{Addr: w.other.Node(0).Addr(), Protocol: proto, MaxRetries: -1})
	t.Cleanup(func() { _ = w.plain.Close() })
	w.ours = openWith(t, w.g, redis.UniversalOptions{Protocol: proto}, &resilient.Options{Dir: t.TempDir()})
	return w
}

func (w *typedTrial) run() {
	t, ctx := w.t, w.t.Context()
	quiet, free, pending := typedCalls(t, "quiet"), typedCalls(t, "free"), typedCalls(t, "pending")
	if t.Failed() {
		return
	}
	w.known = w.commandsKnown(ctx, free)
	for _, n := range append(w.g.Nodes(), w.other.Node(0)) {
		check(t, n.Client().ScriptLoad(ctx, "return 1").Err())
	}
	for _, calls := range [][]*typedCall{quiet, free, pending} {
		rows := make([]*row, len(calls))
		for i, c := range calls {
			rows[i] = c.row()
		}
		fill(ctx, t, w.g.Node(0).Client(), rows)
		fill(ctx, t, w.plain, rows)
	}
	check(t, w.g.WaitSynced(ctx))
	check(t, w.g.Cycle(ctx))
	waitState(t, w.ours, resilient.StateNoPrimary)

	for _, c := range quiet {
		if c.spec.Default(c.wire) != command.DecisionDefer {
			w.call(ctx, "nothing pending", c, false)
		}
	}
	for _, c := range free {
		w.call(ctx, "key not pending", c, false)
	}
	for _, c := range pending {
		if w.change(ctx, c) {
			w.call(ctx, "key pending", c, true)
		}
	}
	check(t, w.g.Promote(ctx, 2))
	flush(t, w.ours)
	waitState(t, w.ours, resilient.StateHealthy)
	if s := w.ours.Stats(); s.DeadLettered != 0 || s.InDoubt != 0 || s.Entries != 0 || s.Replayed == 0 {
		t.Errorf("after the replay: %+v", s)
	}
	for _, c := range slices.Concat(quiet, free, pending) {
		for _, key := range c.keys {
			if strings.HasPrefix(key, "p:") {
				// A primary keeps the last count inside a HyperLogLog, and a PFCOUNT that was
				// answered in the outage did not.
				check(t, w.plain.PFCount(ctx, c.prefix+key).Err())
				check(t, w.g.Node(2).Client().PFCount(ctx, c.prefix+key).Err())
			}
		}
	}
	(&trial{t: t, g: w.g, plain: w.plain, loose: w.loose}).sameData(ctx)
	w.report(len(free))
}

func (w *typedTrial) report(calls int) {
	methods := reflect.TypeFor[redis.Cmdable]().NumMethod()
	w.t.Logf("%d methods of redis.Cmdable, %d of them left out; %d calls on each occasion", methods, len(leftOut), calls)
	for _, what := range sortedKeys(w.counts) {
		w.t.Logf("  %4d %s", w.counts[what], what)
	}
	for _, what := range sortedKeys(w.lacking) {
		w.t.Logf("not in this server, %s: %s", what, strings.Join(w.lacking[what], ", "))
	}
}

// commandsKnown asks the server which of the calls' commands it has.
func (w *typedTrial) commandsKnown(ctx context.Context, calls []*typedCall) map[string]bool {
	known := map[string]bool{}
	for _, c := range calls {
		word := c.word()
		if _, asked := known[word]; asked {
			continue
		}
		info, err := w.plain.Do(ctx, "command", "info", word).Slice()
		check(w.t, err)
		known[word] = info[0] != nil
	}
	return known
}

// change makes the keys of a call pending, by writes that are deferred. It reports
// whether there is one.
func (w *typedTrial) change(ctx context.Context, c *typedCall) (any bool) {
	for _, key := range c.keys {
		for _, args := range c.row().commandsFor(rowChanges, key) {
			any = true
			tracked, receipt := resilient.WithReceipt(ctx)
			got, want := ask(tracked, w.ours, args), ask(ctx, w.plain, args)
			if got.String() != want.String() || receipt.Outcome() != resilient.OutcomeDeferred {
				w.t.Fatalf("%v to make a key pending: %v, %v; healthy %v", args, got, receipt.Outcome(), want)
			}
		}
	}
	return any
}

// call makes one call, and judges what comes of it.
func (w *typedTrial) call(ctx context.Context, occasion string, c *typedCall, pending bool) {
	t := w.t
	tracked, receipt := resilient.WithReceipt(ctx)
	got := c.run(tracked, t, w.ours)
	what := "answered as by the server"
	var refusal *resilient.CommandError
	must, kind := w.refusedBy(c, pending)
	switch {
	case got.panicked != nil:
		t.Errorf("%s, %s: panics: %v", c, occasion, got.panicked)
		return
	case errors.As(got.err, &refusal):
		what = "refused: " + refusal.Class
		w.refusal(occasion, c, got, refusal, kind)
	case must:
		what = "wrong"
		t.Errorf("%s (%s), %s: %v, want a refusal by %v", c, c.class(), occasion, got, kind)
	default:
		want := c.run(ctx, t, w.plain)
		err := c.compare(want, got)
		if err != nil {
			t.Errorf("%s (%s), %s: healthy %v; ours %v: %v", c, c.class(), occasion, want, got, err)
		}
		if err != nil {
			what = "wrong"
		} else if want.err != nil && !errors.Is(want.err, redis.Nil) {
			what = "answered with the server's error"
		}
	}
	w.changed = w.changed || receipt.Outcome() != resilient.OutcomeDirect
	switch o := receipt.Outcome(); {
	case o == resilient.OutcomeInDoubt:
		t.Errorf("%s, %s: the receipt says %v", c, occasion, o)
	case o == resilient.OutcomeDeferred && c.spec.Default(c.wire) != command.DecisionDefer:
		t.Errorf("%s (%s), %s: it was deferred", c, c.class(), occasion)
	case o == resilient.OutcomeDeferred:
		what = strings.Replace(what, "answered", "deferred, and answered", 1)
		if !receipt.Exact() {
			what += ", estimated"
			w.loose = append(w.loose, c.prefix)
		}
	}
	w.counts[occasion+": "+what]++
	if word := c.word(); !w.known[word] {
		w.lacking[occasion+", "+what] = append(w.lacking[occasion+", "+what], c.name)
	}
}

// refusedBy says whether the call must be refused, and by which error it is if it is.
// What the servers don't have may be refused where they don't get to say so
// themselves. It must not be accepted: it would end as a dead letter.
func (w *typedTrial) refusedBy(c *typedCall, pending bool) (must bool, kind error) {
	class := c.class()
	switch {
	case class == command.ClassSession, c.spec != nil && c.spec.Name == "himport":
		return true, resilient.ErrNotSupported
	case !c.spec.MayWrite(), class == command.ClassPassthrough, class == command.ClassRead:
		held := pending && c.touches()
		switch {
		case held && !c.spec.Served(), w.changed && c.spec.Keyspace() && !merged[c.spec.Name]:
			return true, resilient.ErrPendingWrites
		case held && !w.known[c.word()]:
			return false, resilient.ErrPendingWrites
		}
		return false, nil
	case c.spec.Default(c.wire) == command.DecisionRefuse:
		return true, resilient.ErrNoPrimary
	case !w.known[c.word()]:
		return false, resilient.ErrNoPrimary
	}
	return false, nil
}

// merged are the reads over all keys to which the overlay adds its own.
var merged = map[string]bool{"keys": true, "scan": true, "dbsize": true, "randomkey": true}

// touches reports whether the command names a key of the call, by the table.
func (c *typedCall) touches() bool {
	keys, err := c.spec.AppendKeys(nil, len(c.wire), func(i int) string { return string(c.wire[i]) })
	return err == nil && slices.ContainsFunc(keys, func(i int) bool { return strings.HasPrefix(string(c.wire[i]), c.prefix) })
}

// refusal checks a refusal, which is to be by kind.
func (w *typedTrial) refusal(occasion string, c *typedCall, got outcome, refusal *resilient.CommandError, kind error) {
	t, class := w.t, c.class().String()
	if c.spec != nil && c.spec.Name == "himport" {
		class = "" // refused by the methods themselves
	}
	switch {
	case kind == nil:
		t.Errorf("%s (%s), %s: refused, but it can be answered: %v", c, c.class(), occasion, got.err)
	case !errors.Is(got.err, kind), errors.Is(got.err, redis.Nil), errors.Is(got.err, resilient.ErrInDoubt), !resilient.SafeToRetry(got.err):
		t.Errorf("%s, %s: %v, want a refusal by %v", c, occasion, got.err, kind)
	case refusal.Name != strings.ToLower(string(c.wire[0])) || refusal.Class != class:
		t.Errorf("%s, %s: refused as %s, %s; want %s, %s", c, occasion, refusal.Name, refusal.Class, c.wire[0], class)
	}
	for _, v := range got.values {
		if v != nil && !isNothing(reflect.ValueOf(v)) {
			t.Errorf("%s, %s: refused, and yet it has the value %s", c, occasion, show(got.values))
		}
	}
}

// isNothing reports whether v is a zero value, or holds nothing.
func isNothing(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}
