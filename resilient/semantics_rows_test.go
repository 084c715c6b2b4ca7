package resilient_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/semantics"
)

// serverVersion is whose commands the tests execute.
type serverVersion struct {
	name  string // command.ServerRedis or ServerValkey
	parts [3]int
}

func (v serverVersion) String() string {
	return fmt.Sprintf("%s %d.%d.%d", v.name, v.parts[0], v.parts[1], v.parts[2])
}

func versionOf(ctx context.Context, t *testing.T, c *redis.Client) serverVersion {
	t.Helper()
	info, err := c.Info(ctx, "server").Result()
	check(t, err)
	v := serverVersion{name: command.ServerRedis}
	for line := range strings.Lines(info) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case field == "valkey_version":
			v.name, v.parts = command.ServerValkey, versionParts(value)
		case field == "redis_version" && v.name == command.ServerRedis:
			v.parts = versionParts(value)
		}
	}
	return v
}

func versionParts(text string) (parts [3]int) {
	for i, part := range strings.SplitN(text, ".", len(parts)) {
		parts[i], _ = strconv.Atoi(part)
	}
	return parts
}

// has reports whether a server of this version has what others have since then. What
// modules bring it may have: module.
func (v serverVersion) has(origins []command.Origin) (has, module bool) {
	for _, o := range origins {
		if o.Server == v.name {
			since := versionParts(o.Since)
			return slices.Compare(v.parts[:], since[:]) >= 0, false
		}
		module = module || o.Server != command.ServerRedis && o.Server != command.ServerValkey
	}
	return false, module
}

// unstable are the commands that some builds of a version have, and some don't.
var unstable = map[string]bool{"sflush": true}

