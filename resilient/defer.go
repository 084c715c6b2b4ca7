package resilient

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

var (
	// errLive says that the shard takes the command itself after all.
	errLive = errors.New("resilient: the shard is live")
	// errMoved says that the topology changed while a write was being applied.
	errMoved = errors.New("resilient: the topology changed")

	// The kinds of refusal that callers need not tell apart from others by value.
	errPendingKey  = fmt.Errorf("%w: of its key", ErrPendingWrites)
	errPendingKeys = fmt.Errorf("%w: of any key", ErrPendingWrites)
	errOvertaken   = fmt.Errorf("%w: a later write of the pipeline was taken", ErrNoPrimary)
)

// accept answers a command from the overlay and enqueues a write in the
// journal: under the locks of its keys it is applied, takes its place in the
// order and is enqueued. The caller of a write may hear the reply only once the
// ticket is durable; without a sequence it is so from the start.
//
// errLive means that the command is to be forwarded. Other errors are refusals:
// nothing was changed.
func (r *router) accept(ctx context.Context, q *request) ([]byte, journal.Ticket, error) {
	if !q.spec.MayWrite() {
		res, err := r.overlay.Read(ctx, overlay.Request{DB: r.db, Args: q.args})
		switch {
		case errors.Is(err, overlay.ErrNotHeld):
			return nil, journal.Ticket{}, errLive
		case err != nil:
			return nil, journal.Ticket{}, overlayError(err)
		case !res.Exact:
			// This process's own writes alone: a field it never wrote would look
			// as if it did not exist.
			return nil, journal.Ticket{}, ErrBaseUnknown
		}
		return overlay.AppendReply(nil, res.Reply, r.proto), journal.Ticket{}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, journal.Ticket{}, err // as go-redis, which then sends nothing
	}
	r.deferring.Add(1)
	defer r.deferring.Add(-1)
	args, err := command.Canonical(q.args, r.now())
	var rejected command.ReplyError
	if errors.As(err, &rejected) {
		return resp.AppendError(nil, string(rejected)), journal.Ticket{}, nil
	}
	if err != nil {
		return nil, journal.Ticket{}, err
	}
	body := q.body
	if len(args) != len(q.args) || &args[0] != &q.args[0] {
		body = resp.AppendCommand(nil, args...)
	}
	for {
		reply, ticket, err := r.apply(ctx, args, body)
		if err != errMoved { //nolint:errorlint // a private sentinel, never wrapped
			return reply, ticket, err
		}
	}
}

// apply is one attempt of accept at a write. It fails with errMoved when the
// topology changed on the way: then the bases may be another time's, and the
// write may belong to the network again.
func (r *router) apply(ctx context.Context, args [][]byte, body []byte) ([]byte, journal.Ticket, error) {
	rt := r.current()
	var ticket journal.Ticket
	res, err := r.overlay.Write(ctx, overlay.Request{
		DB:       r.db,
		Args:     args,
		OnlyHeld: rt.write != nil,
		Commit: func(effect overlay.Effect) (uint64, error) {
			if r.monitor.View().Epoch != rt.view.Epoch {
				return 0, errMoved
			}
			var err error
			ticket, err = r.journal.Append(newRecord(r.db, args, body, effect))
			return ticket.Seq(), err
		},
	})
	switch {
	case errors.Is(err, errMoved), err == nil && res.Seq == 0 && r.monitor.View().Epoch != rt.view.Epoch:
		return nil, journal.Ticket{}, errMoved
	case errors.Is(err, overlay.ErrNotHeld):
		return nil, journal.Ticket{}, errLive
	case errors.Is(err, journal.ErrFailed):
		r.failed()
		return nil, journal.Ticket{}, ErrJournalFailed
	case err != nil:
		return nil, journal.Ticket{}, overlayError(err)
	}
	return overlay.AppendReply(nil, res.Reply, r.proto), ticket, nil
}

// awaitCommit waits until an accepted write is as durable as the options ask.
func (r *router) awaitCommit(ctx context.Context, name string, class command.Class, ticket journal.Ticket) error {
	if ticket.Seq() == 0 {
		return nil // nothing was written
	}
	err := ticket.Wait(ctx)
	if err == nil {
		r.stats.deferred.Add(1)
		r.overlay.Durable(ticket.Seq())
		r.accepted()
		return nil
	}
	if ctx.Err() == nil {
		r.failed() // the journal's, not the caller's
	}
	if errors.Is(err, journal.ErrInDoubt) {
		return r.doubt(name, class, err)
	}
	return r.refuseName(name, class, overlayError(err), err)
}

// overlayError turns the errors of the overlay, and those of the journal that
// come through it, into this package's.
func overlayError(err error) error {
	for _, e := range []struct{ inner, outer error }{
		{journal.ErrFull, ErrJournalFull},
		{journal.ErrTooBig, ErrJournalFull},
		{journal.ErrClosed, ErrClosed},
		{journal.ErrFailed, ErrJournalFailed},
		{overlay.ErrFull, ErrOverlayFull},
		{overlay.ErrKeyTooBig, ErrKeyTooBig},
		{overlay.ErrBaseUnknown, ErrBaseUnknown},
	} {
		if errors.Is(err, e.inner) {
			return e.outer
		}
	}
	return err
}
