package resilient_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// campaignChild is an application's process as the campaign sees it.
type campaignChild struct {
	t       *testing.T
	writers []campaignWriter
	rate    int
	cmd     *exec.Cmd
	in      io.WriteCloser
	log     tail
	over    chan struct{} // closed when its output has ended

	mu      sync.Mutex // guards what follows
	figures campaignFigures
	awaited map[string]bool // the replicas that it waits for
	said    map[string]int  // its single words, and how often
	changed chan struct{}   // closed and replaced with each line but those of writes
	fault   error           // its output could not be read
}

// campaignFigures are those of a process that have come last.
type campaignFigures struct{ replayed, entries, unconfirmed, dead, adopted uint64 }

// startCampaignChild starts a process and waits until it is ready.
func startCampaignChild(ctx context.Context, t *testing.T, k campaignTask, ledger *campaignLedger) *campaignChild {
	t.Helper()
	task, err := json.Marshal(k)
	check(t, err)
	c := &campaignChild{
		t: t, writers: k.Writers, rate: k.Rate, cmd: exec.Command(os.Args[0]), over: make(chan struct{}),
		said: map[string]int{}, changed: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), roleVariable+"=campaign", taskVariable+"="+string(task))
	c.cmd.Stderr = &c.log
	c.in, err = c.cmd.StdinPipe()
	check(t, err)
	out, err := c.cmd.StdoutPipe()
	check(t, err)
	check(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // if it still runs
		<-c.over
		if t.Failed() {
			t.Logf("process %d said at last: %s", c.cmd.Process.Pid, c.log.String())
		}
	})
	go c.hear(bufio.NewReaderSize(out, 1<<20), ledger)
	c.await(ctx, "a process to be ready", func() bool { return c.said["ready"] > 0 && c.said["s"] > 0 })
	return c
}

// hear reads what the process says, until it ends. What it had no time to end is left out.
func (c *campaignChild) hear(out *bufio.Reader, ledger *campaignLedger) {
	defer close(c.over)
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if fields[0] == "w" {
			err = ledger.told(c.cmd.Process.Pid, fields)
		} else {
			err = c.heard(fields)
		}
		if err != nil {
			c.mu.Lock()
			c.fault = fmt.Errorf("the process said %q: %w", line, err)
			c.mu.Unlock()
		}
	}
}

func (c *campaignChild) heard(fields []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[fields[0]]++
	switch fields[0] {
	case "s":
		f := &c.figures
		for i, at := range []*uint64{&f.replayed, &f.entries, &f.unconfirmed, &f.dead, &f.adopted} {
			n, err := strconv.ParseUint(fields[1+i], 10, 64)
			if err != nil {
				return err
			}
			*at = n
		}
	case "k":
		c.awaited = map[string]bool{}
		for _, addr := range fields[1:] {
			c.awaited[addr] = true
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// await waits for a condition of what the process has said; c.mu is held for it.
func (c *campaignChild) await(ctx context.Context, what string, cond func() bool) {
	c.t.Helper()
	if !c.reaches(ctx, cond) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.t.Fatalf("waited for %s: %+v, %v, awaits %v, %v", what, c.figures, c.said, c.awaited, c.fault)
	}
}

// reaches is await, and reports whether it came to be.
func (c *campaignChild) reaches(ctx context.Context, cond func() bool) bool {
	for {
		c.mu.Lock()
		ok, changed := cond(), c.changed
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-c.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// now is the figures.
func (c *campaignChild) now() campaignFigures {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.figures
}

// order gives an order and waits for its answer; without one it returns at once.
func (c *campaignChild) order(ctx context.Context, answer, format string, args ...any) {
	c.t.Helper()
	c.mu.Lock()
	before := c.said[answer]
	c.mu.Unlock()
	_, err := fmt.Fprintf(c.in, format+"\n", args...)
	check(c.t, err)
	if answer != "" {
		c.await(ctx, "a process to be "+answer, func() bool { return c.said[answer] > before })
	}
}

// kill kills the process and waits until all that it had said is entered.
func (c *campaignChild) kill() {
	c.t.Helper()
	check(c.t, c.cmd.Process.Kill())
	<-c.over
	_ = c.cmd.Wait() // killed
}

// end lets the process close its client and end.
func (c *campaignChild) end() {
	c.t.Helper()
	check(c.t, c.in.Close())
	<-c.over
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("a process ended: %v", err)
	}
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if len(l.text) > 1<<14 {
		l.text = append([]byte(nil), l.text[len(l.text)-1<<13:]...)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
