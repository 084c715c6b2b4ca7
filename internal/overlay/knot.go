package overlay

import (
	"bytes"
	"slices"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// What an op and each of its arguments cost beside the arguments' bytes.
const (
	opOverhead  = 160
	argOverhead = 24
)

// op is a deferred write that was executed without knowing all of its keys.
type op struct {
	seq   uint64 // 0 until it is committed
	order uint64 // orders the ops of a knot, also within one write
	at    int64  // when it was executed
	// lapses is when nothing is left of it; 0: never. Only an op on one key has it.
	lapses int64

	args    [][]byte
	keyArgs []int

	// before are encoded commands that bring those keys that were known when the
	// op was executed, to the state that they had then.
	before []byte
	size   int64
}

// knot is the pending writes of an unresolved key, or of several that writes
// have tied together (SUNIONSTORE of an unresolved key): their values can only be
// told all at once, from the seeds of all keys and the writes in order. It is
// guarded by the locks of all its keys' shards: whoever holds one of them may
// read it, who changes it holds them all.
type knot struct {
	keys []Key // nil for one key; its members know their names
	ops  []*op // oldest first
	size int64 // of the ops
}

// share is the part of the knot's memory that one of its keys accounts for.
func (k *knot) share() int64 {
	if len(k.keys) > 1 {
		return k.size / int64(len(k.keys))
	}
	return k.size
}

func (k *knot) add(o *op) {
	k.ops = append(k.ops, o)
	k.size += o.size
}

// cut removes the writes from a sequence on, and those that were not committed.
func (k *knot) cut(from uint64) {
	for n := len(k.ops) - 1; n >= 0 && (k.ops[n].seq >= from || k.ops[n].seq == 0); n-- {
		k.size -= k.ops[n].size
		k.ops[n] = nil
		k.ops = k.ops[:n]
	}
}

// newOp copies a step of the call.
func (x *call) newOp(s *step, order uint64) *op {
	o := &op{order: order, at: x.now, keyArgs: slices.Clone(s.Keys), size: opOverhead}
	n := 0
	for _, arg := range s.Args {
		n += len(arg)
	}
	o.args = make([][]byte, len(s.Args))
	room := make([]byte, 0, n)
	for i, arg := range s.Args {
		room = append(room, arg...)
		o.args[i] = room[len(room)-len(arg):]
	}
	o.size += int64(n) + argOverhead*int64(len(s.Args))
	return o
}

// snapshot encodes the known keys of a step that also has unknown ones. It
// reports false when one of them is not wholly known.
func (x *call) snapshot(s *step) (before []byte, ok bool) {
	for _, at := range s.refs(x) {
		e := x.refs[at].e
		if !e.is(flagKnown) {
			continue
		}
		if e.is(flagLost) {
			return nil, false
		}
		if before, ok = e.obj.AppendRestore(before, e.name); !ok {
			return nil, false
		}
	}
	return before, true
}

// tie makes the step a pending write of its keys, at least one of which is
// unresolved, and all of which are from now on.
func (o *Overlay) tie(x *call, s *step, before []byte, lapses int64) {
	p := x.newOp(s, o.order.Add(1))
	p.before, p.size = before, p.size+int64(len(before))
	x.ops = append(x.ops, p)
	refs := s.refs(x)
	if first := x.refs[refs[0]].e; s.lone(x) {
		p.lapses = lapses
		if first.knot == nil {
			first.knot = &knot{}
		}
		first.knot.add(p)
		return
	}
	k := &knot{}
	for _, at := range refs {
		k.take(x, at)
	}
	k.add(p)
	slices.SortStableFunc(k.ops, func(a, b *op) int {
		if a.order < b.order {
			return -1
		}
		return 1
	})
}

// take adds the key to a new knot, with the knot that it is in and all the
// members of that.
func (k *knot) take(x *call, at int) {
	e := x.refs[at].e
	if e.knot == k {
		return
	}
	old := e.knot
	x.touch(at)
	e.flags &^= flagKnown
	e.knot = k
	if key := e.key(); !slices.Contains(k.keys, key) {
		k.keys = append(k.keys, key)
	}
	if old == nil {
		return
	}
	k.ops = append(k.ops, old.ops...)
	k.size += old.size
	for _, key := range old.keys {
		if !slices.Contains(k.keys, key) {
			k.keys = append(k.keys, key)
		}
		if i := x.find([]byte(key.Name)); i >= 0 && x.refs[i].e.knot == old {
			x.touch(i)
			x.refs[i].e.knot = k
		}
	}
}

// play is a run of pending writes on the objects of seeds.
type play struct {
	o       *Overlay
	objects map[string]*engine.Object // by the key's name
	changes []engine.Change
	misses  map[string][][]byte     // members that must be learnt first
	moved   map[*engine.Object]bool // partial values that came from another key
	lost    bool                    // what a write on several keys did cannot be told
	call    engine.Call
}

// run executes the pending writes that the seeds do not contain. Their replies
// were given long ago; an error reply changes nothing, as it will at the server.
// It reports false after a fault, which leaves the objects in no known state.
func (p *play) run(ops []*op, fence uint64, now int64) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	for _, w := range ops {
		switch {
		case w.seq != 0 && w.seq <= fence:
			continue
		case w.lapses != 0 && w.lapses <= now:
			name := w.args[w.keyArgs[0]]
			p.execute([][]byte{[]byte("DEL"), name}, []int{1}, w.at)
			continue
		}
		for rest := w.before; len(rest) > 0; {
			args, n, err := resp.ParseCommand(rest, nil)
			if err != nil {
				p.lost = true
				break
			}
			p.execute(args, loneKey(args), w.at)
			rest = rest[n:]
		}
		p.execute(w.args, w.keyArgs, w.at)
	}
	return true
}

