package resilient_test

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// invocation is one call of an application on one key, and heard what it was told: the
// two sides of an operation in a history.
type invocation struct {
	key  string
	verb string
	arg  string // of HSET and HGET the field, of which the value is the second word
}

type heard struct {
	text  string
	doubt bool // nothing was heard: it may have been made, and at any later time
}

func (i invocation) String() string { return strings.TrimSpace(i.verb + " " + i.key + " " + i.arg) }

// mutates reports whether a call of this verb changes something.
func (i invocation) mutates() bool {
	switch i.verb {
	case "get", "llen", "lrange", "hget", "hgetall", "pair?":
		return false
	}
	return true
}

// datum is the value of one key. A list is known by its length and a hash chain over
// its elements, which tells lists of other elements or another order apart.
type datum struct {
	there bool
	text  string // of a string; of a hash its fields and values in order
	n     int64  // of a list its length; of a pair its first counter
	m     uint64 // of a list its chain; of a pair its second counter
}

const absent = "(nil)"

// chain goes on from one element of a list to the next.
func chain(h uint64, element string) uint64 {
	f := fnv.New64a()
	fmt.Fprint(f, h, " ", element)
	return f.Sum64()
}

// wholeList is how a list is written down in a history.
func wholeList(n int64, h uint64) string { return fmt.Sprintf("%d elements, %x", n, h) }

func listText(elements []string) string {
	h := uint64(0)
	for _, e := range elements {
		h = chain(h, e)
	}
	return wholeList(int64(len(elements)), h)
}

