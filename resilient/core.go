package resilient

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
)

// core is what the routers of all shards of a client share. Safe for concurrent
// use: what is set before the first command does not change after.
type core struct {
	deferring atomic.Int64 // writes on their way into the journal
	// What an answer is judged by that comes late, see moment: how often a shard lost its
	// primary, and how many writes were accepted into the journal.
	turn, taken atomic.Uint64

	overlay *overlay.Overlay
	journal *journal.Journal
	side    *side

	clock      func() time.Time
	rules      *rulebook
	learned    *learned
	server     atomic.Pointer[engine.Server] // the oldest of the servers
	durability Durability
	client     string                                // the journal's client id
	blocks     bool                                  // a write waits for room in the journal
	replayed   func(context.Context, []uint64) error // waits for the fate of entries
	failed     func()                                // tells the keeper that the journal failed

	// committing, if set, is called under the locks of a write's keys before it is
	// committed. Tests stop it there.
	committing func()

	// laneOf is the lane of a key, and note is told of each entry's, where there are
	// several; else nil.
	laneOf func(key []byte) uint16
	note   func(seq uint64, lane uint16)
	// laneOfRecord is the lane of an entry, and shardName what it keeps of its shard.
	laneOfRecord func(journal.Record) uint16
	shardName    func(lane uint16) string
	// rollback is told that entries from a sequence on never came to be.
	rollback func(from uint64)

	ctx     context.Context // ends with the client
	dial    *redis.Options  // of connections of our own to a server
	errands errands         // of the routers

	partition bool // writes are deferred beside a primary that others write to
	overload  bool // what a primary refuses for want of means is deferred

	db         int
	proto      int
	maxRetries int
	stats      counters
}

// counters are the figures that the routers themselves count.
type counters struct {
	deferred, refused, inDoubt atomic.Uint64
}

// quiet reports that no key has deferred writes.
func (c *core) quiet() bool {
	return c.deferring.Load() == 0 && c.overlay.Empty()
}

// habits tells the overlay whose replies it imitates, and the routers what the
// servers know.
func (c *core) habits(server engine.Server) {
	if old := c.server.Load(); old == nil || *old != server {
		c.server.Store(&server)
		c.overlay.SetServer(server)
	}
}

// servers are the go-redis clients of a shard's servers.
type servers interface {
	// live is the client that commands go to while the server at addr is the
	// primary; nil once closed, or without an address. alone: no other server that
	// answers takes itself for one.
	live(addr string, alone bool) redis.UniversalClient
	// get is the client of the server at addr, under the same terms.
	get(addr string) redis.UniversalClient
	// declined says that a command for the primary at addr came to a server that
	// takes no writes, or to none.
	declined(addr string)
	// lost says that the shard has no primary.
	lost()
}
