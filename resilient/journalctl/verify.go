package main

import (
	"fmt"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// fileJSON is a file's report as JSON.
type fileJSON struct {
	Journal string       `json:"journal"`
	File    string       `json:"file"`
	Kind    string       `json:"kind"`
	Bytes   int64        `json:"bytes"`
	Entries int          `json:"entries"`
	First   uint64       `json:"first,omitempty"`
	Last    uint64       `json:"last,omitempty"`
	Oldest  *time.Time   `json:"oldest,omitempty"`
	Newest  *time.Time   `json:"newest,omitempty"`
	Torn    int64        `json:"torn_bytes,omitempty"`
	Void    int          `json:"void_entries,omitempty"`
	Damage  []damageJSON `json:"damage,omitempty"`
	Error   string       `json:"error,omitempty"`
}

type damageJSON struct {
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	From   uint64 `json:"missing_from,omitempty"`
	To     uint64 `json:"missing_to,omitempty"`
}

func (a *app) verify(args []string) error {
	f := a.flags("verify")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	views, err := f.someViews()
	if err != nil {
		return err
	}
	damaged := 0
	for _, v := range views {
		n, err := a.verifyOne(f, v)
		if err != nil {
			return err
		}
		damaged += n
	}
	if damaged > 0 {
		return errFound
	}
	return nil
}

// verifyOne reports on one journal and returns the number of damaged files.
func (a *app) verifyOne(f *flags, v *journal.View) (damaged int, err error) {
	if !f.json {
		fmt.Fprintf(a.out, "journal %v\n", v.ID())
	}
	t := newTable(a.out, "FILE", "KIND", "SIZE", "ENTRIES", "SEQUENCES", "STATE")
	var details []string
	for _, r := range v.Files() {
		if r.Damaged() {
			damaged++
		}
		if f.json {
			if err := printJSON(a.out, fileOf(v, r)); err != nil {
				return damaged, err
			}
			continue
		}
		entries := ""
		if r.Kind != "progress" && r.Kind != "other" && r.Kind != "damaged" {
			entries = fmt.Sprint(r.Entries)
		}
		t.row(r.Name, r.Kind, size(r.Bytes), entries, span(r.First, r.Last), state(r))
		details = append(details, damageOf(r)...)
	}
	if f.json {
		return damaged, nil
	}
	err = t.Flush()
	for _, line := range details {
		fmt.Fprintln(a.out, line)
	}
	if damaged == 0 {
		fmt.Fprint(a.out, "no damage\n\n")
	} else {
		fmt.Fprintf(a.out, "%s\n\n", plural(damaged, "damaged file", "damaged files"))
	}
	return damaged, err
}

func state(r journal.FileReport) string {
	switch {
	case r.Kind == "damaged":
		return "set aside as damaged"
	case r.Err != nil:
		return "unreadable"
	case len(r.Damage) > 0:
		return "DAMAGED"
	case r.Torn > 0 && r.Kind == "dead":
		return fmt.Sprintf("%d bytes at its end are no letter: cut short by a crash, or damaged", r.Torn)
	case r.Torn > 0:
		return fmt.Sprintf("fine; %d bytes of an unfinished write at its end", r.Torn)
	case r.Void > 0:
		return fmt.Sprintf("fine; %d records of a failed commit, which do not count", r.Void)
	}
	return "fine"
}

// damageOf describes each damage in a line.
func damageOf(r journal.FileReport) []string {
	var lines []string
	for _, d := range r.Damage {
		line := fmt.Sprintf("%s: %d bytes behind offset %d can't be read", r.Name, d.Bytes, d.Offset)
		if d.Bytes == 0 {
			line = fmt.Sprintf("%s: it ends at offset %d, too early", r.Name, d.Offset)
		}
		if d.From > 0 {
			line += fmt.Sprintf("; missing, although acknowledged: %s, %s", plural(int(d.To-d.From+1), "write", "writes"), span(d.From, d.To))
		}
		lines = append(lines, line)
	}
	if r.Err != nil {
		lines = append(lines, fmt.Sprintf("%s: %v", r.Name, r.Err))
	}
	return lines
}

func fileOf(v *journal.View, r journal.FileReport) fileJSON {
	j := fileJSON{
		Journal: v.ID().String(), File: r.Name, Kind: r.Kind, Bytes: r.Bytes, Entries: r.Entries,
		First: r.First, Last: r.Last, Oldest: some(r.Oldest), Newest: some(r.Newest), Torn: r.Torn, Void: r.Void,
	}
	for _, d := range r.Damage {
		j.Damage = append(j.Damage, damageJSON(d))
	}
	if r.Err != nil {
		j.Error = r.Err.Error()
	}
	return j
}
