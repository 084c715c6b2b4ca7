package main

import (
	"slices"
	"strings"
	"testing"
)

func parseText(t *testing.T, text string) []*facts {
	t.Helper()
	all, err := parse("test", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const mergeText = `
server redis 8.0.0
get 2 1.0.0 fast,readonly 1:0:1
new 3 8.0.0 readonly 1:0:1
xgroup -2 5.0.0 -
xgroup|help 2 5.0.0 -

server redis 7.0.0
get 3 1.0.0 fast,readonly 1:0:1
new 3 8.0.0 write 1:0:1

server valkey 8.1.0
get 2 1.0.0 readonly 1:0:1
log -2 8.1.0 -
xgroup -2 5.0.0 -
xgroup|create -5 8.0.0 write 2:0:1

server JSON
json.get -1 1.0.0 readonly 1:0:1
`

func find(t *testing.T, entries []entry, name string) entry {
	t.Helper()
	i := slices.IndexFunc(entries, func(e entry) bool { return e.name == name })
	if i < 0 {
		t.Fatalf("no entry %s", name)
	}
	return entries[i]
}

func TestMerge(t *testing.T) {
	t.Parallel()
	m, err := merge(parseText(t, mergeText))
	if err != nil {
		t.Fatal(err)
	}
	get := find(t, m.commands, "get")
	if get.arity != 2 || get.redis != "1.0.0" || get.valkey != firstValkey || get.module != "" {
		t.Errorf("get: %+v", get)
	}
	// A write to any of them is a write.
	if fresh := find(t, m.commands, "new"); !slices.Equal(fresh.flags, []string{"write"}) || fresh.valkey != "" {
		t.Errorf("new: %+v", fresh)
	}
	if log := find(t, m.commands, "log"); log.redis != "" || log.valkey != "8.1.0" {
		t.Errorf("log: %+v", log)
	}
	if json := find(t, m.commands, "json.get"); json.module != "JSON" || json.redis != "" || json.valkey != "" {
		t.Errorf("json.get: %+v", json)
	}
	group := find(t, m.commands, "xgroup")
	if len(group.subs) != 2 || group.subs[0].name != "xgroup|create" || group.subs[0].redis != "" || group.subs[1].valkey != "" {
		t.Errorf("xgroup: %+v", group)
	}
	want := []string{
		"get: arity 3, not 2 to redis 7.0.0",
		"new: readonly false to redis 7.0.0",
		"new: write true to redis 7.0.0",
	}
	if !slices.Equal(m.notes, want) {
		t.Errorf("notes %q", m.notes)
	}
	if !slices.IsSortedFunc(m.commands, func(a, b entry) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the commands are not in order")
	}
	text, err := render(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`{Name: "log", Arity: -2, Since: "8.1.0", valkey: "8.1.0"},`,
		`{Name: "json.get", Arity: -1, Since: "1.0.0", module: "JSON", flags: flagReadOnly, `,
		`//	get: arity 3, not 2 to redis 7.0.0`,
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("the table lacks %s", line)
		}
	}
}

// The facts of a newer server may hold only what is new in an old container, but
// then another has to have the container.
func TestMergeNeedsContainer(t *testing.T) {
	t.Parallel()
	if _, err := merge(parseText(t, "server redis\ncluster|new 3 9.0.0 -\n")); err == nil || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("error %v", err)
	}
	m, err := merge(parseText(t, "server redis\ncluster|new 3 9.0.0 -\nserver valkey 8.0.0\ncluster -2 3.0.0 -\ncluster|old 3 3.0.0 -\n"))
	if err != nil {
		t.Fatal(err)
	}
	if cluster := m.commands[0]; cluster.arity != -2 || len(cluster.subs) != 2 || cluster.redis != "" || cluster.valkey == "" {
		t.Errorf("cluster: %+v", cluster)
	}
}

func TestContradictions(t *testing.T) {
	t.Parallel()
	m, err := merge(parseText(t, mergeText))
	if err != nil {
		t.Fatal(err)
	}
	other := parseText(t, `
server redis 9.9.9
get 3 1.0.0 fast,flag_of_tomorrow,readonly 1:0:1
new 3 8.0.0 write 1:-1:1
json.get 3 1.0.0 write 1:0:1
command_of_tomorrow 2 9.0.0 write
xgroup -2 5.0.0 -
xgroup|help 3 5.0.0 -
xgroup|of_tomorrow 3 9.0.0 -
`)[0]
	want := []string{
		"command_of_tomorrow is not in the table",
		"json.get: readonly false",
		"json.get: write true",
		"new: keys [1:-1:1], not [1:0:1]",
		"xgroup|help: arity 3, not 2",
		"xgroup|of_tomorrow is not in the table",
	}
	if got := contradictions(m, other); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"get 2 1.0.0 -":                    "before the first command",
		"server":                           "a server line",
		"server a b c":                     "a server line",
		"server a\nget 2 1.0.0":            "3 words",
		"server a\nget x 1.0.0 -":          "arity",
		"server a\nget 0 1.0.0 -":          "arity",
		"server a\nget 2 1.0.0 - 1":        "rule",
		"server a\nget 2 1.0.0 - 0:0:1":    "rule",
		"server a\nget 2 1.0.0 - 1:0:0":    "rule",
		"server a\nget 2 1.0.0 - 1#0:1":    "rule",
		"server a\n\n# x\nget 2 1 - 1:a:1": "test:4",
	} {
		if _, err := parse("test", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func TestLater(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"8.10.0", "8.9.0", true},
		{"8.9.0", "8.10.0", false},
		{"7.2.0", "7.2", false},
		{"7.2.1", "7.2", true},
		{"1.0.0", "1.0.0", false},
	} {
		if got := later(tc.a, tc.b); got != tc.want {
			t.Errorf("%s later than %s: %t", tc.a, tc.b, got)
		}
	}
}
