package resilient

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// learned is what servers said of commands that are not in the table: those of
// modules, and of servers newer than it. Safe for concurrent use.
type learned struct {
	mu    sync.Mutex // guards known
	known map[string]learnedCommand
}

// learnedCommand is what COMMAND INFO says of a command.
type learnedCommand struct {
	at       time.Time
	exists   bool
	readonly bool
	movable  bool // where its keys are depends on its arguments
	first    int
	last     int
	step     int
}

// An answer is asked for again after this time: a module may have been loaded.
const learnedFor = time.Minute

// The names of unknown commands are the application's; there are not many.
const learnedMax = 1024

// of says what a server knows of a command; false when none answers.
func (l *learned) of(ctx context.Context, name string, server redis.UniversalClient) (learnedCommand, bool) {
	l.mu.Lock()
	c, ok := l.known[name]
	l.mu.Unlock()
	if ok && time.Since(c.at) < learnedFor {
		return c, true
	}
	infos, err := server.Do(ctx, "command", "info", name).Slice()
	if err != nil || len(infos) != 1 {
		return c, ok // an old answer is better than none
	}
	c = parseCommandInfo(infos[0])
	c.at = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= learnedMax {
		l.known = make(map[string]learnedCommand)
	}
	l.known[name] = c
	return c, true
}

// parseCommandInfo reads one element of the reply to COMMAND INFO: name, arity,
// flags, first key, last key, step, and more.
func parseCommandInfo(v any) learnedCommand {
	parts, ok := v.([]any)
	if !ok || len(parts) < 6 {
		return learnedCommand{}
	}
	flags, _ := parts[2].([]any)
	has := func(flag string) bool { return slices.Contains(flags, any(flag)) }
	number := func(i int) int {
		n, _ := parts[i].(int64)
		return int(n)
	}
	return learnedCommand{
		exists: true, readonly: has("readonly") && !has("write"), movable: has("movablekeys"),
		first: number(3), last: number(4), step: number(5),
	}
}

// keys are the arguments that are keys; false when that can't be told.
func (c *learnedCommand) keys(args [][]byte) (idx []int, ok bool) {
	if c.movable {
		return nil, false
	}
	if c.first <= 0 || c.step <= 0 {
		return nil, true
	}
	last := c.last
	if last < 0 {
		last += len(args)
	}
	for i := c.first; i <= last && i < len(args); i += c.step {
		idx = append(idx, i)
	}
	return idx, true
}

// decideUnknown decides a command that is not in the table. A server says whether
// it reads; everything else is refused while no server takes writes, unless a
// rule knows better.
func (r *router) decideUnknown(ctx context.Context, q *request, cause error) (way, error) {
	rt := r.current()
	c, told := r.learned.of(ctx, q.name, rt.read)
	if !told || !c.exists || !c.readonly {
		if err := r.rule(ctx, q); err != nil {
			return wayInvalid, r.refuse(q, err, cause)
		}
		switch {
		case rt.write != nil:
			return r.settle(ctx, q)
		case q.decision.action == actionForward:
			return wayRead, nil
		case q.decision.action == actionDefer && q.decision.reply != nil:
			return wayLocal, nil
		case q.decision.action == actionRefuse:
			return wayInvalid, r.refuse(q, errRuled, cause)
		}
		return wayInvalid, r.refuseName(q.name, command.ClassUnknown, ErrNoPrimary, cause)
	}
	if r.quiet() {
		return wayRead, nil
	}
	idx, ok := c.keys(q.args)
	if !ok {
		return wayInvalid, r.refuse(q, errPendingKeys, nil)
	}
	for _, i := range idx {
		if _, held := r.overlay.Held(r.db, string(q.args[i])); held {
			return wayInvalid, r.refuse(q, errPendingKey, nil)
		}
	}
	return wayRead, nil
}
