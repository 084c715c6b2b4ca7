package engine

import "math"

const (
	errNaNScore    = "ERR resulting score is not a number (NaN)"
	errZAddNXAndXX = "ERR XX and NX options at the same time are not compatible"
	errZAddGTLT    = "ERR GT, LT, and/or NX options at the same time are not compatible"
	errZAddIncrOne = "ERR INCR option supports a single increment-element pair"
)

func zsetMemberCommands() []Command {
	return []Command{
		{Name: "zadd", Arity: -4, Write: true, needs: NeedValue, exec: func(c *Call) { c.zadd(zaddFlags{}) }},
		{Name: "zincrby", Arity: 4, Write: true, needs: NeedValue, exec: func(c *Call) { c.zadd(zaddFlags{incr: true}) }},
		{Name: "zrem", Arity: -3, Write: true, needs: NeedValue, exec: execZRem},
		{Name: "zcard", Arity: 2, needs: NeedValue, exec: execZCard},
		{Name: "zscore", Arity: 3, needs: NeedValue, exec: execZScore},
		{Name: "zmscore", Arity: -3, needs: NeedValue, exec: execZMScore},
		{Name: "zrank", Arity: -3, needs: NeedValue, exec: func(c *Call) { c.zrank(false) }},
		{Name: "zrevrank", Arity: -3, needs: NeedValue, exec: func(c *Call) { c.zrank(true) }},
		{Name: "zrandmember", Arity: -2, needs: NeedValue, exec: execZRandMember},
		{Name: "zscan", Arity: -3, needs: NeedValue, exec: execZScan},
	}
}

// zsetAt is the sorted set of the i-th key; nil when there is none.
func (c *Call) zsetAt(i int) (o *Object, z *zset, ok bool) {
	if o, ok = c.typed(i, TypeZSet); ok && o.Exists() {
		z = o.data.(*zset)
	}
	return o, z, ok
}

// zscore looks up a member, and asks for it if it is not known.
func (c *Call) zscore(o *Object, z *zset, member []byte) (float64, knowledge) {
	if z == nil {
		return 0, absent
	}
	score, k := z.lookup(member)
	if k == unknown {
		c.miss(o, member)
	}
	return score, k
}

type zaddFlags struct{ nx, xx, gt, lt, ch, incr bool }

// option sets the flag that a word names.
func (f *zaddFlags) option(word []byte) bool {
	switch {
	case len(word) < 2:
		return false
	case is(word, "nx"):
		f.nx = true
	case is(word, "xx"):
		f.xx = true
	case is(word, "gt"):
		f.gt = true
	case is(word, "lt"):
		f.lt = true
	case is(word, "ch"):
		f.ch = true
	case is(word, "incr"):
		f.incr = true
	default:
		return false
	}
	return true
}

// zadd is ZADD and, with incr set from the start, ZINCRBY, which by an accident of
// Redis takes the same options.
func (c *Call) zadd(f zaddFlags) {
	i := 2
	for i < len(c.args) && f.option(c.args[i]) {
		i++
	}
	n := len(c.args) - i
	switch {
	case n == 0 || n%2 != 0:
		c.Error(errSyntax)
		return
	case f.nx && f.xx:
		c.Error(errZAddNXAndXX)
		return
	case f.gt && f.nx, f.lt && f.nx, f.gt && f.lt:
		c.Error(errZAddGTLT)
		return
	case f.incr && n > 2:
		c.Error(errZAddIncrOne)
		return
	}
	var room [8]float64
	scores := room[:0]
	for j := i; j < len(c.args); j += 2 {
		score, ok := parseScore(c.args[j])
		if !ok {
			c.Error(errNotFloat)
			return
		}
		scores = append(scores, score)
	}
	c.zaddPairs(f, scores, i+1, 2)
}

// zaddPairs adds members, one every so many arguments from the first on, and
// replies.
func (c *Call) zaddPairs(f zaddFlags, scores []float64, first, every int) {
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	e := zsetEdit{c: c, o: o, z: z}
	if z == nil {
		if f.xx {
			c.zaddReply(f, 0, 0, 0, false)
			return
		}
		e.z, e.fresh = c.newZSetFor(len(scores), first, every), true
		c.Change(o)
		o.typ, o.data = TypeZSet, e.z
	} else {
		e.packed = z.packed
		c.expectMembers(z, len(scores), first, every)
	}
	var added, updated int64
	var score float64
	done := false
	for i, given := range scores {
		member := c.args[first+i*every]
		old, k := c.zscore(o, e.z, member)
		score = given
		switch {
		case k == unknown, k == absent && f.xx, k == present && f.nx:
			continue
		case k == absent:
			e.insert(string(member), score)
			added++
			done = true
			continue
		}
		if f.incr {
			if score += old; math.IsNaN(score) {
				c.Error(errNaNScore)
				return
			}
		}
		if (f.lt && score >= old) || (f.gt && score <= old) {
			continue
		}
		done = true
		if score != old {
			e.move(zitem{old, string(member)}, score)
			updated++
		}
	}
	c.zaddReply(f, added, updated, score, done)
}

