package replay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// How often a replica that is behind is asked for its offset, and the primary,
// while replicas are waited for, whether it is still the same.
const (
	minPoll    = 5 * time.Millisecond
	maxPoll    = 100 * time.Millisecond
	checkEvery = 200 * time.Millisecond
)

// acker trims what the replicas have, beside the sending, so that no batch waits
// for them. It lives as long as its session.
type acker struct {
	r       *Replayer
	s       *session
	acked   chan struct{} // of capacity 1: the session has applied more
	drained chan uint64   // of capacity 1: all up to here is trimmed
	done    chan struct{} // closed when run has ended

	mu      sync.Mutex       // guards what follows
	err     error            // why run ended
	want    int64            // the offset that followers wait for
	seen    map[string]int64 // how far each replica is known to be
	changed chan struct{}    // closed and replaced when want or seen change

	// Of the goroutine of run alone:
	replayed  uint64 // Stats.Replayed as of the last Trim
	primary   *conn
	followers map[string]context.CancelFunc
	late      map[string]bool // missed the bound and have not caught up since
	known     []string        // the replicas of this session: see replicas
	wg        sync.WaitGroup  // of the followers
}

func newAcker(r *Replayer, s *session) *acker {
	return &acker{
		known: r.replicasOf(s.addr), r: r, s: s, replayed: r.Stats().Replayed,
		acked: make(chan struct{}, 1), drained: make(chan uint64, 1), done: make(chan struct{}),
		seen: map[string]int64{}, changed: make(chan struct{}),
		followers: map[string]context.CancelFunc{}, late: map[string]bool{},
	}
}

// failed is why run ended, nil if it has not.
func (a *acker) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// run trims until ctx ends or the session turns out to be void.
func (a *acker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	err := a.loop(ctx)
	cancel()
	a.wg.Wait()
	if a.primary != nil {
		a.primary.close()
	}
	a.mu.Lock()
	a.err = err
	a.mu.Unlock()
	close(a.done)
}

func (a *acker) loop(ctx context.Context) error {
	for {
		select {
		case <-a.acked:
		case <-ctx.Done():
			return ctx.Err()
		}
		st := a.r.Stats()
		if st.Acked > a.r.opt.Source.Bounds().Trimmed {
			if err := a.trim(ctx, st.Acked, st.Replayed); err != nil {
				return err
			}
		}
		if b := a.r.opt.Source.Bounds(); b.Trimmed >= b.Last {
			a.announce(b.Trimmed)
		}
	}
}

// announce leaves the newest value in drained.
func (a *acker) announce(upTo uint64) {
	select {
	case <-a.drained:
	default:
	}
	a.drained <- upTo // this goroutine alone sends, so there is room
}

// trim waits until the replicas have everything up to upTo, or for the bound. So much
// had been replayed by then.
func (a *acker) trim(ctx context.Context, upTo, replayed uint64) error {
	confirmed := true
	if a.need(a.replicas()) > 0 {
		offset, err := a.offset(ctx)
		if err != nil {
			return err
		}
		if err := a.save(upTo, offset); err != nil {
			return err
		}
		if confirmed, err = a.confirm(ctx, offset); err != nil {
			return err
		}
	}
	src := a.r.opt.Source
	if !confirmed { // counted first: who sees the entries gone sees the count
		a.countUnconfirmed(upTo-src.Bounds().Trimmed, replayed)
	}
	a.replayed = replayed
	if err := src.Trim(upTo, confirmed); err != nil {
		return sourceError("trim", err)
	}
	return nil
}

// countUnconfirmed counts entries whose confirmation was not had: so many sequences,
// or, where those are not all of this replay, what was sent since the last Trim.
func (a *acker) countUnconfirmed(sequences, replayed uint64) {
	if a.r.partial {
		sequences = replayed - a.replayed
	}
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	a.r.stats.Unconfirmed += sequences
}

// save stores how far the primary's history is known to reach.
func (a *acker) save(upTo uint64, offset int64) error {
	a.r.mu.Lock()
	a.r.prog.Covered, a.r.prog.Offset = upTo, offset
	p := a.r.prog
	a.r.mu.Unlock()
	if err := a.r.opt.Source.SaveProgress(p); err != nil {
		return sourceError("save its progress", err)
	}
	return nil
}

// offset asks the primary how far its history goes now, on a connection of its
// own: all that was acknowledged before lies below. It asks until there is an
// answer, as long as the session lasts.
func (a *acker) offset(ctx context.Context) (int64, error) {
	for wait := minWait; ; wait = min(2*wait, maxWait) {
		n, err := a.r.opt.ask(ctx, &a.primary, a.s.addr)
		if err == nil {
			return n.offset, a.same(n)
		}
		if err := sleep(ctx, wait); err != nil {
			return 0, err
		}
	}
}

