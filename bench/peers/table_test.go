package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const sample = `# load 9.99
goos: linux
BenchmarkAppend/size=100/callers=1/peer=raw 10 1.0 ns/op 4000 appends/s 0.00 allocs/op
BenchmarkAppend/size=100/callers=1/peer=holdfast 10 1.0 ns/op 3000 appends/s 2.00 allocs/op
BenchmarkAppend/size=100/callers=1/peer=holdfast 10 1.0 ns/op 4000 appends/s 2.00 allocs/op
BenchmarkAppend/size=100/callers=1/peer=raw 10 1.0 ns/op 8000 appends/s 0.00 allocs/op
BenchmarkAppend/size=100/callers=1/peer=raw 10 1.0 ns/op 20000 appends/s 0.00 allocs/op
BenchmarkAppend/size=100/callers=1/peer=holdfast 10 1.0 ns/op 20000 appends/s 3.00 allocs/op
BenchmarkOpen/peer=holdfast 1 2000000 ns/op 8000000 read-ns 10 records 1 whole
BenchmarkOpen/peer=holdfast 1 4000000 ns/op 8000000 read-ns 9 records 0 whole
# open of holdfast failed: exit status 1
`

func TestTables(t *testing.T) {
	all, err := parse(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	tables := all.tables()
	for _, want := range []string{
		"| raw loop | 8.0 |",
		"| holdfast | 4.0 |",
		"| holdfast | 0.75 |", // of 0.75, 0.5 and 1: not the ratio of the medians
		"| holdfast, lowest and highest round | 0.50–1.00 |",
		"| holdfast | 2.00 |",
		"| holdfast | 2 of 3 | 1 | 3 | 2–4 | 8 | 11 |",
		"| tidwall | 0 of 0 | 0 |",
	} {
		if !strings.Contains(tables, want) {
			t.Errorf("no %q in\n%s", want, tables)
		}
	}
}

func TestParseRefusesHalfALine(t *testing.T) {
	for _, line := range []string{"BenchmarkAppend/x 1 2.0", "BenchmarkAppend/x 1 fast ns/op", "BenchmarkAppend/x"} {
		if _, err := parse(strings.NewReader(line)); err == nil {
			t.Errorf("%q was taken for a measurement", line)
		}
	}
}

// TestLinesAreParsed joins what measure writes to what parse reads.
func TestLinesAreParsed(t *testing.T) {
	w := works[0]
	in := rate{appends: 50, took: time.Second, mallocs: 100}.line(w, rawName) + "\n" +
		reopened{open: 3, read: 4, records: 5, whole: true}.line("bbolt") + "\n" +
		failedLine("bbolt", errors.New("torn\nlog")) + "\n"
	all, err := parse(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	appends, opens := all[appendsName(w, rawName)], all["BenchmarkOpen/peer=bbolt"]
	for unit, want := range map[string]float64{"ns/op": 2e7, "appends/s": 50, "allocs/op": 2} {
		if got := appends[unit]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %v", unit, got, want)
		}
	}
	for unit, want := range map[string]float64{"ns/op": 3, "read-ns": 4, "records": 5, "whole": 1, "failed": 1} {
		if got := opens[unit]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %v", unit, got, want)
		}
	}
}

func TestInsert(t *testing.T) {
	got, err := insert("a\n"+markBegin+"old\n"+markEnd+"b\n", "new\n")
	if want := "a\n" + markBegin + "\nnew\n\n" + markEnd + "b\n"; got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, document := range []string{"", markBegin, markEnd, markEnd + markBegin} {
		if _, err := insert(document, "new\n"); !errors.Is(err, errNoMarks) {
			t.Errorf("%q: %v, want %v", document, err, errNoMarks)
		}
	}
}