func (c *Call) zaddReply(f zaddFlags, added, updated int64, score float64, done bool) {
	switch {
	case f.incr && done:
		c.Double(score)
	case f.incr:
		c.Null()
	case f.ch:
		c.Int(added + updated)
	default:
		c.Int(added)
	}
}

// newZSetFor makes a sorted set as the server does for these members. The first one
// decides whether it begins as a listpack, since 7.2 their number too, and for
// Valkey all of them.
func (c *Call) newZSetFor(n, first, every int) *zset {
	z := &zset{packed: len(c.args[first]) <= maxPackedMember}
	c.expectMembers(z, n, first, every)
	return z
}

// expectMembers does what servers since 7.2 do before they add: a listpack that
// would be too small for what is given is none any more, whatever comes of it.
func (c *Call) expectMembers(z *zset, n, first, every int) {
	if z.packed && c.server.AtLeast(70200) {
		z.packed = n <= maxPackedMembers && !(c.server.Valkey && c.longMember(n, first, every))
	}
}

func (c *Call) longMember(n, first, every int) bool {
	for i := range n {
		if len(c.args[first+i*every]) > maxPackedMember {
			return true
		}
	}
	return false
}

// zitemCost is what the way back of a change of one member keeps alive beside its
// text.
const zitemCost = 80

// zsetEdit adds to a sorted set and leaves a way back, unless the set is fresh:
// then there is one for the object that it was not in.
type zsetEdit struct {
	c      *Call
	o      *Object
	z      *zset
	fresh  bool
	packed bool // as it was before the call
}

func (e *zsetEdit) insert(member string, score float64) {
	if !e.fresh {
		z, packed := e.z, e.packed
		e.c.Change(e.o).Undo(zitemCost+int64(len(member)), func() {
			z.remove(zitem{score, member})
			z.packed = packed
		})
	}
	e.z.insert(member, score)
}

func (e *zsetEdit) move(it zitem, score float64) {
	if !e.fresh {
		z, packed := e.z, e.packed
		e.c.Change(e.o).Undo(zitemCost+int64(len(it.member)), func() {
			z.move(zitem{score, it.member}, it.score)
			z.packed = packed
		})
	}
	e.z.move(it, score)
}

// zsetRemove takes a member out and leaves a way back. Without any the key is
// none.
func (c *Call) zsetRemove(o *Object, z *zset, it zitem) {
	c.Change(o).Undo(zitemCost+int64(len(it.member)), func() { z.insert(it.member, it.score) })
	z.remove(it)
	if z.card() == 0 {
		c.vanish(o)
	}
}

func execZRem(c *Call) {
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	var n int64
	for _, member := range c.args[2:] {
		if z == nil || z.card() == 0 {
			break
		}
		if score, k := c.zscore(o, z, member); k == present {
			c.zsetRemove(o, z, zitem{score, string(member)})
			n++
		}
	}
	c.Int(n)
}

func execZCard(c *Call) {
	_, z, ok := c.zsetAt(0)
	switch {
	case !ok:
	case z == nil:
		c.Int(0)
	default:
		c.Int(z.card())
	}
}

func execZScore(c *Call) {
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	if score, k := c.zscore(o, z, c.args[2]); k == present {
		c.Double(score)
	} else {
		c.Null()
	}
}

func execZMScore(c *Call) {
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	c.Array(len(c.args) - 2)
	for _, member := range c.args[2:] {
		if score, k := c.zscore(o, z, member); k == present {
			c.Double(score)
		} else {
			c.Null()
		}
	}
}

// zrank is ZRANK and ZREVRANK.
func (c *Call) zrank(reverse bool) {
	withScore := false
	if len(c.args) > 3 {
		if len(c.args) > 4 || !c.server.AtLeast(70200) {
			c.Error(errArity(c.cmd.Name))
			return
		}
		if !is(c.args[3], "withscore") {
			c.Error(errSyntax)
			return
		}
		withScore = true
	}
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	score, k := c.zscore(o, z, c.args[2])
	if k != present {
		if withScore {
			c.NullArray()
		} else {
			c.Null()
		}
		return
	}
	if !z.whole() {
		c.tooBig()
		return
	}
	b := zbound{by: zByItem, score: score, member: string(c.args[2])}
	rank := z.rank(&b)
	if reverse {
		rank = z.len() - 1 - rank
	}
	if withScore {
		c.Array(2)
	}
	c.Int(int64(rank))
	if withScore {
		c.Double(score)
	}
}
