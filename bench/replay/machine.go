package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// header tells the machine, the versions and the server.
func header(ctx context.Context, server *redistest.Node, out io.Writer) error {
	info, err := server.Do(ctx, "INFO", "server")
	if err != nil {
		return err
	}
	_, version, _ := strings.Cut(fmt.Sprint(info), "redis_version:")
	version, _, _ = strings.Cut(version, "\r\n")
	var b strings.Builder
	fmt.Fprintf(&b, "# date: %s\n# commit: %s\n", time.Now().UTC().Format(time.RFC3339), commit())
	fmt.Fprintf(&b, "# go: %s, GOMAXPROCS %d; redis %s on loopback\n", runtime.Version(), runtime.GOMAXPROCS(0), version)
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, processor())
	fmt.Fprintf(&b, "# kernel: %s, processors: %d\n", firstLine("/proc/sys/kernel/osrelease"), runtime.NumCPU())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			switch m.Path {
			case "github.com/redis/go-redis/v9", "github.com/redis/rueidis":
				fmt.Fprintf(&b, "# %s %s\n", m.Path, m.Version)
			}
		}
	}
	_, err = io.WriteString(out, b.String())
	return err
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

// usage is what a piece of work took of the machine.
type usage struct {
	at       time.Time
	took     time.Duration
	all, own time.Duration // processor time of everybody, and of this process
	server   time.Duration // likewise of the server
	mallocs  uint64
}

func newUsage(ctx context.Context, server *redistest.Node) (u usage, err error) {
	if u.server, err = serverTime(ctx, server); err != nil {
		return u, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.at, u.mallocs = time.Now(), m.Mallocs
	u.all, u.own, _ = cpuTimes()
	return u, nil
}

// serverTime is the processor time that a server took.
func serverTime(ctx context.Context, server *redistest.Node) (sum time.Duration, err error) {
	info, err := server.Do(ctx, "INFO", "cpu")
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
		_, rest, _ := strings.Cut(fmt.Sprint(info), name)
		seconds, _, _ := strings.Cut(rest, "\r\n")
		v, err := strconv.ParseFloat(seconds, 64)
		if err != nil {
			return 0, fmt.Errorf("the server does not tell its processor time: %w", err)
		}
		sum += time.Duration(v * float64(time.Second))
	}
	return sum, nil
}

// since is what was taken since u.
func (u usage) since(ctx context.Context, server *redistest.Node) (usage, error) {
	took := time.Since(u.at)
	now, err := newUsage(ctx, server)
	return usage{
		took: took, all: now.all - u.all, own: now.own - u.own,
		server: now.server - u.server, mallocs: now.mallocs - u.mallocs,
	}, err
}

// others is how many processors everybody else took, the kernel's threads among them; 0
// where the system does not tell.
func (u usage) others() float64 {
	return max(0, (u.all-u.own-u.server).Seconds()/u.took.Seconds())
}

// line is a benchmark's line of n operations.
func (u usage) line(name string, n int) string {
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(n) }
	return fmt.Sprintf("%s %d %.1f ns/op %.0f entries/s %.0f client-ns/op %.0f server-ns/op %.3f allocs/op %.2f others",
		name, n, each(u.took), float64(n)/u.took.Seconds(), each(u.own), each(u.server), float64(u.mallocs)/float64(n), u.others())
}

// writeInto lets measure write into file, which gets its name only when it is whole,
// and to the output. Without a name that is all.
func writeInto(file string, measure func(io.Writer) error) error {
	if file == "" {
		return measure(os.Stdout)
	}
	part := file + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	if err := errors.Join(measure(io.MultiWriter(f, os.Stdout)), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, file)
}
