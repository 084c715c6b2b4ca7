package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// results are the measurements of a file: by benchmark and unit, in the order
// of the rounds.
type results map[string]map[string][]float64

// parse reads what measure wrote. Failed opens are counted under "failed".
func parse(in io.Reader) (results, error) {
	all := make(results)
	add := func(name, unit string, v float64) {
		if all[name] == nil {
			all[name] = make(map[string][]float64)
		}
		all[name][unit] = append(all[name][unit], v)
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# open of "); ok {
			peer, _, _ := strings.Cut(rest, " ")
			add("BenchmarkOpen/peer="+peer, "failed", 1)
		}
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 || len(f)%2 != 0 {
			return nil, fmt.Errorf("not a measurement: %q", line)
		}
		for i := 2; i < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("not a measurement: %q: %w", line, err)
			}
			add(f[0], f[i+1], v)
		}
	}
	return all, lines.Err()
}

// spread is a median between its extremes.
type spread struct{ low, mid, high float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (v[len(v)/2-1] + mid) / 2
	}
	return spread{low: v[0], mid: mid, high: v[len(v)-1]}
}

func appendsName(w work, peer string) string {
	return fmt.Sprintf("BenchmarkAppend/size=%d/callers=%d/peer=%s", w.size, w.callers, peer)
}

// ratios are those of peer to bound, round by round.
func (all results) ratios(w work, peer, bound string) []float64 {
	const unit = "appends/s"
	ours, theirs := all[appendsName(w, peer)][unit], all[appendsName(w, bound)][unit]
	out := make([]float64, min(len(ours), len(theirs)))
	for i := range out {
		out[i] = ours[i] / theirs[i]
	}
	return out
}

// tables are the Markdown tables of the comparison.
func (all results) tables() string {
	var b strings.Builder
	row := func(name string, cell func(w work) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, w := range works {
			fmt.Fprintf(&b, " %s |", cell(w))
		}
		b.WriteByte('\n')
	}
	head := func(title string) {
		row(title, func(w work) string { return fmt.Sprintf("%s × %d", sizeName(w.size), w.callers) })
		fmt.Fprintf(&b, "| --- |%s\n", strings.Repeat(" --- |", len(works)))
	}
	labels := map[string]string{rawName: "raw loop", rawReservedName: "raw loop, space reserved", rawGroupName: "raw file, group commit"}

	head("durable appends, thousand/s")
	for _, name := range candidates() {
		row(cmp.Or(labels[name], name), func(w work) string {
			return thousands(spreadOf(all[appendsName(w, name)]["appends/s"]).mid)
		})
	}
	b.WriteByte('\n')
	head("of the raw loop")
	for _, name := range candidates()[1:] {
		row(cmp.Or(labels[name], name), func(w work) string {
			return fmt.Sprintf("%.2f", spreadOf(all.ratios(w, name, rawName)).mid)
		})
	}
	row("holdfast, lowest and highest round", func(w work) string {
		s := spreadOf(all.ratios(w, "holdfast", rawName))
		return fmt.Sprintf("%.2f–%.2f", s.low, s.high)
	})
	row("holdfast, of the raw file with group commit", func(w work) string {
		return fmt.Sprintf("%.2f", spreadOf(all.ratios(w, "holdfast", rawGroupName)).mid)
	})
	b.WriteByte('\n')
	head("allocations an append")
	for _, p := range appenders {
		row(cmp.Or(labels[p.name], p.name), func(w work) string {
			return fmt.Sprintf("%.2f", spreadOf(all[appendsName(w, p.name)]["allocs/op"]).mid)
		})
	}
	b.WriteByte('\n')
	all.openTable(&b)
	return b.String()
}

// openTable is about the million records after a kill.
func (all results) openTable(b *strings.Builder) {
	b.WriteString("| after a kill | opened | acknowledged records whole | open, ms | lowest–highest | read all, ms | open and read, ms |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, p := range peers {
		r := all["BenchmarkOpen/peer="+p.name]
		opened := len(r["ns/op"])
		whole := 0
		both := make([]float64, opened)
		for i := range opened {
			if r["whole"][i] == 1 {
				whole++
			}
			both[i] = r["ns/op"][i] + r["read-ns"][i]
		}
		open, read := spreadOf(r["ns/op"]), spreadOf(r["read-ns"])
		fmt.Fprintf(b, "| %s | %d of %d | %d | %.0f | %.0f–%.0f | %.0f | %.0f |\n", p.name, opened, opened+len(r["failed"]), whole,
			open.mid/1e6, open.low/1e6, open.high/1e6, read.mid/1e6, spreadOf(both).mid/1e6)
	}
}

func sizeName(size int) string {
	if size%1024 == 0 {
		return fmt.Sprintf("%d KiB", size/1024)
	}
	return fmt.Sprintf("%d B", size)
}

func thousands(v float64) string {
	if v < 10_000 {
		return fmt.Sprintf("%.1f", v/1000)
	}
	return fmt.Sprintf("%.0f", v/1000)
}

// The marks between which a document holds the tables.
const (
	markBegin = "<!-- peers: begin -->\n"
	markEnd   = "<!-- peers: end -->\n"
)

var errNoMarks = errors.New("the document has no marks for the tables")

// insert puts text between the marks of document.
func insert(document, text string) (string, error) {
	before, rest, ok := strings.Cut(document, markBegin)
	_, after, ended := strings.Cut(rest, markEnd)
	if !ok || !ended {
		return "", errNoMarks
	}
	return before + markBegin + "\n" + text + "\n" + markEnd + after, nil
}

// printTables prints the tables of file, or puts them into the document into.
func printTables(file, into string, out io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	all, err := parse(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if into == "" {
		_, err := io.WriteString(out, all.tables())
		return err
	}
	document, err := os.ReadFile(into)
	if err != nil {
		return err
	}
	text, err := insert(string(document), all.tables())
	if err != nil {
		return fmt.Errorf("%s: %w", into, err)
	}
	return os.WriteFile(into, []byte(text), 0o644)
}
