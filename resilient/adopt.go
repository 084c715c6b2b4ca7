package resilient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// adoptEvery is the time between two looks for the journals of dead processes.
const adoptEvery = time.Minute

// How long a journal that holds nothing to replay is left alone, at least, before its
// directory goes: a process may just be about to take it.
const idleFor = 10 * time.Minute

// unusableFor is how long a journal rests that is of another target, of a newer
// format, or has lost what it needs.
const unusableFor = time.Hour

// claimsAtOnce bounds the journals that are held open at a time, to be replayed one
// after the other.
const claimsAtOnce = 64

// triesAhead is how often the client's own replay lets the failing replay of a journal
// that should come before it be tried again.
const triesAhead = 3

// errInterrupted says that the replay of an adopted journal has to be begun anew, with
// the next primary or when the client's own journal is empty.
var errInterrupted = errors.New("resilient: the replay of an earlier process's journal was interrupted")

// adopter takes over the journals that dead processes of the same target left below
// the directory, and replays them under their own client ids, one after the other,
// the oldest first. It does so while a verified primary is there and the client's own
// journal is empty, and, for those that were written before that, just before its
// replay; the records never enter the overlay.
//
// It is one goroutine, which ends with the client; and that of the own replay, which
// works on what comes ahead of it.
type adopter struct {
	ctx     context.Context
	life    *lifecycle
	options journal.Options
	replay  replay.Options // without ClientID, Source and Hooks
	wake    chan struct{}  // of capacity 1: look now
	done    chan struct{}
	looks   atomic.Uint64 // that it has made; tests wait for some

	// turn is of capacity 1. Whose value is in it works on the journals and has the
	// fields rest and tries, which are by name.
	turn  chan struct{}
	rest  map[string]rest
	tries map[string]int // failed replays ahead of the own one

	mu     sync.Mutex      // guards what follows
	asked  map[string]bool // journals that are to be looked at however they rest
	count  uint64          // journals replayed to their end
	sums   replay.Stats
	active *adoption // the one that is being replayed
	ended  uint64    // expired writes of those before it
}

// rest says when a journal is to be looked at again.
type rest struct {
	until time.Time // not before
	// heir is the data set of the primary for which it was parked: only another one,
	// or a confirmation, changes that. Empty: it is not parked.
	heir string
	// tried: the confirmation that it bears has not helped.
	tried bool
	// idle: it had no records. A process can have taken it since, and have died.
	idle bool
}

// round is one look at the journals beside the client's own.
type round struct {
	ctx context.Context
	// ahead: the client's own journal, whose oldest write was accepted at before, is
	// to be replayed to the primary next, and waits for those that are older. ctx ends
	// when the primary is not to be used any more. Otherwise it is empty.
	ahead   bool
	before  time.Time
	primary topology.NodeID
}

// begins reports whether a replay may begin, holds whether it may go on.
func (r *round) begins(v *topology.View) bool { return r.ctx.Err() == nil && (r.ahead || isSettled(v)) }
func (r *round) holds(v *topology.View) bool  { return r.ahead || v.Live }

// target is the primary that is replayed to.
func (r *round) target(v *topology.View) topology.NodeID {
	if r.ahead {
		return r.primary
	}
	return v.Primary
}

// claim is a journal that was taken over, to be replayed.
type claim struct {
	journal *journal.Journal
	found   *journal.Recovery
}

func newAdopter(l *lifecycle, jo journal.Options, ro replay.Options) *adopter {
	jo.Admit, jo.Committed = nil, nil
	return &adopter{
		ctx: l.ctx, life: l, options: jo, replay: ro,
		wake: make(chan struct{}, 1), done: make(chan struct{}), turn: make(chan struct{}, 1),
		rest: make(map[string]rest), tries: make(map[string]int), asked: make(map[string]bool),
	}
}

