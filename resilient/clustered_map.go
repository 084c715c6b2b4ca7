package resilient

import (
	"context"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/slot"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// slotMap compares the Cluster client's map of slots with what the topology knows of a
// shard's primary. go-redis reads the map from any one server, so that after a return it
// can name the former primary: because it has not been read since, or because it was read
// from a server that came back with what it knew before.
//
// While the two disagree in a new epoch of the topology, which has just verified its
// primary, the shard's commands go to that primary's own client, and the map is read
// again and again. Once they have agreed for a while in an epoch, commands go by the map,
// and it is the newer one should they part again.
//
// It is one goroutine for each shard, which ends with the shard.
type slotMap struct {
	c      *clustered
	s      *shard
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

const (
	// mapLook is the time between two looks at a map.
	mapLook = 50 * time.Millisecond
	// mapSteady is how many looks in a row must find it right: a server that has just
	// come back learns within a second who replaced it.
	mapSteady = 20
)

func newSlotMap(c *clustered, s *shard) *slotMap {
	m := &slotMap{c: c, s: s, done: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(c.ctx)
	return m
}

// close ends the goroutine.
func (m *slotMap) close() {
	m.cancel()
	<-m.done
}

// run looks whenever there is something to look at.
func (m *slotMap) run() {
	defer close(m.done)
	right, first, wait := 0, true, mapLook
	epoch := uint64(0)
	for m.ctx.Err() == nil {
		changed := m.s.monitor.Changed()
		v := m.s.monitor.View()
		if v.Epoch != epoch {
			right, epoch, wait = 0, v.Epoch, mapLook
		}
		if !v.Live || m.s.mapped.Load() == v.Epoch {
			select {
			case <-changed:
			case <-m.ctx.Done():
			}
			continue
		}
		if m.c.parted(v) {
			right, first, wait = 0, false, min(2*wait, time.Second)
			m.c.cluster.declined()
		} else if right++; right >= mapSteady || first {
			m.s.mapped.Store(v.Epoch)
			first = false
			continue
		} else {
			wait = mapLook
		}
		pause(m.ctx, wait)
	}
}

// parted reports whether the map of slots names another of a shard's servers in place of
// the primary in its view, or none. Servers that are not the shard's are none of its business: a
// slot may have just moved.
func (c *clustered) parted(v *topology.View) bool {
	if v.Shard == nil || v.Primary.Addr == "" {
		return false
	}
	for _, r := range v.Shard.Slots {
		node, err := c.cluster.MasterForKey(c.ctx, slotKey(r.First))
		if err != nil {
			return true
		}
		at := withHost(node.Options().Addr)
		for i := range v.Nodes {
			if at != v.Primary.Addr && v.Nodes[i].Addr == at {
				return true
			}
		}
	}
	return false
}

// withHost names this host in an address where go-redis leaves it out: it does so where
// ClusterOptions.ClusterSlots names it.
func withHost(addr string) string {
	if strings.HasPrefix(addr, ":") {
		return "127.0.0.1" + addr
	}
	return addr
}

// slotKey is a key in a slot.
func slotKey(at int) string { return "{" + slot.Tag(uint16(at)) + "}" }

// misled reports whether commands for the shard's primary at addr have to go around the
// map: it has not agreed yet.
func (c *clustered) misled(s *shard, addr string) bool {
	v := s.monitor.View()
	return v.Live && v.Primary.Addr == addr && s.mapped.Load() != v.Epoch && c.parted(v)
}

// unmap is asked where a server of the map declined a write for the primary at addr. It
// reports whether the map is to blame: it names another server, and a fresh look at all of
// them says that the primary is what it was.
func (c *clustered) unmap(ctx context.Context, s *shard, addr string) bool {
	before := s.monitor.View()
	if !before.Live || before.Primary.Addr != addr || !c.parted(before) || s.monitor.WaitRound(ctx) != nil {
		return false
	}
	v := s.monitor.View()
	if v.Epoch != before.Epoch || !c.parted(v) {
		return false
	}
	s.mapped.CompareAndSwap(v.Epoch, 0) // the next commands go around it at once
	return true
}
