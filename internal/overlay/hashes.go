package overlay

import (
	"bytes"
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// hash is the hash of an entry, nil when there is no key. ok is false where the
// reply is already decided.
func (x *call) hash(e *entry) (h *hash, reply resp.Value, ok bool) {
	switch {
	case e.val.kind == KindNone:
		return nil, resp.Value{}, true
	case e.val.kind == KindHash:
		return e.val.hash, resp.Value{}, true
	case e.val.kind == KindOpaque && e.val.typ == "hash":
		return nil, x.tooBig(), false
	}
	return nil, errorReply(replyWrongType), false
}

// setField sets one field of an entry that is a hash or nothing, noting in u how
// to take it back.
func (e *entry) setField(u *undo, name, value []byte) (created bool) {
	if e.val.kind == KindNone {
		// The undo record holds 'no key', so the new hash needs no record of
		// its fields; it goes with it.
		e.val.kind, e.val.hash = KindHash, &hash{}
	}
	before := e.val.hash.set(name, value)
	if u.before.val.hash == e.val.hash {
		u.fields = append(u.fields, before)
	}
	return !before.existed
}

// hset sets the fields and returns how many are new.
func (x *call) hset() (created int64, reply resp.Value, ok bool) {
	if len(x.args)%2 != 0 {
		return 0, errorReply("ERR wrong number of arguments for '" + x.cmd.name + "' command"), false
	}
	e := x.entry(0)
	if _, reply, ok := x.hash(e); !ok {
		return 0, reply, false
	}
	u := x.change(e)
	for i := 2; i < len(x.args); i += 2 {
		if e.setField(u, x.args[i], bytes.Clone(x.args[i+1])) {
			created++
		}
	}
	return created, resp.Value{}, true
}

func execHSet(x *call) resp.Value {
	created, reply, ok := x.hset()
	if !ok {
		return reply
	}
	return intReply(created)
}

func execHMSet(x *call) resp.Value {
	if _, reply, ok := x.hset(); !ok {
		return reply
	}
	return okReply()
}

func execHDel(x *call) resp.Value {
	e := x.entry(0)
	h, reply, ok := x.hash(e)
	if !ok || h == nil {
		if !ok {
			return reply
		}
		return intReply(0)
	}
	var removed int64
	for _, name := range x.args[2:] {
		if h.find(name) < 0 {
			continue
		}
		u := x.change(e)
		u.fields = append(u.fields, h.del(name))
		removed++
	}
	if h.live == 0 {
		e.val = value{} // Redis keeps no empty hash
	}
	return intReply(removed)
}

func execHIncrBy(x *call) resp.Value {
	by, ok := parseInt(x.args[3])
	if !ok {
		return errorReply(replyNotInteger)
	}
	e := x.entry(0)
	h, reply, ok := x.hash(e)
	if !ok {
		return reply
	}
	var n int64
	if h != nil {
		if b, found := h.get(x.args[2]); found {
			if n, ok = parseInt(b); !ok {
				return errorReply(replyHashNotInt)
			}
		}
	}
	if n, ok = add(n, by); !ok {
		return errorReply(replyOverflow)
	}
	e.setField(x.change(e), x.args[2], strconv.AppendInt(nil, n, 10))
	return intReply(n)
}

func execHGet(x *call) resp.Value {
	h, reply, ok := x.hash(x.entry(0))
	if !ok {
		return reply
	}
	return h.fieldReply(x.args[2])
}

func execHMGet(x *call) resp.Value {
	h, reply, ok := x.hash(x.entry(0))
	if !ok {
		return reply
	}
	out := resp.Value{Kind: resp.KindArray, Elems: make([]resp.Value, 0, len(x.args)-2)}
	for _, name := range x.args[2:] {
		out.Elems = append(out.Elems, h.fieldReply(name))
	}
	return out
}

// fieldReply is the value of a field; a nil hash has none.
func (h *hash) fieldReply(name []byte) resp.Value {
	if h != nil {
		if b, found := h.get(name); found {
			return bulkReply(b)
		}
	}
	return nullReply()
}

func execHGetAll(x *call) resp.Value {
	h, reply, ok := x.hash(x.entry(0))
	if !ok {
		return reply
	}
	out := resp.Value{Kind: resp.KindMap, Elems: []resp.Value{}}
	if h == nil {
		return out
	}
	out.Elems = make([]resp.Value, 0, 2*h.live)
	for i := range h.fields {
		if f := &h.fields[i]; !f.dead {
			out.Elems = append(out.Elems, bulkReply([]byte(f.name)), bulkReply(f.value))
		}
	}
	return out
}

func execHLen(x *call) resp.Value {
	h, reply, ok := x.hash(x.entry(0))
	if !ok {
		return reply
	}
	if h == nil {
		return intReply(0)
	}
	return intReply(int64(h.live))
}

func execHExists(x *call) resp.Value {
	h, reply, ok := x.hash(x.entry(0))
	if !ok {
		return reply
	}
	return boolReply(h != nil && h.find(x.args[2]) >= 0)
}
