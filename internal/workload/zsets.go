package workload

import (
	"strconv"
	"strings"
)

func zsets(g *Generator) []string {
	if g.Chance(15) {
		return zsetLex(g)
	}
	switch g.IntN(10) {
	case 0, 1, 2:
		return zsetAdd(g)
	case 3:
		return zsetRemove(g)
	case 4, 5:
		return zsetMember(g)
	case 6, 7:
		return zsetRange(g)
	default:
		return zsetCombine(g)
	}
}

func zsetAdd(g *Generator) []string {
	k := g.Key("z")
	switch g.IntN(12) {
	case 0:
		return words("ZADD", k, g.Pick("INCR", "incr"), g.Some(1, func() string { return zaddOption(g) }), g.Float(), g.Member())
	case 1, 2:
		return words("ZINCRBY", k, g.Float(), g.Member())
	case 3:
		if g.Chance(20) {
			return zsetMany(g, k)
		}
	}
	w := words("ZADD", k, g.Some(2, func() string { return zaddOption(g) }))
	for range 1 + g.IntN(4) {
		w = append(w, g.Float(), g.Member())
	}
	return w
}

func zaddOption(g *Generator) string {
	if g.options.Deferrable {
		return g.Pick("XX", "GT", "LT", "CH", "ch", "gt")
	}
	return g.Pick("NX", "XX", "GT", "LT", "CH", "nx", "ch", "gt")
}

// zsetMany adds more members than a listpack holds.
func zsetMany(g *Generator, k string) []string {
	w := words("ZADD", k)
	for i := range 120 + g.IntN(30) {
		w = append(w, strconv.Itoa(i/3), "many"+strconv.Itoa(g.IntN(400)))
	}
	return w
}

func zsetRemove(g *Generator) []string {
	k := g.Key("z")
	switch g.IntN(6) {
	case 0:
		return words("ZREMRANGEBYRANK", k, g.Index(), g.Index())
	case 1:
		return words("ZREMRANGEBYSCORE", k, zsetScore(g), zsetScore(g))
	case 2:
		return words("ZREMRANGEBYRANK", k, g.Pick("0", "1", "-3"), "-1")
	default:
		return words("ZREM", k, g.Members())
	}
}

// zsetScore is an end of a range of scores.
func zsetScore(g *Generator) string {
	switch g.IntN(6) {
	case 0:
		return "(" + g.Float()
	case 1:
		return g.Pick("-inf", "+inf", "(-inf", "inf", "", "(", " 1", "1e400", "0x3", "-0", "1 ")
	default:
		return g.Float()
	}
}

func zsetMember(g *Generator) []string {
	k := g.Key("z")
	switch g.IntN(8) {
	case 0:
		return words("ZCARD", k)
	case 1:
		return words("ZSCORE", k, g.Member())
	case 2:
		return words("ZMSCORE", k, g.Members())
	case 3, 4:
		w := words(g.Pick("ZRANK", "ZREVRANK"), k, g.Member())
		if g.AtLeast(70200) && g.Chance(40) {
			w = append(w, g.Pick("WITHSCORE", "withscore", "WITHSCORES"))
		}
		return w
	case 5:
		return zsetRandom(g, k)
	case 6:
		return words("ZCOUNT", k, zsetScore(g), zsetScore(g))
	default:
		g.intact = true // or the server might give a part only
		w := words("ZSCAN", k, g.Pick("0", "0", "0", "00", "x"))
		if g.Chance(30) {
			w = append(w, "MATCH", g.Pick("*", "m*", "m1?", "", "[0-5]"))
		}
		if g.Chance(10) {
			return append(w, g.Pick("COUNT", "MATCH", "NOSCORE", "COUNT 1"))
		}
		if g.Chance(10) {
			w = append(w, "COUNT", g.Count())
		}
		return append(w, "COUNT", "1000")
	}
}

// zsetRandom stays as it is: a huge negative count would keep the server busy for
// ever.
func zsetRandom(g *Generator, k string) []string {
	g.intact = true
	w := words("ZRANDMEMBER", k)
	if g.Chance(70) {
		w = append(w, g.Count())
		if g.Chance(40) {
			w = append(w, g.Pick("WITHSCORES", "withscores", "WITHSCORE"))
		}
	}
	return w
}

