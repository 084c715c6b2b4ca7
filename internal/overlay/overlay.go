package overlay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Errors of the overlay. All but ErrInternal say that nothing was changed and
// nothing was journaled; what wraps them holds the reason. None names a key.
var (
	// ErrNotServed: the overlay does not execute this command, or this form.
	ErrNotServed = errors.New("overlay: command not served")
	// ErrNotHeld: none of the command's keys is in the overlay.
	ErrNotHeld = errors.New("overlay: key not held")
	// ErrFull: the write would exceed Options.MaxBytes.
	ErrFull = errors.New("overlay: full")
	// ErrKeyTooBig: the key's value is above the seeding limit.
	ErrKeyTooBig = errors.New("overlay: key too big")
	// ErrBaseUnknown: no server told the key's state, and the command is not
	// answered without it.
	ErrBaseUnknown = errors.New("overlay: base unknown")
	// ErrInternal: a fault of this package or of a callback. If it came from
	// Commit, whether the write was enqueued is unknown.
	ErrInternal = errors.New("overlay: internal fault")
)

func notServed(what string) error {
	return fmt.Errorf("%w: %s cannot be deferred; send it when there is a primary", ErrNotServed, what)
}

// DefaultMaxBytes is the default of Options.MaxBytes.
const DefaultMaxBytes = 64 << 20

// Options configure an Overlay.
type Options struct {
	// Source tells the state of keys. Required.
	Source Source

	// Now is the time by the server's clock: deadlines are the server's.
	// Default time.Now. It is called under locks: it must be quick, and not call
	// back.
	Now func() time.Time

	// MaxBytes bounds the memory of keys, values and undo records, as estimated.
	// A write beyond it is refused with ErrFull. Default DefaultMaxBytes; -1 is
	// no bound.
	MaxBytes int64

	// EstimateCounters lets INCR, INCRBY, DECR, DECRBY and HINCRBY answer from
	// this process's writes alone when the base is unknown. Default off: their
	// replies are used as identities, so they are refused with ErrBaseUnknown.
	EstimateCounters bool
}

// Overlay is the state of the keys with deferred writes. It is safe for
// concurrent use, starts no goroutines and needs no closing.
type Overlay struct {
	source   Source
	now      func() time.Time
	max      int64
	estimate bool

	shards     [shardCount]shard // lock order: by index
	held       atomic.Int64      // keys in all shards
	bytes      atomic.Int64
	durable    atomic.Uint64 // writes up to here are never rolled back
	unresolved atomic.Int64  // keys whose base is unknown
}

// New returns an empty overlay.
func New(o Options) (*Overlay, error) {
	if o.Source == nil {
		return nil, errors.New("overlay: Options.Source is nil: a source of seeds is required")
	}
	if o.MaxBytes < -1 {
		return nil, fmt.Errorf("overlay: Options.MaxBytes is %d: use -1 for no bound, 0 for the default", o.MaxBytes)
	}
	ov := &Overlay{source: o.Source, now: o.Now, max: o.MaxBytes, estimate: o.EstimateCounters}
	if ov.now == nil {
		ov.now = time.Now
	}
	if ov.max == 0 {
		ov.max = DefaultMaxBytes
	}
	for i := range ov.shards {
		ov.shards[i].keys = make(map[Key]*entry)
		ov.shards[i].flights = make(map[Key]*flight)
	}
	return ov, nil
}

// Stats are figures of an Overlay at about one moment.
type Stats struct {
	Keys       int64 // keys held
	Bytes      int64 // estimated memory
	Unresolved int64 // keys held whose base is unknown
}

// Stats returns the overlay's figures without taking a lock.
func (o *Overlay) Stats() Stats {
	return Stats{Keys: o.held.Load(), Bytes: o.bytes.Load(), Unresolved: o.unresolved.Load()}
}

// Empty reports whether no key is held. It costs one atomic load.
func (o *Overlay) Empty() bool { return o.held.Load() == 0 }

