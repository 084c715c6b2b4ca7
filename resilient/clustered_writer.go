package resilient

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// clusterWriter is the Cluster client as it sends what is to be sent once, for a shard
// whose primary is at addr.
type clusterWriter struct {
	*clusterShards
	c    *clustered
	s    *shard
	addr string
}

// Process implements redis.UniversalClient.
func (w clusterWriter) Process(ctx context.Context, cmd redis.Cmder) error {
	if direct := w.around(); direct != nil {
		if err := direct.Process(ctx, cmd); !redirects(err) {
			return err
		}
		cmd.SetErr(nil) // its slot has moved, and the Cluster client can follow it
	}
	err := w.send(ctx, cmd)
	if direct := w.instead(ctx, err, isScript(cmd)); direct != nil {
		cmd.SetErr(nil)
		return direct.Process(ctx, cmd)
	}
	return err
}

// Pipeline implements redis.UniversalClient.
func (w clusterWriter) Pipeline() redis.Pipeliner {
	if direct := w.around(); direct != nil {
		return direct.Pipeline()
	}
	return w.clusterShards.Pipeline()
}

// TxPipeline implements redis.UniversalClient.
func (w clusterWriter) TxPipeline() redis.Pipeliner {
	if direct := w.around(); direct != nil {
		return direct.TxPipeline()
	}
	return &clusterTx{Pipeliner: w.clusterShards.TxPipeline(), w: w}
}

// Watch implements redis.UniversalClient.
func (w clusterWriter) Watch(ctx context.Context, fn func(*redis.Tx) error, keys ...string) error {
	if direct := w.around(); direct != nil {
		return direct.Watch(ctx, fn, keys...)
	}
	return w.clusterShards.Watch(ctx, fn, keys...)
}

// around is the client of the shard's primary while the map of slots names another of its
// servers; else nil.
func (w clusterWriter) around() *redis.Client {
	if w.s == nil || !w.c.misled(w.s, w.addr) {
		return nil
	}
	w.declined()
	return w.c.nodes.get(w.addr)
}

// instead is the client of the shard's primary, where an error says that a command was
// not executed, since the Cluster client asked another server: its map of slots is old.
// Else it is nil. What a script answers says nothing.
func (w clusterWriter) instead(ctx context.Context, err error, script bool) *redis.Client {
	var op *net.OpError
	switch f := faultOfShard(err); {
	case f == faultUnsent && errors.As(err, &op) && op.Addr != nil && op.Addr.String() != w.addr:
	case f == faultNotWritable && !script && w.s != nil && w.c.unmap(ctx, w.s, w.addr):
	default:
		return nil
	}
	w.declined()
	return w.c.nodes.get(w.addr)
}

// redirects reports whether a server has named another one in place of executing a
// command.
func redirects(err error) bool {
	if err == nil {
		return false
	}
	_, moved := redis.IsMovedError(err)
	_, ask := redis.IsAskError(err)
	return moved || ask
}

// isScript reports whether a command's reply can be whatever its author likes.
func isScript(cmd redis.Cmder) bool {
	spec := command.Lookup(cmd.Name())
	return spec == nil || spec.Class(nil) == command.ClassScript
}
