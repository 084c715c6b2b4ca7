package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Primary returns the running server whose role is master, if there is one. Of
// several it is the one that most other nodes replicate from, then the one with
// the lowest number.
func (g *Group) Primary(ctx context.Context) (*Node, bool) {
	masters, followers := g.roles(ctx)
	var primary *Node
	for _, n := range masters {
		if primary == nil || followers[n.Addr()] > followers[primary.Addr()] {
			primary = n
		}
	}
	return primary, primary != nil
}

// roles returns the running servers whose role is master, in the order of their
// numbers, and by address how many others replicate from a server. Servers that
// don't answer are left out.
func (g *Group) roles(ctx context.Context) (masters []*Node, followers map[string]int) {
	followers = make(map[string]int)
	for _, n := range g.running() {
		s, err := n.status(ctx)
		switch {
		case err != nil:
		case s.role == roleMaster:
			masters = append(masters, n)
		default:
			followers[s.source]++
		}
	}
	return masters, followers
}

// Cycle makes the replication cycle: the primary is told to replicate from one
// of its replicas, so that every running server is a replica and none a
// primary. It returns when all of them say so and all links are up: data and
// offsets are then equal everywhere and don't change any more. Where no server
// is a primary already, it only waits for that.
//
// Writes are held up on the primary for the few milliseconds until the replicas
// have caught up, and are then answered READONLY. Without that a primary that
// is ahead of its replicas can't go on from their offset when it turns: it asks
// for a full copy and drops its own data, as do its replicas with it. Servers
// can all end up empty that way; whoever wants to see it sends REPLICAOF by Do.
func (g *Group) Cycle(ctx context.Context) error {
	nodes := g.running()
	if len(nodes) < 2 {
		return fmt.Errorf("redistest: a replication cycle takes two running servers, not %d", len(nodes))
	}
	switch masters, _ := g.roles(ctx); len(masters) {
	case 0:
	case 1:
		source := nodes[0]
		if source == masters[0] {
			source = nodes[1]
		}
		if err := g.demote(ctx, masters[0], source, g.WaitSynced); err != nil {
			return err
		}
	default:
		return fmt.Errorf("redistest: %d servers are primaries: promote one of them first, which makes the others its replicas", len(masters))
	}
	return poll(ctx, "every server to be a replica", func() error {
		for _, n := range nodes {
			s, err := n.status(ctx)
			if err != nil {
				return err
			}
			if s.role != roleReplica || !s.linkUp {
				return fmt.Errorf("%v is a %s, its link up: %t", n, s.role, s.linkUp)
			}
		}
		return nil
	})
}

// demote makes the primary a replica of source, once the replicas have caught up.
func (g *Group) demote(ctx context.Context, primary, source *Node, caughtUp func(context.Context) error) error {
	if _, err := primary.Do(ctx, "CLIENT", "PAUSE", maxWritePause.Milliseconds(), "WRITE"); err != nil {
		return fmt.Errorf("redistest: can't hold up writes on %v: %w", primary, err)
	}
	err := caughtUp(ctx)
	if err == nil {
		err = primary.replicate(ctx, source)
	}
	// Also when ctx has ended: the server must not stay as it is now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	if _, unpause := primary.Do(ctx, "CLIENT", "UNPAUSE"); unpause != nil {
		err = errors.Join(err, fmt.Errorf("redistest: writes are still held up on %v: %w", primary, unpause))
	}
	return err
}

// maxWritePause ends a hold-up of writes even if we can't.
const maxWritePause = 30 * time.Second

