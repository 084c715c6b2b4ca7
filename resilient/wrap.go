package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// Wrap is NewClient around a go-redis client that the application has made: its
// hooks, pool and options go on being used. The client belongs to the wrapper
// from then on: Close closes it.
//
//   - A *redis.Client of one address is used for whatever concerns that server;
//     for the others of the group, found or listed in [Options.Nodes], clients
//     are made with the same options.
//   - A failover client (redis.NewFailoverClient) takes all commands while there
//     is a primary: its Sentinels name it. They say nothing of the replicas, so
//     [Options.Nodes] must list the servers of the group.
//   - A *redis.ClusterClient and a *redis.Ring are guarded but not yet deferred
//     for: every write is sent once, and is refused with [ErrNoPrimary] or is
//     [ErrInDoubt] where its shard can't take it; Options that concern deferral
//     have no effect.
//
// Clients made by redis.NewFailoverClusterClient are Cluster clients. Other
// implementations of redis.UniversalClient are an error.
func Wrap(inner redis.UniversalClient, o *Options) (*Client, error) {
	if err := errors.Join(validateInner(inner, o), o.Validate(), o.checkDir()); err != nil {
		return nil, err
	}
	switch c := inner.(type) {
	case *redis.ClusterClient:
		return newGuarded(&clusterShards{ClusterClient: c}, c.Options().Protocol, o)
	case *redis.Ring:
		return newGuarded(&ringShards{c}, c.Options().Protocol, o)
	}
	client := inner.(*redis.Client) // the only other one that is valid
	return newClient(wrappedOptions(client, o), o, client)
}

// failoverAddr is what go-redis writes into the address of a failover client.
const failoverAddr = "FailoverClient"

func isFailover(c *redis.Client) bool { return c.Options().Addr == failoverAddr }

func validateInner(inner redis.UniversalClient, o *Options) error {
	switch c := inner.(type) {
	case nil:
		return errors.New("resilient: Wrap of nil: give a go-redis client")
	case *redis.Client:
		switch {
		case c == nil:
			return errors.New("resilient: Wrap of a nil *redis.Client")
		case isFailover(c) && (o == nil || len(o.Nodes) == 0):
			return errors.New("resilient: Wrap of a failover client: Options.Nodes must list the servers of the group, " +
				"because the client doesn't tell them")
		case c.Options().StreamingCredentialsProvider != nil:
			return errors.New("resilient: StreamingCredentialsProvider is not supported yet; use CredentialsProviderContext")
		}
		return nil
	case *redis.ClusterClient, *redis.Ring:
		return nil
	}
	return fmt.Errorf("resilient: Wrap of %T: give a *redis.Client, *redis.ClusterClient or *redis.Ring", inner)
}

// wrappedOptions are the options from which clients of other servers are made.
func wrappedOptions(c *redis.Client, o *Options) *redis.Options {
	base := asGiven(*c.Options())
	if isFailover(c) {
		base.Addr = o.Nodes[0]
		base.Dialer = nil // it dials whatever the Sentinels name
	}
	return &base
}

// asGiven turns the options that a client was made with, into which go-redis has
// written its defaults, back into ones that mean the same to a new client: where
// "off" has become 0, 0 would mean the default.
func asGiven(o redis.Options) redis.Options {
	off := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = -1
	}
	off(&o.MinRetryBackoff, -1)
	off(&o.MaxRetryBackoff, -1)
	for _, d := range []*time.Duration{&o.ReadTimeout, &o.WriteTimeout} {
		switch *d {
		case 0:
			*d = -1
		case -1:
			*d = -2
		}
	}
	o.NodeAddress = "" // the address of each server itself
	return o
}

// newClient makes a client over a standalone group. inner is the application's
// own client, nil when there is none.
func newClient(base *redis.Options, o *Options, inner *redis.Client) (*Client, error) {
	l := &lifecycle{options: o.withDefaults(), inner: inner}
	l.log = l.options.Logger
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.events = newEvents(l.options.Listener, l.log)
	c, err := l.start(base)
	if err != nil {
		return nil, errors.Join(err, l.teardown())
	}
	if inner != nil {
		l.log.Debug("wrapped a client", slog.Bool("failover", isFailover(inner)))
	}
	return c, nil
}
