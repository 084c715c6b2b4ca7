package overlay

import "github.com/holdfast-cache/holdfast/internal/resp"

func execDel(x *call) resp.Value {
	var removed int64
	for i := range x.keyOf {
		e := x.entry(i)
		// An unresolved key may exist at the server: the deletion must be
		// journaled although nothing is known here.
		if e.val.kind == KindNone && e.known {
			continue
		}
		if e.val.kind != KindNone {
			removed++
		}
		x.overwrite(e, value{})
	}
	return intReply(removed)
}

func execPExpireAt(x *call) resp.Value {
	if len(x.args) > 3 {
		x.err = notServed("PEXPIREAT with a condition")
		return resp.Value{}
	}
	at, ok := parseInt(x.args[2])
	if !ok {
		return errorReply(replyNotInteger)
	}
	e := x.entry(0)
	if e.val.kind == KindNone {
		return intReply(0)
	}
	x.change(e)
	if at <= x.now {
		e.val = value{}
	} else {
		e.val.expireAt = at
	}
	return intReply(1)
}

func execPersist(x *call) resp.Value {
	e := x.entry(0)
	if e.val.kind == KindNone || e.val.expireAt == 0 {
		return intReply(0)
	}
	x.change(e)
	e.val.expireAt = 0
	return intReply(1)
}

func execExists(x *call) resp.Value {
	var n int64
	for i := range x.keyOf {
		if x.entry(i).val.kind != KindNone {
			n++
		}
	}
	return intReply(n)
}

func execType(x *call) resp.Value {
	v := &x.entry(0).val
	if v.kind == KindOpaque {
		return simpleReply(v.typ)
	}
	return simpleReply(v.kind.String())
}

func execPTTL(x *call) resp.Value {
	left, reply, ok := x.timeLeft()
	if !ok {
		return reply
	}
	return intReply(left)
}

func execTTL(x *call) resp.Value {
	left, reply, ok := x.timeLeft()
	if !ok {
		return reply
	}
	// Redis rounds to the nearest second. Written so that it cannot overflow.
	seconds := left / 1000
	if left%1000 >= 500 {
		seconds++
	}
	return intReply(seconds)
}

// timeLeft is the time to the key's deadline in milliseconds.
func (x *call) timeLeft() (ms int64, reply resp.Value, ok bool) {
	v := &x.entry(0).val
	switch {
	case v.kind == KindNone:
		return 0, intReply(-2), false
	case v.expireAt == 0:
		return 0, intReply(-1), false
	}
	return v.expireAt - x.now, resp.Value{}, true
}
