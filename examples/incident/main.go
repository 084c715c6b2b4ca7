// Incident re-enacts the morning on which every Redis server was a replica, on
// real redis-server processes, and counts what it did to an application that
// uses plain go-redis and to one that uses Holdfast.
//
//	go -C examples run ./incident
//
// It exits 0 if Holdfast kept its promise, 1 if it did not or if there was no
// outage to survive, 2 if nothing could be run (no redis-server, a wrong flag),
// and 130 if it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// Exit codes.
const (
	exitKept        = 0
	exitFailed      = 1
	exitNothingRun  = 2
	exitInterrupted = 130
)

// config is what the flags say.
type config struct {
	outage  time.Duration
	warmup  time.Duration
	rate    float64
	dir     string
	addrs   []string // of an existing deployment; empty: own servers
	seed    uint64
	verbose bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	code := program(ctx, os.Args[1:], openHoldfast, os.Stdout, os.Stderr)
	os.Exit(code)
}

// program is main without the process around it.
func program(ctx context.Context, args []string, open opener, out, errOut io.Writer) int {
	cfg, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitKept
	case err != nil:
		fmt.Fprintln(errOut, "incident:", err)
		return exitNothingRun
	}
	logger := slog.New(slog.DiscardHandler)
	if cfg.verbose {
		logger = slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelDebug}))
	} else {
		redis.SetLogger(silence{}) // the pools of the plain side complain once a lost connection
	}
	p := newPrinter(out)
	r, err := run(ctx, cfg, open, p, logger)
	p.close()
	code := exitFailed
	if r != nil {
		var lines []string
		lines, code = r.verdict()
		fmt.Fprintln(out, strings.Join(lines, "\n"))
	}
	switch {
	case err == nil:
		return code
	case ctx.Err() != nil:
		fmt.Fprintln(errOut, "incident: interrupted, everything is stopped")
		if errors.Is(err, errKeysLeft) {
			fmt.Fprintln(errOut, "incident:", err)
		}
		return exitInterrupted
	case errors.Is(err, redistest.ErrNoServer):
		fmt.Fprintln(errOut, "incident: no redis-server to run this on. Install it (Debian, Ubuntu: apt-get install redis-server;"+
			" macOS: brew install redis), set "+redistest.EnvServer+" to its path, or give an existing deployment: -redis host:port,...")
		return exitNothingRun
	case errors.Is(err, errNotReached), errors.Is(err, errNoClient):
		fmt.Fprintln(errOut, "incident:", err)
		return exitNothingRun
	default:
		fmt.Fprintln(errOut, "incident: the demonstration failed:", err)
		return exitFailed
	}
}

// parse reads the flags. Its error wraps flag.ErrHelp when only help was asked
// for.
func parse(args []string, errOut io.Writer) (config, error) {
	var cfg config
	var addrs string
	flags := flag.NewFlagSet("incident", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.DurationVar(&cfg.outage, "outage", 8*time.Second, "how long no server is a primary")
	flags.DurationVar(&cfg.warmup, "warmup", 3*time.Second, "how long all is well before")
	flags.Float64Var(&cfg.rate, "rate", 10, "operations a second, of each of the three kinds on each side")
	flags.StringVar(&cfg.dir, "dir", "", "directory of Holdfast's journal (default: a temporary one)")
	flags.StringVar(&addrs, "redis", "",
		"host:port,... of an existing deployment, one replication group, to work on for -warmup plus -outage;\n"+
			"its topology is left alone and the keys written are removed in the end (default: own redis-server processes)")
	flags.Uint64Var(&cfg.seed, "seed", 1, "seed of the random choices of the workload")
	flags.BoolVar(&cfg.verbose, "v", false, "show Holdfast's and go-redis's logs on the standard error output")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	var faults []error
	if flags.NArg() > 0 {
		faults = append(faults, fmt.Errorf("there are only flags, no arguments: %q", flags.Args()))
	}
	if cfg.outage <= 0 || cfg.warmup <= 0 {
		faults = append(faults, errors.New("-outage and -warmup must be longer than 0"))
	}
	if !(cfg.rate > 0) || cfg.rate > 10_000 {
		faults = append(faults, errors.New("-rate must lie between 0 and 10000"))
	}
	for addr := range strings.SplitSeq(addrs, ",") {
		if addrs == "" {
			break
		}
		addr = strings.TrimSpace(addr)
		if _, _, err := net.SplitHostPort(addr); err != nil {
			faults = append(faults, fmt.Errorf("-redis: %q is not host:port", addr))
		}
		cfg.addrs = append(cfg.addrs, addr)
	}
	return cfg, errors.Join(faults...)
}

// silence is a log of go-redis that nobody reads.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
