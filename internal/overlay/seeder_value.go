package overlay

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// look fills the seeds at the given places, all but those of containers that are
// to be read, whose places it returns.
func (c *chunk) look(places []int) (containers []int, err error) {
	max := c.s.o.MaxBytes
	values := make([]*redis.StringCmd, len(c.keys))
	memory := make([]*redis.IntCmd, len(c.keys))
	lengths := make([]*redis.IntCmd, len(c.keys))
	extra := func(p redis.Pipeliner, at int) {
		name := c.keys[at].Name
		switch c.depth {
		case DepthWhole:
			values[at] = p.Get(c.ctx, name)
		case DepthLimited:
			// One byte more than the limit tells that there is more.
			values[at] = p.GetRange(c.ctx, name, 0, int64(max))
		case DepthInvalid, DepthMeta:
			return
		}
		memory[at] = p.MemoryUsage(c.ctx, name)
		lengths[at] = p.XLen(c.ctx, name) // a stream can only be read whole
	}
	readings, t, err := c.transaction(places, extra)
	if err != nil {
		return nil, err
	}
	for i, at := range places {
		seed, err := c.s.begin(readings[i], t)
		if err != nil {
			return nil, err
		}
		c.seeds[at] = seed
		typ := seed.Value.Type()
		switch {
		case c.depth == DepthMeta || c.depth == DepthInvalid:
		case typ == engine.TypeNone || typ == engine.TypeModule:
		case typ == engine.TypeString:
			b, err := values[at].Bytes()
			if err != nil {
				return nil, fmt.Errorf("overlay: the key's value could not be read: %w", err)
			}
			if c.depth == DepthWhole || len(b) <= max {
				c.put(at, engine.NewString(b))
			}
		default:
			bytes, err := memory[at].Result()
			if err != nil {
				return nil, fmt.Errorf("overlay: the value's size could not be read: %w", err)
			}
			small := bytes <= int64(max)
			if typ == engine.TypeStream {
				small = small && lengths[at].Err() == nil && lengths[at].Val() <= int64(c.s.o.MaxElements)
			}
			c.found[at] = finding{typ: typ, small: small}
			containers = append(containers, at)
		}
	}
	return containers, nil
}

// put gives a seed its value; the deadline is in the seed already.
func (c *chunk) put(at int, v engine.Object) {
	v.SetExpireAt(c.seeds[at].Value.ExpireAt())
	c.seeds[at].Value = v
}

// asked are the commands that read one container.
type asked struct {
	count  *redis.IntCmd
	hash   *redis.KeyValueSliceCmd
	list   *redis.StringSliceCmd // of a set too
	zset   *redis.ZSliceCmd
	stream *redis.Cmd
}

// ask queues the reading of a container: its count, and at most one element more
// than may be seeded.
func (c *chunk) ask(p redis.Pipeliner, at int) (a asked) {
	name, limit := c.keys[at].Name, c.s.o.MaxElements
	small := c.found[at].small
	switch c.found[at].typ {
	case engine.TypeHash:
		a.count = p.HLen(c.ctx, name)
		if small {
			// With a count above its length HRANDFIELD answers the whole hash, in
			// the order of HGETALL.
			a.hash = p.HRandFieldWithValues(c.ctx, name, limit+1)
		}
	case engine.TypeList:
		a.count = p.LLen(c.ctx, name)
		if small {
			a.list = p.LRange(c.ctx, name, 0, int64(limit))
		}
	case engine.TypeSet:
		a.count = p.SCard(c.ctx, name)
		if small {
			a.list = p.SRandMemberN(c.ctx, name, int64(limit)+1) // as for hashes
		}
	case engine.TypeZSet:
		a.count = p.ZCard(c.ctx, name)
		if small {
			a.zset = p.ZRangeWithScores(c.ctx, name, 0, int64(limit))
		}
	case engine.TypeStream:
		if small {
			a.stream = p.Do(c.ctx, "xinfo", "stream", name, "full", "count", 0)
		} else {
			a.stream = p.Do(c.ctx, "xinfo", "stream", name)
		}
	default:
	}
	return a
}

// err is why the container could not be read.
func (a *asked) err() error {
	var errs []error
	if a.count != nil {
		errs = append(errs, a.count.Err())
	}
	if a.hash != nil {
		errs = append(errs, a.hash.Err())
	}
	if a.list != nil {
		errs = append(errs, a.list.Err())
	}
	if a.zset != nil {
		errs = append(errs, a.zset.Err())
	}
	if a.stream != nil {
		errs = append(errs, a.stream.Err())
	}
	return errors.Join(errs...)
}

