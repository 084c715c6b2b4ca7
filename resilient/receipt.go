package resilient

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Outcome is what became of the writes made under a receipt. The zero value is
// OutcomeDirect.
type Outcome uint8

// The outcomes. Of several writes under one receipt the highest counts.
const (
	// OutcomeDirect: nothing was deferred; replies and errors are the server's,
	// or refusals.
	OutcomeDirect Outcome = iota
	// OutcomeDeferred: a write was accepted into the journal.
	OutcomeDeferred
	// OutcomeInDoubt: of a write it is not known whether it was applied.
	OutcomeInDoubt
)

// String is the outcome in logs, such as "deferred".
func (o Outcome) String() string {
	switch o {
	case OutcomeDirect:
		return "direct"
	case OutcomeDeferred:
		return "deferred"
	case OutcomeInDoubt:
		return "in doubt"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Durability is how safe a deferred write is in this process. The zero value is
// DurabilityNone.
type Durability uint8

// The degrees of durability.
const (
	DurabilityNone   Durability = iota // nothing was deferred
	DurabilityMemory                   // a crash of the process loses it: Options.Dir is empty
	DurabilityOS                       // a crash of the machine can lose it: FsyncEverySec, FsyncNo
	DurabilityDisk                     // on disk: FsyncAlways
)

// String is the durability in logs, such as "disk".
func (d Durability) String() string {
	switch d {
	case DurabilityNone:
		return "none"
	case DurabilityMemory:
		return "memory"
	case DurabilityOS:
		return "os"
	case DurabilityDisk:
		return "disk"
	}
	return fmt.Sprintf("durability(%d)", uint8(d))
}

// Receipt tells the fate of the writes that were made with one context. It is
// safe for concurrent use.
type Receipt struct {
	mu         sync.Mutex // guards what follows
	outcome    Outcome
	parts      []receiptPart // of each client in turn; the last one of the newest write
	durability Durability
	estimated  bool
}

// receiptPart are writes that one client deferred.
type receiptPart struct {
	client string   // the journal's client id
	seqs   []uint64 // ascending but for concurrent calls
	await  func(context.Context, []uint64) error
}

type receiptKey struct{}

// WithReceipt returns a context that collects a receipt of the writes that are
// made with it: of a single command, of a pipeline or transaction as a whole, or
// of several calls. A receipt costs a command that is not deferred nothing.
func WithReceipt(ctx context.Context) (context.Context, *Receipt) {
	r := new(Receipt)
	return context.WithValue(ctx, receiptKey{}, r), r
}

// Outcome is what became of the writes so far.
func (r *Receipt) Outcome() Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome
}

// Seq is the place of the last deferred write in the journal of its client; 0 when
// none was deferred. A transaction has one place.
func (r *Receipt) Seq() uint64 {
	_, seq := r.last()
	return seq
}

// last is the last deferred write.
func (r *Receipt) last() (client string, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.parts) == 0 {
		return "", 0
	}
	p := &r.parts[len(r.parts)-1]
	return p.client, slices.Max(p.seqs)
}

// ID names the last deferred write for ever, as "<client id>-<seq>": in the ledger,
// for journalctl and in reports. It is empty when nothing was deferred.
func (r *Receipt) ID() string {
	client, seq := r.last()
	if seq == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d", client, seq)
}

// Deferred is the number of journal entries made.
func (r *Receipt) Deferred() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for i := range r.parts {
		n += len(r.parts[i].seqs)
	}
	return n
}

// Durability is how safe the deferred writes are until they have been replayed; of
// several clients' writes, how safe the least safe are.
func (r *Receipt) Durability() Durability {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.durability
}

// Exact reports that every reply given to a deferred write is the one that Redis
// would have given, as long as no other process writes the same keys. False:
// some reply is an estimate, such as the id of an XADD * or what rests on the
// state of a key that no server could tell.
func (r *Receipt) Exact() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.estimated
}

// Wait returns nil once the deferred writes have been executed by a primary and
// confirmed as [Options.ReplicaAcks] asks, at once when none was deferred. The
// error matches [ErrDeadLettered] when a write was kept aside instead, [ErrInDoubt]
// for the outcome of that name, and else is the context's or [ErrClosed].
func (r *Receipt) Wait(ctx context.Context) error {
	r.mu.Lock()
	outcome, parts := r.outcome, slices.Clone(r.parts)
	for i := range parts {
		parts[i].seqs = slices.Clone(parts[i].seqs)
	}
	r.mu.Unlock()
	if outcome == OutcomeInDoubt {
		return ErrInDoubt
	}
	for i := range parts {
		if err := parts[i].await(ctx, parts[i].seqs); err != nil {
			return err
		}
	}
	return nil
}

func receiptOf(ctx context.Context) *Receipt {
	r, _ := ctx.Value(receiptKey{}).(*Receipt)
	return r
}

// deferred enters an accepted write.
func (r *Receipt) deferred(client string, seq uint64, exact bool, d Durability, await func(context.Context, []uint64) error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome = max(r.outcome, OutcomeDeferred)
	if r.durability == DurabilityNone || d < r.durability {
		r.durability = d
	}
	r.estimated = r.estimated || !exact
	i := slices.IndexFunc(r.parts, func(p receiptPart) bool { return p.client == client })
	p := receiptPart{client: client, await: await}
	if i >= 0 {
		p = r.parts[i]
		r.parts = slices.Delete(r.parts, i, i+1)
	}
	p.seqs = append(p.seqs, seq)
	r.parts = append(r.parts, p)
}

func (r *Receipt) inDoubt() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome = OutcomeInDoubt
}
