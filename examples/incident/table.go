package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tableHead are the columns' names, two lines each.
var tableHead = [2][]string{
	{"writes", "attempted", "accepted", "refused", "in doubt", "lost", "lost though", "doubled", "read-your-writes", "slowest"},
	{"", "", "", "", "", "", "accepted", "", "violations", "call"},
}

const tableLegend = `refused   the call returned an error; nobody sends it again. Plain go-redis can't say "in doubt".
lost      attempted by a user and not in Redis at the end
doubled   how often a write is in Redis beyond the first time`

// section is one side's part of the table.
type section struct {
	name  string
	tally tally
}

// renderTable is the account of all sides in columns.
func renderTable(sections ...section) string {
	var lines [][]string
	lines = append(lines, tableHead[0], tableHead[1])
	for _, s := range sections {
		lines = append(lines, []string{s.name})
		for _, k := range kinds {
			lines = append(lines, cells("  "+k.String(), s.tally.byKind[k]))
		}
		lines = append(lines, cells("  all", s.tally.all))
		if s.tally.outage.attempted > 0 {
			lines = append(lines, cells("  of them in the outage", s.tally.outage))
		}
	}
	return align(lines)
}

func cells(name string, r row) []string {
	return []string{
		name,
		strconv.Itoa(r.attempted), strconv.Itoa(r.accepted), strconv.Itoa(r.refused), strconv.Itoa(r.inDoubt),
		strconv.Itoa(r.lost), strconv.Itoa(r.lostAccepted), strconv.Itoa(r.doubled), strconv.Itoa(r.unseen),
		milliseconds(r.slowest),
	}
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// align pads the first column on the right and all others on the left.
func align(lines [][]string) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			if i == 0 {
				fmt.Fprintf(&text, "%-*s", widths[0], cell)
			} else {
				fmt.Fprintf(&text, "  %*s", widths[i], cell)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}
