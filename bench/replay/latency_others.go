package main

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// others are the other clients of a server: each sends a command every so often and
// measures how long it takes.
type others struct {
	conns []net.Conn
	quit  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu    sync.Mutex // guards what follows
	times [len(ops)][]time.Duration
	err   error
}

func startOthers(addr string) (*others, error) {
	o := &others{quit: make(chan struct{})}
	for i := range ops {
		for range othersEach {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return nil, errors.Join(err, o.stop())
			}
			o.conns = append(o.conns, c)
			o.wg.Go(func() { o.run(i, c) })
		}
	}
	return o, nil
}

// run sends an op until the end.
func (o *others) run(op int, c net.Conn) {
	in := resp.NewReader(bufio.NewReader(c))
	for {
		select {
		case <-time.After(othersEvery):
		case <-o.quit:
			return
		}
		begun := time.Now()
		_, err := c.Write(ops[op].cmd)
		if err == nil {
			_, err = in.ReadValue()
		}
		took := time.Since(begun)
		o.mu.Lock()
		// Those who would have sent in the meantime would have waited for the rest of it.
		for ; took > 0; took -= othersEvery {
			o.times[op] = append(o.times[op], took)
		}
		o.err = errors.Join(o.err, err)
		o.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take returns the latencies since the last call, sorted.
func (o *others) take() (times [len(ops)][]time.Duration) {
	o.mu.Lock()
	times, o.times = o.times, times
	o.mu.Unlock()
	for i := range times {
		slices.Sort(times[i])
	}
	return times
}

// stop ends them; the error is of whoever failed.
func (o *others) stop() error {
	o.once.Do(func() { close(o.quit) })
	o.wg.Wait()
	for _, c := range o.conns {
		_ = c.Close() // nothing is under way on it
	}
	o.conns = nil
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
