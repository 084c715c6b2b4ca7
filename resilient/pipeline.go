package resilient

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// pipeline is the way of a pipeline or a transaction. It is the innermost
// pipeline hook of the facade.
func (r *router) pipeline(ctx context.Context, cmds []redis.Cmder) error {
	if len(cmds) == 0 {
		return nil
	}
	rt := r.current()
	if rt.closed {
		return failAll(cmds, ErrClosed)
	}
	if isTx(cmds) {
		return r.transaction(ctx, rt, cmds)
	}
	if err := r.barredAny(ctx, rt, cmds); err != nil {
		return failAll(cmds, err)
	}
	if rt.write != nil && r.quiet() {
		r.forwardBatch(ctx, rt, cmds)
		return firstError(cmds)
	}
	return r.pipelineSlow(ctx, cmds)
}

// isTx tells a transaction by the commands that go-redis itself puts around it;
// a MULTI of the application's own is of another type.
func isTx(cmds []redis.Cmder) bool {
	_, multi := cmds[0].(*redis.StatusCmd)
	_, exec := cmds[len(cmds)-1].(*redis.SliceCmd)
	return multi && exec && cmds[0].Name() == "multi" && cmds[len(cmds)-1].Name() == "exec"
}

// barredAny refuses a pipeline that holds a command that can't be let through:
// what follows it could depend on it.
func (r *router) barredAny(ctx context.Context, rt *route, cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		if err := r.barred(ctx, rt, cmd, command.Lookup(cmd.Name())); err != nil {
			return err
		}
	}
	return nil
}

// forwardBatch sends commands to the primary in one round trip, and decides for
// each one that came back with an error what becomes of it.
func (r *router) forwardBatch(ctx context.Context, rt *route, cmds []redis.Cmder) {
	if err := ctx.Err(); err != nil {
		_ = failAll(cmds, err) // go-redis would not send it either, but not say so
		return
	}
	pipe := rt.write.Pipeline()
	for _, cmd := range cmds {
		if spec := command.Lookup(cmd.Name()); spec == nil || spec.MayWrite() {
			cmd = &once{cmd} // one of them keeps go-redis from repeating the whole
		}
		_ = pipe.Process(ctx, cmd) // only queues
	}
	_, err := pipe.Exec(ctx)
	r.afterExec(ctx, rt, cmds, rt.since, err)
}

// afterExec is what follows on a batch that was sent to the primary. Of the writes that
// it declined some may be deferred now, which passes none of those that it took.
func (r *router) afterExec(ctx context.Context, rt *route, cmds []redis.Cmder, since moment, err error) {
	late := r.belated(ctx, cmds, since)
	if err != nil {
		r.afterBatches(ctx, rt, cmds)
	}
	for _, cmd := range late {
		_ = r.doubtBelated(ctx, cmd) // its error is the command's
	}
}

// afterBatches decides for each command of a batch that came back with an error what
// becomes of it.
func (r *router) afterBatches(ctx context.Context, rt *route, cmds []redis.Cmder) {
	r.refuseOvertaken(ctx, cmds)
	lost := false // a write of this batch has not reached the primary
	for _, cmd := range cmds {
		lost = r.afterBatch(ctx, rt, cmd, lost) || lost
	}
}

// refuseOvertaken refuses the writes of a batch that were declined while a later
// one on the same key was taken, or may have been: when the server became a
// primary in the middle of it. Deferred or sent again now, the earlier write
// would undo the later one.
func (r *router) refuseOvertaken(ctx context.Context, cmds []redis.Cmder) {
	taken := map[string]bool{}
	any := false // a write on keys that can't be told
	for _, cmd := range slices.Backward(cmds) {
		spec := command.Lookup(cmd.Name())
		if spec != nil && !spec.MayWrite() {
			continue
		}
		q, err := newRequest(ctx, r.side, cmd)
		if err != nil {
			continue // it could not be sent either
		}
		f := r.faultOf(cmd.Err())
		// What a script answers proves nothing of what it did.
		declined := f == faultUnsent || (f == faultNotWritable || f == faultOverload) && q.class() != command.ClassScript
		overtaken := any && len(q.keys) == 0
		for _, key := range q.keys {
			overtaken = overtaken || any || taken[string(key)]
			if !declined {
				taken[string(key)] = true
			}
		}
		if declined && overtaken {
			_ = fail(cmd, r.refuse(q, errOvertaken, cmd.Err()))
		}
		any = any || !declined && len(q.keys) == 0 && !q.malformed
		q.free()
	}
}

// afterBatch decides what becomes of one command of a batch. It reports whether
// it was a write that the primary didn't take: reads behind it in the batch saw
// a server without that write, and are answered again.
func (r *router) afterBatch(ctx context.Context, rt *route, cmd redis.Cmder, lost bool) bool {
	err := cmd.Err()
	f := r.faultOf(err)
	spec := command.Lookup(cmd.Name())
	if refused := (*CommandError)(nil); errors.As(err, &refused) {
		if overloadOf(err) != topology.OverloadNone {
			r.strain(rt.view.Primary.Addr, err)
		} else {
			r.signal(rt.view.Primary.Addr, faultNotWritable, err)
		}
		return true
	}
	if spec != nil && !spec.MayWrite() {
		if f != faultNone && r.current().closed {
			_ = fail(cmd, ErrClosed)
		} else if lost || f == faultNotWritable || f == faultUnsent {
			cmd.SetErr(nil)
			_ = r.processSlow(ctx, cmd, spec) // its error is the command's
		}
		return false
	}
	if f == faultNone || f == faultBusy {
		r.strain(rt.view.Primary.Addr, err)
		return false
	}
	r.signal(rt.view.Primary.Addr, f, err)
	if f.ambiguous() {
		q, encErr := newRequest(ctx, r.side, cmd)
		if encErr != nil {
			return false
		}
		defer q.free()
		// Even a harmless repetition could overtake what follows in the batch.
		_ = fail(cmd, r.doubt(ctx, q.name, q.class(), err))
		return false
	}
	_ = r.afterWrite(ctx, cmd, rt, err) // its error is the command's
	return true
}

