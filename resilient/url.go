package resilient

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// ParseURL turns a Redis URL into the options of NewClient. It reads what
// redis.ParseURL reads, redis:// and rediss:// with query parameters, but for
// unix:// sockets; and, if there is a parameter master_name, what
// redis.ParseFailoverURL reads: host and addr are then Sentinels, and user and
// password before the host are theirs, while the servers' own are the parameters
// username and password. Errors don't quote the URL, which may hold a password.
func ParseURL(rawURL string) (*redis.UniversalOptions, error) {
	if u, err := url.Parse(rawURL); err == nil && u.Query().Has("master_name") {
		return parseFailoverURL(u)
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("resilient: redis URL: %w", unquoted(err))
	}
	if o.Network == "unix" {
		return nil, errors.New("resilient: redis URL: unix sockets are not supported; give host and port")
	}
	return universalOf(o), nil
}

// unquoted is the error without the URL, which net/url quotes.
func unquoted(err error) error {
	var quoting *url.Error
	if errors.As(err, &quoting) {
		return quoting.Err
	}
	return err
}

func parseFailoverURL(u *url.URL) (*redis.UniversalOptions, error) {
	if u.Query().Get("master_name") == "" {
		return nil, errors.New("resilient: redis URL: master_name is empty; give the group's name at the Sentinels")
	}
	f, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("resilient: redis URL: %w", unquoted(err))
	}
	if f.UseDisconnectedReplicas {
		return nil, errors.New("resilient: redis URL: use_disconnected_replicas is not supported; leave it out")
	}
	return &redis.UniversalOptions{
		MasterName: f.MasterName, Addrs: f.SentinelAddrs,
		SentinelUsername: f.SentinelUsername, SentinelPassword: f.SentinelPassword,
		ClientName: f.ClientName, DB: f.DB, Protocol: f.Protocol,
		Username: f.Username, Password: f.Password,

		RouteByLatency: f.RouteByLatency, RouteRandomly: f.RouteRandomly, ReadOnly: f.ReplicaOnly,

		MaxRetries: f.MaxRetries, MinRetryBackoff: f.MinRetryBackoff, MaxRetryBackoff: f.MaxRetryBackoff,
		DialTimeout: f.DialTimeout, DialerRetries: f.DialerRetries, DialerRetryTimeout: f.DialerRetryTimeout,
		ReadTimeout: f.ReadTimeout, WriteTimeout: f.WriteTimeout, ContextTimeoutEnabled: f.ContextTimeoutEnabled,
		PoolFIFO: f.PoolFIFO, PoolSize: f.PoolSize, PoolTimeout: f.PoolTimeout,
		MaxConcurrentDials: f.MaxConcurrentDials, MinIdleConns: f.MinIdleConns, MaxIdleConns: f.MaxIdleConns,
		MaxActiveConns: f.MaxActiveConns, PipelinePoolSize: f.PipelinePoolSize,
		PipelineReadBufferSize: f.PipelineReadBufferSize, PipelineWriteBufferSize: f.PipelineWriteBufferSize,
		ConnMaxLifetime: f.ConnMaxLifetime, ConnMaxLifetimeJitter: f.ConnMaxLifetimeJitter, ConnMaxIdleTime: f.ConnMaxIdleTime,
		DisableIdentity: f.DisableIdentity, IdentitySuffix: f.IdentitySuffix,
		TLSConfig: f.TLSConfig,
	}, nil
}

// universalOf carries over every option that redis.ParseURL can set.
func universalOf(o *redis.Options) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                 []string{o.Addr},
		ClientName:            o.ClientName,
		DB:                    o.DB,
		Protocol:              o.Protocol,
		Username:              o.Username,
		Password:              o.Password,
		MaxRetries:            o.MaxRetries,
		MinRetryBackoff:       o.MinRetryBackoff,
		MaxRetryBackoff:       o.MaxRetryBackoff,
		DialTimeout:           o.DialTimeout,
		ReadTimeout:           o.ReadTimeout,
		WriteTimeout:          o.WriteTimeout,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		PoolFIFO:              o.PoolFIFO,
		PoolSize:              o.PoolSize,
		PoolTimeout:           o.PoolTimeout,
		MinIdleConns:          o.MinIdleConns,
		MaxIdleConns:          o.MaxIdleConns,
		MaxActiveConns:        o.MaxActiveConns,
		MaxConcurrentDials:    o.MaxConcurrentDials,

		PipelinePoolSize:        o.PipelinePoolSize,
		PipelineReadBufferSize:  o.PipelineReadBufferSize,
		PipelineWriteBufferSize: o.PipelineWriteBufferSize,

		ConnMaxIdleTime: o.ConnMaxIdleTime,
		ConnMaxLifetime: o.ConnMaxLifetime,
		TLSConfig:       o.TLSConfig,
	}
}
