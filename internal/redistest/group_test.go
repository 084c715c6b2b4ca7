package redistest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// states asks all nodes of a group, which must answer.
func states(t *testing.T, g *Group) []status {
	t.Helper()
	var all []status
	for _, n := range g.Nodes() {
		s, err := n.status(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 2})
	if n := len(g.Nodes()); n != 3 {
		t.Fatalf("%d nodes, want 3", n)
	}
	for i, s := range states(t, g) {
		n := g.Node(i)
		if want := map[bool]string{true: "", false: g.Node(0).Addr()}[i == 0]; s.source != want {
			t.Errorf("node %d replicates from %q, want %q", i, s.source, want)
		}
		if g.Addrs()[i] != n.Addr() || g.Nodes()[i] != n {
			t.Errorf("node %d is not at its place in Addrs or Nodes", i)
		}
		info, err := n.info(ctx)
		must(t, err)
		if info["process_id"] != itoa(n.Pid()) {
			t.Errorf("Pid = %d, the server says %s", n.Pid(), info["process_id"])
		}
	}
	if p, ok := g.Primary(ctx); !ok || p != g.Node(0) {
		t.Errorf("Primary = %v, %t, want node 0", p, ok)
	}
	// Attached means that writes flow at once, to both: WAIT counts them.
	_, err := g.Node(0).Do(ctx, "SET", "k", "v")
	must(t, err)
	if got, err := g.Node(0).Do(ctx, "WAIT", 2, 500); err != nil || got != int64(2) {
		t.Errorf("WAIT 2 = %v, %v, want 2 replicas within half a second", got, err)
	}
}

func TestStartErrors(t *testing.T) {
	t.Run("bad setting", func(t *testing.T) {
		g, err := Start(testContext(t), Options{Args: []string{"--no-such-setting", "1"}})
		if g != nil || err == nil || !strings.Contains(err.Error(), "no-such-setting") {
			t.Errorf("Start = %v, %v, want an error with the server's own words", g, err)
		}
	})
	t.Run("negative replicas", func(t *testing.T) {
		if _, err := Start(testContext(t), Options{Replicas: -1}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("no server", func(t *testing.T) {
		t.Setenv(EnvServer, "/no/such/redis-server")
		if _, err := Start(testContext(t), Options{}); !errors.Is(err, ErrNoServer) {
			t.Errorf("error %v, want ErrNoServer", err)
		}
	})
	t.Run("context ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, nil, 0o600))
		if _, err := Start(testContext(t), Options{Dir: file}); err == nil {
			t.Error("no error")
		}
	})
}

func TestOptions(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	var log bytes.Buffer // writes don't overlap, and Close is after the last
	const password = "p\"w \x01\u00e9"
	g, err := Start(ctx, Options{
		Replicas: 1,
		Dir:      dir,
		Args:     []string{"--maxmemory", "77mb"},
		Password: password,
		LogTo:    &log,
	})
	must(t, err)
	defer g.Close()
	for _, n := range g.Nodes() {
		if got, err := n.Client().ConfigGet(ctx, "maxmemory").Result(); err != nil || got["maxmemory"] != itoa(77<<20) {
			t.Errorf("%v: maxmemory = %v, %v", n, got, err)
		}
		stranger := redis.NewClient(&redis.Options{Addr: n.Addr(), MaxRetries: -1})
		if err := stranger.Get(ctx, "k").Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
			t.Errorf("%v: a client without the password got %v", n, err)
		}
		stranger.Close()
	}
	must(t, g.Close())
	for _, want := range []string{"node 0 | ", "node 1 | "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line of the log begins with %q", want)
		}
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, "node ") || !strings.HasSuffix(line, "\n") {
			t.Errorf("not a whole line with its node: %q", line)
		}
	}
	for _, name := range []string{"node0", "node1"} {
		if _, err := os.Stat(filepath.Join(dir, name, "redis.log")); err != nil {
			t.Errorf("the caller's directory was not left as it was: %v", err)
		}
	}
}

