package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
)

// infoJSON is a journal as JSON.
type infoJSON struct {
	Journal       string     `json:"journal"`
	Path          string     `json:"path"`
	Live          bool       `json:"live"`
	Confirmed     bool       `json:"confirmed"`
	Target        string     `json:"target,omitempty"`
	Entries       int64      `json:"entries"`
	Bytes         int64      `json:"bytes"`
	Oldest        *time.Time `json:"oldest,omitempty"`
	Newest        *time.Time `json:"newest,omitempty"`
	Last          uint64     `json:"last"`
	Trimmed       uint64     `json:"trimmed"`
	Acked         uint64     `json:"acked"`
	ReplID        string     `json:"repl_id,omitempty"`
	Primary       string     `json:"last_primary,omitempty"`
	ReplIDs       []string   `json:"lineage,omitempty"`
	Dead          int        `json:"dead_letters"`
	Retained      int64      `json:"retained"`
	RetainedBytes int64      `json:"retained_bytes"`
	Fates         int        `json:"ledger_entries"`
	Damaged       bool       `json:"damaged"`
	Files         int        `json:"files"`
}

func infoOf(i journal.Info) infoJSON {
	return infoJSON{
		Journal: i.ID.String(), Path: i.Path, Live: i.Live, Confirmed: i.Confirmed, Target: i.Target,
		Entries: i.Entries, Bytes: i.Bytes, Oldest: some(i.Oldest), Newest: some(i.Newest),
		Last: i.Last, Trimmed: i.Trimmed, Acked: i.Acked, ReplID: i.ReplID,
		Primary: i.Lineage.Primary, ReplIDs: i.Lineage.ReplIDs,
		Dead: i.Dead, Retained: i.Retained, RetainedBytes: i.RetainedBytes, Fates: i.Fates,
		Damaged: i.Damaged, Files: len(i.Files),
	}
}

func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// holder says in a word who sees to a journal.
func holder(i journal.Info) string {
	switch {
	case i.Live:
		return "live"
	case i.Confirmed:
		return "confirmed"
	case i.Entries > 0:
		return "waiting"
	}
	return "idle"
}