// Promote makes node i the primary and points all other running nodes to it, as
// an operator would. It returns when node i says master; WaitSynced waits for
// the others.
func (g *Group) Promote(ctx context.Context, i int) error {
	if err := g.PromoteOnly(ctx, i); err != nil {
		return err
	}
	for _, n := range g.running() {
		if n == g.nodes[i] {
			continue
		}
		if err := n.replicate(ctx, g.nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

// PromoteOnly makes node i a primary and leaves the other nodes as they are. It
// returns when node i says master.
func (g *Group) PromoteOnly(ctx context.Context, i int) error {
	n := g.nodes[i]
	if err := n.setRole(ctx, "NO", "ONE"); err != nil {
		return err
	}
	return n.waitRole(ctx, roleMaster)
}

// WaitSynced waits until every running node other than the primary is its
// replica, at first or second hand, with a link that is up and everything that
// the primary had written when it was asked. Nodes that were killed or paused
// don't count.
func (g *Group) WaitSynced(ctx context.Context) error {
	return poll(ctx, "replicas to catch up", func() error {
		primary, ok := g.Primary(ctx)
		if !ok {
			return errors.New("no node is a primary")
		}
		want, err := primary.status(ctx)
		if err != nil {
			return err
		}
		for _, n := range g.running() {
			if n == primary {
				continue
			}
			s, err := n.status(ctx)
			if err != nil {
				return err
			}
			if err := s.follows(want, primary.Addr(), n.Addr()); err != nil {
				return fmt.Errorf("%v: %w", n, err)
			}
		}
		return nil
	})
}

// running are the nodes that can be expected to answer.
func (g *Group) running() []*Node {
	var nodes []*Node
	for _, n := range g.nodes {
		if n.Running() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Roles as INFO names them.
const (
	roleMaster  = "master"
	roleReplica = "slave"
)

// status is what a server says about its part in replication.
type status struct {
	role    string
	replid  string
	source  string // address of the server it replicates from; empty for a master
	linkUp  bool
	offset  int64           // of a master what it wrote, of a replica what it applied
	offline map[string]bool // addresses of its replicas that it does not feed yet
}

func (n *Node) status(ctx context.Context) (status, error) {
	info, err := n.info(ctx)
	if err != nil {
		return status{}, err
	}
	return parseStatus(info)
}

func parseStatus(info map[string]string) (status, error) {
	s := status{
		role:    info["role"],
		replid:  info["master_replid"],
		linkUp:  info["master_link_status"] == "up",
		offline: make(map[string]bool),
	}
	field := "master_repl_offset"
	if s.role == roleReplica {
		field = "slave_repl_offset"
		s.source = info["master_host"] + ":" + info["master_port"]
	}
	var err error
	if s.offset, err = strconv.ParseInt(info[field], 10, 64); err != nil {
		return status{}, fmt.Errorf("redistest: INFO without a usable %s: %w", field, err)
	}
	for i := 0; ; i++ {
		line, ok := info["slave"+strconv.Itoa(i)] // ip=…,port=…,state=…,offset=…,lag=…
		if !ok {
			return s, nil
		}
		var ip, port, state string
		for _, part := range strings.Split(line, ",") {
			key, value, _ := strings.Cut(part, "=")
			switch key {
			case "ip":
				ip = value
			case "port":
				port = value
			case "state":
				state = value
			}
		}
		if state != "online" {
			s.offline[ip+":"+port] = true
		}
	}
}

// follows is nil when a replica at self has all that the primary, at its
// address, had.
func (s status) follows(primary status, primaryAddr, self string) error {
	switch {
	case s.role != roleReplica:
		return errors.New("it is a primary itself")
	case !s.linkUp:
		return errors.New("its link is down")
	case s.replid != primary.replid:
		return errors.New("it has another history than the primary")
	case s.offset < primary.offset:
		return fmt.Errorf("it is at offset %d, the primary at %d", s.offset, primary.offset)
	case s.source == primaryAddr && primary.offline[self]:
		return errors.New("the primary does not feed it yet")
	}
	return nil
}

// info is the server's answer to INFO.
func (n *Node) info(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	text, err := n.client.Info(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("redistest: %v does not tell its state: %w", n, err)
	}
	return parseInfo(text), nil
}

// parseInfo returns the fields of an answer to INFO.
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			info[key] = value
		}
	}
	return info
}

// replicate makes n a replica of source.
func (n *Node) replicate(ctx context.Context, source *Node) error {
	return n.setRole(ctx, loopback, strconv.Itoa(source.port))
}

// setRole sends REPLICAOF and makes it last over a restart.
func (n *Node) setRole(ctx context.Context, host, port string) error {
	if _, err := n.Do(ctx, "REPLICAOF", host, port); err != nil {
		return fmt.Errorf("redistest: can't change the role of %v: %w", n, err)
	}
	if _, err := n.Do(ctx, "CONFIG", "REWRITE"); err != nil {
		return fmt.Errorf("redistest: the role of %v won't outlast a restart: %w", n, err)
	}
	return nil
}

// RestartReplica is Restart for a server that comes back as a replica of source, as one
// that was a primary when it died has to: it would stand there as another primary, empty,
// until somebody told it better.
func (n *Node) RestartReplica(ctx context.Context, source *Node) error {
	of := []string{"--replicaof", loopback, strconv.Itoa(source.port)}
	if err := n.restart(ctx, run{args: of}); err != nil {
		return err
	}
	return n.replicate(ctx, source)
}

func (n *Node) waitRole(ctx context.Context, role string) error {
	return poll(ctx, fmt.Sprintf("%v to be a %s", n, role), func() error {
		s, err := n.status(ctx)
		if err != nil {
			return err
		}
		if s.role != role {
			return fmt.Errorf("it is a %s", s.role)
		}
		return nil
	})
}

// Freshest returns the running node that an operator would promote: of those
// with the history that most have, the one with the highest offset, then the one
// with the lowest number. A server that came back empty has a history of its own.
func (g *Group) Freshest(ctx context.Context) (*Node, error) {
	states := make(map[*Node]status)
	histories := make(map[string]int)
	for _, n := range g.running() {
		if s, err := n.status(ctx); err == nil {
			states[n] = s
			histories[s.replid]++
		}
	}
	var best *Node
	for _, n := range g.nodes {
		s, ok := states[n]
		if !ok {
			continue
		}
		of := states[best]
		votes, ofVotes := histories[s.replid], histories[of.replid]
		if best == nil || votes > ofVotes || votes == ofVotes && s.offset > of.offset {
			best = n
		}
	}
	if best == nil {
		return nil, errors.New("redistest: no server runs that could be promoted")
	}
	return best, nil
}
