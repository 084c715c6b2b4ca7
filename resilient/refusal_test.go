package resilient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// Words that must not appear in any error or log line of ours.
const (
	secretKey   = "KEY-4711"
	secretField = "FIELD-4711"
	secretValue = "VALUE-4711"
)

func tellsNoSecret(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "4711") {
		t.Errorf("%s tells a key, field or value: %s", what, text)
	}
}

// refusals are commands that no overlay can take, with their classes.
var refusals = []struct {
	args  []any
	class string
}{
	{[]any{"set", secretKey, secretValue, "nx"}, "claiming write"},
	{[]any{"set", secretKey, secretValue, "get"}, "claiming write"},
	{[]any{"set", secretKey, secretValue, "px", 10, "nx"}, "claiming write"},
	{[]any{"set", secretKey, secretValue, "bogus"}, "unknown"},
	{[]any{"setnx", secretKey, secretValue}, "claiming write"},
	{[]any{"getset", secretKey, secretValue}, "claiming write"},
	{[]any{"getdel", secretKey}, "claiming write"},
	{[]any{"msetnx", secretKey, secretValue}, "claiming write"},
	{[]any{"renamenx", secretKey, "b"}, "claiming write"},
	{[]any{"copy", secretKey, "b"}, "claiming write"},
	{[]any{"hsetnx", secretKey, secretField, secretValue}, "claiming write"},
	{[]any{"lpop", secretKey}, "claiming write"},
	{[]any{"lmove", secretKey, "b", "left", "right"}, "claiming write"},
	{[]any{"blpop", secretKey, 0}, "claiming write"},
	{[]any{"spop", secretKey}, "claiming write"},
	{[]any{"zpopmin", secretKey}, "claiming write"},
	{[]any{"bzpopmin", secretKey, 0}, "claiming write"},
	{[]any{"xreadgroup", "group", "g", "c", "streams", secretKey, ">"}, "claiming write"},
	{[]any{"xgroup", "create", secretKey, "g", "0", "mkstream"}, "claiming write"},
	{[]any{"eval", "return redis.call('set', KEYS[1], ARGV[1])", 1, secretKey, secretValue}, "script"},
	{[]any{"evalsha", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 1, secretKey}, "script"},
	{[]any{"fcall", "f", 1, secretKey}, "script"},
	{[]any{"publish", secretKey, secretValue}, "publish"},
	{[]any{"flushall"}, "admin"},
	{[]any{"flushdb"}, "admin"},
	{[]any{"swapdb", 0, 1}, "admin"},
	{[]any{"config", "set", "maxmemory", 0}, "admin"},
	{[]any{"restore", secretKey, 0, secretValue}, "admin"},
	{[]any{"move", secretKey, 1}, "admin"},
	{[]any{"wait", 1, 0}, "admin"},
	{[]any{"script", "flush"}, "admin"},
	{[]any{"sort", secretKey, "by", "w_*", "store", "b"}, "accumulating write"},
	{[]any{"json.set", secretKey, "$", secretValue}, "accumulating write"},
	{[]any{"nosuchcommand", secretKey, secretValue}, "unknown"},
	{[]any{"client", "nosuchword", secretValue}, "unknown"},
}

// hiddenReads read what the overlay can't show.
var hiddenReads = [][]any{
	{"dump", secretKey},
	{"object", "encoding", secretKey},
	{"memory", "usage", secretKey},
}

