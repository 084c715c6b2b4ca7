package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

func TestWithoutServer(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv(redistest.EnvServer, "")
	var errOut bytes.Buffer
	code := program(t.Context(), nil, openHoldfast, io.Discard, &errOut)
	if code != exitNothingRun || !strings.Contains(errOut.String(), "apt-get install redis-server") {
		t.Errorf("exit code %d, want %d and a hint; said %q", code, exitNothingRun, errOut.String())
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		args string
		code int
		says []string
	}{
		{"-h", exitKept, []string{"-outage", "-redis"}},
		{"-nonsense", exitNothingRun, []string{"not defined"}},
		{
			"-outage 0s -rate -1 -redis here,there:1 more", exitNothingRun,
			[]string{"longer than 0", "-rate", `"here" is not host:port`, `["more"]`},
		},
		{"-rate NaN", exitNothingRun, []string{"-rate"}},
		{"-dir /dev/null/journal", exitNothingRun, []string{"no Holdfast client", "/dev/null"}},
		{"-redis 127.0.0.1:1", exitNothingRun, []string{"none of the servers given is a primary"}},
	}
	for _, test := range tests {
		var errOut bytes.Buffer
		code := program(t.Context(), strings.Fields(test.args), openHoldfast, io.Discard, &errOut)
		if code != test.code {
			t.Errorf("%s: exit code %d, want %d", test.args, code, test.code)
		}
		for _, says := range test.says {
			if !strings.Contains(errOut.String(), says) {
				t.Errorf("%s: said %q, want it to say %q", test.args, errOut.String(), says)
			}
		}
	}
}

// TestIncident is the whole story, shortened.
func TestIncident(t *testing.T) {
	var out, errOut bytes.Buffer
	code := program(t.Context(), short("-dir", t.TempDir()), openHoldfast, &out, &errOut)
	if code != exitKept || errOut.Len() > 0 {
		t.Fatalf("exit code %d, want %d; said\n%s\n%s", code, exitKept, out.String(), errOut.String())
	}
	for _, says := range []string{"OUTAGE", "no-primary: all-replicas", "0 lost, 0 doubled"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("never said %q:\n%s", says, out.String())
		}
	}
}

// TestIncidentWithoutHoldfast puts plain go-redis in Holdfast's place: the
// program must find out.
func TestIncidentWithoutHoldfast(t *testing.T) {
	var out, errOut bytes.Buffer
	code := program(t.Context(), short(), openStandIn, &out, &errOut)
	if code != exitFailed || !strings.Contains(out.String(), "VERDICT  Holdfast lost ") {
		t.Errorf("exit code %d, want %d and a loss; said\n%s\n%s", code, exitFailed, out.String(), errOut.String())
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &trigger{word: "OUTAGE", pull: cancel}
	var errOut bytes.Buffer
	code := program(ctx, short(), openHoldfast, out, &errOut)
	if code != exitInterrupted || !strings.Contains(errOut.String(), "interrupted") {
		t.Errorf("exit code %d, want %d; said %q", code, exitInterrupted, errOut.String())
	}
}

// TestVisit works on a deployment that others use too.
func TestVisit(t *testing.T) {
	group := redistest.StartT(t, redistest.Options{Replicas: 1})
	server := group.Node(0).Client()
	if err := server.MSet(t.Context(), "theirs", "1", "incident:theirs", "2").Err(); err != nil {
		t.Fatal(err)
	}
	// The primary need not come first.
	addrs := group.Node(1).Addr() + ", " + group.Node(0).Addr()
	var out, errOut bytes.Buffer
	code := program(t.Context(), short("-redis", addrs), openHoldfast, &out, &errOut)
	if code != exitKept {
		t.Errorf("exit code %d, want %d; said\n%s\n%s", code, exitKept, out.String(), errOut.String())
	}
	left, err := server.Keys(t.Context(), "*").Result()
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %d keys (%v), want the 2 that were there", len(left), err)
	}
	if primary, ok := group.Primary(t.Context()); !ok || primary != group.Node(0) {
		t.Error("the topology was changed")
	}
}

// TestVisitInterrupted leaves no keys behind either.
func TestVisitInterrupted(t *testing.T) {
	group := redistest.StartT(t, redistest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &trigger{word: "healthy    ", pull: cancel}
	args := []string{"-warmup", "1m", "-redis", group.Node(0).Addr()}
	if code := program(ctx, args, openHoldfast, out, io.Discard); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if size := group.Node(0).Client().DBSize(t.Context()).Val(); size != 0 {
		t.Errorf("%d keys are left behind", size)
	}
}

// short are the flags of a quick run.
func short(more ...string) []string {
	return append([]string{"-warmup", "700ms", "-outage", "1500ms"}, more...)
}

// trigger is an output that calls pull when it sees word.
type trigger struct {
	word string
	pull func()
}

func (t *trigger) Write(b []byte) (int, error) {
	if strings.Contains(string(b), t.word) {
		t.pull()
	}
	return len(b), nil
}

// standIn is plain go-redis in Holdfast's clothes.
type standIn struct{ redis.UniversalClient }

func (standIn) State() resilient.ShardState {
	return resilient.ShardState{State: resilient.StateHealthy, Primary: "somewhere"}
}
func (standIn) Stats() resilient.Stats      { return resilient.Stats{} }
func (standIn) Flush(context.Context) error { return nil }

func openStandIn(addrs []string, _ string, _ resilient.Listener, _ *slog.Logger) (holdfastClient, error) {
	return standIn{openPlain(addrs[0])}, nil
}
