package overlay

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Request is one command for the overlay.
type Request struct {
	DB   int
	Args [][]byte // the name and its arguments, only read, and not kept

	// OnlyHeld refuses the write with ErrNotHeld unless one of its keys is held
	// already: for the time of replay, when other keys go to the primary.
	OnlyHeld bool

	// Commit takes the write's sequence and enqueues it in the journal. Required
	// for writes; called at most once, only when the write changes something or
	// may change something at the server, under the locks of the keys: it must
	// be quick, do no I/O and not call the overlay. Sequences begin at 1 and
	// rise with each call. Its error takes the write back and is returned as it
	// is. The effect is what the journal must keep beside the write.
	Commit func(Effect) (seq uint64, err error)
}

// Result is the answer to a Request.
type Result struct {
	// Reply is what Redis would answer, an error reply included. It shares
	// memory with the overlay: it may be kept, but its bytes not be changed.
	Reply resp.Value

	// Seq is the write's sequence, or 0 when nothing had to be journaled. Of a
	// read it is the last write's that names one of the keys: the reply may be
	// rolled back until that is durable.
	Seq uint64

	// Exact says that the reply rests on nothing unknown. When false it is an
	// estimate from this process's own writes.
	Exact bool

	// Based says that the reply rests on a seed, and so is only as good as the
	// claim that nobody else writes.
	Based bool

	// ExpireAt is the deadline of the (first) key after the command, in Unix
	// milliseconds of the server's clock; 0 is none.
	ExpireAt int64
}

// Write executes a deferrable write. It may wait for the source's answer, but
// not for the journal. An error means that nothing was changed or journaled,
// except ErrInternal.
func (o *Overlay) Write(ctx context.Context, r Request) (Result, error) {
	x, reply, err := o.prepare(r, true)
	if err != nil || x == nil {
		return Result{Reply: reply, Exact: true}, err
	}
	if r.Commit == nil {
		return Result{}, fmt.Errorf("%w: Request.Commit is nil", ErrInternal)
	}
	var tickets []ticket
	for {
		res, missing, err := o.tryWrite(x, r, tickets)
		if len(missing) == 0 {
			return res, err
		}
		if err := o.gather(ctx, missing); err != nil {
			return Result{}, err
		}
		tickets = missing
	}
}

// prepare looks the command up. A nil call without an error is answered by the
// reply.
func (o *Overlay) prepare(r Request, write bool) (*call, resp.Value, error) {
	cmd := lookup(r.Args)
	if cmd == nil || cmd.write != write {
		return nil, resp.Value{}, notServed("this command")
	}
	if text := cmd.checkArity(r.Args); text != "" {
		return nil, errorReply(text), nil
	}
	x := &call{cmd: cmd, args: r.Args}
	x.parseKeys(r.DB)
	return x, resp.Value{}, nil
}

// tryWrite runs the write if its bases are known, and else returns the claims
// to wait for. The tickets of the attempt before are released in any case.
func (o *Overlay) tryWrite(x *call, r Request, tickets []ticket) (res Result, missing []ticket, err error) {
	o.lock(x)
	defer o.unlock(x)
	defer func() {
		if p := recover(); p != nil {
			x.revert()
			res, missing = Result{}, nil
			err = fmt.Errorf("%w: %s panicked (%T)", ErrInternal, x.cmd.name, p)
		}
	}()
	x.now = o.now().UnixMilli()
	unseeded := o.land(x, tickets)
	if r.OnlyHeld && !o.anyHeld(x) {
		return Result{}, nil, ErrNotHeld
	}
	res.Exact = true
	if x.cmd.need(x.args) == needBase {
		for i, e := range x.entries {
			switch {
			case e.known:
				res.Based = res.Based || e.based
			case unseeded[e.key] == nil:
				missing = append(missing, o.claim(x.keys[i]))
			case x.cmd.counter && !o.estimate:
				o.releaseAll(missing)
				return Result{}, nil, baseUnknown(x, unseeded[e.key])
			default:
				res.Exact = false
			}
		}
		if len(missing) > 0 {
			return Result{}, missing, nil
		}
	}
	err = o.run(x, r, &res)
	return res, nil, err
}

func (o *Overlay) releaseAll(tickets []ticket) {
	for _, t := range tickets {
		o.release(t)
	}
}

func baseUnknown(x *call, cause error) error {
	return fmt.Errorf("%w: %s is not answered without it; retry when a replica answers: %w",
		ErrBaseUnknown, x.cmd.name, cause)
}

// land finds the call's entries, makes those that are not held, gives them the
// seeds that have come, and releases the tickets. It returns why keys could not
// be seeded. It needs the locks.
func (o *Overlay) land(x *call, tickets []ticket) (unseeded map[Key]error) {
	x.entries = x.entries[:0]
	for _, k := range x.keys {
		e := o.shard(k).keys[k]
		if e == nil {
			e = &entry{key: k}
		}
		x.entries = append(x.entries, e)
	}
	for _, t := range tickets {
		o.landOne(x, t, &unseeded)
		o.release(t)
	}
	return unseeded
}

func (o *Overlay) landOne(x *call, t ticket, unseeded *map[Key]error) {
	if t.f.stale {
		return
	}
	if t.f.err != nil {
		if *unseeded == nil {
			*unseeded = make(map[Key]error)
		}
		(*unseeded)[t.key] = t.f.err
		return
	}
	for i, k := range x.keys {
		if e := x.entries[i]; k == t.key && !e.known && !t.f.used {
			o.resolve(x, e, t.f)
		}
	}
}

