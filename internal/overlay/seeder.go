package overlay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// Defaults of SeederOptions.
const (
	DefaultMaxSeedBytes    = 1 << 20
	DefaultMaxSeedElements = 4096
)

// A transaction reads at most this many keys, so that a seed of many does not
// hold up the server's other clients.
const seedChunk = 64

// A key that changes between the steps of its seed is begun again this often.
const seedAttempts = 3

// SeederOptions configure a Seeder.
type SeederOptions struct {
	// Client reaches the one node that seeds come from. Required. It should have
	// MaxRetries -1 and short timeouts: a failed seed makes writes wait. It
	// belongs to the caller, and its database is the one that is read, whatever
	// Key.DB says.
	Client *redis.Client

	// Fence is the key of our fence in that database; "" means that there is
	// none to read.
	Fence string

	// FenceOf, if set, names the fence of a key, where there are several: it must stand
	// in the key's hash slot. Keys that are seeded together share one.
	FenceOf func(key string) string

	// ParseFence reads the last replayed sequence from the fence's value.
	// Default: a decimal number.
	ParseFence func(string) (uint64, error)

	// MaxBytes and MaxElements bound a seeded value. What is bigger is never
	// read, since that would stall the replica for all its readers: hashes, lists,
	// sets, sorted sets and streams become partial, strings opaque. Defaults DefaultMaxSeedBytes and DefaultMaxSeedElements; they can't be
	// switched off.
	MaxBytes, MaxElements int
}

// Seeder is the Source that reads from one node: strings and missing keys in one
// round trip, other types in two, the first of which finds out whether they are
// small enough, and hashes of servers whose fields can expire in three. Every
// seed is one atomic reading of type, deadline, value, fence and offset. It is
// safe for concurrent use.
type Seeder struct {
	o SeederOptions

	// The server has no PEXPIRETIME (before 7.0). PTTL and TIME are then used,
	// which can be 1 ms off.
	noExpireTime atomic.Bool

	// The server has no HPEXPIRETIME (before Redis 7.4): hash fields have no
	// deadlines there.
	noFieldTime atomic.Bool
}

// NewSeeder returns a Seeder.
func NewSeeder(o SeederOptions) (*Seeder, error) {
	if o.Client == nil {
		return nil, errors.New("overlay: SeederOptions.Client is nil: a client of the node to seed from is required")
	}
	if o.MaxBytes < 0 || o.MaxElements < 0 {
		return nil, errors.New("overlay: SeederOptions: negative limits; use 0 for the defaults")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxSeedBytes
	}
	if o.MaxElements == 0 {
		o.MaxElements = DefaultMaxSeedElements
	}
	if o.ParseFence == nil {
		o.ParseFence = func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
	}
	return &Seeder{o: o}, nil
}

// Seed reads the keys. It implements Source.
func (s *Seeder) Seed(ctx context.Context, keys []Key, depth Depth) ([]Seed, error) {
	seeds := make([]Seed, len(keys))
	for from := 0; from < len(keys); from += seedChunk {
		to := min(from+seedChunk, len(keys))
		if err := s.seedChunk(ctx, keys[from:to], seeds[from:to], depth); err != nil {
			return nil, err
		}
	}
	return seeds, nil
}

// seedChunk looks at all the keys, then reads the containers among them, and then
// the hashes among these once more with their fields' deadlines.
func (s *Seeder) seedChunk(ctx context.Context, keys []Key, seeds []Seed, depth Depth) error {
	c := &chunk{s: s, ctx: ctx, keys: keys, seeds: seeds, depth: depth, found: make([]finding, len(keys))}
	pending := make([]int, len(keys))
	for i := range pending {
		pending[i] = i
	}
	for range seedAttempts {
		containers, err := c.look(pending)
		if err != nil || len(containers) == 0 {
			return err
		}
		hashes, changed, err := c.read(containers)
		if err != nil {
			return err
		}
		if len(hashes) > 0 && !s.noFieldTime.Load() {
			again, err := c.fieldTimes(hashes)
			if err != nil {
				return err
			}
			changed = append(changed, again...)
		}
		if len(changed) == 0 {
			return nil
		}
		pending = changed
	}
	return errors.New("overlay: a key kept changing while it was read; try again")
}

// chunk is the seeding of some keys.
type chunk struct {
	s     *Seeder
	ctx   context.Context
	keys  []Key
	seeds []Seed
	depth Depth
	found []finding // parallel to keys
}

// finding is what the first step finds out about a key.
type finding struct {
	typ   engine.Type
	small bool // it may be read whole
	pairs [][]byte
}

// reading is what is asked of each key in every transaction.
type reading struct {
	typ      *redis.StatusCmd
	deadline *redis.Cmd // PEXPIRETIME, or PTTL
}

