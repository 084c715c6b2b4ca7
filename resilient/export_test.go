package resilient

import "time"

// SetAdoptEvery sets the time between two looks for the journals of dead processes,
// which tests can't wait for.
func SetAdoptEvery(o *Options, d time.Duration) { o.adoptEvery = d }

// Looks is how often a client has looked for the journals of dead processes.
func Looks(c *Client) uint64 { return c.backend.(*lifecycle).adopter.looks.Load() }
