package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Primary returns the running server of shard i that says it is a primary with
// slots. Of two it is the one whose claim is newer.
func (c *Cluster) Primary(ctx context.Context, i int) (*Node, bool) {
	return newest(ctx, c.Shard(i), func(m clusterMember) bool { return m.is("master") && len(m.slots) > 0 })
}

// Owner returns the running server that says it owns the slot. Of two it is the
// one whose claim is newer.
func (c *Cluster) Owner(ctx context.Context, slot int) (*Node, bool) {
	return newest(ctx, c.group.nodes, func(m clusterMember) bool { return m.is("master") && m.owns(slot) })
}

func newest(ctx context.Context, nodes []*Node, claims func(self clusterMember) bool) (*Node, bool) {
	var owner *Node
	var epoch int64
	for _, n := range nodes {
		if !n.Running() {
			continue
		}
		view, err := n.clusterView(ctx)
		if err != nil {
			continue
		}
		if self, ok := view.myself(); ok && claims(self) && (owner == nil || self.epoch > epoch) {
			owner, epoch = n, self.epoch
		}
	}
	return owner, owner != nil
}

// AutoFailover allows replicas to replace their primary by themselves, as they
// may from the start, or forbids it: a shard whose primary is lost then stays
// without one until Failover. It holds for the servers that run now, until they
// are restarted.
func (c *Cluster) AutoFailover(ctx context.Context, allow bool) error {
	for _, n := range c.group.running() {
		if _, err := n.Do(ctx, "CONFIG", "SET", "cluster-replica-no-failover", yesNo(!allow)); err != nil {
			return fmt.Errorf("redistest: can't change when %v makes a failover: %w", n, err)
		}
	}
	return nil
}

// FailoverMode says how a replica takes its primary's place.
type FailoverMode string

// The ways of CLUSTER FAILOVER.
const (
	// FailoverPlanned hands over without loss; the primary must answer.
	FailoverPlanned FailoverMode = ""
	// FailoverForce needs no primary, but the consent of most other primaries.
	FailoverForce FailoverMode = "FORCE"
	// FailoverTakeover needs nobody.
	FailoverTakeover FailoverMode = "TAKEOVER"
)

// Failover makes the replica n the primary of its shard, and returns when it says
// that it is.
func (c *Cluster) Failover(ctx context.Context, n *Node, mode FailoverMode) error {
	args := []any{"CLUSTER", "FAILOVER"}
	if mode != FailoverPlanned {
		args = append(args, string(mode))
	}
	// The order is followed later, or given up without a word: it is repeated.
	const again = 200 // looks, about a second
	looks := 0
	return poll(ctx, fmt.Sprintf("%v to take its primary's place", n), func() error {
		view, err := n.clusterView(ctx)
		if err != nil {
			return err
		}
		self, ok := view.myself()
		if ok && self.is("master") && len(self.slots) > 0 {
			return nil
		}
		if looks%again == 0 {
			if _, err := n.Do(ctx, args...); err != nil {
				return fmt.Errorf("it refuses: %w", err)
			}
		}
		looks++
		return errors.New("it is still a replica")
	})
}

// KillShard ends all servers of shard i.
func (c *Cluster) KillShard(i int) error { return c.eachOf(i, (*Node).Kill) }

// PauseShard stops all servers of shard i by SIGSTOP.
func (c *Cluster) PauseShard(i int) error { return c.eachOf(i, (*Node).Pause) }

// ResumeShard ends PauseShard.
func (c *Cluster) ResumeShard(i int) error { return c.eachOf(i, (*Node).Resume) }

func (c *Cluster) eachOf(i int, verb func(*Node) error) error {
	var errs []error
	for _, n := range c.Shard(i) {
		errs = append(errs, verb(n))
	}
	return errors.Join(errs...)
}

// BeginMove opens the move of a slot: its owner answers ASK for keys that it no
// longer has, and to takes those whose client asks it to. It changes no owner.
func (c *Cluster) BeginMove(ctx context.Context, slot int, to *Node) error {
	from, ok := c.Owner(ctx, slot)
	if !ok {
		return fmt.Errorf("redistest: slot %d has no owner that could give it away", slot)
	}
	fromID, err := from.clusterID(ctx)
	if err != nil {
		return err
	}
	toID, err := to.clusterID(ctx)
	if err != nil {
		return err
	}
	if _, err = to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID); err == nil {
		_, err = from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	}
	if err != nil {
		return fmt.Errorf("redistest: can't open the move of slot %d: %w", slot, err)
	}
	return nil
}

