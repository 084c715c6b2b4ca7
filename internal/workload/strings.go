package workload

import (
	"strconv"
	"strings"
)

func stringFamily(g *Generator) []string {
	k := g.Key("s")
	switch g.IntN(26) {
	case 0, 1:
		return words("SET", k, g.Value())
	case 2, 3:
		return words("SET", k, g.Value(), g.setOptions())
	case 4:
		if g.Chance(50) {
			return words("SETEX", k, g.timeToLive("EX"), g.Value())
		}
		return words("PSETEX", k, g.timeToLive("PX"), g.Value())
	case 5:
		return words("GETEX", k, g.getExOptions())
	case 6:
		return words("MSET", k, g.Value(), g.pairs(2, func() string { return g.Key("s") }))
	case 7:
		return words("MGET", k, g.Some(3, g.AnyKey))
	case 8:
		return words("STRLEN", k)
	case 9, 10:
		return words("APPEND", k, g.Value())
	case 11, 12:
		return words("SETRANGE", k, g.offset(), g.Value())
	case 13, 14:
		return words(g.Pick("GETRANGE", "SUBSTR"), k, g.Index(), g.Index())
	case 15, 16:
		return words(g.Pick("INCR", "DECR"), g.counter())
	case 17:
		return words(g.Pick("INCRBY", "DECRBY"), g.counter(), g.Int())
	case 18, 19:
		return words("INCRBYFLOAT", g.counter(), g.longDouble())
	case 20:
		return words("SET", g.counter(), g.longDouble())
	case 21:
		return words("LCS", k, g.Key("s"), g.lcsOptions())
	case 22:
		return words("SET", k, g.letters())
	default:
		return words("GET", k)
	}
}

// counter is one of two keys that hold numbers most of the time.
func (g *Generator) counter() string {
	if g.Chance(20) {
		return g.Key("s")
	}
	return g.options.Prefix + "s" + strconv.Itoa(g.IntN(2))
}

// pairs is up to n keys, each with a value.
func (g *Generator) pairs(n int, key func() string) []string {
	var out []string
	for range g.IntN(n + 1) {
		out = append(out, key(), g.Value())
	}
	return out
}

// setOptions are options of SET, which now and then exclude each other.
func (g *Generator) setOptions() []string {
	var out []string
	for range 1 + g.IntN(2) + g.IntN(2)*g.IntN(2) {
		switch choice := g.IntN(8); {
		case choice < 4:
			out = append(out, g.expiry()...)
		case choice < 6 && !g.options.Deferrable:
			out = append(out, g.Pick("NX", "GET", "nx", "get"))
		default:
			out = append(out, g.Pick("XX", "KEEPTTL", "keepttl"))
		}
	}
	return out
}

func (g *Generator) getExOptions() []string {
	switch g.IntN(8) {
	case 0, 1:
		return nil
	case 2:
		return append(g.expiry(), g.expiry()...)
	case 3, 4:
		return words(g.Pick("PERSIST", "persist"))
	default:
		return g.expiry()
	}
}

// expiry is a unit and a deadline.
func (g *Generator) expiry() []string {
	unit := g.Pick("EX", "PX", "EXAT", "PXAT", "EXAT", "PXAT", "pxat")
	return words(unit, g.timeIn(unit))
}

// timeIn is a deadline, or a time to live, in a unit of SET.
func (g *Generator) timeIn(unit string) string {
	switch unit {
	case "EX", "PX":
		return g.timeToLive(unit)
	case "EXAT":
		return strings.TrimSuffix(g.Deadline(), "000")
	}
	return g.Deadline()
}

// timeToLive is some days, or without Options.Relative a time that SET refuses
// and EXPIRE takes for over.
func (g *Generator) timeToLive(unit string) string {
	if !g.options.Relative || g.Chance(20) {
		if unit == "EX" && g.Chance(20) {
			return "9223372036854775" // milliseconds can express it, but not as a deadline
		}
		return g.Pick("0", "-1", "-86400000", "-9223372036854775808", "9223372036854775807")
	}
	days := int64(1 + g.IntN(5))
	if unit == "PX" {
		days *= 1000
	}
	return strconv.FormatInt(86_400*days, 10)
}

// offset is an offset into a string, mostly near its end.
func (g *Generator) offset() string {
	if g.Chance(4) {
		return g.Pick("-1", "536870912", "4294967296", "300")
	}
	return strconv.Itoa(g.IntN(24))
}

// letters is a string of few different ones.
func (g *Generator) letters() string {
	out := make([]byte, g.IntN(16))
	for i := range out {
		out[i] = 'a' + byte(g.IntN(3))
	}
	return string(out)
}

// longDouble is a number with more digits or a smaller exponent than a double
// has, now and then. Great ones would make strings that are too long for LCS.
func (g *Generator) longDouble() string {
	switch g.IntN(16) {
	case 0:
		return g.Pick("0x1.8p3", "-0X.fp-2", "0x", "0x1p", "1e", ".", ".5", "-5.", "+.5e+1", "0x10", "infinity", "-INF",
			"-1e4933", "1e-4932", "1e-4951", "1e-5000", "1e5000", "1e999999999999",
			"0e99999999999", "0x1p16384", "0x1p-16445", "0x1p-16446", "nan(1)", "1_0", "-0.0", "0x1_0")
	case 1:
		return g.Pick("1e-17", "5e-18", "-5e-18", "15e-18", "4.9e-18", "0.1", "-0.1", "1e18", "18446744073709551615", "1e19")
	case 2, 3:
		return g.digits(1+g.IntN(22)) + "." + g.digits(1+g.IntN(22))
	case 4:
		return g.digits(1+g.IntN(25)) + "e" + strconv.Itoa(g.IntN(80)-40)
	case 5:
		return "-" + g.digits(1+g.IntN(25)) + "." + g.digits(g.IntN(20))
	default:
		return g.Float()
	}
}

func (g *Generator) digits(n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = '0' + byte(g.IntN(10))
	}
	return string(out)
}

func (g *Generator) lcsOptions() []string {
	var out []string
	for range g.IntN(4) {
		switch g.IntN(7) {
		case 0:
			out = append(out, "LEN")
		case 1, 2, 3:
			out = append(out, "IDX")
		case 4:
			out = append(out, "WITHMATCHLEN")
		default:
			out = append(out, "MINMATCHLEN", strconv.Itoa(g.IntN(5)-1))
		}
	}
	return out
}
