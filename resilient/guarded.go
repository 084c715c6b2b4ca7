package resilient

import "github.com/redis/go-redis/v9"

func newGuarded(redis.UniversalClient, *Options) (*Client, error) { return nil, ErrNotSupported }
