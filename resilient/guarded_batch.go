package resilient

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// pipeline is the way of a pipeline or a transaction over several shards. It is
// never sent again, in whole or in part: what a shard declined is refused, and
// may be sent again by the caller, who knows what must not overtake what.
func (g *guarded) pipeline(ctx context.Context, cmds []redis.Cmder) error {
	if len(cmds) == 0 {
		return nil
	}
	if g.over.Load() {
		return failAll(cmds, ErrClosed)
	}
	if isTx(cmds) {
		return g.transaction(ctx, cmds)
	}
	if err := g.barredAny(ctx, cmds); err != nil {
		return failAll(cmds, err)
	}
	if err := ctx.Err(); err != nil {
		return failAll(cmds, err)
	}
	pipe := g.shards.Pipeline()
	for _, cmd := range cmds {
		if spec := command.Lookup(cmd.Name()); spec == nil || spec.MayWrite() {
			cmd = &once{cmd} // one of them keeps go-redis from repeating what goes to its server
		}
		_ = pipe.Process(ctx, cmd) // only queues
	}
	if _, err := pipe.Exec(ctx); err == nil {
		return nil
	}
	return g.judgeEach(ctx, cmds)
}

// judgeEach turns the errors of commands that each have an outcome of their own
// into this package's terms.
func (g *guarded) judgeEach(ctx context.Context, cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		err := cmd.Err()
		f := faultOfShard(err)
		if f != faultNone && g.over.Load() && !f.ambiguous() {
			_ = fail(cmd, ErrClosed)
			continue
		}
		if f == faultNone || f == faultBusy {
			continue
		}
		if spec := command.Lookup(cmd.Name()); spec != nil && !spec.MayWrite() {
			if f == faultNotWritable || f == faultUnsent {
				g.shards.declined()
			}
			continue
		}
		q, encErr := newRequest(ctx, g.side, cmd)
		if encErr != nil {
			continue // go-redis could not encode it either: it was not sent
		}
		_ = fail(cmd, g.judgeOnce(ctx, q, f, err))
		q.free()
	}
	return firstError(cmds)
}

// judgeOnce is the final error of a write that is not tried again.
func (g *guarded) judgeOnce(ctx context.Context, q *request, f fault, err error) error {
	class := q.class()
	if f.ambiguous() && class != command.ClassRead && class != command.ClassPassthrough {
		return g.doubt(ctx, q.name, class, err)
	}
	if final := g.judge(ctx, q, f, err); final != nil {
		return final
	}
	return g.giveUp(ctx, q, f, false, err)
}

// transaction sends a MULTI…EXEC and judges it as a whole.
func (g *guarded) transaction(ctx context.Context, cmds []redis.Cmder) error {
	inner := cmds[1 : len(cmds)-1]
	if err := g.barredAny(ctx, inner); err != nil {
		return failAll(cmds, err)
	}
	if err := ctx.Err(); err != nil {
		return failAll(cmds, err)
	}
	pipe := g.shards.TxPipeline()
	for _, cmd := range inner {
		_ = pipe.Process(ctx, &once{cmd}) // only queues
	}
	_, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	return g.judgeTx(ctx, cmds, err)
}

// judgeTx turns the error of a transaction into this package's terms. Over a Ring
// it may have been several transactions, one for each shard.
func (g *guarded) judgeTx(ctx context.Context, cmds []redis.Cmder, err error) error {
	switch g.outcomeOfTx(cmds[1:len(cmds)-1], err) {
	case txRefused:
		g.shards.declined()
		return failAll(cmds, g.refuse("multi", command.ClassTransaction, err))
	case txDoubt:
		return failAll(cmds, g.doubt(ctx, "multi", command.ClassTransaction, err))
	case txAnswered:
	}
	return err
}

// txOutcome is what the errors of a transaction's commands say of the whole.
type txOutcome uint8

const (
	txAnswered txOutcome = iota // the replies and errors are the commands' own
	txRefused                   // certainly not executed, for lack of a primary
	txDoubt                     // it may have been executed, or a part of it
)

func (g *guarded) outcomeOfTx(inner []redis.Cmder, err error) txOutcome {
	if faultOfShard(err) == faultBusy {
		return txAnswered
	}
	declined, executed, aborted, lies := 0, 0, 0, 0
	for _, cmd := range inner {
		err := cmd.Err()
		switch f := faultOfShard(err); {
		case f.ambiguous():
			return txDoubt
		case redis.IsExecAbortError(err):
			aborted++
			if f == faultNotWritable {
				declined++
			}
		case f == faultUnsent:
			declined++
		case f == faultNotWritable:
			declined++
			if spec := command.Lookup(cmd.Name()); spec == nil || spec.Class(nil) == command.ClassScript {
				lies++ // what a script answers proves nothing of what it did
			}
		case f == faultNone:
			executed++
		}
	}
	switch {
	case declined == 0:
		return txAnswered
	case executed > 0, lies > 0 && aborted == 0:
		return txDoubt
	}
	return txRefused
}
