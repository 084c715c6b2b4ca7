package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/resilient"
)

func TestOutcomeOf(t *testing.T) {
	tests := []struct {
		err  error
		want outcome
	}{
		{nil, outcomeAccepted},
		{errors.New("READONLY"), outcomeRefused},
		{&resilient.CommandError{Name: "incr", Err: resilient.ErrNoPrimary}, outcomeRefused},
		{&resilient.CommandError{Name: "incr", Err: resilient.ErrInDoubt}, outcomeInDoubt},
		{fmt.Errorf("wrapped: %w", resilient.ErrInDoubt), outcomeInDoubt},
	}
	for _, test := range tests {
		if got := outcomeOf(test.err); got != test.want {
			t.Errorf("outcomeOf(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

func TestShareOut(t *testing.T) {
	const a, r, d = outcomeAccepted, outcomeRefused, outcomeInDoubt
	tests := []struct {
		name     string
		value    int
		outcomes []outcome
		want     []int
	}{
		{"all there", 3, []outcome{a, a, a}, []int{1, 1, 1}},
		{"the refused one is missing", 2, []outcome{a, r, a}, []int{1, 0, 1}},
		{"refused before in doubt", 2, []outcome{r, d, a}, []int{0, 1, 1}},
		{"in doubt before accepted", 1, []outcome{d, a, r}, []int{0, 1, 0}},
		{"an accepted one is missing", 1, []outcome{a, a, r}, []int{1, 0, 0}},
		{"a refused one was applied", 3, []outcome{a, r, a}, []int{1, 1, 1}},
		{"more than was written", 5, []outcome{a, a, a}, []int{1, 1, 3}},
		{"nothing there", 0, []outcome{a, d, r}, []int{0, 0, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var writes []*write
			for _, o := range test.outcomes {
				writes = append(writes, &write{outcome: o})
			}
			shareOut(test.value, writes)
			if got := appliedOf(writes); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReadLog(t *testing.T) {
	tests := []struct {
		text       string
		want       []int // how often a, b and c are found
		misordered int
	}{
		{"a\nb\nc\n", []int{1, 1, 1}, 0},
		{"", []int{0, 0, 0}, 0},
		{"a\nc\n", []int{1, 0, 1}, 0},
		{"b\na\nc\n", []int{1, 1, 1}, 1},
		{"c\nb\na\n", []int{1, 1, 1}, 2},
		{"a\na\nb\nc\n", []int{2, 1, 1}, 0},
		{"a\nb\nc\na\nb\nc\n", []int{2, 2, 2}, 0},
		{"a\nb\nc", []int{1, 1, 0}, 1},
	}
	for _, test := range tests {
		writes := []*write{{effect: effect{want: "a\n"}}, {effect: effect{want: "b\n"}}, {effect: effect{want: "c\n"}}}
		misordered := readLog(test.text, writes)
		if got := appliedOf(writes); !slices.Equal(got, test.want) || misordered != test.misordered {
			t.Errorf("%q: found %v, %d misordered; want %v, %d", test.text, got, misordered, test.want, test.misordered)
		}
	}
}

func TestCountTellsTheOutageApart(t *testing.T) {
	got := count([]*write{
		{kind: kindLogin, outcome: outcomeAccepted, applied: 1, began: phaseHealthy, ended: phaseHealthy, took: 2 * time.Second},
		{kind: kindLogin, outcome: outcomeRefused, began: phaseCycling, ended: phaseOutage},
		{kind: kindMessage, outcome: outcomeRefused, began: phaseOutage, ended: phaseOutage, took: time.Second},
		{kind: kindMessage, outcome: outcomeInDoubt, applied: 2, began: phaseOutage, ended: phaseOutage, unseen: true},
		{kind: kindMessage, outcome: outcomeRefused, began: phaseOutage, ended: phasePromoting},
		{kind: kindMessage, outcome: outcomeAccepted, applied: 1, began: phaseOutage, ended: phasePromoting},
		{kind: kindMessage, outcome: outcomeAccepted, applied: 1, began: phaseOutage, ended: phaseOutage},
	}, 7)
	checks := []struct {
		name      string
		got, want row
	}{
		{"all", got.all, row{attempted: 7, accepted: 3, refused: 3, inDoubt: 1, lost: 3, doubled: 1, unseen: 1, slowest: 2 * time.Second}},
		{"outage", got.outage, row{attempted: 5, accepted: 2, refused: 2, inDoubt: 1, lost: 2, doubled: 1, unseen: 1, slowest: time.Second}},
		{"logins", got.byKind[kindLogin], row{attempted: 2, accepted: 1, refused: 1, lost: 1, slowest: 2 * time.Second}},
		{"automations", got.byKind[kindAutomation], row{}},
	}
	for _, c := range checks {
		if c.got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, c.got, c.want)
		}
	}
	if got.misordered != 7 || got.acceptedInOutage != 1 {
		t.Errorf("%d misordered, %d accepted in the outage, want 7 and 1", got.misordered, got.acceptedInOutage)
	}
}

func appliedOf(writes []*write) []int {
	var applied []int
	for _, w := range writes {
		applied = append(applied, w.applied)
	}
	return applied
}