// Held returns the sequence of the last deferred write that names the key, and
// whether the key is held at all. On an empty overlay it takes no lock.
func (o *Overlay) Held(db int, name string) (lastSeq uint64, held bool) {
	if o.Empty() {
		return 0, false
	}
	s := &o.shards[shardOf(name)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.keys[Key{DB: db, Name: name}]; e != nil {
		return e.lastSeq, true
	}
	return 0, false
}

// Await returns nil when the key is not held, at once or after its last write
// has been trimmed or rolled back, and the context's error if that ends first.
func (o *Overlay) Await(ctx context.Context, db int, name string) error {
	s := &o.shards[shardOf(name)]
	for {
		s.mu.Lock()
		e := s.keys[Key{DB: db, Name: name}]
		if e == nil {
			s.mu.Unlock()
			return nil
		}
		if e.gone == nil {
			e.gone = make(chan struct{})
		}
		gone := e.gone
		s.mu.Unlock()
		select {
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("overlay: the key's deferred writes did not drain in time: %w", context.Cause(ctx))
		}
	}
}

// Durable says that the journal has made all writes up to seq durable: they are
// never rolled back, and what was kept for that is let go, in part later. With
// a journal in memory, call it once with math.MaxUint64.
func (o *Overlay) Durable(seq uint64) {
	for {
		old := o.durable.Load()
		if seq <= old || o.durable.CompareAndSwap(old, seq) {
			return
		}
	}
}

// Trim says that all writes up to seq are safe in a primary. Keys without a
// later write leave the overlay. It implies Durable. It returns the number of
// keys that left.
func (o *Overlay) Trim(seq uint64) int {
	o.Durable(seq)
	left := 0
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		freed := s.forget(o.durable.Load(), forgetAll)
		for e := s.first; e != nil && e.lastSeq <= seq; e = s.first {
			s.remove(e)
			freed += e.charged
			left++
			o.held.Add(-1)
			if !e.known {
				o.unresolved.Add(-1)
			}
		}
		s.mu.Unlock()
		o.bytes.Add(-freed)
	}
	return left
}

// Rollback takes back every write with sequence from or later, newest first,
// except those that Durable has passed: the journal could not make them durable.
// Call it after the journal has begun to refuse new writes; their callers hear
// that the outcome is in doubt. It returns the number of (key, write) pairs that
// were taken back.
func (o *Overlay) Rollback(from uint64) int {
	// All locks at once, so that no reader sees half of a multi-key write.
	for i := range o.shards {
		o.shards[i].mu.Lock()
		defer o.shards[i].mu.Unlock()
	}
	from = max(from, 1)
	if durable := o.durable.Load(); from <= durable {
		if durable+1 == 0 {
			return 0
		}
		from = durable + 1
	}
	n := 0
	for i := range o.shards {
		n += o.rollbackShard(&o.shards[i], from)
	}
	return n
}

// rollbackShard needs the shard's lock.
func (o *Overlay) rollbackShard(s *shard, from uint64) (n int) {
	touched := make(map[*entry]bool) // the entry, and whether it was known before
	for len(s.undo) > s.head {
		u := &s.undo[len(s.undo)-1]
		if u.seq < from {
			break
		}
		if _, seen := touched[u.entry]; !seen {
			touched[u.entry] = u.entry.known
		}
		o.bytes.Add(-u.cost)
		u.revert()
		*u = undo{}
		s.undo = s.undo[:len(s.undo)-1]
		n++
	}
	if n == 0 {
		return 0
	}
	for e, known := range touched {
		if e.lastSeq == 0 { // the writes taken back were its only ones
			s.remove(e)
			o.bytes.Add(-e.charged)
			o.held.Add(-1)
			o.countUnresolved(known, true)
			continue
		}
		o.countUnresolved(known, e.known)
		o.bytes.Add(e.size() - e.charged)
		e.charged = e.size()
	}
	s.resort()
	return n
}

// countUnresolved follows an entry from one state of knowledge to another.
func (o *Overlay) countUnresolved(before, after bool) {
	switch {
	case before && !after:
		o.unresolved.Add(1)
	case !before && after:
		o.unresolved.Add(-1)
	}
}

// lock locks the shards of the call's keys, in order.
func (o *Overlay) lock(x *call) {
	x.order = x.order[:0]
	for _, k := range x.keys {
		x.order = append(x.order, shardOf(k.Name))
	}
	if len(x.order) > 1 {
		slices.Sort(x.order)
		x.order = slices.Compact(x.order)
	}
	for _, i := range x.order {
		o.shards[i].mu.Lock()
	}
}

func (o *Overlay) unlock(x *call) {
	for _, i := range x.order {
		o.shards[i].mu.Unlock()
	}
}

func (o *Overlay) shard(k Key) *shard { return &o.shards[shardOf(k.Name)] }
