package overlay

import (
	"bytes"
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// maxStringLen is Redis's proto-max-bulk-len.
const maxStringLen = 512 << 20

// str is the string of an entry. ok is false where the reply is already decided.
func (x *call) str(e *entry) (b []byte, reply resp.Value, ok bool) {
	switch {
	case e.val.kind == KindNone:
		return nil, resp.Value{}, true
	case e.val.kind == KindString:
		return e.val.str, resp.Value{}, true
	case e.val.kind == KindOpaque && e.val.typ == "string":
		return nil, x.tooBig(), false
	}
	return nil, errorReply(replyWrongType), false
}

// setOptions reads what may follow SET key value in the canonical form.
func setOptions(args [][]byte) (deadline []byte, keep, ok bool) {
	switch {
	case len(args) == 3:
		return nil, false, true
	case len(args) == 4 && bytes.EqualFold(args[3], []byte("keepttl")):
		return nil, true, true
	case len(args) == 5 && bytes.EqualFold(args[3], []byte("pxat")):
		return args[4], false, true
	}
	return nil, false, false
}

// needsOfSet: only KEEPTTL asks for what was there.
func needsOfSet(args [][]byte) need {
	if _, keep, _ := setOptions(args); keep {
		return needBase
	}
	return needNothing
}

func execSet(x *call) resp.Value {
	e := x.entry(0)
	deadline, keep, ok := setOptions(x.args)
	if !ok {
		x.err = notServed("this form of SET")
		return resp.Value{}
	}
	v := value{kind: KindString, str: bytes.Clone(x.args[2])}
	if deadline != nil {
		at, ok := parseInt(deadline)
		if !ok {
			return errorReply(replyNotInteger)
		}
		if at <= 0 {
			return errorReply(replySetExpire)
		}
		v.expireAt = at
	}
	if !keep {
		x.overwrite(e, v)
		return okReply()
	}
	v.expireAt = e.val.expireAt
	x.change(e)
	e.val = v
	return okReply()
}

func execGet(x *call) resp.Value {
	e := x.entry(0)
	b, reply, ok := x.str(e)
	if !ok {
		return reply
	}
	if e.val.kind == KindNone {
		return nullReply()
	}
	return bulkReply(b)
}

func execMGet(x *call) resp.Value {
	out := resp.Value{Kind: resp.KindArray, Elems: make([]resp.Value, 0, len(x.keyOf))}
	for i := range x.keyOf {
		e := x.entry(i)
		b, _, ok := x.str(e)
		switch {
		case x.err != nil:
			return resp.Value{}
		case !ok || e.val.kind == KindNone: // MGET hides wrong types
			out.Elems = append(out.Elems, nullReply())
		default:
			out.Elems = append(out.Elems, bulkReply(b))
		}
	}
	return out
}

func execStrlen(x *call) resp.Value {
	b, reply, ok := x.str(x.entry(0))
	if !ok {
		return reply
	}
	return intReply(int64(len(b)))
}

func execAppend(x *call) resp.Value {
	e := x.entry(0)
	b, reply, ok := x.str(e)
	if !ok {
		return reply
	}
	if len(b)+len(x.args[2]) > maxStringLen {
		return errorReply(replyTooLong)
	}
	x.change(e)
	// Growing in place is safe for replies that share b: they end where b does.
	e.val.str = append(b, x.args[2]...)
	if e.val.str == nil {
		e.val.str = []byte{}
	}
	e.val.kind = KindString
	return intReply(int64(len(e.val.str)))
}

func execIncr(x *call) resp.Value { return x.incr(1) }
func execDecr(x *call) resp.Value { return x.incr(-1) }

func execIncrBy(x *call) resp.Value {
	by, ok := parseInt(x.args[2])
	if !ok {
		return errorReply(replyNotInteger)
	}
	return x.incr(by)
}

func execDecrBy(x *call) resp.Value {
	by, ok := parseInt(x.args[2])
	if !ok {
		return errorReply(replyNotInteger)
	}
	if by == -by && by != 0 { // the smallest integer has no positive counterpart
		return errorReply(replyDecrOverflow)
	}
	return x.incr(-by)
}

func (x *call) incr(by int64) resp.Value {
	e := x.entry(0)
	b, reply, ok := x.str(e)
	if !ok {
		return reply
	}
	var n int64
	if e.val.kind == KindString {
		if n, ok = parseInt(b); !ok {
			return errorReply(replyNotInteger)
		}
	}
	if n, ok = add(n, by); !ok {
		return errorReply(replyOverflow)
	}
	x.change(e)
	e.val.kind = KindString
	e.val.str = strconv.AppendInt(nil, n, 10)
	return intReply(n)
}
