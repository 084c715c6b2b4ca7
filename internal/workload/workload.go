// Package workload makes random Redis commands for tests that run the same
// sequence in two places, and tells whether two replies mean the same.
//
// Each family of commands has a file: the commands it makes, over few keys and
// members so that they meet, and with the values at which Redis changes its mind
// (empty, negative, huge, not a number). A share of all commands is malformed.
// What may differ between two right answers, and why, is listed in differences.go.
package workload

import (
	"math/rand/v2"
	"strconv"
)

// Generator makes commands. It is not safe for concurrent use. The same seed and
// options give the same commands.
type Generator struct {
	*rand.Rand
	families []Family
	options  Options
	intact   bool   // the command just made is not to be spoilt
	streamID uint64 // numbers the ids of stream entries
}

// Options choose what a Generator makes. The zero value is every family, and 15
// malformed commands in a hundred.
type Options struct {
	Families  []Family // default All()
	Malformed int      // per cent; 0 is 15, -1 none
	Keys      int      // keys of each type; default 6
	Prefix    string   // of every key

	// Now is the time in Unix milliseconds from which deadlines are counted; they
	// lie days away, so that none passes while a test runs. Default: a fixed
	// time far in the future.
	Now int64

	// Server is the version of the server, as major*10000 + minor*100 + patch: newer
	// commands and options are left out. Default 70000.
	Server int

	// ExplicitIDs gives every XADD an id, so that two runs make the same entries.
	ExplicitIDs bool

	// Relative also gives times to live, which two runs count from different
	// moments: their deadlines differ by that much then.
	Relative bool

	// Deferrable leaves out the commands that are refused with no primary.
	Deferrable bool
}

// Family makes one command of a family.
type Family struct {
	Name string
	Make func(g *Generator) []string
}

// All lists the families.
func All() []Family {
	return []Family{
		{"keys", keys},
		{"strings", stringFamily},
		{"bitmaps", bitmaps},
		{"hll", hll},
		{"hashes", hashes},
		{"lists", lists},
		{"sets", sets},
		{"zsets", zsets},
		{"geo", geo},
		{"streams", streams},
		{"sort", sortFamily},
	}
}

// New returns a Generator.
func New(seed uint64, o Options) *Generator {
	if len(o.Families) == 0 {
		o.Families = All()
	}
	if o.Malformed == 0 {
		o.Malformed = 15
	}
	if o.Keys == 0 {
		o.Keys = 6
	}
	if o.Now == 0 {
		o.Now = 4_000_000_000_000
	}
	if o.Server == 0 {
		o.Server = 70000
	}
	return &Generator{Rand: rand.New(rand.NewPCG(seed, 0)), families: o.Families, options: o}
}

// Next makes a command.
func (g *Generator) Next() [][]byte {
	for {
		g.intact = false
		words := g.families[g.IntN(len(g.families))].Make(g)
		if len(words) == 0 {
			continue // a family may have nothing to offer under these options
		}
		if g.IntN(100) < g.options.Malformed && !g.intact {
			words = tame(g.spoil(words))
		}
		if !g.options.Relative && relative(words) {
			continue
		}
		args := make([][]byte, len(words))
		for i, w := range words {
			args[i] = []byte(w)
		}
		return args
	}
}

// spoil makes a command malformed, or at least odd. The name stays, so that the
// command remains one of its family.
func (g *Generator) spoil(words []string) []string {
	w := append([]string(nil), words...)
	at := 1
	if len(w) > 1 {
		at = 1 + g.IntN(len(w)-1)
	}
	switch g.IntN(6) {
	case 0: // an argument less
		if len(w) > 1 {
			w = append(w[:at], w[at+1:]...)
		}
	case 1: // one more
		w = append(w, g.junk())
	case 2:
		if len(w) > 1 {
			w = append(w[:at+1], w[at:]...)
		}
	case 3:
		w = w[:at]
	default:
		if len(w) > 1 {
			w[at] = g.junk()
		}
	}
	return w
}

var junk = []string{
	"", " ", "0", "-1", "1", "01", "+1", "-0", "1.5", "abc", "9223372036854775807", "-9223372036854775808",
	"9223372036854775808", "1e400", "nan", "inf", "-inf", "0x10", "NX", "XX", "GT", "LT", "GET", "COUNT", "LIMIT",
	"*", "$", "0-0", "(1", "[a", "WITHSCORES", "EX", "PX", "KEEPTTL", "\x00", "nx\x00y", "1 ", " 1",
}

