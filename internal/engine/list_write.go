package engine

import "slices"

// listFor is the list of a key for a change, made if there is none.
func (c *Call) listFor(o *Object) *list {
	c.Change(o)
	if !o.Exists() {
		o.typ, o.data = TypeList, &list{}
	}
	return o.data.(*list)
}

// vanish ends a value that has lost its last element. The container stays as it
// is, for the way back.
func (c *Call) vanish(o *Object) {
	c.Change(o)
	*o = Object{mark: o.mark}
}

// execPush is LPUSH and RPUSH, and where a list must be there LPUSHX and RPUSHX.
func execPush(front, mustExist bool) func(*Call) {
	return func(c *Call) {
		o, ok := c.typed(0, TypeList)
		if !ok {
			return
		}
		if mustExist && !o.Exists() {
			c.Int(0)
			return
		}
		fresh := !o.Exists()
		l, elems := c.listFor(o), c.args[2:]
		l.room(len(elems))
		for _, e := range elems {
			if front {
				l.pushFront(string(e))
			} else {
				l.pushBack(string(e))
			}
		}
		if k := len(elems); !fresh {
			c.Change(o).Undo(0, func() {
				if front {
					l.dropFront(k)
				} else {
					l.dropBack(k)
				}
			})
		}
		c.Int(l.count())
	}
}

func execLSet(c *Call) {
	o, ok := c.typed(0, TypeList)
	if !ok {
		return
	}
	if !o.Exists() {
		c.Error(errNoSuchKey)
		return
	}
	index, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	if c.server.AtLeast(70200) {
		index = int64(int32(index)) // they keep 32 bits of it
	}
	l := o.data.(*list)
	if index < 0 {
		index += l.count()
	}
	if index < 0 || index >= l.count() {
		c.Error(errIndexRange)
		return
	}
	i, ok := l.known(index)
	if !ok {
		c.tooBig()
		return
	}
	ch := c.Change(o)
	old := l.replace(i, string(c.args[3]))
	ch.Undo(int64(len(old)), func() { l.replace(i, old) })
	c.OK()
}

func execLInsert(c *Call) {
	before := is(c.args[2], "before")
	if !before && !is(c.args[2], "after") {
		c.Error(errSyntax)
		return
	}
	o, ok := c.typed(0, TypeList)
	if !ok {
		return
	}
	if !o.Exists() {
		c.Int(0)
		return
	}
	l := o.data.(*list)
	if !l.whole() {
		c.tooBig()
		return
	}
	i := l.find(c.args[3])
	if i < 0 {
		c.Int(-1)
		return
	}
	if !before {
		i++
	}
	ch := c.Change(o)
	l.insert(i, string(c.args[4]))
	ch.Undo(0, func() { l.remove(i) })
	c.Int(l.count())
}

// find is the index of the first known element that equals e, or -1.
func (l *list) find(e []byte) int {
	for i := range l.n {
		if l.at(i) == string(e) {
			return i
		}
	}
	return -1
}

func execLRem(c *Call) {
	count, ok := c.lremCount()
	if !ok {
		return
	}
	o, ok := c.typed(0, TypeList)
	if !ok {
		return
	}
	if !o.Exists() {
		c.Int(0)
		return
	}
	l := o.data.(*list)
	if !l.whole() {
		c.tooBig()
		return
	}
	at := l.findAll(c.args[3], count)
	switch kept := l.n - len(at); {
	case len(at) == 0:
	case kept == 0:
		c.vanish(o)
	case kept < len(at):
		// The rest is copied, and the list as it was is the way back.
		c.Change(o)
		o.data = newListOf(l.without(at))
	default:
		ch, e := c.Change(o), l.at(at[0])
		l.removeAll(at)
		ch.Undo(int64(8*len(at)+len(e)), func() { l.insertAll(at, e) })
	}
	c.Int(int64(len(at)))
}

// lremCount reads the count of LREM. Its lowest value is an error since 7.2.
func (c *Call) lremCount() (int64, bool) {
	count, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return 0, false
	}
	if count == -1<<63 {
		if c.server.AtLeast(70200) {
			c.Error(errLongRange)
			return 0, false
		}
		count++
	}
	return count, true
}

// findAll lists, ascending, the indexes of the first count elements that equal
// e; with a negative count the last ones, with zero all.
func (l *list) findAll(e []byte, count int64) []int {
	var at []int
	if count < 0 {
		for i := l.n - 1; i >= 0 && int64(len(at)) < -count; i-- {
			if l.at(i) == string(e) {
				at = append(at, i)
			}
		}
		slices.Reverse(at)
		return at
	}
	for i := 0; i < l.n && (count == 0 || int64(len(at)) < count); i++ {
		if l.at(i) == string(e) {
			at = append(at, i)
		}
	}
	return at
}

// without copies the elements but those at these indexes, ascending.
func (l *list) without(at []int) []string {
	out := make([]string, 0, l.n-len(at))
	for i := range l.n {
		if len(at) > 0 && i == at[0] {
			at = at[1:]
			continue
		}
		out = append(out, l.at(i))
	}
	return out
}

func execLTrim(c *Call) {
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
		c.OK()
		return
	}
	l := o.data.(*list)
	start, end = listSpan(start, end, l.count())
	switch {
	case start > end:
		c.vanish(o)
	case end-start+1 == l.count():
	case l.whole() && end-start+1 < l.count()/2:
		// The rest is copied, and the list as it was is the way back.
		c.Change(o)
		o.data = newListOf(l.slice(int(start), int(end)+1))
	default:
		c.trim(o, l, start, l.count()-1-end)
	}
	c.OK()
}

// trim takes so many elements away from either side, but not all.
func (c *Call) trim(o *Object, l *list, front, back int64) {
	gap, left, bytes := l.gap, l.left, l.bytes
	cutFront, cutBack := l.cut(front, back)
	c.Change(o).Undo(bytes-l.bytes+16*int64(len(cutFront)+len(cutBack)), func() {
		l.gap = 0 // so that the pushes count nothing to a side
		l.room(len(cutFront) + len(cutBack))
		for i := len(cutFront) - 1; i >= 0; i-- {
			l.pushFront(cutFront[i])
		}
		for _, e := range cutBack {
			l.pushBack(e)
		}
		l.gap, l.left = gap, left
	})
}

// cut takes so many elements away from either side and returns those of them
// that were known. On each side the known elements go first, then those in the
// gap, then the known ones beyond it.
func (l *list) cut(front, back int64) (cutFront, cutBack []string) {
	gap, left := l.gap, int64(l.left)
	if gap == 0 {
		left = 0
	}
	right := int64(l.n) - left

	f := min(front, left)
	g := min(front-f, gap)
	left, gap = left-f, gap-g
	f = front - g

	b := min(back, right)
	g = min(back-b, gap)
	gap -= g
	b = back - g

	cutFront, cutBack = l.slice(0, int(f)), l.slice(l.n-int(b), l.n)
	l.gap = 0 // so that the drops count nothing to a side
	l.dropFront(int(f))
	l.dropBack(int(b))
	l.shrink()
	if gap > 0 {
		l.gap, l.left = gap, int(left)
	}
	return cutFront, cutBack
}
