package redistest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestKillAndRestart(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 1, Password: "secret"})
	_, err := g.Node(0).Do(ctx, "SET", "k", "v")
	must(t, err)
	must(t, g.WaitSynced(ctx))

	replica := g.Node(1)
	pid, addr := replica.Pid(), replica.Addr()
	must(t, replica.Kill())
	must(t, replica.Kill()) // it is dead already
	if alive(pid) || replica.Running() {
		t.Errorf("alive = %t, Running = %t after Kill", alive(pid), replica.Running())
	}
	if _, err := replica.Do(ctx, "PING"); err == nil {
		t.Error("a killed server answers")
	}
	if err := replica.Pause(); !errors.Is(err, errGone) {
		t.Errorf("Pause of a killed server: %v", err)
	}
	if err := replica.Resume(); !errors.Is(err, errGone) {
		t.Errorf("Resume of a killed server: %v", err)
	}
	must(t, g.WaitSynced(ctx)) // the dead don't count

	must(t, replica.Restart(ctx))
	if replica.Pid() == pid || replica.Addr() != addr || !replica.Running() {
		t.Errorf("after Restart: pid %d (was %d), address %s (was %s), Running %t",
			replica.Pid(), pid, replica.Addr(), addr, replica.Running())
	}
	must(t, g.WaitSynced(ctx))
	if got, err := replica.Do(ctx, "GET", "k"); got != "v" {
		t.Errorf("the restarted replica has %v (%v)", got, err)
	}

	// A server that still runs is killed first, and nothing outlasts that.
	must(t, g.Node(0).Restart(ctx))
	if got, err := g.Node(0).Client().DBSize(ctx).Result(); err != nil || got != 0 {
		t.Errorf("the restarted primary has %d keys (%v), want none", got, err)
	}
	if s, err := g.Node(0).status(ctx); err != nil || s.role != roleMaster {
		t.Errorf("the restarted primary is a %s (%v)", s.role, err)
	}
}

func TestReplicaRestartsEmpty(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{Replicas: 1})
	_, err := g.Node(0).Do(ctx, "SET", "k", "v")
	must(t, err)
	must(t, g.WaitSynced(ctx))
	must(t, g.Node(1).Restart(ctx)) // it gets a full copy, in a file
	must(t, g.WaitSynced(ctx))
	must(t, g.Node(0).Kill())
	must(t, g.Node(1).Restart(ctx))
	if got, err := g.Node(1).Client().DBSize(ctx).Result(); err != nil || got != 0 {
		t.Errorf("restarted without its primary the replica has %d keys (%v), want none", got, err)
	}
	if s, err := g.Node(1).status(ctx); err != nil || s.role != roleReplica || s.linkUp {
		t.Errorf("restarted without its primary it is %+v (%v), want a replica without a link", s, err)
	}
}

func TestPauseAndResume(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{})
	n := g.Node(0)
	must(t, n.Resume()) // it isn't paused
	must(t, n.Pause())
	must(t, n.Pause())
	if n.Running() {
		t.Error("Running although it is paused")
	}
	conn, err := net.Dial("tcp", n.Addr())
	if err != nil {
		t.Errorf("a paused server refuses connections: %v", err)
	} else {
		conn.Close()
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if got, err := n.Do(short, "PING"); err == nil {
		t.Errorf("a paused server answers %v", got)
	}
	if _, ok := g.Primary(ctx); ok {
		t.Error("a paused server counts as primary")
	}
	must(t, n.Resume())
	if _, err := n.Do(ctx, "PING"); err != nil {
		t.Errorf("after Resume: %v", err)
	}
	must(t, n.Pause())
	must(t, n.Kill())
	must(t, n.Restart(ctx))
	if !n.Running() {
		t.Error("not Running after Restart")
	}
}

func TestServerThatEndsByItself(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{})
	n := g.Node(0)
	_, _ = n.Do(ctx, "SHUTDOWN", "NOSAVE") // never answered
	Eventually(t, waitLimit, "the end to be noticed", func() bool { return !n.Running() })
	must(t, n.Restart(ctx))
	if _, err := n.Do(ctx, "PING"); err != nil {
		t.Errorf("after Restart: %v", err)
	}
}

func TestClientSurvivesManyFailuresAndARestart(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{})
	n := g.Node(0)
	must(t, n.Kill())
	for range 250 { // more than the pool has places
		if _, err := n.Do(ctx, "PING"); err == nil {
			t.Fatal("a killed server answers")
		}
	}
	must(t, n.Restart(ctx))
	if _, err := n.Do(ctx, "PING"); err != nil {
		t.Errorf("after Restart: %v", err)
	}
}

func TestRestartWaitsForItsPort(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{})
	n := g.Node(0)
	must(t, n.Kill())
	thief, err := net.Listen("tcp", n.Addr())
	must(t, err)
	defer thief.Close()

	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := n.Restart(short); !errors.Is(err, errPortTaken) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Restart on a taken port: %v, want the reason and the deadline", err)
	}
	done := make(chan error, 1)
	before := n.log.size()
	go func() { done <- n.Restart(ctx) }()
	Eventually(t, waitLimit, "a try in vain", func() bool {
		return strings.Contains(n.log.tail(before, 1<<20), "Address already in use")
	})
	must(t, thief.Close())
	must(t, <-done)
	if _, err := n.Do(ctx, "PING"); err != nil {
		t.Errorf("after Restart: %v", err)
	}
}

// The server behind a node's address must be the node's own: another one that
// was faster to take the port answers just as well.
func TestReadyKnowsItsServer(t *testing.T) {
	ctx := testContext(t)
	n, other := StartT(t, Options{}).Node(0), StartT(t, Options{}).Node(0)
	if err := n.ready(ctx, n.process(), false); err != nil {
		t.Errorf("ready = %v for its own server", err)
	}
	if err := n.ready(ctx, other.process(), false); err == nil {
		t.Error("another server passes for its own")
	}
}

func TestLaunchTakesAnotherPort(t *testing.T) {
	ctx := testContext(t)
	g := StartT(t, Options{})
	taken := g.Node(0).port
	n, err := newNode(1, g.Node(0).server, t.TempDir(), Options{}, nil)
	must(t, err)
	defer n.close()
	first := true
	must(t, n.launchOn(ctx, func() (int, error) {
		if first {
			first = false
			return taken, nil
		}
		return reservePort()
	}))
	if n.port == taken || first {
		t.Errorf("port %d, want another than %d after a try with that", n.port, taken)
	}
}

func TestPortsAreNotHandedOutTwice(t *testing.T) {
	seen := make(map[int]bool)
	for range 100 {
		port, err := reservePort()
		must(t, err)
		defer releasePort(port)
		if seen[port] || port < portLow || port >= portHigh {
			t.Fatalf("port %d, seen before: %t", port, seen[port])
		}
		seen[port] = true
	}
}