func (g *Generator) junk() string { return g.Pick(junk...) }

// AtLeast reports whether the server has what came with this version.
func (g *Generator) AtLeast(version int) bool { return g.options.Server >= version }

// Pick returns one of the words.
func (g *Generator) Pick(words ...string) string { return words[g.IntN(len(words))] }

// Chance is true in so many cases of a hundred.
func (g *Generator) Chance(percent int) bool { return g.IntN(100) < percent }

// Key is a key that mostly holds a value of the family that the prefix stands
// for, and now and then of another one.
func (g *Generator) Key(family string) string {
	if g.Chance(4) {
		family = g.Pick("s", "b", "p", "h", "l", "t", "z", "g", "x")
	}
	return g.options.Prefix + family + strconv.Itoa(g.IntN(g.options.Keys))
}

// AnyKey is a key of any family.
func (g *Generator) AnyKey() string {
	return g.Key(g.Pick("s", "b", "p", "h", "l", "t", "z", "g", "x"))
}

// Int is an integer, mostly small, rarely at an edge.
func (g *Generator) Int() string {
	if g.Chance(3) {
		return g.Pick("9223372036854775807", "-9223372036854775808", "9223372036854775806", "4294967296")
	}
	return strconv.Itoa(g.IntN(41) - 20)
}

// Index is an index into something short, from either end.
func (g *Generator) Index() string { return strconv.Itoa(g.IntN(16) - 8) }

// Count is a small count, now and then negative or large.
func (g *Generator) Count() string {
	if g.Chance(5) {
		return g.Pick("-3", "100", "1000000")
	}
	return strconv.Itoa(g.IntN(6))
}

// Float is a number as scores and increments have it.
func (g *Generator) Float() string {
	switch g.IntN(12) {
	case 0:
		return g.Pick("inf", "-inf", "+inf", "1e300", "-1e-300", "0.1", "1e20", "3.0e3", "-0")
	case 1, 2, 3:
		return strconv.FormatFloat((g.Float64()-0.5)*1000, 'g', -1, 64)
	case 4:
		return strconv.FormatFloat(float64(g.IntN(1000))/8, 'f', -1, 64)
	default:
		return strconv.Itoa(g.IntN(21) - 10)
	}
}

// Member is a member, field or element, from a small set.
func (g *Generator) Member() string {
	switch g.IntN(20) {
	case 0:
		return g.Pick("", "\x00\xff", "a long member that does not fit into a listpack because it has more than sixty-four bytes in it", "-5", "12345678901234567890")
	case 1, 2, 3, 4, 5:
		return strconv.Itoa(g.IntN(12))
	default:
		return "m" + strconv.Itoa(g.IntN(14))
	}
}

// Value is the value of a string.
func (g *Generator) Value() string {
	switch g.IntN(10) {
	case 0:
		return g.Pick("", "\r\n", "\x00\x01\x02", "a value that is longer than most of the others are, for the sake of it")
	case 1, 2, 3:
		return g.Int()
	case 4:
		return g.Float()
	default:
		return "v" + strconv.Itoa(g.IntN(1000))
	}
}

// Members is some members.
func (g *Generator) Members() []string {
	out := make([]string, 1+g.IntN(4))
	for i := range out {
		out[i] = g.Member()
	}
	return out
}

// Deadline is an absolute time in milliseconds, days from Options.Now, or now and
// then one that has passed.
func (g *Generator) Deadline() string {
	if g.Chance(6) {
		return g.Pick("1", "1000", "-5", "0")
	}
	return strconv.FormatInt(g.options.Now+86_400_000*int64(1+g.IntN(5)), 10)
}

// Some is between none and n of what f makes.
func (g *Generator) Some(n int, f func() string) []string {
	var out []string
	for range g.IntN(n + 1) {
		out = append(out, f())
	}
	return out
}

// words joins words and lists of words to a command.
func words(parts ...any) []string {
	var out []string
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			out = append(out, v)
		case []string:
			out = append(out, v...)
		}
	}
	return out
}
