package engine

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

func sortCommands() []Command {
	return []Command{
		{Name: "sort", Arity: -2, Write: true, needs: NeedValue, exec: func(c *Call) { c.sort(false) }},
		{Name: "sort_ro", Arity: -2, needs: NeedValue, exec: func(c *Call) { c.sort(true) }},
	}
}

const errSortScores = "ERR One or more scores can't be converted into double"

// sortQuery is what the options of SORT ask for.
type sortQuery struct {
	by          []byte   // the pattern of the keys with the weights; nil sorts by the elements
	keep        bool     // BY something that no element changes: nothing is sorted
	get         [][]byte // patterns of what to give for each element; none gives the elements
	desc, alpha bool
	start       int64
	count       int64 // negative is all
	store       int   // the argument that is the destination; 0 is the caller
}

func (c *Call) sortOptions(readOnly bool) (q sortQuery, ok bool) {
	q.count = -1
	for i := 2; i < len(c.args); i++ {
		option, rest := c.args[i], c.args[i+1:]
		switch {
		case is(option, "asc"):
			q.desc = false
		case is(option, "desc"):
			q.desc = true
		case is(option, "alpha"):
			q.alpha = true
		case is(option, "limit") && len(rest) >= 2:
			if q.start, ok = parseInt(rest[0]); ok {
				q.count, ok = parseInt(rest[1])
			}
			if !ok {
				c.Error(errNotInteger)
				return q, false
			}
			i += 2
		case is(option, "store") && len(rest) >= 1 && !readOnly:
			i++
			q.store = i
		case is(option, "by") && len(rest) >= 1:
			q.by = rest[0]
			q.keep = q.keep || !sortPattern(q.by)
			i++
		case is(option, "get") && len(rest) >= 1:
			q.get = append(q.get, rest[0])
			i++
		default:
			c.Error(errSyntax)
			return q, false
		}
	}
	return q, true
}

// sortPattern reports whether a pattern names another key for each element.
func sortPattern(p []byte) bool { return bytes.IndexByte(cString(p), '*') >= 0 }

// readsKeys reports whether the query looks at keys that it computes.
func (q *sortQuery) readsKeys() bool {
	return q.by != nil && !q.keep && sortPattern(q.by) || slices.ContainsFunc(q.get, sortPattern)
}

// sort is SORT and SORT_RO.
func (c *Call) sort(readOnly bool) {
	q, ok := c.sortOptions(readOnly)
	if !ok {
		return
	}
	o := c.Key(0)
	elems, ok := c.sortElements(o)
	if !ok {
		return
	}
	if q.readsKeys() {
		switch {
		case q.store > 0:
			// What it stores would depend on keys that are not its own, and at the
			// replay they may hold something else.
			c.notServed("with STORE and a pattern")
			return
		case c.foreign == nil:
			c.notServed("with a pattern")
			return
		}
	}
	if q.keep && o.typ == TypeSet && q.store > 0 {
		// A set has no order to keep, and Redis wants one that all its replicas share.
		q.keep, q.alpha, q.by = false, true, nil
	}
	if q.keep {
		if q.desc {
			slices.Reverse(elems)
		}
	} else if elems, ok = c.sorted(elems, &q); !ok {
		return
	}
	c.sortAnswer(limited(elems, q.start, q.count), &q)
}

// sortElements copies the elements, in their order.
func (c *Call) sortElements(o *Object) ([]string, bool) {
	switch o.typ {
	case TypeNone:
		return nil, true
	case TypeList, TypeSet, TypeZSet:
	default:
		c.Error(errWrongType)
		return nil, false
	}
	if o.opaque || !o.data.whole() {
		c.tooBig()
		return nil, false
	}
	switch v := o.data.(type) {
	case *list:
		return v.slice(0, v.n), true
	case *set:
		return slices.Clone(v.list), true
	case *zset:
		var elems []string
		v.each(func(member []byte, _ float64) bool {
			elems = append(elems, string(member))
			return true
		})
		return elems, true
	}
	c.notServed("of this value")
	return nil, false
}

// limited is the part of the elements that LIMIT leaves.
func limited(elems []string, start, count int64) []string {
	n := int64(len(elems))
	start = min(max(start, 0), n)
	if count < 0 {
		count = n
	}
	return elems[start : start+min(count, n-start)]
}

// sortItem is an element and what it is sorted by.
type sortItem struct {
	elem   string
	weight string // with ALPHA
	known  bool   // with ALPHA and BY: there is a weight
	score  float64
}

// sorted sorts the elements. It reports false when the call has ended.
func (c *Call) sorted(elems []string, q *sortQuery) ([]string, bool) {
	items := make([]sortItem, len(elems))
	fault := false
	for i, e := range elems {
		items[i] = sortItem{elem: e, weight: e, known: true}
		it := &items[i]
		if q.by != nil {
			if it.weight, it.known = c.sortLookup(q.by, e); !it.known {
				continue // sorts as 0, or before all
			}
		}
		if !q.alpha {
			var ok bool
			it.score, ok = c.sortScore(it.weight)
			fault = fault || !ok
		}
	}
	switch {
	case c.ended():
		return nil, false
	case fault:
		c.Error(errSortScores)
		return nil, false
	}
	slices.SortStableFunc(items, q.compare)
	for i := range items {
		elems[i] = items[i].elem
	}
	return elems, true
}

// compare orders two items. Where elements have the same weight Redis's order
// hangs on its sorting algorithm; where it is a stable one, so is ours.
func (q *sortQuery) compare(a, b sortItem) int {
	if q.desc {
		a, b = b, a
	}
	if !q.alpha {
		if d := cmp.Compare(a.score, b.score); d != 0 {
			return d
		}
		return strings.Compare(a.elem, b.elem)
	}
	if a.known != b.known {
		if b.known {
			return -1
		}
		return 1
	}
	if q.store > 0 {
		return strings.Compare(a.weight, b.weight)
	}
	// For the caller Redis compares C strings, as the locale has it: that of a
	// server is C as a rule.
	return strings.Compare(upToZero(a.weight), upToZero(b.weight))
}

func upToZero(s string) string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}

// sortAnswer gives or stores what was asked for of the elements.
func (c *Call) sortAnswer(elems []string, q *sortQuery) {
	start, n := len(c.reply), len(elems)*max(1, len(q.get))
	var stored []string
	if q.store > 0 {
		stored = make([]string, 0, n)
	} else {
		c.Array(n)
	}
	give := func(s string, found bool) {
		switch {
		case q.store > 0:
			stored = append(stored, s)
		case found:
			c.BulkString(s)
		default:
			c.Null()
		}
	}
	for _, e := range elems {
		if len(q.get) == 0 {
			give(e, true)
		}
		for _, p := range q.get {
			give(c.sortLookup(p, e))
		}
	}
	switch {
	case c.ended():
		c.reply = c.reply[:start]
	case q.store > 0:
		c.sortStore(q.store, stored)
	}
}

func (c *Call) sortStore(arg int, stored []string) {
	dest := c.keyAt(arg)
	if dest == nil {
		c.notServed("with a destination that is not among its keys")
		return
	}
	c.Int(int64(len(stored)))
	switch {
	case len(stored) > 0:
		c.Replace(dest, newObject(TypeList, newListOf(stored)))
	case dest.Exists():
		c.Replace(dest, Object{})
	}
}
