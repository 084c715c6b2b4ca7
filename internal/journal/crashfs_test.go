package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// errCrashed is what everything answers from the crash on.
var errCrashed = errors.New("the machine has crashed")

// crashFS is a file system that can lose power. It keeps, for each file, every
// state since its last sync, and the changes of names since the directory was
// last synced. After a crash each sector of a file is that of any of those
// states, its size too, and any of the changes of names have happened: more than
// a real disk would do, and nothing that POSIX forbids it.
type crashFS struct {
	mu      sync.Mutex // guards the fields below and all nodes
	rnd     *rand.Rand
	names   map[string]*node // as processes see them
	durable map[string]*node
	changes []change // since durable, in order

	points  map[string]int // how often each kind of operation was a possible crash
	left    int            // operations until the crash; 0: there will be none
	crashed bool
	fault   func(op, name string) error // what fails without a crash; nil: nothing
	story   []string                    // what has happened, for whoever reads a failure
}

// node is the content of a file.
type node struct {
	states   [][]byte // the first is synced, the last is what processes see
	poisoned bool     // a sync failed: the system believes all to be synced
}

// change is one operation on names; to is empty for a removal, and from for a
// creation.
type change struct {
	from, to string
	node     *node
}

func newCrashFS(rnd *rand.Rand) *crashFS {
	return &crashFS{rnd: rnd, names: map[string]*node{}, durable: map[string]*node{}, points: map[string]int{}}
}

// clone is a copy that goes its own way, with chance of its own.
func (c *crashFS) clone(rnd *rand.Rand) *crashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	copies := make(map[*node]*node)
	copyOf := func(n *node) *node {
		if n != nil && copies[n] == nil {
			copies[n] = &node{states: slices.Clone(n.states), poisoned: n.poisoned}
		}
		return copies[n]
	}
	d := newCrashFS(rnd)
	for name, n := range c.names {
		d.names[name] = copyOf(n)
	}
	for name, n := range c.durable {
		d.durable[name] = copyOf(n)
	}
	for _, ch := range c.changes {
		d.changes = append(d.changes, change{ch.from, ch.to, copyOf(ch.node)})
	}
	d.crashed = c.crashed
	d.story = slices.Clone(c.story)
	return d
}

// point is a place where a crash can happen: between the operation that is
// about to be done and its end. done says that it has happened before.
func (c *crashFS) point(op, name string) (done bool, err error) {
	if c.crashed {
		return true, errCrashed
	}
	c.points[op]++
	c.story = append(c.story, op+" "+name)
	if c.left > 0 {
		if c.left--; c.left == 0 {
			c.crashed = true
			return false, errCrashed
		}
	}
	if c.fault != nil {
		return false, c.fault(op, name)
	}
	return false, nil
}

// crashIn lets the nth operation from now on be the last.
func (c *crashFS) crashIn(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

// hasCrashed reports whether it came to that.
func (c *crashFS) hasCrashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashed
}

// restart ends the crash. power: what was not synced is what chance made of it;
// otherwise only the process died, and what it did is all there, synced or not.
func (c *crashFS) restart(power bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashed, c.left, c.fault = false, 0, nil
	c.story = append(c.story, fmt.Sprintf("restart, power lost %v", power))
	if !power {
		return
	}
	share := []float64{0, 1, 0.5, c.rnd.Float64()}[c.rnd.IntN(4)]
	for _, ch := range c.changes {
		if c.rnd.Float64() < share {
			ch.apply(c.durable)
		}
	}
	c.changes = nil
	c.names = make(map[string]*node, len(c.durable))
	for name, n := range c.durable {
		n.states, n.poisoned = [][]byte{c.afterwards(n.states)}, false
		c.names[name] = n
	}
}

func (ch change) apply(names map[string]*node) {
	if ch.from != "" {
		delete(names, ch.from)
	}
	if ch.to != "" {
		names[ch.to] = ch.node
	}
}

// afterwards is what a crash leaves of a file.
func (c *crashFS) afterwards(states [][]byte) []byte {
	pick := func() []byte { return states[c.rnd.IntN(len(states))] }
	switch c.rnd.IntN(4) {
	case 0:
		return states[0]
	case 1:
		return states[len(states)-1]
	case 2:
		return pick()
	}
	// Mostly sectors; what tears finer than that must do no harm either.
	sector := []int{512, 512, 512, 16}[c.rnd.IntN(4)]
	b := make([]byte, len(pick()))
	for off := 0; off < len(b); off += sector {
		if from := pick(); off < len(from) {
			copy(b[off:min(off+sector, len(b))], from[off:])
		}
	}
	return b
}

