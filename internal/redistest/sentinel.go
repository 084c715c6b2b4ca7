package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// SentinelsOptions says what StartSentinels starts. The zero value is three
// Sentinels that act only when they are told to.
type SentinelsOptions struct {
	// Count is the number of Sentinels. Default 3.
	Count int

	// Name is the group's name. Default "primary".
	Name string

	// Quorum is how many Sentinels must find the primary down before one of them
	// may be elected to replace it; an election takes a majority whatever it is.
	// Default: a majority.
	Quorum int

	// DownAfter is how long a server may be silent before it counts as down. A
	// primary that says it is a replica counts as down after that and twice the
	// InfoPeriod. Default an hour: the Sentinels tell who the primary is and act
	// only when they are told to.
	DownAfter time.Duration

	// FailoverTimeout is how long one step of a failover may take; after a failed
	// one the next attempt comes after twice that time. Default: Sentinel's own,
	// three minutes.
	FailoverTimeout time.Duration

	// InfoPeriod is how often the servers are asked for their state. Default:
	// Sentinel's own, 10 s. Setting it takes Redis 7.0.
	InfoPeriod time.Duration

	// ServerUser and ServerPassword are what the Sentinels log in to the group's
	// servers with. Default: those of the group.
	ServerUser     string
	ServerPassword string

	// User and Password are demanded by the Sentinels of their clients and of each
	// other, as in Options. Default none.
	User     string
	Password string

	// LogTo is as in Options.
	LogTo io.Writer
}

// Sentinels are redis-servers in Sentinel mode that watch a group together. They
// speak TLS if the group does. They are safe for concurrent use.
type Sentinels struct {
	group *Group // whom they watch
	fleet *Group // themselves: its nodes are not a replication group
	opts  SentinelsOptions
	all   []*Sentinel // constant
}

// Sentinel is one of Sentinels. It is safe for concurrent use.
type Sentinel struct {
	node   *Node
	group  *Group
	name   string
	client *redis.SentinelClient
	fleet  *Sentinels

	mu      sync.Mutex
	primary int // guarded by mu: number of the group's node that a new configuration names
}

