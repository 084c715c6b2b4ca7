package resilient_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuaranteesDoc: in docs/guarantees.md every promise names the tests that hold it, and
// each of these exists.
func TestGuaranteesDoc(t *testing.T) {
	text, err := os.ReadFile("../docs/guarantees.md")
	check(t, err)
	tests, err := testsOf("..")
	check(t, err)
	faults, promises := judgeGuarantees(string(text), tests)
	for _, fault := range faults {
		t.Errorf("docs/guarantees.md: %s", fault)
	}
	if promises < 50 || len(tests) < 500 {
		t.Errorf("only %d promises and %d tests were seen: that is not the whole", promises, len(tests))
	}
}

var (
	testFunction = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(t \*testing\.T\)`)
	testName     = regexp.MustCompile(`\[((?:[a-z]+\.)?Test\w*)\]`)
	inBrackets   = regexp.MustCompile(`\[[^\]]*\](\([^)]*\))?`)
)

// testsOf are the names of the library's tests, each with its packages.
func testsOf(root string) (map[string][]string, error) {
	tests := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "testdata", "examples", "bench", "tools"}, entry.Name()):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		in := filepath.Base(filepath.Dir(path))
		for _, m := range testFunction.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = append(tests[string(m[1])], in)
		}
		return err
	})
	return tests, err
}

// judgeGuarantees says what is wrong with the document. A promise is an item of a list or a
// row of a table below a heading that begins with "Promised".
func judgeGuarantees(text string, tests map[string][]string) (faults []string, promises int) {
	promised := false
	for _, block := range blocksOf(text) {
		if heading, ok := strings.CutPrefix(block, "## "); ok {
			promised = strings.HasPrefix(heading, "Promised")
			continue
		}
		names := testName.FindAllStringSubmatch(block, -1)
		for _, m := range names {
			faults = append(faults, judgeName(m[1], tests)...)
		}
		item := strings.HasPrefix(block, "- ") || strings.HasPrefix(block, "|")
		if !promised || !item {
			continue
		}
		promises++
		if len(names) == 0 {
			faults = append(faults, fmt.Sprintf("a promise without a test: %.80s", block))
		} else if rest := inBrackets.ReplaceAllString(block, ""); strings.HasPrefix(block, "- ") && !strings.HasSuffix(strings.TrimSpace(block), "]") {
			faults = append(faults, fmt.Sprintf("something is promised behind the last test: %.80s", rest))
		}
	}
	return faults, promises
}

func judgeName(name string, tests map[string][]string) []string {
	in, bare, qualified := strings.Cut(name, ".")
	if !qualified {
		in, bare = "", name
	}
	packages := slices.Compact(slices.Sorted(slices.Values(tests[bare])))
	switch {
	case len(packages) == 0:
		return []string{name + " does not exist"}
	case qualified && !slices.Contains(packages, in):
		return []string{fmt.Sprintf("%s is not in that package but in %v", name, packages)}
	case !qualified && len(packages) > 1 && !slices.Contains(packages, "resilient"):
		return []string{fmt.Sprintf("%s is in %v: say which", name, packages)}
	}
	return nil
}

// blocksOf are the headings, paragraphs, items and rows of a document, each in one line.
func blocksOf(text string) []string {
	var blocks []string
	open := false // the last block may go on
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			open = false
		case strings.HasPrefix(line, "| ---"):
			blocks, open = blocks[:len(blocks)-1], false // what was above it is the table's head
		case strings.HasPrefix(line, "#"), strings.HasPrefix(line, "|"):
			blocks, open = append(blocks, line), false
		case open && !strings.HasPrefix(line, "- "):
			blocks[len(blocks)-1] += " " + line
		default:
			blocks, open = append(blocks, line), true
		}
	}
	return blocks
}

// TestGuaranteesAreJudged: what is wrong in such a document is seen.
func TestGuaranteesAreJudged(t *testing.T) {
	tests := map[string][]string{"TestA": {"resilient"}, "TestB": {"journal", "replay"}, "TestC": {"journal", "resilient"}}
	for text, want := range map[string]int{
		"## Not promised\n\n- this and that":                                    0,
		"## Not promised\n\n- this [TestGone]":                                  1,
		"## Promised\n\nAn introduction.\n\n- this\n  [TestA]\n- that [TestA]":  0,
		"## Promised\n\n- this\n- that [TestA]":                                 1,
		"## Promised: more\n\n- this [TestGone]":                                1,
		"## Promised\n\n- this [TestA] and that":                                1,
		"## Promised\n\n- this [a page](a.md)":                                  1,
		"## Promised\n\n- this [TestB]":                                         1,
		"## Promised\n\n- this [journal.TestB]":                                 0,
		"## Promised\n\n- this [entry.TestB]":                                   1,
		"## Promised\n\n- this [TestC]":                                         0,
		"## Promised\n\n| a | b |\n| --- | --- |\n| x | y [TestA] |\n| z | w |": 1,
	} {
		if faults, _ := judgeGuarantees(text, tests); len(faults) != want {
			t.Errorf("%q: %q, want %d faults", text, faults, want)
		}
	}
	all, err := testsOf("..")
	check(t, err)
	if !slices.Contains(slices.Collect(maps.Keys(all)), "TestGuaranteesAreJudged") {
		t.Error("this test was not seen")
	}
}
