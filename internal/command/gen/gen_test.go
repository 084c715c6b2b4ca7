package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const committed = "../zz_generated_table.go"

func askServer(t *testing.T) *facts {
	t.Helper()
	f, err := ask(defaultServer())
	if err != nil {
		t.Fatalf("this test needs a redis-server (Debian: apt-get install redis-server, or set %s): %v", serverEnvs[0], err)
	}
	return f
}

func mergeFiles(t *testing.T) *merged {
	t.Helper()
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	m, err := merge(all)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The committed table is what the facts files give.
func TestTableIsGenerated(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "table.go")
	if err := run(false, "", path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the table is not what the files in facts give: run go generate ./internal/command and look at what changed")
	}
}

// Whatever server is at hand, the table has all its commands and says of them what
// it says itself.
func TestTableAgreesWithServer(t *testing.T) {
	t.Parallel()
	f := askServer(t)
	count := len(f.commands)
	for _, c := range f.commands {
		count += len(c.subs)
	}
	t.Logf("%s %s has %d commands and subcommands", f.server, f.version, count)
	if count < 350 {
		t.Errorf("only %d commands and subcommands", count)
	}
	for _, text := range contradictions(mergeFiles(t), f) {
		t.Errorf("%s %s: %s", f.server, f.version, text)
	}
}

// A facts file is what its server says, where that very server is at hand.
func TestFactsAreServers(t *testing.T) {
	t.Parallel()
	f := askServer(t)
	got, err := makeFacts(defaultServer())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parse("made", bytes.NewReader(got))
	if err != nil || len(parsed) != 1 || !bytes.Equal(formatFacts(parsed[0]), got) {
		t.Errorf("what is written is not what is read: %v", err)
	}
	name := f.server + "-" + f.version[:strings.LastIndexByte(f.version, '.')] + ".txt"
	want, err := factsDir.ReadFile("facts/" + name)
	if err != nil || !bytes.Contains(want, []byte("\nserver "+f.server+" "+f.version+"\n")) {
		t.Logf("%s %s has no facts file of its own", f.server, f.version)
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what %s %s says: write it again with -ask", name, f.server, f.version)
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
		if err := run(true, tc.server, tc.output); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("server %q, output %q: %v", tc.server, tc.output, err)
		}
	}
}
