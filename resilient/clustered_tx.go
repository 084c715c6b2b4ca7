package resilient

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// clusterTx is a transaction of a clusterWriter.
type clusterTx struct {
	redis.Pipeliner
	w      clusterWriter
	queued []redis.Cmder
}

// Process implements redis.Pipeliner.
func (tx *clusterTx) Process(ctx context.Context, cmd redis.Cmder) error {
	tx.queued = append(tx.queued, cmd)
	return tx.Pipeliner.Process(ctx, cmd)
}

// Exec implements redis.Pipeliner.
func (tx *clusterTx) Exec(ctx context.Context) ([]redis.Cmder, error) {
	cmds, err := tx.Pipeliner.Exec(ctx)
	discarded := tx.discarded(err)
	direct := tx.w.instead(ctx, err, !discarded)
	if direct == nil {
		if discarded {
			err = &discardedError{err}
		}
		return cmds, err
	}
	pipe := direct.TxPipeline()
	for _, cmd := range tx.queued {
		cmd.SetErr(nil)
		_ = pipe.Process(ctx, cmd) // only queues
	}
	return pipe.Exec(ctx)
}

// discarded reports whether a reply tells why the server did not even queue one of the
// commands, so that it discarded them all. A Cluster client gives that reply in place of
// EXECABORT. What a script answers proves nothing: it may have been executed.
func (tx *clusterTx) discarded(err error) bool {
	if !isReply(err) || redis.IsExecAbortError(err) || faultOf(err) != faultNotWritable {
		return false
	}
	aborted, doubtful := false, false
	for _, cmd := range tx.queued {
		script := isScript(cmd)
		switch err := cmd.Err(); {
		case err == nil, err == redis.Nil: //nolint:errorlint // the bare sentinel is a reply
			return false
		case script:
			doubtful = true
		case redis.IsExecAbortError(err):
			aborted = true
		}
	}
	return aborted || !doubtful
}

// discardedError is EXECABORT with the reason, as a server words it that discards a
// transaction at EXEC.
type discardedError struct{ cause error }

// Error is the reply.
func (e *discardedError) Error() string {
	return "EXECABORT Transaction discarded because of: " + e.cause.Error()
}

// RuntimeError makes it a redis.Error.
func (*discardedError) RuntimeError() {}

// Unwrap gives what the server said of the command.
func (e *discardedError) Unwrap() error { return e.cause }
