package main

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/resilient"
)

func TestTimelineLinesUpWithItsHead(t *testing.T) {
	var out strings.Builder
	p := newPrinter(&out)
	plain, holdfast := newSide("plain", "", nil), newSide("Holdfast", "", nil)
	clock := &phaseClock{}
	clock.set(phaseOutage)
	line := &timeline{
		printer: p, clock: clock, plain: plain, holdfast: holdfast,
		client: fixed{
			state: resilient.ShardState{State: resilient.StateNoPrimary, Cause: resilient.CauseAllReplicas, Certain: true},
			stats: resilient.Stats{Entries: 1234},
		},
	}
	start := time.Now()
	p.print(timelineHead())
	p.print(line.line(
		reading{at: start, ok: 100, deferred: 10, plainOK: 100},
		reading{at: start.Add(500 * time.Millisecond), ok: 145, deferred: 55, plainOK: 100, plainFail: 44},
	))
	p.close()
	p.print("after the end")

	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("want two lines of head and one of figures, got\n%s", out.String())
	}
	for _, l := range lines[1:] {
		if len(l) != len(lines[0]) || strings.Index(l, "|") != strings.Index(lines[0], "|") {
			t.Errorf("columns don't line up:\n%s", out.String())
		}
	}
	_, figures, _ := strings.Cut(lines[2], "s  ")
	const want = "OUTAGE     no-primary: all-replicas        1234 |       90       90        0 |        0       88"
	if figures != want {
		t.Errorf("got  %q\nwant %q", figures, want)
	}
}

func TestSeen(t *testing.T) {
	tests := []struct {
		state resilient.ShardState
		want  string
	}{
		{resilient.ShardState{State: resilient.StateHealthy, Primary: "x:1"}, "healthy"},
		{resilient.ShardState{State: resilient.StateNoPrimary, Cause: resilient.CauseAllReplicas, Certain: true}, "no-primary: all-replicas"},
		{resilient.ShardState{State: resilient.StateNoPrimary, Cause: resilient.CausePrimaryDown}, "no-primary: primary-down?"},
	}
	for _, test := range tests {
		if got := seen(test.state); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestColoursOnlyOnATerminal(t *testing.T) {
	p := &printer{coloured: false}
	if got := p.paint(colourRed, "text"); got != "text" {
		t.Errorf("got %q without colours", got)
	}
	p.coloured = true
	if got := p.paint(colourRed, "text"); got != "\x1b[31mtext\x1b[0m" {
		t.Errorf("got %q with colours", got)
	}
	if isTerminal(&strings.Builder{}) {
		t.Error("a string is no terminal")
	}
}

// fixed is a Holdfast client that always says the same.
type fixed struct {
	holdfastClient
	state resilient.ShardState
	stats resilient.Stats
}

func (f fixed) State() resilient.ShardState { return f.state }
func (f fixed) Stats() resilient.Stats      { return f.stats }

func TestWrap(t *testing.T) {
	const short = "a line that fits"
	if got := wrap(short, "  "); got != short {
		t.Errorf("got %q, want it unchanged", got)
	}
	words := strings.Repeat("word ", 99) + "word\n" + strings.Repeat("x", 2*lineWidth) + " end"
	got := wrap(words, "  ")
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(words), " ") {
		t.Errorf("words were changed: %q", got)
	}
	lines := strings.Split(got, "\n")
	if len(lines) < 6 {
		t.Errorf("%d lines, want 500 characters on at least five and the long word on its own:\n%s", len(lines), got)
	}
	for _, line := range lines {
		if strings.HasSuffix(line, " ") || len(line) > lineWidth && strings.Contains(line, "word") {
			t.Errorf("a line of %d characters, or with a blank at its end: %q", len(line), line)
		}
	}
}
