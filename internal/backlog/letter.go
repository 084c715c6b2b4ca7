package backlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// Letter is a dead letter, read from its record. It owns its bytes.
type Letter struct {
	journal.DeadLetter
	// Err says that it can't be read. Nothing of what follows is there then.
	Err error
	// Entry is the record's content.
	Entry entry.Entry
	// Encoded are the commands of the write, Args their arguments: at least a name.
	Encoded [][]byte
	Args    [][][]byte
	// Keys are the keys that they name.
	Keys [][]byte
}

// ReadLetter decodes a dead letter.
func ReadLetter(d journal.DeadLetter) *Letter {
	d.Meta, d.Body = bytes.Clone(d.Meta), bytes.Clone(d.Body)
	l := &Letter{DeadLetter: d}
	if l.Entry, l.Err = entry.Parse(d.Meta, d.Body); l.Err != nil {
		return l
	}
	l.Err = entry.EachCommand(l.Entry.Write, func(cmd []byte, args [][]byte) error {
		l.Encoded, l.Args = append(l.Encoded, cmd), append(l.Args, args)
		keys, err := command.Lookup(string(args[0])).AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
		if err != nil {
			return nil // its keys can't be told
		}
		for _, i := range keys {
			l.Keys = append(l.Keys, args[i])
		}
		return nil
	})
	return l
}

// Names are the names of the commands, in upper case. What is not in the table is
// "(unknown)": it could be a value that got there by mistake.
func (l *Letter) Names() []string {
	names := make([]string, 0, len(l.Args))
	for _, args := range l.Args {
		name := "(unknown)"
		if command.Lookup(string(args[0])) != nil {
			name = strings.ToUpper(string(args[0]))
		}
		names = append(names, name)
	}
	return names
}

// Risk is why sending a letter again might apply something twice. The zero value is
// that it does not: nothing of it was applied.
type Risk uint8

// The risks.
const (
	RiskNone Risk = iota
	// RiskDoubt: it may have been applied.
	RiskDoubt
	// RiskPart: its other commands were, or may have been, applied.
	RiskPart
	// RiskHalfway: it was rejected, and may have written before: a script's writes stay.
	RiskHalfway
	// RiskUnreadable: it can't be read, and so never be sent.
	RiskUnreadable
	// RiskDiscarded: an operator has discarded it while it waited. It is never sent, and
	// stays for what its ledger entry says.
	RiskDiscarded
)

var riskTexts = [...]string{
	"", "it may have been applied", "its other commands were applied", "it may have written before it was rejected", "it can't be read",
	"it was discarded",
}

// ReasonDiscarded is the reason of a letter that an operator has discarded.
const ReasonDiscarded = "discarded by an operator"

// Final reports whether such a letter is never sent.
func (r Risk) Final() bool { return r == RiskUnreadable || r == RiskDiscarded }

// String says it in words; empty for none.
func (r Risk) String() string {
	if int(r) < len(riskTexts) {
		return riskTexts[r]
	}
	return fmt.Sprintf("risk(%d)", uint8(r))
}

// Risk is what is known of a letter without asking a server. What an earlier attempt to
// deliver it has left, Mend finds out.
func (l *Letter) Risk() Risk {
	switch {
	case l.Err != nil:
		return RiskUnreadable
	case l.Reason == ReasonDiscarded:
		return RiskDiscarded
	case strings.HasPrefix(l.Reason, replay.ReasonInDoubt.String()):
		return RiskDoubt
	case !strings.HasPrefix(l.Reason, replay.ReasonRejected.String()):
	case len(l.Args) > 1:
		return RiskPart
	case l.halfway():
		return RiskHalfway
	}
	return RiskNone
}

// halfway reports whether a command of it that fails may have written before: a script, or
// one of which nothing is known. The writes of other commands are all or nothing.
func (l *Letter) halfway() bool {
	return slices.ContainsFunc(l.Args, func(args [][]byte) bool {
		class := command.Lookup(string(args[0])).Class(args)
		return class == command.ClassScript || class == command.ClassUnknown
	})
}

