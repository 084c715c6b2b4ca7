package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// pairs calls f with each pair of a map, which RESP2 sends as a flat array.
func pairs(v resp.Value, f func(key string, value resp.Value) error) error {
	if len(v.Elems)%2 != 0 {
		return fmt.Errorf("a map of %d elements", len(v.Elems))
	}
	for i := 0; i < len(v.Elems); i += 2 {
		if err := f(v.Elems[i].Text(), v.Elems[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// readSince reads COMMAND DOCS, subcommands too, into since.
func readSince(docs resp.Value, since map[string]string) error {
	return pairs(docs, func(name string, doc resp.Value) error {
		return pairs(doc, func(key string, value resp.Value) error {
			switch key {
			case "since":
				since[name] = value.Text()
			case "subcommands":
				return readSince(value, since)
			}
			return nil
		})
	})
}

// readCommands reads a list of commands as COMMAND sends it.
func readCommands(list resp.Value, since map[string]string) ([]fact, error) {
	var out []fact
	for _, v := range list.Elems {
		f, err := readCommand(v, since)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b fact) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func readCommand(v resp.Value, since map[string]string) (fact, error) {
	// name, arity, flags, first, last, step, categories, tips, key rules, subcommands
	const fields = 10
	if len(v.Elems) < fields {
		return fact{}, fmt.Errorf("COMMAND gives %d fields, not %d: the server is older than 7.0", len(v.Elems), fields)
	}
	f := fact{name: strings.ToLower(v.Elems[0].Text()), arity: int(v.Elems[1].Int)}
	f.since = since[f.name]
	for _, flag := range v.Elems[2].Elems {
		f.flags = append(f.flags, flag.Text())
	}
	slices.Sort(f.flags)
	for _, rule := range v.Elems[8].Elems {
		if err := f.addRule(rule); err != nil {
			return f, fmt.Errorf("keys of %q: %w", f.name, err)
		}
	}
	var err error
	f.subs, err = readCommands(v.Elems[9], since)
	return f, err
}

// addRule adds one key specification. Rules for what is not a key, such as the
// channel of SPUBLISH, are left out.
func (f *fact) addRule(v resp.Value) error {
	var (
		rule          keyRule
		search, find  string
		flags         []string
		searchV, keys resp.Value
	)
	err := pairs(v, func(key string, value resp.Value) error {
		switch key {
		case "flags":
			for _, flag := range value.Elems {
				flags = append(flags, flag.Text())
			}
		case "begin_search":
			search, searchV = readTyped(value)
		case "find_keys":
			find, keys = readTyped(value)
		}
		return nil
	})
	if err != nil || slices.Contains(flags, "not_key") {
		return err
	}
	numbers := map[string]*int{
		"index": &rule.from, "startfrom": &rule.from,
		"lastkey": &rule.last, "limit": &rule.limit, "keystep": &rule.step,
		"keynumidx": &rule.numkeys, "firstkey": &rule.first,
	}
	read := func(key string, value resp.Value) error {
		if key == "keyword" {
			rule.keyword = strings.ToLower(value.Text())
			return nil
		}
		field, ok := numbers[key]
		if !ok {
			return fmt.Errorf("field %q is not known", key)
		}
		*field = int(value.Int)
		return nil
	}
	// A search from the end backwards is given only to MIGRATE, which says itself
	// that its rules are incomplete.
	if search == "unknown" || find == "unknown" || slices.Contains(flags, "incomplete") {
		f.partial = true
		return nil
	}
	if err := pairs(searchV, read); err != nil {
		return err
	}
	if err := pairs(keys, read); err != nil {
		return err
	}
	rule.numbered = find == "keynum"
	if (search != "index" && search != "keyword") || (find != "range" && find != "keynum") ||
		rule.from < 1 || rule.step < 1 {
		return fmt.Errorf("rule %s/%s from %d by %d is not one that the table can hold", search, find, rule.from, rule.step)
	}
	f.keys = append(f.keys, rule)
	return nil
}

// readTyped reads {type, spec}.
func readTyped(v resp.Value) (kind string, spec resp.Value) {
	_ = pairs(v, func(key string, value resp.Value) error { // f never fails, an odd map has no type
		switch key {
		case "type":
			kind = value.Text()
		case "spec":
			spec = value
		}
		return nil
	})
	return kind, spec
}
