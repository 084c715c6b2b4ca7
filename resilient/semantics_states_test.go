package resilient_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/semantics"
	"github.com/holdfast-cache/holdfast/resilient"
)

// noPrimary executes every row in the outage: first the reads while no key at all is
// pending, then each with keys that are not pending, and then with keys that are. The
// forms that the server lacks are executed where they never get to it.
func (w *trial) noPrimary(ctx context.Context, base, pending []*row) {
	for _, r := range base {
		if r.reads() {
			w.outage(ctx, "with no primary, nothing pending", r, false)
		}
	}
	for _, r := range base {
		if !r.reads() {
			w.outage(ctx, "with no primary", r, false)
		}
	}
	for _, r := range pending {
		w.change(ctx, []*row{r})
		w.outage(ctx, "with no primary, key pending", r, len(r.keys) > 0)
	}
}

// reads reports whether the row is answered by a server, or could be.
func (r *row) reads() bool {
	switch r.do.NoPrimary {
	case semantics.NoPrimaryDeferred, semantics.NoPrimaryRefused, semantics.NoPrimaryNotSupported:
		return false
	default:
		return true
	}
}

// lacking executes the forms that the server does not have. What is refused is refused
// all the same; to anything else the answer is that of the server, which does not know
// the command or the option, and nothing is deferred.
func (w *trial) lacking(ctx context.Context) {
	const occasion = "lacking"
	base, pending := rowsOf(w.lack, "base"), rowsOf(w.lack, "pending")
	for _, rows := range [][]*row{base, pending} {
		fill(ctx, w.t, w.g.Node(0).Client(), rows)
		fill(ctx, w.t, w.plain, rows)
	}
	check(w.t, w.g.WaitSynced(ctx))
	check(w.t, w.g.Cycle(ctx))
	waitState(w.t, w.ours, resilient.StateNoPrimary)
	w.change(ctx, pending)
	for _, r := range slices.Concat(base, pending) {
		tracked, receipt := resilient.WithReceipt(ctx)
		got := ask(tracked, w.ours, r.args)
		switch do := r.do.NoPrimary; {
		case do == semantics.NoPrimaryNotSupported:
			w.notSupported(ctx, r)
		case do == semantics.NoPrimaryRefused:
			w.refusedAs(r, occasion, got, resilient.ErrNoPrimary)
		case do == semantics.NoPrimaryUnmerged, do == semantics.NoPrimaryUnseen && r.prefix[0] == 'p':
			w.refusedAs(r, occasion, got, resilient.ErrPendingWrites)
		default:
			w.same(ctx, occasion, r, got)
		}
		if o := receipt.Outcome(); o != resilient.OutcomeDirect {
			w.t.Errorf("%s, which the server lacks: %v, %v", r, got, o)
		}
		w.count(occasion, r.do.NoPrimary)
	}
	w.report()
}

// change makes the keys of rows pending by a write that is deferred.
func (w *trial) change(ctx context.Context, rows []*row) {
	for _, r := range rows {
		for _, key := range r.keys {
			for _, args := range r.commandsFor(rowChanges, key) {
				tracked, receipt := resilient.WithReceipt(ctx)
				got, want := ask(tracked, w.ours, args), ask(ctx, w.plain, args)
				if got.String() != want.String() || receipt.Outcome() != resilient.OutcomeDeferred {
					w.t.Fatalf("%v to make a key pending: %v, %v; healthy %v", args, got, receipt.Outcome(), want)
				}
			}
		}
	}
}

