package engine

import (
	"math"
	"slices"
)

const (
	errZWeight = "ERR weight value is not a float"
	errZLimit  = "ERR LIMIT can't be negative"
)

// zcombine is a way to combine sorted sets.
type zcombine uint8

const (
	zunion zcombine = iota
	zinter
	zdiff
)

// zalgebraForm is what the name of a command says.
type zalgebraForm struct {
	op    zcombine
	store bool // the first key is a destination
	count bool // only the number is asked for
}

func zsetAlgebraCommands() []Command {
	command := func(name string, arity int, form zalgebraForm) Command {
		return Command{
			Name: name, Arity: arity, Write: form.store, needs: NeedValue,
			exec: func(c *Call) { c.zalgebra(form) },
		}
	}
	return []Command{
		command("zunion", -3, zalgebraForm{op: zunion}),
		command("zinter", -3, zalgebraForm{op: zinter}),
		command("zdiff", -3, zalgebraForm{op: zdiff}),
		command("zintercard", -3, zalgebraForm{op: zinter, count: true}),
		command("zunionstore", -4, zalgebraForm{op: zunion, store: true}),
		command("zinterstore", -4, zalgebraForm{op: zinter, store: true}),
		command("zdiffstore", -4, zalgebraForm{op: zdiff, store: true}),
	}
}

// zsource is one of the sets that a command combines: a sorted one, or a plain one
// whose members all have the score 1. Neither is set when the key does not exist.
type zsource struct {
	z      *zset
	s      *set
	weight float64
}

func (src *zsource) len() int {
	switch {
	case src.z != nil:
		return src.z.len()
	case src.s != nil:
		return len(src.s.list)
	}
	return 0
}

// each goes over the members and their weighted scores.
func (src *zsource) each(f func(member string, score float64) bool) {
	switch {
	case src.z != nil:
		for cu := src.z.at(0); ; {
			if it := cu.next(); it == nil || !f(it.member, src.weight*it.score) {
				return
			}
		}
	case src.s != nil:
		for _, m := range src.s.list {
			if !f(m, src.weight) {
				return
			}
		}
	}
}

func (src *zsource) find(member string) (score float64, ok bool) {
	switch {
	case src.z != nil:
		score, ok = src.z.find(member)
		return src.weight * score, ok
	case src.s != nil:
		return src.weight, src.s.findString(member) >= 0
	}
	return 0, false
}

// zaggregate makes one score of two.
type zaggregate uint8

const (
	zsum zaggregate = iota
	zmin
	zmax
)

// of treats what is not a number as Redis does: a sum of opposite infinities is
// 0, and it is neither less nor more than another.
func (a zaggregate) of(x, y float64) float64 {
	switch a {
	case zmin:
		if y < x {
			return y
		}
		return x
	case zmax:
		if y > x {
			return y
		}
		return x
	case zsum:
	}
	return number(x + y)
}

// number is 0 in place of NaN.
func number(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f
}

// zalgebra is ZUNION, ZINTER, ZDIFF and what is named after them.
func (c *Call) zalgebra(form zalgebraForm) {
	sources, at, ok := c.zsources(form)
	if !ok {
		return
	}
	q := zalgebraQuery{zalgebraForm: form}
	if !c.zalgebraOptions(&q, sources, at) {
		return
	}
	if form.op != zdiff {
		// Sums depend on the order: Redis begins with the smallest set.
		slices.SortStableFunc(sources, func(a, b zsource) int { return a.len() - b.len() })
	}
	if form.count {
		n := int64(0)
		q.intersect(sources, func(string, float64) bool {
			n++
			return n != q.limit
		})
		c.Int(n)
		return
	}
	items := q.combine(sources)
	if form.store {
		c.zsetStoreItems(c.Key(0), items)
		return
	}
	slices.SortFunc(items, compareItems)
	c.zsetHeader(len(items), q.withScores)
	for i := range items {
		c.zsetElement(&items[i], q.withScores)
	}
}

// zsetStoreItems puts a sorted set into a key, and replies with its size.
func (c *Call) zsetStoreItems(o *Object, items []zitem) {
	var v Object
	n := len(items)
	if n > 0 {
		z := buildZSet(items)
		z.pack()
		v = newObject(TypeZSet, z)
	}
	c.zsetStore(o, v, n)
}

