package engine

import (
	"errors"
	"fmt"
)

// Errors of a call. They say that the engine cannot answer, unlike an error
// reply, which is an answer. Nothing may be changed then: revert the call.
var (
	// ErrNotServed: the engine does not execute this command, or this form of it.
	ErrNotServed = errors.New("engine: command not served")
	// ErrTooBig: the command needs the whole of a value that is known in part.
	ErrTooBig = errors.New("engine: value too big to be known whole")
	// ErrPromised: the command names a stream entry by an id that was promised to
	// the caller of a deferred XADD. The server will give it another.
	ErrPromised = errors.New("engine: stream entry has a promised id only")
)

// Server says whose habits replies follow. The zero value is Redis 7.0.
type Server struct {
	// Version is major*10000 + minor*100 + patch, as in 70015; 0 is 70000. Of
	// Valkey it is Valkey's own.
	Version int
	Valkey  bool
}

// AtLeast reports whether the server is Redis of this version or later, or a
// Valkey, all of whose versions descend from Redis 7.2.
func (s Server) AtLeast(version int) bool {
	return s.level() >= version
}

// level is the version of Redis up to which the server has all commands.
func (s Server) level() int {
	if s.Valkey {
		return 70200
	}
	return max(s.Version, 70000)
}

// Miss is a member of a partial object that a call had to know.
type Miss struct {
	Key    int // which key of the call, as in Call.Key
	Member []byte
}

// Call is one execution of a command on objects. The zero value is ready for
// Begin, and a Call can be used again: it keeps its room.
type Call struct {
	cmd    *Command
	args   [][]byte
	keyArg []int     // indexes of the arguments that are keys
	keys   []*Object // parallel to keyArg; the same key given twice is one object
	now    int64
	proto  int
	server Server

	reply   []byte
	failed  bool // the reply is an error
	dirty   bool
	err     error
	depends int64
	misses  []Miss
	foreign func(name []byte) (*Object, bool)
	waiting bool // foreign has not found an object yet
	changes []Change

	room [1]Change
}

// Setup is what a Call is made from.
type Setup struct {
	Command *Command
	Args    [][]byte  // the name and its arguments; only read, and not kept
	KeyArgs []int     // which of Args are keys, in the order of the server's key specs
	Keys    []*Object // their objects, parallel to KeyArgs
	Now     int64     // Unix milliseconds of the server's clock
	Proto   int       // 3 is RESP3, anything else RESP2
	Server  Server
	Reply   []byte // the reply is appended here

	// Foreign finds the object of a key that the command computes, as SORT BY
	// does. It reports false when the object has yet to be fetched: the call then
	// ends without an answer, and is to be run again. nil refuses such commands.
	Foreign func(name []byte) (*Object, bool)
}

// Begin makes the call ready to Run.
func (c *Call) Begin(s Setup) {
	// Field by field: clearing the whole Call first costs a tenth of a SET.
	c.cmd, c.args, c.keyArg, c.keys, c.now = s.Command, s.Args, s.KeyArgs, s.Keys, s.Now
	c.proto, c.server, c.reply, c.foreign = s.Proto, s.Server, s.Reply, s.Foreign
	c.failed, c.dirty, c.err, c.depends, c.waiting = false, false, nil, 0, false
	c.misses, c.changes = c.misses[:0], c.room[:0]
}

// Run executes the command. Afterwards Err, Misses, Waiting, Failed and Reply
// tell what came of it, in this order: the first that says something rules out
// the rest.
func (c *Call) Run() {
	if !c.cmd.arityAllows(len(c.args)) {
		c.Error(errArity(c.cmd.Name))
		return
	}
	start := len(c.reply)
	c.cmd.exec(c)
	if c.err == nil && !c.waiting && len(c.misses) == 0 && len(c.reply) == start {
		c.err = fmt.Errorf("%w: %s gave no reply", ErrNotServed, c.cmd.Name)
	}
}

// Err is why the engine cannot answer: one of this package's errors, wrapped.
func (c *Call) Err() error { return c.err }

