package overlay

import (
	"context"
	"fmt"
	"math"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// Write executes deferrable writes: one command, or several as a unit, reads
// among them. It may wait for the source's answers, but not for the journal. An
// error means that nothing was changed or journaled, except ErrInternal.
func (o *Overlay) Write(ctx context.Context, r Request) (Result, error) {
	if r.Commit == nil || len(r.Commands) == 0 {
		return Result{}, fmt.Errorf("%w: a request without commands or Commit", ErrInternal)
	}
	var res Result
	if done, err := o.writeLone(&r, &res); done || err != nil {
		if err != nil {
			return Result{}, err
		}
		return res, nil
	}
	x, err := o.begin(&r, true)
	if err != nil {
		return Result{}, err
	}
	for {
		switch err := o.tryWrite(x, &res); {
		case err == nil:
			x.end()
			return res, nil
		case err != errAgain: //nolint:errorlint // a private sentinel, never wrapped
			return Result{}, err
		}
		if err := o.fetch(ctx, x); err != nil {
			return Result{}, err
		}
	}
}

// tryWrite is one attempt at a write. With errAgain the call says what it waits
// for, and keeps its claims.
func (o *Overlay) tryWrite(x *call, res *Result) (err error) {
	o.lock(x)
	defer o.leave(x, res, &err)
	if !o.assemble(x) {
		return errAgain
	}
	if x.req.OnlyHeld && !x.allHeld() {
		return ErrNotHeld
	}
	if x.require(); x.waiting {
		return errAgain
	}
	for i := range x.refs {
		// A write that rests on a key it does not name is not worth an estimate.
		switch r := &x.refs[i]; {
		case r.role&roleForeign == 0:
		case r.e.is(flagLost):
			return baseUnknown(&x.steps[0], errLost)
		case !r.e.is(flagKnown):
			return baseUnknown(&x.steps[0], r.verdict)
		}
	}
	for i := range x.refs {
		if x.refs[i].role&roleWritten != 0 {
			x.touch(i)
		}
	}
	if o.bases {
		x.noteBases()
	}
	*res = Result{Exact: true}
	for i := range x.steps {
		if err := o.step(x, i, res); err != nil {
			return err
		}
	}
	return o.commit(x, res)
}

// leave ends an attempt: a failed one is taken back, the claims are released
// unless it is to be made again, and the locks are given up. It must be deferred
// directly.
func (o *Overlay) leave(x *call, res *Result, err *error) {
	if p := recover(); p != nil {
		*err = fault("a command", p)
	}
	if *err != nil {
		*res = Result{}
		o.giveBack(x)
		if x.reserved != 0 {
			o.bytes.Add(-x.reserved)
			x.reserved = 0
		}
	}
	if *err != errAgain { //nolint:errorlint // a private sentinel, never wrapped
		o.releaseAll(x)
	}
	o.unlock(x)
}

func fault(what string, p any) error {
	// The value of a panic may quote data; its type says enough.
	return fmt.Errorf("%w: %s panicked (%T)", ErrInternal, what, p)
}

// giveBack takes an attempt back, and lets others use the seeds of keys that are
// not held.
func (o *Overlay) giveBack(x *call) {
	x.revert()
	for i := range x.refs {
		r := &x.refs[i]
		if r.f == nil || r.e == nil || r.e.held() || !r.f.used || r.e.base != r.f.base || r.e.is(flagLost) {
			continue
		}
		r.f.value, r.f.used = r.e.obj, false
	}
}

func (x *call) anyHeld() bool {
	for i := range x.refs {
		if r := &x.refs[i]; r.role&roleNamed != 0 && r.e.held() {
			return true
		}
	}
	return false
}

func (x *call) allHeld() bool {
	for i := range x.refs {
		if r := &x.refs[i]; r.role&roleNamed != 0 && !r.e.held() {
			return false
		}
	}
	return true
}

// require claims the seeds that the steps need, as far as can be told before
// they run, so that one request brings them all.
func (x *call) require() {
	for i := range x.refs {
		switch r := &x.refs[i]; {
		case r.role&roleRequired != 0 || (r.role&roleForeign != 0 && r.e.held()):
			x.know(i)
		case r.role&(roleForeign|roleNamed) == roleForeign:
			x.host(i)
		}
	}
	if x.o.bases {
		x.requireBases()
	}
	var given map[int]bool // keys that an earlier step overwrites
	for i := range x.steps {
		s := &x.steps[i]
		for _, at := range s.refs(x) {
			switch {
			case s.need == engine.NeedNothing && len(x.steps) > 1:
				if given == nil {
					given = make(map[int]bool)
				}
				given[at] = true
			case s.need != engine.NeedNothing && !given[at]:
				x.know(at)
			}
		}
	}
}

// settled reports whether it is known what can be known of the step's keys. A
// key for which that turns out only now is looked at first in the next attempt:
// a seed is no part of the write, and must not be taken back with it.
func (x *call) settled(s *step) bool {
	for _, at := range s.refs(x) {
		if r := &x.refs[at]; !r.e.is(flagKnown) && r.verdict == nil {
			r.role |= roleRequired
			x.waiting = true
		}
	}
	return !x.waiting
}

// step runs one command of a write.
func (o *Overlay) step(x *call, i int, res *Result) error {
	s := &x.steps[i]
	if s.cmd == &unseen {
		x.loseAll(s, res)
		return nil
	}
	if s.need != engine.NeedNothing && !x.settled(s) {
		return errAgain
	}
	exact, before, err := o.standing(x, s, res)
	if err != nil {
		return err
	}
	until := x.until
	if !x.alone {
		until = x.deadline(s)
	}
	if err := x.execute(s); err != nil {
		return err
	}
	if len(x.steps) > 1 {
		res.Ends = append(res.Ends, len(x.reply))
	}
	res.Exact = res.Exact && exact
	if x.run.Failed() {
		x.running = false
		if x.failed == nil {
			x.failed = make([]bool, len(x.steps))
		}
		x.failed[i] = true
		return nil
	}
	if s.cmd.Write {
		x.until = until
		o.account(x, s, exact, before, 0)
	}
	x.running = false
	return nil
}

// loseAll enters a write that is not executed.
func (x *call) loseAll(s *step, res *Result) {
	for _, at := range s.refs(x) {
		x.refs[at].altered = true
		x.refs[at].e.lose()
	}
	x.dirty, res.Exact = true, false
	if len(x.steps) > 1 {
		res.Ends = append(res.Ends, len(x.reply))
	}
}

// standing says whether a step can be answered exactly. If it can't, before are
// the commands that keep the state of those of its keys that are known.
func (o *Overlay) standing(x *call, s *step, res *Result) (exact bool, before []byte, err error) {
	exact = true
	if s.need == engine.NeedNothing {
		return true, nil, nil
	}
	erases := s.erases()
	for _, at := range s.refs(x) {
		r := &x.refs[at]
		switch {
		case r.e.is(flagLost) && !erases:
			return false, nil, baseUnknown(s, errLost)
		case !r.e.is(flagKnown):
			if s.Counter && !o.estimate {
				return false, nil, baseUnknown(s, r.verdict)
			}
			exact = false
		}
		res.Based = res.Based || r.e.is(flagBased)
	}
	if exact || erases || !s.cmd.Write || s.lone(x) {
		return exact, nil, nil
	}
	before, ok := x.snapshot(s)
	if !ok {
		return false, nil, baseUnknown(s, errLost)
	}
	return false, before, nil
}

// deadline is the earliest of the step's keys and of the steps before it.
func (x *call) deadline(s *step) int64 {
	until := x.until
	if s.need == engine.NeedNothing || s.erases() {
		return until
	}
	for _, at := range s.refs(x) {
		e := x.refs[at].e
		if !e.is(flagKnown) {
			continue
		}
		e.obj.Expire(x.now)
		until = earlier(until, e.obj.ExpireAt())
	}
	return until
}

// earlier is the earlier of two deadlines, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// commit makes what the steps did a deferred write, if they did anything.
func (o *Overlay) commit(x *call, res *Result) error {
	res.Reply = x.reply
	if x.dirty {
		if err := o.take(x, res); err != nil {
			return err
		}
	} else if len(x.undo) > 0 {
		// Nothing was changed; entries that are not held are forgotten, but their
		// seeds may serve others.
		o.giveBack(x)
	}
	if len(x.refs) > 0 {
		res.ExpireAt = x.refs[0].e.obj.ExpireAt()
	}
	return nil
}

// take charges the call's entries, takes the sequence and enters the write.
func (o *Overlay) take(x *call, res *Result) error {
	durable := o.durable.Load()
	pending := durable != math.MaxUint64
	var delta, costs, freed int64
	for i := range x.refs {
		r := &x.refs[i]
		if r.undo == 0 && r.e.knot == nil {
			continue // of those in knots the shares may have grown
		}
		if r.undo != 0 || r.e.held() {
			delta += r.e.size() - r.e.charged
		}
		if pending && r.undo != 0 {
			x.undo[r.undo-1].cost = undoOverhead
			costs += undoOverhead
			// A little more than one for one, so that it ends without a sweeper.
			freed += o.shards[r.shard].forget(durable, 4)
		}
	}
	if pending && len(x.undo) > 0 {
		cost := x.keep()
		x.undo[0].cost += cost
		costs += cost
	}
	var total int64
	if change := delta + costs - freed; change != 0 {
		total = o.bytes.Add(change)
	}
	x.reserved = delta + costs // given back with an error, also when the callback panics
	if delta > 0 && o.max > 0 && total > o.max {
		return fmt.Errorf("%w: %d of %d bytes are in use; raise the limit, or wait for a replay",
			ErrFull, total-delta-costs, o.max)
	}
	x.judge()
	x.effect.Reply, x.effect.Exact, x.effect.Bases = x.reply, res.Exact, x.bases
	if err := x.unprotected(); err != nil {
		return err
	}
	seq, err := x.req.Commit(&x.effect)
	if err != nil {
		return err
	}
	if seq == 0 {
		return fmt.Errorf("%w: Commit returned sequence 0", ErrInternal)
	}
	x.reserved = 0
	res.Seq = seq
	o.record(x, seq, pending)
	return nil
}

// keep makes the call's changes what the undo records need of them, and returns
// what that keeps alive.
func (x *call) keep() (cost int64) {
	plain := true
	for i := range x.changes {
		cost += x.changes[i].Cost()
		plain = plain && x.changes[i].Plain()
	}
	if plain { // the objects as they were are all it takes
		return cost
	}
	d := &deep{changes: append([]engine.Change(nil), x.changes...)}
	for i := range x.undo {
		x.undo[i].deep = d
	}
	return cost + int64(len(x.changes))*undoOverhead
}

// record enters a committed write: sequences, order, undo records.
func (o *Overlay) record(x *call, seq uint64, pending bool) {
	for _, p := range x.ops {
		p.seq = seq
	}
	x.ops = nil
	for i := range x.refs {
		r := &x.refs[i]
		if r.undo == 0 {
			if r.e.knot != nil && r.e.held() {
				r.e.charged = r.e.size()
			}
			continue
		}
		u := &x.undo[r.undo-1]
		s := &o.shards[r.shard]
		r.e.charged = r.e.size()
		if r.role&roleWritten != 0 {
			o.enter(s, r.e, seq, u.flags&flagKnown != 0)
		} else {
			o.countUnresolved(u.flags&flagKnown != 0, r.e.is(flagKnown))
		}
		if pending {
			u.seq = seq
			s.undo = append(s.undo, *u)
		}
	}
}

// enter gives an entry the sequence of its newest write.
func (o *Overlay) enter(s *shard, e *entry, seq uint64, wasKnown bool) {
	if e.lastSeq == 0 {
		e.lastSeq = seq
		if o.lane != nil {
			e.lane = o.lane(e.name)
		}
		s.insert(e)
		o.held.Add(1)
		wasKnown = true // it did not count
	} else {
		e.lastSeq = seq
		s.unlink(e)
		s.pushBack(e)
	}
	o.countUnresolved(wasKnown, e.is(flagKnown))
}
