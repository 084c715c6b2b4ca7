package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// ClusterOptions says what StartCluster starts. The zero value is a Cluster of
// three primaries.
type ClusterOptions struct {
	// Primaries is the number of shards, which share the slots evenly. Default 3.
	Primaries int

	// Replicas is the number of replicas of each primary. Default 0.
	Replicas int

	// NodeTimeout is how long a server may be silent before another one suspects
	// it; it counts as down when most primaries do. Default 1 s.
	NodeTimeout time.Duration

	// PartialCoverage lets the servers serve their slots while others are not
	// served (cluster-require-full-coverage no). Default: they refuse all.
	PartialCoverage bool

	// AllowReadsWhenDown lets the servers answer reads while the Cluster is down to
	// them (cluster-allow-reads-when-down yes). Default: they refuse them.
	AllowReadsWhenDown bool

	// Args, Dir, User, Password, TLS and LogTo are as in Options.
	Args     []string
	Dir      string
	User     string
	Password string
	TLS      *Authority
	LogTo    io.Writer
}

// SlotCount is the number of slots that a Cluster's servers share.
const SlotCount = 16384

// Cluster is a Redis Cluster. A shard is a primary of the start with its
// replicas of the start, whatever becomes of their roles; shard 0 has the lowest
// slots. It is safe for concurrent use.
type Cluster struct {
	group    *Group // its nodes are not a replication group
	shards   int
	replicas int // of each shard
}

// StartCluster starts the servers and returns when each of them says that the
// Cluster is complete and all replicas have caught up. ctx and the error are as
// with Start.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if o.Primaries == 0 {
		o.Primaries = 3
	}
	if o.Primaries < 1 || o.Primaries > SlotCount {
		return nil, fmt.Errorf("redistest: %d primaries: a Cluster has between 1 and %d", o.Primaries, SlotCount)
	}
	if o.Replicas < 0 {
		return nil, fmt.Errorf("redistest: %d replicas: the number can't be negative", o.Replicas)
	}
	if o.NodeTimeout == 0 {
		o.NodeTimeout = time.Second
	}
	server, err := Find("redis-server")
	if err != nil {
		return nil, err
	}
	args := []string{
		"--cluster-enabled", "yes",
		"--cluster-node-timeout", strconv.FormatInt(o.NodeTimeout.Milliseconds(), 10),
		"--cluster-require-full-coverage", yesNo(!o.PartialCoverage),
		"--cluster-allow-reads-when-down", yesNo(o.AllowReadsWhenDown),
	}
	if o.TLS != nil {
		args = append(args, "--tls-cluster", "yes")
	}
	c := &Cluster{group: &Group{}, shards: o.Primaries, replicas: o.Replicas}
	err = c.group.prepare(server, Options{
		Replicas: o.Primaries*(1+o.Replicas) - 1, Dir: o.Dir, LogTo: o.LogTo, Args: append(args, o.Args...),
		User: o.User, Password: o.Password, TLS: o.TLS,
	})
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// StartClusterT is StartCluster for a test, as StartT is Start.
func StartClusterT(tb testing.TB, o ClusterOptions) *Cluster {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := StartCluster(ctx, o)
	if err != nil {
		tb.Fatalf("redistest: no Cluster for the test: %v", err)
	}
	tb.Cleanup(func() { closeT(tb, c.group) })
	return c
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// start launches the servers, gives each primary its slots, makes them
// acquainted and attaches the replicas.
func (c *Cluster) start(ctx context.Context) error {
	nodes := c.group.nodes
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = n.launch(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, n := range nodes {
		if i < c.shards {
			from, to := c.SlotRange(i)
			if _, err := n.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", from, to); err != nil {
				return fmt.Errorf("redistest: %v takes no slots: %w", n, err)
			}
		}
		// A failover needs epochs that differ. Two primaries that have the same
		// settle that themselves, but while they do, an election can fail.
		if _, err := n.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			return fmt.Errorf("redistest: %v takes no epoch: %w", n, err)
		}
	}
	if err := c.acquaint(ctx); err != nil {
		return err
	}
	for i := range c.shards {
		primary := nodes[i]
		id, err := primary.clusterID(ctx)
		if err != nil {
			return err
		}
		for _, replica := range c.Shard(i)[1:] {
			if err := replica.clusterReplicate(ctx, id); err != nil {
				return err
			}
		}
	}
	return c.WaitComplete(ctx)
}