// resolve gives an unresolved entry its base. The seed's bytes become the
// entry's: two entries must not grow one string in place, hence used.
func (o *Overlay) resolve(x *call, e *entry, f *flight) {
	f.used = true
	e.adopt(&f.seed, x.now)
	if e.lastSeq != 0 { // held
		o.unresolved.Add(-1)
		o.bytes.Add(e.size() - e.charged)
		e.charged = e.size()
	}
}

func (o *Overlay) anyHeld(x *call) bool {
	for _, e := range x.entries {
		if e.lastSeq != 0 {
			return true
		}
	}
	return false
}

// run executes a write whose entries are ready, and commits it.
func (o *Overlay) run(x *call, r Request, res *Result) error {
	res.Reply = x.cmd.exec(x)
	if x.err != nil || res.Reply.IsError() {
		x.revert()
		if x.err != nil {
			*res = Result{}
		}
		return x.err
	}
	if !x.dirty && res.Exact {
		x.settle()
		res.ExpireAt = x.entries[0].val.expireAt
		return nil
	}
	// Every key that the record names stays until the record is trimmed, also
	// one that this write did not change: else a write sent past the journal
	// could be undone by the record's replay.
	for _, e := range x.entries {
		x.change(e)
		if !e.known {
			e.keep(x, 0)
		}
	}
	seq, err := o.commit(x, r.Commit)
	if err != nil {
		x.revert()
		*res = Result{}
		return err
	}
	o.record(x, seq)
	res.Seq = seq
	res.ExpireAt = x.entries[0].val.expireAt
	return nil
}

// commit charges the call's entries and takes the sequence.
func (o *Overlay) commit(x *call, commit func(Effect) (uint64, error)) (seq uint64, err error) {
	var delta int64
	for _, e := range x.entries {
		delta += e.size() - e.charged
	}
	if total := o.bytes.Add(delta); delta > 0 && o.max > 0 && total > o.max {
		o.bytes.Add(-delta)
		return 0, fmt.Errorf("%w: %d of %d bytes are in use; raise the limit, or wait for a replay",
			ErrFull, total-delta, o.max)
	}
	done := false
	defer func() { // also when the callback panics
		if !done {
			o.bytes.Add(-delta)
		}
	}()
	if seq, err = commit(x.effect()); err != nil {
		return 0, err
	}
	if seq == 0 {
		return 0, fmt.Errorf("%w: Commit returned sequence 0", ErrInternal)
	}
	done = true
	return seq, nil
}

// record enters a committed write: sequences, order, undo records.
func (o *Overlay) record(x *call, seq uint64) {
	x.settle()
	durable := o.durable.Load()
	for i := range x.undo {
		u := &x.undo[i]
		e := u.entry
		s := o.shard(e.key)
		e.charged = e.size()
		o.enter(s, e, seq, u.before.known)
		if seq > durable {
			u.seq = seq
			u.measure()
			s.undo = append(s.undo, *u)
			o.bytes.Add(u.cost)
		}
		// A little more than one for one, so that it ends without a sweeper.
		o.bytes.Add(-s.forget(durable, 4))
	}
}

// enter gives an entry the sequence of its newest write.
func (o *Overlay) enter(s *shard, e *entry, seq uint64, wasKnown bool) {
	if e.lastSeq == 0 {
		s.insert(e)
		o.held.Add(1)
		wasKnown = true // it did not count
	} else {
		s.unlink(e)
		s.pushBack(e)
	}
	e.lastSeq = seq
	if n := len(e.ops); n > 0 && !e.known {
		e.ops[n-1].seq = seq
	}
	o.countUnresolved(wasKnown, e.known)
}

// Recover enters a write of an earlier run that is not known to be in a
// primary, in the order of the journal and before the overlay is used. Its keys
// are unresolved until a seed comes, unless the write overwrites them. The bound
// of bytes does not apply: what was promised is kept. ErrNotServed means that
// the overlay cannot execute the record, and has not entered it.
//
// at and lapses are Effect.At and Effect.Lapses of the write: it is executed as of
// its own time. A record of several commands is entered with several calls of the
// same sequence.
func (o *Overlay) Recover(seq uint64, db int, args [][]byte, at, lapses int64) (err error) {
	if seq == 0 {
		return fmt.Errorf("%w: sequence 0 in recovery", ErrInternal)
	}
	x, _, err := o.prepare(Request{DB: db, Args: args}, true)
	if err != nil {
		return err
	}
	if x == nil {
		return notServed("a record with a wrong number of arguments")
	}
	o.lock(x)
	defer o.unlock(x)
	defer func() {
		if p := recover(); p != nil {
			x.revert()
			err = fmt.Errorf("%w: recovery of %s panicked (%T)", ErrInternal, x.cmd.name, p)
		}
	}()
	x.now = at
	o.land(x, nil)
	x.cmd.exec(x)
	if errors.Is(x.err, ErrNotServed) {
		x.revert()
		return x.err
	}
	for _, e := range x.entries {
		x.change(e)
		if !e.known {
			e.keep(x, lapses)
		}
	}
	x.settle()
	for i := range x.undo {
		u := &x.undo[i]
		e := u.entry
		o.enter(o.shard(e.key), e, seq, u.before.known)
		o.bytes.Add(e.size() - e.charged)
		e.charged = e.size()
	}
	o.Durable(seq)
	return nil
}
