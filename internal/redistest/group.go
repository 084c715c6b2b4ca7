package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// Options says what Start starts. The zero value is one server without
// replicas.
type Options struct {
	// Replicas is the number of replicas of the first primary. Default 0.
	Replicas int

	// Dir is the directory in which each node gets its own, node0, node1 and so
	// on. It is left behind, logs included. Empty, the default, means a
	// temporary directory, which Close removes.
	Dir string

	// Args are further settings of every node, in the form of redis-server's
	// command line: "--maxmemory", "1mb". They win over those of this package,
	// but a snapshot file doesn't outlive a restart whatever they say.
	Args []string

	// Password is demanded by every node of its clients and replicas. Default
	// none.
	Password string

	// User is the name that the password belongs to: an ACL user who may do
	// everything, while the default user may not even connect. It needs a Password
	// and consists of letters and digits. Default: the default user.
	User string

	// TLS makes every node listen by TLS alone, and use it among themselves, with
	// a certificate of this authority. Default: no TLS.
	TLS *Authority

	// LogTo receives the servers' logs line by line while they run, each line
	// headed by its node. Calls don't overlap; a writer that blocks holds up the
	// servers. Default: the logs stay in the nodes' directories.
	LogTo io.Writer
}

// Group is one primary and its replicas. It is safe for concurrent use.
type Group struct {
	nodes   []*Node // constant
	tempDir string  // removed by Close; empty if the caller named one

	closing sync.Once
	closed  error // written within closing
}

// Start starts the servers and returns when they answer and all replicas have
// caught up with the primary, node 0. ctx bounds the start only. If a server
// fails to start the error has the end of its log, and nothing is left running;
// without a server program it wraps ErrNoServer.
func Start(ctx context.Context, o Options) (*Group, error) {
	if o.Replicas < 0 {
		return nil, fmt.Errorf("redistest: %d replicas: the number can't be negative", o.Replicas)
	}
	server, err := Find("redis-server")
	if err != nil {
		return nil, err
	}
	o.Args = slices.Clone(o.Args)
	g := &Group{}
	if err := g.prepare(server, o); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if err := g.start(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// prepare makes the nodes and their directories.
func (g *Group) prepare(server string, o Options) error {
	if o.User != "" && o.Password == "" {
		return errors.New("redistest: a user without a password: give both, or neither")
	}
	dir := o.Dir
	if dir == "" {
		temp, err := os.MkdirTemp("", "redistest-")
		if err != nil {
			return fmt.Errorf("redistest: no directory for the servers: %w", err)
		}
		g.tempDir = temp
		dir = temp
	}
	// The server changes into its directory: relative paths would mislead it.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("redistest: no directory for the servers: %w", err)
	}
	if server, err = filepath.Abs(server); err != nil {
		return fmt.Errorf("redistest: no path of the server program: %w", err)
	}
	var sink *lineSink
	if o.LogTo != nil {
		sink = &lineSink{w: o.LogTo}
	}
	for i := range o.Replicas + 1 {
		n, err := newNode(i, server, filepath.Join(dir, "node"+strconv.Itoa(i)), o, sink)
		if err != nil {
			return err
		}
		g.nodes = append(g.nodes, n)
	}
	return nil
}

// start launches all nodes side by side and then attaches the replicas.
func (g *Group) start(ctx context.Context) error {
	errs := make([]error, len(g.nodes))
	var wg sync.WaitGroup
	for i, n := range g.nodes {
		wg.Go(func() { errs[i] = n.launch(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, replica := range g.nodes[1:] {
		if err := replica.replicate(ctx, g.nodes[0]); err != nil {
			return err
		}
	}
	return g.WaitSynced(ctx)
}

// Close ends all servers and returns when they are gone. Further calls do
// nothing and return what the first did. The error says that the temporary
// directory could not be removed.
func (g *Group) Close() error {
	g.closing.Do(func() {
		var wg sync.WaitGroup
		for _, n := range g.nodes {
			wg.Go(n.close)
		}
		wg.Wait()
		if g.tempDir == "" {
			return
		}
		if err := os.RemoveAll(g.tempDir); err != nil {
			g.closed = fmt.Errorf("redistest: the servers' directory is left behind: %w", err)
		}
	})
	return g.closed
}

// Nodes returns the servers in the order of their numbers. Node 0 is the first
// primary.
func (g *Group) Nodes() []*Node { return slices.Clone(g.nodes) }

// Node returns the server with number i, which counts from 0.
func (g *Group) Node(i int) *Node { return g.nodes[i] }

// Addrs returns the servers' addresses in the order of their numbers.
func (g *Group) Addrs() []string {
	addrs := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}
