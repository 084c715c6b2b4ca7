package overlay

import (
	"context"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// Key names a key: Redis's databases are separate name spaces.
type Key struct {
	DB   int
	Name string
}

// Origin says where a seed came from.
type Origin struct {
	Addr   string // the node
	ReplID string // its replication id
	Offset int64  // its replication offset when it was read
}

// Seed is the state of one key as a server tells it. The zero value is a key
// that does not exist.
type Seed struct {
	// Value is what the key holds, with its deadline: whole, partial or opaque
	// as the Depth and the source's limits have it. It becomes the overlay's.
	Value engine.Object

	// Fence is the last sequence of our journal that this state contains, read
	// in the same transaction; 0 when the server has no fence of ours. Pending
	// writes up to it are not applied on top again.
	Fence  uint64
	Origin Origin
}

// Depth says how much of a key a seed should bring.
type Depth uint8

// The depths of a seed.
const (
	DepthInvalid Depth = iota
	DepthMeta          // type and deadline; every existing key may come opaque
	DepthLimited       // the value too, unless it is too big: then partial, or opaque
	DepthWhole         // as DepthLimited, but strings whole whatever their size: for a read
)

// Source reads the state of keys from a server: while a shard has no primary,
// from the promotion candidate. It must be safe for concurrent use, end with its
// context, and is called without a lock held. What it returns belongs to the
// overlay.
type Source interface {
	// Seed reads keys. The seeds are in the order of the keys. An error means
	// that nothing is known of any of them.
	Seed(ctx context.Context, keys []Key, depth Depth) ([]Seed, error)

	// Members reads members of a key that was seeded partial with this type: one
	// Fact for each, in order. That the key is gone, or of another type now, is
	// an error.
	Members(ctx context.Context, key Key, typ engine.Type, members [][]byte) ([]engine.Fact, error)
}
