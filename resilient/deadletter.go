package resilient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
)

// DeadLetter is a deferred write that a replay could not deliver. It is kept in the
// journal directory, or without one in memory, until somebody has seen to it: with
// [Client.ReplayDeadLetter] when what made it so has been mended, or with
// [Client.DiscardDeadLetter]. It holds no key and no value: see [Client.ReadDeadLetter].
type DeadLetter struct {
	// ID names it for ever: it is the Receipt.ID of the write.
	ID string
	// Accepted is when the write was answered, DB its database.
	Accepted time.Time
	DB       int
	// Commands are the names of its commands, in upper case: several of a transaction.
	Commands []string
	// Reason is why it was not delivered, such as "rejected: WRONGTYPE" or "in doubt".
	Reason string
	// State is what ReplayDeadLetter does with it.
	State DeadLetterState
}

// String is one line for logs.
func (d DeadLetter) String() string {
	return fmt.Sprintf("dead letter %s (%s, accepted %s): %s; %s",
		d.ID, strings.Join(d.Commands, ", "), d.Accepted.UTC().Format(time.RFC3339), d.Reason, d.State)
}

// DeadLetterState says what can be done with a dead letter. The zero value is invalid.
type DeadLetterState uint8

// The states.
const (
	// DeadLetterReady: nothing of it was applied. ReplayDeadLetter sends it.
	DeadLetterReady DeadLetterState = iota + 1
	// DeadLetterWaiting: writes of its journal that were accepted before it wait still.
	// They are replayed first.
	DeadLetterWaiting
	// DeadLetterDoubt: it may have been applied, or others of its commands were, or it is a
	// script that was rejected, which may have written before. Only ForceDeadLetter sends it.
	DeadLetterDoubt
	// DeadLetterUnreadable: this version can't read it. It can be discarded.
	DeadLetterUnreadable
	// DeadLetterDiscarded: an operator has discarded it while it waited. It is not sent any
	// more.
	DeadLetterDiscarded
)

