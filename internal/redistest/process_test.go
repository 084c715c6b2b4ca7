package redistest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// startShell runs a shell script as a process and returns its output's file.
func startShell(t *testing.T, script string) (*process, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := startProcess(t.TempDir(), []string{"/bin/sh", "-c", script}, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p, path
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestProcessReportsTheProgramsOwnID(t *testing.T) {
	p, out := startShell(t, "echo $$; exec sleep 1000")
	Eventually(t, waitLimit, "the program to speak", func() bool { return content(t, out) != "" })
	if got := strings.TrimSpace(content(t, out)); got != itoa(p.pid) {
		t.Errorf("pid = %d, the program says %s", p.pid, got)
	}
	if p.gone() {
		t.Error("gone although it runs")
	}
	p.kill()
	if !p.gone() || alive(p.pid) {
		t.Errorf("gone = %t, alive = %t after kill, want true and false", p.gone(), alive(p.pid))
	}
	if err := p.signal(syscall.SIGTERM); !errors.Is(err, errGone) {
		t.Errorf("signal after the end: %v, want errGone", err)
	}
}

func TestProcessNoticesTheEndByItself(t *testing.T) {
	p, _ := startShell(t, "exit 1")
	Eventually(t, waitLimit, "the end to be noticed", p.gone)
}

func TestProcessThatCanNotBeExecuted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := startProcess(t.TempDir(), []string{"/no/such/program"}, out)
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, waitLimit, "the end to be noticed", p.gone)
	if !strings.Contains(content(t, path), "/no/such/program") {
		t.Errorf("output %q does not name the program", content(t, path))
	}
}

func TestProcessKillTakesForksAlong(t *testing.T) {
	p, out := startShell(t, "sleep 1000 & echo $!; wait")
	Eventually(t, waitLimit, "the fork", func() bool { return strings.HasSuffix(content(t, out), "\n") })
	fork := atoi(t, strings.TrimSpace(content(t, out)))
	p.kill()
	// Orphans are reaped by another process, in its time.
	Eventually(t, waitLimit, "the fork to end", func() bool { return !alive(fork) })
}

func TestProcessGuardIgnoresPoliteSignals(t *testing.T) {
	p, out := startShell(t, `trap "" TERM; echo ready; exec sleep 1000`)
	Eventually(t, waitLimit, "the program to speak", func() bool { return content(t, out) != "" })
	// To the whole group, as a service manager would: the program ignores it too.
	if err := syscall.Kill(-p.guard.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.hold.Close() // only a living guard acts on this
	Eventually(t, waitLimit, "the guard to kill the program", p.gone)
}

func TestProcessEndsWithoutItsGuard(t *testing.T) {
	p, _ := startShell(t, "exec sleep 1000")
	if err := p.guard.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.kill()
	Eventually(t, waitLimit, "the program to end", func() bool { return !alive(p.pid) })
}
