package resilient

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// transaction sends a MULTI…EXEC as a whole, defers it as a whole, or refuses it
// as a whole.
func (r *router) transaction(ctx context.Context, rt *route, cmds []redis.Cmder) error {
	inner := cmds[1 : len(cmds)-1]
	if err := r.barredAny(ctx, rt, inner); err != nil {
		return failAll(cmds, err)
	}
	for {
		rt, err := r.settleTx(ctx, inner)
		if err != nil {
			return failAll(cmds, err)
		}
		if rt == nil {
			done, err := r.deferTx(ctx, cmds, nil)
			if done {
				return err
			}
			continue // the shard takes it itself after all
		}
		if err := ctx.Err(); err != nil {
			return failAll(cmds, err) // go-redis would not send it either, but not say so
		}
		pipe := rt.write.TxPipeline()
		for _, cmd := range inner {
			_ = pipe.Process(ctx, &once{cmd}) // only queues
		}
		if _, err = pipe.Exec(ctx); err == nil {
			return r.timelyTx(ctx, cmds, rt.since, nil)
		}
		return r.afterTx(ctx, rt, cmds, err)
	}
}

// settleTx returns the live route once no key of the transaction has deferred
// writes, nil when there is none. All of them are looked at in one pass: while one is
// waited for, another may get some.
func (r *router) settleTx(ctx context.Context, inner []redis.Cmder) (*route, error) {
	for {
		rt := r.current()
		if rt.write == nil {
			return nil, nil
		}
		waited := false
		for _, cmd := range inner {
			if r.quiet() {
				break
			}
			q, err := newRequest(ctx, r.side, cmd)
			if err != nil {
				return nil, err
			}
			if _, _, pending := r.pendingOf(q); pending {
				waited = true
				err = r.settleWhole(ctx, q)
			}
			q.free()
			if err != nil {
				return nil, err
			}
		}
		if !waited {
			return rt, nil
		}
	}
}

// deferTx makes one journal entry of a transaction, if every command in it may be
// deferred. cause is the error with which a server declined it, if one did. It is
// not done when the shard turned out to take the transaction itself, or may by now.
func (r *router) deferTx(ctx context.Context, cmds []redis.Cmder, cause error) (done bool, err error) {
	inner := cmds[1 : len(cmds)-1]
	requests := make([]*request, 0, len(inner))
	defer func() {
		for _, q := range requests {
			q.free()
		}
	}()
	for _, cmd := range inner {
		q, err := newRequest(ctx, r.side, cmd)
		if err != nil {
			return true, failAll(cmds, err)
		}
		requests = append(requests, q)
		if err := r.admitTx(ctx, q); err != nil {
			return true, failAll(cmds, r.refuseName("multi", command.ClassTransaction, err, cause))
		}
	}
	if len(requests) == 0 {
		return true, nil
	}
	if err := r.abortTx(ctx, cmds, requests); err != nil {
		return true, err
	}
	w, err := r.newUnit(requests)
	if err != nil {
		return true, failAll(cmds, err)
	}
	out, err := r.commit(ctx, w)
	switch {
	case err == errLive, err == errAgain: //nolint:errorlint // private sentinels, never wrapped
		return false, nil
	case err != nil:
		return true, failAll(cmds, r.refuseName("multi", command.ClassTransaction, err, cause))
	}
	r.deliverTx(ctx, inner, requests, &out)
	if lost := r.awaitCommit(ctx, "multi", command.ClassTransaction, &out); lost != nil {
		again := lost == errNoRoom //nolint:errorlint // a private sentinel, never wrapped
		if again {
			lost = nil
		}
		for _, cmd := range cmds {
			_ = undeliver(cmd, lost) // one error for all
		}
		return !again, lost
	}
	return true, firstError(inner)
}

// abortTx answers a transaction that Redis would discard whole because it does not
// even queue one of the commands: its number of arguments is wrong. nil if there is
// no such command.
func (r *router) abortTx(ctx context.Context, cmds []redis.Cmder, requests []*request) (aborted error) {
	if !slices.ContainsFunc(requests, func(q *request) bool { return !q.spec.ArityAllows(q.args) }) {
		return nil
	}
	discarded := resp.AppendError(nil, "EXECABORT Transaction discarded because of previous errors.")
	for i, cmd := range cmds {
		reply := discarded
		if i > 0 && i <= len(requests) {
			if q := requests[i-1]; !q.spec.ArityAllows(q.args) {
				reply = resp.AppendError(nil, "ERR wrong number of arguments for '"+q.fullName()+"' command")
			}
		}
		aborted = r.side.deliver(ctx, cmd, reply)
	}
	return aborted // of EXEC
}

// admitTx says why a command can't be part of a deferred transaction.
func (r *router) admitTx(ctx context.Context, q *request) error {
	if q.spec == nil {
		return errTxCommand
	}
	if q.class() == command.ClassRead {
		if !q.spec.Served() || r.lacks(q) {
			return errTxCommand
		}
		return nil
	}
	if err := r.rule(ctx, q); err != nil {
		return err
	}
	if q.decision.reply != nil || !r.deferrable(q) || q.class() == command.ClassPublish {
		return errTxCommand
	}
	return nil
}

// deliverTx gives each command of a deferred transaction its reply.
func (r *router) deliverTx(ctx context.Context, inner []redis.Cmder, requests []*request, out *outcome) {
	from := 0
	for i, cmd := range inner {
		end := len(out.reply)
		if out.ends != nil {
			end = out.ends[i]
		}
		one := outcome{reply: out.reply[from:end], ticket: out.ticket}
		_ = r.deliver(ctx, cmd, requests[i], &one) // its error is the command's
		from = end
	}
}

// afterTx judges a transaction that came back with an error.
func (r *router) afterTx(ctx context.Context, rt *route, cmds []redis.Cmder, err error) error {
	f := faultOfTx(cmds[1:len(cmds)-1], err)
	if f == faultNone || f == faultBusy {
		return r.timelyTx(ctx, cmds, rt.since, err)
	}
	r.signal(rt.view.Primary.Addr, f, err)
	if f.ambiguous() {
		return failAll(cmds, r.doubt(ctx, "multi", command.ClassTransaction, err))
	}
	for _, cmd := range cmds {
		cmd.SetErr(nil)
	}
	if r.current().write == nil {
		done, err := r.deferTx(ctx, cmds, err)
		if !done { // declined it was, so that it may be sent again
			return r.transaction(ctx, r.current(), cmds)
		}
		return err
	}
	return failAll(cmds, r.refuseName("multi", command.ClassTransaction, ErrNoPrimary, err))
}

// faultOfTx sorts the error of a transaction. A reply is only a fault when it
// says that nothing was executed, EXECABORT: else it is the reply of one of the
// commands, and the others were executed.
func faultOfTx(inner []redis.Cmder, err error) fault {
	if !isReply(err) {
		return faultOf(err)
	}
	if !redis.IsExecAbortError(err) {
		return faultNone
	}
	for _, cmd := range inner {
		// Refused while queueing: the server's reason is with the command.
		if faultOf(cmd.Err()) == faultNotWritable {
			return faultNotWritable
		}
	}
	return faultOf(err)
}
