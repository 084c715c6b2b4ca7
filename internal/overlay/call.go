package overlay

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// errAgain ends an attempt that is to be made again: with more keys locked, or
// after what it asked for has been fetched.
var errAgain = errors.New("overlay: again")

// ref is one key of a call.
type ref struct {
	name []byte // in the request's arguments, but for those of role roleLinked and roleForeign
	hash uint64
	e    *entry // during an attempt; a new one if the key is not held
	undo int32  // 1 + index of its record, during an attempt

	shard   uint8
	role    role
	altered bool // the attempt has changed it
	fetch   bool // this call fetches the seed

	f       *flight // the call's claim on a seed
	verdict error   // why the key cannot be seeded
	guest   *guest  // what a source said of a key that is only read
}

// role is why a key belongs to a call.
type role uint8

const (
	roleNamed    role = 1 << iota // a command names it
	roleWritten                   // a command that may write does
	roleLinked                    // it is tied to another by pending writes
	roleForeign                   // a command computed its name, as SORT BY does
	roleRequired                  // its base is needed, as an attempt has shown
)

// guest is a key that is read without being held.
type guest struct {
	obj  engine.Object
	base *base
}

// step is one command of a call.
type step struct {
	*Command
	cmd   *engine.Command
	first int // its place in keyOf: as many as it has key arguments
	need  engine.Need
}

// refs are the places of its keys among the call's, parallel to its key
// arguments.
func (s *step) refs(x *call) []int { return x.keyOf[s.first : s.first+len(s.Keys)] }

// lone reports whether all its key arguments are one key.
func (s *step) lone(x *call) bool {
	refs := s.refs(x)
	for _, at := range refs[1:] {
		if at != refs[0] {
			return false
		}
	}
	return true
}

// erases reports whether the command leaves none of its keys, whatever there is.
func (s *step) erases() bool { return erases(s.cmd) }

func erases(cmd *engine.Command) bool { return cmd.Name == "del" || cmd.Name == "unlink" }

// indexFrom is the number of keys from which a call looks them up in a map.
const indexFrom = 16

// call is one execution of a request. Entries, objects and records are good
// during one attempt, while the locks are held.
type call struct {
	o     *Overlay
	req   Request
	start int   // length of the reply's buffer at the beginning
	now   int64 // Unix milliseconds of the server's clock

	steps []step
	alone bool  // one command on one key
	keyOf []int // of each step's key arguments, one after the other, their refs
	refs  []ref
	index map[string]int // refs by name; nil while there are few
	order []uint8        // the shards that are locked

	// What an attempt has done.
	run      engine.Call
	running  bool             // run holds changes that are not yet among those below
	objects  []*engine.Object // parallel to keyOf
	changes  []engine.Change  // of all steps
	several  []engine.Change  // room for the changes of several steps
	undo     []undo
	ops      []*op // pending writes that were added to knots
	reply    []byte
	failed   []bool
	dirty    bool
	effect   Effect
	bases    []KeyBasis // for the effect
	reserved int64      // bytes that were added to the overlay's for a write not yet committed
	until    int64      // the earliest deadline that the result rests on
	depends  int64

	// What must be had before the next attempt.
	waiting bool
	wants   []want
	absent  []int // refs of keys to be read as guests
	rounds  int   // of learning members
	fences  int   // of seeds that did not fit together

	learned []learned // what has come of the wants

	lookup func(name []byte) (*engine.Object, bool) // foreign, bound once
}

// calls keeps the room of calls. A call that is put back still points to its
// last request and entries: to clear it would cost more than the rest of the
// bookkeeping, and the garbage collector empties the pool.
var calls = sync.Pool{New: func() any {
	x := new(call)
	x.lookup = x.foreign
	return x
}}

