package command

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// every calls f with every command and subcommand of the table.
func every(f func(s *Spec)) {
	for i := range table {
		f(&table[i])
		for j := range table[i].subs {
			f(&table[i].subs[j])
		}
	}
}

func TestEveryCommandHasClass(t *testing.T) {
	t.Parallel()
	var count int
	every(func(s *Spec) {
		count++
		if s.class == ClassUnknown {
			t.Errorf("%s: no class", s.Name)
		}
		// A write by the server's own word must not be taken for a read.
		if s.flags&flagWrite != 0 && s.flags&flagReadOnly != 0 {
			t.Errorf("%s: both write and readonly", s.Name)
		}
		if s.flags&flagWrite != 0 && (s.class == ClassRead || s.class == ClassPassthrough) {
			t.Errorf("%s: the server says write, the class is %v", s.Name, s.class)
		}
		if s.flags&flagReadOnly != 0 && s.class != ClassRead && s.Name != "lolwut" {
			t.Errorf("%s: the server says readonly, the class is %v", s.Name, s.class)
		}
		if len(s.Name) > longestName && !strings.Contains(s.Name, "|") {
			t.Errorf("%s: longer than longestName", s.Name)
		}
		if s.Since == "" || s.Arity == 0 {
			t.Errorf("%s: since %q, arity %d", s.Name, s.Since, s.Arity)
		}
	})
	if len(table) < 400 || count < 550 {
		t.Errorf("the table has %d commands, %d with subcommands", len(table), count)
	}
}

// A name in a list that is not in the table would be a silent no-op.
func TestListsNameCommands(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	every(func(s *Spec) { known[s.Name] = true })
	seen := make(map[string]Class)
	for class, names := range classes {
		for name := range strings.FieldsSeq(names) {
			if !known[name] {
				t.Errorf("%v: %s is not in the table", class, name)
			}
			if other, ok := seen[name]; ok {
				t.Errorf("%s is both %v and %v", name, other, class)
			}
			seen[name] = class
		}
	}
	for list, names := range map[string][]string{
		"classifiers":   slices.Collect(maps.Keys(classifiers)),
		"deferred":      strings.Fields(deferredWrites),
		"forms":         slices.Collect(maps.Keys(deferredForms)),
		"estimates":     slices.Collect(maps.Keys(estimates)),
		"counters":      strings.Fields(counters),
		"flushes":       strings.Fields(flushes),
		"repeatables":   slices.Collect(maps.Keys(repeatables)),
		"keyFinders":    slices.Collect(maps.Keys(keyFinders)),
		"rewrites":      slices.Collect(maps.Keys(rewrites)),
		"replicaNames":  slices.Collect(maps.Keys(replicaNames)),
		"replica twins": slices.Collect(maps.Values(replicaNames)),
		"servedReads":   strings.Fields(servedReads),
		"keyspaceReads": strings.Fields(keyspaceReads),
	} {
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s: %s is not in the table", list, name)
			}
		}
	}
}

// rowsOf reads a text of indented lines under headings, which end in a colon. Lines
// before the first heading are under "".
func rowsOf(t *testing.T, text string) map[string][]string {
	t.Helper()
	rows := make(map[string][]string)
	var head string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "\t"):
			rows[head] = append(rows[head], strings.TrimSpace(line))
		case line != "":
			head = strings.TrimSuffix(line, ":")
		}
	}
	return rows
}

func TestClassByArguments(t *testing.T) {
	t.Parallel()
	words := map[string]Class{
		"blind": ClassBlind, "accumulating": ClassAccumulating, "conditional": ClassConditional,
		"claiming": ClassClaiming, "script": ClassScript, "publish": ClassPublish, "read": ClassRead,
		"admin": ClassAdmin, "session": ClassSession, "passthrough": ClassPassthrough, "unknown": ClassUnknown,
	}
	rows := rowsOf(t, classRows)
	if len(rows) != len(words) {
		t.Fatalf("%d groups of rows, %d classes", len(rows), len(words))
	}
	for group, lines := range rows {
		want, ok := words[group]
		if !ok {
			t.Errorf("no class %q", group)
		}
		for _, words := range lines {
			s := specOf(t, words)
			got := s.Class(parseLine(words))
			if got != want {
				t.Errorf("%s: %v, want %v", words, got, want)
			}
			// The name-level answer may not promise less than a form does.
			if got != ClassRead && got != ClassPassthrough && got != ClassUnknown && !s.MayWrite() {
				t.Errorf("%s: %v, but MayWrite is false", words, got)
			}
		}
	}
}

func TestMayWrite(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields(`SET del GETEX sort bitfield georadius xreadgroup EVAL evalsha fcall publish
		spublish script function config xgroup client flushall move restore migrate wait`) {
		if !Lookup(name).MayWrite() {
			t.Errorf("%s: MayWrite is false", name)
		}
	}
	for _, name := range strings.Fields(`get MGET sort_ro pfcount touch xread scan ping info time eval_ro object xinfo
		command slowlog pubsub dump`) {
		if Lookup(name).MayWrite() {
			t.Errorf("%s: MayWrite is true", name)
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields(`watch unwatch multi exec discard select auth hello reset quit subscribe
		psubscribe ssubscribe monitor sync psync readonly readwrite asking`) {
		if !Lookup(name).Session() {
			t.Errorf("%s: Session is false", name)
		}
	}
	for _, name := range strings.Fields("get set ping client config publish eval wait") {
		if Lookup(name).Session() {
			t.Errorf("%s: Session is true", name)
		}
	}
}

func TestNilSpecFailsClosed(t *testing.T) {
	t.Parallel()
	s := Lookup("nope.set")
	if s != nil {
		t.Fatal("nobody's command is in the table")
	}
	args := parseLine("NOPE.SET k $ 1")
	if s.Class(args) != ClassUnknown || !s.MayWrite() || s.Session() || s.Served() || s.Keyspace() ||
		s.Deferrable(args) || s.Repeatable(args) || s.ReplicaName() != "" || s.Container() || s.Counter() ||
		s.Estimated(args) || !s.Barrier(args) || s.Default(args) != DecisionRefuse || s.Servers() != nil {
		t.Error("a nil Spec does not fail closed")
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	every(func(s *Spec) {
		if strings.Contains(s.Name, "|") {
			return
		}
		for _, name := range []string{s.Name, strings.ToUpper(s.Name), strings.ToUpper(s.Name[:1]) + s.Name[1:]} {
			if Lookup(name) != s || lookupBytes([]byte(name)) != s {
				t.Errorf("%s: not found", name)
			}
		}
	})
	for _, name := range []string{"", "sett", "se", "config|get", "set ", "set\x00", "ſet", strings.Repeat("x", 1000)} {
		if Lookup(name) != nil || lookupBytes([]byte(name)) != nil {
			t.Errorf("%q: found", name)
		}
	}
}

func TestClassString(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for c := ClassUnknown; c <= ClassPassthrough; c++ {
		text := c.String()
		if seen[text] || text == "" || (c != ClassUnknown && text == "unknown") {
			t.Errorf("class %d: %q", c, text)
		}
		seen[text] = true
	}
	if got := (ClassPassthrough + 1).String(); got != "unknown" {
		t.Errorf("a class out of range is %q", got)
	}
}
