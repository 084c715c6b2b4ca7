package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// SentinelOptions says how a Sentinel watches a group.
type SentinelOptions struct {
	// Name is the group's name. Default "primary".
	Name string

	// DownAfter is how long a server may be silent, or in a role that the Sentinel
	// doesn't expect, before it counts as down. Default an hour: the Sentinel tells
	// who the primary is and acts only when it is told to.
	DownAfter time.Duration
}

// Sentinel is one redis-server in Sentinel mode that watches a group, alone: its
// quorum is 1. It is safe for concurrent use.
type Sentinel struct {
	group  *Group
	name   string
	dir    string
	log    *nodeLog
	port   int
	proc   *process
	client *redis.SentinelClient

	closing sync.Once
	closed  error // written within closing
}

// StartSentinel starts a Sentinel that watches g, whose node 0 must be the
// primary, and returns when it knows all replicas. ctx bounds the start only.
// Close it before g.
func StartSentinel(ctx context.Context, g *Group, o SentinelOptions) (*Sentinel, error) {
	if o.Name == "" {
		o.Name = "primary"
	}
	if o.DownAfter == 0 {
		o.DownAfter = time.Hour
	}
	s := &Sentinel{group: g, name: o.Name}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// StartSentinelT is StartSentinel for a test, as StartT is Start.
func StartSentinelT(tb testing.TB, g *Group, o SentinelOptions) *Sentinel {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := StartSentinel(ctx, g, o)
	if err != nil {
		tb.Fatalf("redistest: no Sentinel for the test: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the Sentinel, end of its log:\n%s", s.log.tail(0, logTail))
		}
		if err := s.Close(); err != nil {
			tb.Errorf("redistest: closing the Sentinel: %v", err)
		}
	})
	return s
}

func (s *Sentinel) start(ctx context.Context, o SentinelOptions) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "redistest-sentinel-"); err != nil {
		return fmt.Errorf("redistest: no directory for the Sentinel: %w", err)
	}
	if s.log, err = openLog(filepath.Join(s.dir, "sentinel.log"), "sentinel | ", nil); err != nil {
		return err
	}
	const tries = 20
	for range tries {
		if s.port, err = reservePort(); err != nil {
			return err
		}
		if err = s.run(ctx, o); !errors.Is(err, errPortTaken) {
			return err
		}
		s.end()
	}
	return err
}

// run starts the Sentinel on its port and waits until it knows the group.
func (s *Sentinel) run(ctx context.Context, o SentinelOptions) error {
	primary := s.group.nodes[0]
	lines := []string{
		"bind " + loopback,
		fmt.Sprintf("port %d", s.port),
		"daemonize no",
		`logfile ""`,
		fmt.Sprintf("sentinel monitor %s %s %d 1", s.name, loopback, primary.port),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", s.name, o.DownAfter.Milliseconds()),
	}
	if password := primary.opts.Password; password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", s.name, quote(password)))
	}
	const config = "sentinel.conf" // the Sentinel rewrites it
	if err := os.WriteFile(filepath.Join(s.dir, config), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("redistest: can't write the configuration of the Sentinel: %w", err)
	}
	from := s.log.size()
	var err error
	if s.proc, err = startProcess(s.dir, []string{primary.server, config, "--sentinel"}, s.log.writer()); err != nil {
		return err
	}
	s.client = redis.NewSentinelClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1})
	err = poll(ctx, "the Sentinel to know the group", func() error {
		if s.proc.gone() {
			return stop(errGone)
		}
		replicas, err := s.client.Replicas(ctx, s.name).Result()
		if err != nil {
			return err
		}
		usable := 0 // a replica that it has not asked yet is none it would promote
		for _, replica := range replicas {
			if replica["master-link-status"] == "ok" {
				usable++
			}
		}
		if usable != len(s.group.nodes)-1 {
			return fmt.Errorf("it knows %d usable replicas", usable)
		}
		return nil
	})
	if err != nil && strings.Contains(s.log.tail(from, logTail), "Address already in use") {
		return errPortTaken
	}
	return err
}

// Addr is the Sentinel's host:port.
func (s *Sentinel) Addr() string { return address(s.port) }

// Name is the name under which the Sentinel knows the group.
func (s *Sentinel) Name() string { return s.name }

// Client is a client of the Sentinel. It is closed with it.
func (s *Sentinel) Client() *redis.SentinelClient { return s.client }

// WaitPrimary waits until the Sentinel names node i as the primary.
func (s *Sentinel) WaitPrimary(ctx context.Context, i int) error {
	want := s.group.nodes[i].Addr()
	return poll(ctx, "the Sentinel to name "+want, func() error {
		addr, err := s.client.GetMasterAddrByName(ctx, s.name).Result()
		if err == nil && strings.Join(addr, ":") != want {
			err = fmt.Errorf("it names %s", strings.Join(addr, ":"))
		}
		return err
	})
}

// Close ends the Sentinel and returns when it is gone. Further calls do nothing
// and return what the first did.
func (s *Sentinel) Close() error {
	s.closing.Do(func() {
		s.end()
		if s.log != nil {
			s.log.close()
		}
		if err := os.RemoveAll(s.dir); err != nil {
			s.closed = fmt.Errorf("redistest: the Sentinel's directory is left behind: %w", err)
		}
	})
	return s.closed
}

// end takes down what run made.
func (s *Sentinel) end() {
	if s.client != nil {
		s.client.Close()
	}
	if s.proc != nil {
		s.proc.kill()
	}
	if s.port != 0 {
		releasePort(s.port)
	}
	s.client, s.proc, s.port = nil, nil, 0
}