// read fills the seeds of containers. It returns the places of the hashes that
// were read whole, and of those that have another type by now.
func (c *chunk) read(places []int) (hashes, changed []int, err error) {
	questions := make([]asked, len(c.keys))
	readings, t, err := c.transaction(places, func(p redis.Pipeliner, at int) { questions[at] = c.ask(p, at) })
	if err != nil {
		return nil, nil, err
	}
	for i, at := range places {
		seed, err := c.s.begin(readings[i], t)
		if err != nil {
			return nil, nil, err
		}
		c.seeds[at] = seed
		if seed.Value.Type() != c.found[at].typ {
			changed = append(changed, at)
			continue
		}
		a := &questions[at]
		if err := a.err(); err != nil {
			return nil, nil, fmt.Errorf("overlay: the key's value could not be read: %w", err)
		}
		v, err := c.value(at, a)
		if err != nil {
			return nil, nil, err
		}
		c.put(at, v)
		if len(c.found[at].pairs) > 0 {
			hashes = append(hashes, at)
		}
	}
	return hashes, changed, nil
}

// value makes the object of a container.
func (c *chunk) value(at int, a *asked) (engine.Object, error) {
	f := &c.found[at]
	f.pairs = nil
	limit := c.s.o.MaxElements
	if f.typ == engine.TypeStream {
		return streamValue(a.stream.Val(), f.small)
	}
	if f.small && a.count.Val() <= int64(limit) {
		switch f.typ {
		case engine.TypeHash:
			f.pairs = pairsOf(a.hash.Val())
			return engine.NewHash(f.pairs), nil
		case engine.TypeList:
			return engine.NewList(bytesOf(a.list.Val())), nil
		case engine.TypeSet:
			return engine.NewSet(bytesOf(a.list.Val())), nil
		default:
			members := make([][]byte, 0, len(a.zset.Val()))
			scores := make([]float64, 0, len(a.zset.Val()))
			for _, z := range a.zset.Val() {
				member, _ := z.Member.(string)
				members, scores = append(members, []byte(member)), append(scores, z.Score)
			}
			return engine.NewZSet(members, scores), nil
		}
	}
	switch f.typ {
	case engine.TypeHash:
		return engine.NewPartialHash(a.count.Val()), nil
	case engine.TypeList:
		return engine.NewPartialList(a.count.Val()), nil
	case engine.TypeSet:
		return engine.NewPartialSet(a.count.Val()), nil
	default:
		return engine.NewPartialZSet(a.count.Val()), nil
	}
}

func bytesOf(words []string) [][]byte {
	out := make([][]byte, len(words))
	for i, w := range words {
		out[i] = []byte(w)
	}
	return out
}

func pairsOf(kv []redis.KeyValue) [][]byte {
	out := make([][]byte, 0, 2*len(kv))
	for _, p := range kv {
		out = append(out, []byte(p.Key), []byte(p.Value))
	}
	return out
}

// fieldTimes reads hashes again, with the deadlines of the fields that they had
// just now. It returns the places of those that have other fields by now.
func (c *chunk) fieldTimes(places []int) (changed []int, err error) {
	values := make([]*redis.KeyValueSliceCmd, len(c.keys))
	times := make([]*redis.Cmd, len(c.keys))
	readings, t, err := c.transaction(places, func(p redis.Pipeliner, at int) {
		name, pairs := c.keys[at].Name, c.found[at].pairs
		values[at] = p.HRandFieldWithValues(c.ctx, name, len(pairs)/2+1)
		names := make([][]byte, 0, len(pairs)/2)
		for i := 0; i < len(pairs); i += 2 {
			names = append(names, pairs[i])
		}
		times[at] = p.Do(c.ctx, fieldTimeArgs(name, names)...)
	})
	switch {
	case err == nil:
	case isUnknownCommand(times[places[0]].Err()):
		c.s.noFieldTime.Store(true)
		return nil, nil // what was read without deadlines is all there is
	default:
		return nil, err
	}
	for i, at := range places {
		seed, err := c.s.begin(readings[i], t)
		if err != nil {
			return nil, err
		}
		pairs := pairsOf(values[at].Val())
		deadlines, timesErr := times[at].Int64Slice()
		if seed.Value.Type() != engine.TypeHash || !sameFields(pairs, c.found[at].pairs) {
			changed = append(changed, at)
			continue
		}
		if err := errors.Join(values[at].Err(), timesErr); err != nil {
			return nil, fmt.Errorf("overlay: the hash's fields could not be read: %w", err)
		}
		c.seeds[at] = seed
		c.put(at, engine.NewHashExpiring(pairs, deadlines))
	}
	return changed, nil
}

func fieldTimeArgs(name string, fields [][]byte) []any {
	args := make([]any, 0, 4+len(fields))
	args = append(args, "hpexpiretime", name, "fields", len(fields))
	for _, f := range fields {
		args = append(args, f)
	}
	return args
}

func sameFields(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i += 2 {
		if string(a[i]) != string(b[i]) {
			return false
		}
	}
	return true
}
