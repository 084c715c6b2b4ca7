package resilient

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Flush waits until every deferred write accepted so far is in the primary, and
// its replicas as Options.ReplicaAcks asks. While there is no primary it waits
// for one. The error is the context's, with the number of writes that wait, or
// ErrClosed. Over a Cluster or a Ring it waits for all shards.
func (c *Client) Flush(ctx context.Context) error { return c.backend.flush(ctx) }

func (l *lifecycle) flush(ctx context.Context) error { return l.foundation.flush(ctx) }

// Shutdown flushes and then closes this client; the error is in the result, as
// in Shutdown(ctx).Err(). When the flush does not end in time the client is
// closed all the same: with a journal directory the writes wait for the next
// process, and the error says how many they are.
//
// redis.UniversalClient has a method of this name that sends the SHUTDOWN
// command and so stops the server. Here it never does: whoever means the server
// has ShutdownSave, ShutdownNoSave and Do.
func (c *Client) Shutdown(ctx context.Context) *redis.StatusCmd {
	cmd := redis.NewStatusCmd(ctx, "shutdown")
	if err := errors.Join(c.Flush(ctx), c.Close()); err != nil {
		cmd.SetErr(err)
		return cmd
	}
	cmd.SetVal("OK")
	return cmd
}

// Close commits what has been accepted, ends the goroutines and closes every
// connection, those of a wrapped client too. It does not flush: deferred writes
// stay in the journal directory for the next process. Without a directory they
// are gone, and the error says so and how many they were. Further calls return
// the first one's result.
func (c *Client) Close() error { return c.backend.close() }

func (l *lifecycle) close() error {
	l.closing.Do(func() { l.closed = l.teardown() })
	return l.closed
}

// teardown takes down what has been built, in the reverse order.
func (l *lifecycle) teardown() error {
	var faults []error
	keep := func(err error) {
		if err != nil && !errors.Is(err, redis.ErrClosed) {
			faults = append(faults, err)
		}
	}
	if l.metrics != nil {
		keep(l.metrics.Unregister())
	}
	if l.router != nil && l.monitor != nil {
		// The client that reads stays: it answers ErrClosed to who is under way.
		l.router.close()
		l.monitor.Close()
	}
	l.cancel()
	if l.preflight != nil {
		l.preflight.close()
	}
	if l.running {
		l.adopter.close()
		l.lineage.close()
	}
	if l.drain != nil {
		l.drain.close()
	}
	if l.source != nil {
		keep(l.source.Close())
	}
	keep(l.closeJournal())
	for _, c := range []*redis.Client{l.pubsub, l.facade} {
		if c != nil {
			keep(c.Close())
		}
	}
	if l.side != nil {
		l.side.close()
	}
	if l.prober != nil {
		keep(l.prober.Close())
	}
	if l.sentinels != nil {
		keep(l.sentinels.Close())
	}
	for _, n := range []*nodeClients{l.seeds, l.nodes} {
		if n != nil {
			keep(n.close())
		}
	}
	l.events.close()
	return errors.Join(faults...)
}

func backlogLost(entries int) error {
	return fmt.Errorf("%w: %d of them; set Options.Dir to keep them on disk, or call Shutdown to flush first",
		ErrBacklogLost, entries)
}
