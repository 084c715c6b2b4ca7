package engine

import (
	"bytes"
	"math"
)

const (
	errExpireNX   = "ERR NX and XX, GT or LT options at the same time are not compatible"
	errExpireGTLT = "ERR GT and LT options at the same time are not compatible"
)

// setDeadline gives an object that exists a deadline, or with 0 takes it away.
// One that has passed deletes the object.
func (c *Call) setDeadline(o *Object, at int64) {
	c.Change(o)
	o.expireAt = at
	o.Expire(c.now)
}

// expireOptions are the conditions of EXPIRE and its like.
type expireOptions struct{ nx, xx, gt, lt bool }

func (c *Call) parseExpireOptions() (opts expireOptions, ok bool) {
	for _, arg := range c.args[3:] {
		switch {
		case is(arg, "nx"):
			opts.nx = true
		case is(arg, "xx"):
			opts.xx = true
		case is(arg, "gt"):
			opts.gt = true
		case is(arg, "lt"):
			opts.lt = true
		default:
			text, _, _ := bytes.Cut(arg, []byte{0})
			c.Error("ERR Unsupported option " + string(text))
			return opts, false
		}
	}
	switch {
	case opts.nx && (opts.xx || opts.gt || opts.lt):
		c.Error(errExpireNX)
		return opts, false
	case opts.gt && opts.lt:
		c.Error(errExpireGTLT)
		return opts, false
	}
	return opts, true
}

// allow reports whether a deadline may be replaced by another. No deadline lies
// behind all others.
func (opts expireOptions) allow(was, at int64) bool {
	switch {
	case opts.nx && was != 0,
		opts.xx && was == 0,
		opts.gt && (was == 0 || at <= was),
		opts.lt && was != 0 && at >= was:
		return false
	}
	return true
}

// expire is EXPIRE in one of its four units. Unlike SET it takes times that have
// passed: they delete.
func (c *Call) expire(u unit) {
	opts, ok := c.parseExpireOptions()
	if !ok {
		return
	}
	at, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	if u == unitEX || u == unitEXAT {
		if at > math.MaxInt64/1000 || at < math.MinInt64/1000 {
			c.Error(errExpireTime(c.cmd.Name))
			return
		}
		at *= 1000
	}
	if u == unitEX || u == unitPX {
		if at, ok = add(at, c.now); !ok {
			c.Error(errExpireTime(c.cmd.Name))
			return
		}
	}
	o := c.Key(0)
	if !o.Exists() || !opts.allow(o.expireAt, at) {
		c.Int(0)
		return
	}
	switch {
	case at > c.now:
		c.setDeadline(o, at)
	case opts == expireOptions{}:
		c.Replace(o, Object{})
	default: // whether it goes was for the old value to say
		c.Change(o)
		*o = Object{mark: o.mark}
	}
	c.Int(1)
}

func execPersist(c *Call) {
	o := c.Key(0)
	if o.expireAt == 0 {
		c.Int(0)
		return
	}
	c.setDeadline(o, 0)
	c.Int(1)
}

// timeToLive is TTL in one of its four units; seconds are rounded.
func (c *Call) timeToLive(u unit) {
	o := c.Key(0)
	ms := o.expireAt
	switch {
	case !o.Exists():
		c.Int(-2)
		return
	case ms == 0:
		c.Int(-1)
		return
	}
	if u == unitEX || u == unitPX {
		ms -= c.now
	}
	if u == unitEX || u == unitEXAT {
		ms = ms/1000 + (ms%1000+500)/1000
	}
	c.Int(ms)
}
