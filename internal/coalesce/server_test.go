package coalesce

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// server is a connection to a real one.
type server struct {
	net.Conn
	*resp.Reader
}

func dial(t *testing.T) *server {
	t.Helper()
	g := redistest.StartT(t, redistest.Options{})
	nc, err := net.Dial("tcp", g.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &server{nc, resp.NewReader(nc)}
}

// fataler is a test or a case of rapid's.
type fataler interface {
	Fatalf(format string, args ...any)
}

func (s *server) do(t fataler, cmds ...[]byte) []resp.Value {
	if _, err := s.Write(slices.Concat(cmds...)); err != nil {
		t.Fatalf("%v", err)
	}
	answers := make([]resp.Value, len(cmds))
	for i := range answers {
		var err error
		if answers[i], err = s.ReadValue(); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return answers
}

// exec executes a transaction in a database.
func (s *server) exec(t fataler, db int, cmds [][]byte) []resp.Value {
	all := slices.Concat([][]byte{encode(fmt.Sprint("select ", db)), encode("multi")}, cmds, [][]byte{encode("exec")})
	answers := s.do(t, all...)
	exec := answers[len(answers)-1]
	if exec.Kind != resp.KindArray || len(exec.Elems) != len(cmds) {
		t.Fatalf("EXEC answered %v", show(exec))
	}
	return exec.Elems
}

func show(v resp.Value) string {
	if v.Kind == resp.KindArray || v.Kind == resp.KindMap {
		words := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			words[i] = show(e)
		}
		return "[" + strings.Join(words, " ") + "]"
	}
	return fmt.Sprintf("%d:%s:%d", v.Kind, v.Str, v.Int)
}

var testKeys = []string{"a", "b", "c", "d"}

// keyspace reads a database: of each key its type, its deadline and what it holds.
func (s *server) keyspace(t fataler, db int) string {
	s.do(t, encode(fmt.Sprint("select ", db)))
	var b strings.Builder
	for _, key := range testKeys {
		kind := s.do(t, encode("type "+key))[0].Text()
		read, sorted := "get ", false
		switch kind {
		case "list":
			read = "lrange %s 0 -1"
		case "hash":
			read = "hgetall %s"
		case "set":
			read, sorted = "smembers %s", true
		case "zset":
			read = "zrange %s 0 -1 withscores"
		case "stream":
			read = "xrange %s - +"
		case "none":
			read = "exists %s"
		default:
			read = "get %s"
		}
		answers := s.do(t, encode(fmt.Sprintf(read, key)), encode("pexpiretime "+key))
		value := answers[0]
		if sorted {
			slices.SortFunc(value.Elems, func(x, y resp.Value) int { return strings.Compare(x.Text(), y.Text()) })
		}
		if kind == "hash" { // what one encoding keeps in order the other does not
			pairs := make([]string, 0, len(value.Elems)/2)
			for i := 0; i < len(value.Elems); i += 2 {
				pairs = append(pairs, show(value.Elems[i])+"="+show(value.Elems[i+1]))
			}
			slices.Sort(pairs)
			fmt.Fprintf(&b, "%s hash %v %s\n", key, pairs, show(answers[1]))
			continue
		}
		fmt.Fprintf(&b, "%s %s %s %s\n", key, kind, show(value), show(answers[1]))
	}
	return b.String()
}

// compare executes a transaction as it is and merged, and holds the one against the
// other.
func (s *server) compare(t fataler, lines []string) (merged, rejected int) {
	cmds := make([][]byte, len(lines))
	var m Merger
	m.Start(true)
	for i, line := range lines {
		cmds[i] = encode(line)
		m.Add(cmds[i], true)
	}
	out := m.Commands()
	sent := make([][]byte, len(out))
	for i := range out {
		sent[i] = out[i].Bytes
	}
	answers := s.exec(t, 1, sent)
	left := map[int]bool{} // parts of a command that was rejected: each becomes a dead letter
	for i, c := range out {
		for at := c.First; answers[i].IsError() && c.Count > 1; at = m.Next(at) {
			left[at] = true
			if at == c.Last {
				break
			}
		}
	}
	var plain [][]byte
	place := map[int]int{}
	for i := range cmds {
		if !left[i] {
			place[i] = len(plain)
			plain = append(plain, cmds[i])
		}
	}
	separate := s.exec(t, 0, plain)
	for i, c := range out {
		if at, ok := place[c.Last]; ok && c.Exact && show(answers[i]) != show(separate[at]) {
			t.Fatalf("%s\n%q for %q answered %s, want %s", strings.Join(lines, ", "), c.Bytes, lines[c.Last], show(answers[i]), show(separate[at]))
		}
	}
	if got, want := s.keyspace(t, 1), s.keyspace(t, 0); got != want {
		t.Fatalf("%s\nmerged %d:\n%s\nseparate:\n%s", strings.Join(lines, ", "), m.Merged(), got, want)
	}
	return m.Merged(), len(left)
}

// commandOf makes a command, of mostly one type for each key, so that much of it
// merges.
func commandOf(r *rapid.T) string {
	pick := func(words ...string) string { return rapid.SampledFrom(words).Draw(r, "word") }
	key := rapid.SampledFrom(testKeys).Draw(r, "key")
	forms := []string{
		"set %k %n", "set %k %n", "set %k %n pxat %t", "set %k v keepttl", "set %k %n nx", "set %k %n xx pxat 4000000000000 get",
		"del %k", "unlink %k", "del %k %j", "mset %k 1 %j 2", "rename %k %j", "copy %k %j replace", "persist %k",
		"incr %k", "decr %k", "incrby %k %n", "decrby %k %n", "incrbyfloat %k 0.1", "append %k 7", "setrange %k 1 5", "getset %k 5",
		"incrby %k 9223372036854775807", "decrby %k 9223372036854775807",
		"pexpireat %k %t", "pexpireat %k %t", "pexpireat %k %t nx", "pexpireat %k %t gt", "expireat %k 4000000000",
		"hset %k %m %n", "hset %k %m %n", "hset %k %m 1 %m 2", "hset %k %m 1 %m", "hmset %k %m 1 %m 2", "hsetnx %k %m 1",
		"hdel %k %m", "hdel %k x y z", "hincrby %k %m %n", "hincrby %k x 1", "hincrbyfloat %k x 0.1",
		"sadd %k %m", "sadd %k %m %m", "srem %k %m", "srem %k x y z", "sinterstore %k %j",
		"zadd %k %n %m", "zadd %k %n %m %n %m", "zadd %k nx %n %m", "zadd %k incr 1 %m", "zadd %k nan %m", "zrem %k %m", "zincrby %k 1 %m",
		"geoadd %k 1 2 %m", "geoadd %k 3 4 %m 5 6 %m",
		"lpush %k %m", "lpush %k %m %m", "rpush %k %m", "rpush %k %m", "lpushx %k %m", "ltrim %k 0 3", "lpop %k",
		"pfadd %k %m", "xadd %k 9-* f %m", "exists %k",
	}
	form := rapid.SampledFrom(forms).Draw(r, "form")
	if kind := rapid.IntRange(0, 9).Draw(r, "kind"); kind < 6 { // of the key's own type
		own := map[string][]string{
			"a": {"set %k %n", "incr %k", "incrby %k %n", "decrby %k %n", "pexpireat %k %t"},
			"b": {"hset %k %m %n", "hincrby %k x 1", "hdel %k %m", "hset %k x %n", "pexpireat %k %t"},
			"c": {"sadd %k %m", "srem %k %m", "lpush %k %m", "rpush %k %m", "del %k", "pexpireat %k %t"},
			"d": {"zadd %k %n %m", "zadd %k %n x", "zrem %k %m", "set %k %n pxat %t", "pexpireat %k %t"},
		}
		form = rapid.SampledFrom(own[key]).Draw(r, "own")
	}
	var b strings.Builder
	for i := 0; i < len(form); i++ {
		if form[i] != '%' {
			b.WriteByte(form[i])
			continue
		}
		i++
		switch form[i] {
		case 'k':
			b.WriteString(key)
		case 'j':
			b.WriteString(pick(testKeys...))
		case 'm':
			b.WriteString(pick("x", "y", "z"))
		case 'n':
			b.WriteString(pick("0", "1", "2", "-1", "7", "9223372036854775806"))
		case 't':
			b.WriteString(pick("4000000000000", "4000000000001", "4000000000002"))
		}
	}
	return b.String()
}

// TestSameKeyspace holds merged transactions against plain ones on a real server, over
// whatever the keys hold already.
func TestSameKeyspace(t *testing.T) {
	s := dial(t)
	cases, commands, merged, rejected := 0, 0, 0, 0
	rapid.Check(t, func(r *rapid.T) {
		s.do(r, encode("flushall"))
		for range 4 {
			lines := rapid.SliceOfN(rapid.Custom(commandOf), 1, 40).Draw(r, "commands")
			m, d := s.compare(r, lines)
			cases, commands, merged, rejected = cases+1, commands+len(lines), merged+m, rejected+d
		}
	})
	t.Logf("%d transactions of %d commands: %d merged, %d of them rejected", cases, commands, merged, rejected)
	if merged < commands/20 {
		t.Errorf("only %d of %d commands were merged", merged, commands)
	}
}

// TestBarriers executes what must not be merged, and what may be over what a key holds
// before: a fault here ends in another state.
func TestBarriers(t *testing.T) {
	s := dial(t)
	for _, c := range []struct{ before, cmds string }{
		{"hset a x 1, pexpireat a 4000000000000", "hset a y 1, hdel a x y, hset a z 1"},
		{"sadd a x, pexpireat a 4000000000000", "srem a x, sadd a x"},
		{"sadd a x, pexpireat a 4000000000000", "srem a x, srem a y, sadd a y, sadd a z"},
		{"zadd a 1 x, pexpireat a 4000000000000", "zrem a x, zadd a 1 x, zadd a 2 x"},
		{"set a 1 pxat 4000000000000", "set a 2 keepttl, set a 3 keepttl"},
		{"set a 1 pxat 4000000000000", "set a 2, set a 3 keepttl"},
		{"set a 1 pxat 4000000000000", "incr a, incr a"},
		{"set a 0.1", "incrbyfloat a 0.2, incrbyfloat a 0.3"},
		{"set a 9223372036854775806", "incr a, decr a, incr a, incr a"},
		{"set a 9223372036854775806", "incr a, incr a, decr a"},
		{"set a 9223372036854775806", "incrby a 9223372036854775807, incrby a -9223372036854775807"},
		{"hset a x 9223372036854775806", "hincrby a x 1, hincrby a x 1, hincrby a y 1"},
		{"set a text", "incr a, incr a, append a x"},
		{"rpush a x", "incr a, incr a, rpush a y, rpush a z"},
		{"set a 1", "rpush a y, rpush a z, del a, rpush a z"},
		{"", "set a 1 nx, set a 2 nx, set b 1, set b 2"},
		{"set a 1", "pexpireat a 4000000000000, pexpireat a 4000000000001, set b 2, pexpireat b 4000000000000"},
		{"", "pexpireat a 4000000000000, set a 1, del a, pexpireat a 4000000000001"},
		{"set a 1, set b 2", "set a 3, copy a b replace, set a 4, rename a c, set a 5, set a 6"},
		{"rpush a 1", "lpush a x, lpush a y z, rpush a q, rpush a r"},
		{"", "hset a x 1 y, hset a z 2 w"},
	} {
		s.do(t, encode("flushall"))
		for _, db := range []int{0, 1} {
			if c.before != "" {
				var cmds [][]byte
				for _, line := range strings.Split(c.before, ", ") {
					cmds = append(cmds, encode(line))
				}
				s.exec(t, db, cmds)
			}
		}
		s.compare(t, strings.Split(c.cmds, ", "))
	}
}
