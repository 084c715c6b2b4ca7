package overlay

import "context"

// Key names a key: Redis's databases are separate name spaces.
type Key struct {
	DB   int
	Name string
}

// Kind is the kind of a key's value as the overlay sees it.
type Kind uint8

// The kinds of a value.
const (
	KindNone   Kind = iota // no such key, also a deleted or expired one
	KindString             // a string whose bytes are known
	KindHash               // a hash whose fields are known
	KindOpaque             // a key whose type and deadline are known, but not its value
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case KindNone:
		return "none"
	case KindString:
		return "string"
	case KindHash:
		return "hash"
	case KindOpaque:
		return "opaque"
	}
	return "invalid"
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
	Kind     Kind
	Type     string   // of an opaque key: the word that TYPE answers
	Str      []byte   // of a string
	Fields   [][]byte // of a hash: field and value alternate, in the server's order
	ExpireAt int64    // deadline in Unix milliseconds of the server's clock; 0 is none

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
	DepthMeta          // type and deadline; every existing key may come as KindOpaque
	DepthLimited       // the value too, unless it is too big: then KindOpaque
	DepthWhole         // strings whole whatever their size, for a read; others may be KindOpaque
)

// Source reads the state of keys from a server: while a shard has no primary,
// from the promotion candidate. The seeds are in the order of the keys. An error
// means that nothing is known of any of them. It must be safe for concurrent
// use, end with its context, and is called without a lock held. What it returns
// belongs to the overlay.
type Source interface {
	Seed(ctx context.Context, keys []Key, depth Depth) ([]Seed, error)
}
