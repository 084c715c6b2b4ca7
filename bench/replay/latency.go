package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// latencyPlan is what the flags ask for.
type latencyPlan struct {
	n, rounds int
	flushers  string // numbers, with commas between
	paces     string // names
	load      string
	idle      time.Duration
	seed      uint64
	quiet     quiet
}

// pacesOf are the paces by name, as replay.Options.Rate takes them.
var pacesOf = map[string]int{"off": -1, "default": 0}

// latency is the subcommand.
func latency(ctx context.Context, args []string) error {
	p := latencyPlan{}
	flags := flag.NewFlagSet("latency", flag.ExitOnError)
	flags.IntVar(&p.n, "n", 1_000_000, "entries of all journals together")
	flags.IntVar(&p.rounds, "rounds", 5, "rounds")
	flags.StringVar(&p.flushers, "flushers", "1,8,32", "how many journals are replayed at once, with commas between")
	flags.StringVar(&p.paces, "paces", "off,default", "off, default, or entries per second for each flusher, with commas between")
	flags.StringVar(&p.load, "load", "SET", "name of the load")
	flags.DurationVar(&p.idle, "idle", 3*time.Second, "time to measure the idle server before each drain")
	flags.Uint64Var(&p.seed, "seed", 1, "seed of the orders within the rounds")
	flags.Float64Var(&p.quiet.company, "company", 0.25, "how much of a processor others may take in measurements that count")
	flags.DurationVar(&p.quiet.patience, "patience", 4*time.Minute, "time to spend on waiting for others and on measuring again; then they count")
	file := flags.String("o", "", "file for the measurements; without it they go to the output")
	table := flags.String("table", "", "print the table of this file of measurements instead of measuring")
	into := flags.String("into", "", "with -table: put it between the marks of this file")
	flush := flags.String("flush", "", "for the program itself: replay to this address when told to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *flush != "":
		return flushTo(ctx, *flush, p)
	case *table != "":
		return printTable(*table, *into, latencyMark, latencyTable, os.Stdout)
	}
	return writeInto(*file, func(out io.Writer) error { return measureLatency(ctx, p, out) })
}

// trial is one drain that others are beside.
type trial struct {
	flushers int
	pace     string
}

// trials are those of a plan.
func (p *latencyPlan) trials() (all []trial, err error) {
	for _, f := range strings.Split(p.flushers, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-flushers: %q is no number of flushers", f)
		}
		for _, pace := range strings.Split(p.paces, ",") {
			if _, err := rateOf(pace); err != nil {
				return nil, err
			}
			all = append(all, trial{flushers: n, pace: pace})
		}
	}
	return all, nil
}

// rateOf is a pace by its name or its number.
func rateOf(pace string) (int, error) {
	if rate, ok := pacesOf[pace]; ok {
		return rate, nil
	}
	rate, err := strconv.Atoi(pace)
	if err != nil || rate < 1 {
		return 0, fmt.Errorf("-paces: %q is neither off nor default, nor a number of entries per second", pace)
	}
	return rate, nil
}

// measureLatency does all rounds.
func measureLatency(ctx context.Context, p latencyPlan, out io.Writer) (err error) {
	trials, err := p.trials()
	if err != nil {
		return err
	}
	g, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := header(ctx, g.Node(0), out); err != nil {
		return err
	}
	fmt.Fprintf(out, "# latency: %d rounds of %d entries (%s) each; seed %d\n", p.rounds, p.n, p.load, p.seed)
	fmt.Fprintf(out, "# measured again while others take more than %.0f%% of a processor, for %v in all\n",
		100*p.quiet.company, p.quiet.patience)
	random := rand.New(rand.NewPCG(p.seed, 0))
	for round := range p.rounds {
		fmt.Fprintf(out, "# round %d\n", round+1)
		for _, i := range random.Perm(len(trials)) {
			err := p.quiet.measure(ctx, out, func() (string, float64, error) { return measureTrial(ctx, g.Node(0), p, trials[i]) })
			if err != nil {
				return fmt.Errorf("%d flushers, pace %s: %w", trials[i].flushers, trials[i].pace, err)
			}
		}
	}
	return nil
}

// measureTrial measures other clients on the idle server, and then beside a drain. It
// returns its lines, and what everybody else took of the machine meanwhile.
func measureTrial(ctx context.Context, server *redistest.Node, p latencyPlan, t trial) (lines string, company float64, err error) {
	if _, err := server.Do(ctx, "FLUSHALL", "SYNC"); err != nil {
		return "", 0, err
	}
	f, err := startFlush(ctx, server.Addr(), p, t)
	if err != nil {
		return "", 0, err
	}
	defer f.kill()
	o, err := startOthers(server.Addr())
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, o.stop()) }()
	if err := pause(ctx, 500*time.Millisecond); err != nil { // connections are warm then
		return "", 0, err
	}
	u, err := newUsage(ctx, server)
	if err != nil {
		return "", 0, err
	}
	o.take()
	if err := pause(ctx, p.idle); err != nil {
		return "", 0, err
	}
	idle := o.take()
	begun := time.Now()
	flushed, err := f.drain()
	if err != nil {
		return "", 0, err
	}
	took := time.Since(begun)
	busy := o.take()
	if u, err = u.since(ctx, server); err != nil {
		return "", 0, err
	}
	u.own += flushed
	return trialLines(p.n, t, idle, busy, took, u.others()), u.others(), nil
}