func (a *app) ls(args []string) error {
	f := a.flags("ls")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	views, err := f.someViews()
	if err != nil {
		return err
	}
	t := newTable(a.out, "JOURNAL", "STATE", "WAITING", "SIZE", "OLDEST", "NEWEST", "DEAD", "RETAINED", "DAMAGE")
	damaged := false
	for _, v := range views {
		i := v.Info()
		damaged = damaged || i.Damaged
		if f.json {
			if err := printJSON(a.out, infoOf(i)); err != nil {
				return err
			}
			continue
		}
		t.row(i.ID, holder(i), i.Entries, size(i.Bytes), a.clock(i.Oldest), a.clock(i.Newest), i.Dead, i.Retained, yes(i.Damaged))
	}
	if !f.json && t.rows > 0 {
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if damaged {
		fmt.Fprintln(a.err, "there is damage: verify says where")
		return errFound
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *app) show(args []string) error {
	f := a.flags("show")
	f.showValues()
	c := f.filter()
	all := f.Bool("all", false, "show what was replayed and is retained too")
	limit := f.Int("limit", 100, "show at most so many writes; 0: all")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	v, err := journal.NewView(path)
	if err != nil {
		return err
	}
	if !f.json {
		a.summary(v.Info())
	}
	head := []string{"SEQ", "ACCEPTED", "STATUS", "DB", "COMMANDS", "KEYS", "SIZE", "NOTES"}
	t := newTable(a.out, head...)
	shown, more := 0, 0
	err = eachWrite(v, *all, func(w *write) error {
		if !c.pass(w) {
			return nil
		}
		if shown++; *limit > 0 && shown > *limit {
			more++
			return nil
		}
		if f.json {
			return printJSON(a.out, w.json(v, f.values))
		}
		t.row(w.Seq, a.clock(w.At), w.status(), w.DB, w.names(), w.keyList(digesterOf(v), f.values), size(int64(w.Bytes)), a.notes(w, f.values))
		return nil
	})
	if !f.json && t.rows > 0 {
		err = errors.Join(err, t.Flush())
	}
	if more > 0 {
		fmt.Fprintf(a.err, "%d more: --limit 0 shows all\n", more)
	}
	if err == nil && shown == 0 && !c.empty() {
		return errFound
	}
	return err
}

// summary is what show says of the journal as a whole.
func (a *app) summary(i journal.Info) {
	t := newTable(a.out, "journal", i.ID.String())
	for _, line := range [][2]string{
		{"state", holder(i)},
		{"waiting", fmt.Sprintf("%s, %s, %s to %s", plural(int(i.Entries), "write", "writes"), size(i.Bytes), orDash(a.clock(i.Oldest)), orDash(a.clock(i.Newest)))},
		{"sequences", fmt.Sprintf("last %d, trimmed %d, executed by a primary %d", i.Last, i.Trimmed, i.Acked)},
		{"last primary", strings.TrimSpace(orDash(i.Lineage.Primary) + " " + i.ReplID)},
		{"dead letters", fmt.Sprint(i.Dead)},
		{"retained", fmt.Sprintf("%s, %s; %s in the ledger", plural(int(i.Retained), "write", "writes"), size(i.RetainedBytes), plural(i.Fates, "entry", "entries"))},
		{"damage", yes(i.Damaged)},
	} {
		t.row(line[0], line[1])
	}
	fmt.Fprintln(t)
	_ = t.Flush()
}

// notes is what else there is to say of a write.
func (a *app) notes(w *write, values bool) string {
	var notes []string
	if w.err != nil {
		notes = append(notes, w.err.Error())
	}
	if w.Reason != "" {
		notes = append(notes, reasonOf(w.Reason, values))
	}
	if w.entry.Estimated {
		notes = append(notes, "reply estimated")
	}
	if w.entry.Lapses != 0 {
		notes = append(notes, "void from "+a.clock(time.UnixMilli(w.entry.Lapses)))
	}
	if w.entry.Useful != 0 {
		notes = append(notes, "useful until "+a.clock(time.UnixMilli(w.entry.Useful)))
	}
	if w.Status == journal.StatusPending {
		switch backlog.FormOf(w.record, a.now()).Kind {
		case backlog.KindRestore:
			notes = append(notes, "by now the state it left is sent")
		case backlog.KindExpired:
			notes = append(notes, "expired by now")
		case backlog.KindUseless:
			notes = append(notes, "of no use by now")
		case backlog.KindWrite, backlog.KindUnreadable:
		}
	}
	if values {
		notes = append(notes, w.line())
	}
	return strings.Join(notes, "; ")
}

// eachWrite yields the writes of a journal in order: those that wait, with dead
// letters among them and then those behind them; with all, the retained ones too.
func eachWrite(v *journal.View, all bool, yield func(*write) error) error {
	var failed error
	reasons := make(map[uint64]string)
	if err := v.DeadLetters(func(d journal.DeadLetter) bool {
		reasons[d.Seq] = d.Reason
		return true
	}); err != nil {
		return err
	}
	met := make(map[uint64]bool)
	err := v.Records(func(r journal.Record, s journal.Status) bool {
		if s == journal.StatusRetained && !all {
			return true
		}
		w := readWrite(r)
		w.Status = s
		if reason, dead := reasons[r.Seq]; dead {
			met[r.Seq] = true
			w.Status, w.Reason = journal.StatusDead, reason
		}
		failed = yield(w)
		return failed == nil
	})
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	err = v.DeadLetters(func(d journal.DeadLetter) bool {
		if met[d.Seq] {
			return true
		}
		w := readWrite(d.Record)
		w.Status, w.Reason = journal.StatusDead, d.Reason
		failed = yield(w)
		return failed == nil
	})
	return errors.Join(failed, err)
}
