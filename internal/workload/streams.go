package workload

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// streams makes commands of streams. XADD * is not among them: two servers would
// generate two ids. Ids are given, and grow, on the keys x…; on the keys xm… they
// have the form ms-*, and nothing names these entries afterwards, since the engine
// only promises their ids.
func streams(g *Generator) []string {
	if g.Chance(15) && !g.options.ExplicitIDs {
		return g.sequenceStream()
	}
	k := g.Key("x")
	switch g.IntN(20) {
	case 0, 1, 2, 3, 4, 5, 6:
		return words("XADD", k, g.pickRare(3, "", "NOMKSTREAM"),
			g.trimOption(20), g.nextID(), g.streamFields())
	case 7:
		return words("XLEN", k)
	case 8:
		return words("XRANGE", k, g.bound("-"), g.bound("+"), g.streamOption(50, "COUNT", g.Count))
	case 9:
		return words("XREVRANGE", k, g.bound("+"), g.bound("-"), g.streamOption(50, "COUNT", g.Count))
	case 10, 11:
		return g.readStreams()
	case 12:
		return words("XDEL", k, g.someID(), g.Some(3, g.someID))
	case 13:
		return words("XTRIM", k, g.trimOption(100))
	case 14, 15:
		return words("XACK", k, g.group(), g.someID(), g.Some(3, g.someID))
	case 16:
		return g.pendingStream(k)
	case 17:
		return g.infoStream(k)
	default:
		if g.options.Deferrable {
			return nil
		}
		return g.groupStream(k)
	}
}

// sequenceStream makes commands of the streams whose ids the server completes.
func (g *Generator) sequenceStream() []string {
	k := g.options.Prefix + "xm" + strconv.Itoa(g.IntN(g.options.Keys))
	switch g.IntN(6) {
	case 0:
		return words("XRANGE", k, "-", "+", g.streamOption(70, "COUNT", g.Count))
	case 1:
		return words("XTRIM", k, "MAXLEN", strconv.Itoa(g.IntN(10)))
	case 2:
		return words("XLEN", k)
	default:
		ms := strconv.FormatUint(g.streamID/16+uint64(g.IntN(2)), 10)
		return words("XADD", k, g.streamOption(30, "MAXLEN", g.Count), ms+"-*", g.streamFields())
	}
}

func (g *Generator) groupStream(k string) []string {
	group := g.group()
	switch g.IntN(12) {
	case 0, 1, 2:
		return words("XGROUP", "CREATE", k, group, g.pickRare(30, g.someID(), "$"),
			g.pickRare(50, "", "MKSTREAM"), g.streamOption(20, "ENTRIESREAD", g.Count))
	case 3:
		return words("XGROUP", "SETID", k, group, g.someID(), g.streamOption(50, "ENTRIESREAD", g.Count))
	case 4:
		return words("XGROUP", "CREATECONSUMER", k, group, g.consumer())
	case 5:
		return words("XGROUP", "DELCONSUMER", k, group, g.consumer())
	case 6:
		if g.Chance(70) {
			return nil
		}
		return words("XGROUP", "DESTROY", k, group)
	case 7:
		// Redis 7.0 lets it go below deleted entries, whose remains then lie out of
		// order among the new ones and stop XTRIM.
		if !g.AtLeast(70200) {
			return nil
		}
		return words("XSETID", k, g.nextID(), g.streamOption(50, "ENTRIESADDED", func() string { return strconv.Itoa(g.IntN(400)) }),
			g.streamOption(20, "MAXDELETEDID", g.someID))
	case 8, 9:
		return words("XCLAIM", k, group, g.consumer(), g.Pick("0", "0", "1000000"), g.someID(), g.Some(3, g.someID),
			g.pickRare(70, "", "FORCE"), g.pickRare(50, "", "JUSTID"), g.streamOption(30, "RETRYCOUNT", g.Count),
			g.streamOption(30, "IDLE", func() string { return "5000000" }), g.streamOption(10, "TIME", func() string { return "1000" }),
			g.streamOption(10, "LASTID", g.someID))
	default:
		return words("XREADGROUP", "GROUP", group, g.consumer(), g.streamOption(60, "COUNT", g.Count),
			g.pickRare(10, "", "NOACK"), "STREAMS", k, g.pickRare(30, ">", g.someID()))
	}
}

