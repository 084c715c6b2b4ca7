package command

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// The oracle of keys and forms is COMMAND GETKEYSANDFLAGS, which gives each key with
// what the command does to it.

// keyFlags are what the server says of one key.
type keyFlags struct {
	key   string
	reads bool // RO: read and not changed
}

// askKeys is the server's answer for the commands, in their order; nil where it
// refuses.
func (s *server) askKeys(commands [][][]byte) [][]keyFlags {
	s.t.Helper()
	var out []byte
	for _, args := range commands {
		out = resp.AppendCommand(out, append(parseLine("COMMAND GETKEYSANDFLAGS"), args...)...)
	}
	if _, err := s.conn.Write(out); err != nil {
		s.t.Fatal(err)
	}
	answers := make([][]keyFlags, len(commands))
	for i := range commands {
		v, err := s.rd.ReadValue()
		if err != nil {
			s.t.Fatalf("%q: %v", commands[i], err)
		}
		for _, elem := range v.Elems {
			k := keyFlags{key: elem.Elems[0].Text()}
			for _, flag := range elem.Elems[1].Elems {
				k.reads = k.reads || flag.Text() == "RO"
			}
			answers[i] = append(answers[i], k)
		}
	}
	return answers
}

// disagreement compares what this package says of a command with the server's
// answer. aspect is "keys" or "form", empty where they agree.
func disagreement(args [][]byte, answer []keyFlags) (aspect, text string) {
	s := Lookup(string(args[0]))
	ours := keysOf(s, args)
	var theirs []string
	writes := false
	for _, k := range answer {
		theirs = append(theirs, k.key)
		writes = writes || !k.reads
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	class := s.Class(args)
	switch {
	case !slices.Equal(ours, theirs):
		return "keys", fmt.Sprintf("%q, the server says %q", ours, theirs)
	case writes && (class == ClassRead || class == ClassPassthrough):
		return "form", fmt.Sprintf("%v, the server says that it writes %q", class, theirs)
	case len(answer) > 0 && !writes && slices.Contains([]Class{ClassBlind, ClassAccumulating, ClassConditional, ClassClaiming}, class):
		return "form", fmt.Sprintf("%v, the server says that it only reads %q", class, theirs)
	}
	return "", ""
}

// knownDisagreements are those that stay, with the reason. A further one, of any
// command, is that no state can come of what the server refuses to execute, whatever
// GETKEYS makes of it; refuses sees to that.
var knownDisagreements = map[string]string{
	"sort keys":              "GETKEYS of Redis 7 takes a destination that is called STORE, BY, GET or LIMIT for that option",
	"pfmerge keys":           "with nothing to merge GETKEYS gives up, but the command makes its destination",
	"migrate keys":           "GETKEYS finds nothing where a key and the word KEYS exclude each other",
	"zrank keys":             "WITHSCORE came with Redis 7.2",
	"zrevrank keys":          "WITHSCORE came with Redis 7.2",
	"georadius keys":         "GETKEYS names each destination, or just the first; the last one counts",
	"georadiusbymember keys": "GETKEYS names each destination, or just the first; the last one counts",
	"getex form":             "without an option GETEX is GET",
	"pfcount form":           "it may keep its count in the key, which no client can see",
	"xreadgroup form":        "what changes in a group is a change: who gets the entry has a claim on it",

	// A module that does not say what it does to a key is taken to write it.
	"vcard form": "module", "vdim form": "module", "vemb form": "module", "vgetattr form": "module",
	"vinfo form": "module", "vismember form": "module", "vlinks form": "module", "vrandmember form": "module",
	"vrange form": "module", "vsim form": "module",
}

// unexplained is a disagreement that has no reason, as text; empty when there is none.
func (s *server) unexplained(spec *Spec, args [][]byte, answer []keyFlags) string {
	s.t.Helper()
	aspect, text := disagreement(args, answer)
	if aspect == "" || knownDisagreements[spec.Name+" "+aspect] != "" || s.refuses(args) {
		return ""
	}
	return aspect + ": " + text
}

// refuses reports whether the server does not execute the command whatever its keys
// hold.
func (s *server) refuses(args [][]byte) bool {
	s.t.Helper()
	s.run("FLUSHALL")
	v := s.do(args)
	return v.IsError() && !strings.HasPrefix(v.Text(), "WRONGTYPE") && !strings.Contains(v.Text(), "no such key") &&
		!strings.Contains(v.Text(), "requires the key to exist")
}

// words are what random commands are made of beside keys: options of all commands,
// numbers that are good, bad and too many.
var words = strings.Fields(`
	0 1 2 3 -1 01 x * + - ~ = $ > 1-1 10 9223372036854775808
	nx XX gt LT ch INCR get EX px EXAT pxat KEEPTTL persist IFEQ replace DB
	store STOREDIST count ANY by GET limit asc ALPHA weights AGGREGATE sum withscores
	streams STREAMS group GROUP block BLOCK noack keys KEYS auth AUTH2 copy
	maxlen MINID nomkstream fields FIELDS fnx samples LEFT right before MIN frommember BYRADIUS km
	overflow wrap set incrby u8 and m f v text c`)

// examples are the commands of the tests' rows, by name.
func examples(t *testing.T) map[string][][][]byte {
	t.Helper()
	m := make(map[string][][][]byte)
	for _, text := range []string{classRows, keyExamples, deferrableRows} {
		for _, rows := range rowsOf(t, text) {
			for _, line := range rows {
				args := parseLine(line)
				s := specOf(t, line)
				if s.Container() && len(args) > 1 {
					s = findSub(s, args[1])
				}
				if s != nil {
					m[s.Name] = append(m[s.Name], args)
				}
			}
		}
	}
	return m
}

// mutate changes an argument, adds one or drops one, or leaves all as it is.
func mutate(rnd *rand.Rand, s *Spec, example [][]byte) [][]byte {
	args := slices.Clone(example)
	first := 1 + strings.Count(s.Name, "|")
	at := first + rnd.IntN(max(len(args)-first, 0)+1)
	word := []byte(words[rnd.IntN(len(words))])
	switch rnd.IntN(4) {
	case 0:
		args = slices.Insert(args, at, word)
	case 1:
		if at < len(args) {
			args[at] = word
		}
	case 2:
		if at < len(args) {
			args = slices.Delete(args, at, at+1)
		}
	}
	return args
}

// randomCommand is a command of s, well-formed or not, by its rules for keys.
func randomCommand(rnd *rand.Rand, s *Spec) [][]byte {
	name, sub, _ := strings.Cut(s.Name, "|")
	args := [][]byte{[]byte(name)}
	if sub != "" {
		args = append(args, []byte(sub))
	}
	want := max(s.Arity, -s.Arity)
	if s.Arity < 0 {
		want += rnd.IntN(6)
	}
	if rnd.IntN(8) == 0 {
		want += rnd.IntN(3) - 1
	}
	for len(args) < want {
		if rnd.IntN(2) == 0 {
			args = append(args, fmt.Appendf(nil, "k%d", len(args)))
		} else {
			args = append(args, []byte(words[rnd.IntN(len(words))]))
		}
	}
	for _, rule := range s.keys {
		// Most counts and words are as the rules want them.
		if rnd.IntN(4) == 0 {
			continue
		}
		at := rule.from
		if rule.keyword != "" {
			at += rnd.IntN(3)
			if at < len(args) {
				args[at] = []byte(rule.keyword)
			}
		}
		if at += rule.numkeys; rule.find == findKeyNum && at < len(args) {
			args[at] = fmt.Append(nil, 1+rnd.IntN(3))
		}
	}
	return args
}

// Random commands of the whole table.
func TestRandomCommandsAgreeWithServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	rounds, seed := 40, uint64(1)
	if os.Getenv("HOLDFAST_SOAK") != "" {
		rounds, seed = 4000, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	asked, answered, known := 0, 0, examples(t)
	every(func(s *Spec) {
		if s.Container() || !srv.has(strings.ReplaceAll(s.Name, "|", " ")) {
			return
		}
		var commands [][][]byte
		for range rounds {
			commands = append(commands, randomCommand(rnd, s))
		}
		for _, example := range known[s.Name] {
			for range rounds / 4 {
				commands = append(commands, mutate(rnd, s, mutate(rnd, s, example)))
			}
		}
		for i, answer := range srv.askKeys(commands) {
			asked++
			if answer != nil {
				answered++
			}
			if text := srv.unexplained(s, commands[i], answer); text != "" {
				t.Errorf("%s: %s", show(commands[i]), text)
			}
		}
	})
	t.Logf("%d commands asked, %d with keys", asked, answered)
	if asked < 10_000 || answered < asked/4 {
		t.Errorf("%d commands asked, %d with keys", asked, answered)
	}
}

// FuzzKeys holds any command, one argument a line, against the server.
func FuzzKeys(f *testing.F) {
	group := redistest.StartT(f, redistest.Options{})
	f.Fuzz(func(t *testing.T, lines []byte) {
		args := bytes.Split(lines, []byte("\n"))
		s := Lookup(string(args[0]))
		if s == nil || len(args) > 100 {
			return
		}
		srv := dialServer(t, group.Node(0).Addr())
		if len(args) > 1 && s.Container() {
			s = findSub(s, args[1])
		}
		if s == nil || s.Container() || !srv.has(strings.ReplaceAll(s.Name, "|", " ")) {
			return
		}
		if text := srv.unexplained(s, args, srv.askKeys([][][]byte{args})[0]); text != "" {
			t.Errorf("%q: %s", args, text)
		}
	})
}
