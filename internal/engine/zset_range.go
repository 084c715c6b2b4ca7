package engine

// errors of ZRANGE and its relatives.
const (
	errLimitByRank   = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
	errLexWithScores = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
)

func zsetRangeCommands() []Command {
	read := func(name string, form zrangeForm) Command {
		return Command{Name: name, Arity: -4, needs: NeedValue, exec: func(c *Call) { c.zrange(form) }}
	}
	remove := func(name string, by zrangeBy) Command {
		return Command{Name: name, Arity: 4, Write: true, needs: NeedValue, exec: func(c *Call) { c.zremRange(by) }}
	}
	return []Command{
		read("zrange", zrangeForm{asks: true}),
		read("zrevrange", zrangeForm{reverse: true}),
		read("zrangebyscore", zrangeForm{by: byScore}),
		read("zrevrangebyscore", zrangeForm{by: byScore, reverse: true}),
		read("zrangebylex", zrangeForm{by: byLex}),
		read("zrevrangebylex", zrangeForm{by: byLex, reverse: true}),
		{
			Name: "zrangestore", Arity: -5, Write: true, needs: NeedValue,
			exec: func(c *Call) { c.zrange(zrangeForm{asks: true, store: true}) },
		},
		remove("zremrangebyrank", byRank),
		remove("zremrangebyscore", byScore),
		remove("zremrangebylex", byLex),
		{Name: "zcount", Arity: 4, needs: NeedValue, exec: func(c *Call) { c.zcount(byScore) }},
		{Name: "zlexcount", Arity: 4, needs: NeedValue, exec: func(c *Call) { c.zcount(byLex) }},
	}
}

type zrangeBy uint8

const (
	byRank zrangeBy = iota
	byScore
	byLex
)

// zrangeForm is what the name of a command says of the range.
type zrangeForm struct {
	by      zrangeBy
	reverse bool
	asks    bool // BYSCORE, BYLEX and REV are options
	store   bool // the first key is a destination
}

// zinterval is a range as the arguments give it.
type zinterval struct {
	by         zrangeBy
	start, end int64 // by rank
	low, high  zbound
}

// parseInterval reads the two ends of a range.
func (c *Call) parseInterval(by zrangeBy, low, high []byte) (r zinterval, ok bool) {
	r.by = by
	text, ok1, ok2 := errNotInteger, false, false
	switch by {
	case byRank:
		r.start, ok1 = parseInt(low)
		r.end, ok2 = parseInt(high)
	case byScore:
		text = errScoreRange
		r.low, ok1 = c.parseScoreBound(low, false)
		r.high, ok2 = c.parseScoreBound(high, true)
	case byLex:
		text = errLexRange
		r.low, ok1 = parseLexBound(low, false)
		r.high, ok2 = parseLexBound(high, true)
	}
	if !ok1 || !ok2 {
		c.Error(text)
		return r, false
	}
	return r, true
}

// in finds the items of the range: those from rank from up to, but not with, to.
// From which end one looks makes a difference only to a range by member of a set
// whose scores differ, which Redis leaves undefined.
func (r *zinterval) in(z *zset, reverse bool) (from, to int) {
	switch {
	case r.by == byRank:
		n := int64(z.len())
		start, end := r.start, r.end
		if start < 0 {
			start = max(start+n, 0)
		}
		if end < 0 {
			end += n
		}
		if start > end || start >= n {
			return 0, 0
		}
		return int(start), int(min(end, n-1)) + 1
	case r.by == byLex && z.tree == nil:
		return r.scan(z.flat, reverse)
	}
	from, to = z.rank(&r.low), z.rank(&r.high)
	return from, max(from, to)
}

// scan looks at one item after the other, as a server does in a small set.
func (r *zinterval) scan(items []zitem, reverse bool) (from, to int) {
	n := len(items)
	if n == 0 || r.low.after(&items[n-1]) || !r.high.after(&items[0]) {
		return 0, 0
	}
	if reverse {
		for to = n; to > 0 && !r.high.after(&items[to-1]); {
			to--
		}
		for from = to; from > 0 && !r.low.after(&items[from-1]); {
			from--
		}
		return from, to
	}
	for from < n && r.low.after(&items[from]) {
		from++
	}
	for to = from; to < n && r.high.after(&items[to]); {
		to++
	}
	return from, to
}

// zrangeQuery is a whole command of the ZRANGE kind.
type zrangeQuery struct {
	zrangeForm
	interval      zinterval
	withScores    bool
	offset, limit int64
}

func (c *Call) parseZRange(form zrangeForm) (q zrangeQuery, ok bool) {
	q = zrangeQuery{zrangeForm: form, limit: -1}
	at := 2
	if form.store {
		at = 3
	}
	if !c.zrangeOptions(&q, at+2) {
		return q, false
	}
	switch {
	case q.limit != -1 && q.by == byRank:
		c.Error(errLimitByRank)
		return q, false
	case q.withScores && q.by == byLex:
		c.Error(errLexWithScores)
		return q, false
	}
	low, high := c.args[at], c.args[at+1]
	if q.reverse && q.by != byRank {
		low, high = high, low
	}
	q.interval, ok = c.parseInterval(q.by, low, high)
	return q, ok
}