// lookAt asks for a look at a journal at once, however it rests.
func (a *adopter) lookAt(name string) {
	a.mu.Lock()
	a.asked[name] = true
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// close waits for the goroutine; its context must have ended.
func (a *adopter) close() { <-a.done }

func (a *adopter) run() {
	defer close(a.done)
	every := a.life.options.adoptEvery
	for a.settled(a.ctx) {
		err := a.scan(&round{ctx: a.ctx})
		a.looks.Add(1)
		if errors.Is(err, errInterrupted) {
			pause(a.ctx, min(every, time.Second)) // it goes on as soon as things are settled again
			continue
		}
		// Jittered, so that the processes of a host don't look in step.
		timer := time.NewTimer(every - every/10 + rand.N(every/5+1))
		select {
		case <-timer.C:
		case <-a.wake:
		case <-a.ctx.Done():
		}
		timer.Stop()
	}
}

// settled waits until a verified primary is there and nothing of the client's own
// waits; false when the client ends.
func (a *adopter) settled(ctx context.Context) bool {
	_, err := a.life.monitor.Wait(ctx, isSettled)
	return err == nil && ctx.Err() == nil // a view may suit to the end
}

func isSettled(v *topology.View) bool { return v.State == topology.StateHealthy && v.Live }

// goAhead replays the journals that were left by processes whose last write came
// before the first one of the client's own, which is about to be replayed: replayed
// after it, they would undo it. What is parked, or in use, is passed over, and what
// fails again and again. The error ends the own replay, which is then tried again.
func (a *adopter) goAhead(ctx context.Context, primary topology.NodeID) error {
	stats := a.life.journal.Stats()
	if stats.Entries == 0 {
		return nil
	}
	return a.scan(&round{ctx: ctx, ahead: true, before: stats.Oldest, primary: primary})
}

// scan looks at all journals beside the client's own, when it is its turn.
func (a *adopter) scan(r *round) error {
	select {
	case a.turn <- struct{}{}:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	defer func() { <-a.turn }()
	for {
		names, err := journal.Siblings(a.options.Dir)
		if err != nil {
			a.life.log.Warn("the journal directory can't be read", slog.Any("error", err))
			return nil
		}
		a.forget(names)
		claims, err := a.claims(r, names)
		if err == nil {
			err = a.adoptAll(r, claims)
		}
		if err != nil || len(claims) < claimsAtOnce || !r.begins(a.life.monitor.View()) {
			return err
		}
	}
}

// forget drops what is known of journals that are not there any more: discarded, or
// removed by another process.
func (a *adopter) forget(names []string) {
	for name := range a.rest {
		if !slices.Contains(names, name) {
			delete(a.rest, name)
			a.life.parking.remove(name)
		}
	}
}

// rests reports whether nothing can have changed about a journal.
func (a *adopter) rests(name string) bool {
	a.mu.Lock()
	asked := a.asked[name]
	a.mu.Unlock()
	r, known := a.rest[name]
	if asked || !known {
		return false
	}
	if r.heir != "" {
		confirmed := journal.IsConfirmed(a.options.Dir, name)
		if r.tried && !confirmed { // taken away: the next one is to be tried
			r.tried = false
			a.rest[name] = r
		}
		return journal.HasSegments(a.options.Dir, name) && // else another process has replayed it
			r.heir == a.life.monitor.View().Primary.ReplID && (r.tried || !confirmed)
	}
	if r.idle && journal.HasSegments(a.options.Dir, name) {
		return false
	}
	return time.Now().Before(r.until)
}

// claims takes over the journals that are to be replayed in a round, and puts them
// into the order of their newest writes. With the error there are none.
func (a *adopter) claims(r *round, names []string) (claims []claim, err error) {
	own, looked := a.life.journal.ID().String(), r.ahead
	for _, name := range names {
		full := journal.HasSegments(a.options.Dir, name)
		if name == own || r.ahead && !full || a.rests(name) {
			continue
		}
		if full && !looked {
			// An outage that nobody has noticed yet is one all the same: its dead process
			// may be about to start again, and to show its writes.
			if err := a.life.monitor.WaitRound(r.ctx); err != nil {
				break
			}
			looked = true
		}
		if len(claims) == claimsAtOnce || !r.begins(a.life.monitor.View()) {
			break
		}
		c, err := a.claim(r, name)
		if err != nil {
			a.release(claims)
			return nil, err
		}
		if c.journal != nil {
			claims = append(claims, c)
		}
	}
	slices.SortStableFunc(claims, func(x, y claim) int { return x.found.Newest.Compare(y.found.Newest) })
	return claims, nil
}

// claim takes a journal over, if nobody has it and it is to be replayed in the round;
// else the claim is empty.
func (a *adopter) claim(r *round, name string) (claim, error) {
	j, found, err := journal.Adopt(a.options, name)
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrInUse):
		return claim{}, nil
	case errors.Is(err, fs.ErrNotExist):
		a.life.parking.remove(name)
		return claim{}, nil
	default:
		a.unusable(name, err)
		return claim{}, nil
	}
	a.mu.Lock()
	delete(a.asked, name)
	a.mu.Unlock()
	if found.Entries == 0 {
		a.leave(j, name)
		return claim{}, nil
	}
	c := claim{journal: j, found: found}
	if r.ahead && found.Newest.After(r.before) {
		a.closeJournal(j)
		return claim{}, nil
	}
	a.life.problems.damage(name, found)
	a.life.problems.unread(name, found)
	reason, err := a.judge(r, j, found)
	switch {
	case err != nil:
		a.life.log.Warn("it can't be told whether a journal belongs to the primary; it is tried again",
			slog.String("journal", name), slog.Any("error", err))
		err = a.failed(r, name, err)
	case reason != 0:
		a.park(parkedFrom(j, found, reason), false, nil)
	default:
		return c, nil
	}
	a.closeJournal(j)
	return claim{}, err
}

