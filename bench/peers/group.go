package main

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// committer is group commit for what has none of its own, in the journal's way:
// one goroutine writes what has come together during the last write. B is a
// batch; add and write are called by one goroutine at a time.
type committer[B any] struct {
	add   func(batch *B, record []byte) // copies
	write func(batch *B) error          // returns when it is durable, the batch emptied

	wake    chan struct{} // capacity 1: there is a group
	stop    chan struct{} // closed by close
	stopped chan struct{} // closed when the writer has ended
	queued  atomic.Int64  // records in group

	// mu guards the fields below; it is not held while writing.
	mu    sync.Mutex
	group *group[B]
	spare []*B
}

// group is what one write makes durable; err is set before done closes.
type group[B any] struct {
	batch *B
	count int64
	done  chan struct{}
	err   error
}

var errGone = errors.New("an earlier write failed")

// newCommitter starts a committer; close ends it.
func newCommitter[B any](add func(batch *B, record []byte), write func(batch *B) error) *committer[B] {
	c := &committer[B]{
		add: add, write: write,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go c.run()
	return c
}

func (c *committer[B]) append(record []byte) error {
	c.mu.Lock()
	g := c.addLocked(record)
	c.mu.Unlock()
	return c.await(g)
}

func (c *committer[B]) appendGroup(n int, record func(i int) []byte) error {
	var g *group[B]
	c.mu.Lock()
	for i := range n {
		g = c.addLocked(record(i))
	}
	c.mu.Unlock()
	return c.await(g)
}

func (c *committer[B]) addLocked(record []byte) *group[B] {
	g := c.group
	if g == nil {
		g = &group[B]{done: make(chan struct{})}
		if last := len(c.spare) - 1; last >= 0 {
			g.batch, c.spare = c.spare[last], c.spare[:last]
		} else {
			g.batch = new(B)
		}
		c.group = g
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.add(g.batch, record)
	g.count++
	c.queued.Store(g.count)
	return g
}

func (c *committer[B]) await(g *group[B]) error {
	<-g.done
	return g.err
}

// run writes the groups. Like the journal it gathers by yielding, at most 50
// times, if the last group was of more than one.
func (c *committer[B]) run() {
	defer close(c.stopped)
	shared, failed := false, false
	for {
		select {
		case <-c.wake:
		case <-c.stop:
			return
		}
		if shared {
			c.gather()
		}
		g := c.take()
		if g == nil {
			continue
		}
		shared = g.count > 1
		if g.err = errGone; !failed {
			g.err = c.write(g.batch)
			failed = g.err != nil
		}
		close(g.done)
		if !failed {
			c.mu.Lock()
			c.spare = append(c.spare, g.batch)
			c.mu.Unlock()
		}
	}
}

func (c *committer[B]) gather() {
	n := c.queued.Load()
	for range 50 {
		runtime.Gosched()
		m := c.queued.Load()
		if m == n {
			return
		}
		n = m
	}
}

func (c *committer[B]) take() *group[B] {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.group
	c.group = nil
	c.queued.Store(0)
	return g
}

// close ends the writer. Nothing may be appended any more.
func (c *committer[B]) close() {
	close(c.stop)
	<-c.stopped
}
