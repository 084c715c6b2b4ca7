package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

// Wrap is NewClient around a go-redis client that the application has made: its
// hooks, pool and options go on being used. The client belongs to the wrapper
// from then on: Close closes it. After an error it still belongs to the caller.
//
//   - A *redis.Client of one address is used for whatever concerns that server,
//     but for subscriptions, probes and the replay. For these, and for the other
//     servers of the group, found or listed in [Options.Nodes], clients are made
//     with the same options; client-side caching is not among them.
//   - A failover client (redis.NewFailoverClient) takes all commands while there
//     is a primary and its Sentinels lead to it. They say nothing of the replicas,
//     so [Options.Nodes] must list the servers of the group. These are dialled
//     without the FailoverOptions.Dialer, which go-redis doesn't give away. A
//     client with ReplicaOnly can't be used.
//   - A *redis.ClusterClient and a *redis.Ring are guarded, but their shards are
//     not watched and nothing is deferred: see below. Clients made by
//     redis.NewFailoverClusterClient are Cluster clients.
//
// Other implementations of redis.UniversalClient are an error, as are unix
// sockets.
//
// Over a Cluster or a Ring every write is sent once. What a shard certainly did
// not apply is sent again as often as go-redis does by itself (MaxRedirects or
// MaxRetries) and is then refused with [ErrNoPrimary]; other writes whose answer
// is lost are [ErrInDoubt], unless repeating them changes nothing. Reads are
// go-redis's own. A pipeline is never sent again, not in part either, and
// each command of it is judged by itself; a transaction is judged as a whole.
// Options that concern deferral have no effect: Nodes, Dir, Rules, Policy and
// all bounds. A Cluster client whose command resolver was exchanged, so that it
// splits DEL over shards, say, sends writes to the shard of their first key,
// except those that may be repeated.
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
		case c.Options().Network == "unix":
			return errors.New("resilient: Wrap of a client of a unix socket: not supported; give host and port")
		case c.Options().StreamingCredentialsProvider != nil:
			return errors.New("resilient: StreamingCredentialsProvider is not supported yet; use CredentialsProviderContext")
		}
		return nil
	case *redis.ClusterClient:
		if c == nil {
			return errors.New("resilient: Wrap of a nil *redis.ClusterClient")
		}
		return nil
	case *redis.Ring:
		if c == nil {
			return errors.New("resilient: Wrap of a nil *redis.Ring")
		}
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

// asGiven turns the options of a client, into which go-redis has written its
// defaults and parts of the client, back into ones that mean the same to a new
// client: where "off" has become 0, 0 would mean the default.
func asGiven(o redis.Options) redis.Options {
	if o.MaxRetries == 0 {
		o.MaxRetries = -1
	}
	for _, d := range []*time.Duration{&o.MinRetryBackoff, &o.MaxRetryBackoff} {
		if *d == 0 {
			*d = -1
		}
	}
	for _, d := range []*time.Duration{&o.ReadTimeout, &o.WriteTimeout} {
		if *d == 0 || *d == -1 {
			*d-- // each stands for the one above it
		}
	}
	if o.DialerRetries == dialerRetries {
		o.DialerRetries = 0
	}
	if isDefaultDialer(o.Dialer) {
		o.Dialer = nil // each of our clients makes one that fits it
	}
	switch o.PushNotificationProcessor.(type) {
	case *push.Processor, *push.VoidProcessor:
		o.PushNotificationProcessor = nil // the client's own, which another can't share
	}
	// A cache belongs to one server: another one invalidates nothing in it.
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.NodeAddress = "" // the address of each server itself
	return o
}

// dialerRetries is go-redis's default of that option.
const dialerRetries = 5

// isDefaultDialer reports whether the function is one that redis.NewDialer makes:
// all of them share their code.
func isDefaultDialer(dial func(context.Context, string, string) (net.Conn, error)) bool {
	code := func(f any) uintptr { return reflect.ValueOf(f).Pointer() }
	return dial != nil && code(dial) == code(redis.NewDialer(&redis.Options{}))
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
		if l.nodes != nil {
			l.nodes.spare(inner)
		}
		return nil, errors.Join(err, l.teardown())
	}
	if inner != nil {
		l.log.Debug("wrapped a client", slog.Bool("failover", isFailover(inner)))
	}
	return c, nil
}
