package command

import (
	"slices"
	"strings"
	"testing"
)

func TestDefault(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]Decision{
		"GET k": DecisionRead, "KEYS *": DecisionRead, "SORT k": DecisionRead, "JSON.GET k": DecisionRead,
		"SET k v": DecisionDefer, "ZADD k GT 1 m": DecisionDefer, "INCR k": DecisionDefer,
		"PING": DecisionForward, "CONFIG GET a": DecisionForward, "COMMAND": DecisionForward,
		"SET k v NX": DecisionRefuse, "LPOP k": DecisionRefuse, "EVAL code 0": DecisionRefuse, "PUBLISH c m": DecisionRefuse,
		"FLUSHALL": DecisionRefuse, "MULTI": DecisionRefuse, "CONFIG SET a b": DecisionRefuse, "CONFIG NOPE": DecisionRefuse,
		"JSON.SET k $ 1": DecisionRefuse, "XDELEX k KEEPREF IDS 1 1-1": DecisionRefuse, "SET k v FOO": DecisionRefuse,
	} {
		if got := specOf(t, words).Default(parseLine(words)); got != want {
			t.Errorf("%s: %v, want %v", words, got, want)
		}
	}
	seen := make(map[string]bool)
	for d := DecisionRefuse; d <= DecisionDefer; d++ {
		if text := d.String(); seen[text] || text == "" {
			t.Errorf("decision %d: %q", d, text)
		} else {
			seen[text] = true
		}
	}
	if got := (DecisionDefer + 1).String(); got != "refuse" {
		t.Errorf("a decision out of range is %q", got)
	}
}

func TestCounter(t *testing.T) {
	t.Parallel()
	var names []string
	for s := range All() {
		if s.Counter() {
			names = append(names, s.Name)
			if s.deferrable == nil {
				t.Errorf("%s: a counter that is never deferred", s.Name)
			}
		}
	}
	if got, want := strings.Join(names, " "), "decr decrby hincrby hincrbyfloat incr incrby incrbyfloat"; got != want {
		t.Errorf("counters: %s, want %s", got, want)
	}
}

func TestEstimated(t *testing.T) {
	t.Parallel()
	for want, lines := range map[bool]string{
		true: `
	XADD k * f v
	XADD k 5-* f v
	XADD k NOMKSTREAM * f v
	XADD k MAXLEN 10 * f v
	XADD k maxlen ~ 10 1-1 f v
	XADD k MINID ~ 10 LIMIT 5 1-1 f v
	XADD k ACKED MAXLEN = 10 LIMIT 5 * f v
	XADD k IDMP p i * f v
	XADD k IDMPAUTO p * f v
	XTRIM k MAXLEN ~ 10
	XTRIM k minid ~ 10 LIMIT 5
	XTRIM k KEEPREF MAXLEN ~ 10
`,
		false: `
	XADD k 1-1 f v
	XADD k 1-1 * *
	XADD k 1-1 f ~
	XADD k MAXLEN 10 1-1 f v
	XADD k MAXLEN = 10 1-1 f v
	XADD k MAXLEN
	XADD k
	XADD
	XTRIM k MAXLEN 10
	XTRIM k MAXLEN = 10
	XTRIM k
	XDEL k *
	SET k *
	GET ~
`,
	} {
		for _, words := range rowsOf(t, lines)[""] {
			if got := specOf(t, words).Estimated(parseLine(words)); got != want {
				t.Errorf("%s: estimated %t", words, got)
			}
		}
	}
}

func TestBarrier(t *testing.T) {
	t.Parallel()
	for want, lines := range map[bool]string{
		true: `
	FLUSHALL
	FLUSHDB ASYNC
	SWAPDB 0 1
	SFLUSH 0 1
	CLUSTER FLUSHSLOT 1
	cluster nope
	EVAL code 0
	EVALSHA sha 1 k
	FCALL f 0
	SET k v NX
	SET k v GET
	SETNX k v
	LPOP k
	BLPOP k 0
	GETDEL k
	XREADGROUP GROUP g c STREAMS k >
	XGROUP CREATE k g $
	SET k v FOO
`,
		false: `
	SET k v
	INCR k
	GET k
	EVAL_RO code 0
	KEYS *
	PING
	CLUSTER INFO
	CLUSTER
	PUBLISH c m
	CONFIG SET a b
	XGROUP HELP
	JSON.SET k $ 1
`,
	} {
		for _, words := range rowsOf(t, lines)[""] {
			if got := specOf(t, words).Barrier(parseLine(words)); got != want {
				t.Errorf("%s: barrier %t", words, got)
			}
		}
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]Origin{
		"get":        {{ServerRedis, "1.0.0"}, {ServerValkey, "7.2.0"}},
		"waitaof":    {{ServerRedis, "7.2.0"}, {ServerValkey, "7.2.0"}},
		"hexpire":    {{ServerRedis, "7.4.0"}, {ServerValkey, "9.0.0"}},
		"hsetex":     {{ServerRedis, "8.0.0"}, {ServerValkey, "9.0.0"}},
		"msetex":     {{ServerRedis, "8.4.0"}, {ServerValkey, "9.1.0"}},
		"delex":      {{ServerRedis, "8.4.0"}},
		"vadd":       {{ServerRedis, "8.0.0"}},
		"delifeq":    {{ServerValkey, "9.0.0"}},
		"commandlog": {{ServerValkey, "8.1.0"}},
		"json.set":   {{"RedisJSON", "1.0.0"}},
	} {
		if got := Lookup(name).Servers(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for s := range All() {
		if origins := s.Servers(); len(origins) == 0 || s.Since != origins[0].Since {
			t.Errorf("%s: since %q, servers %v", s.Name, s.Since, origins)
		}
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	var commands, subs []string
	for s := range All() {
		container, _, sub := strings.Cut(s.Name, "|")
		if !sub {
			commands, subs = append(commands, s.Name), nil
			continue
		}
		subs = append(subs, s.Name)
		if last := commands[len(commands)-1]; last != container || !slices.IsSorted(subs) {
			t.Errorf("%s: after %s and %v", s.Name, last, subs)
		}
	}
	if len(commands) != len(table) || !slices.IsSorted(commands) {
		t.Errorf("%d commands of %d, or not in order", len(commands), len(table))
	}
	for range All() { // may be left at once
		break
	}
}
