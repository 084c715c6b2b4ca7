package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/resp"
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

// risk says why sending a letter again might apply something twice; empty: nothing
// of it was applied.
func risk(w *write) string {
	switch {
	case w.err != nil:
		return "it can't be read"
	case strings.HasPrefix(w.Reason, replay.ReasonInDoubt.String()):
		return "it may have been applied"
	case len(w.commands) > 1 && strings.HasPrefix(w.Reason, replay.ReasonRejected.String()):
		return "its other commands were applied"
	}
	return ""
}

func (a *app) dryDead(f *flags, v *journal.View, seqs seqRange) error {
	found, err := letters(v.DeadLetters, seqs)
	if err != nil {
		return err
	}
	t := newTable(a.out, "SEQ", "ACCEPTED", "COMMANDS", "KEYS", "REASON", "SENT")
	for _, w := range found {
		if f.json {
			if err := printJSON(a.out, w.json(v, f.values)); err != nil {
				return err
			}
			continue
		}
		sent := "yes"
		if r := risk(w); r != "" {
			sent = "only with --force: " + r
		}
		if w.Seq > v.Trimmed() {
			sent = "no: replay the journal first"
		}
		t.row(w.Seq, a.clock(w.At), w.names(), w.keyList(digesterOf(v), f.values), reasonOf(w.Reason, f.values), sent)
	}
	if len(found) == 0 {
		fmt.Fprintln(a.err, "there are no such dead letters")
		return errFound
	}
	if f.json {
		return nil
	}
	return t.Flush()
}

// replayDead sends dead letters, each in a transaction of its own with a mark, so
// that a letter of which the answer was lost is not applied twice.
func (a *app) replayDead(f *flags, path string, t *target, seqs seqRange, force bool) (err error) {
	j, err := adopt(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	found, err := letters(j.DeadLetters, seqs)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintln(a.err, "there are no such dead letters")
		return errFound
	}
	m := &mender{app: a, flags: f, journal: j, target: t, force: force}
	defer m.close()
	var sendErr error
	for _, w := range found {
		if sendErr = m.mend(w); sendErr != nil {
			break
		}
	}
	// What was sent is settled also where a later one failed.
	if err := errors.Join(sendErr, m.settle()); err != nil {
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
	if r := risk(w); w.err != nil || r != "" && !m.force {
		return keep(r + " (see --force)")
	}
	if w.Seq > m.journal.Stats().Trimmed {
		return keep("writes before it still wait: replay the journal first")
	}
	if err := m.connect(w.DB); err != nil {
		return err
	}
	form := backlog.FormOf(w.record, m.app.now().Add(m.node.ahead))
	switch form.Kind {
	case backlog.KindUseless: // that is what is being overruled
		form.Commands = w.encoded
	case backlog.KindUnreadable:
		return keep("it can't be read")
	case backlog.KindWrite, backlog.KindRestore, backlog.KindExpired:
	}
	why, err := m.deliver(w, form.Commands)
	switch {
	case err != nil:
		return err
	case why != "":
		return keep(why)
	}
	fate := journal.Fate{
		From: w.Seq, To: w.Seq, Outcome: journal.OutcomeReplayed, Mended: true,
		RunID: m.node.runID, ReplID: m.node.replID,
	}
	if form.Kind == backlog.KindExpired {
		fate.Outcome = journal.OutcomeExpired
	}
	m.settled = append(m.settled, w.Seq)
	return errors.Join(m.journal.Record(fate), m.say(w, outcome(fate)))
}

// markTTL is how long the mark of a letter stays on the server.
const markTTL = replay.DefaultFenceTTL

// deliver executes the commands and sets the mark, at once, unless the mark is
// there. why is a refusal of the server; nothing of the letter was applied then,
// unless it says otherwise.
func (m *mender) deliver(w *write, commands [][]byte) (why string, err error) {
	mark := fmt.Sprintf("%s:dead:%d", replay.FenceKey(m.journal.ID().String()), w.Seq)
	b := resp.AppendCommandStrings(nil, "WATCH", mark)
	values, err := m.server.send(resp.AppendCommandStrings(b, "EXISTS", mark), 2)
	if err != nil {
		return "", err
	}
	if values[0].IsError() || values[1].IsError() {
		return "the server refuses WATCH and EXISTS of " + replay.FenceKey("…") + ": " + codeOf(values[1]), nil
	}
	if values[1].Int == 1 {
		return "", nil // sent before; the answer was lost
	}
	n := len(commands)
	b = append(resp.AppendCommandStrings(nil, "MULTI"), bytes.Join(commands, nil)...)
	b = resp.AppendCommandStrings(b, "SET", mark, "1", "PX", fmt.Sprint(int64(markTTL/time.Millisecond)))
	if values, err = m.server.send(resp.AppendCommandStrings(b, "EXEC"), n+3); err != nil {
		return "", fmt.Errorf("the server's answer was lost; run it again, and it finds out: %w", err)
	}
	exec := values[n+2]
	switch {
	case values[0].IsError():
		return "", fmt.Errorf("the server refuses MULTI: %s", codeOf(values[0]))
	case exec.IsError():
		for _, v := range values[1 : n+1] {
			if v.IsError() {
				return "refused: " + codeOf(v), nil
			}
		}
		return "refused: " + codeOf(exec), nil
	case len(exec.Elems) != n+1:
		return "somebody else sent it at this moment", nil
	}
	failed, code := 0, ""
	for _, v := range exec.Elems[:n] {
		if v.IsError() {
			failed, code = failed+1, codeOf(v)
		}
	}
	if failed == 0 {
		return "", nil
	}
	if failed < n {
		return fmt.Sprintf("%d of %d commands were rejected: %s; the others were applied", failed, n, code), nil
	}
	// Nothing was applied, so a further attempt may try again.
	if v, err := m.server.ask("DEL", mark); err != nil || v.IsError() {
		return "rejected: " + code + "; its mark could not be removed", err
	}
	return "rejected: " + code, nil
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
	if len(m.settled) == 0 {
		return nil
	}
	ctx := m.app.ctx
	if ctx.Err() != nil {
		return ctx.Err() // the marks on the server remember
	}
	if err := m.journal.Sync(ctx); err != nil {
		return err
	}
	return m.journal.SettleDead(ctx, m.settled...)
}
