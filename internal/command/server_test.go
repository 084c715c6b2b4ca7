package command

import (
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

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
	s := dialServer(t, redistest.StartT(t, redistest.Options{}).Node(0).Addr())
	s.noteVersion()
	return s
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

// noteVersion says in the test's log when the server is not of the version that
// the table and the texts under test are taken from.
func (s *server) noteVersion() {
	s.t.Helper()
	for line := range strings.Lines(s.run("INFO server").Text()) {
		version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:")
		if ok && version != tableVersion {
			s.t.Logf("the server is %s, the table is of %s: a difference may come of that", version, tableVersion)
		}
	}
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
	dump string // DUMP, quoted
	at   int64  // PEXPIRETIME
}

func (s *server) snapshot() snapshot {
	s.t.Helper()
	out := make(snapshot)
	for _, key := range s.run("KEYS *").Elems {
		out[key.Text()] = keyState{
			dump: strconv.Quote(s.run("DUMP " + key.Text()).Text()),
			at:   s.run("PEXPIRETIME " + key.Text()).Int,
		}
	}
	return out
}

// like compares states. Deadlines may differ by the time that passes between two
// commands on a busy machine.
func (a snapshot) like(b snapshot) bool {
	const tolerance = 20_000
	return maps.EqualFunc(a, b, func(a, b keyState) bool {
		if a.at < 0 || b.at < 0 {
			return a == b
		}
		return a.dump == b.dump && max(a.at, b.at)-min(a.at, b.at) < tolerance
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
