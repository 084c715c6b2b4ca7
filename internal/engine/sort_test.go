package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSortAsTheServer(t *testing.T) { random(t, 3000, "sort") }

// Beside others, the keys that are sorted are also of other types.
func TestSortAmongOthersAsTheServer(t *testing.T) {
	random(t, 3000, "sort", "lists", "sets", "zsets", "hashes", "strings")
}

func TestSortTakenBack(t *testing.T) { takenBack(t, 2000, "sort", "lists") }

// sortLines runs lines in both places. Redis does not clear errno before it
// reads a number, so that one element out of range makes it refuse every number
// that it reads later on; a logarithm that does not exist sets errno to something
// else.
func sortLines(t *testing.T, text string) {
	t.Helper()
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			o := startOracle(t, proto)
			for line := range strings.Lines(text) {
				o.server(split(`EVAL "return math.log(-1)" 0`))
				o.lines(line)
			}
			o.sameState()
		})
	}
}

func TestSortReplies(t *testing.T) {
	sortLines(t, `
		RPUSH l 3 1 2
		SADD t 3 1 2
		ZADD z 3 a 1 b 2 c
		SET s v
		SORT nokey LIMIT x 1
		SORT s LIMIT x 1
		SORT s
		SORT s BY
		SORT l LIMIT 0
		SORT l FOO
		SORT l STORE
		SORT_RO l STORE d
		SORT l BY
		SORT l GET
		SORT l LIMIT 1 -1
		SORT l LIMIT -5 2
		SORT l LIMIT 5 2
		SORT l LIMIT 0 0
		SORT l LIMIT 0 -5
		SORT l LIMIT 9223372036854775807 9223372036854775807
		SORT l LIMIT -9223372036854775808 9223372036854775807
		SORT l LIMIT 0 1 LIMIT 1 1
		SORT l LIMIT x y FOO
		SORT l "desc\x00x"
		SORT l ASC DESC ASC
		SORT l BY nosort
		SORT l BY nosort DESC LIMIT 0 2
		SORT l BY nosort LIMIT 1 1
		SORT z BY nosort
		SORT z BY nosort DESC LIMIT 1 5
		SORT z ALPHA DESC
		SORT z
		SORT t BY nosort STORE d
		LRANGE d 0 -1
		SORT t BY nosort STORE d DESC
		LRANGE d 0 -1
		SORT l GET # GET nokey GET #
		SORT l GET # GET nokey STORE d
		LRANGE d 0 -1
		SORT nokey STORE d
		EXISTS d
		SORT nokey STORE d
		SORT l STORE d STORE e
		EXISTS d e
		SET w_1 30
		SET w_2 20
		SET w_3 10
		SORT l BY w_*
		SORT l BY w_* GET w_* DESC
		SORT l BY w_* GET w_*x
		SORT l BY x_* DESC
		SORT l BY "w_*\x00zz"
		SORT l BY "w_\x00*"
		SORT l GET "w_\x00*"
		SORT l GET "#\x00x"
		SET 1w_* 7
		SORT l GET *w_*
		HSET h_1 f 5 g "" "" 9
		HSET h_2 f x
		SORT l GET h_*->f
		SORT l GET h_*->
		SORT l GET h_*->g
		SORT l GET h_*->f->f
		SORT l GET "h_*->\x00f"
		SORT l GET "h_*->f\x00"
		SORT l GET "->*h"
		SORT l GET h->f_*
		SORT l GET h_*
		SORT l BY h_*->f
		SORT l BY h_*->f ALPHA
		SORT l BY h_*->f ALPHA DESC
		SORT l BY h_*
		SORT l BY w_* BY nosort
		SORT l BY nosort BY w_*
		SORT l GET # STORE l LIMIT 0 1
		LRANGE l 0 -1
		RPUSH n abc 1
		SORT n STORE d
		SORT n BY x_*
		SORT n ALPHA STORE s
		TYPE s
		RPUSH nul "a\x00b" "a\x00a" a "" b
		SORT nul ALPHA
		SORT nul ALPHA DESC
		SORT nul ALPHA STORE d
		LRANGE d 0 -1
	`)
}

// What SORT takes for a number differs from what other commands do, and between
// servers.
func TestSortNumbersAsTheServer(t *testing.T) {
	var lines strings.Builder
	for i, number := range []string{
		"", " 1", "1 ", "0x10", "0x1p3", "0x", "0x.8", "1e400", "-1e400", "1e-400", "-1e-400", "1e-310",
		"2.2250738585072014e-308", "inf", "-inf", "+INF", "infinity", "INFx", "infin", "nan", "-nan", "nan(abc)",
		"5\x00abc", "\x00", "+5", "-0", "+0", "++5", ".5", "5.", "-.5", ".", "+", "-", "1_0", "\t-1", "\v4", "   ",
		"1e", "1e5", "1E+5", "1e+", "0e400", "0.0e-400", "123456789012345678901234567890", "01", "1,5", "0b1", "0o7",
	} {
		fmt.Fprintf(&lines, "RPUSH e%d 9 %q -5 4\nSORT e%d\nSORT e%d DESC\n", i, number, i, i)
	}
	sortLines(t, lines.String())
}