// zsetStore puts a value of n members into a key, and replies with n. Nothing over
// nothing is no change.
func (c *Call) zsetStore(o *Object, v Object, n int) {
	if v.Exists() || o.Exists() {
		c.Replace(o, v)
	}
	c.Int(int64(n))
}

// zsources finds the sets; at is the index of the first option.
func (c *Call) zsources(form zalgebraForm) (sources []zsource, at int, ok bool) {
	at, key := 2, 0
	if form.store {
		at, key = 3, 1
	}
	n, ok := parseInt(c.args[at-1])
	switch {
	case !ok:
		c.Error(errNotInteger)
		return nil, 0, false
	case n < 1:
		c.Error("ERR at least 1 input key is needed for '" + c.cmd.Name + "' command")
		return nil, 0, false
	case n > int64(len(c.args)-at):
		c.Error(errSyntax)
		return nil, 0, false
	}
	sources = make([]zsource, n)
	for i := range sources {
		sources[i].weight = 1
		o := c.Key(key + i)
		if o.Exists() && o.typ != TypeZSet && o.typ != TypeSet {
			c.Error(errWrongType)
			return nil, 0, false
		}
		if o.opaque || o.Partial() {
			c.tooBig()
			return nil, 0, false
		}
		switch data := o.data.(type) {
		case *zset:
			sources[i].z = data
		case *set:
			sources[i].s = data
		}
	}
	return sources, at + int(n), true
}

// zalgebraQuery is a whole command.
type zalgebraQuery struct {
	zalgebraForm
	aggregate  zaggregate
	withScores bool
	limit      int64 // 0 is none
}

func (c *Call) zalgebraOptions(q *zalgebraQuery, sources []zsource, i int) bool {
	combines := q.op != zdiff && !q.count
	for i < len(c.args) {
		left := len(c.args) - i
		switch arg := c.args[i]; {
		case combines && left > len(sources) && is(arg, "weights"):
			for j := range sources {
				w, ok := parseScore(c.args[i+1+j])
				if !ok {
					c.Error(errZWeight)
					return false
				}
				sources[j].weight = w
			}
			i += 1 + len(sources)
		case combines && left > 1 && is(arg, "aggregate"):
			switch how := c.args[i+1]; {
			case is(how, "sum"):
				q.aggregate = zsum
			case is(how, "min"):
				q.aggregate = zmin
			case is(how, "max"):
				q.aggregate = zmax
			default:
				c.Error(errSyntax)
				return false
			}
			i += 2
		case !q.store && !q.count && is(arg, "withscores"):
			q.withScores = true
			i++
		case q.count && left > 1 && is(arg, "limit"):
			n, ok := parseInt(c.args[i+1])
			if !ok || n < 0 {
				c.Error(errZLimit)
				return false
			}
			q.limit = n
			i += 2
		default:
			c.Error(errSyntax)
			return false
		}
	}
	return true
}

// combine returns the resulting items in no order.
func (q *zalgebraQuery) combine(sources []zsource) []zitem {
	var items []zitem
	switch q.op {
	case zunion:
		return q.unite(sources)
	case zinter:
		q.intersect(sources, func(member string, score float64) bool {
			items = append(items, zitem{score, member})
			return true
		})
	case zdiff:
		sources[0].each(func(member string, score float64) bool {
			for i := 1; i < len(sources); i++ {
				if _, ok := sources[i].find(member); ok {
					return true
				}
			}
			items = append(items, zitem{score, member})
			return true
		})
	}
	return items
}

func (q *zalgebraQuery) unite(sources []zsource) []zitem {
	var items []zitem
	place := make(map[string]int)
	for i := range sources {
		sources[i].each(func(member string, score float64) bool {
			score = number(score)
			if at, ok := place[member]; ok {
				items[at].score = q.aggregate.of(items[at].score, score)
			} else {
				place[member] = len(items)
				items = append(items, zitem{score, member})
			}
			return true
		})
	}
	return items
}

// intersect calls f for what all sources have, until it reports false.
func (q *zalgebraQuery) intersect(sources []zsource, f func(member string, score float64) bool) {
	sources[0].each(func(member string, score float64) bool {
		score = number(score)
		for i := 1; i < len(sources); i++ {
			other, ok := sources[i].find(member)
			if !ok {
				return true
			}
			score = q.aggregate.of(score, other)
		}
		return f(member, score)
	})
}