// begin makes a call. No error but ErrNotServed and ErrInternal.
func (o *Overlay) begin(r *Request, write bool) (*call, error) {
	x, _ := calls.Get().(*call)
	x.o, x.req, x.start = o, *r, len(r.Reply)
	for i := range r.Commands {
		c := &r.Commands[i]
		cmd := engine.Lookup(c.Args)
		if c.Unseen {
			cmd = &unseen
		}
		if cmd == nil {
			x.end()
			return nil, notServed("this command")
		}
		x.steps = append(x.steps, step{Command: c, cmd: cmd, first: len(x.keyOf), need: cmd.Needs(c.Args)})
		role := roleNamed
		if write && cmd.Write {
			role |= roleWritten
		}
		for _, k := range c.Keys {
			if k < 0 || k >= len(c.Args) {
				x.end()
				return nil, fmt.Errorf("%w: Command.Keys is outside of Command.Args", ErrInternal)
			}
			x.keyOf = append(x.keyOf, x.ref(c.Args[k], role))
		}
	}
	x.alone = len(x.steps) == 1 && len(x.refs) == 1
	return x, nil
}

// unseen stands for a command that is entered without being executed.
var unseen = engine.Command{Name: "unseen", Write: true}

// end gives the call's room back.
func (x *call) end() {
	if len(x.refs) > indexFrom || len(x.steps) > indexFrom {
		return // its room is too big to be kept
	}
	x.steps, x.keyOf, x.refs = x.steps[:0], x.keyOf[:0], x.refs[:0]
	x.changes, x.several, x.undo, x.ops = nil, x.several[:0], x.undo[:0], nil
	x.bases = x.bases[:0] // the next call may be of an overlay that keeps none
	x.waiting, x.wants, x.absent, x.learned, x.rounds, x.fences = false, nil, nil, nil, 0, 0
	calls.Put(x)
}

// ref finds or adds a key.
func (x *call) ref(name []byte, r role) int {
	at := x.find(name)
	if at < 0 {
		at = len(x.refs)
		x.refs = append(x.refs, ref{name: name, hash: hashOf(x.req.DB, name), shard: shardOf(name)})
		if x.index != nil {
			x.index[string(name)] = at
		} else if len(x.refs) > indexFrom {
			x.index = make(map[string]int)
			for i := range x.refs {
				x.index[string(x.refs[i].name)] = i
			}
		}
	}
	x.refs[at].role |= r
	return at
}

// find returns the place of a key, -1 if the call does not have it.
func (x *call) find(name []byte) int {
	if x.index != nil {
		if at, ok := x.index[string(name)]; ok {
			return at
		}
		return -1
	}
	for i := range x.refs {
		if string(x.refs[i].name) == string(name) {
			return i
		}
	}
	return -1
}

// lock locks the shards of the call's keys, in order.
func (o *Overlay) lock(x *call) {
	x.order = x.order[:0]
	if len(x.refs) == 1 {
		x.order = append(x.order, x.refs[0].shard)
		o.shards[x.order[0]].mu.Lock()
		return
	}
	for i := range x.refs {
		x.order = append(x.order, x.refs[i].shard)
	}
	if len(x.order) > 1 {
		slices.Sort(x.order)
		x.order = slices.Compact(x.order)
	}
	for _, i := range x.order {
		o.shards[i].mu.Lock()
	}
}

func (o *Overlay) unlock(x *call) {
	for _, i := range x.order {
		o.shards[i].mu.Unlock()
	}
}

// assemble finds the call's entries and makes those that are not held. It
// reports false when more keys must be locked: those that pending writes tie to
// the call's. It needs the locks.
func (o *Overlay) assemble(x *call) bool {
	x.now, x.req.Now = x.req.Now, 0
	if x.now == 0 {
		x.now = o.now().UnixMilli()
	}
	x.reply, x.failed = x.req.Reply[:x.start], nil
	x.dirty, x.running, x.waiting, x.until, x.depends = false, false, false, 0, 0
	n := len(x.refs)
	for i := range n {
		r := &x.refs[i]
		r.undo, r.altered = 0, false
		r.e = lookup(&o.shards[r.shard].keys, r.hash, x.req.DB, r.name)
		if r.e == nil {
			r.e = &entry{name: string(r.name), db: int32(x.req.DB)}
		}
		if k := r.e.knot; k != nil && len(k.keys) > 1 {
			for _, key := range k.keys {
				x.ref([]byte(key.Name), roleLinked)
			}
		}
	}
	if len(x.refs) > n {
		return false
	}
	if len(x.learned) > 0 {
		o.learn(x)
	}
	return true
}

