package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	killedSize  = 100    // bytes of a record that is there at the kill
	killedGroup = 10_000 // records that are made durable together before it
	killedMore  = 1024   // callers that go on appending until it
	childLimit  = time.Minute
)

// reopened is what a process found that opened a store after a kill.
type reopened struct {
	open, read time.Duration
	records    int  // all that could be read
	whole      bool // the acknowledged ones are there, each once, in order
}

// line is the measurement as a Go benchmark prints it.
func (r reopened) line(peer string) string {
	whole := 0
	if r.whole {
		whole = 1
	}
	return fmt.Sprintf("BenchmarkOpen/peer=%s 1 %d ns/op %d read-ns %d records %d whole",
		peer, r.open.Nanoseconds(), r.read.Nanoseconds(), r.records, whole)
}

// failedLine says that the store could not be opened or read.
func failedLine(peer string, err error) string {
	return fmt.Sprintf("# open of %s failed: %s", peer, strings.ReplaceAll(err.Error(), "\n", "; "))
}

// measureOpen fills a store below parent in a process of its own, kills that,
// and opens the store in another.
func measureOpen(ctx context.Context, parent, name string, records int) (_ reopened, err error) {
	dir, err := os.MkdirTemp(parent, name)
	if err != nil {
		return reopened{}, err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(dir))
		settle()
	}()
	ctx, cancel := context.WithTimeout(ctx, childLimit)
	defer cancel()
	if err := fillAndKill(ctx, dir, name, records); err != nil {
		return reopened{}, fmt.Errorf("filling: %w", err)
	}
	out, err := child(ctx, "open", dir, name, records).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			first, _, _ := strings.Cut(string(exit.Stderr), "\n")
			err = fmt.Errorf("%w: %s", err, first)
		}
		return reopened{}, err
	}
	var r reopened
	if _, err := fmt.Sscan(string(out), &r.open, &r.read, &r.records, &r.whole); err != nil {
		return reopened{}, fmt.Errorf("the opening process said %q: %w", out, err)
	}
	return r, nil
}

// child is this program as a process that does one thing.
func child(ctx context.Context, what, dir, name string, records int) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s %s", childVariable, what, records, name, dir))
	return cmd
}

// childVariable tells a process that it is a child, and of which kind.
const childVariable = "PEERS_CHILD"

// runChild does what order, a value of childVariable, says.
func runChild(order string, out io.Writer) error {
	var what, name string
	var records int
	if _, err := fmt.Sscan(order, &what, &records, &name); err != nil {
		return fmt.Errorf("%s=%q: %w", childVariable, order, err)
	}
	dir := strings.SplitN(order, " ", 4)[3]
	p, err := peerNamed(peers, name)
	if err != nil {
		return err
	}
	switch what {
	case "fill":
		return runFill(p, dir, records, out)
	case "open":
		return runOpen(p, dir, records, out)
	}
	return fmt.Errorf("%s: %q is not known", childVariable, what)
}

// fillAndKill returns when a process that appends to the store is dead.
func fillAndKill(ctx context.Context, dir, name string, records int) error {
	cmd := child(ctx, "fill", dir, name, records)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		// In the middle of whatever it does.
		<-time.After(5*time.Millisecond + rand.N(50*time.Millisecond))
	}
	killErr := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if err != nil {
		return fmt.Errorf("it ended after %q: %w", line, err)
	}
	return killErr
}

// runFill appends records, says so, and appends more until it is killed.
func runFill(p peer, dir string, records int, out io.Writer) error {
	s, err := p.open(dir, killedMore)
	if err != nil {
		return err
	}
	record := make([]byte, killedSize)
	for first := 0; first < records; first += killedGroup {
		err := s.appendGroup(min(killedGroup, records-first), func(i int) []byte {
			binary.LittleEndian.PutUint64(record, uint64(first+i))
			return record
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "filled")
	failed := make(chan error)
	for range killedMore {
		go func() {
			record := make([]byte, killedSize)
			for {
				if err := s.append(record); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// runOpen opens the store, reads it, and prints what reopened holds.
func runOpen(p peer, dir string, records int, out io.Writer) error {
	start := time.Now()
	s, err := p.open(dir, killedMore)
	if err != nil {
		return err
	}
	r := reopened{open: time.Since(start), whole: true}
	start = time.Now()
	err = s.scan(func(record []byte) bool {
		n := r.records
		r.records++
		if n < records && (len(record) != killedSize || binary.LittleEndian.Uint64(record) != uint64(n)) {
			r.whole = false
		}
		return true
	})
	r.read = time.Since(start)
	r.whole = r.whole && r.records >= records
	if err = errors.Join(err, s.close()); err != nil {
		return err
	}
	fmt.Fprintln(out, int64(r.open), int64(r.read), r.records, r.whole)
	return nil
}