// outage executes one row while there is no primary.
func (w *trial) outage(ctx context.Context, occasion string, r *row, pending bool) {
	w.sent.reset()
	before := w.ours.Stats()
	tracked, receipt := resilient.WithReceipt(ctx)
	dirty := w.changesSoFar(ctx)
	got := ask(tracked, w.ours, r.args)
	sent := w.sent.of("")
	w.count(occasion, r.do.NoPrimary)

	local := true // nothing was sent
	switch r.do.NoPrimary {
	case semantics.NoPrimaryNotSupported:
		w.notSupported(ctx, r)
	case semantics.NoPrimaryRefused:
		w.refusedAs(r, occasion, got, resilient.ErrNoPrimary)
	case semantics.NoPrimaryDeferred:
		w.same(ctx, occasion, r, got)
		changed := w.changesSoFar(ctx) != dirty
		if pending {
			w.changes[r.String()] = changed
		}
		w.deferred(occasion, r, got, receipt, changed)
	case semantics.NoPrimaryRead:
		w.same(ctx, occasion, r, got)
		local = pending
	case semantics.NoPrimaryReadAny:
		w.same(ctx, occasion, r, got)
		local = before.OverlayKeys > 0
	case semantics.NoPrimaryUnseen:
		if local = pending; pending {
			w.refusedAs(r, occasion, got, resilient.ErrPendingWrites)
		} else {
			w.same(ctx, occasion, r, got)
		}
	case semantics.NoPrimaryUnmerged:
		if local = before.OverlayKeys > 0; local {
			w.refusedAs(r, occasion, got, resilient.ErrPendingWrites)
		} else {
			w.same(ctx, occasion, r, got)
		}
	case semantics.NoPrimaryAny, semantics.NoPrimaryReplica, semantics.NoPrimaryMerged:
		w.same(ctx, occasion, r, got)
		local = false
	}
	if r.do.NoPrimary != semantics.NoPrimaryDeferred && (w.ours.Stats().Deferred != before.Deferred || receipt.Outcome() != resilient.OutcomeDirect) {
		w.t.Errorf("%s %s: something was deferred", r, occasion)
	}
	if r.do.NoPrimary != semantics.NoPrimaryMerged { // which asks in several ways
		w.sentAs(occasion, r, sent, local)
	}
}

// sentAs checks what one row sent to the network, in the outage.
func (w *trial) sentAs(occasion string, r *row, sent []sentCommand, local bool) {
	w.t.Helper()
	name := strings.ToLower(r.Args[0])
	if r.do.SentAs != "" {
		name = strings.ToLower(r.do.SentAs)
	}
	switch {
	case local && len(sent) > 0:
		w.t.Errorf("%s %s: sent %+v, want nothing", r, occasion, sent)
	case !local && (len(sent) != 1 || sent[0].name != name):
		w.t.Errorf("%s %s: sent %+v, want one %s", r, occasion, sent, name)
	}
}

// deferred checks the receipt of a write. What changes nothing leaves no entry, but
// where only the primary knows whether it does.
func (w *trial) deferred(occasion string, r *row, got reply, receipt *resilient.Receipt, changed bool) {
	w.t.Helper()
	want := resilient.OutcomeDirect
	if changed {
		want = resilient.OutcomeDeferred
	}
	if o := receipt.Outcome(); o != want && !r.do.Estimated {
		w.t.Errorf("%s %s: %v; the receipt says %v, want %v", r, occasion, got, o, want)
	}
	if exact := receipt.Exact(); receipt.Outcome() == resilient.OutcomeDeferred && exact == r.do.Estimated {
		w.t.Errorf("%s %s: %v; the receipt says exact: %v", r, occasion, got, exact)
	}
}

// changesSoFar is how many changes the healthy server has counted.
func (w *trial) changesSoFar(ctx context.Context) int {
	info, err := w.plain.Info(ctx, "persistence").Result()
	check(w.t, err)
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "rdb_changes_since_last_save:"); ok {
			n, err := strconv.Atoi(value)
			check(w.t, err)
			return n
		}
	}
	w.t.Fatal("the server does not count its changes")
	return 0
}

// replayPatience is how long a row waits for a replay that does not end, before it is
// taken to wait for ever.
const replayPatience = 300 * time.Millisecond

