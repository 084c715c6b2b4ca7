package engine

import "math/rand/v2"

func setCommands() []Command {
	return []Command{
		{Name: "sadd", Arity: -3, Write: true, needs: NeedValue, exec: execSAdd},
		{Name: "srem", Arity: -3, Write: true, needs: NeedValue, exec: execSRem},
		{Name: "smembers", Arity: 2, needs: NeedValue, exec: execSMembers},
		{Name: "sismember", Arity: 3, needs: NeedValue, exec: execSIsMember},
		{Name: "smismember", Arity: -3, needs: NeedValue, exec: execSMIsMember},
		{Name: "scard", Arity: 2, needs: NeedValue, exec: execSCard},
		{Name: "srandmember", Arity: -2, needs: NeedValue, exec: execSRandMember},
		{Name: "sscan", Arity: -3, needs: NeedValue, exec: execSScan},
		{Name: "sinter", Arity: -2, needs: NeedValue, exec: func(c *Call) { c.setAlgebra(interOf, false) }},
		{Name: "sunion", Arity: -2, needs: NeedValue, exec: func(c *Call) { c.setAlgebra(unionOf, false) }},
		{Name: "sdiff", Arity: -2, needs: NeedValue, exec: func(c *Call) { c.setAlgebra(diffOf, false) }},
		{Name: "sintercard", Arity: -3, needs: NeedValue, exec: execSInterCard},
		{Name: "sinterstore", Arity: -3, Write: true, needs: NeedValue, exec: func(c *Call) { c.setAlgebra(interOf, true) }},
		{Name: "sunionstore", Arity: -3, Write: true, needs: NeedValue, exec: func(c *Call) { c.setAlgebra(unionOf, true) }},
		{Name: "sdiffstore", Arity: -3, Write: true, needs: NeedValue, exec: func(c *Call) { c.setAlgebra(diffOf, true) }},
	}
}

// noSet stands for a key that does not exist; it is only read.
var noSet set

// setAt is the set of the i-th key, which may be noSet. Otherwise the reply is
// given.
func (c *Call) setAt(i int) (o *Object, s *set, ok bool) {
	if o, ok = c.typed(i, TypeSet); !ok {
		return o, nil, false
	}
	if !o.Exists() {
		return o, &noSet, true
	}
	return o, o.data.(*set), true
}

// wholeSetAt is setAt for what needs every member.
func (c *Call) wholeSetAt(i int) (*set, bool) {
	_, s, ok := c.setAt(i)
	if ok && !s.whole() {
		c.tooBig()
		return nil, false
	}
	return s, ok
}

// hasMember reports whether a member is there; it asks for one that is not known.
func (c *Call) hasMember(o *Object, s *set, m []byte) bool {
	if s.find(m) >= 0 {
		return true
	}
	if s.unknown(m) {
		c.miss(o, m)
	}
	return false
}

func execSAdd(c *Call) {
	o, s, ok := c.setAt(0)
	if !ok {
		return
	}
	var steps []setStep
	added, fresh := int64(0), !o.Exists()
	for _, m := range c.args[2:] {
		switch {
		case s.find(m) >= 0:
			continue
		case s.unknown(m):
			c.miss(o, m)
			continue
		case !o.Exists():
			c.Change(o)
			s = &set{}
			o.typ, o.data = TypeSet, s
		}
		step := s.put(string(m))
		added++
		if !fresh { // a new set is simply dropped
			c.Change(o)
			steps = append(steps, step)
		}
	}
	if len(steps) > 0 {
		c.Change(o).Undo(setStepSize*int64(len(steps)), func() {
			for i := len(steps) - 1; i >= 0; i-- {
				s.unput(steps[i])
			}
		})
	}
	c.Int(added)
}

func execSRem(c *Call) {
	o, s, ok := c.setAt(0)
	if !ok {
		return
	}
	var steps []setStep
	bytes := int64(0)
	for _, m := range c.args[2:] {
		i := s.find(m)
		if i < 0 {
			if s.unknown(m) {
				c.miss(o, m)
			}
			continue
		}
		c.Change(o)
		steps = append(steps, s.drop(i))
		bytes += int64(len(m))
	}
	if len(steps) > 0 {
		c.Change(o).Undo(setStepSize*int64(len(steps))+bytes, func() {
			for i := len(steps) - 1; i >= 0; i-- {
				s.undrop(steps[i])
			}
		})
		if s.count() == 0 {
			c.vanish(o)
		}
	}
	c.Int(int64(len(steps)))
}

func execSMembers(c *Call) {
	if s, ok := c.wholeSetAt(0); ok {
		c.setReply(s.list)
	}
}

// setReply replies with a set.
func (c *Call) setReply(list []string) {
	c.Set(len(list))
	for _, m := range list {
		c.BulkString(m)
	}
}

func execSIsMember(c *Call) {
	if o, s, ok := c.setAt(0); ok {
		c.Bool(c.hasMember(o, s, c.args[2]))
	}
}

func execSMIsMember(c *Call) {
	o, s, ok := c.setAt(0)
	if !ok {
		return
	}
	c.Array(len(c.args) - 2)
	for _, m := range c.args[2:] {
		c.Bool(c.hasMember(o, s, m))
	}
}

func execSCard(c *Call) {
	if _, s, ok := c.setAt(0); ok {
		c.Int(s.count())
	}
}

// maxRandom bounds how many members SRANDMEMBER gives with repetitions: Redis
// builds the longest reply that is asked for.
const maxRandom = 1 << 20

func execSRandMember(c *Call) {
	if len(c.args) == 2 {
		switch s, ok := c.wholeSetAt(0); {
		case !ok:
		case len(s.list) == 0:
			c.Null()
		default:
			c.BulkString(s.list[rand.IntN(len(s.list))])
		}
		return
	}
	if len(c.args) > 3 {
		c.Error(errSyntax)
		return
	}
	count, ok := parseInt(c.args[2])
	if !ok {
		c.Error(errNotInteger)
		return
	}
	if count == -1<<63 {
		c.Error(errLongRange)
		return
	}
	s, ok := c.wholeSetAt(0)
	if !ok {
		return
	}
	switch n := len(s.list); {
	case n == 0 || count == 0:
		c.Array(0)
	case count < -maxRandom:
		c.notServed("with so many repetitions")
	case count < 0:
		c.Array(int(-count))
		for range -count {
			c.BulkString(s.list[rand.IntN(n)])
		}
	default:
		c.setSample(s.list, int(min(count, int64(n))))
	}
}

// setSample replies with k distinct ones of the members.
func (c *Call) setSample(list []string, k int) {
	c.Array(k)
	// Each step draws one of those that are left, and puts the one at the end of
	// them to its place: an exchange that is only noted.
	moved := make(map[int]int, k)
	for left := len(list); k > 0; left, k = left-1, k-1 {
		i := rand.IntN(left)
		at, ok := moved[i]
		if !ok {
			at = i
		}
		c.BulkString(list[at])
		if moved[i], ok = moved[left-1]; !ok {
			moved[i] = left - 1
		}
	}
}
