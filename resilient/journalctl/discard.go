package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
)

func (a *app) confirm(args []string) error {
	f := a.flags("confirm")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	path = filepath.Clean(path)
	err = journal.Confirm(filepath.Dir(path), filepath.Base(path))
	if errors.Is(err, journal.ErrNothingWaits) {
		fmt.Fprintln(a.err, err)
		return errFound
	}
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(a.out, map[string]any{"journal": filepath.Base(path), "confirmed": true})
	}
	fmt.Fprintf(a.out, "journal %s is confirmed: a client of its target replays it within about a minute of health\n", filepath.Base(path))
	return nil
}

type discardJSON struct {
	Journal   string `json:"journal"`
	Discarded int    `json:"discarded"`
	Done      bool   `json:"done"`
}

func (a *app) discard(args []string) error {
	f := a.flags("discard")
	c := f.filter()
	sure := f.Bool("yes", false, "do it; without this flag it is only counted")
	dead := f.Bool("dead", false, "discard dead letters instead of writes that wait")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	if isJournal(f.rest[0]) == (len(f.rest) == 2) {
		return usagef("name the journal whose writes to discard")
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	if !*sure {
		v, err := journal.NewView(path)
		if err != nil {
			return err
		}
		n, err := countDiscards(v, c, *dead)
		if err != nil {
			return err
		}
		return a.discarded(f, v.ID().String(), n, false)
	}
	j, err := a.adopt(path)
	if err != nil {
		return err
	}
	discard := a.discardWaiting
	if *dead {
		discard = a.discardDead
	}
	n, err := discard(j, path, c)
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	return a.discarded(f, j.ID().String(), n, true)
}

// discarded reports.
func (a *app) discarded(f *flags, id string, n int, done bool) error {
	switch {
	case f.json:
		if err := printJSON(a.out, discardJSON{id, n, done}); err != nil {
			return err
		}
	case done:
		fmt.Fprintf(a.out, "journal %s: %d discarded\n", id, n)
	default:
		fmt.Fprintf(a.out, "journal %s: %d would be discarded; say --yes to do it\n", id, n)
	}
	if n == 0 {
		return errFound
	}
	return nil
}

func countDiscards(v *journal.View, c *filter, dead bool) (n int, err error) {
	err = eachWrite(v, false, func(w *write) error {
		if (w.Status == journal.StatusDead) == dead && c.pass(w) {
			n++
		}
		return nil
	})
	return n, err
}

// discardWaiting ends writes that wait: all of them by trimming, chosen ones as
// dead letters, which the replay passes over and discard --dead clears away. Of what the
// ledger calls discarded nothing is executed any more, so it does not matter where a
// crash comes in between: the trim has the ledger synced before it counts.
func (a *app) discardWaiting(j *journal.Journal, path string, c *filter) (n int, err error) {
	v, err := journal.NewView(path)
	if err != nil {
		return 0, err
	}
	ctx := a.ctx
	var failed error
	err = v.Records(func(r journal.Record, s journal.Status) bool {
		if s != journal.StatusPending || !c.empty() && !c.pass(readWrite(r)) {
			return true
		}
		if !c.empty() {
			if failed = j.DeadLetter(ctx, r, backlog.ReasonDiscarded); failed != nil {
				return false
			}
		}
		n++
		failed = j.Record(journal.Fate{From: r.Seq, To: r.Seq, Outcome: journal.OutcomeDiscarded, Detail: backlog.ReasonDiscarded})
		return failed == nil
	})
	if err = errors.Join(failed, err); err != nil {
		return n, err
	}
	if c.empty() {
		return n, j.Trim(ctx, j.Stats().Last)
	}
	return n, j.Sync(ctx)
}

// discardDead ends dead letters.
func (a *app) discardDead(j *journal.Journal, _ string, c *filter) (n int, err error) {
	found, unread := letters(j.DeadLetters, seqRange{})
	var seqs []uint64
	waiting := 0
	for _, w := range found {
		switch {
		case !c.pass(w):
		case w.Seq > j.Stats().Trimmed:
			waiting++
		default:
			seqs = append(seqs, w.Seq)
			if err := j.Record(journal.Fate{From: w.Seq, To: w.Seq, Outcome: journal.OutcomeDiscarded, Detail: backlog.ReasonDiscarded}); err != nil {
				return 0, err
			}
		}
	}
	if waiting > 0 {
		fmt.Fprintf(a.err, "%d stay: writes before them still wait, replay the journal first\n", waiting)
	}
	if len(seqs) == 0 {
		return 0, unread
	}
	if err := j.Sync(a.ctx); err != nil {
		return 0, errors.Join(err, unread)
	}
	return len(seqs), errors.Join(j.SettleDead(a.ctx, seqs...), unread)
}
