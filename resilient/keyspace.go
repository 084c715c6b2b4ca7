package resilient

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// merge answers a read over all keys while some have deferred writes: what a
// server says of the others, and what the overlay says of these. No key comes
// twice, and none that was deleted.
func (r *router) merge(ctx context.Context, cmd redis.Cmder, q *request, rt *route) error {
	for try := 0; ; try++ {
		reply, err := r.merged(ctx, q, rt)
		var answer redis.Error
		switch {
		case err == nil:
			return r.side.deliver(ctx, cmd, reply)
		case errors.Is(err, ErrPendingWrites):
			return fail(cmd, r.refuse(q, errPendingKeys, nil))
		case faultOf(err) == faultNone && errors.As(err, &answer): // the server found a fault in the arguments
			return r.side.deliver(ctx, cmd, resp.AppendError(nil, answer.Error()))
		case try == maxReaders:
			return fail(cmd, err)
		}
		if rt, err = r.nextReader(ctx, rt, err); err != nil {
			return fail(cmd, err)
		}
	}
}

// maxReaders bounds how many other servers are asked, one after the other.
const maxReaders = 3

// merged is one attempt of merge.
func (r *router) merged(ctx context.Context, q *request, rt *route) ([]byte, error) {
	switch q.name {
	case "keys":
		return r.mergeKeys(ctx, q, rt)
	case "scan":
		return r.mergeScan(ctx, q, rt)
	case "dbsize":
		return r.mergeSize(ctx, rt)
	case "randomkey":
		return r.mergeRandom(ctx, rt)
	}
	return nil, errPendingKeys
}

// speaks reports whether the overlay can tell if a key exists. Of one whose value is not known,
// as after a restart or a deferred script, the server has the say unless our writes alone
// make it exist.
func speaks(k overlay.KeyState) bool { return k.Known || k.Exists }

// pendingKeys lists the existing keys with deferred writes that a filter takes.
func (r *router) pendingKeys(take func(name string, k overlay.KeyState) bool) (names []string) {
	r.overlay.Keys(r.db, func(name string, k overlay.KeyState) bool {
		if k.Exists && take(name, k) {
			names = append(names, name)
		}
		return true
	})
	return names
}

// spoken reports whether the overlay speaks for a key.
func (r *router) spoken(name string) bool {
	k, held := r.overlay.State(r.db, name)
	return held && speaks(k)
}

// mergeKeys asks the overlay first: what is replayed meanwhile the server may not have
// had when it was asked, and the overlay not have any more afterwards.
func (r *router) mergeKeys(ctx context.Context, q *request, rt *route) ([]byte, error) {
	all, existing := r.spokenFor()
	names, err := rt.read.Do(ctx, words(q.args)...).StringSlice()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, spoken := all[name]
		return spoken
	})
	for _, name := range existing {
		if engine.Match(q.args[1], []byte(name)) {
			names = append(names, name)
		}
	}
	return appendStrings(nil, names), nil
}

// spokenFor lists the keys with deferred writes, and those of them that exist.
func (r *router) spokenFor() (all map[string]struct{}, existing []string) {
	all = make(map[string]struct{})
	r.overlay.Keys(r.db, func(name string, k overlay.KeyState) bool {
		if speaks(k) {
			all[name] = struct{}{}
		}
		if k.Exists {
			existing = append(existing, name)
		}
		return true
	})
	return all, existing
}

// scanFilter is what SCAN's options leave of the keys.
type scanFilter struct {
	pattern []byte
	typ     string
}

func (f *scanFilter) takes(name string, k overlay.KeyState) bool {
	return (f.pattern == nil || engine.Match(f.pattern, []byte(name))) && (f.typ == "" || f.typ == k.Type)
}

// mergeScan adds the pending keys to the first page, before the server is asked, and hides
// from all those that a deferred write has deleted. One that is replayed in the middle of
// an iteration has been given by then. A key may come a second time, as SCAN may always
// return one.
func (r *router) mergeScan(ctx context.Context, q *request, rt *route) ([]byte, error) {
	var names []string
	if string(q.args[1]) == "0" {
		var f scanFilter
		for i := 2; i+1 < len(q.args); i += 2 {
			switch strings.ToLower(string(q.args[i])) {
			case "match":
				f.pattern = q.args[i+1]
			case "type":
				f.typ = strings.ToLower(string(q.args[i+1]))
			}
		}
		names = r.pendingKeys(f.takes)
	}
	given := len(names)
	slices.Sort(names)
	page, err := rt.read.Do(ctx, words(q.args)...).Slice()
	if err != nil {
		return nil, err
	}
	if len(page) != 2 {
		return nil, errReplyShape
	}
	cursor, _ := page[0].(string)
	elems, _ := page[1].([]any)
	for _, e := range elems {
		name, ok := e.(string)
		if k, held := r.overlay.State(r.db, name); !ok || held && k.Known && !k.Exists {
			continue
		}
		if _, twice := slices.BinarySearch(names[:given], name); !twice {
			names = append(names, name)
		}
	}
	reply := resp.AppendArray(nil, 2)
	reply = resp.AppendBulkString(reply, cursor)
	return appendStrings(reply, names), nil
}

var errReplyShape = errors.New("resilient: the reply does not have the shape that the command expects")

// countBatch is how many keys are asked for in one EXISTS.
const countBatch = 512

// mergeSize counts the server's keys but for the pending ones, and of these those
// that exist.
func (r *router) mergeSize(ctx context.Context, rt *route) ([]byte, error) {
	n, live, err := r.unpendingSize(ctx, rt)
	if err != nil {
		return nil, err
	}
	return resp.AppendInt(nil, n+int64(len(live))), nil
}

// unpendingSize counts the keys that only the server speaks for, and lists the others
// that exist, as of one time.
func (r *router) unpendingSize(ctx context.Context, rt *route) (int64, []string, error) {
	all, existing := r.spokenFor()
	names := slices.Collect(maps.Keys(all))
	pipe := rt.read.TxPipeline()
	size := pipe.DBSize(ctx)
	var counts []*redis.IntCmd
	for batch := range slices.Chunk(names, countBatch) {
		counts = append(counts, pipe.Exists(ctx, batch...))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, nil, err
	}
	n := size.Val()
	for _, c := range counts {
		n -= c.Val()
	}
	return max(n, 0), existing, nil
}

// randomTries bounds the search for a key that is not pending.
const randomTries = 100

// mergeRandom draws from the pending keys as often as they are among all.
func (r *router) mergeRandom(ctx context.Context, rt *route) ([]byte, error) {
	others, names, err := r.unpendingSize(ctx, rt)
	if err != nil {
		return nil, err
	}
	if n := rand.Int64N(others + int64(len(names)) + 1); n >= int64(len(names)) && others > 0 {
		for range randomTries {
			name, err := rt.read.RandomKey(ctx).Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				return nil, err
			}
			if err == nil && !r.spoken(name) {
				return resp.AppendBulkString(nil, name), nil
			}
		}
	}
	if len(names) == 0 {
		return resp.AppendNull(nil, r.proto), nil
	}
	return resp.AppendBulkString(nil, names[rand.IntN(len(names))]), nil
}

// words are arguments as go-redis takes them.
func words(args [][]byte) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a
	}
	return out
}

func appendStrings(dst []byte, names []string) []byte {
	dst = resp.AppendArray(dst, len(names))
	for _, n := range names {
		dst = resp.AppendBulkString(dst, n)
	}
	return dst
}
