package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// throughputPlan is what the flags ask for.
type throughputPlan struct {
	n, rounds int
	paced     int // rounds that have what is paced
	dir       string
	seed      uint64
	loads     string // names, or empty for all
	ways      string
	batch     int // the replay's; 0: its default
	quiet     quiet
}

// throughput is the subcommand.
func throughput(ctx context.Context, args []string) error {
	var p throughputPlan
	flags := flag.NewFlagSet("throughput", flag.ExitOnError)
	flags.IntVar(&p.n, "n", 1_000_000, "entries of a measurement")
	flags.IntVar(&p.rounds, "rounds", 5, "rounds")
	flags.IntVar(&p.paced, "paced", 1, "rounds, the first ones, in which the paced replay takes part: it takes its time")
	flags.StringVar(&p.dir, "dir", os.TempDir(), "directory on the disk for the journals")
	flags.Uint64Var(&p.seed, "seed", 1, "seed of the orders within the rounds")
	flags.StringVar(&p.loads, "loads", "", "names of loads, with commas between; empty: all")
	flags.StringVar(&p.ways, "ways", "", "names of ways, with commas between; empty: all")
	flags.IntVar(&p.batch, "batch", 0, "entries of the replay's batches; 0: its default")
	flags.Float64Var(&p.quiet.company, "company", 0.25, "how much of a processor others may take in measurements that count")
	flags.DurationVar(&p.quiet.patience, "patience", time.Minute, "time to spend on waiting for others and on measuring again; then they count")
	profile := flags.String("cpuprofile", "", "file for a processor profile of all that is measured")
	file := flags.String("o", "", "file for the measurements; without it they go to the output")
	table := flags.String("table", "", "print the table of this file of measurements instead of measuring")
	into := flags.String("into", "", "with -table: put it between the marks of this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *table != "" {
		return printTable(*table, *into, throughputMark, throughputTable, os.Stdout)
	}
	stop, err := profileInto(*profile)
	if err != nil {
		return err
	}
	defer stop()
	return writeInto(*file, func(out io.Writer) error { return measureThroughput(ctx, p, out) })
}

// profileInto begins a processor profile, unless the file has no name.
func profileInto(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that can't be read says so
	}, nil
}

// chosen reports whether a list of names holds name; an empty one holds all.
func chosen(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// measureThroughput does all rounds.
func measureThroughput(ctx context.Context, p throughputPlan, out io.Writer) (err error) {
	g, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := header(ctx, g.Node(0), out); err != nil {
		return err
	}
	fmt.Fprintf(out, "# throughput: %d rounds of %d entries each; seed %d\n", p.rounds, p.n, p.seed)
	fmt.Fprintf(out, "# measured again while others take more than %.0f%% of a processor, for %v in all\n",
		100*p.quiet.company, p.quiet.patience)
	random := rand.New(rand.NewPCG(p.seed, 0))
	for _, l := range loads {
		if !chosen(p.loads, l.name) {
			continue
		}
		j := &job{load: l, n: p.n, batch: p.batch, addr: g.Node(0).Addr(), dir: p.dir, encoded: l.encode(p.n)}
		for round := range p.rounds {
			fmt.Fprintf(out, "# round %d of %s\n", round+1, l.name)
			for _, i := range random.Perm(len(ways)) {
				w := ways[i]
				if !chosen(p.ways, w.name) || w.paced && round >= p.paced {
					continue
				}
				err := p.quiet.measure(ctx, out, func() (string, float64, error) { return measureJob(ctx, g.Node(0), w, j) })
				if err != nil {
					return fmt.Errorf("%s by %s: %w", l.name, w.name, err)
				}
			}
		}
	}
	return nil
}

// measureJob does a job once, and returns its line and what others took meanwhile.
func measureJob(ctx context.Context, server *redistest.Node, w way, j *job) (line string, others float64, err error) {
	for _, cmd := range [][]any{{"FLUSHALL", "SYNC"}, {"CONFIG", "RESETSTAT"}} {
		if _, err := server.Do(ctx, cmd...); err != nil {
			return "", 0, err
		}
	}
	p, err := w.prepare(ctx, j)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, p.done()) }()
	runtime.GC()
	u, err := newUsage(ctx, server)
	if err != nil {
		return "", 0, err
	}
	if err := p.run(ctx); err != nil {
		return "", 0, err
	}
	if u, err = u.since(ctx, server); err != nil {
		return "", 0, err
	}
	if err := j.check(ctx, server); err != nil {
		return "", 0, err
	}
	return u.line("BenchmarkThroughput/load="+j.name+"/way="+w.name, j.n), u.others(), nil
}

// check looks whether the server has all keys of the job, and refused nothing. How many
// commands it executed says less: the replay merges some.
func (j *job) check(ctx context.Context, server *redistest.Node) error {
	keys := map[string]bool{}
	names := map[string]bool{}
	j.each(j.n, func(_ int, w *write) {
		keys[w.key] = true
		names[strings.ToLower(kindInfo[w.kind].name)] = true
	})
	stats, err := server.Do(ctx, "INFO", "commandstats")
	if err != nil {
		return err
	}
	for name := range names {
		_, rest, _ := strings.Cut(fmt.Sprint(stats), "cmdstat_"+name+":")
		rest, _, _ = strings.Cut(rest, "\r\n")
		if !strings.Contains(rest, "rejected_calls=0,failed_calls=0") {
			return fmt.Errorf("the server says of %s: %s", name, rest)
		}
	}
	size, err := server.Do(ctx, "DBSIZE")
	if err != nil {
		return err
	}
	if n, ok := size.(int64); !ok || n != int64(len(keys)) && n != int64(len(keys)+1) { // a fence
		return fmt.Errorf("the server has %v keys, and should have %d", size, len(keys))
	}
	return nil
}
