package overlay

import (
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// Recover enters a write of an earlier run that is not known to be in a
// primary, in the order of the journal and before the overlay is used. Its keys
// are unresolved until a seed comes, unless the write overwrites them. The bound
// of bytes does not apply: what was promised is kept. ErrNotServed means that
// the overlay cannot execute the record, and has not entered it.
//
// at and lapses are Effect.At and Effect.Lapses of the write: it is executed as of
// its own time. A record of several commands is entered with several calls of the
// same sequence.
func (o *Overlay) Recover(seq uint64, db int, cmd Command, at, lapses int64) error {
	if seq == 0 {
		return fmt.Errorf("%w: sequence 0 in recovery", ErrInternal)
	}
	x, err := o.begin(&Request{DB: db, Commands: []Command{cmd}}, true)
	if err != nil {
		return err
	}
	s := &x.steps[0]
	if s.cmd == &unseen && len(x.refs) == 0 {
		x.end()
		return nil // a script without keys, or a publication: there is nothing to hold
	}
	if !s.cmd.Write || len(x.refs) == 0 {
		return notServed("a record that does not write")
	}
	for {
		if err = o.tryRecover(x, seq, at, lapses); err != errAgain { //nolint:errorlint // private
			break
		}
	}
	if err == nil {
		x.end()
		o.Durable(seq)
	}
	return err
}

func (o *Overlay) tryRecover(x *call, seq uint64, at, lapses int64) (err error) {
	o.lock(x)
	defer o.unlock(x)
	defer func() {
		if p := recover(); p != nil {
			err = fault("a recovery", p)
		}
		if err != nil {
			x.revert()
		}
	}()
	if !o.assemble(x) {
		return errAgain
	}
	x.now = at
	s := &x.steps[0]
	for i := range x.refs {
		if x.refs[i].role&roleWritten != 0 {
			x.touch(i)
		}
	}
	if err := o.recoverStep(x, s, lapses); err != nil {
		return err
	}
	for i := range x.refs {
		r := &x.refs[i]
		if r.undo == 0 {
			if r.e != nil && r.e.held() {
				o.recharge(r.e) // its share in a knot may have grown
			}
			continue
		}
		wasKnown := x.undo[r.undo-1].flags&flagKnown != 0
		if r.role&roleWritten != 0 {
			o.enter(&o.shards[r.shard], r.e, seq, wasKnown)
		} else {
			o.countUnresolved(wasKnown, r.e.is(flagKnown))
		}
		o.recharge(r.e)
	}
	for _, p := range x.ops {
		p.seq = seq
	}
	x.ops = nil
	return nil
}

// recoverStep executes a recovered write on what is known. What the write did to
// keys that are known in part cannot be told: their values are lost until it has
// been replayed.
func (o *Overlay) recoverStep(x *call, s *step, lapses int64) error {
	refs := s.refs(x)
	if s.cmd == &unseen || (s.need != engine.NeedNothing && !s.erases() && x.anyLost(refs)) {
		x.loseAll(s, new(Result))
		return nil
	}
	exact := s.need == engine.NeedNothing || x.allKnown(refs)
	var before []byte
	ok := true
	if !exact && !s.erases() && !s.lone(x) {
		before, ok = x.snapshot(s)
	}
	err := x.execute(s)
	failed := x.run.Failed()
	switch {
	case errors.Is(err, ErrNotServed):
		return err
	case err != nil:
		x.running = false
		x.run.Revert()
		ok = ok && !exact
		failed = true
	case len(x.run.Misses()) == 0 && !failed:
		if ok {
			o.account(x, s, exact, before, lapses)
			return nil
		}
		x.running = false
		x.run.Revert()
	}
	x.running = false
	switch {
	case !ok:
		for _, at := range refs {
			x.refs[at].e.lose()
		}
	case failed && !x.allKnown(refs):
		o.tie(x, s, before, lapses) // on the server's value it may not fail
	}
	return nil
}