// StartSentinels starts Sentinels that watch g, whose node 0 must be the
// primary, and returns when each knows all replicas and all the others. ctx
// bounds the start only. Close them before g.
func StartSentinels(ctx context.Context, g *Group, o SentinelsOptions) (*Sentinels, error) {
	if o.Count == 0 {
		o.Count = 3
	}
	if o.Count < 0 {
		return nil, fmt.Errorf("redistest: %d Sentinels: the number can't be negative", o.Count)
	}
	if o.Name == "" {
		o.Name = "primary"
	}
	if o.Quorum == 0 {
		o.Quorum = o.Count/2 + 1
	}
	if o.DownAfter == 0 {
		o.DownAfter = time.Hour
	}
	servers := g.nodes[0].opts
	if o.ServerPassword == "" {
		o.ServerUser, o.ServerPassword = servers.User, servers.Password
	}
	s := &Sentinels{group: g, fleet: &Group{}, opts: o}
	err := s.fleet.prepare(g.nodes[0].server, Options{
		Replicas: o.Count - 1, User: o.User, Password: o.Password, TLS: servers.TLS, LogTo: o.LogTo,
	})
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// StartSentinelsT is StartSentinels for a test, as StartT is Start.
func StartSentinelsT(tb testing.TB, g *Group, o SentinelsOptions) *Sentinels {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := StartSentinels(ctx, g, o)
	if err != nil {
		tb.Fatalf("redistest: no Sentinels for the test: %v", err)
	}
	tb.Cleanup(func() {
		closeT(tb, s.fleet)
		if err := s.Close(); err != nil {
			tb.Errorf("redistest: closing the Sentinels: %v", err)
		}
	})
	return s
}

// SentinelOptions says how a Sentinel watches a group.
type SentinelOptions struct {
	// Name is the group's name. Default "primary".
	Name string

	// DownAfter is as in SentinelsOptions.
	DownAfter time.Duration
}

// StartSentinel is StartSentinels for one Sentinel, whose quorum is 1. Close it
// before g.
func StartSentinel(ctx context.Context, g *Group, o SentinelOptions) (*Sentinel, error) {
	s, err := StartSentinels(ctx, g, SentinelsOptions{Count: 1, Name: o.Name, DownAfter: o.DownAfter})
	if err != nil {
		return nil, err
	}
	return s.all[0], nil
}

// StartSentinelT is StartSentinel for a test, as StartT is Start.
func StartSentinelT(tb testing.TB, g *Group, o SentinelOptions) *Sentinel {
	tb.Helper()
	return StartSentinelsT(tb, g, SentinelsOptions{Count: 1, Name: o.Name, DownAfter: o.DownAfter}).all[0]
}

func (s *Sentinels) start(ctx context.Context) error {
	for _, n := range s.fleet.nodes {
		one := &Sentinel{node: n, group: s.group, name: s.opts.Name, fleet: s}
		n.kind, n.watch = "sentinel", one.config
		s.all = append(s.all, one)
	}
	errs := make([]error, len(s.all))
	var wg sync.WaitGroup
	for i, one := range s.all {
		wg.Go(func() { errs[i] = one.launch(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.WaitKnown(ctx)
}

// launch starts the Sentinel for the first time.
func (s *Sentinel) launch(ctx context.Context) error {
	if err := s.node.launch(ctx); err != nil {
		return err
	}
	o := s.node.client.Options()
	s.client = redis.NewSentinelClient(&redis.Options{
		Addr: s.Addr(), Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: o.DialTimeout, ContextTimeoutEnabled: true,
	})
	return s.tune(ctx)
}

// config returns the settings of a Sentinel that knows nothing yet. It rewrites
// them as it learns.
func (s *Sentinel) config() []string {
	s.mu.Lock()
	primary := s.group.nodes[s.primary]
	s.mu.Unlock()
	o := s.fleet.opts
	lines := []string{
		fmt.Sprintf("sentinel monitor %s %s %d %d", s.name, loopback, primary.port, o.Quorum),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", s.name, o.DownAfter.Milliseconds()),
	}
	if o.FailoverTimeout != 0 {
		lines = append(lines, fmt.Sprintf("sentinel failover-timeout %s %d", s.name, o.FailoverTimeout.Milliseconds()))
	}
	if o.ServerUser != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-user %s %s", s.name, o.ServerUser))
	}
	if o.User != "" {
		lines = append(lines, "sentinel sentinel-user "+o.User)
	}
	return append(lines, s.passwords()...)
}

// passwords are the settings of the passwords that the Sentinel sends.
func (s *Sentinel) passwords() []string {
	var lines []string
	o := s.fleet.opts
	if o.ServerPassword != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", s.name, quote(o.ServerPassword)))
	}
	if o.Password != "" {
		lines = append(lines, "sentinel sentinel-pass "+quote(o.Password))
	}
	return lines
}

// quotePasswords repairs the configuration: the Sentinel has rewritten it with
// passwords as they are, and can't read them if there is a space in them.
func (s *Sentinel) quotePasswords() error {
	path := filepath.Join(s.node.dir, configName)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("redistest: can't read the configuration of %v: %w", s.node, err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "sentinel auth-pass ") && !strings.HasPrefix(line, "sentinel sentinel-pass ") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	lines = append(lines, s.passwords()...)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("redistest: can't write the configuration of %v: %w", s.node, err)
	}
	return nil
}

// tune sets what no configuration file can.
func (s *Sentinel) tune(ctx context.Context) error {
	period := s.fleet.opts.InfoPeriod
	if period == 0 {
		return nil
	}
	if _, err := s.node.Do(ctx, "SENTINEL", "DEBUG", "INFO-PERIOD", period.Milliseconds()); err != nil {
		return fmt.Errorf("redistest: %v can't have another INFO period: %w", s.node, err)
	}
	return nil
}

// Addr is the Sentinel's host:port.
func (s *Sentinel) Addr() string { return s.node.Addr() }

// Name is the name under which the Sentinel knows the group.
func (s *Sentinel) Name() string { return s.name }

// Client is a client of the Sentinel. It is closed with it.
func (s *Sentinel) Client() *redis.SentinelClient { return s.client }

// Node is the Sentinel as a server: kill it, pause it, read its log. Restart it by
// Sentinel.Restart.
func (s *Sentinel) Node() *Node { return s.node }

// Restart is Node.Restart for a Sentinel.
func (s *Sentinel) Restart(ctx context.Context) error {
	if err := s.node.restart(ctx, run{prepare: s.quotePasswords}); err != nil {
		return err
	}
	return s.tune(ctx)
}

// Forget restarts the Sentinel without its memory: as a new one that is told
// only where node primary of the group is.
func (s *Sentinel) Forget(ctx context.Context, primary int) error {
	s.mu.Lock()
	s.primary = primary
	s.mu.Unlock()
	if err := s.node.restart(ctx, run{prepare: s.node.writeConfig}); err != nil {
		return err
	}
	return s.tune(ctx)
}

// Close ends the Sentinel, with all that it was started with, and returns when
// they are gone. Further calls do nothing and return what the first did.
func (s *Sentinel) Close() error { return s.fleet.Close() }

// Close ends all Sentinels and returns when they are gone. Further calls do
// nothing and return what the first did.
func (s *Sentinels) Close() error {
	for _, one := range s.all {
		if one.client != nil {
			one.client.Close()
		}
	}
	return s.fleet.Close()
}

// All returns the Sentinels in the order of their numbers.
func (s *Sentinels) All() []*Sentinel { return slices.Clone(s.all) }

// Sentinel returns the Sentinel with number i, which counts from 0.
func (s *Sentinels) Sentinel(i int) *Sentinel { return s.all[i] }

// Addrs returns the Sentinels' addresses in the order of their numbers.
func (s *Sentinels) Addrs() []string { return s.fleet.Addrs() }

// Name is the name under which the Sentinels know the group.
func (s *Sentinels) Name() string { return s.opts.Name }
