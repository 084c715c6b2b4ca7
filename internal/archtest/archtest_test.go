package archtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is where a file has more than one subject. Generated ones have none.
const maxLines = 600

// root is the directory of the library's module, seen from this package.
const root = "../.."

// list runs `go list` over all packages of the module in dir, as goos sees them.
func list(t *testing.T, dir, goos string) []node {
	t.Helper()
	// -e, as a package that doesn't compile is not this test's matter. The
	// module files are taken as they are.
	cmd := exec.Command("go", "list", "-e", "-mod=readonly",
		"-json=ImportPath,Name,Dir,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s for %s: %v\n%s", dir, goos, err, stderr.Bytes())
	}
	var nodes []node
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var n node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return nodes
		}
		if err != nil {
			t.Fatalf("the output of go list: %v", err)
		}
		nodes = append(nodes, n)
	}
}

func TestImportsFollowTheRules(t *testing.T) {
	// Files of one system only have imports too.
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			nodes := slices.Concat(list(t, root, goos), list(t, filepath.Join(root, "examples"), goos))
			for _, fault := range check(nodes, rules) {
				t.Error(fault)
			}
			checkWhole(t, nodes)
		})
	}
}

// checkWhole fails if a listing misses packages or has lost their imports: one
// that is empty would break no rule.
func checkWhole(t *testing.T, nodes []node) {
	t.Helper()
	imports := make(map[string][]string)
	for _, n := range nodes {
		imports[relative(n.ImportPath)] = n.Imports
	}
	for path := range rules {
		if _, ok := imports[path]; !ok && !strings.HasSuffix(path, "/...") {
			t.Errorf("%s has a rule and is not listed: it is gone, or the listing is not whole", path)
		}
	}
	for from, to := range map[string]string{
		"resilient":         "internal/journal",
		"examples/incident": "resilient",
	} {
		if !slices.Contains(imports[from], modulePath+"/"+to) {
			t.Errorf("%s does not import %s, so this test does not see imports", from, to)
		}
	}
}