// String is the state in logs, such as "ready".
func (s DeadLetterState) String() string {
	switch s {
	case DeadLetterReady:
		return "ready"
	case DeadLetterWaiting:
		return "waiting"
	case DeadLetterDoubt:
		return "in doubt"
	case DeadLetterUnreadable:
		return "unreadable"
	case DeadLetterDiscarded:
		return "discarded"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// DeadLetterContent is a dead letter with its keys and values.
type DeadLetterContent struct {
	DeadLetter
	// Args are the arguments of each command, its name first.
	Args [][][]byte
	// Text is the reason in full. The server's words in it may quote the write.
	Text string
}

var (
	// ErrNoDeadLetter says that there is no dead letter of that id, or none any more.
	ErrNoDeadLetter = errors.New("resilient: there is no such dead letter")

	// ErrDeadLetterKept says that a dead letter was not delivered, or not discarded, and
	// why: it was rejected again, or may have been applied; writes before it wait; or
	// another process holds its journal.
	ErrDeadLetterKept = errors.New("resilient: the dead letter was kept")
)

// DeadLetters lists the dead letters of this client's journal and of those of the same
// group below Options.Dir, of other processes, living or dead, in the order of their
// acceptance. It reads files. With an error the list holds what could be read.
func (c *Client) DeadLetters(ctx context.Context) ([]DeadLetter, error) {
	var found []DeadLetter
	err := c.post(ctx, nil, func(p *postOffice) error {
		return p.each(func(l *letter) { found = append(found, l.public()) })
	})
	slices.SortStableFunc(found, func(a, b DeadLetter) int { return a.Accepted.Compare(b.Accepted) })
	return found, err
}

// ReadDeadLetter gives a dead letter with its keys and values. The error is
// ErrNoDeadLetter, the context's, or of the file system.
func (c *Client) ReadDeadLetter(ctx context.Context, id string) (DeadLetterContent, error) {
	var content DeadLetterContent
	err := c.post(ctx, []string{id}, func(p *postOffice) error {
		found := false
		err := p.each(func(l *letter) {
			if l.id() == id {
				found = true
				content = DeadLetterContent{DeadLetter: l.public(), Args: l.Args, Text: l.Reason}
			}
		})
		if !found {
			err = errors.Join(fmt.Errorf("%w: %s", ErrNoDeadLetter, id), err)
		}
		return err
	})
	return content, err
}

// ReplayDeadLetter sends dead letters to the present primaries of their keys, one after
// the other, each exactly once: a mark beside the fence, set by the same transaction,
// tells a later call that it was sent, of any process and of journalctl too. It waits
// until the replicas have them, as Options.ReplicaAcks asks, enters into the ledger that
// they were replayed, and removes them. They come after everything that was written
// meanwhile: an old SET may overwrite a newer one. While the letter's keys have
// deferred writes, it waits for these.
//
// The error joins those of all letters that stay: ErrNoDeadLetter, ErrDeadLetterKept
// with the reason, ErrNoPrimary while the shard takes no writes, the context's,
// ErrClosed, or of the network or the file system. It may be called again in any case.
// A transaction is sent as a whole. The letters that stay are written anew by each
// call: name many letters in one.
func (c *Client) ReplayDeadLetter(ctx context.Context, ids ...string) error {
	return c.replayLetters(ctx, ids, false)
}

// ForceDeadLetter is ReplayDeadLetter for letters that it keeps with DeadLetterDoubt, or
// of whose last replay the answer was lost: what was applied of them already is applied
// twice.
func (c *Client) ForceDeadLetter(ctx context.Context, ids ...string) error {
	return c.replayLetters(ctx, ids, true)
}

func (c *Client) replayLetters(ctx context.Context, ids []string, force bool) error {
	return c.post(ctx, ids, func(p *postOffice) error {
		return p.settleEach(ids, func(j *journal.Journal, l *letter) (journal.Fate, error) { return p.mend(j, l, force) })
	})
}

// DiscardDeadLetter ends dead letters without sending them; the ledger says so. The
// error joins those of all letters that stay, as ReplayDeadLetter's does.
func (c *Client) DiscardDeadLetter(ctx context.Context, ids ...string) error {
	return c.post(ctx, ids, func(p *postOffice) error {
		return p.settleEach(ids, func(_ *journal.Journal, l *letter) (journal.Fate, error) {
			if l.waits {
				return journal.Fate{}, kept(l.id(), waitsText)
			}
			return journal.Fate{From: l.Seq, To: l.Seq, Outcome: journal.OutcomeDiscarded, Detail: "discarded by the application"}, nil
		})
	})
}

// post does something about dead letters when it is its turn: one of a client at a time.
func (c *Client) post(ctx context.Context, ids []string, do func(*postOffice) error) error {
	for _, id := range ids {
		if _, _, ok := splitLetterID(id); !ok {
			return fmt.Errorf("%w: %q is no id of one", ErrNoDeadLetter, id)
		}
	}
	home := c.backend.deadLetters()
	f := home.ground()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	select {
	case c.mending <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx, f)
	}
	defer func() { <-c.mending }()
	if ctx.Err() != nil {
		return ended(ctx, f)
	}
	err := do(&postOffice{ctx: ctx, home: home, f: f})
	if err != nil && f.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// ended is why a context of post ended.
func ended(ctx context.Context, f *foundation) error {
	if f.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// letter is a dead letter of one of the journals.
type letter struct {
	*backlog.Letter
	journal string
	waits   bool // writes before it are not replayed
}

func (l *letter) id() string { return letterID(l.journal, l.Seq) }

// letterID is as a receipt's.
func letterID(journal string, seq uint64) string {
	return journal + "-" + strconv.FormatUint(seq, 10)
}

// splitLetterID reads what letterID made.
func splitLetterID(id string) (name string, seq uint64, ok bool) {
	name, number, found := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	_, named := journal.ParseClientID(name)
	return name, seq, found && err == nil && named
}

func (l *letter) public() DeadLetter {
	d := DeadLetter{
		ID: l.id(), Accepted: l.At, DB: l.DB, Commands: l.Names(),
		Reason: backlog.PublicReason(l.Reason), State: DeadLetterReady,
	}
	switch risk := l.Risk(); {
	case risk == backlog.RiskUnreadable:
		d.State = DeadLetterUnreadable
	case risk == backlog.RiskDiscarded:
		d.State = DeadLetterDiscarded
	case l.waits:
		d.State = DeadLetterWaiting
	case risk != backlog.RiskNone:
		d.State = DeadLetterDoubt
	}
	return d
}

func kept(id, why string) error { return fmt.Errorf("%w: %s: %s", ErrDeadLetterKept, id, why) }

const waitsText = "writes that were accepted before it wait still, and are replayed first"
