package overlay

import (
	"context"
	"fmt"
)

// resolveBatch is how many keys Resolve seeds in one request.
const resolveBatch = 128

// Read answers a read of which at least one key is held; ErrNotHeld says that
// none is, and that a server should be asked. Keys of the command that are not
// held are read from the source and not kept. A held key whose base is unknown
// is answered from this process's own writes, with Exact false.
func (o *Overlay) Read(ctx context.Context, r Request) (Result, error) {
	if o.Empty() {
		return Result{}, ErrNotHeld
	}
	x, reply, err := o.prepare(r, false)
	if err != nil || x == nil {
		return Result{Reply: reply, Exact: true}, err
	}
	var tickets []ticket
	guests := make(map[Key]*Seed) // keys that are not held
	for {
		res, missing, absent, err := o.tryRead(x, guests, tickets)
		if len(missing)+len(absent) == 0 {
			return res, err
		}
		if err := o.gather(ctx, missing); err != nil {
			return Result{}, err
		}
		tickets = missing
		if err := o.invite(ctx, x, absent, guests); err != nil {
			o.abandon(tickets)
			return Result{}, err
		}
	}
}

// tryRead answers if everything is known, and else returns what is to be waited
// for: claims for held keys, and keys that are not held.
func (o *Overlay) tryRead(x *call, guests map[Key]*Seed, tickets []ticket) (
	res Result, missing []ticket, absent []Key, err error,
) {
	o.lock(x)
	defer o.unlock(x)
	defer func() {
		if p := recover(); p != nil {
			x.settle()
			res, missing, absent = Result{}, nil, nil
			err = fmt.Errorf("%w: %s panicked (%T)", ErrInternal, x.cmd.name, p)
		}
	}()
	x.now = o.now().UnixMilli()
	unseeded := o.land(x, tickets)
	if !o.anyHeld(x) {
		return Result{}, nil, nil, ErrNotHeld
	}
	res.Exact = true
	for _, e := range x.entries {
		guest := guests[e.key]
		switch {
		case e.known:
		case e.lastSeq == 0 && guest != nil:
			e.adopt(guest, x.now)
		case e.lastSeq == 0:
			absent = append(absent, e.key)
		case unseeded[e.key] == nil:
			missing = append(missing, o.claim(e.key))
		default:
			res.Exact = false
		}
		res.Based = res.Based || e.based
		res.Seq = max(res.Seq, e.lastSeq)
	}
	if len(missing)+len(absent) > 0 {
		return Result{}, missing, absent, nil
	}
	res.Reply = x.cmd.exec(x)
	res.ExpireAt = x.entries[0].val.expireAt
	if x.err != nil {
		return Result{}, nil, nil, x.err
	}
	return res, nil, nil, nil
}

// invite reads keys that are not held.
func (o *Overlay) invite(ctx context.Context, x *call, absent []Key, guests map[Key]*Seed) error {
	if len(absent) == 0 {
		return nil
	}
	depth := DepthWhole
	if x.cmd.meta {
		depth = DepthMeta
	}
	seeds, err := o.seed(ctx, absent, depth)
	if err != nil {
		return baseUnknown(x, err)
	}
	for i, k := range absent {
		guests[k] = &seeds[i]
	}
	return nil
}

// Resolve seeds the keys whose base is unknown, as after a recovery, and
// returns how many still are. The error is the source's last one, or that the
// context has ended.
func (o *Overlay) Resolve(ctx context.Context) (left int, err error) {
	var keys []Key
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		for k, e := range s.keys {
			if !e.known {
				keys = append(keys, k)
			}
		}
		s.mu.Unlock()
	}
	for len(keys) > 0 {
		n := min(len(keys), resolveBatch)
		batchErr := o.resolveKeys(ctx, keys[:n])
		if batchErr != nil {
			err = batchErr
		}
		if ctx.Err() != nil {
			break
		}
		keys = keys[n:]
	}
	return int(o.unresolved.Load()), err
}

// resolveKeys seeds what is unresolved of some keys. A seed that went stale is
// not asked for again: its key has left the overlay meanwhile.
func (o *Overlay) resolveKeys(ctx context.Context, keys []Key) (err error) {
	tickets := make([]ticket, 0, len(keys))
	for _, k := range keys {
		s := o.shard(k)
		s.mu.Lock()
		if e := s.keys[k]; e != nil && !e.known {
			tickets = append(tickets, o.claim(k))
		}
		s.mu.Unlock()
	}
	if err := o.gather(ctx, tickets); err != nil {
		return err
	}
	now := o.now().UnixMilli()
	for _, t := range tickets {
		s := o.shard(t.key)
		s.mu.Lock()
		e := s.keys[t.key]
		switch {
		case t.f.err != nil:
			err = fmt.Errorf("%w: %w", ErrBaseUnknown, t.f.err)
		case e != nil && !e.known && !t.f.stale && !t.f.used:
			o.resolve(&call{now: now}, e, t.f)
		}
		o.release(t)
		s.mu.Unlock()
	}
	return err
}
