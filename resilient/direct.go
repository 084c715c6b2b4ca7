package resilient

import (
	"bytes"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// direct gives the commonest commands their reply without go-redis's reader, at
// a fraction of its cost (docs/adr/0009-typed-replies.md). It knows a few pairs
// of command type and reply and leaves all others alone: false.
func direct(cmd redis.Cmder, reply []byte) (done bool, err error) {
	if len(reply) < 3 {
		return false, nil
	}
	body := reply[1 : len(reply)-2]
	switch c := cmd.(type) {
	case *redis.StatusCmd:
		if reply[0] != '+' {
			return false, nil
		}
		if string(body) == "OK" {
			c.SetVal("OK")
		} else {
			c.SetVal(string(body))
		}
	case *redis.IntCmd:
		n, ok := directInt(reply[0], body)
		if !ok {
			return false, nil
		}
		c.SetVal(n)
	case *redis.BoolCmd:
		n, ok := directInt(reply[0], body)
		if !ok {
			return false, nil
		}
		c.SetVal(n == 1)
	case *redis.StringCmd:
		if reply[0] != '$' {
			return false, nil
		}
		if body[0] == '-' {
			c.SetErr(redis.Nil)
			return true, redis.Nil
		}
		c.SetVal(string(body[bytes.IndexByte(body, '\n')+1:]))
	default:
		return false, nil
	}
	cmd.SetErr(nil)
	return true, nil
}

func directInt(kind byte, body []byte) (int64, bool) {
	if kind != ':' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(body), 10, 64)
	return n, err == nil
}
