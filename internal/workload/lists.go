package workload

func lists(g *Generator) []string {
	k := g.Key("l")
	switch g.IntN(18) {
	case 0, 1:
		return words("LPUSH", k, g.Members())
	case 2, 3:
		return words("RPUSH", k, g.Members())
	case 4:
		return words(g.Pick("LPUSHX", "RPUSHX"), k, g.Members())
	case 5, 6:
		return words("LSET", k, g.Index(), g.Member())
	case 7:
		return words("LINSERT", k, g.Pick("BEFORE", "after"), g.Member(), g.Member())
	case 8, 9:
		return words("LREM", k, g.Pick(g.Index(), "0", g.Int()), g.Member())
	case 10:
		return words("LTRIM", k, g.Pick(g.Index(), "0", "1"), g.Pick(g.Index(), g.Int(), "-1", "-2"))
	case 11:
		return words("LLEN", k)
	case 12, 13:
		return words("LRANGE", k, g.Pick(g.Index(), g.Int()), g.Pick(g.Index(), g.Int(), "-1"))
	case 14:
		return words("LRANGE", k, "0", "-1")
	case 15:
		return words("LINDEX", k, g.Pick(g.Index(), g.Int()))
	default:
		return words("LPOS", k, g.Member(), g.lposOptions())
	}
}

// lposOptions are options of LPOS, in any order and now and then twice.
func (g *Generator) lposOptions() []string {
	var out []string
	for range g.IntN(4) {
		switch g.IntN(3) {
		case 0:
			out = append(out, g.Pick("RANK", "rank"), g.Pick("1", "2", "-1", "-2", g.Int()))
		case 1:
			out = append(out, "COUNT", g.Pick("0", g.Count()))
		default:
			out = append(out, "MAXLEN", g.Pick("0", g.Count(), "7"))
		}
	}
	return out
}
