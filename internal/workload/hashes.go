package workload

import (
	"strconv"
	"strings"
)

func hashes(g *Generator) []string {
	k := g.Key("h")
	if g.AtLeast(70400) && g.Chance(35) {
		return fields(g, k)
	}
	switch g.IntN(16) {
	case 0, 1, 2:
		return words("HSET", k, g.fieldPairs())
	case 3:
		return words("HMSET", k, g.fieldPairs())
	case 4, 5:
		return words("HDEL", k, g.Members())
	case 6, 7:
		return words("HINCRBY", k, g.Member(), g.Int())
	case 8, 9:
		return words("HINCRBYFLOAT", k, g.Member(), g.Float())
	case 10:
		return words("HMGET", k, g.Members())
	case 11:
		return words(g.Pick("HGET", "HGET", "HSTRLEN", "HEXISTS"), k, g.Member())
	case 12:
		return words(g.Pick("HGETALL", "HLEN", "HKEYS", "HVALS"), k)
	case 13:
		return randField(g, k)
	case 14:
		return hashScan(g, k)
	default:
		return words("HGETALL", k)
	}
}

func (g *Generator) fieldPairs() []string {
	var out []string
	for range 1 + g.IntN(4) {
		out = append(out, g.Member(), g.Value())
	}
	return out
}

func randField(g *Generator, k string) []string {
	switch g.IntN(3) {
	case 0:
		return words("HRANDFIELD", k)
	case 1:
		return words("HRANDFIELD", k, g.Pick("-40", "-2", "0", "1", "3", "100"))
	default:
		return words("HRANDFIELD", k, g.Pick("-40", "-2", "0", "1", "3", "100"), "WITHVALUES")
	}
}

// hashScan asks for more fields than there are, so that a server, too, gives
// them in one reply.
func hashScan(g *Generator, k string) []string {
	w := words("HSCAN", k, "0")
	if g.Chance(70) {
		w = words(w, "MATCH", g.globPattern())
	}
	w = words(w, "COUNT", strconv.Itoa(1000+g.IntN(1000)))
	if g.AtLeast(70400) && g.Chance(30) {
		w = words(w, "NOVALUES")
	}
	return w
}

// globPattern is a glob that some members match.
func (g *Generator) globPattern() string {
	if g.Chance(20) {
		return g.Pick("*", "**", "", "m*", "*1", "m?", "?", "m1[0-3]", "[^m]*", "[m", "[^", "[]", "[m]", "\\m*", "m\\", "[5-1]", "[1-", "m[a-]2]")
	}
	p := ""
	for range 1 + g.IntN(4) {
		p += g.Pick("*", "?", "m", "1", "2", "[0-9]", "[^1]", "[m1]", "\\1", "\\", "[", "]", "-", "^", "[\\m-z]", "*?")
	}
	return p
}

// fields are the commands about deadlines of fields. Times to live that count
// come with Options.Relative only; without it they are those of a field that is
// not there.
func fields(g *Generator, k string) []string {
	names := g.Members()
	list := words("FIELDS", strconv.Itoa(len(names)), names)
	condition := g.Some(1, func() string { return g.Pick("NX", "XX", "GT", "LT", "gt") })
	switch g.IntN(14) {
	case 0, 1, 2:
		return words("HPEXPIREAT", k, g.Deadline(), condition, list)
	case 3:
		return words("HEXPIREAT", k, strings.TrimSuffix(g.Deadline(), "000"), condition, list)
	case 4:
		if !g.options.Relative {
			list = words("FIELDS", "1", "none")
		}
		return words(g.Pick("HEXPIRE", "HPEXPIRE"), k, g.fieldTTL(), condition, list)
	case 5:
		return words("HPERSIST", k, list)
	case 6:
		return words(g.Pick("HTTL", "HPTTL"), k, list)
	case 7:
		if !g.options.Relative {
			return words(g.Pick("HEXPIRETIME", "HPEXPIRETIME"), k, list)
		}
	}
	switch {
	case !g.AtLeast(80000):
		return words("HPTTL", k, list)
	case g.Chance(40):
		return words("HGETEX", k, g.fieldTime("PERSIST"), list)
	}
	pairs := g.fieldPairs()
	if !g.options.Deferrable {
		condition = g.Some(1, func() string { return g.Pick("FNX", "FXX") })
	} else {
		condition = nil
	}
	return words("HSETEX", k, condition, g.fieldTime("KEEPTTL"), "FIELDS", strconv.Itoa(len(pairs)/2), pairs)
}

// fieldTTL is hours and more, whether seconds or milliseconds, and such that two
// are hardly ever near each other; or no time to live at all.
func (g *Generator) fieldTTL() string {
	if g.Chance(10) {
		return g.Pick("0", "-1", "70368744177664", "9223372036854775807")
	}
	return strconv.Itoa(20_000_000 + g.IntN(1_000_000_000))
}

// fieldTime is the time in HGETEX and HSETEX, or other, or nothing.
func (g *Generator) fieldTime(other string) []string {
	switch g.IntN(6) {
	case 0:
		return words("PXAT", g.Deadline())
	case 1:
		return words("EXAT", strings.TrimSuffix(g.Deadline(), "000"))
	case 2:
		return words(other)
	case 3:
		if g.options.Relative {
			return words(g.Pick("EX", "PX"), g.fieldTTL())
		}
	}
	return nil
}
