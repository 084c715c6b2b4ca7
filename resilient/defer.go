package resilient

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

var (
	// errLive says that the shard takes the command itself after all.
	errLive = errors.New("resilient: the shard is live")
	// errMoved says that the topology changed while a write was being applied.
	errMoved = errors.New("resilient: the topology changed")
	// errNoRoom says that the write is to wait for room in the journal.
	errNoRoom = errors.New("resilient: no room in the journal yet")
	// errAgain says that the write is to be decided anew: nothing of it is anywhere.
	errAgain = errors.New("resilient: the write is to be decided anew")

	// errElsewhere says that the write belongs to another shard by now.
	errElsewhere = fmt.Errorf("%w: its slot has just moved to another shard", ErrNoPrimary)

	errAstride = fmt.Errorf("%w: its keys belong to several shards", ErrNoPrimary)

	// The kinds of refusal that callers need not tell apart from others by value.
	errPendingKey   = fmt.Errorf("%w: of its key", ErrPendingWrites)
	errPendingKeys  = fmt.Errorf("%w: of any key", ErrPendingWrites)
	errOvertaken    = fmt.Errorf("%w: a later write of the pipeline was taken", ErrNoPrimary)
	errRuled        = fmt.Errorf("%w: a rule refuses it", ErrNoPrimary)
	errUnseenReply  = fmt.Errorf("%w: its reply can't be made here", ErrNoPrimary)
	errPolicyPanic  = fmt.Errorf("%w: the policy panicked", ErrNoPrimary)
	errTxCommand    = fmt.Errorf("%w: one of its commands can't be deferred", ErrNoPrimary)
	errNotDeferable = fmt.Errorf("%w: this form of it can't be deferred", ErrNoPrimary)
)

// outcome is the local answer to one command or one transaction.
type outcome struct {
	reply  []byte // one encoded reply a command
	ends   []int  // of a transaction: where in reply each one's ends
	ticket journal.Ticket
	exact  bool
}

// accept answers a command from the overlay and enqueues a write in the
// journal: under the locks of its keys it is applied, takes its place in the
// order and is enqueued. The caller of a write may hear the reply only once the
// ticket is durable; without a sequence it is so from the start.
//
// errLive means that the command is to be forwarded, errAgain that what it was
// decided by has changed while it waited. Other errors are refusals. Nothing was
// changed with any of them.
func (r *router) accept(ctx context.Context, q *request) (outcome, error) {
	if !r.writes(q) {
		return r.readBlocking(ctx, q)
	}
	w, err := r.newWrite(ctx, q)
	if err != nil {
		return outcome{}, err
	}
	return r.commit(ctx, w)
}

// writes reports whether a command that is answered here goes into the journal:
// some commands write in one form and read in another.
func (r *router) writes(q *request) bool {
	return q.spec.MayWrite() && (q.class() != command.ClassRead || q.decision.action == actionDefer)
}

// readLocal answers a read of keys with deferred writes.
func (r *router) readLocal(ctx context.Context, q *request) (outcome, error) {
	res, err := r.overlay.Read(ctx, overlay.Request{
		DB: r.db, Proto: r.proto, Commands: []overlay.Command{{Args: q.args, Keys: q.idx}},
		Unheld: q.looksFurther(),
	})
	switch {
	case errors.Is(err, overlay.ErrNotHeld):
		return outcome{}, errLive
	case errors.Is(err, overlay.ErrNotServed):
		return outcome{}, errPendingKey
	case err != nil:
		return outcome{}, overlayError(err)
	case !res.Exact:
		// This process's own writes alone: a field it never wrote would look
		// as if it did not exist.
		return outcome{}, ErrBaseUnknown
	}
	return outcome{reply: res.Reply, exact: true}, nil
}

// commit applies a write and enqueues it. Where the options say so it waits for room
// in the journal: without a lock, and without standing in the way of others. When
// there may be another way for it meanwhile, the error is errAgain.
func (r *router) commit(ctx context.Context, w *write) (outcome, error) {
	w.trace = traceOf(ctx)
	for {
		view := r.monitor.View()
		out, err := r.tryCommit(ctx, w)
		if err != errNoRoom { //nolint:errorlint // a private sentinel, never wrapped
			return out, err
		}
		if err := r.awaitRoom(ctx, w.size, view); err != nil {
			return outcome{}, err
		}
	}
}

// awaitRoom waits until the journal may take a record of that size. It gives up with
// errAgain when the topology is not that of the view any more: a disk that is full
// has room again whenever it likes, and a primary that is back takes the write
// itself. While the shard is live the key is looked at again every moment, since its
// release is told to nobody here.
func (r *router) awaitRoom(ctx context.Context, size int64, view *topology.View) error {
	wait, cancel := context.WithCancel(ctx)
	if view.Live {
		cancel()
		wait, cancel = context.WithTimeout(ctx, settleTick)
	}
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		_, _ = r.monitor.Wait(wait, func(v *topology.View) bool { return v.Epoch != view.Epoch }) // or the end of it
		cancel()
	}()
	err := r.journal.AwaitRoom(wait, size)
	given := wait.Err() != nil && ctx.Err() == nil
	cancel()
	<-moved
	switch {
	case err == nil:
		return nil
	case r.current().closed:
		return ErrClosed
	case given && errors.Is(err, journal.ErrFull):
		return errAgain
	}
	return withCause(overlayError(err), ctx.Err())
}

