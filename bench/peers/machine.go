package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// header names the machine, the disk, the versions and the plan.
func header(p plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# date: %s\n", time.Now().UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "# commit: %s\n", commit())
	fmt.Fprintf(&b, "# go: %s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOMAXPROCS(0))
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, processor())
	fmt.Fprintf(&b, "# kernel: %s, file system: %s\n", firstLine("/proc/sys/kernel/osrelease"), fileSystem(p.dir))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			switch m.Path {
			case "github.com/tidwall/wal", "go.etcd.io/bbolt", "github.com/cockroachdb/pebble/v2":
				fmt.Fprintf(&b, "# %s %s\n", m.Path, m.Version)
			}
		}
	}
	fmt.Fprintf(&b, "# %d rounds of appends, %v each after %v; %d rounds of opens with %d records; seed %d\n",
		p.rounds, p.window, p.warmup, p.opens, p.records, p.seed)
	fmt.Fprintf(&b, "# measured again while others take more than %.0f%% of a processor, for %v in all\n",
		100*p.company, p.patience)
	return b.String()
}

const unknown = "unknown"

// commit is the one that the working directory is at, "-dirty" if files differ.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*").Output()
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(out))
}

// firstLine is the first line of a file, or "unknown".
func firstLine(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return unknown
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return cmp.Or(strings.TrimSpace(line), unknown)
}

// company tells how much others, the kernel's threads among them, take of the
// processors.
type company struct {
	at       time.Time
	all, own time.Duration
}

func newCompany() company {
	c := company{at: time.Now()}
	c.all, c.own, _ = cpuTimes()
	return c
}

// since is what others took since c, in processors; 0 where the system does not
// tell.
func (c company) since() float64 {
	now := newCompany()
	others := (now.all - c.all) - (now.own - c.own)
	return max(0, others.Seconds()/now.at.Sub(c.at).Seconds())
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

// fileSystem is the type of the file system that dir is on.
func fileSystem(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return unknown
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return unknown
	}
	kind, longest := unknown, -1
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		point := strings.TrimSuffix(f[1], "/")
		if (abs == point || strings.HasPrefix(abs, point+"/")) && len(point) >= longest {
			kind, longest = f[2], len(point)
		}
	}
	return kind
}