// unusable reports a journal that can't be taken over. What may pass is looked at
// again the next time.
func (a *adopter) unusable(name string, err error) {
	other := errors.Is(err, journal.ErrOtherTarget)
	if !other {
		a.life.problems.add("journal " + name + " was left as it is: " + err.Error())
	}
	if other || errors.Is(err, journal.ErrNewerFormat) || errors.Is(err, journal.ErrUnusable) {
		a.rest[name] = rest{until: time.Now().Add(unusableFor)}
	}
}

// failed counts a failure with a journal. In a round ahead of the own replay the
// error lets that begin anew, but not for ever.
func (a *adopter) failed(r *round, name string, cause error) error {
	if !r.ahead {
		return nil
	}
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if a.tries[name]++; a.tries[name] < triesAhead {
		return fmt.Errorf("%w: %w", errInterrupted, cause)
	}
	return nil
}

// park keeps a journal for a decision. confirmed says that it bore a confirmation,
// which did not help; cause is what the primary had against it.
func (a *adopter) park(p ParkedJournal, confirmed bool, cause error) {
	view := a.life.monitor.View()
	a.rest[p.ID] = rest{heir: view.Primary.ReplID, tried: confirmed}
	a.life.parking.add(p, cause)
}

// leave gives back a journal that holds nothing to replay, and removes its directory
// when nothing else is kept there either.
func (a *adopter) leave(j *journal.Journal, name string) {
	a.life.parking.remove(name)
	empty := j.Empty()
	a.closeJournal(j)
	a.rest[name] = rest{until: time.Now().Add(idleFor), idle: true}
	if !empty {
		return
	}
	if _, err := journal.RemoveIdle(a.options.Dir, name, time.Now().Add(-idleFor)); err != nil {
		a.life.log.Warn("the directory of a finished journal could not be removed",
			slog.String("journal", name), slog.Any("error", err))
	}
}

// judge says why a journal is not to be replayed to the present primary; 0: it is.
func (a *adopter) judge(r *round, j *journal.Journal, found *journal.Recovery) (ParkReason, error) {
	if j.Confirmed() {
		return 0, nil
	}
	if a.life.options.tooOld(found) {
		return ParkedOld, nil
	}
	h, ok := heirOf(a.life.monitor.View())
	if !ok {
		return 0, errors.New("resilient: the primary did not answer the last probe")
	}
	fits, err := h.descends(j.Lineage(), fenceAt(r.ctx, a.life.seeds.get(h.node.Addr), j.ID().String()))
	if err != nil || fits {
		return 0, err
	}
	return ParkedForeign, nil
}

func (a *adopter) release(claims []claim) {
	for _, c := range claims {
		a.closeJournal(c.journal)
	}
}

func (a *adopter) closeJournal(j *journal.Journal) {
	if err := j.Close(); err != nil {
		a.life.log.Warn("an adopted journal was not closed in order", slog.Any("error", err))
	}
}
