package replay

import (
	"math"

	"github.com/holdfast-cache/holdfast/internal/basis"
)

// conflictCase is a key of one type, as it was and as somebody else has left it.
type conflictCase struct {
	name    string
	before  [][]any
	base    basis.Basis
	foreign []any
	write   []string
	read    []any
}

func conflictCases() []conflictCase {
	sum := func(k basis.Kind, add func(*basis.Content)) basis.Basis {
		var c basis.Content
		add(&c)
		return c.Basis(k)
	}
	b := func(s string) []byte { return []byte(s) }
	return []conflictCase{
		{"absent", nil, basis.None(), []any{"SET", "absent", "f"}, []string{"SET", "absent", "w"}, []any{"GET", "absent"}},
		{"empty", [][]any{{"SET", "empty", ""}}, str(""), []any{"DEL", "empty"}, []string{"APPEND", "empty", "w"}, []any{"GET", "empty"}},
		{"string", [][]any{{"SET", "string", "v"}}, str("v"), []any{"APPEND", "string", "f"}, []string{"SET", "string", "w"}, []any{"GET", "string"}},
		{"type", [][]any{{"SET", "type", "v"}}, str("v"), []any{"EVAL", "redis.call('DEL',KEYS[1]) return redis.call('RPUSH',KEYS[1],'v')", 1, "type"}, []string{"DEL", "type"}, []any{"TYPE", "type"}},
		{
			"hash",
			[][]any{{"HSET", "hash", "b", "2", "a", "1"}},
			sum(basis.KindHash, func(c *basis.Content) { c.Field(b("a"), b("1")); c.Field(b("b"), b("2")) }),
			[]any{"HSET", "hash", "a", "9"},
			[]string{"HSET", "hash", "a", "w"},
			[]any{"HGET", "hash", "a"},
		},
		{
			"list",
			[][]any{{"RPUSH", "list", "a", "b"}},
			sum(basis.KindList, func(c *basis.Content) { c.Element(b("a")); c.Element(b("b")) }),
			[]any{"RPOPLPUSH", "list", "list"},
			[]string{"RPUSH", "list", "w"},
			[]any{"LRANGE", "list", 0, -1},
		},
		{
			"set",
			[][]any{{"SADD", "set", "a", "b"}},
			sum(basis.KindSet, func(c *basis.Content) { c.Member(b("b")); c.Member(b("a")) }),
			[]any{"SADD", "set", "f"},
			[]string{"SADD", "set", "w"},
			[]any{"SISMEMBER", "set", "w"},
		},
		{
			"zset",
			[][]any{{"ZADD", "zset", 1.5, "a", "inf", "b"}},
			sum(basis.KindZSet, func(c *basis.Content) { c.Scored(b("a"), 1.5); c.Scored(b("b"), math.Inf(1)) }),
			[]any{"ZADD", "zset", 2, "a"},
			[]string{"ZADD", "zset", "7", "w"},
			[]any{"ZSCORE", "zset", "w"},
		},
		{
			"stream",
			[][]any{{"XADD", "stream", "5-1", "f", "v"}},
			basis.OfStream(1, 5, 1),
			[]any{"XADD", "stream", "5-2", "f", "v"},
			[]string{"XADD", "stream", "*", "w", "w"},
			[]any{"XLEN", "stream"},
		},
		{
			"big hash",
			[][]any{{"HSET", "big", "a", "1", "b", "2"}},
			basis.OfLength(basis.KindHash, 2),
			[]any{"HSET", "big", "f", "f"},
			[]string{"HSET", "big", "w", "w"},
			[]any{"HGET", "big", "w"},
		},
		{
			"big list",
			[][]any{{"RPUSH", "biglist", "a", "b"}},
			basis.OfLength(basis.KindList, 2),
			[]any{"RPUSH", "biglist", "f"},
			[]string{"RPUSH", "biglist", "w"},
			[]any{"LLEN", "biglist"},
		},
		{
			"big set",
			[][]any{{"SADD", "bigset", "a", "b"}},
			basis.OfLength(basis.KindSet, 2),
			[]any{"SREM", "bigset", "a"},
			[]string{"SADD", "bigset", "w"},
			[]any{"SISMEMBER", "bigset", "w"},
		},
		{
			"big zset",
			[][]any{{"ZADD", "bigzset", 1, "a"}},
			basis.OfLength(basis.KindZSet, 1),
			[]any{"ZADD", "bigzset", 1, "f"},
			[]string{"ZADD", "bigzset", "2", "w"},
			[]any{"ZSCORE", "bigzset", "w"},
		},
	}
}
