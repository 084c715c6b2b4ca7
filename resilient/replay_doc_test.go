package resilient_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReplayDoc: each failure case of docs/replay.md names tests, and each of these exists.
func TestReplayDoc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/replay.md")
	check(t, err)
	tests, err := testsOf("..")
	check(t, err)
	names := regexp.MustCompile(`\bTest[A-Z]\w*`)
	for _, name := range names.FindAllString(string(text), -1) {
		if len(tests[name]) == 0 {
			t.Errorf("there is no test %s", name)
		}
	}
	_, section, _ := strings.Cut(string(text), "## Failure cases")
	section, _, _ = strings.Cut(section, "\n## ")
	cases := 0
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what breaks") || strings.HasPrefix(line, "| ---") {
			continue
		}
		if cases++; !names.MatchString(line) {
			t.Errorf("no test is named in: %s", line)
		}
	}
	if cases < 30 {
		t.Errorf("only %d cases were seen: that is not the whole", cases)
	}
}
