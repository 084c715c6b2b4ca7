package overlay

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

// A transaction reads at most this many members.
const memberChunk = 1024

// errOtherValue: the partial value that members are asked of is not there.
var errOtherValue = errors.New("overlay: the key is gone or of another type since it was read")

// Members reads members of a big hash, set or sorted set. It implements Source.
func (s *Seeder) Members(ctx context.Context, key Key, typ engine.Type, members [][]byte) ([]engine.Fact, error) {
	facts := make([]engine.Fact, 0, len(members))
	for from := 0; from < len(members); from += memberChunk {
		var err error
		to := min(from+memberChunk, len(members))
		if facts, err = s.memberChunk(ctx, facts, key.Name, typ, members[from:to]); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

func (s *Seeder) memberChunk(
	ctx context.Context, facts []engine.Fact, name string, typ engine.Type, members [][]byte,
) ([]engine.Fact, error) {
	args := make([]any, 2, 2+len(members))
	args[1] = name
	for _, m := range members {
		args = append(args, m)
	}
	switch typ {
	case engine.TypeHash:
		args[0] = "hmget"
	case engine.TypeSet:
		args[0] = "smismember"
	case engine.TypeZSet:
		args[0] = "zmscore"
	default:
		return nil, fmt.Errorf("overlay: a %s cannot be read by members", typ)
	}
	var kind *redis.StatusCmd
	var values, times *redis.Cmd
	for {
		p := s.o.Client.TxPipeline()
		kind, values = p.Type(ctx, name), p.Do(ctx, args...)
		timed := typ == engine.TypeHash && !s.noFieldTime.Load()
		if times = nil; timed {
			times = p.Do(ctx, fieldTimeArgs(name, members)...)
		}
		_, err := p.Exec(ctx)
		if timed && isUnknownCommand(times.Err()) {
			s.noFieldTime.Store(true)
			continue
		}
		if isUnknownCommand(values.Err()) {
			return nil, fmt.Errorf("overlay: the server cannot read a %s by members", typ)
		}
		if kind.Err() != nil {
			return nil, fmt.Errorf("overlay: the key's members could not be read: %w", errors.Join(kind.Err(), err))
		}
		break
	}
	if kind.Val() != typ.String() {
		return nil, errOtherValue
	}
	return appendFacts(facts, typ, members, values, times)
}

// appendFacts reads the replies; times is nil where fields have no deadlines.
func appendFacts(
	facts []engine.Fact, typ engine.Type, members [][]byte, values, times *redis.Cmd,
) ([]engine.Fact, error) {
	replies, err := values.Slice()
	if err != nil {
		return nil, fmt.Errorf("overlay: the key's members could not be read: %w", err)
	}
	var deadlines []int64
	if times != nil {
		if deadlines, err = times.Int64Slice(); err != nil {
			return nil, fmt.Errorf("overlay: the deadlines of the key's fields could not be read: %w", err)
		}
	}
	if len(replies) != len(members) || (times != nil && len(deadlines) != len(members)) {
		return nil, errors.New("overlay: the server answered for another number of members")
	}
	for i, m := range members {
		f := engine.Fact{Member: m}
		switch v := replies[i].(type) {
		case int64:
			f.Present = v != 0
		case float64:
			f.Present, f.Score = true, v
		case string:
			f.Present = true
			if typ == engine.TypeHash {
				f.Value = []byte(v)
			} else if f.Score, err = strconv.ParseFloat(v, 64); err != nil {
				return nil, errors.New("overlay: the server answered a score that is not a number")
			}
		}
		if f.Present && times != nil {
			f.ExpireAt = max(deadlines[i], 0)
		}
		facts = append(facts, f)
	}
	return facts, nil
}
