package overlay

import (
	"context"
	"fmt"
)

// Read answers a read, one command, of which at least one key is held;
// ErrNotHeld says that none is, and that a server should be asked. Keys of the
// command that are not held are read from the source and not kept. A held key
// whose base is unknown is answered from this process's own writes, with Exact
// false. A malformed command is answered with Redis's error if none of its keys
// can be told.
func (o *Overlay) Read(ctx context.Context, r Request) (Result, error) {
	if o.Empty() && !r.Unheld {
		return Result{}, ErrNotHeld
	}
	if len(r.Commands) != 1 {
		return Result{}, fmt.Errorf("%w: a read of %d commands", ErrInternal, len(r.Commands))
	}
	x, err := o.begin(&r, false)
	if err != nil {
		return Result{}, err
	}
	var res Result
	for {
		switch err := o.tryRead(x, &res); {
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

// tryRead is one attempt at a read. With errAgain the call says what it waits
// for, and keeps its claims.
func (o *Overlay) tryRead(x *call, res *Result) (err error) {
	o.lock(x)
	defer o.leave(x, res, &err)
	if !o.assemble(x) {
		return errAgain
	}
	s := &x.steps[0]
	if len(x.refs) > 0 && !x.anyHeld() && !x.req.Unheld {
		return ErrNotHeld
	}
	*res = Result{Exact: true}
	for i := range x.refs {
		if err := x.look(i, s, res); err != nil {
			return err
		}
	}
	if x.waiting {
		return errAgain
	}
	if err := x.execute(s); err != nil {
		return err
	}
	switch {
	case len(x.refs) == 0 && !x.run.Failed():
		return ErrNotHeld
	case x.run.Dirty():
		return notServed(s.cmd.Name + " as a read")
	}
	res.Reply = x.reply
	if len(x.refs) > 0 {
		res.ExpireAt = x.refs[0].e.obj.ExpireAt()
	}
	return nil
}

// look finds out what is known of one key of a read.
func (x *call) look(at int, s *step, res *Result) error {
	r := &x.refs[at]
	switch {
	case r.role == roleLinked:
		return nil // of no interest by itself
	case !r.e.held():
		x.host(at)
	case r.e.is(flagLost):
		return baseUnknown(s, errLost)
	default:
		x.know(at)
		res.Exact = res.Exact && r.e.is(flagKnown)
	}
	res.Based = res.Based || r.e.is(flagBased)
	res.Seq = max(res.Seq, r.e.lastSeq)
	return nil
}

// host gives a key that is not held the value of a guest.
func (x *call) host(at int) {
	r := &x.refs[at]
	if r.guest == nil {
		x.absent = append(x.absent, at)
		x.waiting = true
		return
	}
	r.e.obj, r.e.base, r.e.flags = r.guest.obj, r.guest.base, flagKnown
	if r.guest.base.existed {
		r.e.flags |= flagBased
	}
}
