package workload

import "strconv"

// sortFamily sorts what it has made itself, in keys that no other family has,
// and it is not made malformed at random. The reason is that some replies of
// SORT hang on what no other process can know:
//   - Elements of a set or a sorted set that weigh the same come in the order of
//     the server's hash table. So only lists are sorted BY something with ALPHA,
//     as there Redis's order is stable, and a set never without sorting.
//   - Redis takes any element that it has to parse for a fault while errno is
//     still ERANGE from some command before. So what is sorted as a number is an
//     integer that it does not parse: of a list, or a weight.
//   - SORT, and SORT_RO too, turns a small sorted set into a big one, which keeps
//     the sign of a score of minus zero, as the small one does not.
func sortFamily(g *Generator) []string {
	g.intact = true
	switch g.IntN(10) {
	case 0, 1, 2:
		return g.sortFill()
	case 3:
		return g.sortWeights()
	case 4:
		return g.sortMalformed()
	case 5:
		// Stored, elements are compared whole, so that no two are equal.
		return words("SORT", g.sortKey(g.Pick("ol", "ot", "ow", "oz")), "ALPHA", g.sortLimit(), "STORE", g.Key("l"))
	default:
		return g.sortOf()
	}
}

// sortKey is a list (ol), a set of integers (ot), a set of words (ow) or a sorted
// set (oz) to be sorted.
func (g *Generator) sortKey(kind string) string {
	return g.options.Prefix + kind + strconv.Itoa(g.IntN(3))
}

func (g *Generator) sortInt() string { return strconv.Itoa(g.IntN(31) - 10) }

func (g *Generator) sortWord() string {
	return g.Pick("m1", "m2", "M3", "", "a b", "-", g.sortInt(), g.sortInt())
}

func (g *Generator) sortFill() []string {
	switch g.IntN(8) {
	case 0, 1:
		if g.Chance(4) {
			return words("RPUSH", g.sortKey("ol"), g.Pick("m1", "M3", "a b", "-"))
		}
		return words(g.Pick("LPUSH", "RPUSH"), g.sortKey("ol"), g.sortInt(), g.Some(4, g.sortInt))
	case 2:
		return words("LTRIM", g.sortKey("ol"), "-7", "-1")
	case 3:
		return words("SADD", g.sortKey("ot"), g.sortInt(), g.Some(3, g.sortInt))
	case 4:
		return words("SADD", g.sortKey("ow"), g.sortWord(), g.Some(3, g.sortWord))
	case 5:
		return words("SREM", g.sortKey(g.Pick("ot", "ow")), g.sortInt(), g.Some(5, g.sortWord))
	case 6:
		return words("DEL", g.sortKey(g.Pick("ol", "ot", "ow", "oz")))
	default:
		return words("ZADD", g.sortKey("oz"), g.sortInt(), g.sortWord(), g.sortInt()+".5", g.sortWord())
	}
}

// sortWeights makes what patterns lead to.
func (g *Generator) sortWeights() []string {
	name := g.options.Prefix + g.Pick("ov_", "oh_") + g.sortWord()
	switch {
	case g.Chance(20):
		return words("DEL", name)
	case name[len(g.options.Prefix)+1] == 'v':
		return words("SET", name, g.sortInt())
	}
	return words("HSET", name, g.Pick("f", "g"), g.sortInt())
}

func (g *Generator) sortOf() []string {
	var options [][]string
	kind := g.Pick("ol", "ol", "ot", "ow", "oz")
	limit, store, patterns := g.sortLimit(), false, false
	numeric := kind == "ol"
	switch {
	case g.Chance(25):
		patterns, numeric = true, true
		options = append(options, words("BY", g.options.Prefix+g.Pick("ov_*", "oh_*->f", "oh_*->g", "none*")))
		if kind == "ol" && g.Chance(40) {
			numeric, limit = false, nil
		}
	case g.Chance(20) && (kind == "ol" || kind == "oz"):
		numeric = true
		options = append(options, words("BY", g.Pick("nosort", "", "#")))
	}
	if !numeric || (g.Chance(30) && !patterns) {
		options = append(options, words(g.Pick("ALPHA", "alpha")))
	}
	if g.Chance(40) {
		options = append(options, words(g.Pick("DESC", "ASC", "desc")))
	}
	for g.Chance(30) {
		p := g.Pick("#", "nostar", "ov_*", "oh_*->f", "oh_*->g", "oh_*", "oh_*->", "ov_*x")
		patterns = patterns || len(p) > 2 && p != "nostar"
		if len(p) > 1 {
			p = g.options.Prefix + p
		}
		options = append(options, words("GET", p))
	}
	options = append(options, limit)
	if !patterns && g.Chance(30) {
		store = true
		options = append(options, words("STORE", g.Key("l")))
	}
	g.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
	name := "SORT"
	if !store && g.Chance(50) {
		name = "SORT_RO"
	}
	out := words(name, g.sortKey(kind))
	for _, o := range options {
		out = words(out, o)
	}
	return out
}

func (g *Generator) sortLimit() []string {
	if g.Chance(60) {
		return nil
	}
	return words("LIMIT", g.Index(), g.Count())
}

// sortMalformed is what Redis finds fault with before it sorts, or has nothing
// to sort in.
func (g *Generator) sortMalformed() []string {
	name, k := g.Pick("SORT", "sort_ro"), g.AnyKey()
	switch g.IntN(9) {
	case 0:
		return words(name, k, "LIMIT", g.sortJunk(), "1")
	case 1:
		return words(name, k, "DESC", "LIMIT", "1", g.sortJunk())
	case 2:
		return words(name, k, g.Pick("LIMIT", "BY", "GET", "STORE", "foo", ""))
	case 3:
		return words(name, k, "ALPHA", "LIMIT", "1")
	case 4:
		return words("SORT_RO", k, "STORE", g.Key("l"))
	case 5:
		return words(name)
	case 6:
		return words(name, g.options.Prefix+g.Pick("ov_m1", "oh_m1"), g.Some(1, func() string { return "ALPHA" }))
	case 7:
		return words(name, g.options.Prefix+"none", g.Some(2, func() string { return g.Pick("ALPHA", "DESC") }))
	default:
		return words("SORT", g.options.Prefix+"none", "STORE", g.Key("l"))
	}
}

// sortJunk is no integer.
func (g *Generator) sortJunk() string {
	return g.Pick("x", "", "1.5", "01", "9223372036854775808", " 1")
}
