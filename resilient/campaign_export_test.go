package resilient

import (
	"fmt"
	"strings"
)

// Awaited lists the replicas that must confirm what is replayed now.
func Awaited(c *Client) []string {
	switch b := c.backend.(type) {
	case *lifecycle:
		return b.replicas.promotable(b.monitor.View())
	case *clustered:
		var addrs []string
		for _, s := range b.shards() {
			addrs = append(addrs, b.replicas.promotable(s.monitor.View())...)
		}
		return addrs
	}
	return nil
}

// SeededFrom tells where each shard reads base values.
func SeededFrom(c *Client) string {
	var text []string
	add := func(s *shard) {
		v := s.monitor.View()
		text = append(text, fmt.Sprintf("%v live=%v primary=%s seeds=%s certain=%v", v.State, v.Live, v.Primary.Addr, v.SeedFrom, v.Certain))
	}
	switch b := c.backend.(type) {
	case *lifecycle:
		add(&b.shard)
	case *clustered:
		for _, s := range b.shards() {
			add(s)
		}
	}
	return strings.Join(text, ", ")
}

// DeferredBy is how many writes with the receipt were deferred.
func DeferredBy(r *Receipt) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parts {
		n += len(p.seqs)
	}
	return n
}