func (g *Generator) readStreams() []string {
	n := 1 + g.IntN(3)
	var keys, ids []string
	for range n {
		keys = append(keys, g.Key("x"))
		switch {
		case g.Chance(10):
			ids = append(ids, g.Pick("$", "0", "+"))
		default:
			ids = append(ids, g.someID())
		}
	}
	return words("XREAD", g.streamOption(60, "COUNT", g.Count), g.streamOption(5, "BLOCK", func() string { return "1" }), "STREAMS", keys, ids)
}

func (g *Generator) pendingStream(k string) []string {
	if g.Chance(30) {
		return words("XPENDING", k, g.group())
	}
	return words("XPENDING", k, g.group(), g.streamOption(30, "IDLE", func() string { return g.Pick("0", "1000000") }),
		g.bound("-"), g.bound("+"), g.Count(), g.Some(1, g.consumer))
}

func (g *Generator) infoStream(k string) []string {
	switch g.IntN(5) {
	case 0:
		return words("XINFO", "GROUPS", k)
	case 1:
		return words("XINFO", "CONSUMERS", k, g.group())
	case 2:
		return words("XINFO", "STREAM", k, "FULL", g.streamOption(50, "COUNT", g.Count))
	default:
		return words("XINFO", "STREAM", k)
	}
}

// trimOption is a trimming option in so many cases of a hundred. The form with ~
// is made only where a run begins with streams that both sides have seen grow:
// how much it trims depends on where the server has cut the stream into nodes,
// which a copy of a stream does not show.
func (g *Generator) trimOption(percent int) []string {
	if !g.Chance(percent) {
		return nil
	}
	how := g.Pick("", "=")
	var limit []string
	if g.Chance(40) && !g.options.Deferrable && !g.options.ExplicitIDs {
		how = "~"
		limit = g.streamOption(20, "LIMIT", func() string { return g.Pick("0", "5", "50", "120") })
	}
	if g.Chance(40) {
		return words("MINID", word(how), g.someID(), limit)
	}
	n := g.IntN(12)
	if g.Chance(50) {
		n = g.IntN(250)
	}
	return words("MAXLEN", word(how), strconv.Itoa(n), limit)
}

// nextID is mostly greater than those made before.
func (g *Generator) nextID() string {
	if g.Chance(5) {
		return g.someID()
	}
	g.streamID += uint64(g.IntN(4))
	return g.idText(g.streamID)
}

// idText lays ids out so that several share their first half.
func (g *Generator) idText(n uint64) string {
	if n%8 == 0 && g.Chance(50) {
		return strconv.FormatUint(n/8, 10)
	}
	return strconv.FormatUint(n/8, 10) + "-" + strconv.FormatUint(n%8, 10)
}

// someID is the id of an entry that may be there.
func (g *Generator) someID() string {
	if g.Chance(3) {
		return g.Pick("0", "0-0", "0-1", "18446744073709551615-18446744073709551615", "99999999")
	}
	span := 40
	if g.Chance(30) {
		span = 600
	}
	return g.idText(g.streamID - min(g.streamID, uint64(g.IntN(span))))
}

// bound is an end of a range.
func (g *Generator) bound(end string) string {
	switch g.IntN(6) {
	case 0, 1, 2:
		return end
	case 3:
		return "(" + g.someID()
	default:
		return g.someID()
	}
}

func (g *Generator) group() string    { return g.Pick("g0", "g0", "g1", "g2") }
func (g *Generator) consumer() string { return g.Pick("c0", "c1", "c2", "idle") }

func (g *Generator) streamFields() []string {
	if g.Chance(60) {
		return words("f", g.Value(), "g", g.Value())
	}
	out := words(g.Member(), g.Value())
	for range g.IntN(3) {
		out = append(out, g.Member(), g.Value())
	}
	if g.Chance(40) { // so that nodes fill up
		out[1] = strings.Repeat("x", g.IntN(1200))
	}
	return out
}

