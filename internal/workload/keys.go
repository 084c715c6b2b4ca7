package workload

import (
	"strconv"
	"strings"
)

func keys(g *Generator) []string {
	k := g.AnyKey()
	switch g.IntN(16) {
	case 0:
		return words(g.Pick("DEL", "UNLINK"), k, g.Some(2, g.AnyKey))
	case 1:
		return words("EXISTS", k, g.Some(2, g.AnyKey))
	case 2:
		return words("TOUCH", k, g.Some(2, g.AnyKey))
	case 3:
		return words("TYPE", k)
	case 4, 5:
		return words("PEXPIREAT", k, g.Deadline(), g.expireOptions())
	case 6:
		return words("EXPIREAT", k, g.timeIn("EXAT"), g.expireOptions())
	case 7:
		if g.Chance(50) {
			return words("EXPIRE", k, g.timeToLive("EX"), g.expireOptions())
		}
		return words("PEXPIRE", k, g.timeToLive("PX"), g.expireOptions())
	case 8:
		return words("PERSIST", k)
	case 9, 10:
		return words(g.Pick("TTL", "PTTL"), k)
	case 11:
		if g.options.Relative {
			return words("PTTL", k)
		}
		return words(g.Pick("EXPIRETIME", "PEXPIRETIME"), k)
	case 12, 13:
		from, to := g.twoKeys()
		return words("RENAME", from, to)
	default:
		from, to := g.twoKeys()
		if g.options.Deferrable || g.Chance(60) {
			return words("COPY", from, to, g.Pick("REPLACE", "replace"))
		}
		return words("COPY", from, to)
	}
}

// twoKeys are mostly of one family, so that keys go on holding what the others
// expect of them.
func (g *Generator) twoKeys() (from, to string) {
	if g.Chance(10) {
		return g.AnyKey(), g.AnyKey()
	}
	family := g.Pick("s", "b", "p", "h", "l", "t", "z", "g", "x")
	return g.Key(family), g.Key(family)
}

// expireOptions are conditions of EXPIRE, which now and then exclude each other.
func (g *Generator) expireOptions() []string {
	if g.options.Deferrable || g.Chance(50) {
		return nil
	}
	out := []string{g.Pick("NX", "XX", "GT", "LT", "xx", "gt")}
	if g.Chance(15) {
		out = append(out, g.Pick("NX", "XX", "GT", "LT"))
	}
	return out
}

// relative reports whether a command gives something a deadline that counts from
// now, which may also be what became of another one when it was spoilt.
func relative(words []string) bool {
	option := func(w string) string {
		w, _, _ = strings.Cut(w, "\x00")
		return strings.ToUpper(w)
	}
	switch option(words[0]) {
	case "SETEX", "EXPIRE", "HEXPIRE":
		return len(words) > 2 && timeAhead(words[2], 1000)
	case "PSETEX", "PEXPIRE", "HPEXPIRE":
		return len(words) > 2 && timeAhead(words[2], 1)
	case "SET", "GETEX", "HGETEX", "HSETEX", "MSETEX":
		for i, w := range words[:len(words)-1] {
			switch option(w) {
			case "EX":
				if timeAhead(words[i+1], 1000) {
					return true
				}
			case "PX":
				if timeAhead(words[i+1], 1) {
					return true
				}
			}
		}
	}
	return false
}

// timeAhead reports whether a time to live in units of so many milliseconds is
// one that a server takes, and is not over.
func timeAhead(w string, unit int64) bool {
	n, err := strconv.ParseInt(w, 10, 64)
	return err == nil && n > 0 && n < 9_223_372_036_854_775_807/unit
}
