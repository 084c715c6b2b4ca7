package resilient

import (
	"context"
	"time"
)

// SetAdoptEvery sets the time between two looks for the journals of dead processes,
// which tests can't wait for.
func SetAdoptEvery(o *Options, d time.Duration) { o.adoptEvery = d }

// Looks is how often a client has looked for the journals of dead processes.
func Looks(c *Client) uint64 { return c.backend.(*lifecycle).adopter.looks.Load() }

// Calm reports whether commands over a Cluster go straight to the Cluster client: every
// shard is live, nothing is deferred, and the map of slots is trusted.
func Calm(c *Client) bool { return c.backend.(*clustered).calm() }

// ReloadMap lets the Cluster client read its map of slots.
func ReloadMap(c *Client) { c.backend.(*clustered).cluster.ReloadState(context.Background()) }

// Leftover is how many shards a client has something of, beside those it watches.
func Leftover(c *Client) int {
	b := c.backend.(*clustered)
	return len(b.shards()) - 1 - len(b.watched())
}

// SetCommitting sets what is called under the locks of a write's keys before it is
// committed. No command may be under way.
func SetCommitting(c *Client, fn func()) { c.backend.(*clustered).core.committing = fn }

// OwnerOf names the shard that a key belongs to now.
func OwnerOf(c *Client, key string) string {
	b := c.backend.(*clustered)
	return b.shardOf(b.laneOf([]byte(key))).name
}
