package resilient

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// write is what is to be deferred as one unit: a command, or the commands of a
// transaction.
type write struct {
	commands []overlay.Command
	bodies   [][]byte // the encoding of each, where it is at hand; parallel to commands
	useful   int64    // not to be replayed from this time on, in Unix milliseconds; 0 is never

	reply     []byte // the answer that a rule gives in place of Redis's
	estimated bool   // the reply can't be exact, whatever is known
	fixed     bool   // canonical has been called
	strained  bool   // the primary has refused it for want of means

	lane  uint16               // of its keys
	shard string               // what the record keeps of its shard
	trace entry.Trace          // the caller's span
	size  int64                // of the record, once it has been made
	meta  [entry.MetaSize]byte // the record's Meta, until the journal has copied it
}

// newWrite makes the write of a single command.
func (r *router) newWrite(ctx context.Context, q *request) (*write, error) {
	w := &write{useful: q.decision.deadline(time.Now()), strained: q.strained}
	r.enlane(w, q)
	if err := w.add(q); err != nil {
		return nil, err
	}
	c := &w.commands[0]
	if g, ok := q.decision.reply.(given); ok {
		var err error
		if w.reply, err = appendReply(nil, g.value, r.proto); err != nil {
			return nil, err
		}
		w.estimated, c.Unseen = true, true
		if source, known := r.rules.source(scriptOf(q)); known && q.name == "evalsha" {
			c.Args = append([][]byte{[]byte("EVAL"), []byte(source)}, q.args[2:]...)
			w.bodies[0] = nil
		}
		return w, nil
	}
	switch q.class() {
	case command.ClassPublish:
		w.reply, w.estimated, c.Unseen = resp.AppendInt(nil, 0), true, true
	case command.ClassScript, command.ClassUnknown, command.ClassAdmin:
		return nil, errUnseenReply
	default:
	}
	return w, ctx.Err()
}

// newUnit makes the write of a transaction's commands; nil when one of them can't
// be deferred, with the reason.
func (r *router) newUnit(requests []*request) (*write, error) {
	w := &write{}
	for _, q := range requests {
		r.enlane(w, q)
		if err := w.add(q); err != nil {
			return nil, err
		}
		if until := q.decision.deadline(time.Now()); until != 0 && (w.useful == 0 || until < w.useful) {
			w.useful = until
		}
	}
	return w, nil
}

// enlane notes the lane of a write by the keys of one of its commands: all of them are
// in one.
func (r *router) enlane(w *write, q *request) {
	if r.laneOf != nil && len(q.keys) > 0 {
		w.lane = r.laneOf(q.keys[0])
		w.shard = r.shardName(w.lane)
	}
}

func (w *write) add(q *request) error {
	if q.malformed {
		// Redis refuses it for its arguments alone: the engine words it.
		w.commands = append(w.commands, overlay.Command{Args: q.args})
		w.bodies = append(w.bodies, q.body)
		return nil
	}
	w.estimated = w.estimated || q.spec.Estimated(q.args)
	w.commands = append(w.commands, overlay.Command{Args: q.args, Keys: q.idx, Counter: q.spec.Counter()})
	w.bodies = append(w.bodies, q.body)
	return nil
}

// canonical brings the commands into the form in which they are kept: deadlines
// instead of times to live, counted from now.
func (w *write) canonical(now time.Time) error {
	if w.fixed {
		return nil
	}
	w.fixed = true
	for i := range w.commands {
		c := &w.commands[i]
		args, err := command.Canonical(c.Args, now)
		if err != nil {
			return err
		}
		if len(args) == len(c.Args) && &args[0] == &c.Args[0] {
			if w.bodies[i] == nil {
				w.bodies[i] = resp.AppendCommand(nil, args...)
			}
			continue
		}
		c.Args, w.bodies[i] = args, resp.AppendCommand(nil, args...)
		if c.Keys, err = keysOf(args); err != nil {
			return err
		}
	}
	return nil
}

// keysOf are the indexes of the arguments that are keys.
func keysOf(args [][]byte) ([]int, error) {
	return command.Lookup(string(args[0])).AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
}

// shardOfRecord is the name of the shard that a record keeps; "" for none.
func shardOfRecord(rec journal.Record) string {
	e, err := entry.Parse(rec.Meta, rec.Body)
	if err != nil {
		return ""
	}
	return string(e.Shard)
}

// firstLane is the lane of the first key that a record's commands name, and 0 where
// they name none.
func firstLane(rec journal.Record, laneOf func([]byte) uint16) (lane uint16) {
	e, err := entry.Parse(rec.Meta, rec.Body)
	if err != nil {
		return 0
	}
	_ = entry.EachCommand(e.Write, func(_ []byte, args [][]byte) error {
		keys, err := keysOf(args)
		if err != nil || len(keys) == 0 {
			return nil
		}
		lane = laneOf(args[keys[0]])
		return errFound
	}) // what can't be read has no lane
	return lane
}

// errFound ends a search.
var errFound = errors.New("resilient: found")

func repeatable(args [][]byte) bool { return command.Lookup(string(args[0])).Repeatable(args) }

// appendReply encodes the reply that a rule gives.
func appendReply(dst []byte, v any, proto int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return resp.AppendNull(dst, proto), nil
	case string:
		return resp.AppendBulkString(dst, v), nil
	case []byte:
		return resp.AppendBulk(dst, v), nil
	case int:
		return resp.AppendInt(dst, int64(v)), nil
	case int64:
		return resp.AppendInt(dst, v), nil
	case bool:
		n := int64(0)
		if v {
			n = 1
		}
		return resp.AppendInt(dst, n), nil
	case float64:
		return resp.AppendBulkString(dst, strconv.FormatFloat(v, 'f', -1, 64)), nil
	case redis.Error:
		return resp.AppendError(dst, v.Error()), nil
	case error:
		return resp.AppendError(dst, "ERR "+v.Error()), nil
	case []any:
		dst = resp.AppendArray(dst, len(v))
		for _, elem := range v {
			var err error
			if dst, err = appendReply(dst, elem, proto); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
	return nil, errReplyType
}

var errReplyType = errors.New("resilient: a rule's reply is of a type that Redis doesn't answer with; " +
	"use nil, string, []byte, bool, int, int64, float64, error or []any")