// TestCheck shows that a broken edge is seen: without it, check could allow
// everything.
func TestCheck(t *testing.T) {
	const our = modulePath + "/"
	tests := []struct {
		name string
		node node
		want string // part of the fault; empty: there is none
	}{
		{name: "resilient wires", node: node{ImportPath: our + "resilient", Imports: []string{our + "internal/overlay", "github.com/redis/go-redis/v9", "time"}}},
		{name: "below an allowed module", node: node{ImportPath: our + "resilient", Imports: []string{"go.opentelemetry.io/otel/metric/noop"}}},
		{name: "leaf to resp", node: node{ImportPath: our + "internal/replay", Imports: []string{our + "internal/resp"}}},
		{name: "leaf to leaf", node: node{ImportPath: our + "internal/overlay", Imports: []string{our + "internal/journal"}}, want: "internal/overlay imports internal/journal"},
		{name: "backlog joins leaves", node: node{ImportPath: our + "internal/backlog", Imports: []string{our + "internal/journal", our + "internal/replay"}}},
		{name: "backlog to overlay", node: node{ImportPath: our + "internal/backlog", Imports: []string{our + "internal/overlay"}}, want: "internal/backlog imports internal/overlay"},
		{name: "leaf to backlog", node: node{ImportPath: our + "internal/journal", Imports: []string{our + "internal/backlog"}}, want: "internal/journal imports internal/backlog"},
		{name: "leaf to command", node: node{ImportPath: our + "internal/replay", Imports: []string{our + "internal/command"}}, want: "internal/replay imports internal/command"},
		{name: "leaf upward", node: node{ImportPath: our + "internal/topology", Imports: []string{our + "resilient"}}, want: "internal/topology imports resilient"},
		{name: "command to ours", node: node{ImportPath: our + "internal/command", Imports: []string{our + "internal/resp"}}, want: "internal/command imports internal/resp"},
		{name: "to the root", node: node{ImportPath: our + "internal/resp", Imports: []string{modulePath}}, want: "internal/resp imports ."},
		{name: "test servers in the library", node: node{ImportPath: our + "resilient", Imports: []string{our + "internal/redistest"}}, want: "resilient imports internal/redistest"},
		{name: "test servers in a test", node: node{ImportPath: our + "internal/replay", XTestImports: []string{our + "internal/redistest", our + "internal/replay"}}},
		{name: "leaf to leaf in a test", node: node{ImportPath: our + "internal/replay", TestImports: []string{our + "internal/journal"}}, want: "a test of internal/replay imports internal/journal"},
		{name: "leaf to leaf in an external test", node: node{ImportPath: our + "internal/replay", XTestImports: []string{our + "internal/journal"}}, want: "a test of internal/replay imports internal/journal"},
		{name: "foreign", node: node{ImportPath: our + "resilient", Imports: []string{"github.com/stretchr/testify/assert"}}, want: "which is no dependency of the library"},
		{name: "foreign with an allowed beginning", node: node{ImportPath: our + "resilient", Imports: []string{"github.com/redis/go-redis/v9extra"}}, want: "which is no dependency of the library"},
		{name: "foreign in a test", node: node{ImportPath: our + "resilient", TestImports: []string{"github.com/stretchr/testify/assert"}}, want: "which is no dependency of the tests"},
		{name: "test module in the library", node: node{ImportPath: our + "internal/overlay", Imports: []string{"pgregory.net/rapid"}}, want: "which is no dependency of the library"},
		{name: "test module in a test", node: node{ImportPath: our + "internal/overlay", TestImports: []string{"pgregory.net/rapid"}}},
		{name: "SDK in the library", node: node{ImportPath: our + "resilient", Imports: []string{"go.opentelemetry.io/otel/sdk/metric"}}, want: "which is no dependency of the library"},
		{name: "SDK in a test", node: node{ImportPath: our + "resilient", TestImports: []string{"go.opentelemetry.io/otel/sdk/metric"}}},
		{name: "cgo", node: node{ImportPath: our + "internal/journal", Imports: []string{"C"}}, want: "internal/journal imports C"},
		{name: "no rule", node: node{ImportPath: our + "internal/extra"}, want: "internal/extra has no rule"},
		{name: "no rule by a common beginning", node: node{ImportPath: our + "examplesx/a"}, want: "examplesx/a has no rule"},
		{name: "an example", node: node{ImportPath: our + "examples/incident", Imports: []string{our + "resilient", our + "internal/redistest", "example.org/sdk"}}},
		{name: "an example that looks inside", node: node{ImportPath: our + "examples/a/b", Imports: []string{our + "internal/journal"}}, want: "examples/a/b imports internal/journal"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := check([]node{test.node}, rules)
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("allowed import refused: %q", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)):
				t.Errorf("got %q, want one fault with %q", got, test.want)
			}
		})
	}
}

var generated = regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)

// longFiles returns the Go files below dir that have more than limit lines and
// are not generated, and the number of Go files it saw.
func longFiles(dir string, limit int) (long []string, seen int, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); path != dir && (name == "testdata" || strings.HasPrefix(name, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		seen++
		lines, isGenerated, err := measure(path)
		if err == nil && lines > limit && !isGenerated {
			long = append(long, fmt.Sprintf("%s has %d lines", path, lines))
		}
		return err
	})
	return long, seen, err
}

// measure counts the lines of a file and says whether a line marks it as
// generated, in the form that go generate's documentation fixes.
func measure(path string) (lines int, isGenerated bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for ; scanner.Scan(); lines++ {
		isGenerated = isGenerated || generated.Match(scanner.Bytes())
	}
	return lines, isGenerated, scanner.Err()
}

func TestFilesStayShort(t *testing.T) {
	long, seen, err := longFiles(root, maxLines)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range long {
		t.Errorf("%s, more than %d: give its subjects files of their own", file, maxLines)
	}
	if seen < 30 {
		t.Errorf("only %d Go files seen from %s: that is not the whole tree", seen, root)
	}
}

func TestLongFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a/long.go", "package a\n\n\n\n")
	write("a/short.go", "package a\n\n\n")
	write("a/table.go", "// Code generated by gen; DO NOT EDIT.\n\npackage a\n\n")
	write("a/testdata/fixture.go", "package a\n\n\n\n")
	write("a/notes.txt", "1\n2\n3\n4\n")
	long, seen, err := longFiles(dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "a/long.go") + " has 4 lines"}
	if !slices.Equal(long, want) || seen != 3 {
		t.Errorf("got %q of %d files, want %q of 3", long, seen, want)
	}
}
