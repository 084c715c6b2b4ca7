package overlay

import (
	"context"
	"fmt"
)

// flight is one seed on its way, shared by all calls that wait for the key. It
// stays in its shard until the last of them has used it under the shard's lock,
// so that nothing which leaves the overlay meanwhile goes unnoticed.
type flight struct {
	done chan struct{} // closed by the owner when seed and err are set
	seed Seed
	err  error

	refs  int  // calls that use it; guarded by the shard's lock
	stale bool // the seed must not be used; guarded by the shard's lock
	used  bool // the seed's bytes are some entry's already; guarded likewise
}

// ticket is a call's claim on the flight of one of its keys.
type ticket struct {
	key   Key
	f     *flight
	owner bool // this call fetches it
}

// claim joins the flight of a key, or starts one. It needs the shard's lock.
func (o *Overlay) claim(k Key) ticket {
	s := o.shard(k)
	f := s.flights[k]
	owner := f == nil || f.stale || f.used || f.failed()
	if owner {
		f = &flight{done: make(chan struct{})}
		s.flights[k] = f
	}
	f.refs++
	return ticket{key: k, f: f, owner: owner}
}

// failed reports whether the flight has ended with an error: what comes later
// asks again, instead of passing one old error on for as long as calls overlap.
func (f *flight) failed() bool {
	select {
	case <-f.done:
		return f.err != nil
	default:
		return false
	}
}

// release ends a claim. It needs the shard's lock.
func (o *Overlay) release(t ticket) {
	t.f.refs--
	if s := o.shard(t.key); t.f.refs == 0 && s.flights[t.key] == t.f {
		delete(s.flights, t.key)
	}
}

// abandon ends claims whose seeds will not be used. It takes the locks itself.
func (o *Overlay) abandon(tickets []ticket) {
	for _, t := range tickets {
		s := o.shard(t.key)
		s.mu.Lock()
		o.release(t)
		s.mu.Unlock()
	}
}

// gather fetches the seeds that the call owns, in one request, then waits for
// those of others. The only error is that the context has ended; the tickets
// are then released. No lock may be held.
func (o *Overlay) gather(ctx context.Context, tickets []ticket) error {
	var own []ticket
	var keys []Key
	for _, t := range tickets {
		if t.owner {
			own, keys = append(own, t), append(keys, t.key)
		}
	}
	if len(own) > 0 {
		seeds, err := o.seed(ctx, keys, DepthLimited)
		ended := err != nil && ctx.Err() != nil
		for i, t := range own {
			if err != nil {
				t.f.err = err
			} else {
				t.f.seed = seeds[i]
			}
			if ended {
				// This caller's context says nothing about the server: who
				// joined asks again.
				s := o.shard(t.key)
				s.mu.Lock()
				t.f.stale = true
				s.mu.Unlock()
			}
			close(t.f.done)
		}
	}
	for _, t := range tickets {
		select {
		case <-t.f.done:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		o.abandon(tickets)
		return fmt.Errorf("overlay: the context ended before the key's base was read; "+
			"nothing was changed: %w", context.Cause(ctx))
	}
	return nil
}

// seed asks the source, and contains its faults.
func (o *Overlay) seed(ctx context.Context, keys []Key, depth Depth) (seeds []Seed, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may quote data; its type says enough.
			seeds, err = nil, fmt.Errorf("%w: the source panicked (%T)", ErrInternal, p)
		}
	}()
	seeds, err = o.source.Seed(ctx, keys, depth)
	if err == nil && len(seeds) != len(keys) {
		return nil, fmt.Errorf("%w: the source answered %d seeds for %d keys", ErrInternal, len(seeds), len(keys))
	}
	return seeds, err
}
