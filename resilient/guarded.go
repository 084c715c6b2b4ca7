package resilient

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// guarded is the way of what belongs to no shard of a Cluster or a Ring, or to all. It
// defers nothing; it sends each write once, and says what is certain of a write that came
// back with an error. Safe for concurrent use.
type guarded struct {
	shards shards
	side   *side

	refused, inDoubt atomic.Uint64

	over atomic.Bool // Close has begun
}

// shards is a go-redis client of several shards, and what differs between the
// kinds of them.
type shards interface {
	redis.UniversalClient

	// send is Process for a command that is to be sent once: a [once] if it may
	// write. go-redis does not repeat it where it is not known what became of it.
	send(ctx context.Context, cmd redis.Cmder) error
	// sendWide is send for the methods that concern several servers.
	sendWide(ctx context.Context, cmd redis.Cmder) error
	// owner is the client of the server that takes the writes to key.
	owner(ctx context.Context, key string) (*redis.Client, error)
	// declined says that a server did not take a write, or can't be reached.
	declined()
	// retries is how often go-redis by itself would try again.
	retries() int
	onNewNode(fn func(*redis.Client))
}

// chain is the way of commands over several shards.
func (g *guarded) chain() chain {
	return chain{
		process: func(ctx context.Context, cmd redis.Cmder) error { return g.process(ctx, cmd, g.shards.send) },
		wide:    func(ctx context.Context, cmd redis.Cmder) error { return g.process(ctx, cmd, g.shards.sendWide) },
		pipeline: func(ctx context.Context, cmds []redis.Cmder) error {
			return g.pipeline(ctx, cmds)
		},
	}
}

// process is the way of one command.
func (g *guarded) process(ctx context.Context, cmd redis.Cmder, send redis.ProcessHook) error {
	spec := command.Lookup(cmd.Name())
	if err := g.barred(ctx, cmd, spec); err != nil {
		return fail(cmd, err)
	}
	if spec != nil && !spec.MayWrite() {
		return g.read(ctx, cmd, send)
	}
	if err := ctx.Err(); err != nil {
		return fail(cmd, err) // go-redis would not send it either, but not say so
	}
	w := onces.Get().(*once)
	w.Cmder = cmd
	err := send(ctx, w)
	w.Cmder = nil
	onces.Put(w)
	if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
		return err
	}
	return g.afterWrite(ctx, cmd, send, err)
}

// read sends a command that changes nothing. go-redis repeats it as it likes,
// and its error is the caller's.
func (g *guarded) read(ctx context.Context, cmd redis.Cmder, send redis.ProcessHook) error {
	err := send(ctx, cmd)
	if err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
		return err
	}
	return g.afterRead(cmd, err)
}

// afterRead judges the error of a read.
func (g *guarded) afterRead(cmd redis.Cmder, err error) error {
	switch f := faultOfShard(err); {
	case f != faultNone && g.over.Load():
		return fail(cmd, ErrClosed) // a connection that is closed under a read has many errors
	case f == faultUnsent || f == faultNotWritable:
		g.shards.declined()
	}
	return err
}

// barred refuses what can't be let through.
func (g *guarded) barred(ctx context.Context, cmd redis.Cmder, spec *command.Spec) error {
	if g.over.Load() {
		return ErrClosed
	}
	session, err := bindsConnection(ctx, g.side, cmd, spec)
	if err != nil || !session {
		return err
	}
	return errSession(cmd.Name(), ShardState{})
}

// barredAny refuses a pipeline that holds a command that can't be let through.
func (g *guarded) barredAny(ctx context.Context, cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		if err := g.barred(ctx, cmd, command.Lookup(cmd.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (g *guarded) stats() Stats {
	return Stats{Refused: g.refused.Load(), InDoubt: g.inDoubt.Load()}
}
