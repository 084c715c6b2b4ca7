package resilient

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialer makes the connections of the replay: as go-redis does for the same
// options, with their network, TLS and Dialer.
func dialer(base *redis.Options) func(ctx context.Context, addr string) (net.Conn, error) {
	o := *base
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second // go-redis's default
	}
	dial := o.Dialer
	if dial == nil {
		dial = redis.NewDialer(&o)
	}
	return func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }
}

// credentials gives user name and password in go-redis's order of preference.
func credentials(base *redis.Options) func(context.Context) (username, password string, err error) {
	return func(ctx context.Context) (string, string, error) {
		switch {
		case base.CredentialsProviderContext != nil:
			return base.CredentialsProviderContext(ctx)
		case base.CredentialsProvider != nil:
			username, password := base.CredentialsProvider()
			return username, password, nil
		}
		return base.Username, base.Password, nil
	}
}
