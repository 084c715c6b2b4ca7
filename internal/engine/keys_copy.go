package engine

import "github.com/holdfast-cache/holdfast/internal/resp"

// lookup is Lookup, which a command of the table that it looks into cannot name.
var lookup func(args [][]byte) *Command

func init() { lookup = Lookup }

// copier is a container that knows more than the commands that restore it can
// say, and so copies itself. Others are copied by running those commands.
type copier interface {
	// copyOf is a copy that shares nothing that may change.
	copyOf() container
}

// execCopy copies within the database.
func execCopy(c *Call) {
	replace := false
	for i := 3; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case is(arg, "replace"):
			replace = true
		case is(arg, "db") && i+1 < len(c.args):
			c.notServed("to a database")
			return
		default:
			c.Error(errSyntax)
			return
		}
	}
	from, to := c.Key(0), c.Key(1)
	switch {
	case from == to:
		c.Error(errSameObject)
		return
	case !from.Exists(), to.Exists() && !replace:
		c.Int(0)
		return
	}
	v, ok := c.duplicate(from)
	if !ok {
		return
	}
	if replace {
		c.Replace(to, v)
	} else {
		c.Change(to)
		v.mark = to.mark
		*to = v
	}
	c.Int(1)
}

// duplicate makes a copy that shares nothing with the object. If the value is
// not wholly known the call is refused and ok is false.
func (c *Call) duplicate(o *Object) (v Object, ok bool) {
	if o.opaque || o.Partial() {
		c.tooBig()
		return v, false
	}
	switch data := o.data.(type) {
	case nil:
		v = NewString(clone(o.str))
	case copier:
		v = newObject(o.typ, data.copyOf())
	default:
		if v, ok = c.rebuild(data); !ok {
			c.notServed("of a " + o.typ.String() + " like this")
			return v, false
		}
	}
	v.expireAt = o.expireAt
	return v, true
}

// rebuild runs the commands that restore a container on an object of its own.
func (c *Call) rebuild(data container) (v Object, ok bool) {
	const key = "k"
	var (
		call Call
		args [][]byte
	)
	for rest := data.restore(nil, key); len(rest) > 0; {
		command, n, err := resp.ParseCommand(rest, args[:0])
		if err != nil {
			return v, false
		}
		args, rest = command, rest[n:]
		cmd, at := lookup(args), 1
		for at < len(args) && string(args[at]) != key {
			at++ // past the name of a subcommand
		}
		if cmd == nil || at == len(args) {
			return v, false
		}
		call.Begin(Setup{
			Command: cmd, Args: args, KeyArgs: []int{at}, Keys: []*Object{&v},
			Now: c.now, Proto: c.proto, Server: c.server, Reply: call.reply[:0],
		})
		call.Run()
		if call.err != nil || len(call.misses) > 0 || call.failed {
			return v, false
		}
		call.Settle()
	}
	return v, v.Exists()
}
