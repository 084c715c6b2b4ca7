package command

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// serverEnv names another server than the installed one to hold the table against.
const serverEnv = "HOLDFAST_SERVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(serverEnv); path != "" {
		if err := os.Setenv(redistest.EnvServer, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// server is a raw connection to a real server, for exact replies.
type server struct {
	t    *testing.T
	conn net.Conn
	rd   *resp.Reader
}

func dialServer(t *testing.T, addr string) *server {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &server{t: t, conn: conn, rd: resp.NewReader(conn)}
}

// startServer starts one server for the test.
func startServer(t *testing.T) *server {
	t.Helper()
	return dialServer(t, redistest.StartT(t, redistest.Options{}).Node(0).Addr())
}

func (s *server) do(args [][]byte) resp.Value {
	s.t.Helper()
	if _, err := s.conn.Write(resp.AppendCommand(nil, args...)); err != nil {
		s.t.Fatalf("%s: %v", show(args), err)
	}
	v, err := s.rd.ReadValue()
	if err != nil {
		s.t.Fatalf("%s: %v", show(args), err)
	}
	return v
}

// run is do for a line of words, whose reply must not be an error.
func (s *server) run(words string) resp.Value {
	s.t.Helper()
	v := s.do(parseLine(words))
	if v.IsError() {
		s.t.Fatalf("%s: %s", words, v.Text())
	}
	return v
}

// has reports whether the server has the command of a line of words.
func (s *server) has(words string) bool {
	s.t.Helper()
	args := parseLine(words)
	name := string(args[0])
	if spec := Lookup(name); spec != nil && spec.Container() && len(args) > 1 {
		name += "|" + string(args[1])
	}
	return len(s.run("COMMAND INFO " + name).Elems[0].Elems) > 0
}

// parseLine splits a line at its spaces. The word "" stands for an empty
// argument, and \0 for a zero byte.
func parseLine(words string) [][]byte {
	var args [][]byte
	for word := range strings.FieldsSeq(words) {
		if word == `""` {
			word = ""
		}
		args = append(args, []byte(strings.ReplaceAll(word, `\0`, "\x00")))
	}
	return args
}

func show(args [][]byte) string {
	var words []string
	for _, arg := range args {
		words = append(words, string(arg))
	}
	return strings.Join(words, " ")
}

// specOf is the Spec of a line's command, which must be in the table.
func specOf(t *testing.T, words string) *Spec {
	t.Helper()
	name, _, _ := strings.Cut(words, " ")
	s := Lookup(name)
	if s == nil {
		t.Fatalf("%s: not in the table", words)
	}
	return s
}

// snapshot is the state of every key.
type snapshot map[string]keyState

type keyState struct {
	dump   string           // DUMP, or a hash's fields and values
	at     int64            // PEXPIRETIME
	fields map[string]int64 // HPEXPIRETIME of a hash's fields
}

func (s *server) snapshot() snapshot {
	s.t.Helper()
	out := make(snapshot)
	withFields := s.has("HPEXPIRETIME")
	for _, key := range s.run("KEYS *").Elems {
		name := key.Text()
		state := keyState{at: s.run("PEXPIRETIME " + name).Int}
		if withFields && s.run("TYPE "+name).Text() == "hash" {
			// The dump would have the deadlines, which may differ.
			state.dump, state.fields = s.hash(name)
		} else {
			state.dump = strconv.Quote(s.run("DUMP " + name).Text())
		}
		out[name] = state
	}
	return out
}

func (s *server) hash(name string) (text string, deadlines map[string]int64) {
	s.t.Helper()
	deadlines = make(map[string]int64)
	var pairs []string
	flat := s.run("HGETALL " + name).Elems
	for i := 0; i < len(flat); i += 2 {
		field := flat[i].Text()
		pairs = append(pairs, strconv.Quote(field)+"="+strconv.Quote(flat[i+1].Text()))
		deadlines[field] = s.run("HPEXPIRETIME " + name + " FIELDS 1 " + field).Elems[0].Int
	}
	slices.Sort(pairs)
	return strings.Join(pairs, " "), deadlines
}

// like compares states. Deadlines may differ by the time that passes between two
// commands on a busy machine.
func (a snapshot) like(b snapshot) bool {
	const tolerance = 20_000
	near := func(a, b int64) bool {
		if a < 0 || b < 0 {
			return a == b
		}
		return max(a, b)-min(a, b) < tolerance
	}
	return maps.EqualFunc(a, b, func(a, b keyState) bool {
		return a.dump == b.dump && near(a.at, b.at) && maps.EqualFunc(a.fields, b.fields, near)
	})
}

// showReply is a reply as text, for comparing and printing.
func showReply(v resp.Value) string {
	if len(v.Elems) == 0 {
		return fmt.Sprintf("%d:%q:%d", v.Kind, v.Str, v.Int)
	}
	var b strings.Builder
	for _, elem := range v.Elems {
		b.WriteString(showReply(elem) + " ")
	}
	return "[" + b.String() + "]"
}