// hashText is how a hash is written down: its fields in order.
func hashText(fields map[string]string) string {
	var all []string
	for f, v := range fields {
		all = append(all, f+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func fieldsOf(text string) map[string]string {
	fields := make(map[string]string)
	for pair := range strings.FieldsSeq(text) {
		f, v, _ := strings.Cut(pair, "=")
		fields[f] = v
	}
	return fields
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// execute is Redis: what a call makes of a value, and what it answers.
func execute(d datum, in invocation) (datum, string) {
	switch in.verb {
	case "get":
		return d, d.read()
	case "set":
		return datum{there: true, text: in.arg}, "OK"
	case "getset":
		return datum{there: true, text: in.arg}, d.read()
	case "setnx":
		if d.there {
			return d, bit(false)
		}
		return datum{there: true, text: in.arg}, bit(true)
	case "del":
		return datum{}, bit(d.there)
	case "incrby":
		n, _ := strconv.ParseInt(d.text, 10, 64)
		by, _ := strconv.ParseInt(in.arg, 10, 64)
		text := strconv.FormatInt(n+by, 10)
		return datum{there: true, text: text}, text
	case "rpush":
		d = datum{there: true, n: d.n + 1, m: chain(d.m, in.arg)}
		return d, strconv.FormatInt(d.n, 10)
	case "llen":
		return d, strconv.FormatInt(d.n, 10)
	case "lrange":
		return d, wholeList(d.n, d.m)
	case "pair":
		d = datum{there: true, n: d.n + 1, m: d.m + 1}
		return d, d.pair()
	case "pair?":
		return d, d.pair()
	}
	return executeHash(d, in)
}

func executeHash(d datum, in invocation) (datum, string) {
	fields := fieldsOf(d.text)
	field, value, _ := strings.Cut(in.arg, " ")
	old, had := fields[field]
	answer := ""
	switch in.verb {
	case "hget":
		if !had {
			return d, absent
		}
		return d, old
	case "hgetall":
		return d, d.text
	case "hset":
		fields[field] = value
		answer = bit(!had)
	case "hincrby":
		n, _ := strconv.ParseInt(old, 10, 64)
		by, _ := strconv.ParseInt(value, 10, 64)
		answer = strconv.FormatInt(n+by, 10)
		fields[field] = answer
	case "hdel":
		delete(fields, field)
		answer = bit(had)
	default:
		return d, "no such verb"
	}
	return datum{there: len(fields) > 0, text: hashText(fields)}, answer
}

func (d datum) read() string {
	if !d.there {
		return absent
	}
	return d.text
}

func (d datum) pair() string { return fmt.Sprint(d.n, " ", d.m) }

// oneServer is the model that histories are held against: every key as if one server
// had it and executed each call at one moment between its begin and its end.
var oneServer = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(invocation).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byKey {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return datum{} },
	Step: func(state, input, output any) (bool, any) {
		next, answer := execute(state.(datum), input.(invocation))
		out := output.(heard)
		return out.doubt || out.text == answer, next
	},
	DescribeOperation: func(input, output any) string {
		if out := output.(heard); !out.doubt {
			return fmt.Sprintf("%v -> %s", input, out.text)
		}
		return fmt.Sprintf("%v in doubt", input)
	},
}

// linearizable fails the test unless the history could be that of one server. It
// shows where the longest explanation of a key's history ends.
func linearizable(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	for _, part := range oneServer.Partition(history) {
		key := part[0].Input.(invocation).key
		switch result, info := porcupine.CheckOperationsVerbose(oneServer, part, 2*time.Minute); result {
		case porcupine.Ok:
		case porcupine.Unknown:
			t.Errorf("%s: the history of %d calls could not be judged in time", key, len(part))
		case porcupine.Illegal:
			t.Errorf("%s: %d calls are not those of one server:\n%s", key, len(part), whereItEnds(part, info))
		}
	}
}

// whereItEnds shows the end of the longest explanation, and what could not be next.
func whereItEnds(history []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, found := range info.PartialLinearizationsOperations()[0] {
		if len(found) > len(longest) {
			longest = found
		}
	}
	explained := make(map[porcupine.Operation]bool, len(longest))
	for _, op := range longest {
		explained[op] = true
	}
	var b strings.Builder
	show := func(op porcupine.Operation) {
		end := "never"
		if op.Return != math.MaxInt64 {
			end = time.Duration(op.Return).String()
		}
		fmt.Fprintf(&b, "  %v to %s, caller %d: %s\n", time.Duration(op.Call), end, op.ClientId, oneServer.DescribeOperation(op.Input, op.Output))
	}
	for _, op := range longest[max(0, len(longest)-12):] {
		show(op)
	}
	b.WriteString("  then none of:\n")
	rest := slices.DeleteFunc(slices.Clone(history), func(op porcupine.Operation) bool { return explained[op] })
	slices.SortFunc(rest, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, op := range rest[:min(len(rest), 8)] {
		show(op)
	}
	return b.String()
}

// told makes an operation of a history by hand.
func told(caller int, from, to int64, call, answer string) porcupine.Operation {
	w := strings.SplitN(call+"  ", " ", 3)
	return porcupine.Operation{
		ClientId: caller, Call: from, Return: to,
		Input:  invocation{verb: w[0], key: w[1], arg: strings.TrimSpace(w[2])},
		Output: heard{text: answer},
	}
}

// doubted is an operation of which nothing was heard.
func doubted(caller int, from int64, call string) porcupine.Operation {
	op := told(caller, from, math.MaxInt64, call, "")
	op.Output = heard{doubt: true}
	return op
}

// TestLinearizabilityIsJudged: histories that no single server could have made are
// told from those that one could. Without this the tests of histories could not fail.
func TestLinearizabilityIsJudged(t *testing.T) {
	for _, test := range []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"a write and its read", []porcupine.Operation{
			told(0, 1, 2, "set k a", "OK"), told(1, 3, 4, "get k", "a"),
		}, true},
		{"a write that was lost", []porcupine.Operation{
			told(0, 1, 2, "set k a", "OK"), told(1, 3, 4, "get k", absent),
		}, false},
		{"a read beside a write", []porcupine.Operation{
			told(0, 1, 5, "set k a", "OK"), told(1, 2, 3, "get k", "a"), told(2, 4, 6, "get k", "a"),
		}, true},
		{"a write that vanished again", []porcupine.Operation{
			told(0, 1, 9, "set k a", "OK"), told(1, 2, 3, "get k", "a"), told(2, 4, 6, "get k", absent),
		}, false},
		{"two callers told the same number", []porcupine.Operation{
			told(0, 1, 2, "incrby n 1", "1"), told(1, 3, 4, "incrby n 1", "1"),
		}, false},
		{"a doubled increment", []porcupine.Operation{
			told(0, 1, 2, "incrby n 1", "1"), told(1, 3, 4, "get n", "2"),
		}, false},
		{"one in doubt that was made", []porcupine.Operation{
			doubted(0, 1, "incrby n 1"), told(1, 3, 4, "get n", "1"),
		}, true},
		{"one in doubt that was not made", []porcupine.Operation{
			doubted(0, 1, "incrby n 1"), told(1, 3, 4, "get n", absent), told(1, 5, 6, "incrby n 1", "1"),
		}, true},
		{"one in doubt that was made late", []porcupine.Operation{
			doubted(0, 1, "set k a"), told(1, 3, 4, "set k b", "OK"), told(1, 5, 6, "get k", "a"),
		}, true},
		{"one in doubt that was made twice", []porcupine.Operation{
			doubted(0, 1, "incrby n 1"), told(1, 3, 4, "get n", "2"),
		}, false},
		{"a read of what was refused", []porcupine.Operation{
			told(1, 3, 4, "getset k b", "refused"),
		}, false},
		{"elements in another order", []porcupine.Operation{
			told(0, 1, 2, "rpush l a", "1"), told(0, 3, 4, "rpush l b", "2"),
			told(0, 5, 6, "lrange l", listText([]string{"b", "a"})),
		}, false},
		{"elements in order", []porcupine.Operation{
			told(0, 1, 2, "rpush l a", "1"), told(0, 3, 4, "rpush l b", "2"), told(1, 3, 4, "llen l", "1"),
			told(0, 5, 6, "lrange l", listText([]string{"a", "b"})), told(0, 7, 8, "del l", "1"), told(0, 9, 10, "llen l", "0"),
		}, true},
		{"fields of a hash", []porcupine.Operation{
			told(0, 1, 2, "hset h f 1", "1"), told(0, 3, 4, "hincrby h f 2", "3"), told(0, 5, 6, "hset h g x", "1"),
			told(0, 7, 8, "hgetall h", "f=3 g=x"), told(0, 9, 10, "hdel h f", "1"), told(0, 11, 12, "hget h f", absent),
			told(0, 13, 14, "setnx s v", "1"), told(0, 15, 16, "setnx s w", "0"), told(0, 17, 18, "getset s x", "v"),
		}, true},
		{"a field that was lost", []porcupine.Operation{
			told(0, 1, 2, "hset h f 1", "1"), told(0, 3, 4, "hset h g 1", "1"), told(0, 5, 6, "hgetall h", "g=1"),
		}, false},
		{"half of a transaction", []porcupine.Operation{
			told(0, 1, 2, "pair p", "1 1"), told(1, 3, 8, "pair p", "2 2"), told(2, 4, 5, "pair? p", "2 1"),
		}, false},
		{"keys apart", []porcupine.Operation{
			told(0, 1, 2, "set a x", "OK"), told(0, 3, 4, "set b y", "OK"), told(0, 5, 6, "get b", "x"),
		}, false},
	} {
		if got := porcupine.CheckOperations(oneServer, test.history); got != test.want {
			t.Errorf("%s: judged %v, want %v", test.name, got, test.want)
		}
		if !test.want {
			part := oneServer.Partition(test.history)[0]
			_, info := porcupine.CheckOperationsVerbose(oneServer, part, 0)
			if !strings.Contains(whereItEnds(part, info), "then none of") {
				t.Errorf("%s: it is not said where it ends", test.name)
			}
		}
	}
}
