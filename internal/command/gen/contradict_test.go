package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// contradictions lists where what a server of another version says differs from a
// committed table in something that the package relies on: a command's arity,
// whether it is a write or a read, and its keys. Commands that only one of the two
// has, other flags and versions are no contradiction.
func contradictions(table []byte, f *facts) ([]string, error) {
	theirs, err := render(&facts{version: f.version, commands: essential(f.commands)})
	if err != nil {
		return nil, err
	}
	want, got := essentials(table), essentials(theirs)
	var out []string
	for name, text := range got {
		if pinned, ok := want[name]; ok && pinned != text {
			out = append(out, fmt.Sprintf("%s is {%s}, in the table {%s}", name, text, pinned))
		}
	}
	slices.Sort(out)
	return out, nil
}

// essential keeps only the flags that matter, as a newer server may have more
// than render knows.
func essential(commands []fact) []fact {
	out := slices.Clone(commands)
	for i := range out {
		out[i].flags = slices.DeleteFunc(slices.Clone(out[i].flags), func(flag string) bool {
			return flag != "write" && flag != "readonly"
		})
		out[i].subs = essential(out[i].subs)
	}
	return out
}

var (
	entryPattern   = regexp.MustCompile(`\{Name: "([^"]+)", (.*)`)
	sincePattern   = regexp.MustCompile(`, Since: "[^"]*"`)
	flagsPattern   = regexp.MustCompile(`, flags: [A-Za-z| ]+`)
	closingPattern = regexp.MustCompile(`(, subs: \[\]Spec\{|\},)$`)
)

// essentials reads a table's source, which has an entry a line.
func essentials(source []byte) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(string(source)) {
		entry := entryPattern.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if entry == nil {
			continue
		}
		text := closingPattern.ReplaceAllString(sincePattern.ReplaceAllString(entry[2], ""), "")
		text = flagsPattern.ReplaceAllStringFunc(text, func(flags string) string {
			var kept string
			for _, flag := range []string{"flagReadOnly", "flagWrite"} {
				if strings.Contains(flags, flag) {
					kept += ", " + flag
				}
			}
			return kept
		})
		out[entry[1]] = text
	}
	return out
}
