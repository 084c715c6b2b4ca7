package resilient

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// afterWrite decides what becomes of a write that came back with an error. What
// was certainly not applied is sent again, as often as go-redis would by itself,
// and then refused; what is in doubt is sent again only if repetition changes
// nothing.
func (g *guarded) afterWrite(ctx context.Context, cmd redis.Cmder, send redis.ProcessHook, err error) error {
	if f := faultOfShard(err); f == faultBusy && g.over.Load() {
		return fail(cmd, ErrClosed)
	} else if (f == faultNone && !passes(err)) || f == faultBusy {
		return err
	}
	q, encErr := newRequest(ctx, g.side, cmd)
	if encErr != nil {
		return err // go-redis could not encode it either: it was not sent
	}
	defer q.free()
	wait := newRetryBackOff()
	doubtful := false
	for try := 0; ; try++ {
		f := faultOfShard(err)
		if final := g.judge(ctx, q, f, err); final != nil {
			return fail(cmd, final)
		}
		doubtful = doubtful || f.ambiguous()
		if f == faultNone && !passes(err) {
			return err
		}
		if f == faultBusy || try >= g.shards.retries() || !pause(ctx, wait.NextBackOff()) {
			return fail(cmd, g.giveUp(ctx, q, f, doubtful, err))
		}
		cmd.SetErr(nil)
		if err = send(ctx, &once{cmd}); err == nil || err == redis.Nil { //nolint:errorlint // the bare sentinel is a reply
			return err
		}
	}
}

// judge returns the error of a write that must not be tried again; nil if it may.
func (g *guarded) judge(ctx context.Context, q *request, f fault, err error) error {
	if f == faultNotWritable || f == faultUnsent {
		g.shards.declined()
	}
	class := q.class()
	switch {
	case f == faultNotWritable && class == command.ClassScript:
		return g.afterScript(ctx, q, err)
	case !f.ambiguous():
		return nil
	case class == command.ClassPassthrough || class == command.ClassRead:
		return err
	case f != faultContext && q.spec != nil && q.spec.Repeatable(q.args):
		return nil
	}
	return g.doubt(ctx, q.name, class, err)
}

// giveUp makes the error of a write that has been tried often enough.
func (g *guarded) giveUp(ctx context.Context, q *request, f fault, doubtful bool, err error) error {
	switch {
	case doubtful:
		return g.doubt(ctx, q.name, q.class(), err)
	case f == faultNotWritable || f == faultUnsent:
		return g.refuse(q.name, q.class(), err)
	}
	return err
}

// afterScript judges a no-primary reply of a script. A script can make up any
// error text after it has written, so the reply counts only if the server that
// the script's first key belongs to says the same of itself.
func (g *guarded) afterScript(ctx context.Context, q *request, err error) error {
	if len(q.keys) > 0 && g.confirms(ctx, string(q.keys[0]), err) {
		return g.refuse(q.name, q.class(), err)
	}
	return g.doubt(ctx, q.name, q.class(), err)
}

// confirms reports whether the server that takes the writes to key can't take
// any, for the reason that err gives.
func (g *guarded) confirms(ctx context.Context, key string, err error) bool {
	owner, failed := g.shards.owner(ctx, key)
	if failed != nil {
		return false
	}
	if redis.IsReadOnlyError(err) {
		role, failed := owner.Do(ctx, "role").Slice()
		return failed == nil && len(role) > 0 && role[0] == "slave"
	}
	// Whoever is loading, or has no part in a working Cluster, declines reads too.
	return faultOfShard(owner.Exists(ctx, key).Err()) == faultNotWritable
}

// doubt makes the error of a write whose outcome is not known, and counts it.
func (g *guarded) doubt(ctx context.Context, name string, class command.Class, cause error) error {
	g.inDoubt.Add(1)
	receiptOf(ctx).inDoubt()
	return g.commandError(name, class, ErrInDoubt, reasons[ErrInDoubt], cause)
}

// refuse makes the error of a write that was certainly not applied, and counts it.
func (g *guarded) refuse(name string, class command.Class, cause error) error {
	if g.over.Load() {
		return ErrClosed // whatever failed, failed of that
	}
	g.refused.Add(1)
	return g.commandError(name, class, ErrNoPrimary,
		"a server that it has to go to takes no writes, and what belongs to no key is not deferred"+later, cause)
}

func (g *guarded) commandError(name string, class command.Class, kind error, reason string, cause error) error {
	return &CommandError{
		Name: name, Class: class.String(), State: StateUnknown,
		Reason: reason, Err: withCause(kind, cause),
	}
}

// passes reports whether a reply declines a command for a moment only: while a
// slot moves, or while a server has too many clients. It was not executed.
func passes(err error) bool {
	if redis.IsTryAgainError(err) || redis.IsMaxClientsError(err) {
		return true
	}
	_, moved := redis.IsMovedError(err)
	_, ask := redis.IsAskError(err)
	return moved || ask
}

// Errors of go-redis that have no other name than their text. A test holds them
// against go-redis.
const (
	errTextNoNodes    = "redis: cluster has no nodes"
	errTextShardsDown = "redis: all ring shards are down"
	errTextWatch      = "redis: Watch requires "         // a mistake of the caller
	errTextPipeline   = "redis: cannot pipeline command" // likewise
)

// A server whose Cluster is down says so of what a script does in words of their own.
const (
	errTextScript = "ERR Script attempted to "
	errTextDown   = " while the cluster is down"
)

// faultOfShard is faultOf for a client that chooses the server by itself. The
// last error is still the one that counts: before it there were only answers by
// which a server declines or names another one.
func faultOfShard(err error) fault {
	var partly *partError
	if errors.As(err, &partly) {
		return faultBroken
	}
	var refused *CommandError
	if errors.As(err, &refused) {
		return faultNone // our own, of a command that was not sent
	}
	f := faultOf(err)
	if f == faultNone && err != nil && strings.HasPrefix(err.Error(), errTextScript) && strings.Contains(err.Error(), errTextDown) {
		return faultNotWritable
	}
	if f != faultBroken {
		return f
	}
	switch text := err.Error(); {
	case text == errTextNoNodes, text == errTextShardsDown:
		return faultUnsent
	case strings.HasPrefix(text, errTextWatch), strings.HasPrefix(text, errTextPipeline):
		return faultNone
	}
	return f
}

// partError is the error of a command that go-redis split over several shards:
// some of them may have taken their part.
type partError struct{ cause error }

func (e *partError) Error() string { return e.cause.Error() }
func (e *partError) Unwrap() error { return e.cause }
