package overlay

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// maxRounds bounds how often a call asks for members of partial values. One
// round brings all that a command misses; more are for a value that changed.
const maxRounds = 16

// maxForeign bounds the keys whose names one command computes.
const maxForeign = 1 << 16

// want is members of a partial value that a call must learn.
type want struct {
	at      int // the key's ref
	key     Key
	typ     engine.Type
	members [][]byte
	cmd     string // the command that asks

	base  *base // of which reading they must be
	guest *guest

	// fenced asks that no entry of the journal was replayed between the seed and
	// the reading of the members: pending writes are to be applied to both.
	fenced bool
}

// learned is what has come of a want.
type learned struct {
	at    int
	base  *base
	facts []engine.Fact
}

// missing turns the misses of the step that has run into wants.
func (x *call) missing(s *step) error {
	x.run.Revert() // the types are those of the values that the step has found
	refs := s.refs(x)
	for _, m := range x.run.Misses() {
		r := &x.refs[refs[m.Key]]
		if r.e.is(flagMoved) || r.e.base == nil {
			return tooBig(s, errMoved)
		}
		x.want(refs[m.Key], r.e.obj.Type(), r.e.base, false, s.cmd.Name, m.Member)
	}
	return errAgain
}

var errMoved = fmt.Errorf("%w: it was renamed, and the server knows it by its old name", engine.ErrTooBig)

// want adds members to what must be learnt of a key.
func (x *call) want(at int, typ engine.Type, b *base, fenced bool, cmd string, members ...[]byte) {
	for i := range x.wants {
		if w := &x.wants[i]; w.at == at {
			w.members = append(w.members, members...)
			return
		}
	}
	r := &x.refs[at]
	w := want{at: at, key: r.e.key(), typ: typ, members: members, cmd: cmd, base: b, fenced: fenced}
	if r.guest != nil && r.guest.base == b {
		w.guest = r.guest
	}
	x.wants = append(x.wants, w)
}

// ask learns what the call wants. No lock may be held.
func (o *Overlay) ask(ctx context.Context, x *call) error {
	if len(x.wants) == 0 {
		return nil
	}
	wants := x.wants
	x.wants = nil
	if x.rounds++; x.rounds > maxRounds {
		return fmt.Errorf("%w: the source does not tell the members that it is asked for", ErrInternal)
	}
	for i := range wants {
		w := &wants[i]
		facts, err := o.members(ctx, w)
		if err == nil && w.fenced {
			err = o.sameFence(ctx, w)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return contextEnded(ctx)
		case err == errFence && x.rounds < maxRounds: //nolint:errorlint // a private sentinel, never wrapped
			o.spoil(&x.refs[w.at])
		case err != nil && w.fenced:
			x.refs[w.at].verdict = err
		case err != nil:
			return fmt.Errorf("%w: %s needs members of a big value; retry when a replica answers: %w",
				ErrBaseUnknown, w.cmd, err)
		case w.guest != nil:
			w.guest.obj.Learn(facts)
		case o.max > 0 && o.bytes.Load() > o.max:
			// What is learnt stays until the key is released: reads alone must not fill
			// the memory.
			return fmt.Errorf("%w: %s needs members of a big value, and there is no room to keep them; "+
				"raise the limit, or wait for a primary", ErrFull, w.cmd)
		default:
			x.learned = append(x.learned, learned{at: w.at, base: w.base, facts: facts})
		}
	}
	return nil
}

// sameFence fails when entries of the journal were replayed since the seed.
func (o *Overlay) sameFence(ctx context.Context, w *want) error {
	seeds, err := o.seed(ctx, []Key{w.key}, DepthMeta)
	if err != nil {
		return err
	}
	if seeds[0].Fence != w.base.fence {
		return errFence
	}
	return nil
}

// spoil has the key's seed read again. No lock may be held.
func (o *Overlay) spoil(r *ref) {
	s := &o.shards[r.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.f != nil {
		r.f.stale = true
	}
}

var errFence = errors.New("overlay: pending writes were replayed while their keys were read; try again")

// learn tells partial values what has come, if they still rest on the reading
// that was asked about: the key may have left and come again meanwhile. It needs
// the locks.
func (o *Overlay) learn(x *call) {
	for _, l := range x.learned {
		r := &x.refs[l.at]
		switch {
		case r.f != nil && r.f.base == l.base && !r.f.used && !r.f.stale:
			r.f.value.Learn(l.facts)
		case r.e.base == l.base && !r.e.is(flagMoved):
			r.e.obj.Learn(l.facts)
			if r.e.held() {
				o.recharge(r.e)
			}
		}
	}
	x.learned = nil
}

// invite reads keys that are not held and not to be held.
func (o *Overlay) invite(ctx context.Context, x *call) error {
	if len(x.absent) == 0 {
		return nil
	}
	depth := DepthMeta
	for i := range x.steps {
		if x.steps[i].need == engine.NeedValue {
			depth = DepthWhole
		}
	}
	keys := make([]Key, len(x.absent))
	for i, at := range x.absent {
		keys[i] = Key{DB: x.req.DB, Name: string(x.refs[at].name)}
	}
	seeds, err := o.seed(ctx, keys, depth)
	if err != nil {
		return baseUnknown(&x.steps[0], err)
	}
	for i, at := range x.absent {
		x.refs[at].guest = &guest{obj: seeds[i].Value, base: seeds[i].base()}
	}
	x.absent = x.absent[:0]
	return nil
}

// foreign finds the object of a key whose name a command has computed. Such a
// key is read; its lock is taken in the next attempt.
func (x *call) foreign(name []byte) (*engine.Object, bool) {
	at := x.find(name)
	if at < 0 {
		if len(x.refs) < maxForeign {
			x.ref(append([]byte(nil), name...), roleForeign)
			x.waiting = true
		}
		return nil, false
	}
	r := &x.refs[at]
	if r.e == nil || r.role&(roleNamed|roleForeign) == 0 {
		r.role |= roleForeign
		x.waiting = true
		return nil, false
	}
	r.e.obj.Expire(x.now)
	return &r.e.obj, true
}
