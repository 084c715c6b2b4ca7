package resilient

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// request is one command of the application as bytes: what the journal keeps,
// the overlay executes and the command table looks at. It is made only where
// those are needed; a healthy command is forwarded without.
//
// The bytes are copied from the caller's arguments, which may change as soon as
// the call returns.
type request struct {
	spec *command.Spec // nil: a command unknown to the table
	name string        // as go-redis gives it, in lower case
	body []byte        // the RESP encoding
	args [][]byte      // the arguments, in body
	keys [][]byte      // those that are keys, in body
	// malformed says that the keys can't be told: the server will refuse it.
	malformed bool
	idx       []int // which of args are keys

	strained bool // the primary has refused it for want of means
	ruled    bool // decision has been asked for
	decision Decision
}

var requests = sync.Pool{New: func() any { return new(request) }}

// newRequest encodes cmd. Give the request back with free.
func newRequest(ctx context.Context, s *side, cmd redis.Cmder) (*request, error) {
	q := requests.Get().(*request)
	q.name = cmd.Name()
	q.spec = command.Lookup(q.name)
	args := cmd.Args()
	body, ok := appendArgs(q.body[:0], args)
	if !ok {
		var err error
		if body, err = s.encode(ctx, args); err != nil {
			q.free()
			return nil, err
		}
	}
	q.body = body
	var err error
	if q.args, _, err = resp.ParseCommand(body, q.args[:0]); err != nil {
		q.free()
		return nil, err
	}
	q.keys = q.keys[:0]
	if q.spec == nil {
		return q, nil
	}
	q.idx, err = q.spec.AppendKeys(q.idx[:0], len(q.args), func(i int) string { return string(q.args[i]) })
	if err != nil {
		q.malformed = true
		return q, nil
	}
	for _, i := range q.idx {
		q.keys = append(q.keys, q.args[i])
	}
	return q, nil
}

// A larger buffer is left to the garbage collector.
const requestKeep = 64 << 10

func (q *request) free() {
	clear(q.args)
	clear(q.keys)
	if cap(q.body) > requestKeep {
		q.body = nil
	}
	*q = request{body: q.body[:0], args: q.args[:0], keys: q.keys[:0], idx: q.idx[:0]}
	requests.Put(q)
}

// fullName is the command's name, of a container with its subcommand.
func (q *request) fullName() string {
	if q.spec.Container() && len(q.args) > 1 {
		return q.name + "|" + strings.ToLower(string(q.args[1]))
	}
	return q.name
}

// class is what the command table says of these arguments.
func (q *request) class() command.Class {
	if q.spec == nil {
		return command.ClassUnknown
	}
	return q.spec.Class(q.args)
}

// appendArgs encodes the argument types that go-redis's typed methods use, as
// go-redis does; ok is false when there is another.
func appendArgs(dst []byte, args []any) (_ []byte, ok bool) {
	dst = resp.AppendArray(dst, len(args))
	var scratch [64]byte
	for _, arg := range args {
		text := scratch[:0]
		switch v := arg.(type) {
		case string:
			dst = resp.AppendBulkString(dst, v)
			continue
		case []byte:
			dst = resp.AppendBulk(dst, v)
			continue
		case nil:
		case int:
			text = strconv.AppendInt(text, int64(v), 10)
		case int64:
			text = strconv.AppendInt(text, v, 10)
		case uint64:
			text = strconv.AppendUint(text, v, 10)
		case float64:
			text = strconv.AppendFloat(text, v, 'f', -1, 64)
		case bool:
			if v {
				text = append(text, '1')
			} else {
				text = append(text, '0')
			}
		case time.Duration:
			text = strconv.AppendInt(text, v.Nanoseconds(), 10)
		default:
			return dst, false
		}
		dst = resp.AppendBulk(dst, text)
	}
	return dst, true
}
