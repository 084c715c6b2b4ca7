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
)

// ClusterOptions says what StartCluster starts. The zero value is a Cluster of
// three primaries.
type ClusterOptions struct {
	// Primaries is the number of servers, which share the slots evenly and have
	// no replicas. Default 3.
	Primaries int

	// Args, Dir and LogTo are as in Options.
	Args  []string
	Dir   string
	LogTo io.Writer
}

// clusterSlots is the number of slots that a Cluster's servers share.
const clusterSlots = 16384

// Cluster is a Redis Cluster of primaries. It is safe for concurrent use.
type Cluster struct{ group *Group }

// StartCluster starts the servers and returns when each of them says that the
// Cluster is complete. A server that doesn't answer the others for a second is
// down to them. ctx and the error are as with Start.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if o.Primaries == 0 {
		o.Primaries = 3
	}
	if o.Primaries < 1 || o.Primaries > clusterSlots {
		return nil, fmt.Errorf("redistest: %d primaries: a Cluster has between 1 and %d", o.Primaries, clusterSlots)
	}
	server, err := Find("redis-server")
	if err != nil {
		return nil, err
	}
	args := []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000"}
	c := &Cluster{group: &Group{}}
	err = c.group.prepare(server, Options{
		Replicas: o.Primaries - 1, Dir: o.Dir, LogTo: o.LogTo, Args: append(args, o.Args...),
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

// start launches the servers, gives each its slots and makes them acquainted.
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
		from, to := i*clusterSlots/len(nodes), (i+1)*clusterSlots/len(nodes)-1
		if _, err := n.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", from, to); err != nil {
			return fmt.Errorf("redistest: %v takes no slots: %w", n, err)
		}
		if _, err := n.Do(ctx, "CLUSTER", "MEET", loopback, nodes[0].port); err != nil {
			return fmt.Errorf("redistest: %v can't meet %v: %w", n, nodes[0], err)
		}
	}
	return c.WaitComplete(ctx)
}

// WaitComplete waits until every server, all of them running, knows all others
// and says that every slot is served.
func (c *Cluster) WaitComplete(ctx context.Context) error {
	return poll(ctx, "the Cluster to be complete", func() error {
		for _, n := range c.group.nodes {
			text, err := n.client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			info, want := parseInfo(text), strconv.Itoa(len(c.group.nodes))
			if info["cluster_state"] != "ok" || info["cluster_known_nodes"] != want || info["cluster_size"] != want {
				return fmt.Errorf("%v says %s, knows %s servers of which %s have slots",
					n, info["cluster_state"], info["cluster_known_nodes"], info["cluster_size"])
			}
		}
		return nil
	})
}

// Nodes returns the servers in the order of their slots.
func (c *Cluster) Nodes() []*Node { return slices.Clone(c.group.nodes) }

// Node returns the server with number i, which counts from 0.
func (c *Cluster) Node(i int) *Node { return c.group.nodes[i] }

// Addrs returns the servers' addresses in the order of their slots.
func (c *Cluster) Addrs() []string { return c.group.Addrs() }

// Close ends all servers, as Group.Close does.
func (c *Cluster) Close() error { return c.group.Close() }
