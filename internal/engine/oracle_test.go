package engine

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

// oracle runs commands on a real server and on the engine, and fails the test
// where the replies differ.
type oracle struct {
	t     *testing.T
	conn  net.Conn
	rd    *rawReader
	proto int
	model *model
	count int
	trace []string // the last commands, for a failure

	errors, refused int // of batches
}

// model is a keyspace over the engine, as simple as can be.
type model struct {
	objects map[string]*Object
	server  Server
	now     func() int64
}

func newModel() *model {
	return &model{objects: make(map[string]*Object), now: func() int64 { return time.Now().UnixMilli() }}
}

func (m *model) object(name []byte) *Object {
	o := m.objects[string(name)]
	if o == nil {
		o = &Object{}
		m.objects[string(name)] = o
	}
	return o
}

// do runs a command. It reports false when the engine does not serve it.
func (m *model) do(args [][]byte, proto int) ([]byte, bool) {
	cmd := Lookup(args)
	if cmd == nil {
		return nil, false
	}
	s := Setup{
		Command: cmd, Args: args, Now: m.now(), Proto: proto, Server: m.server,
		Foreign: func(name []byte) (*Object, bool) {
			o := m.object(name)
			o.Expire(m.now())
			return o, true
		},
	}
	spec := command.Lookup(string(args[0]))
	idx, err := spec.AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
	if err == nil {
		s.KeyArgs = idx
		for _, i := range idx {
			s.Keys = append(s.Keys, m.object(args[i]))
		}
	}
	var c Call
	c.Begin(s)
	if err != nil {
		// No keys can be told: the command must find its fault in the arguments.
		return m.runMalformed(&c)
	}
	c.Run()
	return m.finish(&c)
}

func (m *model) runMalformed(c *Call) ([]byte, bool) {
	c.Run()
	return m.finish(c)
}

func (m *model) finish(c *Call) ([]byte, bool) {
	if c.Err() != nil {
		c.Revert()
		return nil, false
	}
	c.Settle()
	return c.Reply(), true
}

// startOracle starts a server: the installed one, or that of redistest.EnvServer.
func startOracle(t *testing.T, proto int) *oracle {
	t.Helper()
	g := redistest.StartT(t, redistest.Options{})
	conn, err := net.Dial("tcp", g.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	o := &oracle{t: t, conn: conn, rd: newRawReader(conn), proto: proto, model: newModel()}
	if proto == 3 {
		o.server([][]byte{[]byte("HELLO"), []byte("3")})
	}
	o.model.server = o.version()
	return o
}

func (o *oracle) version() Server {
	var s Server
	info := string(o.server(split("INFO server")))
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "redis_version" && name != "valkey_version" {
			continue
		}
		parts := strings.SplitN(value+".0.0", ".", 4)
		var v [3]int
		for i := range v {
			v[i], _ = strconv.Atoi(parts[i])
		}
		s.Version, s.Valkey = v[0]*10000+v[1]*100+v[2], s.Valkey || name == "valkey_version"
	}
	return s
}

// server runs a command on the server only and returns the encoded reply.
func (o *oracle) server(args [][]byte) []byte {
	o.t.Helper()
	if _, err := o.conn.Write(resp.AppendCommand(nil, args...)); err != nil {
		o.t.Fatal(err)
	}
	reply, err := o.rd.next()
	if err != nil {
		o.t.Fatalf("%q: %v", args, err)
	}
	return reply
}

// run runs a command in both places and compares.
func (o *oracle) run(args [][]byte) {
	o.t.Helper()
	o.note(args)
	got, ok := o.model.do(args, o.proto)
	if !ok {
		o.fatalf("the engine does not answer %q", args)
	}
	if err := workload.Compare(args, o.server(args), got); err != nil {
		o.fatalf("command %d %q over RESP%d: %v", o.count, args, o.proto, err)
	}
}

// note keeps what a failure will show.
func (o *oracle) note(args [][]byte) {
	o.count++
	if o.trace = append(o.trace, fmt.Sprintf("%q", args)); len(o.trace) > 200 {
		o.trace = o.trace[100:]
	}
}

func (o *oracle) fatalf(format string, args ...any) {
	o.t.Helper()
	o.t.Fatalf(format+"\nlast commands:\n%s", append(args, strings.Join(o.trace, "\n"))...)
}

// lines runs commands written as lines of words; a word may be a Go string in
// quotes.
func (o *oracle) lines(text string) {
	o.t.Helper()
	for line := range strings.Lines(text) {
		if args := split(strings.TrimSpace(line)); len(args) > 0 {
			o.run(args)
		}
	}
}

func split(line string) [][]byte {
	var args [][]byte
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] == '"' {
			if q, err := strconv.QuotedPrefix(line); err == nil {
				word, _ := strconv.Unquote(q)
				args, line = append(args, []byte(word)), line[len(q):]
				continue
			}
		}
		word, rest, _ := strings.Cut(line, " ")
		args, line = append(args, []byte(word)), rest
	}
	return args
}

// sameState compares every key: its digest on the server with that of a copy
// made from what the engine would restore, and the deadline.
func (o *oracle) sameState() {
	o.t.Helper()
	for name, obj := range o.model.objects {
		obj.Expire(o.model.now())
		restore, ok := obj.AppendRestore(nil, name)
		if !ok {
			continue
		}
		// Looking at the key is what makes the server drop it at its deadline; the
		// digest alone would still be that of the old value.
		wantAt := o.server([][]byte{[]byte("PEXPIRETIME"), []byte(name)})
		want := o.server([][]byte{[]byte("DEBUG"), []byte("DIGEST-VALUE"), []byte(name)})
		o.server(split("SELECT 1"))
		for rest := restore; len(rest) > 0; {
			args, n, err := resp.ParseCommand(rest, nil)
			if err != nil {
				o.fatalf("the restoring commands of a %s: %v", obj.Type(), err)
			}
			if reply := o.server(args); reply[0] == '-' {
				o.fatalf("restoring a %s with %q: %s", obj.Type(), args, reply)
			}
			rest = rest[n:]
		}
		got := o.server([][]byte{[]byte("DEBUG"), []byte("DIGEST-VALUE"), []byte(name)})
		gotAt := o.server([][]byte{[]byte("PEXPIRETIME"), []byte(name)})
		o.server(split("SELECT 0"))
		if !bytes.Equal(want, got) {
			o.fatalf("%q, a %s, has digest %s on the server and %s restored by %q", name, obj.Type(), want, got, restore)
		}
		if !bytes.Equal(wantAt, gotAt) {
			o.fatalf("%q: deadline %s on the server and %s here", name, wantAt, gotAt)
		}
	}
}

// random runs n commands of the families in both places, over both protocols.
func random(t *testing.T, n int, families ...string) {
	t.Helper()
	var chosen []workload.Family
	for _, f := range workload.All() {
		for _, name := range families {
			if f.Name == name {
				chosen = append(chosen, f)
			}
		}
	}
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if s := os.Getenv("HOLDFAST_SEED"); s != "" {
				seed, _ = strconv.ParseUint(s, 10, 64)
			}
			t.Logf("HOLDFAST_SEED=%d", seed)
			o := startOracle(t, proto)
			g := workload.New(seed, workload.Options{Families: chosen, Server: o.model.server.level()})
			for range n {
				o.run(g.Next())
			}
			o.sameState()
		})
	}
}