// MoveKeys takes up to limit keys of a slot, whose move is open, to their new
// server, and returns how many it moved.
func (c *Cluster) MoveKeys(ctx context.Context, slot, limit int, to *Node) (int, error) {
	from, ok := c.Owner(ctx, slot)
	if !ok {
		return 0, fmt.Errorf("redistest: slot %d has no owner that could give it away", slot)
	}
	keys, err := from.client.ClusterGetKeysInSlot(ctx, slot, limit).Result()
	if err != nil {
		return 0, fmt.Errorf("redistest: can't list the keys of slot %d: %w", slot, err)
	}
	if len(keys) == 0 {
		return 0, nil
	}
	args := []any{"MIGRATE", loopback, strconv.Itoa(to.port), "", 0, migrateTimeout}
	switch o := from.opts; {
	case o.User != "":
		args = append(args, "AUTH2", o.User, o.Password)
	case o.Password != "":
		args = append(args, "AUTH", o.Password)
	}
	args = append(args, "KEYS")
	for _, key := range keys {
		args = append(args, key)
	}
	if _, err := from.Do(ctx, args...); err != nil {
		return 0, fmt.Errorf("redistest: can't move keys of slot %d: %w", slot, err)
	}
	return len(keys), nil
}

// migrateTimeout bounds a pause in one MIGRATE, in milliseconds.
const migrateTimeout = 5000

// FinishMove gives a slot, whose keys have moved, to its new server, and tells
// all running primaries: the new one first, since a slot without an owner could
// be lost.
func (c *Cluster) FinishMove(ctx context.Context, slot int, to *Node) error {
	id, err := to.clusterID(ctx)
	if err != nil {
		return err
	}
	nodes := []*Node{to}
	for _, n := range c.group.running() {
		view, err := n.clusterView(ctx)
		if err != nil {
			return err
		}
		if self, ok := view.myself(); n != to && ok && self.is("master") {
			nodes = append(nodes, n)
		}
	}
	for _, n := range nodes {
		if _, err := n.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id); err != nil {
			return fmt.Errorf("redistest: %v can't be told who owns slot %d: %w", n, slot, err)
		}
	}
	return nil
}

// CancelMove calls the move of a slot off: its owner keeps it. Keys that were
// moved are out of reach until the slot is moved after all.
func (c *Cluster) CancelMove(ctx context.Context, slot int, to *Node) error {
	from, ok := c.Owner(ctx, slot)
	if !ok {
		return fmt.Errorf("redistest: slot %d has no owner that could keep it", slot)
	}
	for _, n := range []*Node{from, to} {
		if _, err := n.Do(ctx, "CLUSTER", "SETSLOT", slot, "STABLE"); err != nil {
			return fmt.Errorf("redistest: %v can't call off the move of slot %d: %w", n, slot, err)
		}
	}
	return nil
}

// MoveSlots moves the slots from first to last, with their keys, to a primary.
// It returns when the owners are changed; WaitComplete waits until all servers
// agree on them.
func (c *Cluster) MoveSlots(ctx context.Context, first, last int, to *Node) error {
	for slot := first; slot <= last; slot++ {
		if owner, _ := c.Owner(ctx, slot); owner == to {
			continue
		}
		if err := c.BeginMove(ctx, slot, to); err != nil {
			return err
		}
		for {
			const batch = 100
			moved, err := c.MoveKeys(ctx, slot, batch, to)
			if err != nil {
				return err
			}
			if moved == 0 {
				break
			}
		}
		if err := c.FinishMove(ctx, slot, to); err != nil {
			return err
		}
	}
	return nil
}

// TakeSlots gives the slots from first to last, without their keys, to a primary, as an
// operator does whose owner of them is lost for good. All running servers are told, and
// the new owner's word counts for more than the old one's. A primary that has heard so
// before it is told, and has lost its last slot by it, is a replica by then, and knows.
func (c *Cluster) TakeSlots(ctx context.Context, first, last int, to *Node) error {
	id, err := to.clusterID(ctx)
	if err != nil {
		return err
	}
	if _, err := to.Do(ctx, "CLUSTER", "BUMPEPOCH"); err != nil {
		return fmt.Errorf("redistest: %v can't raise its epoch: %w", to, err)
	}
	for _, n := range c.group.running() {
		pipe := n.Client().Pipeline()
		for slot := first; slot <= last; slot++ {
			pipe.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id)
		}
		if _, err := pipe.Exec(ctx); err != nil && !strings.Contains(err.Error(), "only with masters") {
			return fmt.Errorf("redistest: %v can't be told who owns the slots from %d to %d: %w", n, first, last, err)
		}
	}
	return nil
}

// Slot is the slot of a key.
func (c *Cluster) Slot(ctx context.Context, key string) (int, error) {
	for _, n := range c.group.running() {
		slot, err := n.client.ClusterKeySlot(ctx, key).Result()
		if err == nil {
			return int(slot), nil
		}
	}
	return 0, errors.New("redistest: no server of the Cluster runs that could tell a key's slot")
}
