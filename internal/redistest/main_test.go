package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

const (
	envChild    = "REDISTEST_CHILD"     // how a child of these tests ends
	envChildDir = "REDISTEST_CHILD_DIR" // where its servers live
)

func TestMain(m *testing.M) {
	if end := os.Getenv(envChild); end != "" {
		child(end)
	}
	logging.Disable() // the client logs every dial that fails, and here hundreds are meant to
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// testContext bounds what a test waits for, far above what it takes.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	t.Cleanup(cancel)
	return ctx
}

const waitLimit = 30 * time.Second

// child starts servers, prints their process ids, and ends without closing
// anything.
func child(end string) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	g, err := Start(ctx, Options{Replicas: 1, Dir: os.Getenv(envChildDir)})
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	if end == "kill while paused" {
		if err := g.Node(1).Pause(); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
	}
	for _, n := range g.Nodes() {
		fmt.Println("pid", n.Pid())
	}
	switch end {
	case "exit":
		os.Exit(0)
	case "panic":
		panic("as the test wants it")
	default:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

func TestServersEndWithTheProgram(t *testing.T) {
	for _, end := range []string{"exit", "panic", "kill", "kill while paused"} {
		t.Run(end, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"="+end, envChildDir+"="+t.TempDir())
			out, err := cmd.Output()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			var pids []int
			for line := range strings.Lines(string(out)) {
				if text, ok := strings.CutPrefix(strings.TrimSpace(line), "pid "); ok {
					pid, err := strconv.Atoi(text)
					if err != nil {
						t.Fatal(err)
					}
					pids = append(pids, pid)
				}
			}
			if len(pids) != 2 {
				t.Fatalf("the child reported %d servers, want 2: %s", len(pids), out)
			}
			for _, pid := range pids {
				Eventually(t, waitLimit, fmt.Sprintf("server %d to end", pid), func() bool {
					return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
				})
			}
		})
	}
}
