package overlay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Defaults of SeederOptions.
const (
	DefaultMaxSeedBytes    = 1 << 20
	DefaultMaxSeedElements = 4096
)

// A transaction reads at most this many keys, so that a seed of many does not
// hold up the server's other clients.
const seedChunk = 64

// A hash that changes its type between the two steps of its seed is begun again
// this often.
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

	// ParseFence reads the last replayed sequence from the fence's value.
	// Default: a decimal number.
	ParseFence func(string) (uint64, error)

	// MaxBytes and MaxElements bound a seeded value; what is bigger becomes
	// KindOpaque. Reading a big key stalls the replica for all its readers.
	// Defaults DefaultMaxSeedBytes and DefaultMaxSeedElements; they can't be
	// switched off.
	MaxBytes, MaxElements int
}

// Seeder is the Source that reads from one node: strings and missing keys in one
// round trip, hashes in two, the first of which finds out that they are small
// enough. Every seed is one atomic reading of type, deadline, value, fence and
// offset. It is safe for concurrent use.
type Seeder struct {
	o SeederOptions

	// The server has no PEXPIRETIME (before 7.0). PTTL and TIME are then used,
	// which can be 1 ms off.
	noExpireTime atomic.Bool
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

// seedChunk looks at all the keys, then reads the hashes among them.
func (s *Seeder) seedChunk(ctx context.Context, keys []Key, seeds []Seed, depth Depth) error {
	pending := make([]int, len(keys))
	for i := range pending {
		pending[i] = i
	}
	for range seedAttempts {
		hashes, err := s.look(ctx, keys, pending, seeds, depth)
		if err != nil || len(hashes) == 0 {
			return err
		}
		if pending, err = s.readHashes(ctx, keys, hashes, seeds); err != nil || len(pending) == 0 {
			return err
		}
	}
	return errors.New("overlay: a key kept changing its type while it was read; try again")
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
func (s *Seeder) transaction(
	ctx context.Context, keys []Key, places []int, extra func(p redis.Pipeliner, at int),
) ([]reading, trailer, error) {
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
		if s.o.Fence != "" {
			t.fence = p.Get(ctx, s.o.Fence)
		}
		_, execErr := p.Exec(ctx)
		if !old && isUnknownCommand(readings[0].deadline.Err()) {
			s.noExpireTime.Store(true)
			continue
		}
		return readings, t, s.failure(readings, t, execErr)
	}
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

// look fills the seeds at the given places, all but those of hashes that are to
// be read, whose places it returns.
func (s *Seeder) look(
	ctx context.Context, keys []Key, places []int, seeds []Seed, depth Depth,
) (hashes []int, err error) {
	values := make(map[int]*redis.StringCmd, len(places))
	lengths := make(map[int]*redis.IntCmd, len(places))
	memory := make(map[int]*redis.IntCmd, len(places))
	extra := func(p redis.Pipeliner, at int) {
		name := keys[at].Name
		switch depth {
		case DepthWhole:
			values[at] = p.Get(ctx, name)
		case DepthLimited:
			// One byte more than the limit tells that there is more.
			values[at] = p.GetRange(ctx, name, 0, int64(s.o.MaxBytes))
			lengths[at] = p.HLen(ctx, name)
			memory[at] = p.MemoryUsage(ctx, name)
		case DepthInvalid, DepthMeta:
		}
	}
	readings, t, err := s.transaction(ctx, keys, places, extra)
	if err != nil {
		return nil, err
	}
	for i, at := range places {
		seed, err := s.begin(readings[i], t)
		if err != nil {
			return nil, err
		}
		seeds[at] = seed
		switch {
		case seed.Kind == KindNone || depth == DepthMeta:
		case seed.Type == "string":
			b, err := values[at].Bytes()
			if err != nil {
				return nil, fmt.Errorf("overlay: the key's value could not be read: %w", err)
			}
			if depth == DepthWhole || len(b) <= s.o.MaxBytes {
				seeds[at].Kind, seeds[at].Str = KindString, b
			}
		case seed.Type == "hash" && depth == DepthLimited:
			fields, bytes := lengths[at], memory[at]
			if err := errors.Join(fields.Err(), bytes.Err()); err != nil {
				return nil, fmt.Errorf("overlay: the hash's size could not be read: %w", err)
			}
			if fields.Val() <= int64(s.o.MaxElements) && bytes.Val() <= int64(s.o.MaxBytes) {
				hashes = append(hashes, at)
			}
		}
	}
	return hashes, nil
}

// readHashes fills the seeds of hashes. It returns the places of those that are
// hashes no longer.
func (s *Seeder) readHashes(ctx context.Context, keys []Key, places []int, seeds []Seed) (changed []int, err error) {
	values := make(map[int]*redis.KeyValueSliceCmd, len(places))
	extra := func(p redis.Pipeliner, at int) {
		// With a count above its length HRANDFIELD answers the whole hash, in
		// the order of HGETALL, and never more than the count.
		values[at] = p.HRandFieldWithValues(ctx, keys[at].Name, s.o.MaxElements+1)
	}
	readings, t, err := s.transaction(ctx, keys, places, extra)
	if err != nil {
		return nil, err
	}
	for i, at := range places {
		seed, err := s.begin(readings[i], t)
		if err != nil {
			return nil, err
		}
		if seed.Type != "hash" {
			changed = append(changed, at)
			continue
		}
		pairs, err := values[at].Result()
		if err != nil {
			return nil, fmt.Errorf("overlay: the hash could not be read: %w", err)
		}
		if len(pairs) <= s.o.MaxElements {
			seed.Kind = KindHash
			seed.Fields = make([][]byte, 0, 2*len(pairs))
			for _, p := range pairs {
				seed.Fields = append(seed.Fields, []byte(p.Key), []byte(p.Value))
			}
		}
		seeds[at] = seed
	}
	return changed, nil
}

// begin makes the part of a seed that does not depend on the value: an opaque
// key, or none.
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
	seed.Kind, seed.Type = KindOpaque, r.typ.Val()
	seed.ExpireAt = max(deadline, 0)
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
