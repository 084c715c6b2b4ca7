package overlay

import (
	"fmt"
	"math"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// lone executes the commonest write, one command on one key that is held and
// known, without the bookkeeping that several keys, seeds and units need: it takes
// two thirds of the time. Whatever turns out to need that bookkeeping is left as it
// was for a call.
type lone struct {
	run    engine.Call
	keys   [1]*engine.Object
	effect Effect
	entry  *entry // that a command is running on; nil otherwise
}

var lones = sync.Pool{New: func() any { return new(lone) }}

// writeLone reports false when the write is to be made by a call.
func (o *Overlay) writeLone(r *Request, res *Result) (done bool, err error) {
	c := &r.Commands[0]
	if len(r.Commands) != 1 || len(c.Keys) != 1 || c.Unseen || c.Keys[0] < 0 || c.Keys[0] >= len(c.Args) {
		return false, nil
	}
	cmd := engine.Lookup(c.Args)
	if cmd == nil || !cmd.Write {
		return false, nil
	}
	name := c.Args[c.Keys[0]]
	hash := hashOf(r.DB, name)
	s := &o.shards[shardOf(name)]
	l, _ := lones.Get().(*lone)
	s.mu.Lock()
	defer l.leave(s, &err)
	e := lookup(&s.keys, hash, r.DB, name)
	if e == nil || e.flags&(flagKnown|flagLost) != flagKnown || e.knot != nil {
		return false, nil
	}
	now := r.Now
	if now == 0 {
		now = o.now().UnixMilli()
	}
	l.keys[0], l.entry = &e.obj, e
	l.run.Begin(engine.Setup{
		Command: cmd, Args: c.Args, KeyArgs: c.Keys, Keys: l.keys[:], Now: now,
		Proto: r.Proto, Server: o.serverHabits(), Reply: r.Reply,
	})
	l.run.Run()
	changes := l.run.Changes()
	if l.run.Err() != nil || len(l.run.Misses()) > 0 || l.run.Waiting() || (l.run.Dirty() && len(changes) != 1) {
		l.revert()
		return false, nil
	}
	blind := cmd.Needs(c.Args) == engine.NeedNothing
	*res = Result{Reply: l.run.Reply(), Exact: true, Based: !blind && e.is(flagBased)}
	if l.run.Dirty() && !l.run.Failed() {
		l.judge(now, &changes[0])
		if l.effect.Until != 0 && len(l.effect.Restore) == 0 && l.run.Depends() != 0 {
			l.revert()
			return false, nil
		}
		if res.Seq, err = o.commitLone(s, l, r, blind || erases(cmd)); err != nil {
			l.revert()
			return true, err
		}
	}
	res.ExpireAt = e.obj.ExpireAt()
	l.entry = nil
	return true, nil
}

// judge sets the effect of the write.
func (l *lone) judge(now int64, ch *engine.Change) {
	f, e := &l.effect, l.entry
	*f = Effect{At: now, Reply: l.run.Reply(), Exact: true}
	if !e.obj.Exists() {
		return
	}
	f.deadlines(&e.obj, ch)
	f.Until = earlier(f.Until, l.run.Depends())
	if f.Until != 0 {
		f.Restore, _ = e.obj.AppendRestore(nil, e.name)
	}
}

// commitLone charges the entry, takes the sequence and enters the write.
func (o *Overlay) commitLone(s *shard, l *lone, r *Request, overwrites bool) (seq uint64, err error) {
	e, changes := l.entry, l.run.Changes()
	durable := o.durable.Load()
	pending := durable != math.MaxUint64
	size := e.size()
	delta := size - e.charged
	var cost, freed int64
	if pending {
		cost, freed = undoOverhead+changes[0].Cost(), s.forget(durable, 4)
		if !changes[0].Plain() {
			cost += undoOverhead
		}
	}
	total := int64(0)
	if delta+cost != freed {
		total = o.bytes.Add(delta + cost - freed)
	}
	if delta > 0 && o.max > 0 && total > o.max {
		o.bytes.Add(-delta - cost)
		return 0, fmt.Errorf("%w: %d of %d bytes are in use; raise the limit, or wait for a replay",
			ErrFull, total-delta-cost, o.max)
	}
	defer func() { // also when the callback panics
		if seq == 0 {
			o.bytes.Add(-delta - cost)
		}
	}()
	if seq, err = r.Commit(&l.effect); err != nil {
		return 0, err
	}
	if seq == 0 {
		return 0, fmt.Errorf("%w: Commit returned sequence 0", ErrInternal)
	}
	if pending {
		s.undo = append(s.undo, undo{
			seq: seq, entry: e, before: *changes[0].Before(), lastSeq: e.lastSeq, cost: cost, flags: e.flags,
		})
		if !changes[0].Plain() {
			s.undo[len(s.undo)-1].deep = &deep{changes: []engine.Change{changes[0]}}
		}
	}
	l.run.Settle()
	switch based := e.flags & flagBased; {
	case !changes[0].Replaced():
		if !e.obj.Partial() {
			e.flags &^= flagMoved
		}
	case overwrites:
		e.flags = flagKnown
	default:
		e.flags = flagKnown | based
		if e.obj.Partial() {
			e.flags |= flagMoved
		}
	}
	e.charged = size
	o.enter(s, e, seq, true)
	return seq, nil
}

// revert takes the command back.
func (l *lone) revert() {
	if !revertChanges(l.run.Changes()) {
		l.entry.lose()
	}
	l.entry = nil
}

// leave ends the write. It must be deferred directly.
func (l *lone) leave(s *shard, err *error) {
	if p := recover(); p != nil {
		*err = fault("a command", p)
		if l.entry != nil {
			l.revert()
		}
	}
	s.mu.Unlock()
	lones.Put(l)
}