// tryCommit is commit, but for the waiting.
func (r *router) tryCommit(ctx context.Context, w *write) (outcome, error) {
	if err := ctx.Err(); err != nil {
		return outcome{}, err // as go-redis, which then sends nothing
	}
	r.deferring.Add(1)
	defer r.deferring.Add(-1)
	now := r.now()
	if err := w.canonical(now); err != nil {
		return outcome{}, err
	}
	for at := now.UnixMilli(); ; at = 0 {
		out, err := r.apply(ctx, w, at)
		if err != errMoved { //nolint:errorlint // a private sentinel, never wrapped
			return out, err
		}
	}
}

// apply is one attempt of commit. It fails with errMoved when the topology
// changed on the way: then the bases may be another time's, and the write may
// belong to the network again. now is the shard's time in Unix milliseconds, or 0
// where the overlay is to read it.
func (r *router) apply(ctx context.Context, w *write, now int64) (outcome, error) {
	rt := r.current()
	if err := r.mayDefer(rt); err != nil {
		return outcome{}, err
	}
	out := outcome{exact: !w.estimated && !rt.partitioned()}
	res, err := r.overlay.Write(ctx, overlay.Request{
		DB:       r.db,
		Proto:    r.proto,
		Commands: w.commands,
		Now:      now,
		OnlyHeld: rt.write != nil && !w.strained,
		Commit: func(effect *overlay.Effect) (uint64, error) {
			if r.committing != nil {
				r.committing()
			}
			if r.monitor.View().Epoch != rt.view.Epoch {
				return 0, errMoved
			}
			rec := w.record(r.db, r.proto, effect)
			w.size = int64(len(rec.Meta) + len(rec.Body))
			if r.mine != nil && !r.mine(w.lane) {
				return 0, errElsewhere
			}
			var err error
			out.ticket, err = r.journal.Append(rec)
			if err == nil {
				r.taken.Add(1)
			}
			if err == nil && r.note != nil {
				r.note(out.ticket.Seq(), w.lane)
			}
			return out.ticket.Seq(), err
		},
	})
	switch {
	case errors.Is(err, errMoved), err == nil && res.Seq == 0 && r.monitor.View().Epoch != rt.view.Epoch:
		return outcome{}, errMoved
	case errors.Is(err, overlay.ErrNotHeld):
		return outcome{}, errLive
	case errors.Is(err, journal.ErrFailed):
		r.failed()
		return outcome{}, ErrJournalFailed
	case r.blocks && errors.Is(err, journal.ErrFull):
		return outcome{}, errNoRoom
	case err != nil:
		return outcome{}, overlayError(err)
	case res.Seq == 0 && !res.Exact:
		// Nothing is deferred that would make an estimate worth its while: it is a
		// transaction that only reads, and as good as a read by itself.
		return outcome{}, ErrBaseUnknown
	}
	out.reply, out.ends = res.Reply, res.Ends
	out.exact = out.exact && res.Exact
	if w.reply != nil {
		out.reply, out.ends = w.reply, nil
	}
	return out, nil
}

// awaitCommit waits until an accepted write is as durable as the options ask. The
// error is errNoRoom when the disk turned out to be full, nothing of the write is
// anywhere, and the options let it wait.
func (r *router) awaitCommit(ctx context.Context, name string, class command.Class, out *outcome) error {
	if out.ticket.Seq() == 0 {
		return nil // nothing was written
	}
	err := out.ticket.Wait(ctx)
	if err == nil {
		r.stats.deferred.Add(1)
		r.overlay.Durable(out.ticket.Seq())
		receiptOf(ctx).deferred(r.client, out.ticket.Seq(), out.exact, r.durability, r.replayed)
		r.accepted()
		return nil
	}
	if ctx.Err() == nil {
		r.failed() // the journal's, not the caller's
	}
	if errors.Is(err, journal.ErrInDoubt) {
		return r.doubt(ctx, name, class, err)
	}
	if r.blocks && errors.Is(err, journal.ErrFull) {
		return errNoRoom
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
		{overlay.ErrUnseen, errPendingKey}, // may be the reason of ErrBaseUnknown
		{overlay.ErrBaseUnknown, ErrBaseUnknown},
		{overlay.ErrPromised, ErrPromisedID},
		{overlay.ErrNotServed, errNotDeferable},
	} {
		if errors.Is(err, e.inner) {
			return e.outer
		}
	}
	return err
}