// loneKey is where a command that restores a value names its key: XGROUP alone has a
// subcommand before it.
func loneKey(args [][]byte) []int {
	if bytes.EqualFold(args[0], []byte("XGROUP")) {
		return []int{2}
	}
	return []int{1}
}

func (p *play) execute(args [][]byte, keyArgs []int, at int64) {
	cmd := engine.Lookup(args)
	if cmd == nil {
		p.lost = true
		return
	}
	objects := make([]*engine.Object, len(keyArgs))
	for i, k := range keyArgs {
		objects[i] = p.objects[string(args[k])]
	}
	p.call.Begin(engine.Setup{
		Command: cmd, Args: args, KeyArgs: keyArgs, Keys: objects, Now: at, Server: p.o.serverHabits(),
		Foreign: nil, Reply: p.call.Reply()[:0],
	})
	p.call.Run()
	if p.call.Err() != nil || p.missesMoved(objects) {
		p.call.Revert()
		p.giveUp(objects)
		return
	}
	p.noteMoved(len(objects) > 1)
	for _, m := range p.call.Misses() {
		if p.misses == nil {
			p.misses = make(map[string][][]byte)
		}
		name := string(args[keyArgs[m.Key]])
		p.misses[name] = append(p.misses[name], m.Member)
	}
	p.changes = append(p.changes, p.call.Changes()...)
	p.call.Settle()
}

// altered reports whether the run has changed an object.
func (p *play) altered(v *engine.Object) bool {
	for i := range p.changes {
		if p.changes[i].Object() == v {
			return true
		}
	}
	return false
}

// noteMoved remembers the partial values that a command has moved to another key.
func (p *play) noteMoved(several bool) {
	changes := p.call.Changes()
	for i := range changes {
		if ch := &changes[i]; ch.Replaced() {
			if p.moved == nil {
				p.moved = make(map[*engine.Object]bool)
			}
			p.moved[ch.Object()] = several && ch.Object().Partial()
		}
	}
}

// missesMoved reports whether the call asks for members of a moved value, which
// the server has under another name.
func (p *play) missesMoved(objects []*engine.Object) bool {
	for _, m := range p.call.Misses() {
		if p.moved[objects[m.Key]] {
			return true
		}
	}
	return false
}

// giveUp is for a write that the engine cannot do on these seeds, such as one
// inside a value that is too big. The server will do it.
func (p *play) giveUp(objects []*engine.Object) {
	if len(objects) != 1 {
		p.lost = true
		return
	}
	v := objects[0]
	if !v.Exists() || v.Opaque() {
		return
	}
	opaque := engine.NewOpaque(v.TypeName())
	opaque.SetExpireAt(v.ExpireAt())
	// The engine deletes the value first, so that there is a way back.
	args := [][]byte{[]byte("DEL"), nil}
	p.call.Begin(engine.Setup{Command: engine.Lookup(args), Args: args, KeyArgs: []int{1}, Keys: objects})
	p.call.Run()
	p.changes = append(p.changes, p.call.Changes()...)
	p.call.Settle()
	*v = opaque
}