func TestClose(t *testing.T) {
	ctx := testContext(t)
	g, err := Start(ctx, Options{Replicas: 1})
	must(t, err)
	must(t, g.Node(1).Pause())
	must(t, g.Close())
	must(t, g.Close())
	for _, n := range g.Nodes() {
		if alive(n.Pid()) {
			t.Errorf("%v is still there", n)
		}
		if err := n.Restart(ctx); err == nil {
			t.Errorf("%v could be restarted", n)
		}
		if alive(n.Pid()) {
			t.Errorf("%v is there again", n)
		}
		if _, err := n.Do(ctx, "PING"); !errors.Is(err, redis.ErrClosed) {
			t.Errorf("%v: a command after Close: %v, want that its client is closed", n, err)
		}
	}
	if _, err := os.Stat(g.tempDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
}

func TestCycleAndPromote(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 2})

	var writers sync.WaitGroup
	var acknowledged, end atomic.Int64
	stop := sync.OnceFunc(func() { end.Store(1); writers.Wait() })
	defer stop()
	for range 4 {
		writers.Go(func() {
			for end.Load() == 0 {
				if g.Node(0).Client().Incr(ctx, "n").Err() == nil {
					acknowledged.Add(1)
				}
			}
		})
	}
	Eventually(t, waitLimit, "writes", func() bool { return acknowledged.Load() > 200 })
	must(t, g.Cycle(ctx))
	must(t, g.Cycle(ctx)) // it is one already
	stop()

	if p, ok := g.Primary(ctx); ok {
		t.Errorf("Primary = %v in a cycle", p)
	}
	all := states(t, g)
	for i, s := range all {
		if s.role != roleReplica || !s.linkUp || s.offset != all[0].offset || s.replid != all[0].replid {
			t.Errorf("node %d in the cycle: %+v, node 0: %+v", i, s, all[0])
		}
		if got, err := g.Node(i).Client().Get(ctx, "n").Int64(); err != nil || got != acknowledged.Load() {
			t.Errorf("node %d has counted %d (%v), acknowledged were %d", i, got, err, acknowledged.Load())
		}
		if _, err := g.Node(i).Do(ctx, "SET", "k", "v"); !redis.IsReadOnlyError(err) {
			t.Errorf("node %d in the cycle answers a write with %v", i, err)
		}
	}

	must(t, g.Promote(ctx, 2))
	must(t, g.WaitSynced(ctx))
	if p, ok := g.Primary(ctx); !ok || p != g.Node(2) {
		t.Errorf("Primary = %v, %t after the promotion of node 2", p, ok)
	}
	all = states(t, g)
	for i := range 2 {
		if all[i].source != g.Node(2).Addr() {
			t.Errorf("node %d replicates from %s, not from node 2", i, all[i].source)
		}
	}
	_, err := g.Node(2).Do(ctx, "SET", "k", "v")
	must(t, err)
	must(t, g.WaitSynced(ctx))
	for i := range 3 {
		if got, err := g.Node(i).Do(ctx, "GET", "k"); got != "v" {
			t.Errorf("node %d has %v (%v) after WaitSynced", i, got, err)
		}
	}
}

func TestCycleNeedsOnePrimaryAndAReplica(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 1})
	must(t, g.PromoteOnly(ctx, 1))
	if s := states(t, g); s[0].role != roleMaster || s[1].role != roleMaster {
		t.Fatalf("roles %s and %s after PromoteOnly, want two masters", s[0].role, s[1].role)
	}
	if err := g.Cycle(ctx); err == nil {
		t.Error("a cycle out of two primaries")
	}
	must(t, g.Promote(ctx, 0))
	must(t, g.WaitSynced(ctx))
	must(t, g.Node(1).Kill())
	if err := g.Cycle(ctx); err == nil {
		t.Error("a cycle of one server")
	}
}

func TestCycleThatFailsDoesNotHoldUpWrites(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 1})
	_, err := g.Node(1).Do(ctx, "REPLICAOF", loopback, "1") // nobody is there
	must(t, err)
	inVain, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Cycle(inVain) }()
	Eventually(t, waitLimit, "writes to be held up", func() bool {
		short, cancel := context.WithTimeout(ctx, 20*pollInterval)
		defer cancel()
		_, err := g.Node(0).Do(short, "SET", "k", "v")
		return err != nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("Cycle = %v, want that it waited in vain for the replica", err)
	}
	// The client gives up after 5 s, long before the server would by itself.
	if _, err := g.Node(0).Do(ctx, "SET", "k", "v"); err != nil {
		t.Errorf("a write afterwards: %v", err)
	}
}

func TestWaitSyncedSaysWhatIsMissing(t *testing.T) {
	g := StartT(t, Options{Replicas: 1})
	must(t, g.PromoteOnly(testContext(t), 1))
	ctx, cancel := context.WithTimeout(context.Background(), 100*pollInterval)
	defer cancel()
	err := g.WaitSynced(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it is a primary itself") {
		t.Errorf("error %v, want the deadline and the reason", err)
	}
}
