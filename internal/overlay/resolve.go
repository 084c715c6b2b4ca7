package overlay

import (
	"context"
	"fmt"
)

// resolveBatch is how many keys Resolve seeds in one request.
const resolveBatch = 128

// Resolve seeds the keys whose base is unknown, as after a recovery, and
// returns how many still are. The error is the source's last one, or that the
// context has ended.
func (o *Overlay) Resolve(ctx context.Context) (left int, err error) {
	keys := make(map[int][]string) // by database
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		for e := s.first; e != nil; e = e.next {
			if !e.is(flagKnown) {
				keys[int(e.db)] = append(keys[int(e.db)], e.name)
			}
		}
		s.mu.Unlock()
	}
	for db, names := range keys {
		for len(names) > 0 && (err == nil || ctx.Err() == nil) {
			n := min(len(names), resolveBatch)
			if batchErr := o.resolveKeys(ctx, db, names[:n]); batchErr != nil {
				err = batchErr
			}
			names = names[n:]
		}
	}
	return int(o.unresolved.Load()), err
}

// resolveKeys seeds what is unresolved of some keys.
func (o *Overlay) resolveKeys(ctx context.Context, db int, names []string) error {
	x, err := o.begin(&Request{DB: db}, false)
	if err != nil {
		return err
	}
	for _, name := range names {
		x.ref([]byte(name), roleNamed)
	}
	for {
		err := o.tryResolve(x)
		switch {
		case err == nil:
			x.end()
			return nil
		case err != errAgain: //nolint:errorlint // a private sentinel, never wrapped
			return err
		}
		if err := o.fetch(ctx, x); err != nil {
			return err
		}
	}
}

func (o *Overlay) tryResolve(x *call) (err error) {
	o.lock(x)
	defer o.leave(x, new(Result), &err)
	if !o.assemble(x) {
		return errAgain
	}
	for i := range x.refs {
		if r := &x.refs[i]; r.role&roleNamed != 0 && r.e.held() { // else it has left meanwhile
			x.know(i)
		}
	}
	if x.waiting {
		return errAgain
	}
	for i := range x.refs {
		if v := x.refs[i].verdict; v != nil {
			err = fmt.Errorf("%w: %w", ErrBaseUnknown, v)
		}
	}
	return err
}
