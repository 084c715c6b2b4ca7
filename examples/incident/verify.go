package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// verifyChunk is how many keys are fetched in one round trip.
const verifyChunk = 256

// stored is what Redis holds at one key: a string or a hash.
type stored struct {
	text   string
	fields map[string]string
}

// verify looks in Redis for every write and notes in write.applied how often it
// is there. It returns how many log entries are out of place. The server asked
// must be the primary and all writes must have come to rest.
func verify(ctx context.Context, server redis.Cmdable, writes []*write) (misordered int, err error) {
	content, err := fetch(ctx, server, writes)
	if err != nil {
		return 0, fmt.Errorf("reading back what is in Redis: %w", err)
	}
	counters := map[string][]*write{}
	logs := map[string][]*write{}
	for _, w := range writes {
		held := content[w.effect.key]
		switch w.effect.sort {
		case effectValue:
			w.applied = present(held.text == w.effect.want)
		case effectField:
			w.applied = present(held.fields[w.effect.field] == w.effect.want)
		case effectFieldCount:
			if w.applied, err = number(held.fields[w.effect.field]); err != nil {
				return 0, err
			}
		case effectCounter:
			counters[w.effect.key] = append(counters[w.effect.key], w)
		case effectLog:
			logs[w.effect.key] = append(logs[w.effect.key], w)
		case effectUnknown:
			return 0, errors.New("a write without a known effect can't be verified")
		}
	}
	for key, of := range counters {
		value, err := number(content[key].text)
		if err != nil {
			return 0, err
		}
		shareOut(value, of)
	}
	for key, of := range logs {
		misordered += readLog(content[key].text, of)
	}
	return misordered, nil
}

// fetch reads every key that the writes touch.
func fetch(ctx context.Context, server redis.Cmdable, writes []*write) (map[string]stored, error) {
	isHash := map[string]bool{}
	var keys []string
	for _, w := range writes {
		if _, known := isHash[w.effect.key]; !known {
			keys = append(keys, w.effect.key)
		}
		isHash[w.effect.key] = w.effect.sort == effectField || w.effect.sort == effectFieldCount
	}
	content := make(map[string]stored, len(keys))
	for len(keys) > 0 {
		chunk := keys[:min(verifyChunk, len(keys))]
		keys = keys[len(chunk):]
		pipe := server.Pipeline()
		texts := map[string]*redis.StringCmd{}
		hashes := map[string]*redis.MapStringStringCmd{}
		for _, key := range chunk {
			if isHash[key] {
				hashes[key] = pipe.HGetAll(ctx, key)
			} else {
				texts[key] = pipe.Get(ctx, key)
			}
		}
		_, _ = pipe.Exec(ctx) // gives only the first error, and a missing key is none for us
		for key, cmd := range texts {
			if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
				return nil, err
			}
			content[key] = stored{text: cmd.Val()}
		}
		for key, cmd := range hashes {
			if err := cmd.Err(); err != nil {
				return nil, err
			}
			content[key] = stored{fields: cmd.Val()}
		}
	}
	return content, nil
}

func present(there bool) int {
	if there {
		return 1
	}
	return 0
}

// number reads a counter; one that is not there counts 0.
func number(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errors.New("a counter in Redis is not a number")
	}
	return n, nil
}

// shareOut divides a counter's value among the writes that should have made
// it. A counter can't say which of its writes is missing, so those that were
// refused are taken to be missing first, then those in doubt, and accepted ones
// last; a surplus goes to the last write. A loss and a doubling on one counter
// would hide each other, which is why every operation writes to a log or a
// field of its own too.
func shareOut(value int, writes []*write) {
	var last *write
	for _, o := range [...]outcome{outcomeAccepted, outcomeInDoubt, outcomeRefused} {
		for _, w := range writes {
			if w.outcome != o {
				continue
			}
			w.applied = present(value > 0)
			value -= w.applied
			last = w
		}
	}
	if last != nil && value > 0 {
		last.applied += value
	}
}

// readLog finds each write's line in a log and returns how many lines are out
// of place: before a line that was appended earlier, or appended by nobody.
// The writes must be in the order in which they were made.
func readLog(text string, writes []*write) (misordered int) {
	place := make(map[string]int, len(writes))
	for i, w := range writes {
		w.applied = 0
		place[w.effect.want] = i
	}
	latest := -1
	for line := range strings.Lines(text) {
		i, known := place[line]
		if !known {
			misordered++
			continue
		}
		writes[i].applied++
		if i < latest && writes[i].applied == 1 {
			misordered++
		}
		latest = max(latest, i)
	}
	return misordered
}
