package resilient

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// blockTick is how often a blocking read of pending keys looks again.
const blockTick = 10 * time.Millisecond

// readBlocking answers a read of pending keys that may wait for them: XREAD with
// BLOCK. What arrives while it waits are this process's own writes; when the keys
// have left the overlay the server is asked.
func (r *router) readBlocking(ctx context.Context, q *request) (outcome, error) {
	wait, blocks := blockOf(q)
	if !blocks {
		return r.readLocal(ctx, q)
	}
	r.fixLastIDs(ctx, q)
	out, err := r.readLocal(ctx, q)
	var end <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		end = t.C
	}
	tick := time.NewTicker(blockTick)
	defer tick.Stop()
	for err == nil && isNull(out.reply) {
		select {
		case <-ctx.Done():
			return outcome{}, ctx.Err()
		case <-end:
			return out, nil
		case <-tick.C:
		}
		if r.current().closed {
			return outcome{}, ErrClosed
		}
		out, err = r.readLocal(ctx, q)
	}
	return out, err
}

// blockOf is the time that XREAD may wait, 0 for ever, and whether it waits at all.
func blockOf(q *request) (time.Duration, bool) {
	if q.name != "xread" {
		return 0, false
	}
	for i := 1; i+1 < len(q.args); i++ {
		switch strings.ToLower(string(q.args[i])) {
		case "streams":
			return 0, false
		case "block":
			ms, err := time.ParseDuration(string(q.args[i+1]) + "ms")
			return ms, err == nil && ms >= 0
		}
	}
	return 0, false
}

// fixLastIDs puts into the place of $, the last id at this time, that id: looked at
// again later it would be another one.
func (r *router) fixLastIDs(ctx context.Context, q *request) {
	for i := range q.idx {
		at := len(q.args) - len(q.idx) + i
		if string(q.args[at]) == "$" {
			q.args[at] = r.lastID(ctx, q.args[q.idx[i]])
		}
	}
}

// lastID is the last id of a stream; 0-0 where there is none, or none can be read.
func (r *router) lastID(ctx context.Context, key []byte) []byte {
	out, err := r.readLocal(ctx, &request{
		name: "xinfo", args: [][]byte{[]byte("XINFO"), []byte("STREAM"), key}, idx: []int{2},
	})
	cmd := redis.NewXInfoStreamCmd(ctx, string(key))
	if err == nil {
		err = r.side.read(ctx, cmd, out.reply)
	} else {
		err = r.current().read.Process(ctx, cmd)
	}
	if err != nil {
		return []byte("0-0")
	}
	return []byte(cmd.Val().LastGeneratedID)
}

func isNull(reply []byte) bool {
	return bytes.Equal(reply, []byte("_\r\n")) || bytes.Equal(reply, []byte("*-1\r\n")) || bytes.Equal(reply, []byte("$-1\r\n"))
}
