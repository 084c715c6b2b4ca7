package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// What the two processes say to each other, a line each. Behind the last one is the
// processor time that the drain took, in nanoseconds.
const (
	wordReady = "ready"
	wordGo    = "go"
	wordDone  = "done"
)

// flush is another process of this program, which replays: others are not to share a Go
// runtime with it.
type flush struct {
	cmd   *exec.Cmd
	order io.WriteCloser
	said  *bufio.Reader
	ended bool
}

// startFlush starts it and returns when its journals are filled.
func startFlush(ctx context.Context, addr string, p latencyPlan, t trial) (*flush, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &flush{cmd: exec.CommandContext(ctx, self, "latency", "-flush", addr, "-n", strconv.Itoa(p.n),
		"-load", p.load, "-flushers", strconv.Itoa(t.flushers), "-paces", t.pace)}
	f.cmd.Stderr = os.Stderr
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if f.order, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	f.said = bufio.NewReader(out)
	if _, err := lineOf(f.said, wordReady); err != nil {
		f.kill()
		return nil, fmt.Errorf("the flushing process: %w", err)
	}
	return f, nil
}

// drain lets it replay all, and returns the processor time that this took.
func (f *flush) drain() (cpu time.Duration, err error) {
	if _, err := fmt.Fprintln(f.order, wordGo); err != nil {
		return 0, err
	}
	rest, err := lineOf(f.said, wordDone)
	if err != nil {
		return 0, fmt.Errorf("the flushing process: %w", err)
	}
	ns, err := strconv.ParseInt(rest, 10, 64)
	f.ended = true
	return time.Duration(ns), errors.Join(err, f.order.Close(), f.cmd.Wait())
}

// kill ends it, if it has not ended.
func (f *flush) kill() {
	if !f.ended {
		_ = f.cmd.Process.Kill()
		_ = f.cmd.Wait()
		f.ended = true
	}
}

// flushTo is that process.
func flushTo(ctx context.Context, addr string, p latencyPlan) error {
	trials, err := p.trials()
	if err != nil {
		return err
	}
	t := trials[0]
	rate, err := rateOf(t.pace)
	if err != nil {
		return err
	}
	drains := make([]func() error, t.flushers)
	for i := range drains {
		l, err := loadNamed(p.load)
		if err != nil {
			return err
		}
		// The last one takes what does not divide.
		j := &job{load: l, n: p.n*(i+1)/t.flushers - p.n*i/t.flushers, addr: addr}
		if drains[i], err = readyToDrain(ctx, j, rate); err != nil {
			return err
		}
	}
	fmt.Println(wordReady)
	if _, err := lineOf(bufio.NewReader(os.Stdin), wordGo); err != nil {
		return err
	}
	_, before, _ := cpuTimes()
	results := make(chan error)
	for _, d := range drains {
		go func() { results <- d() }()
	}
	err = nil
	for range drains {
		err = errors.Join(err, <-results)
	}
	if err == nil {
		_, after, _ := cpuTimes()
		fmt.Println(wordDone, (after - before).Nanoseconds())
	}
	return err
}

func loadNamed(name string) (load, error) {
	for _, l := range loads {
		if l.name == name {
			return l, nil
		}
	}
	return load{}, fmt.Errorf("-load: there is no load %q", name)
}

// readyToDrain fills a journal in memory, and returns what replays it.
func readyToDrain(ctx context.Context, j *job, rate int) (func() error, error) {
	log, err := fillJournal(ctx, j, "")
	if err != nil {
		return nil, err
	}
	return func() error { return drainPaced(ctx, log, j, rate) }, nil
}

// drainPaced replays a journal, and returns when everything is in the server.
func drainPaced(ctx context.Context, log *journal.Journal, j *job, rate int) error {
	src := backlog.New(ctx, backlog.Options{Journal: log, Now: time.Now})
	last := src.Bounds().Last
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rp, err := replay.New(replay.Options{
		ClientID: rand.Text(), Source: src, Rate: rate,
		Hooks: replay.Hooks{Drained: func(upTo uint64) {
			if upTo == last {
				cancel()
			}
		}},
	})
	if err != nil {
		return err
	}
	err = rp.Run(ctx, replay.Target{Addr: j.addr})
	if st := rp.Stats(); st.Replayed != uint64(j.n) {
		return fmt.Errorf("%d of %d entries were replayed: %w", st.Replayed, j.n, err)
	}
	return nil
}