// streamOption is a word with its value in so many cases of a hundred.
func (g *Generator) streamOption(percent int, name string, value func() string) []string {
	if !g.Chance(percent) {
		return nil
	}
	return []string{name, value()}
}

// pickRare is the second in so many cases of a hundred, else the first; the empty
// word is none.
func (g *Generator) pickRare(percent int, mostly, rarely string) []string {
	if g.Chance(percent) {
		mostly = rarely
	}
	return word(mostly)
}

// word is a list of one word, and of none for the empty one.
func word(w string) []string {
	if w == "" {
		return nil
	}
	return []string{w}
}

// streamSubcommands are the subcommands that there are.
var streamSubcommands = map[string][]string{
	"XGROUP": {"CREATE", "SETID", "DESTROY", "CREATECONSUMER", "DELCONSUMER"},
	"XINFO":  {"STREAM", "GROUPS", "CONSUMERS"},
}

// tame changes what spoiling has made of a command where it would wait for ever,
// generate an id by the clock, or call what is no command at all.
func tame(args []string) []string {
	if subs := streamSubcommands[args[0]]; subs != nil {
		switch {
		case len(args) == 1:
			args = append(args, subs[0])
		case !slices.Contains(subs, args[1]):
			args[1] = subs[0]
		}
	}
	for i := 2; i < len(args); i++ {
		switch {
		case args[0] == "XADD" && args[i] == "*",
			args[0] == "XADD" && strings.HasSuffix(args[i], "-*") && !strings.Contains(args[1], "xm"):
			args[i] = "-"
		case strings.HasPrefix(args[0], "XREAD") && args[i-1] == "BLOCK" && (args[i] == "0" || len(args[i]) > 2):
			args[i] = "1"
		}
	}
	return args
}

// sameStreamInfo compares the replies of XPENDING and XINFO but for what tells the
// time, which may differ by the tolerance, and for two figures of XINFO STREAM.
func sameStreamInfo(a, b resp.Value, label string) bool {
	if a.Kind != b.Kind || string(a.Str) != string(b.Str) || len(a.Elems) != len(b.Elems) {
		return false
	}
	if a.Kind == resp.KindInt {
		switch label {
		case "radix-tree-keys", "radix-tree-nodes":
			return true
		case "idle", "inactive", "seen-time", "active-time":
			d := a.Int - b.Int
			return (a.Int < 0) == (b.Int < 0) && -timeTolerance <= d && d <= timeTolerance
		}
		return a.Int == b.Int
	}
	for i := range a.Elems {
		label := ""
		switch {
		case isPending(a.Elems) && i == len(a.Elems)-2:
			label = "idle"
		case i%2 == 1:
			label = a.Elems[i-1].Text()
		}
		if !sameStreamInfo(a.Elems[i], b.Elems[i], label) {
			return false
		}
	}
	return true
}

// isPending reports whether the elements are those of a pending entry: its id,
// perhaps its consumer, a time and a count.
func isPending(v []resp.Value) bool {
	n := len(v)
	return (n == 3 || n == 4) && v[0].Kind == resp.KindBulk && strings.Contains(v[0].Text(), "-") &&
		v[n-2].Kind == resp.KindInt && v[n-1].Kind == resp.KindInt
}

// decoded is a reply as a client library decodes it in the form of one that was
// not; a map becomes a list in the order of its keys.
func decoded(v any) resp.Value {
	switch v := v.(type) {
	case []any:
		out := resp.Value{Kind: resp.KindArray}
		for _, e := range v {
			out.Elems = append(out.Elems, decoded(e))
		}
		return out
	case map[any]any:
		out := resp.Value{Kind: resp.KindArray}
		keys := slices.SortedFunc(maps.Keys(v), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, k := range keys {
			out.Elems = append(out.Elems, decoded(k), decoded(v[k]))
		}
		return out
	case int64:
		return resp.Value{Kind: resp.KindInt, Int: v}
	case string:
		return resp.Value{Kind: resp.KindBulk, Str: []byte(v)}
	}
	return resp.Value{Kind: resp.KindSimple, Str: fmt.Appendf(nil, "%#v", v)}
}
