package main

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-cache/holdfast/resilient"
)

const timelineInterval = 500 * time.Millisecond

// timeline prints about twice a second what both sides are doing.
type timeline struct {
	printer  *printer
	clock    *phaseClock
	client   holdfastClient
	plain    *side
	holdfast *side
}

// reading is what the timeline's rates are the differences of.
type reading struct {
	at                 time.Time
	ok, failed         uint64 // Holdfast's writes
	deferred           uint64 // those of ok that went into the journal
	plainOK, plainFail uint64
}

func (t *timeline) read() reading {
	return reading{
		at: time.Now(),
		ok: t.holdfast.ok.Load(), failed: t.holdfast.failed.Load(), deferred: t.client.Stats().Deferred,
		plainOK: t.plain.ok.Load(), plainFail: t.plain.failed.Load(),
	}
}

// run prints until ctx ends.
func (t *timeline) run(ctx context.Context) {
	t.printer.print(timelineHead())
	ticker := time.NewTicker(timelineInterval)
	defer ticker.Stop()
	before := t.read()
	for {
		select {
		case <-ticker.C:
			now := t.read()
			t.printer.print(t.line(before, now))
			before = now
		case <-ctx.Done():
			return
		}
	}
}

func timelineHead() string {
	return fmt.Sprintf("%7s  %-9s  %-27s  %7s | %26s | %17s\n%7s  %-9s  %-27s  %7s | %8s %8s %8s | %8s %8s",
		"", "", "", "", "Holdfast, writes/s ", "plain, writes/s ",
		"time", "phase", "Holdfast sees", "backlog", "ok", "deferred", "failed", "ok", "failed")
}

func (t *timeline) line(before, now reading) string {
	elapsed := now.at.Sub(before.at).Seconds()
	rate := func(from, to uint64, bad bool) string {
		text := fmt.Sprintf("%8.0f", float64(to-from)/elapsed)
		if bad && to != from {
			return t.printer.paint(colourRed, text)
		}
		return text
	}
	state := t.client.State()
	return fmt.Sprintf("%s  %-9s  %s  %7d | %s %s %s | %s %s",
		t.printer.now(), t.clock.phase(),
		t.printer.paint(stateColour(state.State), fmt.Sprintf("%-27s", seen(state))),
		t.client.Stats().Entries,
		rate(before.ok, now.ok, false), rate(before.deferred, now.deferred, false), rate(before.failed, now.failed, true),
		rate(before.plainOK, now.plainOK, false), rate(before.plainFail, now.plainFail, true))
}

// seen is a shard's state in few words.
func seen(s resilient.ShardState) string {
	text := s.State.String()
	if s.Cause != resilient.CauseNone {
		text += ": " + s.Cause.String()
		if !s.Certain {
			text += "?"
		}
	}
	return text
}

func stateColour(s resilient.State) colour {
	switch s {
	case resilient.StateHealthy:
		return colourGreen
	case resilient.StateNoPrimary, resilient.StateUnreachable:
		return colourRed
	case resilient.StateUnknown, resilient.StateSuspect, resilient.StateReturning, resilient.StateReplaying:
	}
	return colourYellow
}

// listener narrates what Holdfast reports.
func listener(p *printer) resilient.Listener {
	return resilient.Listener{
		StateChanged: func(i resilient.StateInfo) {
			p.event("%s", i)
			if i.To.Diagnosis != "" && i.To.Diagnosis != i.From.Diagnosis {
				p.event("%s", i.To.Diagnosis)
			}
		},
		ReplayBegin: func(i resilient.ReplayBeginInfo) { p.event("%s", i) },
		ReplayEnd:   func(i resilient.ReplayEndInfo) { p.event("%s", i) },
	}
}
