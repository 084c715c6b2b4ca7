package main

import (
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// letters are the dead letters of the chosen sequences.
func letters(each func(func(journal.DeadLetter) bool) error, seqs seqRange) ([]*write, error) {
	var found []*write
	err := each(func(d journal.DeadLetter) bool {
		if seqs.has(d.Seq) {
			w := readWrite(d.Record)
			w.Status, w.Reason = journal.StatusDead, d.Reason
			found = append(found, w)
		}
		return true
	})
	return found, err
}

// letter is a write that is a dead letter.
func (w *write) letter() *backlog.Letter {
	return backlog.ReadLetter(journal.DeadLetter{Record: w.record, Reason: w.Reason})
}

// letters lists the dead letters of the journals.
func (a *app) letters(args []string) error {
	f := a.flags("letters")
	f.showValues()
	c := f.filter()
	if err := f.parse(args, 2); err != nil {
		return err
	}
	views, err := f.someViews()
	if err != nil {
		return err
	}
	return a.listLetters(f, views, c)
}

// letterJSON is a dead letter as JSON.
type letterJSON struct {
	ID    string `json:"id"`
	Sent  bool   `json:"sent"`
	Force string `json:"force,omitempty"`
	Never bool   `json:"never,omitempty"`
	Waits bool   `json:"waits,omitempty"`
	writeJSON
}

// listLetters shows the letters that c chooses, and what replay --dead would do.
func (a *app) listLetters(f *flags, views []*journal.View, c *filter) error {
	t := newTable(a.out, "ID", "ACCEPTED", "COMMANDS", "KEYS", "REASON", "SENT")
	var failed error
	shown := 0
	for _, v := range views {
		found, err := letters(v.DeadLetters, seqRange{})
		failed = errors.Join(failed, err)
		for _, w := range found {
			if !c.pass(w) {
				continue
			}
			shown++
			risk := w.letter().Risk()
			j := letterJSON{
				ID: fmt.Sprintf("%s-%d", v.ID(), w.Seq), Force: risk.String(), Never: risk.Final(),
				Waits: w.Seq > v.Trimmed(), writeJSON: w.json(v, f.values),
			}
			j.Sent = j.Force == "" && !j.Waits
			if f.json {
				failed = errors.Join(failed, printJSON(a.out, j))
				continue
			}
			t.row(j.ID, a.clock(w.At), w.names(), w.keyList(digesterOf(v), f.values), reasonOf(w.Reason, f.values), j.answer())
		}
	}
	if !f.json && shown > 0 {
		failed = errors.Join(failed, t.Flush())
	}
	if failed == nil && shown == 0 {
		fmt.Fprintln(a.err, "there are no such dead letters")
		failed = errFound
	}
	return failed
}

// answer is whether replay --dead sends it, for people.
func (j *letterJSON) answer() string {
	switch {
	case j.Waits:
		return "no: replay the journal first"
	case j.Never:
		return "no: " + j.Force
	case j.Force != "":
		return "only with --force: " + j.Force
	}
	return "yes"
}

// replayDead sends dead letters, each in a transaction of its own with a mark, so
// that a letter of which the answer was lost is not applied twice.
func (a *app) replayDead(f *flags, path string, t *target, o replay.Options, seqs seqRange, force bool) (err error) {
	j, err := a.adopt(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	found, unread := letters(j.DeadLetters, seqs) // those that can be read are sent
	if len(found) == 0 && unread == nil {
		fmt.Fprintln(a.err, "there are no such dead letters")
		return errFound
	}
	m := &mender{app: a, flags: f, journal: j, target: t, options: a.connection(t, o), force: force}
	defer m.close()
	var sendErr error
	for _, w := range found {
		if sendErr = m.mend(w); sendErr != nil {
			break
		}
	}
	// What was sent is settled also where a later one failed.
	if err := errors.Join(sendErr, m.settle(), unread); err != nil {
		return err
	}
	if m.left > 0 {
		return errFound
	}
	return nil
}

// mender sends dead letters.
type mender struct {
	app     *app
	flags   *flags
	journal *journal.Journal
	target  *target
	options replay.Options // without what differs by letter
	force   bool
	server  *server // nil: not connected
	db      int     // of server
	node    node
	settled []uint64
	left    int
}

func (m *mender) close() {
	if m.server != nil {
		m.server.close()
	}
}

func (m *mender) connect(db int) (err error) {
	if m.server != nil && m.db == db {
		return nil
	}
	m.close()
	m.server = nil
	s, err := m.target.open(m.app.ctx, db)
	if err != nil {
		return err
	}
	if m.node, err = s.node(m.app.now); err == nil && !m.node.primary {
		err = replay.ErrNotPrimary
	}
	if err != nil {
		s.close()
		return err
	}
	m.server, m.db = s, db
	return nil
}

// mend sends one letter. An error ends the command; a letter that can't be
// delivered is only counted.
func (m *mender) mend(w *write) error {
	keep := func(why string) error {
		m.left++
		return m.say(w, "kept: "+why)
	}
	if w.Seq > m.journal.Stats().Trimmed {
		return keep("writes before it still wait: replay the journal first")
	}
	if r := w.letter().Risk(); r.Final() {
		return keep(r.String())
	} else if r != backlog.RiskNone && !m.force {
		return keep(r.String() + " (see --force)")
	}
	if err := m.connect(w.DB); err != nil {
		return err
	}
	o := m.options
	o.DB, o.Replicas = w.DB, func() []string { return m.node.replicas }
	now := m.app.now().Add(m.node.ahead)
	t := replay.Target{Addr: m.target.addr, RunID: m.node.runID}
	got, err := backlog.Mend(m.app.ctx, m.journal.ID(), w.letter(), o, t, now, m.force)
	switch {
	case errors.Is(err, replay.ErrContested):
		return keep("somebody else sent it at this moment")
	case errors.Is(err, replay.ErrUnreachable):
		return fmt.Errorf("the server's answer was lost; run it again, and it finds out: %w", err)
	case err != nil:
		return err
	case got.Kept != "" && got.Risk != backlog.RiskNone && !m.force:
		return keep(got.Kept + " (see --force)")
	case got.Kept != "":
		return keep(got.Kept)
	}
	m.settled = append(m.settled, w.Seq)
	return errors.Join(m.journal.Record(got.Fate), m.say(w, outcome(got.Fate)))
}

type mendJSON struct {
	Seq   uint64 `json:"seq"`
	State string `json:"state"`
}

func (m *mender) say(w *write, text string) error {
	if m.flags.json {
		return printJSON(m.app.out, mendJSON{w.Seq, text})
	}
	fmt.Fprintf(m.app.out, "%d %s: %s\n", w.Seq, w.names(), text)
	return nil
}

// settle removes the letters that were delivered, after the ledger has them.
func (m *mender) settle() error {
	if err := m.app.ctx.Err(); err != nil {
		return err // the marks on the server remember
	}
	return backlog.Settle(m.app.ctx, m.journal, m.settled...)
}