// trialLines are those of a trial.
func trialLines(n int, t trial, idle, busy [len(ops)][]time.Duration, took time.Duration, company float64) string {
	var out strings.Builder
	name := fmt.Sprintf("BenchmarkLatency/flushers=%d/pace=%s", t.flushers, t.pace)
	for i, op := range ops {
		fmt.Fprintf(&out, "%s/op=%s %d %s %s %.2f p99-ratio %.2f drain-s %.0f entries/s %.2f others\n", name, op.name, len(busy[i]),
			figures(busy[i], ""), figures(idle[i], "idle-"), quantile(busy[i], 0.99)/quantile(idle[i], 0.99),
			took.Seconds(), float64(n)/took.Seconds(), company)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// figures are the quantiles of some latencies, in microseconds.
func figures(v []time.Duration, prefix string) string {
	return fmt.Sprintf("%.0f %sp50-us %.0f %sp99-us %.0f %smax-us",
		quantile(v, 0.5), prefix, quantile(v, 0.99), prefix, quantile(v, 1), prefix)
}

// quantile is one of sorted latencies, in microseconds.
func quantile(v []time.Duration, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return float64(v[min(int(q*float64(len(v))), len(v)-1)].Nanoseconds()) / 1000
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ops are what others do.
var ops = [...]struct {
	name string
	cmd  []byte
}{
	{"GET", resp.AppendCommandStrings(nil, "GET", "other:key")},
	{"SET", resp.AppendCommandStrings(nil, "SET", "other:key", value)},
}

// othersEach is how many connections do each of the ops, and othersEvery how often.
const (
	othersEach  = 2
	othersEvery = time.Millisecond
)

const latencyMark = "replay latency"

// latencyTable is the table of what others feel, by flushers and pace.
func latencyTable(all results) string {
	var b strings.Builder
	b.WriteString("| journals at once, pace | GET p50, p99 | of the idle p99 | SET p50, p99 | of the idle p99 | entries, thousand/s | a million takes |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	of := func(t trial, op, unit string) spread {
		return spreadOf(all[fmt.Sprintf("BenchmarkLatency/flushers=%d/pace=%s/op=%s", t.flushers, t.pace, op)][unit])
	}
	var idle [len(ops)][2][]float64
	for _, t := range trialsIn(all) {
		fmt.Fprintf(&b, "| %d, %s |", t.flushers, t.pace)
		for i, op := range ops {
			ratio := of(t, op.name, "p99-ratio")
			fmt.Fprintf(&b, " %.2f, %.2f ms | %.1f (%.1f–%.1f) |", of(t, op.name, "p50-us").mid/1000, of(t, op.name, "p99-us").mid/1000,
				ratio.mid, ratio.low, ratio.high)
			idle[i][0] = append(idle[i][0], of(t, op.name, "idle-p50-us").mid)
			idle[i][1] = append(idle[i][1], of(t, op.name, "idle-p99-us").mid)
		}
		rate := of(t, ops[0].name, "entries/s").mid
		fmt.Fprintf(&b, " %.0f | %.1f s |\n", rate/1000, 1e6/max(rate, 1))
	}
	b.WriteString("| idle |")
	for i := range ops {
		fmt.Fprintf(&b, " %.2f, %.2f ms | 1 |", spreadOf(idle[i][0]).mid/1000, spreadOf(idle[i][1]).mid/1000)
	}
	b.WriteString(" | |\n")
	return b.String()
}

// trialsIn are those of some measurements, by flushers and pace.
func trialsIn(all results) []trial {
	var found []trial
	for name := range all {
		var t trial
		rest, ok := strings.CutPrefix(name, "BenchmarkLatency/flushers=")
		number, rest, _ := strings.Cut(rest, "/pace=")
		t.pace, _, _ = strings.Cut(rest, "/op=")
		n, err := strconv.Atoi(number)
		if t.flushers = n; ok && err == nil && !slices.Contains(found, t) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(x, y trial) int {
		if x.flushers != y.flushers {
			return x.flushers - y.flushers
		}
		return -strings.Compare(x.pace, y.pace) // off comes before default
	})
	return found
}

// lineOf reads one line of a program's output, which has to begin with a word, and
// returns the rest of it.
func lineOf(in *bufio.Reader, want string) (rest string, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word != want {
		return "", fmt.Errorf("it said %q, not %q", strings.TrimSpace(line), want)
	}
	return rest, nil
}