func zsetRange(g *Generator) []string {
	k := g.Key("z")
	limit := func(percent int) []string {
		if g.Chance(percent) {
			return words("LIMIT", strconv.Itoa(g.IntN(7)-2), strconv.Itoa(g.IntN(8)-2))
		}
		return nil
	}
	scores := func() []string { return g.Some(1, func() string { return g.Pick("WITHSCORES", "withscores") }) }
	switch g.IntN(9) {
	case 0:
		return words("ZREVRANGE", k, g.Index(), g.Index(), scores())
	case 1:
		return words(g.Pick("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"), k, zsetScore(g), zsetScore(g), scores(), limit(40))
	case 2:
		return words("ZRANGEBYSCORE", k, "-inf", "+inf", limit(60), scores())
	case 3:
		return words("ZRANGE", k, zsetScore(g), zsetScore(g), "BYSCORE", g.Some(1, rev), scores(), limit(40))
	case 4:
		return words("ZRANGE", k, "+inf", "-inf", "REV", "BYSCORE", limit(60), scores())
	case 5:
		return words("ZRANGESTORE", g.Key("z"), k, g.Index(), g.Index(), g.Some(1, rev))
	case 6:
		return words("ZRANGESTORE", g.Key("z"), k, zsetScore(g), zsetScore(g), "BYSCORE", g.Some(1, rev), limit(30))
	case 7:
		return words("ZRANGE", k, "0", "-1", scores())
	default:
		return words("ZRANGE", k, g.Index(), g.Index(), g.Some(1, rev), scores(), limit(5))
	}
}

func rev() string { return "REV" }

func zsetCombine(g *Generator) []string {
	op := g.Pick("ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZINTERCARD")
	w := words(op)
	if strings.HasSuffix(op, "STORE") {
		w = append(w, g.Key("z"))
	}
	n := 1 + g.IntN(3)
	w = append(w, strconv.Itoa(n))
	for range n {
		w = append(w, g.Key(g.Pick("z", "z", "z", "t")))
	}
	if op == "ZINTERCARD" {
		if g.Chance(40) {
			w = append(w, "LIMIT", g.Count())
		}
		return w
	}
	if g.Chance(30) {
		w = append(w, g.Pick("WEIGHTS", "weights"))
		for range n {
			w = append(w, g.Float())
		}
	}
	if g.Chance(40) {
		w = append(w, "AGGREGATE", g.Pick("SUM", "MIN", "MAX", "min", "AVG"))
	}
	if g.Chance(40) {
		w = append(w, "WITHSCORES")
	}
	return w
}

// zsetLex makes a command with a range of members. Redis leaves undefined what it
// does where scores differ, and with a skip list it is left to chance: so these
// have keys of their own, all of whose scores are 0, and are not made malformed,
// which might lead them to other keys.
func zsetLex(g *Generator) []string {
	g.intact = true
	key := func() string { return g.options.Prefix + "zl" + strconv.Itoa(g.IntN(3)) }
	k := key()
	limit := func() []string {
		if g.Chance(40) {
			return words("LIMIT", strconv.Itoa(g.IntN(7)-2), strconv.Itoa(g.IntN(8)-2))
		}
		return nil
	}
	end := func() string { return zsetLexEnd(g) }
	switch g.IntN(12) {
	case 0, 1, 2:
		w := words("ZADD", k)
		for range 1 + g.IntN(6) {
			w = append(w, "0", g.Member())
		}
		if g.Chance(3) {
			for i := range 150 {
				w = append(w, "0", "m"+strconv.Itoa(i))
			}
		}
		return w
	case 3:
		return words("ZREM", k, g.Members())
	case 4:
		return words("ZREMRANGEBYLEX", k, end(), end())
	case 5:
		return words("ZRANGESTORE", key(), k, end(), end(), "BYLEX", g.Some(1, rev), limit())
	case 6, 7:
		return words("ZLEXCOUNT", k, end(), end())
	case 8:
		return words("ZRANGE", k, end(), end(), "BYLEX", g.Some(1, rev), limit())
	case 9:
		return words("ZREVRANGEBYLEX", k, end(), end(), limit())
	case 10:
		return words("ZRANGEBYLEX", g.Key("z"), "-", "+", limit())
	default:
		return words("ZRANGEBYLEX", k, end(), end(), limit(), g.Some(1, func() string { return g.Pick("WITHSCORES", "REV") }))
	}
}

func zsetLexEnd(g *Generator) string {
	switch g.IntN(8) {
	case 0:
		return "-"
	case 1:
		return "+"
	case 2:
		return g.Pick("(", "[", "+\x00", "-x", "", "m1", "[\xff", "(m")
	default:
		return g.Pick("[", "(") + g.Member()
	}
}
