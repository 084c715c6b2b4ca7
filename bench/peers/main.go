package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// plan is what the flags ask for.
type plan struct {
	dir            string
	rounds, opens  int
	records        int
	warmup, window time.Duration
	company        float64       // what others may take of a processor
	patience       time.Duration // for their going
	seed           uint64
}

func main() {
	if order := os.Getenv(childVariable); order != "" {
		exit(runChild(order, os.Stdout))
		return
	}
	var p plan
	flag.StringVar(&p.dir, "dir", os.TempDir(), "directory on the disk to measure")
	flag.IntVar(&p.rounds, "rounds", 7, "rounds of appends")
	flag.IntVar(&p.opens, "opens", 7, "rounds of kill and open")
	flag.IntVar(&p.records, "records", 1_000_000, "records at the kill")
	flag.DurationVar(&p.warmup, "warmup", 100*time.Millisecond, "appending before a measurement")
	flag.DurationVar(&p.window, "window", 400*time.Millisecond, "length of a measurement")
	flag.Float64Var(&p.company, "company", 0.25, "how much of a processor others may take in measurements that count")
	flag.DurationVar(&p.patience, "patience", 10*time.Minute, "time to spend on waiting for others and on measuring again; then they count")
	flag.Uint64Var(&p.seed, "seed", 1, "seed of the orders within the rounds")
	file := flag.String("o", "", "file for the measurements; without it they go to the output")
	table := flag.String("table", "", "print the tables of this file of measurements instead of measuring")
	into := flag.String("into", "", "with -table: put them between the marks of this file")
	flag.Parse()
	if *table != "" {
		exit(printTables(*table, *into, os.Stdout))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(measureInto(ctx, p, *file))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// measureInto measures into file, which gets its name only when it is whole.
func measureInto(ctx context.Context, p plan, file string) (err error) {
	if file == "" {
		return measure(ctx, p, os.Stdout)
	}
	part := file + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	if err := errors.Join(measure(ctx, p, io.MultiWriter(f, os.Stdout)), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, file)
}