// replaying executes every row while a primary takes writes, and the replay of others
// is held up: with keys that are pending, and with keys that are not.
func (w *trial) replaying(ctx context.Context, held, free []*row) {
	primary := w.g.Node(2).Addr()
	for _, r := range free {
		switch r.do.Replaying {
		case semantics.ReplayingNotSupported:
			w.notSupported(ctx, r)
		case semantics.ReplayingBarrier: // in the other loop
			continue
		case semantics.ReplayingMerged, semantics.ReplayingReadAny:
			w.same(ctx, "in a replay", r, ask(ctx, w.ours, r.args))
		case semantics.ReplayingUnmerged:
			w.refusedAs(r, "in a replay", ask(ctx, w.ours, r.args), resilient.ErrPendingWrites)
		default:
			if w.skipped("in a replay", r) {
				continue
			}
			w.forwarded(ctx, "in a replay", r, primary, r.do.Healthy != semantics.HealthyForwarded && !r.reads())
		}
		w.count("in a replay", r.do.Replaying)
	}
	// What is read of all keys is read while nothing changes them.
	merged := func(r *row) bool { return r.do.Replaying == semantics.ReplayingMerged }
	for _, r := range held {
		if merged(r) {
			w.heldUp(ctx, r)
		}
	}
	w.sent.reset()
	var all sync.WaitGroup // those that wait do so side by side
	for _, r := range held {
		if !merged(r) {
			all.Go(func() { w.heldUp(ctx, r) })
		}
	}
	all.Wait()
}

// heldUp executes one row in a replay whose keys are pending.
func (w *trial) heldUp(ctx context.Context, r *row) {
	const occasion = "in a replay, key pending"
	switch r.do.Replaying {
	case semantics.ReplayingBarrier, semantics.ReplayingKey:
		short, cancel := context.WithTimeout(ctx, replayPatience)
		defer cancel()
		w.refusedAs(r, occasion, ask(short, w.ours, r.args), context.DeadlineExceeded)
	case semantics.ReplayingUnseen:
		w.refusedAs(r, occasion, ask(ctx, w.ours, r.args), resilient.ErrPendingWrites)
	case semantics.ReplayingRead, semantics.ReplayingReadAny:
		w.same(ctx, occasion, r, ask(ctx, w.ours, r.args))
	case semantics.ReplayingQueued:
		tracked, receipt := resilient.WithReceipt(ctx)
		got := ask(tracked, w.ours, r.args)
		w.same(ctx, occasion, r, got)
		w.deferred(occasion, r, got, receipt, w.changes[r.String()])
	case semantics.ReplayingMerged:
		w.same(ctx, occasion, r, ask(ctx, w.ours, r.args))
		w.count(occasion, r.do.Replaying)
		return
	default: // not about pending keys
		return
	}
	w.count(occasion, r.do.Replaying)
	if sent := w.sent.of(r.mark()); len(sent) > 0 {
		w.t.Errorf("%s %s: sent %+v, want nothing", r, occasion, sent)
	}
}

// released executes the rows that wait, those of which a test can have the effect, and
// lets the replay end: then they must go through.
func (w *trial) released(ctx context.Context, rows []*row) {
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	type waiting struct {
		r   *row
		got chan reply
	}
	var all []waiting
	for _, r := range rows {
		dropsMore := len(r.keys) == 0 && r.Group != "Scripting and functions"
		if r.do.Replaying != semantics.ReplayingBarrier || dropsMore {
			continue
		}
		one := waiting{r, make(chan reply, 1)}
		go func() { one.got <- ask(ctx, w.ours, r.args) }()
		all = append(all, one)
	}
	check(w.t, w.g.Promote(ctx, 2))
	for _, one := range all {
		w.same(ctx, "after a replay", one.r, <-one.got)
		w.count("after a replay", one.r.do.Replaying)
	}
	flush(w.t, w.ours)
	waitState(w.t, w.ours, resilient.StateHealthy)
	if s := w.ours.Stats(); s.DeadLettered != 0 || s.InDoubt != 0 || s.Entries != 0 {
		w.t.Errorf("after the replay: %+v", s)
	}
}