// Misses are the members that must be learnt before the call is run again.
func (c *Call) Misses() []Miss { return c.misses }

// Waiting reports whether Setup.Foreign had no answer yet for some of the keys
// that it was asked for: the call is to be run again once it has.
func (c *Call) Waiting() bool { return c.waiting }

// Failed reports whether the reply is an error: nothing was changed then.
func (c *Call) Failed() bool { return c.failed }

// Reply is Setup.Reply with the reply appended.
func (c *Call) Reply() []byte { return c.reply }

// Dirty reports whether something was changed.
func (c *Call) Dirty() bool { return c.dirty }

// Depends is the earliest deadline inside an object, such as a hash field's, on
// which the effect rests although it does not show in the result; 0 is none.
func (c *Call) Depends() int64 { return c.depends }

// Changes are the records of the changed objects. They are the caller's from now
// on, until the next Begin.
func (c *Call) Changes() []Change { return c.changes }

// Revert takes back all changes.
func (c *Call) Revert() {
	for i := len(c.changes) - 1; i >= 0; i-- {
		c.changes[i].Revert()
	}
	c.changes, c.dirty = c.changes[:0], false
}

// Settle ends the objects' part in the call, which stands.
func (c *Call) Settle() {
	for i := range c.changes {
		c.changes[i].obj.mark = 0
	}
}

// What follows is for the executing functions.

// Key is the object of the i-th key argument, its deadline applied.
func (c *Call) Key(i int) *Object {
	o := c.keys[i]
	o.Expire(c.now)
	return o
}

// keyAt is the object of the key that is argument i.
func (c *Call) keyAt(arg int) *Object {
	for i, a := range c.keyArg {
		if a == arg {
			return c.Key(i)
		}
	}
	return nil
}

// Change must be called before the first change to an object. The record is good
// until Change is called for another object.
func (c *Call) Change(o *Object) *Change {
	c.dirty = true
	if o.mark == 0 {
		before := *o
		c.changes = append(c.changes, Change{obj: o, before: before})
		o.mark = int32(len(c.changes))
	}
	return &c.changes[o.mark-1]
}

// Replace gives a key a value that owes nothing to what was there: the zero
// Object deletes it.
func (c *Call) Replace(o *Object, v Object) {
	c.Change(o).replaced = true
	v.mark = o.mark
	*o = v
}

// dependsOn says that the effect rests on something that ends at a deadline.
func (c *Call) dependsOn(ms int64) {
	if ms != 0 && (c.depends == 0 || ms < c.depends) {
		c.depends = ms
	}
}

// refuse ends the call without an answer.
func (c *Call) refuse(err error) {
	if c.err == nil {
		c.err = err
	}
}

// notServed refuses a form of the command.
func (c *Call) notServed(form string) {
	c.refuse(fmt.Errorf("%w: %s %s", ErrNotServed, c.cmd.Name, form))
}

// tooBig refuses a command that needs a whole value.
func (c *Call) tooBig() {
	c.refuse(fmt.Errorf("%w: %s needs all of it", ErrTooBig, c.cmd.Name))
}

// miss asks for a member of a partial object. The executing function goes on as
// if the member did not exist, so that one round finds all that is missing; the
// call is then taken back.
func (c *Call) miss(o *Object, member []byte) {
	for i, k := range c.keys {
		if k == o {
			c.misses = append(c.misses, Miss{Key: i, Member: append([]byte(nil), member...)})
			return
		}
	}
	c.tooBig()
}

// typed returns the object if it may be used as type t: it has that type, or
// does not exist. Otherwise the reply, or the refusal of an opaque value, is
// given, and ok is false.
func (c *Call) typed(i int, t Type) (o *Object, ok bool) {
	o = c.Key(i)
	return o, c.isType(o, t)
}

func (c *Call) isType(o *Object, t Type) bool {
	switch {
	case o.typ == TypeNone:
		return true
	case o.typ != t:
		c.Error(errWrongType)
		return false
	case o.opaque:
		c.tooBig()
		return false
	}
	return true
}
