package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

func (a *app) ledger(args []string) error {
	f := a.flags("ledger")
	f.showValues()
	c := f.filter()
	only := f.String("outcome", "", "only writes that ended so: pending, dead, replayed, unconfirmed, superseded, expired, conflicted, dead-lettered, discarded, diverged")
	raw := f.Bool("entries", false, "print the ledger's own entries, ranges as they were written")
	receipt := f.String("receipt", "", "only the write that a receipt's `ID` names")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	if *receipt != "" {
		if err := f.byReceipt(*receipt, c); err != nil {
			return err
		}
	}
	if _, ok := journal.ParseOutcome(*only); !ok && *only != "" && *only != "pending" && *only != "dead" {
		return usagef("%q is no outcome", *only)
	}
	if *raw && c.content() {
		return usagef("the ledger's entries hold no keys, commands or times of acceptance: leave out --entries")
	}
	views, err := f.views()
	if err != nil {
		return err
	}
	l := &lookup{app: a, flags: f, filter: c, only: *only}
	for _, v := range views {
		if *raw {
			err = l.entries(v)
		} else {
			err = l.writes(v)
		}
		if err != nil {
			return err
		}
	}
	if l.table != nil {
		if err := l.table.Flush(); err != nil {
			return err
		}
	}
	if l.found == 0 {
		fmt.Fprintln(a.err, "nothing found: the ledger and the writes are kept for Options.LedgerRetention")
		return errFound
	}
	return nil
}

// byReceipt chooses the journal and the sequence that make up a receipt's id.
func (f *flags) byReceipt(id string, c *filter) error {
	name, seq, _ := strings.Cut(id, "-")
	if _, ok := journal.ParseClientID(name); !ok || c.seqs.Set(seq) != nil {
		return usagef("--receipt %q: give what Receipt.ID gave", id)
	}
	switch {
	case isJournal(f.rest[0]):
		f.rest = []string{filepath.Join(filepath.Dir(filepath.Clean(f.rest[0])), name)}
	default:
		f.rest = []string{f.rest[0], name}
	}
	return nil
}

// lookup is one run of the ledger command.
type lookup struct {
	app    *app
	flags  *flags
	filter *filter
	only   string
	table  *table
	found  int
}

func (l *lookup) row(head []string, cells ...any) {
	if l.table == nil {
		l.table = newTable(l.app.out, head...)
	}
	l.table.row(cells...)
}

// entries prints the ledger as it is.
func (l *lookup) entries(v *journal.View) error {
	var failed error
	err := v.Fates(func(f journal.Fate) bool {
		if !l.overlaps(f) || l.only != "" && l.only != f.Outcome.String() {
			return true
		}
		l.found++
		if l.flags.json {
			j := jsonOf(f)
			j.Journal = v.ID().String()
			failed = printJSON(l.app.out, j)
			return failed == nil
		}
		l.row([]string{"JOURNAL", "SEQUENCES", "OUTCOME", "WHEN", "PRIMARY", "DETAIL"},
			short(v.ID().String()), span(f.From, f.To), outcome(f), l.app.clock(f.At), short(f.RunID), f.Detail)
		return true
	})
	return errors.Join(failed, err)
}

func (l *lookup) overlaps(f journal.Fate) bool {
	r := l.filter.seqs
	return r == seqRange{} || f.From <= r.to && r.from <= f.To
}

// writes prints the writes that are still there, each with its fate; then what
// the ledger says of others, as far as that can be chosen by sequence.
func (l *lookup) writes(v *journal.View) error {
	var fates journal.FateIndex
	var all []journal.Fate
	if err := v.Fates(func(f journal.Fate) bool {
		fates.Add(f)
		all = append(all, f)
		return true
	}); err != nil {
		fmt.Fprintf(l.app.err, "part of the ledger can't be read: %v\n", err)
	}
	var there ranges // of the writes whose bytes are there
	err := eachWrite(v, true, func(w *write) error {
		there.add(w.Seq, w.Seq)
		if !l.filter.pass(w) {
			return nil
		}
		fate, known := fates.Lookup(w.Seq)
		return l.write(v, w, fate, known)
	})
	if err != nil || l.filter.content() {
		return err
	}
	there.join()
	for _, f := range goneOf(all, &fates, there) {
		if !l.overlaps(f) || l.only != "" && l.only != f.Outcome.String() {
			continue
		}
		if err := l.gone(v, f); err != nil {
			return err
		}
	}
	return nil
}

