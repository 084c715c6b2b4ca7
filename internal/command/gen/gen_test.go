package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const committed = "../zz_generated_table.go"

func askInstalled(t *testing.T) *facts {
	t.Helper()
	f, err := ask(defaultServer())
	if err != nil {
		t.Fatalf("this test needs a redis-server (Debian: apt-get install redis-server, or set %s): %v", serverEnv, err)
	}
	return f
}

func readCommitted(t *testing.T) []byte {
	t.Helper()
	table, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// The committed table is what the pinned server says. Where another version is
// installed, nothing that both know may contradict it.
func TestTableAgreesWithServer(t *testing.T) {
	t.Parallel()
	f, table := askInstalled(t), readCommitted(t)
	if f.version != pinnedVersion {
		t.Logf("the installed redis-server is %s, not the pinned %s: only contradictions count", f.version, pinnedVersion)
		found, err := contradictions(table, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range found {
			t.Errorf("redis-server %s: %s", f.version, text)
		}
		return
	}
	source, err := render(f)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(source, table) {
		t.Errorf("the table is not what redis-server %s gives: run go generate ./internal/command and look at what changed", f.version)
	}
}

func TestRunWritesTable(t *testing.T) {
	t.Parallel()
	f := askInstalled(t)
	path := filepath.Join(t.TempDir(), "table.go")
	err := run(defaultServer(), path)
	if f.version != pinnedVersion {
		if err == nil || !strings.Contains(err.Error(), f.version) {
			t.Errorf("a server of version %s: %v", f.version, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(source, readCommitted(t)) {
		t.Error("the file written is not the committed table")
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ends := filepath.Join(dir, "ends")
	if err := os.WriteFile(ends, []byte("#!/bin/sh\necho no config >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ server, output, want string }{
		{defaultServer(), "", "-output"},
		{filepath.Join(dir, "missing"), filepath.Join(dir, "out"), "cannot start redis-server"},
		{ends, filepath.Join(dir, "out"), "no config"},
	} {
		if err := run(tc.server, tc.output); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("server %q, output %q: %v", tc.server, tc.output, err)
		}
	}
}

func TestContradictions(t *testing.T) {
	t.Parallel()
	keys := []keyRule{{from: 1, last: 0, step: 1}}
	other := &facts{version: "9.9.9", commands: []fact{
		{name: "get", arity: 2, since: "1.0.0", flags: []string{"readonly", "flag_of_tomorrow"}, keys: keys},
		{name: "append", arity: 4, since: "2.0.0", flags: []string{"write"}, keys: keys},
		{name: "getdel", arity: 2, since: "6.2.0", flags: []string{"readonly"}, keys: keys},
		{name: "strlen", arity: 2, since: "2.2.0", flags: []string{"readonly"}, keys: []keyRule{{from: 1, last: -1, step: 1}}},
		{name: "command_of_tomorrow", arity: 2, since: "9.0.0", flags: []string{"write"}},
		{name: "object", arity: -2, since: "2.2.3", subs: []fact{
			{name: "object|help", arity: 3, since: "6.2.0"},
			{name: "object|of_tomorrow", arity: 3, since: "9.0.0"},
		}},
	}}
	found, err := contradictions(readCommitted(t), other)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, text := range found {
		name, _, _ := strings.Cut(text, " ")
		names = append(names, name)
	}
	if got, want := strings.Join(names, " "), "append getdel object|help strlen"; got != want {
		t.Errorf("contradictions in %s, want %s:\n%s", got, want, strings.Join(found, "\n"))
	}
}

func TestRenderRefusesUnknownFlag(t *testing.T) {
	t.Parallel()
	_, err := render(&facts{commands: []fact{{name: "x", arity: 1, flags: []string{"flag_of_tomorrow"}}}})
	if err == nil || !strings.Contains(err.Error(), "flag_of_tomorrow") {
		t.Errorf("error %v", err)
	}
}