// touch keeps the state of an entry so that the call can be taken back. It must
// be called before the first change to it.
func (x *call) touch(at int) {
	r := &x.refs[at]
	if r.undo != 0 {
		return
	}
	e := r.e
	x.undo = append(x.undo, undo{
		entry: e, before: e.obj, lastSeq: e.lastSeq, knot: e.knot, flags: e.flags,
	})
	r.undo = int32(len(x.undo))
}

// revert takes back all that the attempt has done. An entry that a fault left in
// no known state is given up.
func (x *call) revert() {
	ok := true
	if x.running {
		ok = revertChanges(x.run.Changes())
		x.running = false
	}
	ok = revertChanges(x.changes) && ok
	for i := len(x.undo) - 1; i >= 0; i-- {
		u := &x.undo[i]
		u.restore()
		if !ok {
			u.entry.lose()
		}
	}
	x.dropOps()
	x.changes, x.several, x.undo, x.dirty = nil, x.several[:0], x.undo[:0], false
	for i := range x.refs {
		x.refs[i].undo = 0
	}
}

// dropOps takes pending writes that were not committed off the knots.
func (x *call) dropOps() {
	if len(x.ops) == 0 {
		return
	}
	for i := range x.refs {
		if e := x.refs[i].e; e != nil && e.knot != nil {
			e.knot.cut(math.MaxUint64)
		}
	}
	x.ops = nil
}

// objectsOf are the objects of a step's keys, parallel to its key arguments.
func (x *call) objectsOf(s *step) []*engine.Object {
	if len(s.Keys) == 0 {
		return nil
	}
	from := len(x.objects)
	for _, at := range s.refs(x) {
		x.objects = append(x.objects, &x.refs[at].e.obj)
	}
	return x.objects[from:]
}

// execute runs a step's command. The reply is appended to the call's. An error
// says that the call as a whole cannot be answered; errAgain, that something
// must be had first.
func (x *call) execute(s *step) error {
	x.objects = x.objects[:0]
	x.run.Begin(engine.Setup{
		Command: s.cmd, Args: s.Args, KeyArgs: s.Keys, Keys: x.objectsOf(s), Now: x.now,
		Proto: x.req.Proto, Server: x.o.serverHabits(), Reply: x.reply, Foreign: x.lookup,
	})
	x.running = true
	x.run.Run()
	if len(x.run.Misses()) > 0 || x.run.Waiting() || x.run.Err() != nil {
		return x.unanswered(s)
	}
	x.reply = x.run.Reply()
	return nil
}

// unanswered says why the engine gave no answer.
func (x *call) unanswered(s *step) error {
	switch err := x.run.Err(); {
	case err != nil:
		return engineError(s, err)
	case len(x.run.Misses()) > 0:
		return x.missing(s)
	case !x.waiting:
		return fmt.Errorf("%w: %s names too many keys by its patterns", ErrNotServed, s.cmd.Name)
	}
	return errAgain
}

// engineError turns the engine's refusals into ours.
func engineError(s *step, err error) error {
	switch {
	case errors.Is(err, engine.ErrNotServed):
		return fmt.Errorf("%w: %w; send it when there is a primary", ErrNotServed, err)
	case errors.Is(err, engine.ErrTooBig):
		return tooBig(s, err)
	case errors.Is(err, engine.ErrPromised):
		return fmt.Errorf("%w: %w; wait until the entry has been replayed", ErrPromised, err)
	}
	return fmt.Errorf("%w: %w", ErrInternal, err)
}

func tooBig(s *step, cause error) error {
	return fmt.Errorf("%w: %s needs its value, which is above the seeding limit; "+
		"delete or overwrite the key, or wait for a primary: %w", ErrKeyTooBig, s.cmd.Name, cause)
}

func baseUnknown(s *step, cause error) error {
	return fmt.Errorf("%w: %s is not answered without it; retry when a replica answers: %w",
		ErrBaseUnknown, s.cmd.Name, cause)
}

func (o *Overlay) serverHabits() engine.Server { return *o.server.Load() }