// PublicReason is a dead letter's reason without the server's words, which may quote the
// write: of a rejection the error's code.
func PublicReason(reason string) string {
	text, rejected := strings.CutPrefix(reason, replay.ReasonRejected.String()+": ")
	if !rejected {
		return reason
	}
	return replay.ReasonRejected.String() + ": " + replay.CodeOf(text)
}

// Mending is how Mend ended.
type Mending struct {
	// Kept is why the letter stays; empty: it was delivered, or nothing was left to do,
	// and Fate is for the ledger.
	Kept string
	// Risk says that it stays for that, and would be sent with force.
	Risk Risk
	Fate journal.Fate
}

// Mend delivers a letter of the journal to a primary, in the form that it has at now,
// the server's time. With force also one that may be applied twice by it. The error is
// replay.Deliver's; another letter may be tried after ErrDeclined and ErrContested. The
// ledger and the letter's removal are the caller's.
func Mend(
	ctx context.Context, client journal.ClientID, l *Letter, o replay.Options, t replay.Target, now time.Time, force bool,
) (Mending, error) {
	risk := l.Risk()
	if risk.Final() || risk != RiskNone && !force {
		return Mending{Kept: risk.String(), Risk: risk}, nil
	}
	form := FormOf(l.Record, now)
	switch form.Kind {
	case KindUseless: // that is what is being overruled
		form.Commands, form.Repeatable = l.Encoded, l.Entry.Repeatable
	case KindUnreadable:
		return Mending{Kept: RiskUnreadable.String(), Risk: RiskUnreadable}, nil
	case KindWrite, KindRestore, KindExpired:
	}
	fate := journal.Fate{From: l.Seq, To: l.Seq, Outcome: journal.OutcomeReplayed, Mended: true}
	if form.Kind == KindExpired {
		fate.Outcome = journal.OutcomeExpired
	}
	if len(form.Commands) == 0 {
		return Mending{Fate: fate}, nil
	}
	var key []byte
	if len(l.Keys) > 0 {
		key = l.Keys[0]
	}
	done, err := replay.Deliver(ctx, o, t, replay.Letter{
		Mark: replay.MarkOf(client.String(), l.Seq, key), Commands: form.Commands, Again: force || form.Repeatable,
		Halfway: l.halfway(),
	})
	switch {
	case errors.Is(err, replay.ErrTried):
		return Mending{Kept: "an earlier attempt may have applied it: its answer was lost", Risk: RiskDoubt}, nil
	case err != nil:
		return Mending{}, err
	case done.Halfway:
		return Mending{Kept: "rejected: " + done.Code + "; " + RiskHalfway.String(), Risk: RiskHalfway}, nil
	case done.Failed == len(form.Commands):
		return Mending{Kept: "rejected: " + done.Code}, nil
	case done.Failed > 0:
		return Mending{
			Kept: fmt.Sprintf("%d of %d commands were rejected: %s; the others were applied", done.Failed, len(form.Commands), done.Code),
			Risk: RiskPart,
		}, nil
	}
	fate.RunID, fate.ReplID = done.RunID, done.ReplID
	if !done.Confirmed && fate.Outcome == journal.OutcomeReplayed {
		fate.Outcome = journal.OutcomeUnconfirmed
	}
	return Mending{Fate: fate}, nil
}

// Settle ends letters of a journal whose fates have been recorded: the ledger is on the
// disk before the letters go.
func Settle(ctx context.Context, j *journal.Journal, seqs ...uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	if err := j.Sync(ctx); err != nil {
		return err
	}
	return j.SettleDead(ctx, seqs...)
}

// Letters calls yield with the dead letters that each, such as Journal.DeadLetters,
// gives, until it returns false.
func Letters(each func(func(journal.DeadLetter) bool) error, yield func(*Letter) bool) error {
	return each(func(d journal.DeadLetter) bool { return yield(ReadLetter(d)) })
}
