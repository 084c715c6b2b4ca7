package workload

import "strconv"

func sets(g *Generator) []string {
	k := g.Key("t")
	switch g.IntN(20) {
	case 0, 1, 2, 3:
		return words("SADD", k, g.Members())
	case 4, 5:
		return words("SREM", k, g.Members())
	case 6:
		return words("SMEMBERS", k)
	case 7, 8:
		return words("SISMEMBER", k, g.Member())
	case 9:
		return words("SMISMEMBER", k, g.Members())
	case 10:
		return words("SCARD", k)
	case 11:
		return g.srandmember(k)
	case 12:
		return g.sscan(k)
	case 13, 14:
		return words(g.Pick("SINTER", "SUNION", "SDIFF"), g.setKeys())
	case 15, 16, 17:
		return words(g.Pick("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"), k, g.setKeys())
	default:
		return g.sintercard()
	}
}

// setKeys is some keys of sets, now and then the same one twice.
func (g *Generator) setKeys() []string {
	return words(g.Key("t"), g.Some(3, func() string { return g.Key("t") }))
}

func (g *Generator) sintercard() []string {
	keys := g.setKeys()
	n := len(keys)
	if g.Chance(8) {
		n += g.IntN(4) - 1
	}
	out := words("SINTERCARD", strconv.Itoa(n), keys)
	if g.Chance(40) {
		out = words(out, "LIMIT", g.Count())
	}
	return out
}

// srandmember asks for few members, as the reply is as long as the count says.
func (g *Generator) srandmember(key string) []string {
	if g.Chance(40) {
		return words("SRANDMEMBER", key)
	}
	return words("SRANDMEMBER", key, g.Pick("-5", "0", g.Count()))
}

// sscan asks for more members than there are, and always from the start, so that
// a server, too, gives them in one reply; spoilt, it might not.
func (g *Generator) sscan(key string) []string {
	g.intact = true
	if g.Chance(10) {
		return words("SSCAN", key, g.Pick("x", "1x", "18446744073709551616"))
	}
	out := words("SSCAN", key, g.Pick("0", "0", "0\x00"))
	for range g.IntN(3) {
		out = append(out, "MATCH", g.Pick("*", "m*", "*1*", "[0-5]", "?", "m1?", "", "\\*", "[^m]*", "-*"))
	}
	if g.Chance(10) {
		out = words(out, g.Pick("TYPE", "NOVALUES", "COUNT", "abc"), g.Some(1, func() string { return g.Pick("set", "0", "x") }))
	}
	return words(out, "COUNT", "1000")
}