func TestSortRandomNumbersAsTheServer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var lines strings.Builder
	for i := range 150 {
		key := "k" + strconv.Itoa(i)
		for range 1 + rnd.IntN(12) {
			f := strconv.FormatFloat((rnd.Float64()-0.5)*40, "efg"[rnd.IntN(3)], rnd.IntN(4), 64)
			fmt.Fprintf(&lines, "%s %s %s\n", []string{"RPUSH", "SADD", "ZADD"}[i%3], key, []string{f, f, "1 " + f}[i%3])
		}
		fmt.Fprintf(&lines, "SORT %s\nSORT %s DESC LIMIT 1 4\nSORT %s STORE d\nLRANGE d 0 -1\n", key, key, key)
	}
	sortLines(t, lines.String())
}

// sortCall runs SORT on a list of 1, 2, 3 with other keys at hand.
func sortCall(line string, foreign func(name []byte) (*Object, bool)) *Call {
	args := split(line)
	o := NewList(split("3 1 2"))
	dest := Object{}
	s := Setup{Command: Lookup(args), Args: args, KeyArgs: []int{1}, Keys: []*Object{&o}, Now: 1000, Foreign: foreign}
	if i := slices.IndexFunc(args, func(a []byte) bool { return is(a, "store") }); i > 0 {
		s.KeyArgs, s.Keys = append(s.KeyArgs, i+1), append(s.Keys, &dest)
	}
	c := new(Call)
	c.Begin(s)
	c.Run()
	return c
}

func TestSortWaitsForKeys(t *testing.T) {
	at := map[string]*Object{}
	asked := []string(nil)
	foreign := func(name []byte) (*Object, bool) {
		o, ok := at[string(name)]
		if !ok {
			asked = append(asked, string(name))
		}
		return o, ok
	}
	// Each round asks for all that can be known to be needed: first the weights,
	// then what is to be given for the elements that LIMIT leaves.
	for _, want := range []string{"[w_3 w_1 w_2]", "[v_1]", "[]"} {
		asked = nil
		c := sortCall("SORT_RO k BY w_* LIMIT 1 1 GET v_* GET #", foreign)
		if got := fmt.Sprint(asked); got != want {
			t.Fatalf("asked for %s, want %s", got, want)
		}
		if c.Err() != nil || c.Waiting() != (len(asked) > 0) || c.Failed() {
			t.Fatalf("waiting %v, failed %v, %v", c.Waiting(), c.Failed(), c.Err())
		}
		if c.Waiting() {
			if len(c.Reply()) != 0 {
				t.Fatalf("it waits, and answers %q", c.Reply())
			}
			for i, name := range asked {
				o := NewString([]byte(strconv.Itoa(len(asked) - i)))
				at[name] = &o
			}
			continue
		}
		if got := string(c.Reply()); got != "*2\r\n$1\r\n1\r\n$1\r\n1\r\n" {
			t.Fatalf("answer %q", got)
		}
	}
}

func TestSortRefusals(t *testing.T) {
	text, hash, late := NewOpaque("string"), NewPartialHash(3), NewString([]byte("9"))
	late.SetExpireAt(900)
	give := func(o *Object) func([]byte) (*Object, bool) {
		return func([]byte) (*Object, bool) { return o, true }
	}
	for _, tc := range []struct {
		line    string
		foreign func([]byte) (*Object, bool)
		want    error
	}{
		{"SORT k BY w_*", nil, ErrNotServed},
		{"SORT k GET w_*", nil, ErrNotServed},
		{"SORT k BY w_* STORE d", give(&late), ErrNotServed},
		{"SORT k GET w_* STORE d", give(&late), ErrNotServed},
		{"SORT k GET w_*", give(&text), ErrTooBig},
		{"SORT k GET w_*->f", give(&text), nil},
		{"SORT k BY w_*->f", give(&hash), ErrTooBig},
		{"SORT k BY w_*", give(&hash), nil},
		{"SORT k BY w_* GET w_*", give(&late), nil},
		{"SORT k BY nosort GET # GET w STORE d", nil, nil},
	} {
		c := sortCall(tc.line, tc.foreign)
		if !errors.Is(c.Err(), tc.want) || c.Err() == nil && len(c.Reply()) == 0 {
			t.Errorf("%s: %v, want %v; answer %q", tc.line, c.Err(), tc.want, c.Reply())
		}
	}
	if c := sortCall("SORT k GET w_* LIMIT 0 1", give(&late)); string(c.Reply()) != "*1\r\n$-1\r\n" || !late.Exists() {
		t.Errorf("a key that has ended gives %q and is there: %v", c.Reply(), late.Exists())
	}
	for _, o := range []Object{NewPartialList(3), NewPartialSet(3), NewPartialZSet(3), NewOpaque("list")} {
		args := split("SORT k BY nosort LIMIT 0 0")
		var c Call
		c.Begin(Setup{Command: Lookup(args), Args: args, KeyArgs: []int{1}, Keys: []*Object{&o}})
		if c.Run(); !errors.Is(c.Err(), ErrTooBig) {
			t.Errorf("SORT of a %s known in part: %v %q", o.Type(), c.Err(), c.Reply())
		}
	}
}

// A set gives its elements in no order, but all of them.
func TestSortSetUnsorted(t *testing.T) {
	m := newModel()
	*m.object([]byte("k")) = NewSet(split("3 a 2"))
	reply, ok := m.do(split("SORT k BY nosort DESC LIMIT 1 5"), 2)
	if !ok || !strings.HasPrefix(string(reply), "*2\r\n") {
		t.Fatalf("%q", reply)
	}
}