// trailer is what is asked once in every transaction.
type trailer struct {
	fence *redis.StringCmd
	info  *redis.StringCmd
	time  *redis.TimeCmd
}

// transaction queues the readings of the keys at the given places, what extra
// adds to each, and the trailer, and runs them as one MULTI.
func (c *chunk) transaction(places []int, extra func(p redis.Pipeliner, at int)) ([]reading, trailer, error) {
	s, ctx, keys := c.s, c.ctx, c.keys
	for {
		old := s.noExpireTime.Load()
		p := s.o.Client.TxPipeline()
		readings := make([]reading, 0, len(places))
		for _, at := range places {
			r := reading{typ: p.Type(ctx, keys[at].Name)}
			if old {
				r.deadline = p.Do(ctx, "pttl", keys[at].Name)
			} else {
				r.deadline = p.Do(ctx, "pexpiretime", keys[at].Name)
			}
			extra(p, at)
			readings = append(readings, r)
		}
		t := trailer{info: p.Info(ctx, "replication"), time: p.Time(ctx)}
		if fence := s.fenceOf(keys[places[0]].Name); fence != "" {
			t.fence = p.Get(ctx, fence)
		}
		_, execErr := p.Exec(ctx)
		if !old && isUnknownCommand(readings[0].deadline.Err()) {
			s.noExpireTime.Store(true)
			continue
		}
		return readings, t, s.failure(readings, t, execErr)
	}
}

// fenceOf is the fence beside a key; "" when there is none to read.
func (s *Seeder) fenceOf(key string) string {
	if s.o.FenceOf != nil {
		return s.o.FenceOf(key)
	}
	return s.o.Fence
}

// isUnknownCommand must come before the error is shown to anybody: its text
// quotes the arguments.
func isUnknownCommand(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "ERR unknown command")
}

// failure is why a transaction as a whole cannot be used. Elements of it may
// fail by design: HLEN of a string does.
func (s *Seeder) failure(readings []reading, t trailer, execErr error) error {
	for _, r := range readings {
		for _, err := range []error{r.typ.Err(), r.deadline.Err()} {
			if isUnknownCommand(err) {
				return errors.New("overlay: the server does not know TYPE or PTTL: seeding is not possible there")
			}
			if err != nil {
				return fmt.Errorf("overlay: the key's state could not be read: %w", err)
			}
		}
	}
	if err := t.info.Err(); err != nil {
		return fmt.Errorf("overlay: INFO replication could not be read beside the key: %w", err)
	}
	if err := t.time.Err(); err != nil {
		return fmt.Errorf("overlay: TIME could not be read beside the key: %w", err)
	}
	if t.fence != nil && t.fence.Err() != nil && !errors.Is(t.fence.Err(), redis.Nil) {
		return fmt.Errorf("overlay: the fence could not be read beside the key: %w", t.fence.Err())
	}
	if len(readings) == 0 && execErr != nil {
		return execErr
	}
	return nil
}

// begin makes the part of a seed that does not depend on the value: an opaque
// object, or none.
func (s *Seeder) begin(r reading, t trailer) (Seed, error) {
	seed := Seed{Origin: origin(s.o.Client.Options().Addr, t.info.Val())}
	if t.fence != nil && t.fence.Err() == nil {
		fence, err := s.o.ParseFence(t.fence.Val())
		if err != nil {
			// The parser's error would quote the value.
			return Seed{}, errors.New("overlay: the fence's value is not one of ours; check who writes that key")
		}
		seed.Fence = fence
	}
	if r.typ.Val() == "none" {
		return seed, nil
	}
	deadline, err := r.deadline.Int64()
	if err != nil {
		return Seed{}, fmt.Errorf("overlay: the key's deadline could not be read: %w", err)
	}
	switch {
	case deadline == -2: // it expired between two commands of the transaction
		return seed, nil
	case deadline >= 0 && r.deadline.Name() == "pttl":
		deadline += t.time.Val().UnixMilli()
	}
	seed.Value = engine.NewOpaque(r.typ.Val())
	seed.Value.SetExpireAt(deadline)
	return seed, nil
}

// origin reads the replication id and offset from INFO replication.
func origin(addr, info string) Origin {
	o := Origin{Addr: addr}
	var replicaOffset, masterOffset string
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch name {
		case "master_replid":
			o.ReplID = value
		case "slave_repl_offset":
			replicaOffset = value
		case "master_repl_offset":
			masterOffset = value
		}
	}
	if replicaOffset == "" {
		replicaOffset = masterOffset
	}
	o.Offset, _ = strconv.ParseInt(replicaOffset, 10, 64)
	return o
}
