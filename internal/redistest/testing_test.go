package redistest

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fakeTB records how a test would have ended.
type fakeTB struct {
	testing.TB
	failed   bool
	messages strings.Builder
	cleanups []func()
}

func (f *fakeTB) Helper()          {}
func (f *fakeTB) Failed() bool     { return f.failed }
func (f *fakeTB) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }
func (f *fakeTB) Logf(format string, args ...any) {
	fmt.Fprintf(&f.messages, format+"\n", args...)
}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.failed = true
	f.Logf(format, args...)
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// run calls test on a goroutine that Fatalf may end, then the cleanups.
func (f *fakeTB) run(test func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		test()
	}()
	<-done
	for len(f.cleanups) > 0 {
		last := len(f.cleanups) - 1
		c := f.cleanups[last]
		f.cleanups = f.cleanups[:last]
		c()
	}
}

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		tb := &fakeTB{}
		passed := false
		tb.run(func() {
			Eventually(tb, time.Second, "the time", func() bool { return time.Since(began) >= 100*time.Millisecond })
			passed = true
		})
		if tb.failed || !passed {
			t.Errorf("failed = %t, went on = %t, want false and true", tb.failed, passed)
		}
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("took %v, want 100ms", took)
		}

		tb, passed, began = &fakeTB{}, false, time.Now()
		tb.run(func() {
			Eventually(tb, time.Second, "the impossible", func() bool { return false })
			passed = true
		})
		if !tb.failed || passed {
			t.Errorf("failed = %t, went on = %t, want true and false", tb.failed, passed)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("gave up after %v, want 1s", took)
		}
		if got, want := tb.messages.String(), "waited for the impossible: not so after 1s\n"; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	})
}

func TestStartTFailsWithoutServer(t *testing.T) {
	t.Setenv(EnvServer, "/no/such/redis-server")
	tb := &fakeTB{}
	tb.run(func() { StartT(tb, Options{}) })
	if !tb.failed || !strings.Contains(tb.messages.String(), "apt-get install redis-server") {
		t.Errorf("failed = %t with %q, want true and how to install a server", tb.failed, tb.messages.String())
	}
}

func TestStartTShowsLogsOfAFailedTestAndCloses(t *testing.T) {
	for _, fail := range []bool{false, true} {
		tb := &fakeTB{}
		var g *Group
		tb.run(func() {
			g = StartT(tb, Options{})
			if fail {
				tb.Fatalf("on purpose")
			}
		})
		if shown := strings.Contains(tb.messages.String(), "Ready to accept connections"); shown != fail {
			t.Errorf("failed = %t: log shown = %t, messages %q", fail, shown, tb.messages.String())
		}
		if alive(g.Node(0).Pid()) {
			t.Errorf("failed = %t: the server outlived the test", fail)
		}
	}
}