// pipelineSlow decides each command by itself, in order. Neighbours that are
// forwarded share a round trip.
func (r *router) pipelineSlow(ctx context.Context, cmds []redis.Cmder) error {
	p := slowPipeline{router: r}
	for _, cmd := range cmds {
		p.take(ctx, cmd)
	}
	p.flush(ctx)
	for _, a := range p.answered {
		err := r.awaitCommit(ctx, a.cmd.Name(), a.class, &a.out)
		if err == errNoRoom { //nolint:errorlint // a private sentinel, never wrapped
			// It can't wait: a later command of the pipeline may have been taken.
			err = r.refuseName(a.cmd.Name(), a.class, ErrJournalFull, nil)
		}
		if err != nil {
			_ = undeliver(a.cmd, err)
		}
	}
	return firstError(cmds)
}

// slowPipeline is the work on one pipeline.
type slowPipeline struct {
	*router
	batch    []redis.Cmder       // to be forwarded together
	writes   bool                // it has some
	named    map[string]struct{} // the keys of what is in it
	answered []answered          // to be waited for at the end, so that one sync serves all
}

// answered is a command that has its reply before its entry is durable.
type answered struct {
	cmd   redis.Cmder
	class command.Class
	out   outcome
}

// take decides one command. Its error becomes the command's.
func (p *slowPipeline) take(ctx context.Context, cmd redis.Cmder) {
	q, err := newRequest(ctx, p.side, cmd)
	if err != nil {
		_ = fail(cmd, err)
		return
	}
	defer q.free()
	for {
		live := p.current().write != nil
		way, err := p.decide(ctx, q, nil)
		switch {
		case err != nil:
			_ = fail(cmd, err)
			return
		case way == wayMerge:
			p.flush(ctx)
			_ = p.merge(ctx, cmd, q, p.current()) // its error is the command's
			return
		case way == wayRead && !live && q.spec.MayWrite():
			p.flush(ctx)
			_ = p.readRemote(ctx, cmd, q, p.current()) // its error is the command's
			return
		case way != wayLocal:
			p.batch = append(p.batch, cmd)
			p.writes = p.writes || q.spec == nil || q.spec.MayWrite()
			if p.named == nil {
				p.named = make(map[string]struct{})
			}
			for _, key := range q.keys {
				p.named[string(key)] = struct{}{}
			}
			return
		}
		if live || p.writes || p.overtakes(q) {
			p.flush(ctx) // what came before must not be overtaken
		}
		out, err := p.accept(ctx, q)
		switch {
		case err == errLive, err == errAgain: //nolint:errorlint // private sentinels, never wrapped
			p.flush(ctx)
			continue
		case err != nil:
			_ = fail(cmd, p.refuse(q, err, nil))
			return
		}
		_ = p.deliver(ctx, cmd, q, &out) // its error is the command's
		if out.ticket.Seq() != 0 {
			p.answered = append(p.answered, answered{cmd: cmd, class: q.class(), out: out})
		}
		return
	}
}

// flush forwards what has been gathered.
func (p *slowPipeline) flush(ctx context.Context) {
	if len(p.batch) == 0 {
		return
	}
	if rt := p.current(); rt.write != nil {
		p.forwardBatch(ctx, rt, p.batch)
	} else {
		p.readBatch(ctx, rt, p.batch)
	}
	p.batch, p.writes = nil, false
	clear(p.named)
}

// overtakes reports whether a write names a key that a read before it, which has not been sent,
// names too: were the primary to return before that is, it would find the write.
func (p *slowPipeline) overtakes(q *request) bool {
	return (q.spec == nil || q.spec.MayWrite()) && slices.ContainsFunc(q.keys, func(key []byte) bool {
		_, named := p.named[string(key)]
		return named
	})
}

// readBatch sends reads to a replica in one round trip.
func (r *router) readBatch(ctx context.Context, rt *route, cmds []redis.Cmder) {
	for _, cmd := range cmds {
		if spec := command.Lookup(cmd.Name()); spec == nil || spec.MayWrite() {
			// A write was to be forwarded and the primary went away since.
			for _, cmd := range cmds {
				_ = r.processSlow(ctx, cmd, command.Lookup(cmd.Name())) // its error is the command's
			}
			return
		}
	}
	pipe := rt.read.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd) // only queues
	}
	if _, err := pipe.Exec(ctx); err == nil {
		return
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); r.faultOf(err) != faultNone {
			_ = r.afterRead(ctx, cmd, rt, err) // its error is the command's
		}
	}
}

// isReply reports whether the error is a server's answer rather than a failure
// to get one.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func failAll(cmds []redis.Cmder, err error) error {
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
	return err
}

func firstError(cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	return nil
}
