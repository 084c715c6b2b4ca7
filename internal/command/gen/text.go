package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The form of a facts file, a line a fact:
//
//	# a comment
//	server redis 7.0.15            whose facts follow; without a version they are kept by hand
//	NAME ARITY SINCE FLAGS KEYS…   a command or, with a '|' in its name, a subcommand
//
// FLAGS are joined by commas, '-' when there are none. Each of KEYS is one of the
// server's rules for where keys are:
//
//	1:-1:2            from index 1 to the last argument (0 is the first key itself), every second
//	streams@1:-1:1:2  the same from behind a word that is searched for from index 1 on; the
//	                  fourth number is the server's limit
//	2#0:1:1           counted: at index 2+0 stands the number of keys, at 2+1 the first, every one
//	?                 the server says that its rules leave keys out
//
// Subcommands follow their container.

// partialMark stands for a rule that the server could not state.
const partialMark = "?"

// formatFacts writes the facts of one server.
func formatFacts(f *facts) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The commands of %s %s in its own words, written by \"go run ./gen -ask\".\n", f.server, f.version)
	fmt.Fprintf(&b, "# The form is explained in ../text.go.\nserver %s %s\n", f.server, f.version)
	var write func(commands []fact)
	write = func(commands []fact) {
		for _, c := range commands {
			b.WriteString(formatFact(c) + "\n")
			write(c.subs)
		}
	}
	write(f.commands)
	return b.Bytes()
}

func formatFact(c fact) string {
	words := []string{c.name, strconv.Itoa(c.arity), c.since, strings.Join(c.flags, ",")}
	if len(c.flags) == 0 {
		words[3] = "-"
	}
	for _, rule := range c.keys {
		words = append(words, rule.String())
	}
	if c.partial {
		words = append(words, partialMark)
	}
	return strings.Join(words, " ")
}

// String is the rule as a facts file has it.
func (r keyRule) String() string {
	start := strconv.Itoa(r.from)
	if r.keyword != "" {
		start = r.keyword + "@" + start
	}
	switch {
	case r.numbered:
		return fmt.Sprintf("%s#%d:%d:%d", start, r.numkeys, r.first, r.step)
	case r.limit != 0:
		return fmt.Sprintf("%s:%d:%d:%d", start, r.last, r.step, r.limit)
	}
	return fmt.Sprintf("%s:%d:%d", start, r.last, r.step)
}

// parse reads a facts file, which may hold the facts of several servers.
func parse(name string, rd io.Reader) ([]*facts, error) {
	var all []*facts
	lines := bufio.NewScanner(rd)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		var err error
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "server":
			var f *facts
			if f, err = parseServer(words[1:]); err == nil {
				all = append(all, f)
			}
		case len(all) == 0:
			err = errors.New("no line 'server NAME VERSION' before the first command")
		default:
			err = all[len(all)-1].parseFact(words)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	for _, f := range all {
		f.sort()
	}
	return all, lines.Err()
}

func parseServer(words []string) (*facts, error) {
	switch len(words) {
	case 1:
		return &facts{server: words[0]}, nil
	case 2:
		return &facts{server: words[0], version: words[1]}, nil
	}
	return nil, errors.New("a server line has a name and perhaps a version")
}

func (f *facts) parseFact(words []string) error {
	const fixed = 4
	if len(words) < fixed {
		return fmt.Errorf("%d words, not NAME ARITY SINCE FLAGS KEYS…", len(words))
	}
	arity, err := strconv.Atoi(words[1])
	if err != nil || arity == 0 {
		return fmt.Errorf("arity %q of %s is none", words[1], words[0])
	}
	c := fact{name: words[0], arity: arity, since: words[2]}
	if words[3] != "-" {
		c.flags = strings.Split(words[3], ",")
	}
	for _, word := range words[fixed:] {
		if word == partialMark {
			c.partial = true
			continue
		}
		rule, err := parseRule(word)
		if err != nil {
			return fmt.Errorf("keys of %s: %w", c.name, err)
		}
		c.keys = append(c.keys, rule)
	}
	container, _, sub := strings.Cut(c.name, "|")
	if !sub {
		f.commands = append(f.commands, c)
		return nil
	}
	// The last command is the container, or a stand-in is made for it: a newer
	// server's facts may hold only what is new in an old container.
	if n := len(f.commands); n == 0 || f.commands[n-1].name != container {
		f.commands = append(f.commands, fact{name: container})
	}
	last := &f.commands[len(f.commands)-1]
	last.subs = append(last.subs, c)
	return nil
}

func parseRule(word string) (keyRule, error) {
	var r keyRule
	fault := fmt.Errorf("rule %q is none", word)
	rest := word
	if keyword, after, ok := strings.Cut(word, "@"); ok {
		r.keyword, rest = keyword, after
	}
	from, after, numbered := strings.Cut(rest, "#")
	if !numbered {
		from, after, _ = strings.Cut(rest, ":")
	}
	numbers := []int{}
	for _, text := range append([]string{from}, strings.Split(after, ":")...) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return r, fault
		}
		numbers = append(numbers, n)
	}
	r.from, r.numbered = numbers[0], numbered
	switch {
	case numbered && len(numbers) == 4:
		r.numkeys, r.first, r.step = numbers[1], numbers[2], numbers[3]
	case !numbered && len(numbers) == 3:
		r.last, r.step = numbers[1], numbers[2]
	case !numbered && len(numbers) == 4:
		r.last, r.step, r.limit = numbers[1], numbers[2], numbers[3]
	default:
		return r, fault
	}
	if r.from < 1 || r.step < 1 {
		return r, fault
	}
	return r, nil
}

// sort puts commands, subcommands and flags in order.
func (f *facts) sort() {
	byName := func(a, b fact) int { return cmp.Compare(a.name, b.name) }
	slices.SortFunc(f.commands, byName)
	for i := range f.commands {
		slices.Sort(f.commands[i].flags)
		slices.SortFunc(f.commands[i].subs, byName)
		for j := range f.commands[i].subs {
			slices.Sort(f.commands[i].subs[j].flags)
		}
	}
}
