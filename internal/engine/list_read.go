package engine

import "math"

func listCommands() []Command {
	return []Command{
		{Name: "lpush", Arity: -3, Write: true, needs: NeedValue, exec: execPush(true, false)},
		{Name: "rpush", Arity: -3, Write: true, needs: NeedValue, exec: execPush(false, false)},
		{Name: "lpushx", Arity: -3, Write: true, needs: NeedValue, exec: execPush(true, true)},
		{Name: "rpushx", Arity: -3, Write: true, needs: NeedValue, exec: execPush(false, true)},
		{Name: "lset", Arity: 4, Write: true, needs: NeedValue, exec: execLSet},
		{Name: "linsert", Arity: 5, Write: true, needs: NeedValue, exec: execLInsert},
		{Name: "lrem", Arity: 4, Write: true, needs: NeedValue, exec: execLRem},
		{Name: "ltrim", Arity: 4, Write: true, needs: NeedValue, exec: execLTrim},
		{Name: "llen", Arity: 2, needs: NeedValue, exec: execLLen},
		{Name: "lrange", Arity: 4, needs: NeedValue, exec: execLRange},
		{Name: "lindex", Arity: 3, needs: NeedValue, exec: execLIndex},
		{Name: "lpos", Arity: -3, needs: NeedValue, exec: execLPos},
	}
}

// errLongRange is what Redis says of the one integer whose sign cannot change.
const errLongRange = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"

// Errors of LPOS.
const (
	errLPosRank = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... " +
		"or use negative to start from the end of the list"
	errLPosCount  = "ERR COUNT can't be negative"
	errLPosMaxLen = "ERR MAXLEN can't be negative"
)

func execLLen(c *Call) {
	o, ok := c.typed(0, TypeList)
	switch {
	case !ok:
	case !o.Exists():
		c.Int(0)
	default:
		c.Int(o.data.(*list).count())
	}
}

// listSpan turns a range as commands have it, where negative indexes count from
// the end, into one within count elements. It is empty when start > end.
func listSpan(start, end, count int64) (int64, int64) {
	if start < 0 {
		start = max(start+count, 0)
	}
	if end < 0 {
		end += count
	}
	return start, min(end, count-1)
}

func execLRange(c *Call) {
	start, ok := parseInt(c.args[2])
	end, ok2 := parseInt(c.args[3])
	if !ok || !ok2 {
		c.Error(errNotInteger)
		return
	}
	o, ok := c.typed(0, TypeList)
	if !ok {
		return
	}
	if !o.Exists() {
		c.Array(0)
		return
	}
	l := o.data.(*list)
	start, end = listSpan(start, end, l.count())
	if start > end {
		c.Array(0)
		return
	}
	from, to, ok := l.knownRange(start, end)
	if !ok {
		c.tooBig()
		return
	}
	c.Array(to - from + 1)
	for i := from; i <= to; i++ {
		c.BulkString(l.at(i))
	}
}

func execLIndex(c *Call) {
	o, ok := c.typed(0, TypeList)
	if !ok {
		return
	}
	if !o.Exists() {
		c.Null()
		return
	}
	index, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	l := o.data.(*list)
	if index < 0 {
		index += l.count()
	}
	if index < 0 || index >= l.count() {
		c.Null()
		return
	}
	i, ok := l.known(index)
	if !ok {
		c.tooBig()
		return
	}
	c.BulkString(l.at(i))
}

// lposOptions are the options of LPOS.
type lposOptions struct {
	rank    int64 // the first match that counts, from 1; negative from the end
	count   int64 // how many to list, 0 is all; -1 asks for one, not as a list
	maxLen  int64 // how many elements to look at, 0 is all
	element []byte
}

func (c *Call) lposOptions() (q lposOptions, ok bool) {
	q = lposOptions{rank: 1, count: -1, element: c.args[2]}
	for i := 3; i < len(c.args); i += 2 {
		option, more := c.args[i], i+1 < len(c.args)
		switch {
		case more && is(option, "rank"):
			if q.rank, ok = parseInt(c.args[i+1]); !ok {
				c.Error(errNotInteger)
				return q, false
			}
			if q.rank == math.MinInt64 {
				if c.server.AtLeast(70200) {
					c.Error(errLongRange)
					return q, false
				}
				q.rank = -1 // what Redis 7.0 makes of it
			}
			if q.rank == 0 {
				c.Error(errLPosRank)
				return q, false
			}
		case more && is(option, "count"):
			if q.count, ok = parseInt(c.args[i+1]); !ok || q.count < 0 {
				c.Error(errLPosCount)
				return q, false
			}
		case more && is(option, "maxlen"):
			if q.maxLen, ok = parseInt(c.args[i+1]); !ok || q.maxLen < 0 {
				c.Error(errLPosMaxLen)
				return q, false
			}
		default:
			c.Error(errSyntax)
			return q, false
		}
	}
	return q, true
}

func execLPos(c *Call) {
	q, ok := c.lposOptions()
	if !ok {
		return
	}
	o, ok := c.typed(0, TypeList)
	if !ok {
		return
	}
	var at []int
	if o.Exists() {
		l := o.data.(*list)
		if !l.whole() {
			c.tooBig()
			return
		}
		at = l.positions(q)
	}
	switch {
	case q.count >= 0:
		c.Array(len(at))
		for _, i := range at {
			c.Int(int64(i))
		}
	case len(at) == 0:
		c.Null()
	default:
		c.Int(int64(at[0]))
	}
}

// positions lists the indexes that LPOS answers.
func (l *list) positions(q lposOptions) []int {
	var at []int
	want, skip := q.count, max(q.rank, -q.rank)-1
	if want < 0 {
		want = 1
	}
	looked := int64(l.n)
	if q.maxLen > 0 {
		looked = min(looked, q.maxLen)
	}
	for i := range int(looked) {
		if q.rank < 0 {
			i = l.n - 1 - i
		}
		if l.at(i) != string(q.element) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if at = append(at, i); int64(len(at)) == want {
			break
		}
	}
	return at
}
