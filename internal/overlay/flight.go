package overlay

import (
	"context"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// flight is one seed on its way, shared by all calls that wait for the key. It
// stays in its shard until the last of them has used it under the shard's lock,
// so that nothing which leaves the overlay meanwhile goes unnoticed.
type flight struct {
	done chan struct{} // closed by the owner when value, base and err are set
	err  error
	base *base

	value engine.Object // guarded by the shard's lock once done is closed
	refs  int           // calls that use it; guarded by the shard's lock
	stale bool          // the seed must not be used; guarded by the shard's lock
	used  bool          // value is some entry's already; guarded likewise
}

// ended reports whether the seed has come, or will not come.
func (f *flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// claim joins the flight of a key, or starts one. It needs the shard's lock.
func (o *Overlay) claim(r *ref) {
	s := &o.shards[r.shard]
	k := r.e.key()
	f := s.flights[k]
	// What comes after a failure asks again, instead of passing one old error on
	// for as long as calls overlap.
	r.fetch = f == nil || f.stale || f.used || (f.ended() && f.err != nil)
	if r.fetch {
		f = &flight{done: make(chan struct{})}
		s.flights[k] = f
	}
	f.refs++
	r.f = f
}

// release ends a claim. It needs the shard's lock.
func (o *Overlay) release(r *ref) {
	if r.f == nil {
		return
	}
	r.f.refs--
	s := &o.shards[r.shard]
	if k := (Key{DB: int(r.e.db), Name: r.e.name}); r.f.refs == 0 && s.flights[k] == r.f {
		delete(s.flights, k)
	}
	r.f = nil
}

// releaseAll ends all claims of a call. It needs the locks.
func (o *Overlay) releaseAll(x *call) {
	for i := range x.refs {
		o.release(&x.refs[i])
	}
}

// abandon ends all claims of a call that holds no locks.
func (o *Overlay) abandon(x *call) {
	for i := range x.refs {
		r := &x.refs[i]
		if r.f == nil {
			continue
		}
		s := &o.shards[r.shard]
		s.mu.Lock()
		o.release(r)
		s.mu.Unlock()
	}
}

// fetch has what the call's last attempt asked for: seeds, members of partial
// values, keys to be read as guests. After an error the call's claims are
// released. No lock may be held.
func (o *Overlay) fetch(ctx context.Context, x *call) (err error) {
	defer func() {
		if err != nil {
			o.abandon(x)
		}
	}()
	if err := o.gather(ctx, x); err != nil {
		return err
	}
	if err := o.ask(ctx, x); err != nil {
		return err
	}
	return o.invite(ctx, x)
}

// gather fetches the seeds that the call owns, in one request, then waits for
// those of others. The only error is that the context has ended.
func (o *Overlay) gather(ctx context.Context, x *call) error {
	var own []*ref
	var keys []Key
	waits := false
	for i := range x.refs {
		r := &x.refs[i]
		waits = waits || r.f != nil
		if r.f != nil && r.fetch {
			r.fetch = false
			own, keys = append(own, r), append(keys, r.e.key())
		}
	}
	if len(own) > 0 {
		seeds, err := o.seed(ctx, keys, DepthLimited)
		ended := err != nil && ctx.Err() != nil
		for i, r := range own {
			r.f.land(seeds, i, err)
			if ended {
				// This caller's context says nothing about the server: who
				// joined asks again.
				s := &o.shards[r.shard]
				s.mu.Lock()
				r.f.stale = true
				s.mu.Unlock()
			}
			close(r.f.done)
		}
	}
	for i := range x.refs {
		if r := &x.refs[i]; r.f != nil {
			select {
			case <-r.f.done:
			case <-ctx.Done():
			}
		}
	}
	if waits && ctx.Err() != nil {
		return contextEnded(ctx)
	}
	return nil
}

func contextEnded(ctx context.Context) error {
	return fmt.Errorf("overlay: the context ended before the key's base was read; "+
		"nothing was changed: %w", context.Cause(ctx))
}

func (f *flight) land(seeds []Seed, i int, err error) {
	if err != nil {
		f.err = err
		return
	}
	f.value, f.base = seeds[i].Value, seeds[i].base()
}

func (s *Seed) base() *base {
	return &base{origin: s.Origin, fence: s.Fence, existed: s.Value.Exists()}
}

// seed asks the source, and contains its faults.
func (o *Overlay) seed(ctx context.Context, keys []Key, depth Depth) (seeds []Seed, err error) {
	defer func() {
		if p := recover(); p != nil {
			seeds, err = nil, fault("the source", p)
		}
	}()
	seeds, err = o.source.Seed(ctx, keys, depth)
	if err == nil && len(seeds) != len(keys) {
		return nil, fmt.Errorf("%w: the source answered %d seeds for %d keys", ErrInternal, len(seeds), len(keys))
	}
	return seeds, err
}

// members asks the source, and contains its faults.
func (o *Overlay) members(ctx context.Context, w *want) (facts []engine.Fact, err error) {
	defer func() {
		if p := recover(); p != nil {
			facts, err = nil, fault("the source", p)
		}
	}()
	facts, err = o.source.Members(ctx, w.key, w.typ, w.members)
	if err == nil && len(facts) != len(w.members) {
		return nil, fmt.Errorf("%w: the source answered %d facts for %d members", ErrInternal, len(facts), len(w.members))
	}
	return facts, err
}

// errLost is the cause where a key's state is unknown for a reason of our own.
var errLost = fmt.Errorf("%w: its value is open until the pending writes are replayed", ErrUnseen)