func (c *Call) zrangeOptions(q *zrangeQuery, i int) bool {
	asksBy, asksRev := q.asks, q.asks
	for ; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case !q.store && is(arg, "withscores"):
			q.withScores = true
		case is(arg, "limit") && i+2 < len(c.args):
			var ok1, ok2 bool
			q.offset, ok1 = parseInt(c.args[i+1])
			q.limit, ok2 = parseInt(c.args[i+2])
			if !ok1 || !ok2 {
				c.Error(errNotInteger)
				return false
			}
			i += 2
		case asksRev && is(arg, "rev"):
			asksRev, q.reverse = false, true
		case asksBy && is(arg, "bylex"):
			asksBy, q.by = false, byLex
		case asksBy && is(arg, "byscore"):
			asksBy, q.by = false, byScore
		default:
			c.Error(errSyntax)
			return false
		}
	}
	return true
}

// limited cuts what LIMIT leaves out off the range, and returns the rank of the
// first item to reply with and the number of items.
func (q *zrangeQuery) limited(c *Call, z *zset, from, to int) (first, n int) {
	n = to - from
	skip := q.offset
	if q.by == byRank {
		skip = 0 // LIMIT with no limit is let through, and does nothing
	}
	if skip < 0 && c.server.AtLeast(70200) && !z.packed && -skip <= int64(n) {
		skip += int64(n) // a habit of the skip list: from the other end
	}
	if skip < 0 || skip >= int64(n) {
		return 0, 0
	}
	n -= int(skip)
	if q.limit >= 0 {
		n = int(min(int64(n), q.limit))
	}
	if q.reverse {
		return to - 1 - int(skip), n
	}
	return from + int(skip), n
}

// zrange is ZRANGE, ZRANGESTORE and those that ZRANGE replaces.
func (c *Call) zrange(form zrangeForm) {
	q, ok := c.parseZRange(form)
	if !ok {
		return
	}
	source := 0
	if q.store {
		source = 1
	}
	_, z, ok := c.wholeZSetAt(source)
	if !ok {
		return
	}
	var first, n int
	if z != nil {
		from, to := q.interval.in(z, q.reverse)
		if q.by == byRank && q.reverse {
			// Ranks count from the end, then.
			from, to = z.len()-to, z.len()-from
			if from == z.len() {
				from, to = 0, 0
			}
		}
		first, n = q.limited(c, z, from, to)
	}
	if q.store {
		c.zrangeStore(&q, z, first, n)
		return
	}
	c.zsetHeader(n, q.withScores)
	if n == 0 {
		return
	}
	for cu := z.at(first); n > 0; n-- {
		c.zsetElement(cu.step(q.reverse), q.withScores)
	}
}

// step is next, or prev in reverse.
func (cu *zcursor) step(reverse bool) *zitem {
	if reverse {
		return cu.prev()
	}
	return cu.next()
}

func (c *Call) zrangeStore(q *zrangeQuery, z *zset, first, n int) {
	var v Object
	if n > 0 {
		// By rank, the server knows how many to make room for.
		stored := &zset{packed: q.by != byRank || n <= maxPackedMembers}
		cu := z.at(first)
		for range n {
			it := cu.step(q.reverse)
			stored.link(*it)
		}
		v = newObject(TypeZSet, stored)
	}
	c.zsetStore(c.Key(0), v, n)
}

// zcount is ZCOUNT and ZLEXCOUNT.
func (c *Call) zcount(by zrangeBy) {
	_, z, from, to, ok := c.zrangeOf(by)
	if ok && z != nil {
		c.Int(int64(to - from))
	}
}

// zrangeOf is the range of a command whose arguments are the key and two ends.
// Without a sorted set it replies.
func (c *Call) zrangeOf(by zrangeBy) (o *Object, z *zset, from, to int, ok bool) {
	r, ok := c.parseInterval(by, c.args[2], c.args[3])
	if !ok {
		return nil, nil, 0, 0, false
	}
	o, z, ok = c.wholeZSetAt(0)
	switch {
	case !ok:
	case z == nil:
		c.Int(0)
	default:
		from, to = r.in(z, false)
	}
	return o, z, from, to, ok
}

// zremRange is the ZREMRANGEBY commands.
func (c *Call) zremRange(by zrangeBy) {
	o, z, from, to, ok := c.zrangeOf(by)
	if !ok || z == nil {
		return
	}
	n := to - from
	c.Int(int64(n))
	switch n {
	case 0:
		return
	case z.len():
		c.vanish(o)
		return
	}
	gone := make([]zitem, 0, n)
	cost := int64(0)
	cu := z.at(from)
	for range n {
		it := *cu.next()
		gone = append(gone, it)
		cost += zitemCost + int64(len(it.member))
	}
	c.Change(o).Undo(cost, func() {
		for _, it := range gone {
			z.insert(it.member, it.score)
		}
	})
	for _, it := range gone {
		z.remove(it)
	}
}