// divide tells the forms that the server has from those that it lacks, and holds the
// versions in the command table against what the server says.
func divide(ctx context.Context, t *testing.T, c *redis.Client) (have, lack []semantics.Form) {
	t.Helper()
	forms, err := semantics.Forms()
	check(t, err)
	v := versionOf(ctx, t, c)
	names := []any{"command", "info"}
	for i := range forms {
		names = append(names, forms[i].Name())
	}
	known, err := c.Do(ctx, names...).Slice()
	check(t, err)
	missing := map[string]int{}
	origins := map[string][]command.Origin{}
	for s := range command.All() {
		origins[s.Name] = s.Servers()
	}
	for i := range forms {
		f := &forms[i]
		if has, module := v.has(origins[f.Name()]); has != (known[i] != nil) && !module && !unstable[f.Name()] {
			t.Errorf("%v has %s: %v; the command table says %v", v, f.Name(), known[i] != nil, has)
		}
		if has, module := v.has(f.Servers()); known[i] != nil && (has || module) {
			have = append(have, *f)
		} else {
			lack = append(lack, *f)
			var since []string
			for _, o := range f.Servers() {
				since = append(since, o.Server+" "+o.Since)
			}
			missing[strings.Join(since, " or ")]++
		}
	}
	t.Logf("%v has %d of %d forms; those of other versions:", v, len(have), len(forms))
	for _, since := range sortedKeys(missing) {
		t.Logf("  %3d of %s", missing[since], since)
	}
	return have, lack
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// row is one form with keys of its own.
type row struct {
	*semantics.Form
	do     semantics.Behaviour
	prefix string // of its keys, and of no other row's
	args   []any
	keys   []string // as the form has them: s:1, missing:2, w:*
}

func newRow(f *semantics.Form, prefix string) *row {
	r := &row{Form: f, do: f.Behave(), prefix: prefix}
	for _, word := range f.Args {
		if semantics.IsKey(word) || semantics.IsPattern(word) {
			if !slices.Contains(r.keys, word) {
				r.keys = append(r.keys, word)
			}
			word = prefix + word
		}
		r.args = append(r.args, word)
	}
	return r
}

// rowsOf makes a row of each form, with keys for one occasion.
func rowsOf(forms []semantics.Form, occasion string) []*row {
	rows := make([]*row, len(forms))
	for i := range forms {
		rows[i] = newRow(&forms[i], fmt.Sprintf("%s%d:", occasion, i))
	}
	return rows
}

func (r *row) bytes() [][]byte {
	out := make([][]byte, len(r.args))
	for i, a := range r.args {
		out[i] = []byte(a.(string))
	}
	return out
}

// rowContents are the commands that make the keys of a type, whose name is put in for K.
var rowContents = map[string][]string{
	"s:1": {"SET K hello"}, "s:2": {"SET K help"}, "s:*": {"SET K hello"},
	"n":   {"SET K 10"},
	"f":   {"SET K 1.5"},
	"e":   {"SET K value PXAT 3000000000000"},
	"b:1": {"SET K foobar"}, "b:2": {"SET K abcdef"},
	"h":   {"HSET K field value field2 value number 5"},
	"l":   {"RPUSH K 3 1 2"},
	"t:1": {"SADD K member member2 7"}, "t:2": {"SADD K member other"},
	"z:1": {"ZADD K 1 member 2 member2 3 member3"}, "z:2": {"ZADD K 4 member 5 other"},
	"y": {"ZADD K 0 a 0 b 0 c"},
	"x": {
		"XADD K 1-1 field value", "XADD K 1-2 field value", "XADD K 2-1 field value",
		// Not XREADGROUP: how far a group has read is lost on the way to a replica.
		"XGROUP CREATE K group 1-1", "XCLAIM K group consumer 0 1-1 FORCE",
	},
	"p:1": {"PFADD K a b c"}, "p:2": {"PFADD K c d e"},
	"g":   {"GEOADD K 13.361389 38.115556 member 15.087269 37.502669 member2"},
	"w:*": {"SET K3 9", "SET K1 8", "SET K2 7"},
	"v":   {"VADD K VALUES 3 1 2 3 element"},
}

// rowChanges are writes that may be deferred, and make the keys of a type pending.
var rowChanges = map[string][]string{
	"s": {"APPEND K !"}, "n": {"INCR K"}, "f": {"INCRBYFLOAT K 1"}, "e": {"APPEND K !"}, "b": {"APPEND K !"},
	"h": {"HSET K touched 1"}, "l": {"RPUSH K 7"}, "t": {"SADD K touched"}, "z": {"ZADD K 9 touched"}, "y": {"ZADD K 0 d"},
	"x": {"XADD K 3-1 field value"}, "p": {"PFADD K touched"}, "g": {"GEOADD K 14 37.8 touched"},
	"w": {"SET K1 1"},
	// Also of what the overlay does not know.
	"": {"SET K value", "DEL K"},
}

// commandsFor takes the commands for a key from one of the two tables.
func (r *row) commandsFor(table map[string][]string, key string) [][]any {
	lines, ok := table[key]
	for _, name := range []string{strings.Split(key, ":")[0], ""} {
		if !ok {
			lines, ok = table[name]
		}
	}
	var out [][]any
	for _, line := range lines {
		var args []any
		for i, word := range strings.Fields(line) {
			if rest, isKey := strings.CutPrefix(word, "K"); isKey && i > 0 {
				word = r.prefix + strings.TrimSuffix(key, "*") + rest
			}
			args = append(args, word)
		}
		out = append(out, args)
	}
	return out
}

// fill makes the keys of rows on a server, as far as it knows their types.
func fill(ctx context.Context, t *testing.T, c *redis.Client, rows []*row) {
	t.Helper()
	pipe := c.Pipeline()
	for _, r := range rows {
		for _, key := range r.keys {
			for _, args := range r.commandsFor(rowContents, key) {
				pipe.Do(ctx, args...)
			}
		}
	}
	if pipe.Len() == 0 {
		return
	}
	cmds, _ := pipe.Exec(ctx) // each error is looked at
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !strings.HasPrefix(err.Error(), "ERR unknown command") {
			t.Fatalf("%v: %v", cmd.Args(), err)
		}
	}
}

// sentCommand is a command that a client of ours sent to a server.
type sentCommand struct {
	addr, name string
	once       bool // without go-redis's own repetition
	text       string
}

// sentLog records what goes to the network. Safe for concurrent use.
type sentLog struct {
	mu  sync.Mutex // guards all
	all []sentCommand
}

// watch is for resilient.Options.OnNewNode.
func (l *sentLog) watch(c *redis.Client) { c.AddHook(&sentHook{log: l, addr: c.Options().Addr}) }

// reset forgets everything.
func (l *sentLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = nil
}

// of are the commands with a text in them since the last reset.
func (l *sentLog) of(text string) (found []sentCommand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.all {
		if strings.Contains(c.text, text) {
			found = append(found, c)
		}
	}
	return found
}

type sentHook struct {
	log  *sentLog
	addr string
}

func (h *sentHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *sentHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		text := fmt.Sprintf("%q", cmd.Args())
		if cmd.Name() != "hello" && !strings.Contains(text, "maint_notifications") { // a new connection's own
			h.log.mu.Lock()
			h.log.all = append(h.log.all, sentCommand{
				addr: h.addr, name: cmd.Name(), once: cmd.NoRetry(), text: text,
			})
			h.log.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (h *sentHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
