package engine

// Errors of SINTERCARD and its like.
const (
	errNumKeys     = "ERR numkeys should be greater than 0"
	errNumKeysArgs = "ERR Number of keys can't be greater than number of args"
	errLimit       = "ERR LIMIT can't be negative"
)

// maxAsked is how many members of partial sets a command may ask for; with more
// it is refused.
const maxAsked = 4096

// setOperand is one of the sets that a command combines.
type setOperand struct {
	obj *Object
	set *set
}

// setOperands are the sets from the i-th key on.
func (c *Call) setOperands(from, to int) ([]setOperand, bool) {
	ops := make([]setOperand, 0, to-from)
	for i := from; i < to; i++ {
		o, s, ok := c.setAt(i)
		if !ok {
			return nil, false
		}
		ops = append(ops, setOperand{o, s})
	}
	return ops, true
}

// setAlgebra combines the sets of all keys; to store what results, of all but
// the first.
func (c *Call) setAlgebra(combine func(*Call, []setOperand) ([]string, bool), store bool) {
	from := 0
	if store {
		from = 1
	}
	ops, ok := c.setOperands(from, len(c.keys))
	if !ok {
		return
	}
	list, ok := combine(c, ops)
	switch {
	case !ok:
	case !store:
		c.setReply(list)
	default:
		c.storeAt(c.Key(0), newSetOf(list))
		c.Int(int64(len(list)))
	}
}

// storeAt puts a result into its destination. Nothing over nothing is no change.
func (c *Call) storeAt(o *Object, v Object) {
	if v.Exists() || o.Exists() {
		c.Replace(o, v)
	}
}

// interOf is the members of the smallest set, of those that are known whole,
// that are in all others. Of partial ones that asks for just these members.
func interOf(c *Call, ops []setOperand) ([]string, bool) { return c.setInter(ops, 0) }

// setInter stops after limit members, unless that is 0.
func (c *Call) setInter(ops []setOperand, limit int64) ([]string, bool) {
	least := -1
	for i, op := range ops {
		if op.set.count() == 0 {
			return nil, true
		}
		if op.set.whole() && (least < 0 || len(op.set.list) < len(ops[least].set.list)) {
			least = i
		}
	}
	if least < 0 {
		c.tooBig()
		return nil, false
	}
	return c.setFilter(ops, least, limit, func(m string) bool {
		for i, op := range ops {
			if i != least && op.set.whole() && op.set.findString(m) < 0 {
				return false
			}
		}
		in := true
		for _, op := range ops {
			// One that is out by now is asked for in the rest all the same: the next
			// round shall miss nothing.
			if !op.set.whole() && !c.hasString(op, m) {
				in = false
			}
		}
		return in
	})
}

// diffOf is the members of the first set that are in none of the others.
func diffOf(c *Call, ops []setOperand) ([]string, bool) {
	if ops[0].set.count() == 0 {
		return nil, true
	}
	return c.setFilter(ops, 0, 0, func(m string) bool {
		for _, op := range ops[1:] {
			if c.hasString(op, m) {
				return false
			}
		}
		return true
	})
}

// setFilter lists the members of one operand that pass, up to limit.
func (c *Call) setFilter(ops []setOperand, from int, limit int64, pass func(string) bool) ([]string, bool) {
	s := ops[from].set
	asks := false
	for i, op := range ops {
		asks = asks || i != from && !op.set.whole()
	}
	if !s.whole() || asks && len(s.list) > maxAsked {
		c.tooBig()
		return nil, false
	}
	var list []string
	for _, m := range s.list {
		if !pass(m) {
			continue
		}
		if list = append(list, m); int64(len(list)) == limit {
			break
		}
	}
	return list, true
}

// hasString is hasMember of an operand.
func (c *Call) hasString(op setOperand, m string) bool {
	return op.set.findString(m) >= 0 || !op.set.whole() && c.hasMember(op.obj, op.set, []byte(m))
}

// unionOf is the members of all sets.
func unionOf(c *Call, ops []setOperand) ([]string, bool) {
	var all memberTable
	for _, op := range ops {
		if !op.set.whole() {
			c.tooBig()
			return nil, false
		}
		for _, m := range op.set.list {
			if all.findString(m) < 0 {
				all.add(m)
			}
		}
	}
	return all.list, true
}

func execSInterCard(c *Call) {
	n, ok := parseInt(c.args[1])
	if !ok || n <= 0 {
		c.Error(errNumKeys)
		return
	}
	if n > int64(len(c.args)-2) {
		c.Error(errNumKeysArgs)
		return
	}
	limit := int64(0)
	for i := 2 + int(n); i < len(c.args); i += 2 {
		if !is(c.args[i], "limit") || i+1 == len(c.args) {
			c.Error(errSyntax)
			return
		}
		if limit, ok = parseInt(c.args[i+1]); !ok || limit < 0 {
			c.Error(errLimit)
			return
		}
	}
	ops, ok := c.setOperands(0, int(n))
	if !ok {
		return
	}
	if list, ok := c.setInter(ops, limit); ok {
		c.Int(int64(len(list)))
	}
}
