package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// results are the measurements of a file: by benchmark and unit, in the order of the
// rounds.
type results map[string]map[string][]float64

// parse reads what a measurement wrote.
func parse(in io.Reader) (results, error) {
	all := make(results)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 || len(f)%2 != 0 {
			return nil, fmt.Errorf("not a measurement: %q", line)
		}
		if all[f[0]] == nil {
			all[f[0]] = make(map[string][]float64)
		}
		for i := 2; i < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("not a measurement: %q: %w", line, err)
			}
			all[f[0]][f[i+1]] = append(all[f[0]][f[i+1]], v)
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

// ratios are those of one list to another, round by round.
func ratios(ours, theirs []float64) []float64 {
	out := make([]float64, min(len(ours), len(theirs)))
	for i := range out {
		out[i] = ours[i] / theirs[i]
	}
	return out
}

const throughputMark = "replay throughput"

// throughputTable is the table of the ways by load.
func throughputTable(all results) string {
	var b strings.Builder
	row := func(name string, cell func(load string) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, l := range loads {
			fmt.Fprintf(&b, " %s |", cell(l.name))
		}
		b.WriteByte('\n')
	}
	head := func(title string) {
		row(title, func(load string) string { return load })
		fmt.Fprintf(&b, "| --- |%s\n", strings.Repeat(" --- |", len(loads)))
	}
	of := func(load, way, unit string) []float64 {
		return all["BenchmarkThroughput/load="+load+"/way="+way][unit]
	}
	head("entries, thousand/s")
	for _, w := range ways {
		row(w.label, func(load string) string { return fmt.Sprintf("%.0f", spreadOf(of(load, w.name, "entries/s")).mid/1000) })
	}
	b.WriteByte('\n')
	head("of the raw stream")
	for _, w := range ways[1:] {
		row(w.label, func(load string) string {
			s := spreadOf(ratios(of(load, w.name, "entries/s"), of(load, rawName, "entries/s")))
			return fmt.Sprintf("%.2f (%.2f–%.2f)", s.mid, s.low, s.high)
		})
	}
	b.WriteByte('\n')
	head("processor time of the client, µs an entry")
	for _, w := range ways {
		row(w.label, func(load string) string {
			return fmt.Sprintf("%.2f", spreadOf(of(load, w.name, "client-ns/op")).mid/1000)
		})
	}
	b.WriteByte('\n')
	head("allocations an entry")
	for _, w := range ways {
		row(w.label, func(load string) string { return fmt.Sprintf("%.2f", spreadOf(of(load, w.name, "allocs/op")).mid) })
	}
	return b.String()
}

// insert puts text between the marks of document.
func insert(document, mark, text string) (string, error) {
	begin, end := "<!-- "+mark+": begin -->\n", "<!-- "+mark+": end -->\n"
	before, rest, ok := strings.Cut(document, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", fmt.Errorf("the document has no marks %q", mark)
	}
	return before + begin + "\n" + text + "\n" + end + after, nil
}

// printTable prints the table of file, or puts it into the document into.
func printTable(file, into, mark string, table func(results) string, out io.Writer) error {
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
		_, err := io.WriteString(out, table(all))
		return err
	}
	document, err := os.ReadFile(into)
	if err != nil {
		return err
	}
	text, err := insert(string(document), mark, table(all))
	if err != nil {
		return fmt.Errorf("%s: %w", into, err)
	}
	return os.WriteFile(into, []byte(text), 0o644)
}
