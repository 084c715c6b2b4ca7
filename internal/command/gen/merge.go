package main

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	serverRedis  = "redis"
	serverValkey = "valkey"
)

// firstValkey is the first release of Valkey. Commands that are older came with
// the fork.
const firstValkey = "7.2.0"

// files are the facts files in the order in which they count: where two servers
// say different things of one command, the earlier file's word is taken, but for
// what merge says of writes. The newest Redis comes first.
var files = []string{
	"redis-8.0.txt", "redis-7.0.txt", "redis-hand.txt",
	"valkey-8.1.txt", "valkey-8.0.txt", "valkey-hand.txt",
	"modules.txt",
}

//go:embed facts
var factsDir embed.FS

// load reads the facts files in their order.
func load() ([]*facts, error) {
	var all []*facts
	for _, name := range files {
		text, err := factsDir.ReadFile("facts/" + name)
		if err != nil {
			return nil, err
		}
		f, err := parse(name, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		all = append(all, f...)
	}
	return all, nil
}

// merged is what all servers together say.
type merged struct {
	commands []entry // sorted by name
	// notes are the differences between servers, in words.
	notes []string
}

// entry is one command or subcommand of the table.
type entry struct {
	fact
	// redis and valkey are the versions since which these have the command, empty
	// where they do not. module is the name of the module that has it.
	redis, valkey, module string

	subs []entry // sorted by name; fact.subs is not used
}

// merge makes one table of the facts of several servers. What the first of them
// says of a command is taken, with one exception, so that nothing fails open: a
// command that is a write to any of them is a write.
func merge(all []*facts) (*merged, error) {
	m := &merged{}
	for _, f := range all {
		if err := m.add(&m.commands, f, f.commands); err != nil {
			return nil, err
		}
	}
	for _, e := range m.commands {
		if e.arity == 0 {
			return nil, fmt.Errorf("%s has subcommands, but no facts of its own", e.name)
		}
	}
	slices.Sort(m.notes)
	return m, nil
}

func (m *merged) add(into *[]entry, f *facts, commands []fact) error {
	for _, c := range commands {
		i, found := slices.BinarySearchFunc(*into, c.name, func(e entry, name string) int { return cmp.Compare(e.name, name) })
		if !found {
			first := entry{fact: c}
			first.fact.subs = nil
			*into = slices.Insert(*into, i, first)
		}
		e := &(*into)[i]
		if c.arity != 0 { // a container's stand-in has only subcommands
			m.join(e, f, c)
		}
		if err := m.add(&e.subs, f, c.subs); err != nil {
			return err
		}
	}
	return nil
}

// join adds what one more server says of a command.
func (m *merged) join(e *entry, f *facts, c fact) {
	if e.arity == 0 {
		e.fact = c
		e.fact.subs = nil
	}
	switch f.server {
	case serverRedis:
		if e.redis == "" || later(e.redis, c.since) {
			e.redis = c.since
		}
	case serverValkey:
		since := c.since
		if later(firstValkey, since) {
			since = firstValkey
		}
		if e.valkey == "" || later(e.valkey, since) {
			e.valkey = since
		}
	default:
		e.module = f.server
	}
	for _, difference := range differences(e.fact, c) {
		m.notes = append(m.notes, fmt.Sprintf("%s: %s to %s %s", c.name, difference, f.server, f.version))
	}
	if writes(c) && !writes(e.fact) {
		e.flags = append(slices.DeleteFunc(slices.Clone(e.flags), func(flag string) bool { return flag == "readonly" }), "write")
		slices.Sort(e.flags)
	}
}

func writes(c fact) bool { return slices.Contains(c.flags, "write") }

// differences are what another server says otherwise of a command, of the things
// that package command relies on: how many arguments it has, whether it writes or
// reads, and its keys.
func differences(table, other fact) []string {
	var out []string
	if table.arity != other.arity {
		out = append(out, fmt.Sprintf("arity %d, not %d", other.arity, table.arity))
	}
	for _, flag := range []string{"readonly", "write"} {
		has := slices.Contains(other.flags, flag)
		if has != slices.Contains(table.flags, flag) {
			out = append(out, fmt.Sprintf("%s %t", flag, has))
		}
	}
	if ours, theirs := keysText(table), keysText(other); ours != theirs {
		out = append(out, fmt.Sprintf("keys %s, not %s", theirs, ours))
	}
	return out
}

func keysText(c fact) string {
	var words []string
	for _, rule := range c.keys {
		words = append(words, rule.String())
	}
	if c.partial {
		words = append(words, partialMark)
	}
	return "[" + strings.Join(words, " ") + "]"
}

// later reports whether version a is later than version b.
func later(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if c := cmp.Compare(number(as, i), number(bs, i)); c != 0 {
			return c > 0
		}
	}
	return false
}

// number is part i of a version; what is no number counts as 0.
func number(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i])
	return n
}

// contradictions lists where what a server says differs from the table in what the
// package relies on, and which of its commands the table does not have. Differences
// that the table's own facts hold too are no contradiction; nor is the arity of a
// module's command, which most modules do not state.
func contradictions(m *merged, f *facts) []string {
	known := make(map[string]bool)
	for _, note := range m.notes {
		difference, _, _ := strings.Cut(note, " to ")
		known[difference] = true
	}
	var out []string
	var compare func(entries []entry, commands []fact)
	compare = func(entries []entry, commands []fact) {
		for _, c := range commands {
			i, found := slices.BinarySearchFunc(entries, c.name, func(e entry, name string) int { return cmp.Compare(e.name, name) })
			if !found {
				out = append(out, c.name+" is not in the table")
				continue
			}
			e := entries[i]
			if e.module != "" {
				c.arity = e.arity
			}
			for _, difference := range differences(e.fact, c) {
				if text := c.name + ": " + difference; !known[text] {
					out = append(out, text)
				}
			}
			compare(e.subs, c.subs)
		}
	}
	compare(m.commands, f.commands)
	slices.Sort(out)
	return out
}
