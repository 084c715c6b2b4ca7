package overlay

import (
	"fmt"
	"slices"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// need is what a command must know of a key before it runs.
type need uint8

const (
	needNothing need = iota // the command overwrites whatever there is
	needBase                // the reply or the result depends on it
)

// command describes one command that the overlay executes.
type command struct {
	name    string
	arity   int // as in Redis: with the name; negative is a minimum
	write   bool
	many    bool // every argument after the name is a key, else only the first
	counter bool // its reply is used as an identity: not estimated by default
	meta    bool // existence, type and deadline are enough
	moves   bool // it changes the deadline of a value that it leaves as it is
	needs   func(args [][]byte) need
	exec    func(*call) resp.Value
}

var commands = makeCommands()

func makeCommands() map[string]*command {
	table := []command{
		{name: "set", arity: -3, write: true, needs: needsOfSet, exec: execSet},
		{name: "del", arity: -2, write: true, many: true, meta: true, exec: execDel},
		{name: "pexpireat", arity: -3, write: true, meta: true, moves: true, exec: execPExpireAt},
		{name: "persist", arity: 2, write: true, meta: true, moves: true, exec: execPersist},
		{name: "incr", arity: 2, write: true, counter: true, exec: execIncr},
		{name: "decr", arity: 2, write: true, counter: true, exec: execDecr},
		{name: "incrby", arity: 3, write: true, counter: true, exec: execIncrBy},
		{name: "decrby", arity: 3, write: true, counter: true, exec: execDecrBy},
		{name: "append", arity: 3, write: true, exec: execAppend},
		{name: "hset", arity: -4, write: true, exec: execHSet},
		{name: "hmset", arity: -4, write: true, exec: execHMSet},
		{name: "hdel", arity: -3, write: true, exec: execHDel},
		{name: "hincrby", arity: 4, write: true, counter: true, exec: execHIncrBy},

		{name: "get", arity: 2, exec: execGet},
		{name: "mget", arity: -2, many: true, exec: execMGet},
		{name: "strlen", arity: 2, exec: execStrlen},
		{name: "exists", arity: -2, many: true, meta: true, exec: execExists},
		{name: "type", arity: 2, meta: true, exec: execType},
		{name: "ttl", arity: 2, meta: true, exec: execTTL},
		{name: "pttl", arity: 2, meta: true, exec: execPTTL},
		{name: "hget", arity: 3, exec: execHGet},
		{name: "hmget", arity: -3, exec: execHMGet},
		{name: "hgetall", arity: 2, exec: execHGetAll},
		{name: "hlen", arity: 2, exec: execHLen},
		{name: "hexists", arity: 3, exec: execHExists},
	}
	m := make(map[string]*command, len(table))
	for i := range table {
		m[table[i].name] = &table[i]
	}
	return m
}

// lookup finds a command by its name in any case.
func lookup(args [][]byte) *command {
	if len(args) == 0 {
		return nil
	}
	var lower [16]byte // longer than every name of the table
	name := args[0]
	if len(name) > len(lower) {
		return nil
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return commands[string(lower[:len(name)])]
}

// Serves reports whether the overlay executes the command of this name as a
// read or as a write. It does not look at the arguments.
func Serves(name []byte) (read, write bool) {
	c := lookup([][]byte{name})
	return c != nil && !c.write, c != nil && c.write
}

// checkArity returns Redis's complaint about the number of arguments, or "".
func (c *command) checkArity(args [][]byte) string {
	if len(args) == c.arity || (c.arity < 0 && len(args) >= -c.arity) {
		return ""
	}
	return "ERR wrong number of arguments for '" + c.name + "' command"
}

// need is what this invocation must know of its keys.
func (c *command) need(args [][]byte) need {
	if c.needs == nil {
		return needBase
	}
	return c.needs(args)
}

// call is one execution of a command. It lives while the locks of its keys'
// shards are held, and its entries are used only then.
type call struct {
	cmd  *command
	args [][]byte
	now  int64 // Unix milliseconds of the server's clock

	keys    []Key    // distinct, in order of appearance
	keyOf   []int    // for each key argument its place in keys
	entries []*entry // parallel to keys

	undo  []undo // how to take back what was changed
	dirty bool   // something was changed, or may be at the server
	err   error  // why the overlay cannot answer; nothing may be changed then

	// Room for a call on one key, as almost all are, in one allocation.
	order    []int // the shards that are locked
	keyRoom  [1]Key
	ofRoom   [1]int
	slotRoom [1]int
	entRoom  [1]*entry
	undoRoom [1]undo
}

// entry is the entry of the call's i-th key argument, past deadlines applied.
func (x *call) entry(i int) *entry {
	e := x.entries[x.keyOf[i]]
	e.val.expire(x.now)
	return e
}

// change must be called before the first change to an entry. The record it
// returns is good until change is called for another entry.
func (x *call) change(e *entry) *undo {
	x.dirty = true
	if e.touched == 0 {
		x.undo = append(x.undo, undo{entry: e, before: e.snapshot()})
		e.touched = len(x.undo)
	}
	return &x.undo[e.touched-1]
}

// settle ends the entries' part in the call.
func (x *call) settle() {
	for i := range x.undo {
		x.undo[i].entry.touched = 0
	}
}

// overwrite gives an entry a value that owes nothing to what was there.
func (x *call) overwrite(e *entry, v value) {
	x.change(e)
	e.val = v
	e.known, e.based = true, false
	e.ops, e.opBytes = nil, 0
}

// tooBig notes that the answer needs a value that was not seeded.
func (x *call) tooBig() resp.Value {
	x.err = fmt.Errorf("%w: %s needs its value, which is above the seeding limit; "+
		"delete or overwrite the key, or wait for a primary", ErrKeyTooBig, x.cmd.name)
	return resp.Value{}
}

// revert takes back the call's changes, last first.
func (x *call) revert() {
	for i := len(x.undo) - 1; i >= 0; i-- {
		x.undo[i].revert()
	}
	x.settle()
	x.undo, x.dirty = x.undo[:0], false
}

// parseKeys fills keys and keyOf, and makes room for the rest.
func (x *call) parseKeys(db int) {
	x.entries, x.order, x.undo = x.entRoom[:0], x.slotRoom[:0], x.undoRoom[:0]
	if !x.cmd.many {
		x.keyRoom[0] = Key{DB: db, Name: string(x.args[1])}
		x.keys, x.keyOf = x.keyRoom[:], x.ofRoom[:]
		return
	}
	n := len(x.args) - 1
	x.keys = make([]Key, 0, n)
	x.keyOf = make([]int, 0, n)
	const indexFrom = 16
	var index map[string]int
	if n > indexFrom {
		index = make(map[string]int, n)
	}
	for _, arg := range x.args[1:] {
		at := -1
		if index != nil {
			if i, ok := index[string(arg)]; ok {
				at = i
			}
		} else {
			at = slices.IndexFunc(x.keys, func(k Key) bool { return k.Name == string(arg) })
		}
		if at < 0 {
			at = len(x.keys)
			x.keys = append(x.keys, Key{DB: db, Name: string(arg)})
			if index != nil {
				index[x.keys[at].Name] = at
			}
		}
		x.keyOf = append(x.keyOf, at)
	}
}