// same reports whether the primary is still in the history that the session has
// read the fence of.
func (a *acker) same(n node) error {
	switch {
	case !n.primary || n.runID != a.s.node.runID:
		return fmt.Errorf("%w: it has been replaced", ErrNotPrimary)
	case n.replID != a.s.node.replID:
		// Either it was demoted and promoted again in between, and may have lost
		// the tail; or the first replica attached to a primary that had no backlog:
		// that renews the id and loses nothing. The fence tells the two apart.
		return errReread
	}
	return nil
}

// ask reads a node's INFO over *c, which is opened when nil and closed on errors.
func (o *Options) ask(ctx context.Context, c **conn, addr string) (node, error) {
	if *c == nil {
		var err error
		if *c, err = o.dial(ctx, addr); err != nil {
			*c = nil
			return node{}, err
		}
	}
	answers, err := (*c).query(infoCmds...)
	if err != nil {
		(*c).close()
		*c = nil
		return node{}, err
	}
	return nodeOf(answers)
}

// replicas is who might be promoted, without the primary itself. One that leaves the list
// counts on until the bound has passed once: it may have left it by being promoted, without
// these entries, and nobody is to take its absence for a confirmation.
func (a *acker) replicas() []string {
	now := a.r.replicasOf(a.s.addr)
	a.known = slices.DeleteFunc(a.known, func(addr string) bool { return a.late[addr] && !slices.Contains(now, addr) })
	for _, addr := range now {
		if !slices.Contains(a.known, addr) {
			a.known = append(a.known, addr)
		}
	}
	return a.known
}

// need is how many of addrs must confirm.
func (a *acker) need(addrs []string) int {
	switch n := a.r.opt.ReplicaAcks; {
	case n < 0:
		return 0
	case n > 0:
		return n
	}
	return len(addrs)
}

// confirm waits until enough replicas have the offset, and reports whether they
// do. It does not wait for replicas that were late before, nor for more than
// there are.
func (a *acker) confirm(ctx context.Context, offset int64) (bool, error) {
	bound := time.NewTimer(a.r.opt.AckBound)
	defer bound.Stop()
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	a.publish(func() { a.want = offset })
	for {
		addrs := a.replicas()
		a.tend(ctx, addrs)
		have, behind, changed := a.tally(addrs, offset)
		waiting := 0
		for _, addr := range behind {
			if !a.late[addr] {
				waiting++
			}
		}
		if have >= a.need(addrs) {
			return true, nil
		}
		if waiting == 0 {
			return false, nil
		}
		select {
		case <-changed:
		case <-check.C:
			// Replicas of a replaced or renewed history would never confirm.
			if n, err := a.r.opt.ask(ctx, &a.primary, a.s.addr); err == nil {
				if err := a.same(n); err != nil {
					return false, err
				}
			}
		case <-bound.C:
			for _, addr := range behind {
				a.late[addr] = true
			}
			// The replicas may be silent because the primary is gone and one of
			// them about to succeed it, without these entries. They are given back
			// only while the primary itself still stands for them.
			_, err := a.offset(ctx)
			return false, err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// tally counts the replicas that have the offset and lists those that do not. The
// channel is closed when that may have changed.
func (a *acker) tally(addrs []string, offset int64) (have int, behind []string, changed chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range addrs {
		if at, ok := a.seen[addr]; ok && at >= offset {
			have++
			delete(a.late, addr)
			continue
		}
		behind = append(behind, addr)
	}
	return have, behind, a.changed
}

// publish makes a change and tells everyone who waits for one.
func (a *acker) publish(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.changed)
	a.changed = make(chan struct{})
}

// tend starts a follower for each replica and ends those of former ones.
func (a *acker) tend(ctx context.Context, addrs []string) {
	listed := make(map[string]bool, len(addrs))
	for _, addr := range addrs {
		listed[addr] = true
		if a.followers[addr] == nil {
			fctx, cancel := context.WithCancel(ctx)
			a.followers[addr] = cancel
			a.wg.Go(func() { a.follow(fctx, addr) })
		}
	}
	for addr, cancel := range a.followers {
		if !listed[addr] {
			cancel()
			delete(a.followers, addr)
		}
	}
}

// follow asks one replica for its offset while that is below what is wanted.
func (a *acker) follow(ctx context.Context, addr string) {
	var c *conn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for wait := minPoll; ctx.Err() == nil; {
		a.mu.Lock()
		at, known := a.seen[addr]
		want, changed := a.want, a.changed
		a.mu.Unlock()
		if known && at >= want {
			wait = minPoll
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		n, err := a.r.opt.ask(ctx, &c, addr)
		// An offset means something only in the primary's own history.
		if err == nil && n.replID == a.s.node.replID && n.offset >= want {
			a.publish(func() { a.seen[addr] = n.offset })
			continue
		}
		limit := maxPoll
		if err != nil {
			limit = maxWait
		}
		if sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, limit)
	}
}
