package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// TestWays does every load in every way, and looks that all of them leave the same.
func TestWays(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	ctx := context.Background()
	for _, l := range loads {
		j := &job{load: l, n: 2500, addr: g.Node(0).Addr(), dir: t.TempDir(), encoded: l.encode(2500)}
		for _, w := range ways {
			line, _, err := measureJob(ctx, g.Node(0), w, j)
			if err != nil {
				t.Errorf("%s by %s: %v", l.name, w.name, err)
				continue
			}
			if all, err := parse(strings.NewReader(line)); err != nil || len(all) != 1 {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

// TestRepliesAreAsPromised: else the replay would compare each with another one, and would
// have found nothing.
func TestRepliesAreAsPromised(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	ctx := context.Background()
	l, err := loadNamed("mix")
	if err != nil {
		t.Fatal(err)
	}
	var reply []byte
	l.each(3000, func(i int, w *write) {
		args := make([]any, 0, 5)
		for _, arg := range w.args() {
			args = append(args, arg)
		}
		got, err := g.Node(0).Do(ctx, args...)
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		reply = w.appendReply(reply[:0])
		var text []byte
		switch v := got.(type) {
		case int64:
			text = resp.AppendInt(nil, v)
		case string:
			if text = resp.AppendSimple(nil, v); w.kind != kindSet {
				text = resp.AppendBulkString(nil, v)
			}
		}
		if string(text) != string(reply) {
			t.Fatalf("write %d is answered with %q, and was promised %q", i, text, reply)
		}
	})
}

// TestCheckFindsWhatIsMissing: a way that leaves a key out is no way.
func TestCheckFindsWhatIsMissing(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	ctx := context.Background()
	l, err := loadNamed("SET")
	if err != nil {
		t.Fatal(err)
	}
	lazy := way{name: "lazy", prepare: func(ctx context.Context, j *job) (prepared, error) {
		less := *j
		less.encoded = l.encode(90)
		return prepareRaw(ctx, &less)
	}}
	j := &job{load: l, n: 100, addr: g.Node(0).Addr(), encoded: l.encode(100)}
	if _, _, err := measureJob(ctx, g.Node(0), lazy, j); err == nil || !strings.Contains(err.Error(), "90 keys") {
		t.Errorf("the error is %v", err)
	}
}

func TestThroughputTable(t *testing.T) {
	var b strings.Builder
	for _, l := range loads {
		for _, w := range ways {
			rates := []string{"500000", "900000", "700000"}
			switch {
			case w.name == rawName:
				rates = []string{"1000000", "1000000", "1000000"}
			case w.paced:
				rates = rates[:1]
			}
			for _, rate := range rates {
				b.WriteString("BenchmarkThroughput/load=" + l.name + "/way=" + w.name + " 1 1.0 ns/op " + rate +
					" entries/s 250 client-ns/op 700 server-ns/op 0.003 allocs/op 0.01 others\n")
			}
		}
	}
	all, err := parse(strings.NewReader("# round 1\n" + b.String() + disturbed + "BenchmarkThroughput/load=SET/way=raw 1 1.0 ns/op 1 entries/s\n"))
	if err != nil {
		t.Fatal(err)
	}
	table := throughputTable(all)
	for _, want := range []string{
		"| entries, thousand/s | SET | HSET | INCR | mix |\n",
		"| raw stream | 1000 | 1000 | 1000 | 1000 |\n",
		"| go-redis, pipelines of 500 | 700 | 700 | 700 | 700 |\n",
		"| go-redis, pipelines of 500 | 0.70 (0.50–0.90) |",
		"as it is by default: paced | 0.50 (0.50–0.50) |",
		"| raw stream | 0.25 | 0.25 |",
		"| rueidis, DoMulti of 500 | 0.00 | 0.00 |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not hold %q:\n%s", want, table)
		}
	}
}

func TestParseRefusesDamage(t *testing.T) {
	for _, line := range []string{"BenchmarkX 1", "BenchmarkX 1 2 ns/op 3", "BenchmarkX 1 x ns/op"} {
		if _, err := parse(strings.NewReader(line)); err == nil {
			t.Errorf("%q: no error", line)
		}
	}
}

func TestInsert(t *testing.T) {
	const document = "a\n<!-- m: begin -->\nold\n<!-- m: end -->\nb\n"
	for range 2 { // what it puts in, it finds again
		got, err := insert(document, "m", "new\n")
		if want := "a\n<!-- m: begin -->\n\nnew\n\n<!-- m: end -->\nb\n"; err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	for _, document := range []string{"", "<!-- m: begin -->\n", "<!-- m: end -->\n<!-- m: begin -->\n"} {
		if _, err := insert(document, "m", "new\n"); err == nil {
			t.Errorf("%q: no error", document)
		}
	}
}

func TestReadUntil(t *testing.T) {
	for _, pieces := range [][]string{{"+OK\r\n+OK\r\n$4\r\nlast\r\n"}, {"+OK\r\n$4\r\nla", "st\r\n"}, {"+O", "K\r\n$4\r\nlas", "t", "\r\n"}} {
		c, peer := pipePair(t)
		go func() {
			for _, p := range pieces {
				if _, err := peer.Write([]byte(p)); err != nil {
					return
				}
			}
		}()
		if err := readUntil(c, []byte("$4\r\nlast\r\n")); err != nil {
			t.Errorf("%q: %v", pieces, err)
		}
	}
	c, peer := pipePair(t)
	_ = peer.Close()
	if err := readUntil(c, []byte("last")); err == nil {
		t.Error("the end came without the last word, and no error")
	}
}

func pipePair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	a, b = net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}