// TestRefusals: every command that can't be deferred is refused with its class,
// by itself and in a pipeline, and nothing that is said about it tells secrets.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	logged := &lines{}
	c := open(t, g, &resilient.Options{
		Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	check(t, g.Cycle(ctx))
	// The first one meets the outage itself, the others are decided without the network.
	before := c.Stats().Refused
	for _, r := range refusals {
		name := r.args[0].(string)
		err := c.Do(ctx, r.args...).Err()
		refused(t, err, name, r.class)
		tellsNoSecret(t, name, fmt.Sprintf("%v %+v", err, err))
		p := c.Pipeline()
		cmd := p.Do(ctx, r.args...)
		if _, err := p.Exec(ctx); !errors.Is(err, resilient.ErrNoPrimary) {
			t.Errorf("pipelined %s: %v", name, err)
		}
		refused(t, cmd.Err(), name, r.class)
	}
	if n := c.Stats().Refused - before; n != uint64(2*len(refusals)) {
		t.Errorf("%d refusals counted, want %d", n, 2*len(refusals))
	}
	if n := c.Stats().Deferred; n != 0 {
		t.Errorf("%d writes were deferred", n)
	}

	// Nothing is pending: these reads are a replica's to answer.
	for _, args := range hiddenReads {
		if err := c.Do(ctx, args...).Err(); errors.As(err, new(*resilient.CommandError)) {
			t.Errorf("%v of a key without deferred writes: %v", args[0], err)
		}
	}
	check(t, c.HSet(ctx, secretKey, secretField, secretValue).Err())
	for _, args := range hiddenReads {
		hidden(t, args[0].(string), c.Do(ctx, args...).Err())
		p := c.Pipeline()
		cmd, free := p.Do(ctx, args...), p.Get(ctx, "free")
		_, _ = p.Exec(ctx) // each command's own is looked at
		hidden(t, args[0].(string), cmd.Err())
		if !errors.Is(free.Err(), redis.Nil) {
			t.Errorf("a read beside %v: %v", args[0], free.Err())
		}
	}
	if err := c.Get(ctx, secretKey).Err(); err == nil || errors.As(err, new(*resilient.CommandError)) {
		t.Errorf("GET of a hash: %v, want WRONGTYPE", err)
	}
	check(t, g.PromoteOnly(ctx, 1))
	flush(t, c)
	tellsNoSecret(t, "the log", logged.String())
	if logged.String() == "" {
		t.Error("nothing was logged")
	}
}

// hidden checks the refusal of a read.
func hidden(t *testing.T, name string, err error) {
	t.Helper()
	var ce *resilient.CommandError
	if !errors.As(err, &ce) || ce.Name != name || ce.Class != "read" || !resilient.SafeToRetry(err) || errors.Is(err, redis.Nil) {
		t.Errorf("%s of a key with deferred writes: %v, want a CommandError", name, err)
	}
	tellsNoSecret(t, name, fmt.Sprint(err))
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestContextThatHasEnded: nothing is sent or deferred for a caller that has
// gone, and the error is the context's.
func TestContextThatHasEnded(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	for _, dir := range []string{"", t.TempDir()} {
		c := open(t, g, &resilient.Options{Dir: dir})
		check(t, g.Cycle(ctx))
		check(t, c.Set(ctx, "held", 1, 0).Err())
		before := c.Stats()
		p := c.Pipeline()
		piped := []redis.Cmder{p.Set(ended, "held", 2, 0), p.Incr(ended, "new"), p.Incr(ended, "held")}
		_, pipeErr := p.Exec(ended)
		errs := map[string]error{
			"set":  c.Set(ended, "held", 2, 0).Err(),
			"incr": c.Incr(ended, "held").Err(),
			"seed": c.Incr(ended, "new").Err(),
			"hset": c.HSet(ended, "h", "f", 1).Err(),
			"pipe": pipeErr,
		}
		for i, cmd := range piped {
			errs[fmt.Sprint("piped ", i)] = cmd.Err()
		}
		for name, err := range errs {
			if !errors.Is(err, context.Canceled) || errors.Is(err, resilient.ErrInDoubt) {
				t.Errorf("dir %v: %s with a context that had ended: %v, want context.Canceled and no doubt", dir != "", name, err)
			}
		}
		if v, err := c.Get(ctx, "held").Result(); v != "1" || err != nil {
			t.Errorf("dir %v: a write of a caller that had gone was made: %q, %v", dir != "", v, err)
		}
		if after := c.Stats(); after.Entries != before.Entries || after.Deferred != before.Deferred {
			t.Errorf("dir %v: entries %d, deferred %d; before: %d, %d", dir != "", after.Entries, after.Deferred, before.Entries, before.Deferred)
		}
		check(t, g.PromoteOnly(ctx, 1))
		flush(t, c)
		check(t, g.Cycle(ctx))
	}
}

// TestContextEndsDuringASeed: the only server that could give a base hangs.
func TestContextEndsDuringASeed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "held", 1, 0).Err())
	waitState(t, c, resilient.StateNoPrimary)
	for _, n := range g.Nodes() {
		check(t, n.Pause())
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	err := c.Incr(short, "new").Err()
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, resilient.ErrInDoubt) || !resilient.SafeToRetry(err) {
		t.Errorf("INCR whose base did not come in time: %v, safe to retry: %v", err, resilient.SafeToRetry(err))
	}
	// What needs no server is answered all the same, and what does gets an answer
	// without a deadline of the caller's.
	if n, err := c.Incr(ctx, "held").Result(); n != 2 || err != nil {
		t.Errorf("INCR of a known key: %d, %v", n, err)
	}
	if err := c.Incr(ctx, "new").Err(); !errors.Is(err, resilient.ErrBaseUnknown) {
		t.Errorf("INCR with no server: %v, want ErrBaseUnknown", err)
	}
	for _, n := range g.Nodes() {
		check(t, n.Resume())
	}
}