// goneOf is what the ledger says of writes whose bytes are gone: its entries without
// those that are there, and without those for which another entry counts.
func goneOf(all []journal.Fate, fates *journal.FateIndex, there ranges) (found []journal.Fate) {
	told := slices.Clone(there)
	for _, f := range all {
		if !f.Plain() {
			told.add(f.From, f.To)
		}
	}
	told.join()
	single := make(map[uint64]bool) // an entry can stand there twice
	for _, f := range all {
		others := told
		if !f.Plain() {
			others = there
		}
		if f.From == f.To && !f.Plain() {
			if counts, _ := fates.Lookup(f.From); counts != f || single[f.From] {
				continue
			}
			single[f.From] = true
		}
		for _, r := range others.without(f.From, f.To) {
			f.From, f.To = r.from, r.to
			found = append(found, f)
		}
	}
	return found
}

// ranges is a set of sequences: after join, ascending and apart.
type ranges []seqRange

// add adds the sequences from to to, which is cheap where they follow on.
func (s *ranges) add(from, to uint64) {
	if n := len(*s); n > 0 && (*s)[n-1].to+1 == from {
		(*s)[n-1].to = to
		return
	}
	*s = append(*s, seqRange{from, to})
}

func (s *ranges) join() {
	slices.SortFunc(*s, func(a, b seqRange) int { return cmp.Compare(a.from, b.from) })
	joined := (*s)[:0]
	for _, r := range *s {
		if n := len(joined); n > 0 && r.from <= joined[n-1].to+1 {
			joined[n-1].to = max(joined[n-1].to, r.to)
			continue
		}
		joined = append(joined, r)
	}
	*s = joined
}

// without is what of the sequences from to to is not in s, which is joined.
func (s ranges) without(from, to uint64) (left ranges) {
	i := sort.Search(len(s), func(i int) bool { return s[i].to >= from })
	for ; i < len(s) && s[i].from <= to; i++ {
		if from < s[i].from {
			left = append(left, seqRange{from, s[i].from - 1})
		}
		from = s[i].to + 1
	}
	if from <= to {
		left = append(left, seqRange{from, to})
	}
	return left
}

var ledgerHead = []string{"JOURNAL", "SEQ", "ACCEPTED", "COMMANDS", "KEYS", "FATE", "WHEN", "PRIMARY", "DETAIL"}

func (l *lookup) write(v *journal.View, w *write, fate journal.Fate, known bool) error {
	word := w.status()
	switch {
	case known && (w.Status == journal.StatusRetained || w.Status == journal.StatusDead):
		word = outcome(fate)
	case w.Status == journal.StatusRetained:
		word = "replayed?" // trimmed, and the ledger's word was lost
		if w.Seq > v.Trimmed() {
			word = w.status()
		}
	}
	if l.only != "" && l.only != word && (!known || l.only != fate.Outcome.String()) {
		return nil
	}
	l.found++
	if l.flags.json {
		j := w.json(v, l.flags.values)
		if known {
			j.Fate = jsonOf(fate)
		}
		return printJSON(l.app.out, j)
	}
	detail := fate.Detail
	if w.Reason != "" && fate.Outcome != journal.OutcomeDiscarded {
		detail = reasonOf(w.Reason, l.flags.values)
	}
	commands := w.names()
	if l.flags.values {
		commands = w.line()
	}
	when := ""
	if known {
		when = l.app.clock(fate.At)
	}
	l.row(ledgerHead, short(v.ID().String()), w.Seq, l.app.clock(w.At), commands,
		w.keyList(digesterOf(v), l.flags.values), word, when, short(fate.RunID), detail)
	return nil
}

// gone prints the fate of writes that are not there any more.
func (l *lookup) gone(v *journal.View, f journal.Fate) error {
	l.found++
	if l.flags.json {
		j := jsonOf(f)
		j.Journal = v.ID().String()
		return printJSON(l.app.out, j)
	}
	l.row(ledgerHead, short(v.ID().String()), span(f.From, f.To), "", "(not kept)", "", outcome(f), l.app.clock(f.At), short(f.RunID), f.Detail)
	return nil
}
