package semantics

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/command"
)

func forms(t *testing.T) []Form {
	t.Helper()
	all, err := Forms()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every command and subcommand of the table has a form.
func TestEveryCommandHasAForm(t *testing.T) {
	t.Parallel()
	have := make(map[string]bool)
	for _, f := range forms(t) {
		have[f.Name()] = true
	}
	n := 0
	for s := range command.All() {
		n++
		if !have[s.Name] {
			t.Errorf("%s has no form", s.Name)
		}
	}
	t.Logf("%d commands and subcommands in %d forms", n, len(forms(t)))
}

// Every form is well-formed: it has the class that is expected of it, and the table
// finds in it the keys that a reader sees.
func TestForms(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range forms(t) {
		if class, _, _ := strings.Cut(f.Class().String(), " "); class != f.Expected || f.Class() == command.ClassUnknown {
			t.Errorf("%s is of class %q, want %q", f, f.Class(), f.Expected)
		}
		if seen[f.String()] {
			t.Errorf("%s is there twice", f)
		}
		seen[f.String()] = true
		keys, err := f.Keys()
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		for i, arg := range f.Args {
			if IsKey(arg) != slices.Contains(keys, i) && !notAKey[f.Name()] {
				t.Errorf("%s: argument %d is a key: %v; to the table: %v", f, i, IsKey(arg), !IsKey(arg))
			}
		}
		if f.Group == "" || len(f.Servers()) == 0 {
			t.Errorf("%s: group %q, servers %v", f, f.Group, f.Servers())
		}
		if name := f.Args[0]; name != strings.ToUpper(name) {
			t.Errorf("%s is not in capitals", f)
		}
	}
}

// notAKey are the commands that talk about a key without touching it.
var notAKey = map[string]bool{
	"acl|dryrun": true, "command|getkeys": true, "command|getkeysandflags": true, "cluster|keyslot": true,
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse("# text\n\n== Some\nread  GET s:1\nclaiming EVAL \"a \\\"b\\\"\\n\" 0 ; Redis 9.0.0, Valkey 10.1.0\n")
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	f := got[1]
	want := []command.Origin{{Server: "Redis", Since: "9.0.0"}, {Server: "Valkey", Since: "10.1.0"}}
	if f.Group != "Some" || f.Args[1] != "a \"b\"\n" || f.Expected != "claiming" || !slices.Equal(f.Servers(), want) {
		t.Errorf("%+v", f)
	}
	for _, line := range []string{"read", "read NOSUCH k", "read CONFIG NOSUCH", `read GET "k`, `read GET "k`, "read GET k ; Redis", "read GET k ; KeyDB 1"} {
		if _, err := parse(line); err == nil || !strings.HasPrefix(err.Error(), "line 1: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"x COPY s:1 missing:2":     "COPY key key2",
		"x SUNIONSTORE t:1 t:1":    "SUNIONSTORE key key",
		"x SORT l:1 BY w:* DESC":   "SORT key BY pattern DESC",
		`x EVAL "return 1" 0`:      `EVAL "return 1" 0`,
		"x XADD x:1 1-1 field a:b": "XADD key 1-1 field a:b",
	} {
		f, err := parseForm(line)
		if err != nil || f.Pattern() != want {
			t.Errorf("%q: %q, %v", line, f.Pattern(), err)
		}
	}
}
