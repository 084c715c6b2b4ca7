package resilient

import (
	"context"
	"slices"
	"sync"
)

// fates tells those who hold a receipt what became of their entries. It is safe
// for concurrent use, and apart from the journal's files: nobody waits for a disk.
type fates struct {
	mu      sync.Mutex    // guards what follows
	trimmed chan struct{} // closed at the next Trim
	dead    []uint64      // the newest dead letters
}

func newFates() *fates { return &fates{trimmed: make(chan struct{})} }

// deadKept bounds fates.dead.
const deadKept = 1 << 16

// progressed wakes those who wait.
func (f *fates) progressed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.trimmed)
	f.trimmed = make(chan struct{})
}

// bury remembers a dead letter.
func (f *fates) bury(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = append(f.dead, seq)
	if len(f.dead) > deadKept {
		f.dead = slices.Clone(f.dead[deadKept/2:])
	}
}

// await waits until the entries are over: in the primary and its replicas. The error is that one is a
// dead letter, or that the context or the client has ended.
func (f *fates) await(ctx, life context.Context, seqs []uint64, over func(seq uint64) bool) error {
	for {
		f.mu.Lock()
		trimmed, dead := f.trimmed, f.dead
		f.mu.Unlock()
		if slices.ContainsFunc(seqs, func(seq uint64) bool { return slices.Contains(dead, seq) }) {
			return ErrDeadLettered
		}
		if !slices.ContainsFunc(seqs, func(seq uint64) bool { return !over(seq) }) {
			return nil
		}
		select {
		case <-trimmed:
		case <-ctx.Done():
			return ctx.Err()
		case <-life.Done():
			return ErrClosed
		}
	}
}
