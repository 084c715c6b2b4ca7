package overlay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

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

	// EstimateCounters lets commands whose reply is used as an identity (see
	// Command.Counter) answer from this process's writes alone when the base is
	// unknown. Default off: they are refused with ErrBaseUnknown.
	EstimateCounters bool

	// Bases lets every write tell what those of its keys held that had no deferred
	// write yet: Effect.Bases. Writes that need no value to be executed ask for one as
	// well then, and go on without it when nobody tells. Default off.
	Bases bool

	// Lane divides the keys for TrimLanes, say by hash slot. It must always say the
	// same of a key, and of all keys that are named in one request. It is called under
	// locks: it must be quick, and not call back. Default: one lane, 0.
	Lane func(name string) uint16
}

// Overlay is the state of the keys with deferred writes. It is safe for
// concurrent use, starts no goroutines and needs no closing.
type Overlay struct {
	source   Source
	now      func() time.Time
	max      int64
	estimate bool
	bases    bool
	lane     func(name string) uint16      // nil: one lane
	server   atomic.Pointer[engine.Server] // whose habits replies follow

	shards     [shardCount]shard // lock order: by index
	held       atomic.Int64      // keys in all shards
	bytes      atomic.Int64
	durable    atomic.Uint64 // writes up to here are never rolled back
	unresolved atomic.Int64  // keys whose base is unknown
	order      atomic.Uint64 // of the last pending write of an unresolved key
}

// New returns an empty overlay.
func New(o Options) (*Overlay, error) {
	if o.Source == nil {
		return nil, errors.New("overlay: Options.Source is nil: a source of seeds is required")
	}
	if o.MaxBytes < -1 {
		return nil, fmt.Errorf("overlay: Options.MaxBytes is %d: use -1 for no bound, 0 for the default", o.MaxBytes)
	}
	ov := &Overlay{source: o.Source, now: o.Now, max: o.MaxBytes, estimate: o.EstimateCounters, bases: o.Bases, lane: o.Lane}
	if ov.now == nil {
		ov.now = time.Now
	}
	if ov.max == 0 {
		ov.max = DefaultMaxBytes
	}
	ov.SetServer(engine.Server{})
	for i := range ov.shards {
		ov.shards[i].flights = make(map[Key]*flight)
		if ov.lane != nil {
			ov.shards[i].runs = make(map[uint16]run)
		}
	}
	return ov, nil
}

// SetServer says whose habits replies follow from now on. Until it is called
// they are those of Redis 7.0.
func (o *Overlay) SetServer(s engine.Server) { o.server.Store(&s) }

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
	if e := s.find(db, name); e != nil {
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
		e := s.find(db, name)
		if e == nil {
			s.mu.Unlock()
			return nil
		}
		gone := s.wait(e)
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
	if o.lane != nil {
		return o.TrimLanes(seq, func(uint16) bool { return true })
	}
	o.Durable(seq)
	left := 0
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		freed := s.forget(o.durable.Load(), forgetAll)
		for e := s.first; e != nil && e.lastSeq <= seq; e = s.first {
			freed += o.dismiss(s, e)
			left++
		}
		s.mu.Unlock()
		o.bytes.Add(-freed)
	}
	return left
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

func (o *Overlay) shard(name string) *shard { return &o.shards[shardOf(name)] }
