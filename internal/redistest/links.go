package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// CutLinks breaks the links of all running replicas and keeps them down, until
// MendLinks: the replicas' password for their primaries becomes a wrong one, as
// after a change that somebody forgot half of. It returns when all links are
// down.
func (g *Group) CutLinks(ctx context.Context) error {
	for _, n := range g.running() {
		if err := n.client.ConfigSet(ctx, "masterauth", "not the password").Err(); err != nil {
			return fmt.Errorf("redistest: can't change how %v logs in: %w", n, err)
		}
	}
	return poll(ctx, "all links to go down", func() error {
		var up error
		for _, n := range g.running() {
			s, err := n.status(ctx)
			if err != nil {
				return err
			}
			if s.role != roleReplica || !s.linkUp {
				continue
			}
			up = fmt.Errorf("the link of %v is up", n)
			// Both ends: of servers in a cycle, each is at one.
			for _, kind := range []string{"master", "replica"} {
				if err := n.client.ClientKillByFilter(ctx, "TYPE", kind).Err(); err != nil {
					return err
				}
			}
		}
		return up
	})
}

// MendLinks ends CutLinks. Links to a primary come up within a second or two;
// those of a cycle stay down, since a replica whose own link is down serves no
// other.
func (g *Group) MendLinks(ctx context.Context) error {
	for _, n := range g.running() {
		if err := n.client.ConfigSet(ctx, "masterauth", n.opts.Password).Err(); err != nil {
			return fmt.Errorf("redistest: can't change how %v logs in: %w", n, err)
		}
	}
	return nil
}

// ColdCycle is Cycle with all links down, for ever: each server refuses to serve
// the next one, since it has no link itself.
func (g *Group) ColdCycle(ctx context.Context) error {
	if err := g.Cycle(ctx); err != nil {
		return err
	}
	if err := g.CutLinks(ctx); err != nil {
		return err
	}
	return g.MendLinks(ctx)
}

// waitLinksDown waits until the links of all running replicas have been down for
// longer than d.
func (g *Group) waitLinksDown(ctx context.Context, d time.Duration) error {
	return pollSlowly(ctx, fmt.Sprintf("all links to be down for %v", d), func() error {
		for _, n := range g.running() {
			info, err := n.info(ctx)
			if err != nil {
				return err
			}
			if info["role"] != roleReplica {
				continue
			}
			down, err := strconv.Atoi(info["master_link_down_since_seconds"])
			if err != nil {
				return errors.New("a link is up")
			}
			if time.Duration(down)*time.Second <= d {
				return fmt.Errorf("the link of %v is down for %d s", n, down)
			}
		}
		return nil
	})
}
