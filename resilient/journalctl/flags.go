package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// flags is the command line of one command: flags may stand before and behind DIR
// and JOURNAL.
type flags struct {
	*flag.FlagSet
	app    *app
	json   bool
	values bool
	rest   []string // DIR and JOURNAL
}

func (a *app) flags(name string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), app: a}
	f.SetOutput(a.err)
	f.BoolVar(&f.json, "json", false, "print JSON, an object a line")
	return f
}

// showValues adds the flag that lets keys and values be seen.
func (f *flags) showValues() { f.BoolVar(&f.values, "values", false, "show keys and values") }

// parse takes args; at most limit of them are no flags, and the first is DIR.
func (f *flags) parse(args []string, limit int) error {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return usageError{err}
		}
		if f.NArg() == 0 {
			break
		}
		f.rest = append(f.rest, f.Arg(0))
		args = f.Args()[1:]
	}
	switch {
	case len(f.rest) == 0:
		return usagef("name the directory of the journals (Options.Dir)")
	case len(f.rest) > limit:
		return usagef("too many arguments: %q", f.rest[limit])
	}
	return nil
}

// isJournal reports whether path is the directory of one journal.
func isJournal(path string) bool {
	_, ok := journal.ParseClientID(filepath.Base(filepath.Clean(path)))
	return ok
}

// paths are the directories of the journals that the command line names.
func (f *flags) paths() ([]string, error) {
	dir := f.rest[0]
	if isJournal(dir) {
		if len(f.rest) > 1 {
			return nil, usagef("%s is a journal already: name one only", dir)
		}
		return []string{dir}, nil
	}
	names, err := journal.Journals(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range names {
		if len(f.rest) < 2 || strings.HasPrefix(name, f.rest[1]) {
			found = append(found, filepath.Join(dir, name))
		}
	}
	if len(f.rest) > 1 && len(found) == 0 {
		return nil, fmt.Errorf("no journal below %s begins with %q", dir, f.rest[1])
	}
	return found, nil
}

// path is the directory of the one journal that the command line names.
func (f *flags) path() (string, error) {
	found, err := f.paths()
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("there is no journal below %s", f.rest[0])
	case len(found) > 1:
		return "", usagef("there are %d journals: name one (ls lists them)", len(found))
	}
	return found[0], nil
}

// views opens the journals that the command line names.
func (f *flags) views() ([]*journal.View, error) {
	paths, err := f.paths()
	if err != nil {
		return nil, err
	}
	var views []*journal.View
	for _, path := range paths {
		v, err := journal.NewView(path)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

// someViews is views, and ends the command where there are none.
func (f *flags) someViews() ([]*journal.View, error) {
	views, err := f.views()
	if err == nil && len(views) == 0 {
		fmt.Fprintf(f.app.err, "there is no journal below %s\n", f.rest[0])
		err = errFound
	}
	return views, err
}

// filter chooses writes.
type filter struct {
	key, command string
	byKey        bool // key is given; it may be empty
	seqs         seqRange
	since, until when
}

func (f *flags) filter() *filter {
	c := new(filter)
	now := f.app.now()
	c.since, c.until = when{now: now, zone: f.app.zone}, when{now: now, zone: f.app.zone}
	f.Func("key", "only writes with this `key`", func(s string) error {
		c.key, c.byKey = s, true
		return nil
	})
	f.StringVar(&c.command, "command", "", "only writes with a command of this `name`")
	f.Var(&c.seqs, "seq", "only the sequences `N or A-B`")
	f.Var(&c.since, "since", "only writes accepted at this `time` or later: 2006-01-02T15:04:05, 15:04, or 90m ago")
	f.Var(&c.until, "until", "only writes accepted before this `time`")
	return c
}

// empty reports whether everything passes.
func (c *filter) empty() bool { return !c.content() && c.seqs == (seqRange{}) }

// content reports whether the write's bytes must be there to decide.
func (c *filter) content() bool {
	return c.byKey || c.command != "" || !c.since.at.IsZero() || !c.until.at.IsZero()
}

// pass reports whether a write passes.
func (c *filter) pass(w *write) bool {
	switch {
	case !c.seqs.has(w.Seq),
		!c.since.at.IsZero() && w.At.Before(c.since.at),
		!c.until.at.IsZero() && !w.At.Before(c.until.at),
		c.command != "" && !w.hasCommand(c.command),
		c.byKey && !w.hasKey(c.key):
		return false
	}
	return true
}

// seqRange is a flag's range of sequences; the zero value is all.
type seqRange struct{ from, to uint64 }

func (r *seqRange) has(seq uint64) bool { return *r == seqRange{} || r.from <= seq && seq <= r.to }

// String implements flag.Value.
func (r *seqRange) String() string {
	if *r == (seqRange{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d", r.from, r.to)
}

// Set implements flag.Value.
func (r *seqRange) Set(s string) error {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	var err, err2 error
	r.from, err = strconv.ParseUint(from, 10, 64)
	r.to, err2 = strconv.ParseUint(to, 10, 64)
	if err != nil || err2 != nil || r.from == 0 || r.to < r.from {
		return errors.New("give a sequence, as 17, or a range, as 17-20")
	}
	return nil
}

// when is a flag's time; at is zero where it was not given.
type when struct {
	at, now time.Time
	zone    *time.Location
}

// String implements flag.Value.
func (w *when) String() string {
	if w.at.IsZero() {
		return ""
	}
	return w.at.Format(time.RFC3339)
}

// Set implements flag.Value.
func (w *when) Set(s string) error {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		w.at = w.now.Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, s, w.zone); err == nil {
			w.at = at
			return nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} { // of today
		if at, err := time.ParseInLocation(layout, s, w.zone); err == nil {
			y, m, d := w.now.In(w.zone).Date()
			w.at = time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, w.zone)
			return nil
		}
	}
	return errors.New("give a time, as 2006-01-02T15:04:05 or 15:04, or how long ago, as 90m")
}
