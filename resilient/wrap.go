package resilient

import (
	"context"
	"errors"
	"fmt"
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
//     but for subscriptions, probes and the replay. For these, and for reads from the
//     other servers of the group, found or listed in [Options.Nodes], clients are made
//     with the same options; client-side caching is not among them. Writes go to that
//     address alone, as the application has chosen it: when another server is promoted,
//     the state stays [StateNoPrimary] with [CausePinned], and writes are deferred
//     until the address leads to the primary again. That may be another server by
//     then, where it is a virtual IP, a DNS name or a proxy. Who wants to follow
//     promotions takes [NewClient] with the same options, or a failover client.
//   - A failover client (redis.NewFailoverClient) takes all commands while there
//     is a primary and its Sentinels lead to it. It doesn't tell where they are, so
//     [Options.Sentinels] and MasterName must say so, or [Options.Nodes] list the
//     servers of the group. These and the Sentinels are dialled without the
//     FailoverOptions.Dialer, which go-redis doesn't give away. A client with
//     ReplicaOnly can't be used.
//   - A *redis.ClusterClient is used for whatever its shards take themselves. Each
//     shard is watched, and deferred for, by itself. Clients made by
//     redis.NewFailoverClusterClient are Cluster clients.
//   - A *redis.Ring likewise, with one server a shard. Its keys keep their shards: the
//     writes of a shard without a primary are deferred, although the Ring itself would
//     give them to another one. Shards that SetAddrs brings later are not seen.
//
// Other implementations of redis.UniversalClient are an error, as are unix
// sockets.
//
// Over a Cluster or a Ring a command that names keys goes the way of their shard. One
// that names none is sent once, as go-redis sends it, and is refused with
// [ErrNoPrimary] where no server takes it; one that must not pass any deferred write
// (FLUSHALL, SWAPDB) waits for all shards. SCAN, KEYS, RANDOMKEY and DBSIZE by Do ask
// one server, and don't see deferred writes. Keys of several slots are refused by a
// Cluster in health, and by Holdfast in an outage; a Ring sends them all to the shard
// of the first, which in an outage is refused. A Cluster client whose command resolver
// was exchanged, so that it splits DEL over shards, say, sends writes to the shard of
// their first key, except those that may be repeated. Options.Nodes has no meaning
// there.
func Wrap(inner redis.UniversalClient, o *Options) (*Client, error) {
	if err := errors.Join(validateInner(inner, o), o.Validate(), o.checkDir()); err != nil {
		return nil, err
	}
	switch c := inner.(type) {
	case *redis.ClusterClient:
		return newClustered(c, o)
	case *redis.Ring:
		return newRinged(c, o)
	}
	client := inner.(*redis.Client) // the only other one that is valid
	return newClient(wrappedPlace(client, o), o, client)
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
		case isFailover(c) && (o == nil || len(o.Nodes)+len(o.Sentinels) == 0):
			return errors.New("resilient: Wrap of a failover client: give Options.Sentinels and MasterName, or list the servers " +
				"of the group in Options.Nodes, because the client doesn't tell them")
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
	if o.MaintNotificationsConfig != nil {
		own := *o.MaintNotificationsConfig // the client writes into its own
		o.MaintNotificationsConfig = &own
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