// acquaint makes every server know all others. Whoever doesn't yet is told again: a
// handshake that takes longer than NodeTimeout is forgotten.
func (c *Cluster) acquaint(ctx context.Context) error {
	nodes := c.group.nodes
	return pollSlowly(ctx, "the servers to know each other", func() (late error) {
		for _, n := range nodes {
			text, err := n.client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			if known := parseInfo(text)["cluster_known_nodes"]; known != strconv.Itoa(len(nodes)) {
				late = fmt.Errorf("%v knows %s servers", n, known)
				if _, err := n.Do(ctx, "CLUSTER", "MEET", loopback, nodes[0].port); err != nil {
					return fmt.Errorf("redistest: %v can't meet %v: %w", n, nodes[0], err)
				}
			}
		}
		return late
	})
}

// clusterReplicate makes n a replica of the server with the id, which n may yet
// have to hear of.
func (n *Node) clusterReplicate(ctx context.Context, id string) error {
	return poll(ctx, fmt.Sprintf("%v to be a replica", n), func() error {
		_, err := n.Do(ctx, "CLUSTER", "REPLICATE", id)
		return err
	})
}

// WaitComplete waits until all servers that run agree on who is a primary and on
// the owner of every slot, say that every slot is served and know all servers,
// and until the replicas' links are up.
func (c *Cluster) WaitComplete(ctx context.Context) error {
	return pollSlowly(ctx, "the Cluster to be complete", func() error {
		var owners string
		for _, n := range c.group.running() {
			text, err := n.client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			info, want := parseInfo(text), strconv.Itoa(len(c.group.nodes))
			if info["cluster_state"] != "ok" || info["cluster_slots_ok"] != strconv.Itoa(SlotCount) ||
				info["cluster_known_nodes"] != want {
				return fmt.Errorf("%v says %s, knows %s servers, %s slots are served",
					n, info["cluster_state"], info["cluster_known_nodes"], info["cluster_slots_ok"])
			}
			view, err := n.clusterView(ctx)
			if err != nil {
				return err
			}
			switch said := view.owners(); {
			case owners == "":
				owners = said
			case owners != said:
				return fmt.Errorf("%v differs from the others on who owns what", n)
			}
			s, err := n.status(ctx)
			if err != nil {
				return err
			}
			if s.role == roleReplica && !s.linkUp {
				return fmt.Errorf("the link of %v is down", n)
			}
		}
		return nil
	})
}

// Nodes returns the servers: the primaries of the start in the order of their
// slots, then the replicas in the order of their shards.
func (c *Cluster) Nodes() []*Node { return slices.Clone(c.group.nodes) }

// Node returns the server with number i, which counts from 0.
func (c *Cluster) Node(i int) *Node { return c.group.nodes[i] }

// Shard returns the servers of shard i: its primary of the start and then its
// replicas.
func (c *Cluster) Shard(i int) []*Node {
	first := c.shards + i*c.replicas
	return slices.Concat(c.group.nodes[i:i+1], c.group.nodes[first:first+c.replicas])
}

// Shards is the number of shards.
func (c *Cluster) Shards() int { return c.shards }

// SlotRange is the first and the last slot that shard i got at the start.
func (c *Cluster) SlotRange(i int) (first, last int) {
	return i * SlotCount / c.shards, (i+1)*SlotCount/c.shards - 1
}

// Addrs returns the servers' addresses in the order of Nodes.
func (c *Cluster) Addrs() []string { return c.group.Addrs() }

// Close ends all servers, as Group.Close does.
func (c *Cluster) Close() error { return c.group.Close() }