func (c *crashFS) change(op, name string, ch change) error {
	if done, err := c.point(op, name); err != nil {
		if !done && errors.Is(err, errCrashed) {
			c.changes = append(c.changes, ch)
			ch.apply(c.names)
		}
		return err
	}
	c.changes = append(c.changes, ch)
	ch.apply(c.names)
	return nil
}

func (c *crashFS) create(name string) (file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := &node{states: [][]byte{nil}}
	if err := c.change("create", name, change{to: name, node: n}); err != nil {
		return nil, err
	}
	return &crashFile{c, n, name}, nil
}

func (c *crashFS) open(name string) (file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := c.names[name]; {
	case c.crashed:
		return nil, errCrashed
	case n == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	default:
		return &crashFile{c, n, name}, nil
	}
}

func (c *crashFS) openRW(name string) (file, error) { return c.open(name) }

func (c *crashFS) remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[name] == nil && !c.crashed {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	return c.change("remove", name, change{from: name})
}

func (c *crashFS) rename(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[from]
	if n == nil && !c.crashed {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	return c.change("rename", from, change{from: from, to: to, node: n})
}

func (c *crashFS) list() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crashed {
		return nil, errCrashed
	}
	names := make([]string, 0, len(c.names))
	for name := range c.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (c *crashFS) syncDir() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.point("sync of the directory", ""); err != nil {
		return err
	}
	for _, ch := range c.changes {
		ch.apply(c.durable)
	}
	c.changes = nil
	return nil
}

// crashFile is an open file.
type crashFile struct {
	fs   *crashFS
	node *node
	name string
}

func (f *crashFile) seen() []byte { return f.node.states[len(f.node.states)-1] }

func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.crashed {
		return 0, errCrashed
	}
	return bytes.NewReader(f.seen()).ReadAt(b, off)
}

// set makes b what processes see, unless the operation fails: then, if the
// crash came while it was under way, it may have happened or not.
func (f *crashFile) set(op string, b []byte) error {
	done, err := f.fs.point(op, f.name)
	if err == nil || !done && (errors.Is(err, errCrashed) || op == "write") {
		f.node.states = append(f.node.states, b)
	}
	return err
}

func (f *crashFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	now := bytes.Clone(f.seen())
	if end := int(off) + len(b); end > len(now) {
		now = append(now, make([]byte, end-len(now))...)
	}
	copy(now[off:], b)
	if err := f.set("write", now); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *crashFile) truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	now := bytes.Clone(f.seen())
	if int(size) > len(now) {
		now = append(now, make([]byte, int(size)-len(now))...)
	}
	return f.set("truncate", now[:size])
}

func (f *crashFile) allocate(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	now := bytes.Clone(f.seen())
	// What is allocated is 64 KiB at least; a little shows as much, and is faster.
	if end := int(off + min(n, 1000)); end > len(now) {
		now = append(now, make([]byte, end-len(now))...)
	}
	return f.set("allocate", now)
}

func (f *crashFile) sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.fs.point("sync", f.name); err != nil {
		// The system drops what it could not write and will not try again.
		f.node.poisoned = f.node.poisoned || !errors.Is(err, errCrashed)
		return err
	}
	if !f.node.poisoned {
		f.node.states = [][]byte{f.seen()}
	}
	return nil
}

func (f *crashFile) close() error { return nil }

func (f *crashFile) size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.crashed {
		return 0, errCrashed
	}
	return int64(len(f.seen())), nil
}

var _ io.ReaderAt = (*crashFile)(nil)

// failOn lets the operation fail from now on, for files whose name ends so; nil
// lets all pass again.
func (c *crashFS) failOn(op, suffix string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = func(o, name string) error {
		if o == op && len(name) >= len(suffix) && name[len(name)-len(suffix):] == suffix {
			return err
		}
		return nil
	}
	if err == nil {
		c.fault = nil
	}
}

var errNoSpace = &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}

// tell adds to the story.
func (c *crashFS) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.story = append(c.story, "  "+fmt.Sprintf(format, args...))
}
